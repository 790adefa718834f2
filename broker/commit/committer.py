"""The committer: the one way in which entities are written (DESIGN section 4).

Mutations wait in the lane of their tenant; a lane forms groups, and `group.py` commits each. While one group is being
stored the next one gathers: there is no timer, and no added latency when idle. Entities of a group in flight are left
to a later group, so groups in flight never share an entity and the mutations of one entity keep their order.
"""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain
from typing import Any

import structlog

from broker.commit.group import Contended, Group, GroupServices
from broker.commit.pace import Pace
from broker.commit.submissions import Entry, Submission
from broker.ngsild.errors import InternalError, NgsiLdError, Overloaded, Unavailable
from broker.ngsild.mutations import Mutation

log = structlog.get_logger(__name__)

_SMALL_GROUP = 150
"""Entities in a group, unless so many mutations wait that this would be less than half of them (docs/adr/0015)."""

_SHARE = 2
"""A group takes one of so many parts of all that is under way: while it is stored there is something to go on with."""

_LEAST_QUEUE = 200
"""Mutations that may wait however slow the storage is, for as long as `max_queue` lets them."""

_TELLING = _LEAST_QUEUE // 4
"""So many have to wait for the pace to be measured. It is few enough for a queue that is held at the least."""

_LOOK_AGAIN = 0.2
"""Seconds between looks for the storage while updates are in doubt."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the committer: waiting mutations, mutations and bytes in a group, groups in flight per tenant.

    `longest_wait` is how many seconds a mutation may be expected to wait; `_LEAST_QUEUE` may wait in any case.
    `group_eager` is how many mutations must wait before another group starts while one is in flight.
    """

    max_queue: int = 10_000
    group_max: int = 1_000
    group_bytes: int = 8 << 20
    groups_in_flight: int = 3
    group_eager: int = 20
    longest_wait: float = 5.0


class _Lane:
    """What waits and what is in flight for one tenant."""

    __slots__ = ("blocked", "busy", "in_flight", "scheduled", "tenant", "waiting")

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.waiting: deque[Entry] = deque()
        self.blocked: dict[str, list[Entry]] = {}
        self.busy: set[str] = set()
        self.in_flight = 0
        self.scheduled = False


class Committer:
    """Gathers mutations into groups and commits them. `queued` is how many mutations wait or are in flight."""

    def __init__(self, services: GroupServices, limits: Limits) -> None:
        self._services = services
        self._limits = limits
        self._lanes: dict[str, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._pace = Pace(_TELLING)
        self._most = limits.max_queue
        self.queued = 0

    async def submit(self, tenant: str, entity_id: str, mutation: Mutation, size: int = 0) -> Any:
        """Commit one mutation; its outcome, or its error raised. `size` is the length of the request body in bytes.

        Unavailable (503) if too many mutations wait already or the storage is lost.
        """
        outcome = (await self.enqueue(tenant, ((entity_id, mutation),), size))[0]
        if isinstance(outcome, NgsiLdError):
            raise outcome
        return outcome

    async def submit_many(self, tenant: str, mutations: Sequence[tuple[str, Mutation]], size: int = 0) -> list[Any]:
        """Commit several mutations in order; for each its outcome, or its NgsiLdError as a value."""
        if not mutations:
            return []
        return await self.enqueue(tenant, mutations, size)

    def enqueue(self, tenant: str, mutations: Sequence[tuple[str, Mutation]], size: int) -> asyncio.Future[list[Any]]:
        """Have several mutations committed, one at least; as `submit_many`, but not to be awaited at once."""
        count = len(mutations)
        if self.queued:
            refusal = self.refusal()
            if refusal is not None:
                raise refusal
        else:
            self._keep_pace(self._pace.begin(self._loop.time()))
        lane = self._lanes.get(tenant)
        if lane is None:
            lane = self._lanes[tenant] = _Lane(tenant)
        submission = Submission(self._loop.create_future(), count)
        share = size // count
        for index, (entity_id, mutation) in enumerate(mutations):
            lane.waiting.append(Entry(entity_id, mutation, submission, index, share))
        self.queued += count
        self._schedule(lane)
        return submission.future

    @property
    def full(self) -> bool:
        """Whether so much waits, by number or by the time that it takes, that nothing more is taken.

        A batch is taken whole as long as it is not: else single updates would leave it no room, ever.
        """
        return self.queued >= self._most

    def refusal(self) -> Overloaded | None:
        """Why nothing more is taken; None if it is."""
        if not self.full:
            return None
        rate = self._pace.rate
        seconds = self.queued / rate if rate else 1.0
        return Overloaded(
            f"{self.queued} updates wait already, for about {seconds:.1f} s: the broker is overloaded; try again.",
            retry_after=max(1, math.ceil(seconds)),
        )

    def _keep_pace(self, rate: float | None) -> None:
        limits = self._limits
        within = limits.max_queue if rate is None else max(_LEAST_QUEUE, int(rate * limits.longest_wait))
        self._most = min(limits.max_queue, within)

    async def drain(self, timeout: float) -> bool:  # noqa: ASYNC109 - the callers want a bool, not TimeoutError
        """Wait until nothing waits or is in flight; False if that takes longer than `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while self._tasks or self.queued:
                    await (asyncio.wait(self._tasks) if self._tasks else asyncio.sleep(0))
        except TimeoutError:
            return False
        return True

    def _schedule(self, lane: _Lane) -> None:
        # In the loop's next turn, so that requests that arrived together go into one group.
        if not lane.scheduled:
            lane.scheduled = True
            self._loop.call_soon(self._start_groups, lane)

    def _start_groups(self, lane: _Lane) -> None:
        lane.scheduled = False
        while lane.waiting and lane.in_flight < self._limits.groups_in_flight:
            if lane.in_flight and len(lane.waiting) < self._limits.group_eager:
                return
            entries = self._take(lane)
            if not entries:
                return
            lane.in_flight += 1
            task = self._loop.create_task(self._run(lane, entries))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _take(self, lane: _Lane) -> list[Entry]:
        entries: list[Entry] = []
        entities: set[str] = set()
        size = 0
        waiting, busy, blocked, limits = lane.waiting, lane.busy, lane.blocked, self._limits
        share = max(limits.group_eager, (len(waiting) + len(busy)) // _SHARE)
        most = min(share, max(_SMALL_GROUP, len(waiting) // 2))
        while waiting and len(entities) < most and len(entries) < limits.group_max and size < limits.group_bytes:
            entry = waiting.popleft()
            if entry.entity_id in busy:
                blocked.setdefault(entry.entity_id, []).append(entry)
            else:
                entries.append(entry)
                entities.add(entry.entity_id)
                size += entry.size
        busy |= entities
        return entries

    async def _run(self, lane: _Lane, entries: list[Entry]) -> None:
        group = Group(lane.tenant, entries, self._services)
        try:
            await group.commit()
        except NgsiLdError as error:
            group.fail(error)
            if isinstance(error, Unavailable) and not isinstance(error, Contended):
                # The storage has been away for as long as a group tries: nobody else has to wait as long again.
                self._refuse([*lane.waiting, *chain.from_iterable(lane.blocked.values())])
                lane.waiting.clear()
                lane.blocked.clear()
        except Exception:
            log.exception("group failed", tenant=lane.tenant, mutations=len(entries))
            group.fail(InternalError("The update failed unexpectedly; the log of the broker has the cause."))
        finally:
            self._finish(lane, entries, group.in_doubt)
        if group.in_doubt:
            await self._resolve(lane, group)

    def _finish(self, lane: _Lane, entries: list[Entry], in_doubt: frozenset[str]) -> None:
        lane.in_flight -= 1
        self.queued -= len(entries)
        self._keep_pace(self._pace.committed(len(entries), self.queued, self._loop.time()))
        self._free(lane, {entry.entity_id for entry in entries} - in_doubt)

    def _free(self, lane: _Lane, entity_ids: AbstractSet[str]) -> None:
        lane.busy -= entity_ids
        for entity_id in [name for name in lane.blocked if name not in lane.busy]:
            lane.waiting.extendleft(reversed(lane.blocked.pop(entity_id)))
        if lane.waiting:
            self._schedule(lane)
        elif not lane.in_flight and not lane.busy:
            self._lanes.pop(lane.tenant, None)

    async def _resolve(self, lane: _Lane, group: Group) -> None:
        """Settle what a group left in doubt. Its entities are busy until then; who waits for them waits for one try."""
        in_doubt = group.in_doubt
        log.warning("updates are in doubt until the storage is back", tenant=lane.tenant, entities=len(in_doubt))
        try:
            while True:
                try:
                    return await group.resolve()
                except Unavailable:
                    self._refuse([entry for name in in_doubt for entry in lane.blocked.pop(name, ())])
                await asyncio.sleep(_LOOK_AGAIN)
        except NgsiLdError as error:
            log.error("updates stay in doubt", tenant=lane.tenant, entities=sorted(in_doubt), reason=error.detail)
        finally:
            self._free(lane, in_doubt)

    def _refuse(self, entries: Sequence[Entry]) -> None:
        self.queued -= len(entries)
        for entry in entries:
            entry.settle(Unavailable("The storage does not answer at the moment; nothing was changed, try again."))
