"""kill -9 of one of two brokers that see to periodic subscriptions: the other goes on, and makes nothing twice anew."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime
from functools import partial
from itertools import pairwise

import aiohttp
from aiohttp import web

from broker.local import LocalBroker
from tests.faults.harness import API, Note, client_of, create, soon

SUBSCRIPTIONS = 40
INTERVAL = 1.0
KILLS = 2
GAP_SECONDS = 20.0
"""The lease of a claim, or the time after which what a dead process owed is taken over, on a slow machine."""


class Endpoint:
    """Notes the ids and instants of what it is told, by subscription."""

    def __init__(self) -> None:
        self.ids: Counter[str] = Counter()
        self.instants: defaultdict[str, list[float]] = defaultdict(list)
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.ids[body["id"]] += 1
        if self.ids[body["id"]] == 1:
            self.instants[body["subscriptionId"]].append(datetime.fromisoformat(body["notifiedAt"]).timestamp())
        return web.Response()

    def all_told_since(self, instant: float) -> bool:
        """Whether every subscription was told something that is newer."""
        return len(self.instants) == SUBSCRIPTIONS and all(max(one) > instant for one in self.instants.values())


async def subscribe(client: aiohttp.ClientSession, url: str, number: int) -> None:
    """Subscribe the endpoint to be told of the entities of type T at intervals."""
    body = {
        "id": f"urn:ngsi-ld:Subscription:{number}",
        "type": "Subscription",
        "entities": [{"type": "T"}],
        "timeInterval": INTERVAL,
        "notification": {"endpoint": {"uri": url}},
    }
    async with client.post(f"{API}/subscriptions", json=body) as answer:
        assert answer.status == 201, await answer.text()


async def test_periodic_notifications_survive_the_death_of_whoever_makes_them(
    start_broker: Callable[..., LocalBroker], fault_seed: int, note: Note
) -> None:
    moments = random.Random(fault_seed)
    brokers = [await asyncio.to_thread(start_broker)]
    brokers.append(await asyncio.to_thread(start_broker, database=brokers[0].settings.database))
    endpoint = Endpoint()
    app = web.Application()
    app.router.add_post("/notify", endpoint.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/notify"
        created = time.time()
        async with client_of(brokers[0]) as client:
            await create(client, ["urn:ngsi-ld:T:1"], n={"type": "Property", "value": 1})
            await asyncio.gather(*(subscribe(client, endpoint.url, number) for number in range(SUBSCRIPTIONS)))
        await soon(lambda: endpoint.all_told_since(created), 10, "every subscription was told")
        longest = 0.0
        for kill in range(KILLS):
            victim = brokers[kill % 2]
            await asyncio.sleep(moments.uniform(0, INTERVAL))
            await asyncio.to_thread(victim.kill)
            all_told = partial(endpoint.all_told_since, time.time() + INTERVAL)
            went_on = await soon(all_told, GAP_SECONDS, "the other went on")
            longest = max(longest, went_on)
            await asyncio.to_thread(victim.start)
    finally:
        await runner.cleanup()
    instants = [sorted(one) for one in endpoint.instants.values()]
    gaps = [later - earlier for one in instants for earlier, later in pairwise(one)]
    duplicates = endpoint.ids.total() - len(endpoint.ids)
    note(
        "periodic, broker killed",
        kills=KILLS,
        notifications=len(endpoint.ids),
        duplicates=duplicates,
        longest_gap=f"{max(gaps):.1f} s",
        all_went_on_after=f"{longest:.1f} s",
    )
    assert max(len(one) for one in instants) <= (time.time() - created) / INTERVAL, "more notifications than intervals"
    assert max(gaps) < GAP_SECONDS
    assert duplicates <= KILLS * 16, "only what was under way at the kill may come twice"
