"""The other workers of a broker: handing mutations to them, and taking over theirs.

A worker says READY on a line that it has accepted, and LEAVING when it is about to end: it still answers all that it is
sent until the other end of the line closes. So no update is lost when workers are replaced. Where a line breaks, or its
worker is silent for too long, the outcome of what it was handed is unknown, as to a client whose connection breaks.
"""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

import structlog

from broker.commit.group import OutcomeUnknown
from broker.commit.lines import Line, Message
from broker.ngsild.errors import NgsiLdError
from broker.ngsild.mutations import Mutation

log = structlog.get_logger(__name__)

READY, LEAVING = "ready", "leaving"

_LOOK_AGAIN = 1.0
_PAUSE = 0.05
"""Seconds between attempts to reach a worker, which may be about to be started."""

_KEEP_DOOR: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
"""Servers of later Pythons take the door with them when they close; it is there for who takes the place."""

Mutations = Sequence[tuple[str, Mutation]]
Outcomes = asyncio.Future[list[Any]]
TakesOver = Callable[[str, Mutations, int], Outcomes]


class _Errands(Line):
    """A line to a colleague, with what it was handed and has not answered yet. `left` is set when it takes no more."""

    def __init__(self, silence: float) -> None:
        super().__init__()
        self.open = False
        self.left = asyncio.Event()
        self._silence = silence
        self._numbers = count(1)
        self._waiting: dict[int, tuple[Outcomes, int, float]] = {}
        self._looking = False

    def submit(self, tenant: str, mutations: Mutations, size: int) -> Outcomes:
        """Hand over mutations."""
        number = next(self._numbers)
        future: Outcomes = self._loop.create_future()
        self._waiting[number] = future, len(mutations), self._loop.time()
        self.send((number, tenant, mutations, size))
        if not self._looking:
            self._look()
        return future

    def leave(self) -> None:
        """Hand over nothing more; what was handed over is still answered."""
        self.open = False
        self.left.set()
        self.end()

    def received(self, message: Message) -> None:
        """The colleague answers, comes or goes."""
        if message == READY:
            self.open = True
        elif message == LEAVING:
            self.leave()
        else:
            number, outcomes = message
            self._settle(number, outcomes)

    def finished(self) -> None:
        """There will be no more answers."""
        self.leave()
        if self._waiting:
            updates = sum(mutations for _, mutations, _ in self._waiting.values())
            log.warning("the outcome of updates that another worker was handed is unknown", updates=updates)
        for number, (_, mutations, _) in list(self._waiting.items()):
            error = OutcomeUnknown(
                "The process that was committing the update has ended: the update may or may not have been kept; "
                "read it, or retry."
            )
            self._settle(number, [error] * mutations)

    def _settle(self, number: int, outcomes: list[Any]) -> None:
        future, _, _ = self._waiting.pop(number)
        if not future.done():  # the caller may have gone
            future.set_result(outcomes)

    def _look(self) -> None:
        """See to it that nobody waits for ever."""
        oldest = next(iter(self._waiting.values()), None)
        self._looking = oldest is not None
        if oldest is None:
            return
        if self._loop.time() - oldest[2] > self._silence:
            log.error("another worker does not answer")
            self.abort()
        else:
            self._loop.call_later(min(_LOOK_AGAIN, self._silence), self._look)


class Colleague:
    """The worker whose socket is at `path`. It is reached again and again, as it may be replaced or die.

    Within `silence` seconds it answers in any case.
    """

    def __init__(self, path: str, *, silence: float) -> None:
        self._path = path
        self._silence = silence
        self._errands: _Errands | None = None
        self._reaching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Reach the worker as soon as it is there."""
        self._reaching = asyncio.create_task(self._keep_reaching())

    @property
    def reachable(self) -> bool:
        """Whether it takes mutations at the moment."""
        return self._errands is not None and self._errands.open

    def submit(self, tenant: str, mutations: Mutations, size: int) -> Outcomes:
        """Have it commit several mutations in order; for each its outcome, or its NgsiLdError as a value.

        Only while it is reachable.
        """
        assert self._errands is not None
        return self._errands.submit(tenant, mutations, size)

    def leave(self) -> None:
        """Hand over nothing more. What has no outcome yet still gets it."""
        if self._reaching is not None:
            self._reaching.cancel()
        if self._errands is not None:
            self._errands.leave()

    async def _keep_reaching(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(OSError):
                _, self._errands = await loop.create_unix_connection(partial(_Errands, self._silence), self._path)
                await self._errands.left.wait()
            await asyncio.sleep(_PAUSE)


class _Visit(Line):
    """A line from a colleague: what it hands over is committed here."""

    def __init__(self, visits: "set[_Visit]", left: asyncio.Event, take_over: TakesOver) -> None:
        super().__init__()
        self._visits = visits
        self._left = left
        self._take_over = take_over
        self._under_way = 0
        self._last = False
        self.gone: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A colleague is there."""
        super().connection_made(transport)
        self._visits.add(self)
        self.send(LEAVING if self._left.is_set() else READY)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        super().connection_lost(exc)
        self._visits.discard(self)
        self.gone.set_result(None)

    def received(self, message: Message) -> None:
        """It hands over mutations."""
        number, tenant, mutations, size = message
        try:
            outcomes = self._take_over(tenant, mutations, size)
        except NgsiLdError as error:
            self.send((number, [error] * len(mutations)))
        else:
            self._under_way += 1
            outcomes.add_done_callback(partial(self._answer, number))

    def finished(self) -> None:
        """It will hand over nothing more."""
        self._last = True
        if not self._under_way:
            self.end()

    def _answer(self, number: int, outcomes: Outcomes) -> None:
        self._under_way -= 1
        self.send((number, outcomes.result()))
        if self._last and not self._under_way:
            self.end()


class Reception:
    """Takes over what colleagues hand over at the listening socket `door`; `take_over` commits it, or raises."""

    def __init__(self, door: socket.socket, take_over: TakesOver) -> None:
        self._door = door
        self._take_over = take_over
        self._visits: set[_Visit] = set()
        self._left = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Let colleagues in."""
        loop = asyncio.get_running_loop()
        visit = partial(_Visit, self._visits, self._left, self._take_over)
        self._server = await loop.create_unix_server(visit, sock=self._door, **_KEEP_DOOR)

    def leave(self) -> None:
        """Let nobody in any more, and tell those who are there to hand over nothing more."""
        self._left.set()
        if self._server is not None:
            self._server.close()
            self._server = None
            for visit in self._visits:
                visit.send(LEAVING)

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109 - how long to wait for others
        """Wait until everybody has their answers and is gone, for `timeout` seconds at most."""
        if self._visits:
            await asyncio.wait([visit.gone for visit in self._visits], timeout=timeout)
        for visit in list(self._visits):
            visit.abort()
