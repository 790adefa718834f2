"""One worker process, from start to end: it serves from the sockets that its supervisor gave it, then drains."""

import asyncio
import ctypes
import gc
import os
import resource
import signal
import socket
import sys

import structlog
import uvloop

from broker.accepting import Acceptor
from broker.app import open_services
from broker.channel import Channel, Wiring, WorkerError
from broker.exposition import snapshot
from broker.listening import door_of
from broker.ngsild.errors import NgsiLdError
from broker.parts import Neighbours
from broker.reporting import Reporting
from broker.settings import Settings
from broker.storage.client import UnusableStorage
from broker.telemetry import Metrics
from broker.validation.definitions import DataModelError
from broker.web.routes import make_dispatcher
from broker.web.server import Server

_MOST_FILES = 1 << 16

_GC_THRESHOLD = 50_000
"""New containers before the garbage collector looks at them: requests make thousands that die without its help."""

log = structlog.get_logger("vela")


def run_worker(settings: Settings, wiring: Wiring) -> None:
    """Serve until SIGTERM, or the end of the supervisor.

    Raises WorkerError when the worker cannot start, SettingsError for a setting that only now turns out to be wrong.
    """
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to all processes: they are the supervisor's
        signal.signal(number, signal.SIG_IGN)
    end_with(wiring.parent)
    try:
        uvloop.run(_serve(settings, wiring))
    except NgsiLdError as error:
        raise WorkerError(error.detail) from error
    except (UnusableStorage, DataModelError) as error:
        raise WorkerError(str(error)) from error


def end_with(parent: int) -> None:
    """Make this process end (SIGTERM) when the process `parent`, its parent, ends. Linux only; elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    if os.getppid() != parent:
        raise WorkerError("The broker that started this worker has ended.")


def open_files() -> int:
    """How many files this process may open: as many as the system lets it have, from now on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


async def _serve(settings: Settings, wiring: Wiring) -> None:
    gc.set_threshold(_GC_THRESHOLD, 20, 50)  # before the subscriptions are loaded: there may be very many
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    metrics = Metrics(wiring.index)
    reporting = Reporting(await Channel.open(socket.socket(fileno=wiring.channel)), lambda: snapshot(metrics.registry))
    reporting.start()
    try:
        async with open_services(settings, metrics, reporting.exposition, _neighbours(wiring)) as services:
            server = Server(
                make_dispatcher(services),
                services.load,
                max_body_bytes=settings.max_body_bytes,
                most_connections=min(settings.max_connections, open_files() // 2),
            )
            metrics.worker.connections = lambda: server.connected
            sockets = [socket.socket(fileno=number) for number in wiring.listening]
            port = sockets[0].getsockname()[1]
            acceptor = Acceptor(sockets, server)
            gc.collect()
            gc.freeze()
            reporting.ready()
            log.info("ready", worker=wiring.index, host=settings.host, port=port)
            await stopping.wait()
            log.info("draining", worker=wiring.index)
            services.leave()
            await acceptor.finish()
            await server.drain(settings.drain_timeout)
    finally:
        await reporting.close()
    log.info("stopped", worker=wiring.index)


def _neighbours(wiring: Wiring) -> Neighbours:
    """Where the other workers are; nowhere for one that is alone."""
    if wiring.places == 1 or wiring.door < 0:
        return Neighbours()
    door = socket.socket(fileno=wiring.door)
    others = (index for index in range(wiring.places) if index != wiring.index)
    return Neighbours(wiring.index, door, {index: door_of(door, index) for index in others})
