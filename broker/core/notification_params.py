"""The notification member of a subscription: which data go where (clauses 5.2.14, 5.2.15, 5.2.22)."""

import re
from collections.abc import Mapping
from typing import Any

from broker.core.subscription_projections import PROJECTIONS, read_projections, render_projection
from broker.core.subscription_values import read_boolean, read_object, read_positive
from broker.ngsild.errors import BadRequestData, NotYetImplemented, TooComplexQuery
from broker.ngsild.linking import MAX_LEVEL, JoinForm
from broker.notify.mqtt_address import QOS, VERSION, is_mqtt, parse_mqtt, parse_mqtt_uri
from broker.notify.trust import CA_FILE

FORMATS = ("normalized", "concise", "simplified", "keyValues")
ACCEPTED = ("application/json", "application/ld+json", "application/geo+json")

_MEMBERS = frozenset(
    {"attributes", "pick", "omit", "format", "sysAttrs", "showChanges", "join", "joinLevel", "endpoint"}
)
_OUTPUT_ONLY = frozenset({"lastFailure", "lastNotification", "lastSuccess", "status", "timesFailed", "timesSent"})
_ENDPOINT_MEMBERS = frozenset({"uri", "accept", "cooldown", "timeout", "receiverInfo", "notifierInfo"})
_NO_JOIN = "@none"
_JOINS = (*(form.value for form in JoinForm), _NO_JOIN)

_ENDPOINT_URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*)://[^\s/?#<>\"]+[^\s<>\"]*")
_CREDENTIALS = re.compile(r"//[^/]*@")
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")
_HEADERS_OF_THE_CONNECTION = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "expect"}
)


def read_notification(value: Any, context: Any, pointer: str) -> dict[str, Any]:
    """NotificationParams with attribute names expanded. BadRequestData for what makes no sense."""
    members = read_object(value, pointer)
    for name in members:
        if name not in _MEMBERS and name not in _OUTPUT_ONLY:
            raise BadRequestData(
                f"{name!r:.80} is no member of a notification: expected those of clause 5.2.14.",
                pointer=f"{pointer}/{name}",
            )
    notification = _read_join(members, pointer)
    depth = notification.get("joinLevel", 1) if notification.get("join", _NO_JOIN) != _NO_JOIN else 0
    notification.update(read_projections(members, context, pointer, depth))
    if "format" in members:
        notification["format"] = _one_of(members["format"], FORMATS, f"{pointer}/format")
    for name in ("sysAttrs", "showChanges"):
        if name in members:
            notification[name] = read_boolean(members[name], context, f"{pointer}/{name}")
    _check_changes(notification, pointer)
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
    for name in PROJECTIONS:
        if name in rendered:
            rendered[name] = render_projection(rendered[name], context)
    succeeded, failed = delivery.get("lastSuccess", ""), delivery.get("lastFailure", "")
    if succeeded or failed:
        rendered["status"] = "ok" if succeeded >= failed else "failed"
    rendered.update({name: number for name in ("timesSent", "timesFailed") if (number := delivery.get(name))})
    rendered.update(
        {name: delivery[name] for name in ("lastNotification", "lastSuccess", "lastFailure") if name in delivery}
    )
    return rendered


def _check_changes(notification: Mapping[str, Any], pointer: str) -> None:
    if notification.get("showChanges") and notification.get("format") in ("simplified", "keyValues"):
        raise BadRequestData(
            "showChanges needs the format normalized or concise: simplified has no room for previous values.",
            pointer=f"{pointer}/showChanges",
        )


def _read_join(members: Mapping[str, Any], pointer: str) -> dict[str, Any]:
    join: dict[str, Any] = {}
    if "join" in members:
        join["join"] = _one_of(members["join"], _JOINS, f"{pointer}/join")
    if "joinLevel" in members:
        level = members["joinLevel"]
        if not isinstance(level, int) or isinstance(level, bool) or level < 1:
            raise BadRequestData(
                f"joinLevel is {level!r:.80}: expected a whole number, 1 or more.", pointer=f"{pointer}/joinLevel"
            )
        if level > MAX_LEVEL:
            raise TooComplexQuery(
                f"joinLevel is {level}: expected at most {MAX_LEVEL}.", pointer=f"{pointer}/joinLevel"
            )
        join["joinLevel"] = level
    return join


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
    uri = read_endpoint_uri(members["uri"], f"{pointer}/uri", mqtt=True)
    over_mqtt = is_mqtt(uri)
    endpoint: dict[str, Any] = {"uri": uri}
    if "accept" in members:
        endpoint["accept"] = _read_accept(members["accept"], f"{pointer}/accept", over_mqtt=over_mqtt)
    for name in ("timeout", "cooldown"):
        if name in members:
            endpoint[name] = read_positive(members[name], context, f"{pointer}/{name}")
    if "receiverInfo" in members:
        endpoint["receiverInfo"] = read_pairs(members["receiverInfo"], f"{pointer}/receiverInfo", headers=not over_mqtt)
    if "notifierInfo" in members:
        at = f"{pointer}/notifierInfo"
        endpoint["notifierInfo"] = read_pairs(members["notifierInfo"], at, headers=False)
        _check_notifier_info(endpoint["notifierInfo"], uri, at)
    return endpoint


def _read_accept(value: Any, pointer: str, *, over_mqtt: bool) -> str:
    return _one_of(value, ACCEPTED[:2] if over_mqtt else ACCEPTED, pointer)


def _check_notifier_info(pairs: list[dict[str, str]], uri: str, pointer: str) -> None:
    """The keys that Vela knows (clause 7.2, and one of its own); others are kept, and mean nothing."""
    over_mqtt = is_mqtt(uri)
    for index, pair in enumerate(pairs):
        key, at = pair["key"], f"{pointer}/{index}"
        if key == CA_FILE and not uri.lower().startswith(("https:", "mqtts:")):
            raise BadRequestData(f"{CA_FILE} needs an endpoint with TLS: an https or mqtts uri.", pointer=at)
        if not over_mqtt:
            continue
        if key.startswith("MQTT-") and key not in (QOS, VERSION):
            raise BadRequestData(f"{key!r:.80} is no MQTT parameter: expected {QOS} or {VERSION}.", pointer=f"{at}/key")
        try:
            parse_mqtt(uri, {key: pair["value"]})
        except ValueError as error:
            raise BadRequestData(str(error), pointer=f"{at}/value") from None


def read_endpoint_uri(value: Any, pointer: str, *, mqtt: bool = False) -> str:
    """Where notifications go: an http or https URL, or where `mqtt` allows it an MQTT endpoint (clause 7.2)."""
    match = _ENDPOINT_URI.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise BadRequestData(
            f"The uri {_shown(value)} is no URL: expected one such as http://example.org/notify.", pointer=pointer
        )
    uri = match.string
    if is_mqtt(uri):
        if not mqtt:
            raise NotYetImplemented(
                "These notifications are not sent over MQTT; use an http or https uri.", pointer=pointer
            )
        try:
            parse_mqtt_uri(uri)
        except ValueError as error:
            raise BadRequestData(str(error), pointer=pointer) from None
    elif match["scheme"].lower() not in ("http", "https"):
        raise BadRequestData(
            f"Notifications cannot go to {match['scheme']}: expected {'mqtt, mqtts, ' if mqtt else ''}http or https.",
            pointer=pointer,
        )
    return uri


def _shown(uri: Any) -> str:
    """An unusable uri for an error text; what may be a password is left out."""
    return f"{_CREDENTIALS.sub('//***@', uri)!r:.200}" if isinstance(uri, str) else f"{uri!r:.200}"


def read_pairs(value: Any, pointer: str, *, headers: bool) -> list[dict[str, str]]:
    """KeyValuePairs (clause 5.2.22); `headers` are such that become HTTP headers."""
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
