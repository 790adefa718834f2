"""What was delivered leaves the outbox, and is counted: both in rounds, for many notifications together."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from broker.notify.counters import Counters
from broker.notify.owed import Owed, parcel_of

_PARTLY_AFTER = 1.0
"""Seconds until what was delivered of a parcel leaves it while others of the same parcel are not: dead endpoints must
not make what the living ones have come again after a takeover."""


class Forgets(Protocol):
    """The outbox, as far as what was delivered leaves it."""

    async def remove(self, ids: Iterable[str]) -> None:
        """Forget single notifications."""

    async def remove_parcels(self, keys: Sequence[str]) -> None:
        """Forget whole parcels."""


class Settlement:
    """What this process has finished with: delivered, or given up."""

    def __init__(self, counters: Counters, outbox: Forgets) -> None:
        self._counters = counters
        self._outbox = outbox
        self._missing: dict[str, int] = {}
        self._finished: list[str] = []
        self._partly: dict[str, tuple[float, list[str]]] = {}
        self._complete: list[str] = []
        self._single: list[str] = []
        self._settling = asyncio.Lock()

    def released(self, owed: Sequence[Owed]) -> None:
        """All that is left of some parcels, as they were stored, will be delivered."""
        missing = self._missing
        for one in owed:
            key = parcel_of(one.id)
            missing[key] = missing.get(key, 0) + 1

    def finished(self, notification_id: str) -> None:
        """A notification is owed no more."""
        self._finished.append(notification_id)

    async def settle(self, *, everything: bool = False) -> None:
        """Add to the counters, then take out of the outbox what is finished. Unavailable: it is kept for the next time.

        What is finished of a parcel of which the rest is not waits a little, unless `everything` is to leave.
        """
        async with self._settling:
            await self._counters.flush()  # first: what has left the outbox is counted, even if this process dies
            self._sort(time.monotonic(), everything=everything)
            if self._complete:
                await self._outbox.remove_parcels(self._complete)
                self._complete = []
            if self._single:
                await self._outbox.remove(self._single)
                self._single = []

    def _sort(self, now: float, *, everything: bool) -> None:
        """Find the parcels of which nothing is missing any more, and what else is to leave."""
        finished, self._finished = self._finished, []
        for one in finished:
            key = parcel_of(one)
            missing = self._missing.get(key)
            if missing is None:
                self._single.append(one)
            elif missing > 1:
                self._missing[key] = missing - 1
                self._partly.setdefault(key, (now, []))[1].append(one)
            else:
                del self._missing[key]
                self._partly.pop(key, None)
                self._complete.append(key)
        for key in [key for key, (since, _) in self._partly.items() if everything or now - since >= _PARTLY_AFTER]:
            self._single += self._partly.pop(key)[1]
