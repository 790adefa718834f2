"""From a stored subscription to one that can be used: @contexts resolved, queries and patterns compiled."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import unquote
from weakref import WeakValueDictionary

import orjson

from broker.jsonld.context import Context
from broker.ngsild.errors import NgsiLdError
from broker.ngsild.model import LOCATION, Entity, encode_key
from broker.ngsild.query import geo, scopes
from broker.ngsild.query.grammar import parse_q
from broker.ngsild.query.patterns import parse_pattern
from broker.ngsild.query.predicate import compile_predicate
from broker.ngsild.query.tree import expand
from broker.ngsild.representations import Format
from broker.ngsild.timestamps import microseconds
from broker.notify.matching import TRIGGERS, Condition, Predicate, Selector
from broker.notify.registry import version_of
from broker.notify.rendering import (
    JSON,
    LD_JSON,
    Projection,
    notification_head,
    notification_headers,
    notification_tail,
)
from broker.notify.subscription import Subscription, Target
from broker.storage.subscriptions import Document

_ENTITY_MEMBERS = frozenset({"id", "type", "scope"})
_FORMATS = {**{one.value: one for one in Format}, "keyValues": Format.SIMPLIFIED}


class ResolvesContexts(Protocol):
    """Finds @contexts."""

    async def resolve(self, source: Any) -> Context:
        """The Context for the value of an "@context"."""


class SubscriptionCompiler:
    """Compiles subscription documents. Subscriptions that want to see entities in the same way share a `Projection`."""

    def __init__(self, contexts: ResolvesContexts) -> None:
        self._contexts = contexts
        self._projections: WeakValueDictionary[tuple[Any, ...], Projection] = WeakValueDictionary()

    async def __call__(self, document: Document) -> Subscription:
        """The compiled subscription.

        Raises BadRequestData, with the JSON pointer of the member, for a query or pattern that cannot be compiled, and
        LdContextNotAvailable where an @context is out of reach.
        """
        definition = document["definition"]
        created_with = await self._contexts.resolve(orjson.loads(definition["context"]))
        notified_with = created_with
        if "jsonldContext" in definition:
            notified_with = await self._with_pointer("/jsonldContext", definition["jsonldContext"])
        subscription_id: str = document["_id"]["id"]
        tenant: str = document["_id"]["tenant"]
        notification = definition["notification"]
        endpoint = notification["endpoint"]
        projection = self._projection(definition, notified_with)
        return Subscription(
            tenant=tenant,
            id=subscription_id,
            version=version_of(document),
            active=definition.get("isActive", True),
            condition=await self._condition(definition),
            projection=projection,
            target=Target(
                url=endpoint["uri"],
                headers=notification_headers(
                    tenant,
                    endpoint.get("accept", JSON),
                    notified_with,
                    {pair["key"]: pair["value"] for pair in endpoint.get("receiverInfo", ())},
                ),
                timeout=endpoint["timeout"] / 1000 if "timeout" in endpoint else None,
                cooldown=endpoint.get("cooldown", 0) / 1000,
            ),
            head=notification_head(subscription_id),
            tail=notification_tail(projection),
            expires=microseconds(definition["expiresAt"]) if "expiresAt" in definition else None,
            throttling=definition.get("throttling"),
        )

    async def _with_pointer(self, pointer: str, source: Any) -> Context:
        try:
            return await self._contexts.resolve(source)
        except NgsiLdError as error:
            error.pointer = pointer
            raise

    async def _condition(self, definition: Mapping[str, Any]) -> Condition:
        triggers = 0
        for name in definition["notificationTrigger"]:
            triggers |= TRIGGERS[name]
        watched = definition.get("watchedAttributes")
        predicates: list[Predicate] = []
        if "scopeQ" in definition:
            predicates.append(_scope_predicate(definition["scopeQ"]))
        if "q" in definition:
            context = await self._contexts.resolve(orjson.loads(definition["qContext"]))
            expand_values = [one.strip() for one in definition.get("expandValues", "").split(",") if one.strip()]
            predicates.append(_q_predicate(definition["q"], context, expand_values))
        if "geoQ" in definition:
            predicates.append(_geo_predicate(definition["geoQ"]))
        return Condition(
            selectors=tuple(
                _selector(one, f"/entities/{index}") for index, one in enumerate(definition.get("entities", ()))
            ),
            watched=None if watched is None else frozenset(encode_key(iri) for iri in watched),
            triggers=triggers,
            predicates=tuple(predicates),
        )

    def _projection(self, definition: Mapping[str, Any], context: Context) -> Projection:
        notification = definition["notification"]
        pick = None
        if "attributes" in notification:
            pick = _keys(notification["attributes"]) | _ENTITY_MEMBERS
        elif "pick" in notification:
            pick = _keys(notification["pick"])
        in_body = notification["endpoint"].get("accept", JSON) == LD_JSON or context.link is None
        wanted = (
            context,
            _FORMATS[notification.get("format", "normalized")],
            notification.get("sysAttrs", False),
            pick,
            _keys(notification.get("omit", ())),
            frozenset(definition["datasetId"]) if "datasetId" in definition else None,
            definition.get("lang"),
            in_body,
        )
        projection = self._projections.get(wanted)
        if projection is None:
            projection = self._projections[wanted] = Projection(*wanted)
        return projection


def _keys(names: Any) -> frozenset[str]:
    return frozenset(name if name in _ENTITY_MEMBERS else encode_key(name) for name in names)


def _selector(stored: Mapping[str, Any], pointer: str) -> Selector:
    pattern = None
    if "idPattern" in stored:
        pattern = _pattern(stored["idPattern"], f"{pointer}/idPattern")
    return Selector(
        types=tuple(frozenset(one) for one in stored["types"]) if "types" in stored else None,
        ids=frozenset(stored["id"]) if "id" in stored else None,
        pattern=pattern,
    )


def _pattern(text: str, pointer: str) -> Callable[[str], object]:
    try:
        return parse_pattern(text).matcher()
    except NgsiLdError as error:
        error.pointer = pointer
        raise


def _q_predicate(text: str, context: Context, expand_values: Sequence[str]) -> Predicate:
    try:
        return compile_predicate(expand(parse_q(unquote(text)), context, expand_values=expand_values))
    except NgsiLdError as error:
        error.pointer = "/q"
        raise


def _geo_predicate(query: Mapping[str, Any]) -> Predicate:
    key = encode_key(query["geoproperty"]) if "geoproperty" in query else LOCATION
    try:
        compiled = geo.parse_geo(query["georel"], query["geometry"], query["coordinates"], key)
    except NgsiLdError as error:
        error.pointer = "/geoQ"
        raise

    def near_enough(entity: Entity) -> bool:
        return geo.matches(compiled, entity)

    return near_enough


def _scope_predicate(text: str) -> Predicate:
    try:
        compiled = scopes.parse_scope_q(text)
    except NgsiLdError as error:
        error.pointer = "/scopeQ"
        raise

    def in_scope(entity: Entity) -> bool:
        return scopes.matches(compiled, entity.get("scopes", []))

    return in_scope
