"""A census in memory, as a process finds it in MongoDB, which may be away, or be fenced by a recount."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from broker.ngsild.errors import Unavailable
from broker.storage.census import Open
from broker.storage.census_counts import Counts


class MemoryCensus:
    """`numbers` by type and path; `flights` and `doubts` as (flight, type); when `away` it does nothing, with
    `answers_lost` it does what it is asked and says nothing."""

    def __init__(self) -> None:
        self.numbers: dict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.flights: set[Open] = set()
        self.doubts: set[Open] = set()
        self.registered: list[tuple[str, str]] = []
        self.fences: set[str] = set()
        self.pruned: set[str] = set()
        self.concluding = 0
        self.away = self.answers_lost = False

    def total(self, name: str) -> dict[str, int]:
        """The numbers of a type, without zeros."""
        return {path: number for path, number in self.numbers[name].items() if number}

    def _begin(self) -> None:
        if self.away:
            raise Unavailable("The storage is away.")

    def _end(self) -> None:
        if self.answers_lost:
            raise Unavailable("The answer is lost.")

    def _add(self, name: str, counts: Counts) -> None:
        for path, number in counts.items():
            self.numbers[name][path] += number

    async def register(self, tenant: str, process: str) -> None:
        self._begin()
        self.registered.append((tenant, process))

    async def place(self, tenant: str, flight: str, changes: Mapping[str, Counts]) -> list[str]:
        self._begin()
        for name, counts in changes.items():
            if name not in self.fences:
                self._add(name, counts)
                self.flights.add((flight, name))
        self._end()
        return [name for name in changes if name in self.fences]

    async def lift(self, tenant: str, names: Sequence[str]) -> None:
        self._begin()
        self.fences -= set(names)

    async def amend(self, tenant: str, flight: str, changes: Mapping[str, Counts]) -> bool:
        self._begin()
        there = {name for name in changes if (flight, name) in self.flights}
        for name in there:
            self._add(name, changes[name])
            self.flights.discard((flight, name))
        self._end()
        return len(there) == len(changes)

    async def conclude(self, tenant: str, flights: Sequence[Open]) -> list[Open]:
        self._begin()
        self.concluding += 1
        missing = [one for one in flights if one not in self.flights]
        self.flights -= set(flights)
        self._end()
        return missing

    async def doubt(self, tenant: str, flights: Sequence[Open]) -> None:
        self._begin()
        self.flights -= set(flights)
        self.doubts |= set(flights)

    async def prune(self, tenant: str, names: Sequence[str]) -> None:
        self.pruned |= set(names)

    async def leave(self, process: str) -> None:
        self._begin()
        self.registered = [one for one in self.registered if one[1] != process]
