"""The notification member of a subscription: which data go where (clauses 5.2.14, 5.2.15, 5.2.22)."""

import re
from collections.abc import Mapping
from typing import Any

from broker.core.subscription_values import (
    expand_name,
    read_boolean,
    read_list,
    read_object,
    read_positive,
    read_text,
)
from broker.ngsild.errors import BadRequestData, NotYetImplemented

FORMATS = ("normalized", "concise", "simplified", "keyValues")
ACCEPTED = ("application/json", "application/ld+json", "application/geo+json")

_MEMBERS = frozenset(
    {"attributes", "pick", "omit", "format", "sysAttrs", "showChanges", "join", "joinLevel", "endpoint"}
)
_OUTPUT_ONLY = frozenset({"lastFailure", "lastNotification", "lastSuccess", "status", "timesFailed", "timesSent"})
_ENDPOINT_MEMBERS = frozenset({"uri", "accept", "cooldown", "timeout", "receiverInfo", "notifierInfo"})
_ENTITY_MEMBERS = ("id", "type", "scope")
_PROJECTIONS = ("attributes", "pick", "omit")

_ENDPOINT_URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*)://[^\s/?#<>\"]+[^\s<>\"]*")
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")
_HEADERS_OF_THE_CONNECTION = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "expect"}
)


def read_notification(value: Any, context: Any, pointer: str) -> dict[str, Any]:
    """NotificationParams with attribute names expanded.

    BadRequestData for what makes no sense, NotYetImplemented for what Vela cannot do yet.
    """
    members = read_object(value, pointer)
    for name in members:
        if name not in _MEMBERS and name not in _OUTPUT_ONLY:
            raise BadRequestData(
                f"{name!r:.80} is no member of a notification: expected those of clause 5.2.14.",
                pointer=f"{pointer}/{name}",
            )
    notification: dict[str, Any] = {}
    for name in _PROJECTIONS:
        if name in members:
            notification[name] = _read_projection(name, members[name], context, f"{pointer}/{name}")
    _check_projections(notification, pointer)
    if "format" in members:
        notification["format"] = _one_of(members["format"], FORMATS, f"{pointer}/format")
    for name in ("sysAttrs", "showChanges"):
        if name in members:
            notification[name] = read_boolean(members[name], context, f"{pointer}/{name}")
    _check_changes(notification, pointer)
    _check_join(members, pointer)
    if members.get("endpoint") is None:
        raise BadRequestData(
            'The notification has no endpoint: add one such as "endpoint": {"uri": "http://example.org/notify"}.',
            pointer=f"{pointer}/endpoint",
        )
    notification["endpoint"] = _read_endpoint(members["endpoint"], context, f"{pointer}/endpoint")
    return notification


def render_notification(notification: Mapping[str, Any], delivery: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """NotificationParams as a client sees them, with what was delivered so far (clause 5.2.14.2)."""
    rendered = dict(notification)
    for name in _PROJECTIONS:
        if name in rendered:
            rendered[name] = [one if one in _ENTITY_MEMBERS else context.compact(one) for one in rendered[name]]
    succeeded, failed = delivery.get("lastSuccess", ""), delivery.get("lastFailure", "")
    if succeeded or failed:
        rendered["status"] = "ok" if succeeded >= failed else "failed"
    rendered.update({name: number for name in ("timesSent", "timesFailed") if (number := delivery.get(name))})
    rendered.update(
        {name: delivery[name] for name in ("lastNotification", "lastSuccess", "lastFailure") if name in delivery}
    )
    return rendered


def _read_projection(name: str, value: Any, context: Any, pointer: str) -> list[str]:
    projection = []
    for index, one in enumerate(read_list(value, pointer, "entity member names")):
        at = f"{pointer}/{index}"
        text = read_text(one, context, at)
        if "{" in text:
            raise NotYetImplemented(f"{text!r:.80} goes into linked entities, which is not implemented.", pointer=at)
        if text in _ENTITY_MEMBERS:
            if name == "attributes":
                raise BadRequestData(f"{text!r} is no attribute: use pick instead of attributes.", pointer=at)
            projection.append(text)
        else:
            projection.append(expand_name(text, context, at))
    return list(dict.fromkeys(projection))


def _check_projections(notification: Mapping[str, Any], pointer: str) -> None:
    for other in ("pick", "omit"):
        if "attributes" in notification and other in notification:
            raise BadRequestData(
                f"attributes and {other} exclude each other: attributes is deprecated, use pick and omit.",
                pointer=f"{pointer}/attributes",
            )
    both = set(notification.get("pick", ())) & set(notification.get("omit", ()))
    if both:
        raise BadRequestData(f"{min(both)!r} is both picked and omitted: decide on one.", pointer=f"{pointer}/omit")


def _check_changes(notification: dict[str, Any], pointer: str) -> None:
    if not notification.get("showChanges"):
        return
    if notification.get("format") in ("simplified", "keyValues"):
        raise BadRequestData(
            "showChanges needs the format normalized or concise: simplified has no room for previous values.",
            pointer=f"{pointer}/showChanges",
        )
    raise NotYetImplemented(
        "Notifications with 'showChanges' are not implemented; leave the member out.", pointer=f"{pointer}/showChanges"
    )


def _check_join(members: Mapping[str, Any], pointer: str) -> None:
    if "join" in members and _one_of(members["join"], ("flat", "inline", "@none"), f"{pointer}/join") != "@none":
        raise NotYetImplemented(
            "Notifications with 'join' are not implemented; leave the member out.", pointer=f"{pointer}/join"
        )
    if "joinLevel" in members:
        level = members["joinLevel"]
        if not isinstance(level, int) or isinstance(level, bool) or level < 1:
            raise BadRequestData(
                f"joinLevel is {level!r:.80}: expected a whole number, 1 or more.", pointer=f"{pointer}/joinLevel"
            )


def _read_endpoint(value: Any, context: Any, pointer: str) -> dict[str, Any]:
    members = read_object(value, pointer)
    for name in members:
        if name not in _ENDPOINT_MEMBERS:
            raise BadRequestData(
                f"{name!r:.80} is no member of an endpoint: expected {', '.join(sorted(_ENDPOINT_MEMBERS))}.",
                pointer=f"{pointer}/{name}",
            )
    if "uri" not in members:
        raise BadRequestData("The endpoint has no uri: say where notifications go.", pointer=f"{pointer}/uri")
    endpoint: dict[str, Any] = {"uri": _read_uri(members["uri"], f"{pointer}/uri")}
    if "accept" in members:
        endpoint["accept"] = _one_of(members["accept"], ACCEPTED, f"{pointer}/accept")
        if endpoint["accept"] == "application/geo+json":
            raise NotYetImplemented(
                "Notifications in GeoJSON are not implemented; accept application/json or application/ld+json.",
                pointer=f"{pointer}/accept",
            )
    for name in ("timeout", "cooldown"):
        if name in members:
            endpoint[name] = read_positive(members[name], context, f"{pointer}/{name}")
    for name in ("receiverInfo", "notifierInfo"):
        if name in members:
            endpoint[name] = _read_pairs(members[name], f"{pointer}/{name}", headers=name == "receiverInfo")
    return endpoint


def _read_uri(value: Any, pointer: str) -> str:
    match = _ENDPOINT_URI.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise BadRequestData(
            f"The uri {value!r:.200} is no URL: expected one such as http://example.org/notify.", pointer=pointer
        )
    scheme = match["scheme"].lower()
    if scheme in ("mqtt", "mqtts"):
        raise NotYetImplemented(
            "Notifications over MQTT are not implemented; use an http or https uri.", pointer=pointer
        )
    if scheme not in ("http", "https"):
        raise BadRequestData(f"Notifications cannot go to {scheme}: expected an http or https uri.", pointer=pointer)
    return match.string


def _read_pairs(value: Any, pointer: str, *, headers: bool) -> list[dict[str, str]]:
    if not isinstance(value, list):
        raise BadRequestData(
            f'{value!r:.80} is no array of pairs: expected such as [{{"key": "Authorization", "value": "Bearer …"}}].',
            pointer=pointer,
        )
    return [_read_pair(one, f"{pointer}/{index}", headers=headers) for index, one in enumerate(value)]


def _read_pair(value: Any, pointer: str, *, headers: bool) -> dict[str, str]:
    members = read_object(value, pointer)
    if members.keys() != {"key", "value"} or not all(isinstance(one, str) for one in members.values()):
        raise BadRequestData("The pair needs a key and a value, both texts, and nothing else.", pointer=pointer)
    if headers:
        if _HEADER_NAME.fullmatch(members["key"]) is None or members["key"].lower() in _HEADERS_OF_THE_CONNECTION:
            raise BadRequestData(
                f"{members['key']!r:.80} cannot be the name of an HTTP header that Vela sends.",
                pointer=f"{pointer}/key",
            )
        if _HEADER_VALUE.fullmatch(members["value"]) is None:
            raise BadRequestData(
                f"The value of the header {members['key']!r} holds control characters.", pointer=f"{pointer}/value"
            )
    return {"key": members["key"], "value": members["value"]}


def _one_of(value: Any, allowed: tuple[str, ...], pointer: str) -> str:
    if isinstance(value, str) and value in allowed:
        return value
    raise BadRequestData(f"{value!r:.80} is not possible here: expected one of {', '.join(allowed)}.", pointer=pointer)
