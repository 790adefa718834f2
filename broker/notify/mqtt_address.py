"""Where notifications over MQTT go: the endpoint's URI and the parameters of its notifierInfo (clause 7.2).

    mqtt[s]://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC[/SUBTOPIC]…

User, password and topic are percent-decoded, so that any of them may hold any character.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urlsplit

SCHEMES = ("mqtt", "mqtts")
QOS, VERSION = "MQTT-QoS", "MQTT-Version"
VERSIONS = ("mqtt5.0", "mqtt3.1.1")
"""The values of MQTT-Version, the default first."""

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_LONGEST_TEXT = 65_535
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NOT_IN_TOPICS = re.compile(r"[+#\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class MqttServer:
    """What one connection can serve: an MQTT broker as one user of it sees it.

    `ca` names the CA file of the endpoint (see `trust.py`). Its text form, for logs and errors, shows no credentials.
    """

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    version: str = VERSIONS[0]
    ca: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{SCHEMES[self.tls]}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class MqttDestination:
    """Where the notifications of one subscription go."""

    server: MqttServer
    topic: str
    qos: int = 0


def is_mqtt(uri: str) -> bool:
    """Whether an endpoint's URI is one for MQTT."""
    return uri.partition(":")[0].lower() in SCHEMES


def parse_mqtt(uri: str, notifier_info: Mapping[str, str], ca: str | None = None) -> MqttDestination:
    """The destination that an endpoint describes. ValueError, with a sentence that shows no password, if it is none."""
    destination = parse_mqtt_uri(uri)
    server = replace(destination.server, version=_version(notifier_info), ca=ca)
    return replace(destination, server=server, qos=_qos(notifier_info))


def parse_mqtt_uri(uri: str) -> MqttDestination:
    """The destination of a URI, with the default parameters. ValueError, with a sentence that shows no password."""
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("Host or port of the MQTT endpoint cannot be read: expected mqtt://HOST:PORT/TOPIC.") from None
    if not host or port == 0:
        raise ValueError("The MQTT endpoint names no host and port to connect to: expected mqtt://HOST:PORT/TOPIC.")
    if "?" in uri or "#" in uri:
        raise ValueError("An MQTT endpoint has no query and no fragment: write ? as %3F where it is part of the topic.")
    username, password = (_text(one, "user or password") for one in (parts.username, parts.password))
    if not username and password is not None:
        raise ValueError("The MQTT endpoint has a password but no user: expected mqtt://USER:PASSWORD@HOST/TOPIC.")
    return MqttDestination(
        MqttServer(host, port or _PORTS[parts.scheme], parts.scheme == "mqtts", username or None, password),
        _topic(parts.path),
    )


def _topic(path: str) -> str:
    topic = _text(path.removeprefix("/"), "topic")
    if not topic:
        raise ValueError("The MQTT endpoint names no topic: expected mqtt://HOST/TOPIC.")
    found = _NOT_IN_TOPICS.search(topic)
    if found is not None:
        raise ValueError(
            f"The MQTT topic has {found.group()!r} in it: a message goes to one topic, without wildcards and control "
            "characters."
        )
    return topic


def _text(encoded: str | None, what: str) -> str | None:
    if encoded is None:
        return None
    try:
        if _BROKEN_ESCAPE.search(encoded):
            raise ValueError
        text = unquote(encoded, errors="strict")
        fits = len(text.encode()) <= _LONGEST_TEXT
    except ValueError:
        raise ValueError(f"The {what} of the MQTT endpoint is not percent-encoded UTF-8: write % as %25.") from None
    if not fits or "\x00" in text:
        raise ValueError(f"The {what} of the MQTT endpoint is too long, or has a NUL character in it.")
    return text


def _version(notifier_info: Mapping[str, str]) -> str:
    version = notifier_info.get(VERSION, VERSIONS[0])
    if version not in VERSIONS:
        raise ValueError(f"{VERSION} is {version!r:.80}: expected {' or '.join(VERSIONS)}.")
    return version


def _qos(notifier_info: Mapping[str, str]) -> int:
    qos = notifier_info.get(QOS, "0")
    if qos not in ("0", "1", "2"):
        raise ValueError(f'{QOS} is {qos!r:.80}: expected "0", "1" or "2".')
    return int(qos)
