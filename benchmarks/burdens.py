"""Putting burdens on brokers: entities, subscriptions, a data model."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from benchmarks.api import BrokerApi
from benchmarks.contestants import HttpContestant
from benchmarks.contests import Server
from benchmarks.data_model import enforce
from benchmarks.errors import BenchmarkError
from benchmarks.jobs import Log
from benchmarks.population import Population
from benchmarks.scenarios import Operation
from benchmarks.subscriptions import fired, unmatched
from benchmarks.targets import Database, Target, vela, vela_database
from benchmarks.verification import Verdict, verify

_PATTERNS = 80
_STORED_AT_ONCE = 2_000


class BurdenedBroker:
    """A broker, and what was put on it so far; `subscriptions` of which none matches it has already."""

    def __init__(self, target: Target, session: aiohttp.ClientSession, subscriptions: int = 0) -> None:
        self.contestant = HttpContestant(target, Population(secrets.token_hex(3), 0))
        self._api = BrokerApi(target.name, target.url, session)
        self._session = session
        self._subscriptions = subscriptions
        self._made: list[str] = []

    async def bear(self, server: Server, entities: int, endpoint: str | None) -> None:
        """Add what `server` has and the broker has not: `entities` in all. Notifications go to `endpoint`."""
        await self._api.wait_until_ready()
        if server.modelled:
            await enforce(self.contestant.target, self._session)
        population = Population(self.contestant.population.run, entities)
        await self._api.create(population, self.contestant.population.size)
        self.contestant.population = population
        missing = (unmatched(index) for index in range(self._subscriptions, server.subscriptions))
        self._made += await self._api.subscribe(missing)
        self._subscriptions = max(self._subscriptions, server.subscriptions)
        if server.notified and endpoint is not None:
            self._made += await self._api.subscribe(iter([fired(endpoint)]))

    async def verify(self, operation: Operation, log: Log) -> Verdict:
        """Read back what one load wrote."""
        return await verify(self._api, operation, self.contestant.population, [log])

    async def clean(self) -> None:
        """Delete what was put on it."""
        population = self.contestant.population
        await self._api.unsubscribe(self._made)
        await self._api.delete([population.entity_id(index) for index in range(population.size)])


@contextmanager
def burdened_vela(mongo: Database, folder: Path, server: Server) -> Iterator[Target]:
    """A Vela that has the subscriptions of `server` already, and its options.

    A hundred thousand subscriptions would take minutes to create: Vela stores some, and MongoDB gets copies of them.
    """
    with vela_database(mongo) as name:
        if server.subscriptions:
            with vela(mongo, folder, name) as target:
                uvloop.run(_subscribe(target, min(_PATTERNS, server.subscriptions)))
            _multiply_subscriptions(mongo.uri, name, server.subscriptions)
        with vela(mongo, folder, name, server.options) as target:
            yield target


async def _subscribe(target: Target, number: int) -> None:
    async with aiohttp.ClientSession() as session:
        api = BrokerApi(target.name, target.url, session)
        await api.wait_until_ready()
        await api.subscribe(unmatched(index) for index in range(number))


def _multiply_subscriptions(mongo_uri: str, database: str, number: int) -> None:
    client: MongoClient[dict[str, Any]]
    try:
        with MongoClient(mongo_uri) as client:
            collection: Collection[dict[str, Any]] = client[database]["subscriptions"]
            patterns = list(collection.find())
            for start in range(len(patterns), number, _STORED_AT_ONCE):
                indexes = range(start, min(start + _STORED_AT_ONCE, number))
                collection.insert_many(_copy(patterns[index % len(patterns)], index) for index in indexes)
    except PyMongoError as error:
        raise BenchmarkError(f"the subscriptions could not be stored in {mongo_uri}: {error}") from error


def _copy(document: dict[str, Any], index: int) -> dict[str, Any]:
    return {**document, "_id": {**document["_id"], "id": f"urn:ngsi-ld:Subscription:benchmark:{index}"}}
