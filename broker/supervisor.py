"""`vela serve`: the private MongoDB where none is given, then the worker processes, and the orderly end of all of them.

One worker serves in this process. Several are child processes that share the port (SO_REUSEPORT); one that dies is
started again. SIGTERM and SIGINT drain the workers, then stop the private MongoDB.
"""

import asyncio
import contextlib
import ctypes
import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from types import FrameType

import structlog

from broker.ngsild.errors import NgsiLdError
from broker.settings import Settings
from broker.storage.client import UnusableStorage
from broker.storage.embedded import EmbeddedMongo
from broker.validation.definitions import DataModelError

CANNOT_START = 2
"""Exit status of a worker that cannot start whatever is tried; it is not started again."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
STABLE_SECONDS = 30.0
GRACE_SECONDS = 5.0  # beyond the drain timeout, before a worker is killed

log = structlog.get_logger("vela.supervisor")


class ServeError(Exception):
    """The broker cannot serve; the text says why and what to do."""


class _Stopped(BaseException):
    """SIGTERM came while the broker was still starting."""


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status.

    Raises ServeError or EmbeddedMongoError when the broker cannot start; nothing is left running then.
    """
    try:
        signal.signal(signal.SIGTERM, _stop_starting)
        with _database(settings) as complete:
            if complete.workers == 1:
                serve_here(complete)
                return 0
            with _reserved(complete) as reserved:
                return asyncio.run(_Workers(reserved).run())
    except (_Stopped, KeyboardInterrupt):
        return 0


def _stop_starting(_number: int, _frame: FrameType | None) -> None:
    raise _Stopped


def serve_here(settings: Settings) -> None:
    """Serve in this process until SIGTERM or SIGINT, with the database that `settings` names.

    Raises ServeError when the broker cannot start.
    """
    from broker.app import run_worker  # only the processes that serve load the whole broker

    try:
        run_worker(settings)
    except NgsiLdError as error:
        raise ServeError(error.detail) from error
    except (UnusableStorage, DataModelError) as error:
        raise ServeError(str(error)) from error
    except socket.gaierror as error:
        raise ServeError(why_no_host(settings, error)) from error
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
            raise
        raise ServeError(why_no_port(settings, error)) from error


@contextlib.contextmanager
def _database(settings: Settings) -> Iterator[Settings]:
    """The settings with the URI of a database that runs: the one given, or a private one for as long as this lasts."""
    if settings.mongo_uri is not None:
        yield settings
        return
    mongo = EmbeddedMongo(settings.data_dir, mongod=settings.mongod, cache_bytes=settings.mongod_cache_bytes)
    started = time.monotonic()
    uri = mongo.start()
    log.info(
        "private MongoDB started",
        folder=str(mongo.data_dir),
        pid=mongo.pid,
        seconds=round(time.monotonic() - started, 2),
    )
    try:
        yield replace(settings, mongo_uri=uri)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(
                number, signal.SIG_IGN
            )  # the end of the database is bounded in time and must not be cut short
        mongo.stop()
        log.info("private MongoDB stopped")


@contextlib.contextmanager
def _reserved(settings: Settings) -> Iterator[Settings]:
    """The settings with a port that no other program listens on, kept for the workers as long as this lasts.

    SO_REUSEPORT alone would let two brokers share a port by mistake, each getting half of the requests.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
        with socket.socket(family, kind, protocol) as holder:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(address)
            yield replace(settings, port=holder.getsockname()[1])
    except socket.gaierror as error:
        raise ServeError(why_no_host(settings, error)) from error
    except OSError as error:
        raise ServeError(why_no_port(settings, error)) from error


def why_no_host(settings: Settings, error: OSError) -> str:
    """Why the host is no address to listen at, as a text that says what to do."""
    return f"--host is {settings.host!r}, which is no address here ({error.strerror})."


def why_no_port(settings: Settings, error: OSError) -> str:
    """Why the broker cannot listen at its address, as a text that says what to do."""
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {settings.port} of {settings.host} is in use; stop the program that listens there, "
            "or give another port with --port."
        )
    return f"The broker cannot listen at {settings.host}:{settings.port} ({error.strerror}); see --host and --port."


class _Workers:
    """The worker processes of one broker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self._status = 0

    async def run(self) -> int:
        """Run the workers until a signal, or until one cannot start; returns the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        log.info("starting workers", workers=self._settings.workers, port=self._settings.port)
        async with asyncio.TaskGroup() as group:
            for index in range(self._settings.workers):
                group.create_task(self._keep_running(index))
        return self._status

    async def _keep_running(self, index: int) -> None:
        pause, first = FIRST_PAUSE, True
        while not self._stopping.is_set():
            started = time.monotonic()
            status = await self._run_one(index)
            if self._stopping.is_set():
                return
            if first and status == CANNOT_START:
                self._status = CANNOT_START
                self._stopping.set()
                return
            first = False
            pause = FIRST_PAUSE if time.monotonic() - started > STABLE_SECONDS else min(pause * 2, LONGEST_PAUSE)
            log.error("worker ended and is started again", worker=index, status=status, pause=pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _run_one(self, index: int) -> int:
        """Run one worker process until it ends, or is stopped with the broker; returns its exit status."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "broker", "worker", str(os.getpid())),
            env={**os.environ, **self._settings.environment()},
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which then stops each worker once
        )
        log.debug("worker started", worker=index, pid=process.pid)
        ended = asyncio.ensure_future(process.wait())
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            process.terminate()
            await asyncio.wait((ended,), timeout=self._settings.drain_timeout + GRACE_SECONDS)
        if not ended.done():
            log.error("worker does not end and is killed", worker=index, pid=process.pid)
            process.kill()
        return await ended


def end_with(parent: int) -> None:
    """Make this process end (SIGTERM) when the process `parent`, its parent, ends. Linux only; elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    if os.getppid() != parent:
        raise ServeError("The broker that started this worker has ended.")
