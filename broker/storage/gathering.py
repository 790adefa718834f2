"""Reads that wait together share one question to MongoDB, as updates share a commit (docs/adr/0006).

While one question is under way the next one gathers: there is no timer, and no added latency when idle. A read never
joins a question that was asked before it began, so it sees everything that was acknowledged before, by any process.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from itertools import islice
from typing import Generic, TypeVar

import structlog

from broker.ngsild.errors import InternalError, NgsiLdError

log = structlog.get_logger(__name__)

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item", bound=Hashable)
Found = TypeVar("Found")

IN_FLIGHT = 2


class _Lane(Generic[Item, Found]):
    """What waits and what is in flight for one key. Those who wait for equal items wait for the same."""

    __slots__ = ("in_flight", "scheduled", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[Item, list[asyncio.Future[Found]]] = {}
        self.in_flight = 0
        self.scheduled = False


class Gathering(ABC, Generic[Key, Item, Found]):
    """Reads by key: those of one key can share a question.

    `most` bounds the different items of one; `eager` of them must wait before a further question is asked while one is
    under way.
    """

    def __init__(self, most: int, eager: int) -> None:
        self._most = most
        self._eager = eager
        self._lanes: dict[Key, _Lane[Item, Found]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def ask(self, key: Key, items: Sequence[Item]) -> Sequence[Found]:
        """What there is for each of the items, which are all different, in their order."""

    async def gathered(self, key: Key, item: Item) -> Found:
        """What there is for one item. Raises what `ask` raises."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane()
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Found] = loop.create_future()
        lane.waiting.setdefault(item, []).append(found)
        if not lane.scheduled:
            # In the loop's next turn, so that requests that arrived together are asked together.
            lane.scheduled = True
            loop.call_soon(self._start, key, lane)
        return await found

    def _start(self, key: Key, lane: _Lane[Item, Found]) -> None:
        lane.scheduled = False
        waiting = lane.waiting
        while waiting and lane.in_flight < IN_FLIGHT and (len(waiting) >= self._eager or not lane.in_flight):
            reads = {item: waiting.pop(item) for item in list(islice(waiting, self._most))}
            lane.in_flight += 1
            task = asyncio.create_task(self._run(key, lane, reads))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, key: Key, lane: _Lane[Item, Found], reads: "dict[Item, list[asyncio.Future[Found]]]") -> None:
        answers: Sequence[Found] = ()
        failure: NgsiLdError | None = None
        try:
            answers = await self.ask(key, list(reads))
        except NgsiLdError as error:
            failure = error
        except Exception:
            log.exception("reading failed", reads=len(reads))
            failure = InternalError("The read failed unexpectedly; the log of the broker has the cause.")
        finally:
            lane.in_flight -= 1
            self._start(key, lane)
            if not lane.in_flight and not lane.scheduled:
                self._lanes.pop(key, None)
        for number, readers in enumerate(reads.values()):
            for found in readers:
                if found.done():  # its client has gone away
                    continue
                if failure is None:
                    found.set_result(answers[number])
                else:
                    found.set_exception(failure)
