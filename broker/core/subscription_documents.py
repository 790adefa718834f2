"""Subscription documents: from what a client sends to the stored form, and back (clauses 5.2.12 to 5.2.15, 5.2.33).

The stored form is described in `storage/subscriptions.py`. Reading is strict about what is said, lenient about what is
read-only (ignored) and about `name` for `subscriptionName`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from broker.core.notification_params import read_notification, render_notification
from broker.core.subscription_values import (
    read_boolean,
    read_dataset_ids,
    read_entities,
    read_geo_query,
    read_language,
    read_names,
    read_positive,
    read_query,
    read_text,
    read_triggers,
    read_version,
    read_words,
    render_entities,
    render_geo_query,
)
from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import NGSI_LD_BASE, NGSI_LD_NULL
from broker.ngsild.names import check_uri
from broker.ngsild.timestamps import microseconds, parse_timestamp

Definition = dict[str, Any]

DEFAULT_TRIGGERS = ["attributeCreated", "attributeUpdated"]
"""The triggers of a subscription that names none (clause 5.2.12)."""

_ALIASES = {"@id": "id", "@type": "type", "name": "subscriptionName"}
_TYPES = ("Subscription", NGSI_LD_BASE + "Subscription")
_READ_ONLY = frozenset({"status", "createdAt", "modifiedAt", "deletedAt"})
_APART = frozenset({"id", "type", "@context"})
_PERIODIC_WITHOUT = ("throttling", "watchedAttributes")


class Terms(Protocol):
    """What reading and rendering need of an @context."""

    def expand(self, term: str) -> str:
        """The IRI of a type or attribute name."""

    def compact(self, iri: str) -> str:
        """The term for an IRI."""


Reader = Callable[[Any, Terms, str], Any]

_READERS: dict[str, Reader] = {
    "subscriptionName": read_text,
    "description": read_text,
    "entities": read_entities,
    "watchedAttributes": read_names,
    "notificationTrigger": read_triggers,
    "q": read_text,
    "csf": read_query,
    "expandValues": read_words,
    "jsonKeys": read_words,
    "geoQ": read_geo_query,
    "scopeQ": read_text,
    "lang": read_language,
    "datasetId": read_dataset_ids,
    "expiresAt": lambda value, _, pointer: parse_timestamp(value, pointer=pointer),
    "isActive": read_boolean,
    "throttling": read_positive,
    "timeInterval": read_positive,
    "localOnly": read_boolean,
    "splitEntities": read_boolean,
    "ngsildConformance": read_version,
    "jsonldContext": lambda value, _, pointer: check_uri(value, "jsonldContext", pointer),
    "notification": read_notification,
}
"""How each member is read: called with its value, the @context, and its JSON pointer."""

_PLAIN = (
    *("subscriptionName", "description", "notificationTrigger", "q", "csf", "expandValues", "jsonKeys", "scopeQ"),
    *("lang", "datasetId", "expiresAt", "isActive", "throttling", "timeInterval", "localOnly", "splitEntities"),
    "ngsildConformance",
)


def read_subscription(body: Any, context: Terms, now: str) -> tuple[str | None, Definition]:
    """The id, if there is one, and the definition that a creation asks for. BadRequestData."""
    members = _members(body)
    subscription_id = check_uri(members["id"], "id of the subscription", "/id") if "id" in members else None
    if members.get("type") not in _TYPES:
        raise BadRequestData('The subscription has no type: add "type": "Subscription".', pointer="/type")
    definition = {"notificationTrigger": DEFAULT_TRIGGERS, **_read(members, context, now)}
    check_definition(definition)
    return subscription_id, definition


def read_changes(body: Any, context: Terms, now: str) -> Definition:
    """The members that an update sets (clause 5.8.2); None for those that it deletes."""
    members = _members(body)
    deleted = [name for name, value in members.items() if value is None or value == NGSI_LD_NULL]
    for name in deleted:
        if name in ("id", "type", "notification"):
            raise BadRequestData(f"{name!r} cannot be deleted: a subscription needs it.", pointer=f"/{name}")
        if name not in _READERS:
            raise _unknown(name)
    kept = {name: value for name, value in members.items() if name not in deleted}
    return {**dict.fromkeys(deleted), **_read(kept, context, now)}


def merged(definition: Definition, changes: Definition, now: str) -> Definition:
    """`definition` with `changes` applied, each member as a whole (clause 5.5.8).

    An expired subscription that is given a time to come is active again, paused before or not (clause 5.8.2.4).
    BadRequestData if the result makes no sense.
    """
    result = {name: value for name, value in {**definition, **changes}.items() if value is not None}
    if changes.get("expiresAt") is not None and "isActive" not in changes and status(definition, now) == "expired":
        result.pop("isActive", None)
    result.setdefault("notificationTrigger", DEFAULT_TRIGGERS)
    check_definition(result)
    return result


def check_definition(definition: Definition) -> None:
    """BadRequestData unless the members of a definition fit together."""
    if "notification" not in definition:
        raise BadRequestData(
            "The subscription has no notification: say where notifications go, such as "
            '"notification": {"endpoint": {"uri": "http://example.org/notify"}}.',
            pointer="/notification",
        )
    if not definition.get("localOnly") and not definition.keys() & {"entities", "watchedAttributes"}:
        raise BadRequestData(
            "The subscription names neither entities nor watchedAttributes: say what it is about.", pointer="/entities"
        )
    if "timeInterval" in definition:
        for name in _PERIODIC_WITHOUT:
            if name in definition:
                raise BadRequestData(
                    f"timeInterval and {name} exclude each other: leave one of them out.", pointer=f"/{name}"
                )


def render_subscription(
    document: Mapping[str, Any], context: Terms, now: str, *, sys_attrs: bool = False
) -> dict[str, Any]:
    """A stored subscription as a client sees it, without "@context" (clauses 5.2.12, 5.8.3)."""
    definition = document["definition"]
    rendered: dict[str, Any] = {"id": document["_id"]["id"], "type": "Subscription"}
    rendered.update({name: definition[name] for name in _PLAIN if name in definition})
    if "entities" in definition:
        rendered["entities"] = render_entities(definition["entities"], context)
    if "watchedAttributes" in definition:
        rendered["watchedAttributes"] = [context.compact(iri) for iri in definition["watchedAttributes"]]
    if "geoQ" in definition:
        rendered["geoQ"] = render_geo_query(definition["geoQ"], context)
    link = definition.get("jsonldContext", definition.get("contextLink"))
    if link is not None:
        rendered["jsonldContext"] = link
    rendered["notification"] = render_notification(definition["notification"], document.get("delivery", {}), context)
    rendered["status"] = status(definition, now)
    if sys_attrs:
        rendered.update({name: document[name] for name in ("createdAt", "modifiedAt")})
    return rendered


def status(definition: Definition, now: str) -> str:
    """The status of a subscription at the time `now` (clauses 5.8.1.4 and 5.8.2.4)."""
    if "expiresAt" in definition and microseconds(definition["expiresAt"]) <= microseconds(now):
        return "expired"
    return "active" if definition.get("isActive", True) else "paused"


def _members(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict) or not body.keys() - {"@context"}:
        raise BadRequestData("The body is no subscription: expected a JSON object with the members of one.", pointer="")
    members: dict[str, Any] = {}
    sent: str
    for sent, value in body.items():
        name = _ALIASES.get(sent, sent)
        if name in members and members[name] != value:
            raise BadRequestData(f"{name!r} is given twice, with different values.", pointer=f"/{sent}")
        if name not in _READ_ONLY:
            members[name] = value
    if "type" in members and members["type"] not in (*_TYPES, None, NGSI_LD_NULL):
        raise BadRequestData(f'The type is {members["type"]!r:.80}: expected "Subscription".', pointer="/type")
    return members


def _read(members: dict[str, Any], context: Terms, now: str) -> Definition:
    read: Definition = {}
    for name, value in members.items():
        if name in _APART:
            continue
        if name == "temporalQ":
            raise BadRequestData(
                "temporalQ is for subscriptions to context source registrations (clause 5.2.12): leave it out.",
                pointer="/temporalQ",
            )
        if name not in _READERS:
            raise _unknown(name)
        read[name] = _READERS[name](value, context, f"/{name}")
    if "expiresAt" in read and microseconds(read["expiresAt"]) <= microseconds(now):
        raise BadRequestData(
            f"expiresAt is {read['expiresAt']}, which is past: expected a time to come.", pointer="/expiresAt"
        )
    return read


def _unknown(name: str) -> BadRequestData:
    return BadRequestData(
        f"{name!r:.80} is no member of a subscription: expected those of clause 5.2.12.",
        pointer="/" + name.replace("~", "~0").replace("/", "~1"),
    )
