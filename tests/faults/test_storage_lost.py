"""The database goes away under living brokers: they say so, wait for it, and lose nothing when it is back."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from broker.local import LocalBroker, free_port
from broker.settings import Settings
from broker.storage.embedded import EmbeddedMongo
from tests.faults.harness import API, Note, client_of, create, patch, soon, subscribe, subscriber, values
from tests.problems import assert_problem

ENTITY = "urn:ngsi-ld:T:1"
CACHE_BYTES = 256 * 1024**2


@pytest.fixture
def mongo_dir(tmp_path: Path) -> Path:
    return tmp_path / "mongo"


@pytest.fixture
def database(mongo_dir: Path) -> Iterator[EmbeddedMongo]:
    """A MongoDB of this test alone, which is started again when it is killed."""
    mongo = EmbeddedMongo(mongo_dir, cache_bytes=CACHE_BYTES)
    mongo.start()
    yield mongo
    mongo.stop()


@pytest.fixture
async def start(database: EmbeddedMongo, tmp_path: Path) -> AsyncIterator[Callable[[], LocalBroker]]:
    """A function that starts a broker over `database`."""
    started: list[LocalBroker] = []

    def start_one() -> LocalBroker:
        settings = Settings(host="127.0.0.1", port=free_port(), mongo_uri=database.uri, drain_timeout=3.0, workers=1)
        local = LocalBroker(settings, tmp_path / f"broker{len(started)}.log")
        started.append(local)
        local.start()
        return local

    yield start_one
    await asyncio.gather(*(asyncio.to_thread(local.stop) for local in started))


@pytest.mark.slow
async def test_without_its_database_a_broker_answers_503_and_serves_again_when_it_is_back(
    start: Callable[[], LocalBroker], database: EmbeddedMongo, mongo_dir: Path, note: Note
) -> None:
    local = await asyncio.to_thread(start)
    async with subscriber() as endpoint, client_of(local) as client:
        await create(client, [ENTITY], n={"type": "Property", "value": 0})
        await subscribe(client, endpoint.url)

        await asyncio.to_thread(database.stop)

        began = time.monotonic()
        await asyncio.gather(
            refused(client, "PATCH", f"/entities/{ENTITY}/attrs", {"n": {"type": "Property", "value": 1}}),
            refused(client, "POST", "/entities", {"id": "urn:ngsi-ld:T:2", "type": "T"}),
            refused(client, "DELETE", "/entities/urn:ngsi-ld:T:3"),
            refused(client, "GET", f"/entities/{ENTITY}"),
            refused(client, "GET", "/entities?type=T"),
            refused(client, "GET", "/subscriptions"),
        )
        answered = time.monotonic() - began
        async with client.get("/health/live") as live, client.get("/health/ready") as ready:
            assert (live.status, ready.status) == (200, 503)

        again = EmbeddedMongo(mongo_dir, cache_bytes=CACHE_BYTES)
        uri = await asyncio.to_thread(again.start)
        try:
            assert uri == local.settings.mongo_uri, "the database is back at the same address"
            back = await soon(lambda: is_ready(client), 20, "the broker is ready again")
            assert await patch(client, ENTITY, n=2) == 204
            assert await values(client, ENTITY) == {"n": 2}
            await soon(lambda: (ENTITY, 2) in endpoint.told, 20, "the notification arrived")
            assert await asyncio.to_thread(local.stop) == 0
        finally:
            await asyncio.to_thread(again.stop)
    note("database away", answered=f"503 after {answered:.1f} s", ready=f"{back:.1f} s after it was back")


async def refused(client: aiohttp.ClientSession, method: str, path: str, body: object = None) -> None:
    async with client.request(method, API + path, json=body) as answer:
        await assert_problem(answer, 503, "InternalError")


async def is_ready(client: aiohttp.ClientSession) -> bool:
    async with client.get("/health/ready") as answer:
        return answer.status == 200


@pytest.mark.slow
async def test_acknowledged_updates_through_two_brokers_survive_kills_of_the_database(
    start: Callable[[], LocalBroker], database: EmbeddedMongo, fault_seed: int, note: Note
) -> None:
    """Each client counts an attribute of its own up on shared entities while the database is killed again and again."""
    clients, kills = 16, 3
    chance = random.Random(fault_seed)
    brokers = [await asyncio.to_thread(start), await asyncio.to_thread(start)]
    entity_ids = [f"urn:ngsi-ld:T:{number}" for number in range(4)]
    killing = True
    acknowledged = unknown = 0

    async with client_of(brokers[0]) as first, client_of(brokers[1]) as second:
        await create(first, entity_ids, **{f"a{own}": {"type": "Property", "value": 0} for own in range(clients)})

        async def count_up(own: int) -> dict[str, int]:
            nonlocal acknowledged, unknown
            last = dict.fromkeys(entity_ids, 0)
            step = 0
            while killing:
                step += 1
                for entity_id in entity_ids:
                    status = await patch((first, second)[(own + step) % 2], entity_id, **{f"a{own}": step})
                    assert status in (204, 503)
                    if status == 204:
                        last[entity_id] = step
                        acknowledged += 1
                    else:
                        unknown += 1
                        last[entity_id] = (await values(first, entity_id))[f"a{own}"]
                        assert last[entity_id] in (step, step - 1)
            return last

        counting = [asyncio.create_task(count_up(own)) for own in range(clients)]
        began = time.monotonic()

        async def next_kill() -> None:
            past = acknowledged + chance.randrange(200, 600)
            await soon(lambda: acknowledged > past or any(task.done() for task in counting), 30, "updates go on")
            pid = database.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await soon(lambda: database.pid != pid, 20, "the database was started again")

        for _ in range(kills):
            await next_kill()
        killing = False
        lasts = await asyncio.gather(*counting)
        seconds = time.monotonic() - began

        found = {entity_id: await values(first, entity_id) for entity_id in entity_ids}
        expected = {entity_id: {f"a{own}": lasts[own][entity_id] for own in range(clients)} for entity_id in entity_ids}
        note(
            f"two brokers, {kills} kills of the database",
            acknowledged=acknowledged,
            lost=sum(found[one][name] != value for one, want in expected.items() for name, value in want.items()),
            unknown=unknown,
            took=f"{seconds:.1f} s",
        )
        assert found == expected
