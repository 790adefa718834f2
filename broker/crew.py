"""The worker processes of one broker: started, watched, started again when they die, replaced one by one.

Each worker has a place with sockets of its own, which outlive it: whoever takes the place accepts what waits there.
"""

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable

import structlog

from broker.channel import Channel, Message, Wiring
from broker.configuration import Launch
from broker.exposition import Merger, Snapshot, snapshot
from broker.listening import Doors, ListenError, Listeners, refuse_further
from broker.setting import SettingsError
from broker.telemetry import SupervisorMetrics

CANNOT_START = 2
"""Exit status of a worker that cannot start whatever is tried; it is not started again."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
STABLE_SECONDS = 30.0
READY_SECONDS = 120.0
"""How long a worker that shall replace another may take until it serves."""

GRACE_SECONDS = 5.0  # beyond the drain timeout, before a worker is killed
COLLECT_SECONDS = 1.0
"""How long a scrape waits for workers to say what they counted; then what they said last counts."""

log = structlog.get_logger("vela.supervisor")


class Worker:
    """One worker process, and the line to it."""

    def __init__(self, index: int, launch: Launch, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.index = index
        self.pid = process.pid
        self.ready = asyncio.Event()
        self.ended = asyncio.ensure_future(process.wait())
        self.snapshot: Snapshot = []
        self._launch = launch
        self._process = process
        self._channel = channel
        self._asked = 0
        self._told = asyncio.Condition()
        self._answered = 0

    @property
    def serves(self) -> bool:
        """Whether it is ready, and there."""
        return self.ready.is_set() and not self.ended.done()

    def send(self, message: Message) -> None:
        """Send it a message."""
        self._channel.send(message)

    async def collect(self) -> None:
        """Have `snapshot` say what the worker has counted until now."""
        self._asked = number = self._asked + 1
        self.send({"collect": number})
        async with self._told:
            await self._told.wait_for(lambda: self._answered >= number)

    async def listen(self, scrape: Callable[["Worker", int], None]) -> None:
        """Take in what it says until it has ended; `scrape` is called with the number of each scrape."""
        while (message := await self._channel.receive()) is not None:
            self.snapshot = message.get("metrics", self.snapshot)
            if "ready" in message:
                self.ready.set()
            if "scrape" in message:
                scrape(self, message["scrape"])
            if message.get("collected"):
                async with self._told:
                    self._answered = message["collected"]
                    self._told.notify_all()
        await self._channel.close()

    async def is_ready(self, stopping: asyncio.Event) -> bool:
        """Wait until it serves; whether it does so before it ends, its time is up, or the broker stops."""
        await first_of(READY_SECONDS, self.ready.wait(), asyncio.shield(self.ended), stopping.wait())
        return self.serves and not stopping.is_set()

    async def retire(self) -> None:
        """Let it drain and end; kill it when that takes too long."""
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            await asyncio.wait((self.ended,), timeout=self._launch.settings.drain_timeout + GRACE_SECONDS)
        if not self.ended.done():
            log.error("worker does not end and is killed", worker=self.index, pid=self.pid)
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self.ended


class Place:
    """What a worker takes: a number and sockets. `worker` is None while the place is empty, as after a death.

    Clients come to the `sockets`, other workers to the `door`, if there are others.
    """

    def __init__(self, index: int, launch: Launch, sockets: list[socket.socket]) -> None:
        self.index = index
        self.launch = launch
        self.sockets = sockets
        self.door: socket.socket | None = None
        self.worker: Worker | None = None
        self.filling = asyncio.Lock()
        self.changed = asyncio.Event()
        self.closing = False

    def close_sockets(self) -> None:
        """Leave the sockets to the workers that accept from them."""
        for one in self.sockets:
            one.close()
        self.sockets = []

    def close(self) -> None:
        """Leave all sockets to those who were given them."""
        self.close_sockets()
        if self.door is not None:
            self.door.close()


async def first_of(seconds: float | None, *waits: Awaitable[object]) -> None:
    """Wait until one of the awaitables is done, for so many seconds at most; the others are cancelled."""
    tasks = [asyncio.ensure_future(one) for one in waits]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


class Crew:
    """All workers. `read_again` reads what further workers shall be started with; it may raise SettingsError."""

    def __init__(self, launch: Launch, workers: int, listeners: Listeners, read_again: Callable[[], Launch]) -> None:
        self._launch = launch
        self._number = workers
        self._listeners = listeners
        self._doors = Doors()
        self._read_again = read_again
        self._places: list[Place] = []
        self._workers: set[Worker] = set()
        self._status = 0
        self._served = False
        self._stopping = asyncio.Event()
        self._roll_wanted = asyncio.Event()
        self._merger = Merger()
        self._metrics = SupervisorMetrics()
        self._metrics.workers.set_function(lambda: sum(worker.serves for worker in self._workers))
        self._group = asyncio.TaskGroup()

    def stop(self) -> None:
        """Drain all workers, and end."""
        self._stopping.set()

    def roll(self) -> None:
        """Replace all workers, one after the other."""
        self._roll_wanted.set()

    async def run(self) -> int:
        """Run the workers until `stop`, or until one cannot start; returns the exit status. Raises ListenError."""
        self._places = [Place(index, self._launch, self._listeners.open()) for index in range(self._number)]
        log.info("starting workers", workers=self._number, port=self._listeners.port)
        async with self._group as group:
            for place in self._places:
                group.create_task(self._keep_filled(place))
            rolling = group.create_task(self._roll_when_wanted())
            await self._stopping.wait()
            rolling.cancel()
            for place in self._places:
                refuse_further(place.sockets)
                place.close()
            self._listeners.close()
        self._doors.close()
        return self._status

    def _wanted(self, launch: Launch) -> int:
        """How many workers there are to be; those that are started with the same settings agree on it."""
        return launch.settings.workers or self._number

    def _open_door(self, index: int) -> socket.socket | None:
        """Where other workers reach the one at the place `index`; None where that cannot be."""
        try:
            return self._doors.open(index)
        except OSError as error:
            log.warning("workers cannot reach each other: they will race for entities", reason=str(error))
            return None

    async def _keep_filled(self, place: Place) -> None:
        pause = FIRST_PAUSE
        while not self._leaves(place):
            async with place.filling:
                if self._leaves(place):
                    return
                if place.worker is None:
                    place.worker = await self._start(place, place.launch)
            worker = place.worker
            started = time.monotonic()
            status = await asyncio.shield(worker.ended)
            if worker.ready.is_set():
                self._served = True
            if self._leaves(place) or place.worker is not worker:
                continue
            place.worker = None
            if status == CANNOT_START and not self._served and not any(one.serves for one in self._workers):
                self._status = CANNOT_START
                self._stopping.set()
                return
            self._metrics.deaths.inc()
            if any(one.serves for one in self._workers):
                place.close_sockets()  # the kernel deals out new connections to the others
            pause = FIRST_PAUSE if time.monotonic() - started > STABLE_SECONDS else min(pause * 2, LONGEST_PAUSE)
            log.error("worker ended and is started again", worker=place.index, status=status, pause=pause)
            place.changed.clear()
            await first_of(pause, self._stopping.wait(), place.changed.wait())

    def _leaves(self, place: Place) -> bool:
        """Whether a place is to stay empty from now on."""
        return place.closing or self._stopping.is_set()

    async def _start(self, place: Place, launch: Launch) -> Worker:
        """Start a worker for a place; what it is accompanied by ends with it."""
        if not place.sockets:
            place.sockets = self._listeners.open()
        ours, theirs = socket.socketpair()
        listening = tuple(one.fileno() for one in place.sockets)
        places = self._wanted(launch)
        if place.door is None and places > 1:
            place.door = self._open_door(place.index)
        door = -1 if place.door is None else place.door.fileno()
        with theirs:
            wiring = Wiring(os.getpid(), place.index, places, theirs.fileno(), door, listening)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "broker", "worker", wiring.text(), *launch.flags),
                env=launch.environment,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[one for one in (theirs.fileno(), door, *listening) if one >= 0],
            )
        worker = Worker(place.index, launch, process, await Channel.open(ours))
        log.debug("worker started", worker=place.index, pid=worker.pid)
        self._workers.add(worker)
        self._group.create_task(self._accompany(worker))
        return worker

    async def _accompany(self, worker: Worker) -> None:
        listening = asyncio.ensure_future(worker.listen(self._scrape))
        await first_of(None, asyncio.shield(worker.ended), self._stopping.wait())
        await worker.retire()
        await listening
        self._workers.discard(worker)
        self._merger.end(worker.snapshot)

    def _scrape(self, worker: Worker, number: int) -> None:
        self._group.create_task(self._answer_scrape(worker, number))

    async def _answer_scrape(self, asking: Worker, number: int) -> None:
        """Tell `asking` what all workers together have counted."""
        asked = [asyncio.ensure_future(one.collect()) for one in self._workers if one is not asking and one.serves]
        if asked:
            await asyncio.wait(asked, timeout=COLLECT_SECONDS)
        for one in asked:
            one.cancel()
        living = [*(one.snapshot for one in self._workers), snapshot(self._metrics.registry)]
        asking.send({"scraped": number, "text": self._merger.text(living).decode()})

    async def _roll_when_wanted(self) -> None:
        while True:
            await self._roll_wanted.wait()
            self._roll_wanted.clear()
            try:
                self._launch = await self._roll(self._read_again())
                self._metrics.rolls.inc()
                log.info("rolling restart done", workers=len(self._places))
            except (SettingsError, ListenError, RollError) as error:
                self._metrics.failed_rolls.inc()
                log.error("rolling restart given up; the workers that are there go on", reason=str(error))

    async def _roll(self, launch: Launch) -> Launch:
        wanted = self._wanted(launch)
        log.info("rolling restart", workers=wanted)
        for place in self._places[:wanted]:
            await self._replace(place, launch)
        while len(self._places) > wanted:
            await self._remove(self._places.pop())
        while len(self._places) < wanted:
            place = Place(len(self._places), launch, self._listeners.open())
            self._places.append(place)
            self._group.create_task(self._keep_filled(place))
        return launch

    async def _replace(self, place: Place, launch: Launch) -> None:
        """Put a new worker in the place, from the moment it serves. Raises RollError where it does not."""
        async with place.filling:
            successor = await self._start(place, launch)
            if not await successor.is_ready(self._stopping):
                await successor.retire()
                raise RollError(f"The new worker {place.index} does not serve: its log lines tell why.")
            predecessor, place.worker, place.launch = place.worker, successor, launch
            place.changed.set()
        if predecessor is not None:
            await predecessor.retire()

    async def _remove(self, place: Place) -> None:
        place.closing = True
        place.changed.set()
        refuse_further(place.sockets)
        async with place.filling:
            if place.worker is not None:
                await place.worker.retire()
        place.close()


class RollError(Exception):
    """A rolling restart cannot go on; the text says why."""
