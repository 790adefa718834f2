"""A subscription ready for use: what is asked of each change, and how and where its notifications go."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from broker.ngsild.changes import Change
from broker.ngsild.query.geo import GeoQuery
from broker.ngsild.query.scopes import ScopeQuery
from broker.ngsild.query.tree import Node
from broker.ngsild.timestamps import microseconds
from broker.notify.matching import ATTRIBUTE_DELETED, Condition, Events
from broker.notify.mqtt_address import MqttDestination, MqttServer
from broker.notify.rendering import NO_ATTRIBUTES, Projection, notification_body, notification_head
from broker.notify.throttling import Throttle

Version = tuple[str, int]
"""The creation of a subscription and the number of its edit: of two states of one, the greater is later."""


@dataclass(slots=True, frozen=True)
class Target:
    """Where notifications go. `timeout` and `cooldown` in seconds; a timeout of None is the broker's own.

    `mqtt` is what the URL of an MQTT endpoint says. `ca` names the only CA file that is trusted, if not the usual ones.
    """

    url: str
    headers: Mapping[str, str]
    timeout: float | None = None
    cooldown: float = 0.0
    mqtt: MqttDestination | None = None
    ca: str | None = None

    @property
    def endpoint(self) -> "EndpointKey":
        """What shares a queue, and rests together after a failure: an HTTP URL, or an MQTT server with its user."""
        return self.url if self.mqtt is None else self.mqtt.server


EndpointKey = str | MqttServer


def endpoint_name(key: EndpointKey) -> str:
    """The host and port of an endpoint, as metrics call it; "unknown" where it is not."""
    if isinstance(key, MqttServer):
        return f"{key.host}:{key.port}"
    return urlsplit(key).netloc.rpartition("@")[2] or "unknown"


@dataclass(slots=True, frozen=True)
class EntitySelector:
    """An entity selector as a query needs it: alternatives of type IRIs (none: any type), ids, a pattern for ids."""

    types: tuple[tuple[str, ...], ...] = ()
    ids: tuple[str, ...] = ()
    id_pattern: str | None = None


@dataclass(slots=True, frozen=True)
class Periodic:
    """A subscription with timeInterval: every so many `seconds` it is told of all entities that it selects.

    Names are expanded; an entity has to fulfil one of the selectors, if there are any, and all that is not None.
    """

    seconds: float
    selectors: tuple[EntitySelector, ...] = ()
    q: Node | None = None
    geo: GeoQuery | None = None
    scope: ScopeQuery | None = None


@dataclass(slots=True, eq=False)
class Subscription:
    """A compiled subscription. `expires` is microseconds since 1970; None where there is none.

    A `periodic` one does not hear of changes. `link_query` is a q about linked entities: the condition holds what it
    asks of the entity itself, the rest is decided when the notification is delivered (`completing.py`).
    `contexts` are pairs of an "@context", as JSON text, and the Context that it stood for when this was compiled.
    """

    tenant: str
    id: str
    version: Version
    active: bool
    condition: Condition
    projection: Projection
    target: Target
    tail: bytes
    expires: int | None = None
    throttle: Throttle | None = None
    periodic: Periodic | None = None
    link_query: Node | None = None
    contexts: tuple[tuple[bytes, Any], ...] = ()

    def fires(self, change: Change, events: Events) -> bool:
        """Whether it has to be told of `change`."""
        return not self.expired(change.now) and self.condition.holds(change, events)

    def expired(self, now: str) -> bool:
        """Whether its expiresAt has come."""
        return self.expires is not None and self.expires <= microseconds(now)

    @property
    def deferred(self) -> bool:
        """Whether its notifications need linked entities: these are looked up when a notification is delivered."""
        return self.link_query is not None or self.projection.joining is not None

    @property
    def gone(self) -> frozenset[str] | None:
        """The keys of the attributes that it is shown of an entity that was deleted; None is all of them.

        With attributeDeleted the deletion of an entity is that of its attributes (clause 5.8.6), the watched ones;
        with showChanges they all have a value to be shown.
        """
        if self.projection.show_changes:
            return None
        return self.condition.watched if self.condition.triggers & ATTRIBUTE_DELETED else NO_ATTRIBUTES

    def body(self, notification_id: str, now: str, entities: bytes) -> bytes:
        """The finished body of a notification of entities that were rendered with `projection`."""
        head = notification_head(self.id)
        return notification_body(notification_id, head, now, entities, self.tail, geojson=self.projection.geojson)
