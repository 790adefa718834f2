"""What a subscription is owed for one change: a finished notification, ready to be stored and sent."""

import os
import time
import uuid

from broker.storage.outbox import Owed

__all__ = ["OF_NO_COMMIT", "Owed", "made_at", "new_notification_id"]

_URN = "urn:ngsi-ld:Notification:"

OF_NO_COMMIT = 0
"""The commit of a notification that no change owes; commits are numbered from 1 on."""


def new_notification_id() -> str:
    """A notification URN that grows with time (a version 7 UUID): neighbours in time are neighbours in the index."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    value = milliseconds << 80 | 0x7 << 76 | (random >> 68) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return f"{_URN}{uuid.UUID(int=value)}"


def made_at(notification_id: str) -> float:
    """When the id of a notification was made, in seconds since 1970: it says so itself."""
    return (uuid.UUID(notification_id.removeprefix(_URN)).int >> 80) / 1000
