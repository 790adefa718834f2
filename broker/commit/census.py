"""The census along the write path: how many entities of each type there are, right when a write is acknowledged.

A group that changes what entities consist of places its differences in the census right before its writes, as a flight.
The numbers contain them from then on, and whatever makes the writes durable makes the numbers durable. The answers of
MongoDB tell how many of the changes landed; what did not is taken out again before anybody hears of it. The flight is
ended a moment later, together with others. If it remains unknown what landed, the types are in doubt, and are counted
anew (`core/recounting.py`). Why this is exact: docs/adr/0008.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from types import TracebackType
from typing import Protocol, Self

import structlog

from broker.ngsild.errors import NgsiLdError
from broker.ngsild.shapes import Difference
from broker.storage.census import Open
from broker.storage.census_counts import Counts, increments
from broker.storage.entities import WriteReport

log = structlog.get_logger(__name__)

_GATHERING = 0.05
"""Seconds for which ended flights gather before they are ended with one command."""
_LOOK_AGAIN = 0.5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05
_FENCED = 1.0
"""Seconds after which a fence counts as left behind: a recount needs one for less."""


class KeepsCensus(Protocol):
    """Where the census is kept; each method raises Unavailable when the storage is lost."""

    async def register(self, tenant: str, process: str) -> None:
        """Say durably that `process` is going to have flights in the tenant."""

    async def place(self, tenant: str, flight: str, changes: Mapping[str, Counts]) -> list[str]:
        """Add changes as a flight; the types for which that has to wait."""

    async def lift(self, tenant: str, names: Sequence[str]) -> None:
        """Take away the fences of these types."""

    async def amend(self, tenant: str, flight: str, changes: Mapping[str, Counts]) -> bool:
        """Add changes and end the flight; whether it was still there."""

    async def conclude(self, tenant: str, flights: Sequence[Open]) -> list[Open]:
        """End flights whose numbers are right; those that may not have been there any more."""

    async def doubt(self, tenant: str, flights: Sequence[Open]) -> None:
        """Say durably that it is unknown what landed of these flights."""

    async def prune(self, tenant: str, names: Sequence[str]) -> None:
        """Remove numbers that are zero."""

    async def leave(self, process: str) -> None:
        """Say that `process` has no flights and no doubts any more."""


class Flight:
    """The differences of one attempt to store a group. `report` is set when the writes have been answered."""

    __slots__ = ("_census", "changes", "differences", "name", "report", "tenant")

    def __init__(self, census: "Census", tenant: str, name: str, differences: Iterable[Difference]) -> None:
        self._census = census
        self.tenant = tenant
        self.name = name
        self.differences = Counter(differences)
        self.changes = increments(self.differences) if self.differences else {}
        self.report: WriteReport | None = None

    async def __aenter__(self) -> Self:
        if self.changes:
            await self._census.place(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.changes:
            await self._census.land(self)

    @property
    def open(self) -> list[Open]:
        """The flight with each of its types."""
        return [(self.name, name) for name in self.changes]


class Census:
    """The part of one broker process, `process`, in the census.

    `doubtful` are tenants in which it has doubts that await a recount.
    """

    def __init__(self, store: KeepsCensus, process: str) -> None:
        self._store = store
        self.process = process
        self._numbers = count(1)
        self._registered: set[str] = set()
        self._ended: dict[str, list[Open]] = {}
        self._doubted: dict[str, list[Open]] = {}
        self._decreased: dict[str, set[str]] = {}
        self._settling: asyncio.Task[None] | None = None
        self.doubtful: set[str] = set()

    def counting(self, tenant: str, differences: Iterable[Difference]) -> Flight:
        """A context around the writes that make these differences; it costs next to nothing when there are none."""
        return Flight(self, tenant, f"{self.process}-{next(self._numbers)}", differences)

    async def place(self, flight: Flight) -> None:
        """Have the numbers contain the differences. Unavailable if that is uncertain."""
        if flight.tenant not in self._registered:
            await self._store.register(flight.tenant, self.process)
            self._registered.add(flight.tenant)
        try:
            await self._place(flight)
        except BaseException:
            self._queue(self._doubted, flight)
            raise

    async def land(self, flight: Flight) -> None:
        """Have the numbers contain what landed, and nothing else; where that is unknown the types are in doubt."""
        report = flight.report
        if report is None or report.answer_lost or report.uncounted:
            return self._queue(self._doubted, flight)
        missing = flight.differences - report.executed
        if not missing:
            self._queue(self._ended, flight)
        elif not await self._amend(flight, missing):
            return self._queue(self._doubted, flight)
        decreased = {name for name, counts in flight.changes.items() if any(number < 0 for number in counts.values())}
        if decreased or missing:
            self._decreased.setdefault(flight.tenant, set()).update(flight.changes if missing else decreased)
            self._settle_soon()
        return None

    async def _amend(self, flight: Flight, missing: Counter[Difference]) -> bool:
        none: Counts = {}
        backwards = increments({one: -times for one, times in missing.items()})
        try:
            return await self._store.amend(flight.tenant, flight.name, dict.fromkeys(flight.changes, none) | backwards)
        except NgsiLdError:
            return False

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109 - how long to try, not a deadline for the caller
        """End all flights within `timeout` seconds. What the storage does not take until then others will recount."""
        if self._settling is not None:
            await asyncio.wait([self._settling], timeout=timeout)
        if self._settling is not None:
            self._settling.cancel()
        elif self._registered and not self.doubtful:
            try:
                await self._store.leave(self.process)
            except NgsiLdError as error:
                log.warning("others will look after what this process counted", reason=error.detail)

    async def _place(self, flight: Flight) -> None:
        loop = asyncio.get_running_loop()
        patience = loop.time() + _FENCED
        pause = _FIRST_PAUSE
        waiting: Mapping[str, Counts] = flight.changes
        while fenced := await self._store.place(flight.tenant, flight.name, waiting):
            if loop.time() > patience:
                await self._store.lift(flight.tenant, fenced)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            waiting = {name: waiting[name] for name in fenced}

    def _queue(self, queue: dict[str, list[Open]], flight: Flight) -> None:
        queue.setdefault(flight.tenant, []).extend(flight.open)
        self._settle_soon()

    def _settle_soon(self) -> None:
        if self._settling is None:
            self._settling = asyncio.create_task(self._settle())

    async def _settle(self) -> None:
        try:
            while self._ended or self._doubted or self._decreased:
                await asyncio.sleep(_GATHERING)
                try:
                    await self._settle_gathered()
                except NgsiLdError as error:
                    log.warning("the census waits for the storage", reason=error.detail)
                    await asyncio.sleep(_LOOK_AGAIN)
        finally:
            self._settling = None

    async def _settle_gathered(self) -> None:
        for tenant in list(self._ended):
            ended = doubted = self._ended.pop(tenant)  # all of them, if the answer is lost
            try:
                doubted = await self._store.conclude(tenant, ended)
            finally:
                if doubted:
                    self._doubted.setdefault(tenant, []).extend(doubted)
        for tenant in list(self._doubted):
            doubted = self._doubted.pop(tenant)
            try:
                await self._store.doubt(tenant, doubted)
            except NgsiLdError:
                self._doubted.setdefault(tenant, []).extend(doubted)
                raise
            self.doubtful.add(tenant)
            log.warning("entity types are to be recounted", tenant=tenant, types=sorted({name for _, name in doubted}))
        for tenant in list(self._decreased):
            await self._store.prune(tenant, sorted(self._decreased.pop(tenant)))
