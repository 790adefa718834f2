"""From a stored subscription to one that can be used: @contexts resolved, queries and patterns compiled."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote
from weakref import WeakValueDictionary

import orjson

from broker.jsonld.context import Context
from broker.ngsild import projections
from broker.ngsild.content import owner_of
from broker.ngsild.errors import BadRequestData, NgsiLdError
from broker.ngsild.linking import ENTITY_MEMBERS, JoinForm, Joining, ProjectedView
from broker.ngsild.model import LOCATION, Entity, encode_key
from broker.ngsild.query import geo, scopes
from broker.ngsild.query.geo import GeoQuery
from broker.ngsild.query.grammar import parse_q
from broker.ngsild.query.links import link_depth, without_links
from broker.ngsild.query.patterns import parse_pattern
from broker.ngsild.query.predicate import compile_predicate
from broker.ngsild.query.scopes import ScopeQuery
from broker.ngsild.query.tree import Node, expand
from broker.ngsild.representations import Format
from broker.ngsild.timestamps import microseconds
from broker.ngsild.versions import Version, nearest, parse_version
from broker.notify.matching import TRIGGERS, Condition, Predicate, Selector
from broker.notify.mqtt_address import is_mqtt, parse_mqtt
from broker.notify.registry import version_of
from broker.notify.rendering import (
    GEO_JSON,
    JSON,
    LD_JSON,
    Projection,
    notification_headers,
    notification_tail,
    prefers_plain_body,
)
from broker.notify.sharing import Sharing
from broker.notify.subscription import EntitySelector, Periodic, Subscription, Target
from broker.notify.throttling import Throttle
from broker.notify.trust import CA_FILE
from broker.storage.subscriptions import Document

_FORMATS = {**{one.value: one for one in Format}, "keyValues": Format.SIMPLIFIED}
T = TypeVar("T")

_YIELD_EVERY = 1_000
_MOST_SHARED = 10_000
_MOST_QUERIES = 1_000
"""Queries remembered: if all are different, each is as large as its subscription."""


class ResolvesContexts(Protocol):
    """Finds @contexts."""

    @property
    def changes(self) -> int:
        """A number that grows whenever an @context may have become another one."""

    async def resolve(self, source: Any, tenant: str = "") -> Context:
        """The Context for the value of an "@context" that a tenant gave."""


class SubscriptionCompiler:
    """Compiles subscription documents. Subscriptions that want to see entities in the same way share a `Projection`."""

    def __init__(self, contexts: ResolvesContexts) -> None:
        self._contexts = contexts
        self._seen = contexts.changes
        self._projections: WeakValueDictionary[tuple[Any, ...], Projection] = WeakValueDictionary()
        self._sharing = Sharing(_MOST_SHARED)
        self._queries = Sharing(_MOST_QUERIES)

    async def __call__(self, document: Document) -> Subscription:
        """The compiled subscription.

        Raises BadRequestData, with the JSON pointer of the member, for a query or pattern that cannot be compiled, and
        LdContextNotAvailable where an @context is out of reach.
        """
        definition = document["definition"]
        subscription_id: str = document["_id"]["id"]
        sharing = self._sharing
        tenant: str = sharing.same(document["_id"]["tenant"])
        contexts = _Contexts(self._contexts, tenant, sharing)
        notified_with = await contexts.resolve(orjson.loads(definition["context"]))
        link = notified_with.link or definition.get("contextLink")
        if "jsonldContext" in definition:
            link = definition["jsonldContext"]
            notified_with = await contexts.resolve(link, "/jsonldContext")
        query = await _query(definition, contexts, self._queries)
        projection = self._projection(definition, notified_with)
        endpoint = definition["notification"]["endpoint"]
        accept = endpoint.get("accept", JSON)
        return Subscription(
            tenant=tenant,
            id=subscription_id,
            version=version_of(document),
            active=definition.get("isActive", True),
            condition=_condition(definition, query, sharing),
            projection=projection,
            target=_target(
                endpoint, notification_headers(tenant, accept, link, _pairs(endpoint, "receiverInfo")), sharing
            ),
            tail=sharing.same(notification_tail(projection)),
            expires=microseconds(definition["expiresAt"]) if "expiresAt" in definition else None,
            throttle=Throttle(definition["throttling"]) if "throttling" in definition else None,
            periodic=_periodic(definition, query) if "timeInterval" in definition else None,
            link_query=query.q.node if query.q is not None and query.q.linked else None,
            contexts=sharing.same(tuple(contexts.resolved)),
        )

    async def outdated(self, subscriptions: Sequence[Subscription]) -> list[Subscription]:
        """Those that were compiled with an @context that is another one by now, such as one that was loaded again.

        One that cannot be had any more stays in use. Costs nothing while no @context changes.
        """
        seen = self._contexts.changes
        if seen == self._seen:
            return []
        # Those before keep @contexts that nobody else needs any more.
        self._sharing, self._queries = Sharing(_MOST_SHARED), Sharing(_MOST_QUERIES)
        now: dict[tuple[str, bytes], Context | None] = {}
        found = []
        for number, subscription in enumerate(subscriptions, 1):
            if number % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
            for source, then in subscription.contexts:
                key = owner_of(subscription.tenant), source
                if key not in now:
                    now[key] = await self._present(*key)
                if now[key] is not None and now[key] is not then:
                    found.append(subscription)
                    break
        if not found:  # else look again: renewing them may fail
            self._seen = seen
        return found

    async def _present(self, tenant: str, source: bytes) -> Context | None:
        try:
            return await self._contexts.resolve(orjson.loads(source), tenant)
        except NgsiLdError:
            return None

    def _projection(self, definition: Mapping[str, Any], context: Context) -> Projection:
        notification = definition["notification"]
        endpoint = notification["endpoint"]
        accept = endpoint.get("accept", JSON)
        geojson = accept == GEO_JSON
        pick, omit = (_projected(notification, name) for name in ("pick", "omit"))
        always: frozenset[str] = frozenset()
        if "attributes" in notification:
            pick, always = _projected(notification, "attributes"), frozenset(ENTITY_MEMBERS)
        view = ProjectedView(_STORED_NAMES, pick, omit, always=always)
        wanted = (
            context,
            _FORMATS[notification.get("format", "normalized")],
            notification.get("sysAttrs", False),
            view.picked,
            view.omitted,
            frozenset(definition["datasetId"]) if "datasetId" in definition else None,
            definition.get("lang"),
            accept == LD_JSON or (geojson and not prefers_plain_body(_pairs(endpoint, "receiverInfo"))),
            geojson,
            notification.get("showChanges", False),
            _version(definition),
        )
        if notification.get("join", "@none") != "@none":
            joining = Joining(JoinForm(notification["join"]), notification.get("joinLevel", 1))
            return Projection(*wanted, joining, view)
        projection = self._projections.get(wanted)
        if projection is None:
            projection = self._projections[wanted] = Projection(*wanted)
        return projection


class _Contexts:
    """The @contexts of one subscription, each noted as it is resolved."""

    def __init__(self, contexts: ResolvesContexts, tenant: str, sharing: Sharing) -> None:
        self._contexts = contexts
        self._tenant = owner_of(tenant)
        self._sharing = sharing
        self.resolved: list[tuple[bytes, Context]] = []

    async def resolve(self, source: Any, pointer: str | None = None) -> Context:
        """The Context for the value of an "@context"; errors point to the member at `pointer`."""
        try:
            context = await self._contexts.resolve(source, self._tenant)
        except NgsiLdError as error:
            error.pointer = pointer or error.pointer
            raise
        self.resolved.append((self._sharing.same(orjson.dumps(source)), context))
        return context


class _StoredNames:
    """The names in a stored projection, which are IRIs already."""

    def key(self, term: str, /) -> str:
        """The attribute key of an IRI."""
        return encode_key(term)


_STORED_NAMES = _StoredNames()


@dataclass(frozen=True, slots=True)
class _Query:
    """What a subscription asks of entities beside its selectors, compiled; None for what it does not ask."""

    q: "_CompiledQ | None"
    geo: GeoQuery | None
    scope: ScopeQuery | None


@dataclass(frozen=True, slots=True)
class _CompiledQ:
    """A `q`, and what it asks of the entity itself; `linked` tells that it asks something of others, too."""

    node: Node
    itself: Predicate | None
    linked: bool


async def _query(definition: Mapping[str, Any], contexts: _Contexts, queries: Sharing) -> _Query:
    q = None
    if "q" in definition:
        context = await contexts.resolve(orjson.loads(definition["qContext"]))
        asked = *(definition.get(name) for name in ("q", "expandValues", "jsonKeys")), context
        q = queries.made(asked, lambda: _q(definition, context))
    scope = _pointed("/scopeQ", lambda: scopes.parse_scope_q(definition["scopeQ"])) if "scopeQ" in definition else None
    return _Query(q, _geo(definition["geoQ"]) if "geoQ" in definition else None, scope)


def _condition(definition: Mapping[str, Any], query: _Query, sharing: Sharing) -> Condition:
    triggers = 0
    for name in definition["notificationTrigger"]:
        triggers |= TRIGGERS[name]
    watched = definition.get("watchedAttributes")
    predicates: list[Predicate] = []
    if query.scope is not None:
        predicates.append(_in_scope(query.scope))
    if query.q is not None and query.q.itself is not None:
        predicates.append(query.q.itself)
    if query.geo is not None:
        predicates.append(partial(geo.matches, query.geo))
    return Condition(
        selectors=tuple(
            _selector(one, f"/entities/{index}", sharing) for index, one in enumerate(definition.get("entities", ()))
        ),
        watched=None if watched is None else sharing.same(frozenset(encode_key(iri) for iri in watched)),
        triggers=triggers,
        predicates=tuple(predicates),
    )


def _periodic(definition: Mapping[str, Any], query: _Query) -> Periodic:
    return Periodic(
        seconds=definition["timeInterval"],
        selectors=tuple(
            EntitySelector(
                types=tuple(tuple(names) for names in one.get("types", ())),
                ids=tuple(one.get("id", ())),
                id_pattern=one.get("idPattern"),
            )
            for one in definition.get("entities", ())
        ),
        q=None if query.q is None else query.q.node,
        geo=query.geo,
        scope=query.scope,
    )


def _projected(notification: Mapping[str, Any], name: str) -> projections.Projection | None:
    return _projection(notification[name]) if name in notification else None


def _projection(members: Sequence[Any]) -> projections.Projection:
    """A stored projection (`storage/subscriptions.py`) as the projection that it stands for."""
    return projections.Projection(
        {
            one if isinstance(one, str) else one["name"]: None if isinstance(one, str) else _projection(one["members"])
            for one in members
        }
    )


def _version(definition: Mapping[str, Any]) -> Version | None:
    version = parse_version(definition.get("ngsildConformance", ""))
    return None if version is None else nearest(version)


def _target(endpoint: Mapping[str, Any], headers: Mapping[str, str], sharing: Sharing) -> Target:
    uri: str = endpoint["uri"]
    parameters = _pairs(endpoint, "notifierInfo")
    ca = parameters.get(CA_FILE)
    try:
        mqtt = parse_mqtt(uri, parameters, ca) if is_mqtt(uri) else None
    except ValueError as error:
        raise BadRequestData(str(error), pointer="/notification/endpoint") from None
    return Target(
        url=uri,
        headers=sharing.made(("headers", *headers.items()), lambda: headers),
        timeout=endpoint["timeout"] / 1000 if "timeout" in endpoint else None,
        cooldown=endpoint.get("cooldown", 0) / 1000,
        mqtt=mqtt,
        ca=ca,
    )


def _pairs(endpoint: Mapping[str, Any], name: str) -> dict[str, str]:
    return {pair["key"]: pair["value"] for pair in endpoint.get(name, ())}


def _selector(stored: Mapping[str, Any], pointer: str, sharing: Sharing) -> Selector:
    pattern = None
    if "idPattern" in stored:
        pattern = _pattern(stored["idPattern"], f"{pointer}/idPattern")
    return Selector(
        types=sharing.same(tuple(frozenset(one) for one in stored["types"])) if "types" in stored else None,
        ids=frozenset(stored["id"]) if "id" in stored else None,
        pattern=pattern,
    )


def _pattern(text: str, pointer: str) -> Callable[[str], object]:
    return _pointed(pointer, lambda: parse_pattern(text).matcher())


def _q(definition: Mapping[str, Any], context: Context) -> _CompiledQ:
    expand_values, json_keys = (
        [one.strip() for one in definition.get(name, "").split(",") if one.strip()]
        for name in ("expandValues", "jsonKeys")
    )

    def compiled() -> _CompiledQ:
        read = parse_q(unquote(definition["q"]))
        node = expand(read, context, expand_values=expand_values, json_keys=json_keys)
        itself = without_links(node)
        return _CompiledQ(node, None if itself is None else compile_predicate(itself), bool(link_depth(node)))

    return _pointed("/q", compiled)


def _geo(query: Mapping[str, Any]) -> GeoQuery:
    key = encode_key(query["geoproperty"]) if "geoproperty" in query else LOCATION
    return _pointed("/geoQ", lambda: geo.parse_geo(query["georel"], query["geometry"], query["coordinates"], key))


def _in_scope(query: ScopeQuery) -> Predicate:
    def in_scope(entity: Entity) -> bool:
        return scopes.matches(query, entity.get("scopes", []))

    return in_scope


def _pointed(pointer: str, compile_it: Callable[[], T]) -> T:
    """What `compile_it` gives; its error points to the member."""
    try:
        return compile_it()
    except NgsiLdError as error:
        error.pointer = pointer
        raise
