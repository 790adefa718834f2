"""Throttling (clause 5.2.12): the time that has to pass between two notifications of a subscription, whoever sends.

MongoDB decides, when a notification is about to be sent: one that may be sent has the turn, and keeps it when it has
to be sent again, by another process if need be. Whoever asks learns for how long there is no other turn to be had.
Until then this process makes no notifications for the subscription at all, and does not ask about those that it has
made already. What is suppressed is not sent later.
"""

import time
from collections.abc import Callable
from typing import Protocol

from broker.storage.subscriptions import Turn


class GivesTurns(Protocol):
    """Decides for all processes."""

    async def take_turn(self, tenant: str, subscription_id: str, notification_id: str, seconds: float) -> Turn:
        """Give the notification the turn if it can be had; whose it is."""


class Throttle:
    """The throttling of one subscription, `seconds` long, and what this process knows of the turn under way."""

    __slots__ = ("_clock", "_holder", "_until", "seconds")

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._holder = ""
        self._until = 0.0

    @property
    def resting(self) -> bool:
        """Whether it is known that no new notification can be sent now."""
        return self._until > self._clock()

    async def admits(self, turns: GivesTurns, tenant: str, subscription_id: str, notification_id: str) -> bool:
        """Whether a notification may be sent now. Raises Unavailable if that cannot be known."""
        if self.resting and self._holder != notification_id:
            return False
        asked = self._clock()  # before the answer: this process must not rest for longer than MongoDB says
        turn = await turns.take_turn(tenant, subscription_id, notification_id, self.seconds)
        self._holder, self._until = turn.holder, asked + turn.wait
        return turn.holder == notification_id
