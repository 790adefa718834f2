"""What a subscriber is told: the body of a notification (clauses 5.3.1, 5.8.6) and its HTTP headers (clause 6.3.8)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import orjson

from broker.ngsild.changes import Change
from broker.ngsild.content import read_content
from broker.ngsild.geojson import feature
from broker.ngsild.languages import parse_language_ranges
from broker.ngsild.linking import Joining, LinkedEntities, ProjectedView, assemble
from broker.ngsild.model import NGSI_LD_NULL, VALUE_MEMBERS, Entity, Instance, decode_key
from broker.ngsild.representations import Format, previous_value, render_entity, shown_instances
from broker.ngsild.versions import Version, conform
from broker.notify.previous import in_one_language, with_previous

LD_JSON = "application/ld+json"
JSON = "application/json"
GEO_JSON = "application/geo+json"

NO_ATTRIBUTES: frozenset[str] = frozenset()

_LINK = '<{}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
_DELETED = {
    "LanguageProperty": {"@none": NGSI_LD_NULL},
    "ListProperty": [NGSI_LD_NULL],
    "ListRelationship": [NGSI_LD_NULL],
}
"""The NGSI-LD Null of the types whose value is no text (clauses 4.5.0, 4.5.18, 4.5.21, 4.5.22)."""


class NotificationContext(Protocol):
    """What a notification needs of its @context."""

    @property
    def source(self) -> Any:
        """What a body shows as its "@context"."""

    def compact(self, iri: str) -> str:
        """The term for an IRI."""

    def compact_vocab(self, iri: str) -> str:
        """The text for an IRI that is a value."""


Shown = tuple[Entity, dict[str, Any]]
"""An entity and the document that shows it."""


@dataclass(slots=True, frozen=True, eq=False, weakref_slot=True)
class Projection:
    """How a subscription wants to see entities. Subscriptions that want the same share one.

    `pick` and `omit` hold attribute keys and the names "id", "type", "scope"; `datasets` holds datasetIds and "@none".
    `context_in_body` is set for JSON-LD, and for GeoJSON unless `Prefer: body=json` is sent; a Link header names the
    @context elsewhere. `version` is the one to conform to. `joining` asks for linked entities, which `view` shows.
    """

    context: NotificationContext
    format: Format = Format.NORMALIZED
    sys_attrs: bool = False
    pick: frozenset[str] | None = None
    omit: frozenset[str] = field(default_factory=frozenset)
    datasets: frozenset[str] | None = None
    lang: str | None = None
    context_in_body: bool = False
    geojson: bool = False
    show_changes: bool = False
    version: Version | None = None
    joining: Joining | None = None
    view: ProjectedView | None = None

    def render(self, change: Change, gone: frozenset[str] | None = None) -> bytes:
        """The changed entity as JSON: as it is after the change, with what the change deleted as NGSI-LD Null.

        Of a deleted entity there remain id, type and deletedAt, and its attributes as far as `gone` has their keys;
        None is all of them. Linked entities are not looked at.
        """
        change = self._conformed_change(change)
        if change.after is None:
            return self.finished([self._deleted(change, gone)])
        entity = self._with_changes(change, change.after)
        document = self._document(entity, self.pick, self.omit)
        self._mark_deleted(document, change, None)
        return self.finished([(entity, document)])

    def render_all(self, entities: Iterable[Entity]) -> bytes:
        """Entities as they are, as JSON with commas between them. Linked entities are not looked at."""
        conformed = [self._conformed(entity) for entity in entities]
        return self.finished([(one, self._document(one, self.pick, self.omit)) for one in conformed])

    def render_linked(self, linked: LinkedEntities, change: Change | None = None) -> bytes:
        """Selected entities with those that they link to, as JSON with commas between them.

        With a `change`, which is no deletion, it is the first of the selected that has changed.
        """
        conformed = None if change is None else self._conformed_change(change)
        changed = linked.selected[0].entity if change is not None else None

        def show(entity: Entity, view: ProjectedView) -> Shown:
            shown = self._conformed(entity)
            if entity is changed and conformed is not None:
                shown = self._with_changes(conformed, shown)
            return shown, self._document(shown, view.picked, view.omitted)

        assembled = assemble(linked, show, self.context, self.format)
        if conformed is not None:
            self._mark_deleted(assembled[0][1], conformed, None)
        return self.finished(assembled)

    def finished(self, shown: Sequence[Shown]) -> bytes:
        """Entities that were rendered, as a notification has them: JSON with commas between them."""
        return b",".join(orjson.dumps(self._framed(entity, document)) for entity, document in shown)

    def _framed(self, entity: Entity, document: dict[str, Any]) -> dict[str, Any]:
        if self.geojson:
            return feature(entity, document, datasets=self.datasets)
        if self.context_in_body:
            document["@context"] = self.context.source
        return document

    def _conformed(self, entity: Entity) -> Entity:
        if self.version is None:
            return entity
        return conform(entity, self.version, self.context, languages=self.lang is None)

    def _conformed_change(self, change: Change) -> Change:
        if self.version is None:
            return change
        before, after = (None if one is None else self._conformed(one) for one in (change.before, change.after))
        return replace(change, before=before, after=after)

    def _with_changes(self, change: Change, after: Entity) -> Entity:
        if not self.show_changes or change.before is None:
            return after
        before = change.before
        if self.lang is not None:
            ranges = parse_language_ranges(self.lang)
            before, after = in_one_language(before, ranges), in_one_language(after, ranges)
        return with_previous(before, after)

    def _deleted(self, change: Change, gone: frozenset[str] | None) -> Shown:
        remains: Entity = {**(change.before or {}), "attributes": {}}
        document = self._document(remains, self.pick, self.omit)
        document.pop("scope", None)
        document["deletedAt"] = change.now
        self._mark_deleted(document, change, gone)
        return remains, document

    def _document(self, entity: Entity, pick: frozenset[str] | None, omit: frozenset[str]) -> dict[str, Any]:
        return render_entity(
            entity,
            self.context,
            self.format,
            sys_attrs=self.sys_attrs,
            pick=pick,
            omit=omit,
            datasets=self.datasets,
            lang=self.lang,
        )

    def _mark_deleted(self, document: dict[str, Any], change: Change, only: frozenset[str] | None) -> None:
        """Add what the change deleted, as NGSI-LD Null: of the attributes in `only`, or of all."""
        if only is not None and not only:
            return
        kept = change.after["attributes"] if change.after is not None else {}
        for key, instances in deleted_instances(change).items():
            if only is None or key in only:
                self._add_deleted(document, key, instances if key in kept else self._summary(instances), change.now)

    def _summary(self, instances: list[Instance]) -> list[Instance]:
        """What tells the deletion of all instances of an attribute: its name alone where no more is asked for."""
        if self.sys_attrs or self.show_changes or self.datasets is not None:
            return instances
        default = [one for one in instances if "datasetId" not in one]
        return default or instances

    def _add_deleted(self, document: dict[str, Any], key: str, instances: list[Instance], now: str) -> None:
        if (self.pick is not None and key not in self.pick) or key in self.omit:
            return
        if self.datasets is not None:
            instances = [one for one in instances if one.get("datasetId", "@none") in self.datasets]
        if not instances:
            return
        name = self.context.compact(decode_key(key))
        if self.format is Format.SIMPLIFIED:
            document[name] = _simplified(document.get(name), instances)
            return
        rendered = [self._deleted_instance(one, now) for one in instances]
        if name in document:
            rendered = [*shown_instances(document[name]), *rendered]
        alone = len(rendered) == 1
        # Without a datasetId a deletion is concise as the NGSI-LD Null alone (clause 4.5.18.3).
        short = alone and self.format is Format.CONCISE and len(rendered[0]) == 1
        document[name] = NGSI_LD_NULL if short else rendered[0] if alone else rendered

    def _deleted_instance(self, instance: Instance, now: str) -> dict[str, Any]:
        kind = instance["type"]
        gone: dict[str, Any] = {"type": kind} if self.format is Format.NORMALIZED else {}
        gone[VALUE_MEMBERS[kind]] = _DELETED.get(kind, NGSI_LD_NULL)
        if self.show_changes:
            gone.update(previous_value(kind, instance[VALUE_MEMBERS[kind]], self.context, self.format))
        if "datasetId" in instance:
            gone["datasetId"] = instance["datasetId"]
        if self.sys_attrs:
            gone.update({member: instance[member] for member in ("createdAt", "modifiedAt") if member in instance})
            gone["deletedAt"] = now
        return gone


def deleted_instances(change: Change) -> dict[str, list[Instance]]:
    """The attribute instances that the change deleted, as they were before, by attribute key."""
    if change.before is None:
        return {}
    remaining = change.after["attributes"] if change.after is not None else {}
    gone: dict[str, list[Instance]] = {}
    for key in change.attributes:
        before = change.before["attributes"].get(key)
        if before is None:
            continue
        kept = {one.get("datasetId") for one in remaining.get(key, ())}
        lost = [one for one in before if one.get("datasetId") not in kept]
        if lost:
            gone[key] = lost
    return gone


def _simplified(kept: Any, instances: list[Instance]) -> Any:
    lost = {one.get("datasetId", "@none"): NGSI_LD_NULL for one in instances}
    if kept is None:
        return NGSI_LD_NULL if lost.keys() == {"@none"} else {"dataset": lost}
    if "@none" in lost:
        return {"dataset": {**kept["dataset"], **lost}}
    datasets = kept["dataset"] if isinstance(kept, dict) and kept.keys() == {"dataset"} else {"@none": kept}
    return {"dataset": {**datasets, **lost}}


def notification_head(subscription_id: str) -> bytes:
    """The part of a body that all notifications of a subscription share, from the type on."""
    return b'","type":"Notification","subscriptionId":' + orjson.dumps(subscription_id) + b',"notifiedAt":"'


def notification_tail(projection: Projection) -> bytes:
    """The end of a body behind its data: the @context where the body, or in GeoJSON its data, carries it."""
    end = b"}}" if projection.geojson else b"}"
    if projection.context_in_body:
        return b'],"@context":' + orjson.dumps(projection.context.source) + end
    return b"]" + end


def notification_body(
    notification_id: str, head: bytes, now: str, entities: bytes, tail: bytes, *, geojson: bool = False
) -> bytes:
    """A notification: `head` and `tail` are those of the subscription, `entities` finished JSON (`Projection`)."""
    opening = b'","data":{"type":"FeatureCollection","features":[' if geojson else b'","data":['
    return b'{"id":"' + notification_id.encode() + head + now.encode() + opening + entities + tail


def prefers_plain_body(receiver_info: Mapping[str, str]) -> bool:
    """Whether GeoJSON is to come without an @context in it: the header `Prefer: body=json` (clauses 5.3.1, 6.3.8)."""
    preferred = ",".join(value for name, value in receiver_info.items() if name.lower() == "prefer")
    return any(part.strip().lower() == "body=json" for part in preferred.split(","))


def notification_headers(
    tenant: str, accept: str, link: str | None, receiver_info: Mapping[str, str]
) -> dict[str, str]:
    """The headers of every notification of a subscription; those of its receiverInfo come on top (clause 6.3.8).

    `link` is the URL of its @context.
    """
    headers = {"Content-Type": accept}
    linked = accept == JSON or (accept == GEO_JSON and prefers_plain_body(receiver_info))
    if linked and link is not None:
        headers["Link"] = _LINK.format(link)
    owner, snapshot_id, _ = read_content(tenant)
    if owner:
        headers["NGSILD-Tenant"] = owner
    if snapshot_id is not None:
        headers["NGSILD-Snapshot"] = snapshot_id
    for name, value in receiver_info.items():
        taken = next((known for known in headers if known.lower() == name.lower()), None)
        headers[taken or name] = value
    return headers
