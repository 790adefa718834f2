"""`vela serve`: the private MongoDB where none is given, then the worker processes, and the orderly end of all of them.

SIGTERM and SIGINT drain the workers, then stop the private MongoDB. SIGHUP replaces one worker after the other by a new
one, which reads its code and settings anew, without losing a request; where it comes because the terminal was closed,
it ends the broker.

One worker has a supervisor, too: it is what starts the worker again, and what has something to hand over at SIGHUP.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from types import FrameType

import structlog

from broker.configuration import Configuration, Launch
from broker.crew import Crew
from broker.listening import Listeners
from broker.machine import default_cache_bytes, default_workers
from broker.telemetry import configure_logging

log = structlog.get_logger("vela.supervisor")


class _Stopped(BaseException):
    """SIGTERM came while the broker was still starting."""


def serve(configuration: Configuration) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status.

    Raises SettingsError, ListenError or EmbeddedMongoError when the broker cannot start; nothing is left running then.
    """
    launch = configuration.read()
    try:
        signal.signal(signal.SIGTERM, _stop_starting)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with _database(configuration, launch) as complete:
            listeners = Listeners(launch.settings.host, launch.settings.port)
            listeners.probe()
            return asyncio.run(_supervise(configuration, complete, listeners))
    except (_Stopped, KeyboardInterrupt):
        return 0


def _stop_starting(_number: int, _frame: FrameType | None) -> None:
    raise _Stopped


async def _supervise(configuration: Configuration, launch: Launch, listeners: Listeners) -> int:
    def read_again() -> Launch:
        again, too_late = configuration.read_again()
        configure_logging(again.settings.log_level, again.settings.log_format)
        if too_late:
            log.warning("these settings have changed, and take effect at the next start only", settings=too_late)
        return again

    crew = Crew(launch, launch.settings.workers or default_workers(), listeners, read_again)
    on_terminal = os.isatty(0)

    def hang_up() -> None:
        if on_terminal and not os.isatty(0):
            crew.stop()
        else:
            crew.roll()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, crew.stop)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    return await crew.run()


@contextlib.contextmanager
def _database(configuration: Configuration, launch: Launch) -> Iterator[Launch]:
    """What workers are started with when a database runs: the one given, or a private one for as long as this lasts."""
    settings = launch.settings
    if settings.mongo_uri is not None:
        yield launch
        return
    from broker.storage.embedded import EmbeddedMongo  # loads the driver, which a supervisor needs for nothing else

    cache_bytes = settings.mongod_cache_bytes or default_cache_bytes()
    mongo = EmbeddedMongo(settings.data_dir, mongod=settings.mongod, cache_bytes=cache_bytes)
    started = time.monotonic()
    uri = mongo.start()
    configuration.use(uri)
    log.info(
        "private MongoDB started",
        folder=str(mongo.data_dir),
        pid=mongo.pid,
        seconds=round(time.monotonic() - started, 2),
    )
    try:
        yield launch.over(uri)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(
                number, signal.SIG_IGN
            )  # the end of the database is bounded in time and must not be cut short
        mongo.stop()
        log.info("private MongoDB stopped")
