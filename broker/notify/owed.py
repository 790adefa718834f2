"""What a subscription is owed for one change: a finished notification, ready to be stored and sent."""

import os
import time
import uuid

from broker.storage.outbox import Owed

__all__ = ["Owed", "new_notification_id"]


def new_notification_id() -> str:
    """A notification URN that grows with time (a version 7 UUID): neighbours in time are neighbours in the index."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    value = milliseconds << 80 | 0x7 << 76 | (random >> 68) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return f"urn:ngsi-ld:Notification:{uuid.UUID(int=value)}"
