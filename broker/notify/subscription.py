"""A subscription ready for use: what is asked of each change, and how and where its notifications go."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.ngsild.changes import Change
from broker.ngsild.timestamps import microseconds
from broker.notify.matching import ATTRIBUTE_DELETED, Condition, Events
from broker.notify.rendering import Projection, notification_body

Version = tuple[str, int]
"""The creation of a subscription and the number of its edit: of two states of one, the greater is later."""


@dataclass(slots=True, frozen=True)
class Target:
    """Where notifications go. `timeout` and `cooldown` in seconds; a timeout of None is the broker's own."""

    url: str
    headers: Mapping[str, str]
    timeout: float | None = None
    cooldown: float = 0.0


@dataclass(slots=True, eq=False)
class Subscription:
    """A compiled subscription. `expires` is microseconds since 1970, `throttling` seconds; None where there is none.

    `resting_until` is what this process knows of the throttling: on its own clock, no turn will be had before.
    """

    tenant: str
    id: str
    version: Version
    active: bool
    condition: Condition
    projection: Projection
    target: Target
    head: bytes
    tail: bytes
    expires: int | None = None
    throttling: float | None = None
    resting_until: float = field(default=0.0)

    def fires(self, change: Change, events: Events) -> bool:
        """Whether it has to be told of `change`."""
        return not self.expired(change.now) and self.condition.holds(change, events)

    def expired(self, now: str) -> bool:
        """Whether its expiresAt has come."""
        return self.expires is not None and self.expires <= microseconds(now)

    @property
    def wants_deleted_attributes(self) -> bool:
        """Whether the deletion of an entity is the deletion of its attributes to it (clause 5.8.6)."""
        return bool(self.condition.triggers & ATTRIBUTE_DELETED)

    def body(self, notification_id: str, now: str, entity: bytes) -> bytes:
        """The finished body of a notification of one entity, rendered with `projection`."""
        return notification_body(notification_id, self.head, now, entity, self.tail)
