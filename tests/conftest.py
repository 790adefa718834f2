"""Fixtures of all tests: a private MongoDB for the run, databases of one's own, and a running broker.

The broker is a process of its own, started as a user starts it. Tests of one module share it; each has its own client,
and keeps apart from the others by its own ids, or by the `tenant` fixture.
"""

import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import hypothesis
import pytest
from pymongo import MongoClient

from broker.local import LocalBroker, free_port
from broker.settings import Settings
from broker.storage.embedded import EmbeddedMongo
from tests.faults.figures import (  # noqa: F401 - hooks of pytest
    pytest_configure,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)

# The same random examples at every run, so that a failure is one of the change at hand; "thorough" tries new ones.
# No deadline for one example: how long it takes is a matter of what else the machine does.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile("thorough", derandomize=False, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "repeatable")


@dataclass(slots=True)
class RunningBroker:
    """A broker that answers at `url` and keeps its data in `database`; `client` takes paths such as "/ngsi-ld/v1/…"."""

    local: LocalBroker
    client: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return self.local.url

    @property
    def settings(self) -> Settings:
        return self.local.settings

    @property
    def database(self) -> str:
        return self.local.settings.database

    def stop(self) -> int:
        return self.local.stop()

    def kill(self) -> None:
        self.local.kill()

    def start(self) -> None:
        self.local.start()


@pytest.fixture(scope="session")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MongoDB replica set: the one of VELA_TEST_MONGO_URI, else a private one that lasts for the run."""
    given = os.environ.get("VELA_TEST_MONGO_URI")
    if given:
        yield given
        return
    mongo = EmbeddedMongo(tmp_path_factory.mktemp("mongo"), cache_bytes=256 * 1024**2)
    yield mongo.start()
    mongo.stop()


@pytest.fixture
def database_name(request: pytest.FixtureRequest, mongo_uri: str) -> Iterator[str]:
    """The name of a database of this test alone; beside `broker`, that of the broker's database."""
    if "broker" in request.fixturenames:
        yield request.getfixturevalue("broker_process").settings.database
        return
    name = _unique_name()
    yield name
    _drop(mongo_uri, name)


@pytest.fixture(scope="module")
def broker_settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings of this module's broker beside the usual ones: BROKER_SETTINGS of the test module."""
    return dict(getattr(request.module, "BROKER_SETTINGS", {}))


@pytest.fixture(scope="module")
def start_broker(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., LocalBroker]]:
    """A function that starts a broker with the settings given as keywords, on a free port and a database of its own."""
    started: list[LocalBroker] = []

    def start(**settings: Any) -> LocalBroker:
        usual: dict[str, Any] = {
            "host": "127.0.0.1", "port": free_port(), "mongo_uri": mongo_uri, "database": _unique_name(),
            "data_dir": Path("var-is-not-used"), "log_format": "json", "drain_timeout": 3.0, "workers": 1,
        }  # fmt: skip
        folder = tmp_path_factory.mktemp("broker")
        local = LocalBroker(Settings(**{**usual, **settings}), folder / "broker.log")
        started.append(local)
        local.start()
        return local

    yield start
    for local in started:
        local.stop()
    for database in {local.settings.database for local in started}:
        _drop(mongo_uri, database)


@pytest.fixture(scope="module")
def broker_process(start_broker: Callable[..., LocalBroker], broker_settings: dict[str, Any]) -> LocalBroker:
    """The broker process that the tests of a module share."""
    return start_broker(**broker_settings)


@pytest.fixture
async def broker(broker_process: LocalBroker) -> AsyncIterator[RunningBroker]:
    """A running broker with a client of this test's own. One that an earlier test stopped is started again."""
    if broker_process.process is None or broker_process.process.poll() is not None:
        broker_process.start()
    async with aiohttp.ClientSession(base_url=broker_process.url, timeout=aiohttp.ClientTimeout(total=60)) as client:
        yield RunningBroker(broker_process, client)


@pytest.fixture
def tenant() -> str:
    """The name of a tenant of this test alone."""
    return f"t{uuid.uuid4().hex[:12]}"


def _unique_name() -> str:
    return f"test_{uuid.uuid4().hex[:12]}"


def _drop(mongo_uri: str, database: str) -> None:
    """Drop `database` and those of its tenants, whose names start with its name."""
    client: MongoClient[dict[str, Any]]
    with MongoClient(mongo_uri) as client:
        for name in client.list_database_names():
            if name.startswith(database):
                client.drop_database(name)
