"""Updates of the same few entities over all workers of a broker: who ends, dies or is replaced, nothing is lost.

Each client counts in an attribute of its own, one of many in an entity that all clients change. What it was told to be
stored must be there at the end.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.integration.test_processes import API, Serving, begin, counted, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

ENTITIES = 3
CLIENTS = 18
HANDED_OVER, CONFLICTS = "vela_mutations_handed_over_total", "vela_version_conflicts_total"


@pytest.fixture
def serving(tmp_path: Path, mongo_uri: str, database_name: str) -> Iterator[Serving]:
    one = Serving(tmp_path, mongo_uri, database_name)
    yield one
    one.stop()


class Counting:
    """Clients that count, with `pause` seconds between updates, each over a connection that it keeps while it lasts.

    `stored` is the last value that each was told to be stored, `sent` the last one that it sent; `refusals` and
    `broken` are what else came of requests.
    """

    def __init__(self, url: str, pause: float = 0.05) -> None:
        self._url = url
        self._pause = pause
        self._ending = False
        self.stored = [0] * CLIENTS
        self.sent = [0] * CLIENTS
        self.refusals: list[str] = []
        self.broken: list[str] = []

    @property
    def answered(self) -> int:
        return sum(self.stored)

    async def more(self, number: int) -> None:
        goal = self.answered + number
        await until(lambda: self.answered >= goal, f"{number} further updates")

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Counting"]:
        async with asyncio.TaskGroup() as group:
            for client in range(CLIENTS):
                group.create_task(self._count(client))
            try:
                yield self
            finally:
                self._ending = True

    async def _count(self, client: int) -> None:
        path = f"{self._url}{API}/urn:ngsi-ld:T:{client % ENTITIES}/attrs"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
            while not self._ending:
                self.sent[client] += 1
                update = {f"c{client}": {"type": "Property", "value": self.sent[client]}}
                try:
                    async with session.post(path, json=update) as answer:
                        if answer.status == 204:
                            self.stored[client] = self.sent[client]
                        else:
                            self.refusals.append(f"{answer.status} {await answer.text()}")
                except aiohttp.ClientError as error:
                    self.broken.append(repr(error))
                    if isinstance(error, aiohttp.ClientConnectorError):
                        return
                await asyncio.sleep(self._pause)

    async def assert_all_is_stored(self, url: str) -> None:
        """What was acknowledged is there; what came later may be there."""
        async with aiohttp.ClientSession() as session:
            for client in range(CLIENTS):
                path = f"{url}{API}/urn:ngsi-ld:T:{client % ENTITIES}"
                async with session.get(path, params={"options": "keyValues"}) as answer:
                    found = (await answer.json()).get(f"c{client}", 0)
                assert self.stored[client] <= found <= self.sent[client]


async def test_workers_hand_updates_to_their_owners_and_do_not_race(serving: Serving) -> None:
    await begin(serving, 2)
    async with Counting(serving.url, pause=0).running() as clients:
        await clients.more(600)

    assert (clients.refusals, clients.broken) == ([], [])
    await clients.assert_all_is_stored(serving.url)
    figures = await counted(serving.url, HANDED_OVER, CONFLICTS)
    assert figures[HANDED_OVER] > 0
    assert figures[CONFLICTS] == 0


async def test_a_single_worker_hands_nothing_over(serving: Serving) -> None:
    await begin(serving, 1)
    async with Counting(serving.url).running() as clients:
        await clients.more(50)

    await clients.assert_all_is_stored(serving.url)
    assert (await counted(serving.url, HANDED_OVER))[HANDED_OVER] == 0


async def test_a_rolling_restart_fails_no_update_and_loses_none(serving: Serving) -> None:
    before = await begin(serving, 2)
    async with Counting(serving.url).running() as clients:
        for rolls, workers in enumerate((3, 2), start=1):
            await clients.more(100)
            serving.write(workers=workers)
            serving.signal(signal.SIGHUP)
            await until(lambda rolls=rolls: len(serving.events("rolling restart done")) == rolls, "done")
            await until(lambda workers=workers: len(serving.workers) == workers, "so many workers")

        async def shared_without_races() -> bool:
            before = await counted(serving.url, HANDED_OVER, CONFLICTS)
            await clients.more(100)
            after = await counted(serving.url, HANDED_OVER, CONFLICTS)
            return after[HANDED_OVER] > before[HANDED_OVER] and after[CONFLICTS] == before[CONFLICTS]

        await until(shared_without_races, "the new workers hand updates to each other")

    assert not before & serving.workers
    assert (clients.refusals, clients.broken) == ([], [])
    await clients.assert_all_is_stored(serving.url)
    assert serving.events("another worker does not answer") == []


async def test_a_worker_that_is_killed_leaves_outcomes_unknown_and_nothing_else(serving: Serving) -> None:
    await begin(serving, 2)
    async with Counting(serving.url).running() as clients:
        await clients.more(200)
        victim = min(serving.workers)
        os.kill(victim, signal.SIGKILL)
        await until(lambda: len(serving.workers - {victim}) == 2, "another one has taken its place")
        await until(lambda: len(serving.events("ready")) == 3, "it serves")
        before = (await counted(serving.url, HANDED_OVER))[HANDED_OVER]
        await clients.more(200)

        async def shared_again() -> bool:
            return (await counted(serving.url, HANDED_OVER))[HANDED_OVER] > before

        await until(shared_again, "it is reached")

    assert len(clients.refusals) + len(clients.broken) <= CLIENTS, "what was under way, and nothing else"
    assert all(one.startswith("503 ") and "may or may not" in one for one in clients.refusals), clients.refusals
    await clients.assert_all_is_stored(serving.url)


async def test_the_end_of_the_broker_keeps_all_that_was_acknowledged_and_does_not_wait(serving: Serving) -> None:
    await begin(serving, 2)
    async with Counting(serving.url).running() as clients:
        await clients.more(200)
        began = time.monotonic()
        serving.signal(signal.SIGTERM)
        assert serving.process is not None
        assert await asyncio.to_thread(serving.process.wait, 30) == 0
        took = time.monotonic() - began

    assert clients.refusals == []
    assert took < float(serving.variables["VELA_DRAIN_TIMEOUT"])
    serving.start()
    await clients.assert_all_is_stored(serving.url)


async def test_workers_that_cannot_reach_each_other_race_and_lose_nothing(serving: Serving, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    serving.variables["TMPDIR"] = str(deep)
    await begin(serving, 2)
    async with Counting(serving.url).running() as clients:
        await clients.more(200)

    assert serving.events("workers cannot reach each other: they will race for entities")
    assert (clients.refusals, clients.broken) == ([], [])
    await clients.assert_all_is_stored(serving.url)
    assert (await counted(serving.url, HANDED_OVER))[HANDED_OVER] == 0
    serving.stop()
    assert list(deep.iterdir()) == []
