"""The ceiling of batch scenarios: pre-encoded `update` commands to the same mongod, journaled on a majority.

`python -m benchmarks.raw_updates` reads a MongoJob from its standard input and writes a Log to its standard output: one
log entry for each command. The statements change the same attributes of the same documents as a broker would, in the
stored form of `broker/ngsild/model.py`, but nothing is received, parsed, looked up, checked or encoded.
"""

import asyncio
import gc
from itertools import cycle
from random import Random
from time import monotonic

import bson
import uvloop
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient, InsertOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from benchmarks.errors import BenchmarkError
from benchmarks.jobs import CpuMeter, Log, MongoJob, receive_job, return_log
from benchmarks.population import INITIAL_VALUE, Population, stored_measurement

COLLECTION = "entities"
_UPDATES_PER_ENTITY = 4
_SEED = 4711
_OK = 204
_FAILED = 500

Documents = AsyncDatabase[RawBSONDocument]
Client = AsyncMongoClient[RawBSONDocument]


async def fill(mongo_uri: str, database: str, population: Population) -> None:
    """Store the population in `database` as the documents that the statements change.

    Raises BenchmarkError where the server cannot be used.
    """
    inserts = [InsertOne(RawBSONDocument(bson.encode(population.stored(n)))) for n in range(population.size)]
    try:
        async with Client(mongo_uri, serverSelectionTimeoutMS=10_000) as client:
            await client[database][COLLECTION].bulk_write(inserts, ordered=False)
    except PyMongoError as error:
        raise BenchmarkError(f"the documents for the ceiling could not be stored in {mongo_uri}: {error}") from error


async def drop(mongo_uri: str, database: str) -> None:
    """Remove what `fill` stored."""
    async with Client(mongo_uri) as client:
        await client.drop_database(database)


def statements(population: Population, changes: tuple[str, ...]) -> list[RawBSONDocument]:
    """Update statements in random order, pre-encoded; no two that follow each other on an entity write the same."""
    random = Random(_SEED)
    encoded = []
    for turn in range(_UPDATES_PER_ENTITY):
        for index in random.sample(range(population.size), population.size):
            change = stored_measurement(changes, INITIAL_VALUE + 1 + turn)
            statement = {"q": {"_id": population.entity_id(index)}, "u": {"$set": change, "$inc": {"version": 1}}}
            encoded.append(RawBSONDocument(bson.encode(statement)))
    return encoded


async def _run(job: MongoJob) -> Log:
    every = statements(job.population, job.changes)
    size = job.statements
    groups = cycle([every[start : start + size] for start in range(0, len(every) - size + 1, size)])
    gc.freeze()
    gc.disable()
    log = Log()
    async with Client(job.mongo_uri) as client:
        documents = client[job.database]
        deadline = monotonic() + job.timing.warm_up + job.timing.seconds

        async def send_groups() -> None:
            while (sent := monotonic()) < deadline:
                ok = await _update(documents, next(groups))
                log.sent.append(sent)
                log.answered.append(monotonic())
                log.statuses.append(_OK if ok else _FAILED)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(job.in_flight):
                tasks.create_task(send_groups())
            await asyncio.sleep(job.timing.warm_up)
            meter = CpuMeter(job.watched)
            log.started = monotonic()
            await asyncio.sleep(deadline - log.started)
            log.ended = monotonic()
            log.cpu_seconds = meter.used()
            log.memory = meter.memory()
    return log


async def _update(documents: Documents, group: list[RawBSONDocument]) -> bool:
    answer = await documents.command(
        "update", COLLECTION, updates=group, ordered=False, writeConcern={"w": "majority", "j": True}
    )
    return bool(answer["n"] == len(group))


if __name__ == "__main__":
    return_log(uvloop.run(_run(receive_job())))
