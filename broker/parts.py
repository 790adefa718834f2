"""Parts of a worker process that are put together, started and stopped as one; `app.py` composes the whole of them."""

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import structlog

from broker import __version__
from broker.bundled import bundled
from broker.commit.census import Census
from broker.commit.colleagues import Colleague
from broker.commit.committer import Committer
from broker.commit.sharing import SharedCommits
from broker.core.data_models import DataModelOperations
from broker.core.recounting import Recounter
from broker.notify.mqtt import MqttPublisher
from broker.notify.trust import Trust, UntrustworthyError
from broker.outbound import Outbound, OutboundPolicy
from broker.posting import Poster
from broker.setting import SettingsError
from broker.settings import Settings
from broker.storage.client import Mongo
from broker.storage.data_models import DataModelStore
from broker.storage.edits import Edits
from broker.storage.processes import Processes
from broker.storage.recounts import Recounts
from broker.storage.violations import ViolationStore
from broker.telemetry import Metrics
from broker.validation.checker import Checker
from broker.validation.definitions import Definition
from broker.validation.importing.reading import read_models
from broker.validation.policies import Policy
from broker.validation.registry import ModelRegistry
from broker.validation.tallies import Tallies

log = structlog.get_logger("vela")

_COMMITTED = 20.0
"""Seconds within which an update has its outcome once it is its turn: a group tries for half of that."""


class Runs(Protocol):
    """Works beside the requests."""

    def start(self) -> None:
        """Begin."""

    async def stop(self) -> None:
        """Break off."""


Service = TypeVar("Service", bound=Runs)


def run(stack: contextlib.AsyncExitStack, service: Service) -> Service:
    """Start a service that is stopped at the end."""
    service.start()
    stack.push_async_callback(service.stop)
    return service


def read_trust(settings: Settings) -> Trust:
    """What endpoints are trusted by. SettingsError where the CA file of the settings cannot be used."""
    trust = Trust(settings.notification_ca_file, settings.notification_ca_dir)
    try:
        trust.context()
    except UntrustworthyError as error:
        raise SettingsError(f"notification_ca_file: {error}") from error
    return trust


@contextlib.asynccontextmanager
async def open_mongo(settings: Settings) -> AsyncIterator[Mongo]:
    """The connected database; the log tells what would make it faster. Raises as `Mongo.connect`."""
    assert settings.mongo_uri is not None
    mongo = await Mongo.connect(settings.mongo_uri, driver_name=settings.mongo_driver, database=settings.database)
    try:
        if window := await mongo.history_window():
            log.warning(
                "MongoDB keeps old versions of documents, which slows down lasting updates up to threefold",
                seconds=window,
                fix="start each mongod with --setParameter minSnapshotHistoryWindowInSeconds=0",
            )
        yield mongo
    finally:
        await mongo.close()


@contextlib.asynccontextmanager
async def open_http(settings: Settings) -> AsyncIterator[tuple[Outbound, Poster]]:
    """What sends requests and notifications; its connections are closed at the end."""
    outbound = Outbound(OutboundPolicy(allow=settings.outbound_allow, deny=settings.outbound_deny))
    poster = Poster(outbound)
    await outbound.start()
    try:
        yield outbound, poster
    finally:
        await poster.close()
        await outbound.close()


@contextlib.asynccontextmanager
async def open_mqtt(outbound: Outbound, trust: Trust, settings: Settings) -> AsyncIterator[MqttPublisher]:
    """What publishes notifications over MQTT; its connections are closed at the end."""
    mqtt = MqttPublisher(
        outbound, trust, connections=settings.notification_connections, timeout=settings.notification_timeout
    )
    mqtt.start()
    try:
        yield mqtt
    finally:
        await mqtt.close()


@contextlib.asynccontextmanager
async def open_census(
    census: Census, recounts: Recounts, processes: Processes, settings: Settings
) -> AsyncIterator[Census]:
    """The census, with somebody who clears up what is in doubt; it is closed after everything that is counted in it."""
    recounter = Recounter(census.process, recounts, processes, census)
    recounter.start()
    try:
        yield census
    finally:
        await recounter.stop()
        await census.close(settings.drain_timeout)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The workers of a broker: this one at the place `index`, where others reach it by its `door`; their `doors`."""

    index: int = 0
    door: socket.socket | None = None
    doors: Mapping[int, str] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def open_sharing(
    committer: Committer, neighbours: Neighbours, metrics: Metrics, settings: Settings
) -> AsyncIterator[SharedCommits]:
    """What commits updates together with the other workers; at the end those have the outcomes of theirs."""
    commits = SharedCommits(
        committer,
        neighbours.index,
        {index: Colleague(path, silence=settings.max_wait + _COMMITTED) for index, path in neighbours.doors.items()},
        neighbours.door,
        most_pending=settings.max_queue,
        handed_over=metrics.handed_over,
    )
    await commits.start()
    try:
        yield commits
    finally:
        commits.leave()
        await commits.close(settings.drain_timeout)


@dataclass(frozen=True, slots=True)
class DataModels:
    """What checks changes, and what operators do with data models."""

    checker: Checker
    operations: DataModelOperations


@contextlib.asynccontextmanager
async def open_data_models(
    mongo: Mongo, edits: Edits, metrics: Metrics, settings: Settings
) -> AsyncIterator[DataModels]:
    """The data models and policies, kept in step with the database; at the end what was counted is written down."""
    store, violations = DataModelStore(mongo, edits), ViolationStore(mongo)
    registry = ModelRegistry(
        store, read_bundled(), Policy(settings.validation_default), zone_tolerant=settings.validation_zoneless
    )
    metrics.models_usable.set_function(lambda: registry.usable)
    metrics.models_quarantined.set_function(lambda: registry.quarantined)
    async with contextlib.AsyncExitStack() as stack:
        tallies = run(stack, Tallies(violations, metrics.schema_violations))
        await registry.start()
        stack.push_async_callback(registry.stop)
        yield DataModels(
            Checker(registry, tallies),
            DataModelOperations(registry, store, violations, tallies, zone_tolerant=settings.validation_zoneless),
        )


def read_bundled() -> Iterator[Definition]:
    """The data models that come with Vela, one subject after the other: all at once take several times the memory."""
    folder = bundled("datamodels")
    files = (path for path in folder.rglob("*") if path.is_file() and "examples" not in path.relative_to(folder).parts)
    tree = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    for subject in sorted({path.partition("/")[0] for path in tree if path.endswith("/schema.json")}):
        for one in read_models(tree, source="Vela", version=__version__, only=subject):
            if one.problem:
                log.error("a data model that comes with Vela cannot be used", file=one.file, reason=one.problem)
            yield one
