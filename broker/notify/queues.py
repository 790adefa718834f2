"""The queue of one endpoint: notifications of one entity strictly in order, those of different entities side by side.

Memory is bounded, per endpoint by number and for the whole process by bytes (`Budget`). What does not fit stays in the
outbox only: the queue remembers its id, and reads it again when there is room. As long as anything
waits outside, everything new waits outside too, behind it.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from broker.notify.owed import Owed, made_at

MOST_OUTSIDE = 1_000_000
"""Ids that one queue remembers at most of what waits in the outbox only, unless it is told otherwise."""

_Lane = tuple[str, str]


@dataclass(slots=True)
class Budget:
    """Bytes of notification bodies that the queues of a process may hold together."""

    limit: int = 256 * 1024 * 1024
    used: int = 0


class EndpointQueue:
    """What one endpoint is owed. An entry that was taken stays counted until it is done."""

    __slots__ = ("_budget", "_lanes", "_limit", "_most_outside", "_outside", "_ready", "size")

    def __init__(self, limit: int, budget: Budget, most_outside: int = MOST_OUTSIDE) -> None:
        self._limit = limit
        self._most_outside = most_outside
        self._budget = budget
        self._lanes: dict[_Lane, deque[Owed]] = {}
        self._ready: deque[_Lane] = deque()
        self._outside: deque[str] = deque()
        self.size = 0

    def __len__(self) -> int:
        return self.size + len(self._outside)

    @property
    def outside(self) -> int:
        """How many entries wait in the outbox only."""
        return len(self._outside)

    @property
    def oldest(self) -> float | None:
        """When the oldest entry was made, in seconds since 1970; None of none."""
        moments = [lane[0].created_at for lane in self._lanes.values()]
        if self._outside:
            moments.append(made_at(self._outside[0]))
        return min(moments, default=None)

    @property
    def ready(self) -> int:
        """How many entries `take` would find now."""
        return len(self._ready)

    @property
    def roomy(self) -> bool:
        """Whether to read what waits outside: it is time when half of the queue is empty, and there is memory."""
        return (
            bool(self._outside)
            and self.size <= self._limit // 2
            and (self.size == 0 or self._budget.used < self._budget.limit)
        )

    def offer(self, owed: Owed) -> bool:
        """Queue an entry, in memory or outside; False if not even its id has room, so that it is given up."""
        if not self._outside and self._has_room(owed):
            self._append(owed)
            return True
        if len(self._outside) >= self._most_outside:
            return False
        self._outside.append(owed.id)
        return True

    def take(self) -> Owed | None:
        """The next entry whose entity has none under way; None if there is none now."""
        if not self._ready:
            return None
        return self._lanes[self._ready.popleft()][0]

    def done(self, owed: Owed) -> None:
        """The entry taken was delivered or given up: the next one of its entity may follow."""
        name = (owed.tenant, owed.entity_id)
        lane = self._lanes[name]
        lane.popleft()
        self.size -= 1
        self._budget.used -= len(owed.body)
        if lane:
            self._ready.append(name)
        else:
            del self._lanes[name]

    def put_back(self, owed: Owed) -> None:
        """The entry taken could not be delivered: it is the first of its entity to be tried again.

        Other entities come before it, so that what an endpoint chokes on holds up its own entity only.
        """
        self._ready.append((owed.tenant, owed.entity_id))

    def wanted(self, most: int) -> Sequence[str]:
        """The ids to read from the outbox when the queue is roomy: as many as there is room for, in order."""
        room = min(most, self._limit - self.size, len(self._outside))
        return [self._outside[index] for index in range(room)]

    def remember(self, ids: deque[str]) -> None:
        """Take over ids of what waits in the outbox only; the queue has to be empty."""
        self._outside = ids

    def forget(self) -> deque[str]:
        """Empty a queue of which nothing is under way; the ids of what was in it, those of one entity in order."""
        held = deque(owed.id for lane in self._lanes.values() for owed in lane)
        self._budget.used -= sum(len(owed.body) for lane in self._lanes.values() for owed in lane)
        held.extend(self._outside)
        self._lanes, self._ready, self._outside, self.size = {}, deque(), deque(), 0
        return held

    def refill(self, wanted: Sequence[str], found: Iterable[Owed]) -> None:
        """Queue what the outbox had of the ids that `wanted` gave; the others are owed no more."""
        for _ in wanted:
            self._outside.popleft()
        for owed in found:
            self._append(owed)

    def _has_room(self, owed: Owed) -> bool:
        return self.size == 0 or (self.size < self._limit and self._budget.used + len(owed.body) <= self._budget.limit)

    def _append(self, owed: Owed) -> None:
        name = (owed.tenant, owed.entity_id)
        lane = self._lanes.get(name)
        if lane is None:
            self._lanes[name] = deque((owed,))
            self._ready.append(name)
        else:
            lane.append(owed)
        self.size += 1
        self._budget.used += len(owed.body)
