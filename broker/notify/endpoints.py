"""One endpoint: its queue, the deliveries under way, and the rests between failed attempts.

Several deliveries may be under way, each for another entity, as the queue hands them out. After a failure the whole
endpoint rests, twice as long each time and with jitter, then is tried with one notification alone, as it is at first; a
success lets all loose. So a slow or dead endpoint holds up nobody but itself, and any number of them takes few of the
connections that all share.
"""

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from broker.ngsild.errors import NgsiLdError
from broker.notify.owed import Owed
from broker.notify.queues import MOST_OUTSIDE, EndpointQueue

log = structlog.get_logger(__name__)

_REFILL_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """How delivery behaves; times in seconds.

    `endpoints` is how many are served at one time, `queue` the number of notifications kept in memory per endpoint,
    `in_flight` of deliveries at once to one endpoint, `connections` to all. `backlog` is how many may wait per endpoint
    beyond its queue; further ones are given up. `longest_timeout` bounds what subscriptions ask for. After `retries`
    further attempts the endpoint rests for `rest` between attempts. What is older than `max_age` is given up.
    """

    endpoints: int = 10_000
    queue: int = 10_000
    in_flight: int = 8
    connections: int = 500
    timeout: float = 5.0
    longest_timeout: float = 60.0
    retries: int = 5
    backoff: float = 0.5
    rest: float = 60.0
    max_age: float = 86_400.0
    backlog: int = MOST_OUTSIDE

    def time_for(self, wanted: float | None) -> float:
        """How long an attempt may take where the subscription wants `wanted` (clause 5.2.15 lets a broker decide)."""
        return self.timeout if wanted is None else min(wanted, max(self.timeout, self.longest_timeout))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt: `finished` entries are not tried again; `accepted` if the endpoint is well.

    `cooldown` is how long the subscription wants the endpoint left alone after a failure, in seconds.
    """

    finished: bool
    accepted: bool = False
    cooldown: float = 0.0


class Courier(Protocol):
    """Makes one attempt to deliver."""

    async def attempt(self, owed: Owed) -> Outcome:
        """Deliver, or say why not; raises nothing that is expected."""


class OutboxReader(Protocol):
    """Reads again what had no room in memory."""

    async def read(self, ids: Sequence[str]) -> list[Owed]:
        """Those of the notifications that are still owed, in the order of `ids`."""


class Endpoint:
    """Delivers what one endpoint is owed."""

    def __init__(self, queue: EndpointQueue, courier: Courier, outbox: OutboxReader, limits: DeliveryLimits) -> None:
        self._queue = queue
        self._courier = courier
        self._outbox = outbox
        self._limits = limits
        self._workers: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._proven = False
        self._failures = 0
        self._rests = 0
        self._refilling = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def oldest(self) -> float | None:
        """When the oldest notification was made that is yet to be delivered, in seconds since 1970; None of none."""
        return self._queue.oldest

    @property
    def resting(self) -> bool:
        """Whether the last attempt failed and the next one is not due yet."""
        return self._timer is not None

    @property
    def idle(self) -> bool:
        """Whether there is nothing to deliver and nothing to remember."""
        return not self._queue and not self._workers and not self.resting

    @property
    def asleep(self) -> bool:
        """Whether it does nothing but rest after a failure."""
        return self.resting and not self._workers

    def resume(self, ids: deque[str]) -> None:
        """Deliver what waits in the outbox under these ids; for an endpoint that has nothing yet."""
        self._queue.remember(ids)
        self.wake()

    def retire(self) -> deque[str]:
        """Give up an endpoint that is asleep; the ids of what it has yet to deliver, in order."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        return self._queue.forget()

    def offer(self, owed: Owed) -> bool:
        """Queue a notification for delivery; False if there is no room for even its id."""
        taken = self._queue.offer(owed)
        self.wake()
        return taken

    def wake(self) -> None:
        """Start as many deliveries as are allowed now."""
        if self._closed or self.resting:
            return
        allowed = self._limits.in_flight if self._proven else 1
        wanted = min(allowed - len(self._workers), self._queue.ready or int(self._must_refill))
        for _ in range(wanted):
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._left)

    async def drain(self) -> None:
        """Wait until everything is delivered, or the endpoint fails and rests."""
        while self._workers:
            await asyncio.wait(self._workers)

    async def close(self) -> None:
        """Stop at once: what is under way is broken off and stays owed."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def _left(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        # An entry may have come after this worker saw the queue empty.
        if self._queue.ready or self._must_refill:
            self.wake()

    async def _work(self) -> None:
        while not self.resting:
            if self._must_refill:
                await self._refill()
            owed = self._queue.take()
            if owed is None:
                return
            await self._deliver(owed)
            if not self._proven and len(self._workers) > 1:
                return

    async def _deliver(self, owed: Owed) -> None:
        rests = self._rests
        try:
            outcome = await self._courier.attempt(owed)
        except asyncio.CancelledError:
            self._queue.put_back(owed)
            raise
        except Exception:
            log.exception("notification attempt failed unexpectedly", notification=owed.id)
            outcome = Outcome(finished=False)
        if outcome.finished:
            self._queue.done(owed)
            if outcome.accepted and not self._proven:
                self._proven = True
                self._failures = 0
                self.wake()
            return
        self._queue.put_back(owed)
        if rests == self._rests:  # else another delivery that was under way at the same time has failed already
            self._rest(outcome.cooldown)

    def _rest(self, at_least: float) -> None:
        self._rests += 1
        self._failures += 1
        self._proven = False
        if self._failures > self._limits.retries:
            pause = self._limits.rest
        else:
            pause = min(self._limits.backoff * 2 ** (self._failures - 1), self._limits.rest)
        jittered = pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        self._pause(max(jittered, min(at_least, self._limits.max_age)))

    def _pause(self, seconds: float) -> None:
        if not self._closed and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._timer = None
        self.wake()

    @property
    def _must_refill(self) -> bool:
        return self._queue.roomy and not self._refilling

    async def _refill(self) -> None:
        self._refilling = True
        try:
            wanted = self._queue.wanted(_REFILL_AT_ONCE)
            self._queue.refill(wanted, await self._outbox.read(wanted))
            self.wake()
        except NgsiLdError:
            self._pause(1.0)
        finally:
            self._refilling = False
