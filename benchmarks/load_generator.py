"""The load generator: a process of its own that sends prepared requests and logs when they were answered.

`python -m benchmarks.load_generator` reads an HttpJob from its standard input and writes a Log to its standard output.
It works on bare sockets, because an HTTP client library would cost more than the brokers do. Each connection carries
one request at a time (a closed loop).
"""

import asyncio
import gc
from collections.abc import Callable
from itertools import cycle
from time import monotonic
from typing import cast

import uvloop

from benchmarks.http_response import ResponseParser
from benchmarks.jobs import CpuMeter, HttpJob, Log, receive_job, return_log
from benchmarks.prepared import prepare

_RECONNECT_PAUSE = 0.1


class Load:
    """All connections of one job, and the log they share."""

    def __init__(self, job: HttpJob) -> None:
        self._job = job
        self.log = Log(first_sequence=job.first_sequence)
        host = f"{job.host}:{job.port}"
        self._requests = cycle(prepare(job.operation, job.population, host, job.first_sequence, job.pages))
        self._deadline = 0.0
        self._interval = 1.0 / job.rate if job.rate else 0.0
        self._due = 0.0
        self._busy = 0
        self._drained = asyncio.Event()
        self._connections: set[Connection] = set()
        self._reconnecting: set[asyncio.Task[None]] = set()

    async def run(self) -> Log:
        """Send requests for the time that the job gives, then wait for the answers that are still due."""
        timing = self._job.timing
        for _ in range(self._job.connections):
            await self._connect()
        self._deadline = monotonic() + timing.warm_up + timing.seconds
        for connection in tuple(self._connections):
            self.send(connection, monotonic())
        await asyncio.sleep(timing.warm_up)
        meter = CpuMeter(self._job.watched)
        self.log.started = monotonic()
        await asyncio.sleep(self._deadline - self.log.started)
        self.log.ended = monotonic()
        self.log.cpu_seconds = meter.used()
        self.log.memory = meter.memory()
        asyncio.get_running_loop().call_later(timing.drain, self._drained.set)
        if self._busy:
            await self._drained.wait()
        for connection in tuple(self._connections):
            connection.close()
        return self.log

    def send(self, connection: "Connection", now: float) -> None:
        """Send the next request on a connection that is free, as soon as it is due, until the time is over."""
        if self._interval:
            self._due = max(self._due + self._interval, now)
            if self._due > now:
                asyncio.get_running_loop().call_later(self._due - now, self._send_due, connection)
                return
        self._send(connection, now)

    def _send_due(self, connection: "Connection") -> None:
        if connection in self._connections:
            self._send(connection, monotonic())

    def _send(self, connection: "Connection", now: float) -> None:
        if now >= self._deadline:
            return
        log = self.log
        number = len(log.sent)
        log.sent.append(now)
        log.answered.append(0.0)
        log.statuses.append(0)
        connection.number = number
        self._busy += 1
        connection.write((b"%d" % (log.first_sequence + number)).join(next(self._requests)))

    def answered(self, connection: "Connection", status: int) -> None:
        """Log the answer to the connection's request; the connection is free again."""
        log = self.log
        number = connection.number
        log.answered[number] = now = monotonic()
        log.statuses[number] = status
        self._free(connection, now)
        if not connection.closing:
            self.send(connection, now)

    def lost(self, connection: "Connection") -> None:
        """A connection is gone: its request stays without answer, and another connection takes its place."""
        now = monotonic()
        self._connections.discard(connection)
        if connection.number >= 0:
            self._free(connection, now)
        if now < self._deadline:
            task = asyncio.get_running_loop().create_task(self._reconnect())
            self._reconnecting.add(task)
            task.add_done_callback(self._reconnecting.discard)

    def _free(self, connection: "Connection", now: float) -> None:
        connection.number = -1
        self._busy -= 1
        if not self._busy and now >= self._deadline:
            self._drained.set()

    async def _connect(self) -> "Connection":
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self), self._job.host, self._job.port)
        self._connections.add(connection)
        return connection

    async def _reconnect(self) -> None:
        while monotonic() < self._deadline:
            try:
                self.send(await self._connect(), monotonic())
            except OSError:
                await asyncio.sleep(_RECONNECT_PAUSE)
            else:
                return


class Connection(asyncio.Protocol):
    """One keep-alive connection. `number` is that of the request under way, -1 where there is none."""

    write: Callable[[bytes], None]
    close: Callable[[], None]

    def __init__(self, load: Load) -> None:
        self._load = load
        self._parser = ResponseParser()
        self.number = -1

    @property
    def closing(self) -> bool:
        """Whether the server announced that it closes the connection."""
        return self._parser.closing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop: bind what is called per request."""
        self.write = cast("asyncio.Transport", transport).write
        self.close = transport.close

    def data_received(self, data: bytes) -> None:
        """Called by the event loop: bytes of a response."""
        try:
            status = self._parser.feed(data)
        except ValueError as error:
            self._load.log.problem = str(error)
            self.close()
            return
        if status:
            self._load.answered(self, status)
            if self._parser.closing:
                self.close()

    def connection_lost(self, _error: Exception | None) -> None:
        """Called by the event loop."""
        self._load.lost(self)


async def _run(job: HttpJob) -> Log:
    load = Load(job)
    gc.freeze()
    gc.disable()
    return await load.run()


if __name__ == "__main__":
    return_log(uvloop.run(_run(receive_job())))
