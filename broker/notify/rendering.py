"""What a subscriber is told: the body of a notification (clauses 5.3.1, 5.8.6) and its HTTP headers (clause 6.3.8)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from broker.ngsild.changes import Change
from broker.ngsild.model import NGSI_LD_NULL, VALUE_MEMBERS, Entity, Instance, decode_key
from broker.ngsild.representations import Format, render_entity

LD_JSON = "application/ld+json"
JSON = "application/json"

_LINK = '<{}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
_DELETED_MAP = {"@none": NGSI_LD_NULL}


class NotificationContext(Protocol):
    """What a notification needs of its @context."""

    @property
    def source(self) -> Any:
        """What a body shows as its "@context"."""

    @property
    def link(self) -> str | None:
        """The one URL for a Link header; None when there is none."""

    def compact(self, iri: str) -> str:
        """The term for an IRI."""


@dataclass(slots=True, frozen=True, eq=False, weakref_slot=True)
class Projection:
    """How a subscription wants to see entities. Subscriptions that want the same share one.

    `pick` and `omit` hold attribute keys and the names "id", "type", "scope"; `datasets` holds datasetIds and "@none".
    `context_in_body` is set for JSON-LD, and for JSON whose @context has no URL of its own that a Link could name.
    """

    context: NotificationContext
    format: Format = Format.NORMALIZED
    sys_attrs: bool = False
    pick: frozenset[str] | None = None
    omit: frozenset[str] = field(default_factory=frozenset)
    datasets: frozenset[str] | None = None
    lang: str | None = None
    context_in_body: bool = False

    def render(self, change: Change, *, deleted_attributes: bool) -> bytes:
        """The changed entity as JSON: as it is after the change, with what the change deleted as NGSI-LD Null.

        Of a deleted entity there remain id, type and deletedAt; `deleted_attributes` adds its attributes.
        """
        if change.after is not None:
            document = self._render(change.after)
        else:
            document = self._render({**(change.before or {}), "attributes": {}})
            document.pop("scope", None)
            document["deletedAt"] = change.now
        if change.after is not None or deleted_attributes:
            for key, instances in deleted_instances(change).items():
                self._add_deleted(document, key, instances, change.now)
        if self.context_in_body:
            document["@context"] = self.context.source
        return orjson.dumps(document)

    def _render(self, entity: Entity) -> dict[str, Any]:
        return render_entity(
            entity,
            self.context,
            self.format,
            sys_attrs=self.sys_attrs,
            pick=self.pick,
            omit=self.omit,
            datasets=self.datasets,
            lang=self.lang,
        )

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
            kept = document[name]
            rendered = [*(kept if isinstance(kept, list) else [kept]), *rendered]
        document[name] = rendered[0] if len(rendered) == 1 else rendered

    def _deleted_instance(self, instance: Instance, now: str) -> Any:
        kind = instance["type"]
        gone: dict[str, Any] = {"type": kind} if self.format is Format.NORMALIZED else {}
        gone[VALUE_MEMBERS[kind]] = _DELETED_MAP if kind == "LanguageProperty" else NGSI_LD_NULL
        if "datasetId" in instance:
            gone["datasetId"] = instance["datasetId"]
        if self.sys_attrs:
            gone.update({member: instance[member] for member in ("createdAt", "modifiedAt") if member in instance})
            gone["deletedAt"] = now
        return NGSI_LD_NULL if self.format is Format.CONCISE and len(gone) == 1 else gone


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
    """The end of a body behind its data: the @context where the body carries it."""
    if projection.context_in_body:
        return b'],"@context":' + orjson.dumps(projection.context.source) + b"}"
    return b"]}"


def notification_body(notification_id: str, head: bytes, now: str, entity: bytes, tail: bytes) -> bytes:
    """A notification of one entity: `head` and `tail` are those of the subscription, `entity` is finished JSON."""
    return b'{"id":"' + notification_id.encode() + head + now.encode() + b'","data":[' + entity + tail


def notification_headers(
    tenant: str, accept: str, context: NotificationContext, receiver_info: Mapping[str, str]
) -> dict[str, str]:
    """The headers of every notification of a subscription; those of its receiverInfo come on top (clause 6.3.8)."""
    headers = {"Content-Type": accept}
    if accept == JSON and context.link is not None:
        headers["Link"] = _LINK.format(context.link)
    if tenant:
        headers["NGSILD-Tenant"] = tenant
    for name, value in receiver_info.items():
        taken = next((known for known in headers if known.lower() == name.lower()), None)
        headers[taken or name] = value
    return headers
