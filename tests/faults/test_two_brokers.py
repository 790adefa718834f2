"""Two broker processes on one MongoDB: they never lose each other's updates, and never each other's notifications."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import pytest

from broker.local import LocalBroker
from tests.faults.harness import (
    API,
    Note,
    Subscriber,
    client_of,
    create,
    metric,
    patch,
    soon,
    subscribe,
    subscriber,
    values,
)

CLIENTS = 32
INCREMENTS = 4
TAKEOVER_SECONDS = 15.0


@dataclass(slots=True)
class Pair:
    """Brokers A and B, which share a database, with a client of each."""

    a: LocalBroker
    b: LocalBroker
    clients: tuple[aiohttp.ClientSession, aiohttp.ClientSession]

    async def metric(self, name: str) -> float:
        """The sum over both brokers."""
        return sum([await metric(client, name) for client in self.clients])


@pytest.fixture
async def pair(start_broker: Callable[..., LocalBroker]) -> AsyncIterator[Pair]:
    a = await asyncio.to_thread(start_broker)
    b = await asyncio.to_thread(start_broker, database=a.settings.database)
    async with client_of(a) as client_a, client_of(b) as client_b:
        yield Pair(a, b, (client_a, client_b))
    await asyncio.gather(asyncio.to_thread(a.stop), asyncio.to_thread(b.stop))


async def test_clients_that_increment_through_both_brokers_lose_no_update_and_see_no_conflict(
    pair: Pair, note: Note
) -> None:
    entity_ids = [f"urn:ngsi-ld:T:{number}" for number in range(10)]
    await create(pair.clients[0], entity_ids)
    statuses: list[int] = []

    async def increments(own: int) -> None:
        """Count attribute a<own> of each entity up, each step after the one before is acknowledged."""
        for step in range(INCREMENTS):
            for index in range(len(entity_ids)):
                client = pair.clients[(own + step + index) % 2]
                entity_id = entity_ids[(own + index) % len(entity_ids)]
                async with client.get(f"{API}/entities/{entity_id}", params={"options": "keyValues"}) as answer:
                    known = (await answer.json()).get(f"a{own}", 0)
                assert known == step, f"{entity_id} a{own}: {step} was acknowledged, {known} is there"
                statuses.append(await append(client, entity_id, f"a{own}", known + 1))

    began = time.monotonic()
    await asyncio.gather(*(increments(own) for own in range(CLIENTS)))
    seconds = time.monotonic() - began

    conflicts = await pair.metric("vela_version_conflicts_total")
    everything = {f"a{own}": INCREMENTS for own in range(CLIENTS)}
    wrong = [
        entity_id
        for entity_id in entity_ids
        for client in pair.clients
        if await values(client, entity_id) != everything
    ]
    note(
        "two brokers, 32 clients",
        increments=len(statuses),
        lost=len(wrong),
        refused=sum(status >= 300 for status in statuses),
        conflicts=int(conflicts),
        took=f"{seconds:.1f} s",
    )
    assert set(statuses) <= {204}
    assert wrong == []
    assert conflicts > 0, "the brokers never met: the test proves nothing"


async def append(client: aiohttp.ClientSession, entity_id: str, name: str, value: int) -> int:
    """PATCH an attribute, or create it with its first value; the status of the answer."""
    body = {name: {"type": "Property", "value": value}}
    url = f"{API}/entities/{entity_id}/attrs"
    async with client.request("POST" if value == 1 else "PATCH", url, json=body) as answer:
        await answer.read()
        return answer.status


async def test_upserts_that_create_the_same_entity_at_once_all_succeed(pair: Pair) -> None:
    names = [f"a{number}" for number in range(50)]

    async def upsert(index: int, entity_id: str) -> int:
        entity = {"id": entity_id, "type": "T", names[index]: {"type": "Property", "value": index}}
        url = f"{API}/entityOperations/upsert?options=update"
        async with pair.clients[index % 2].post(url, json=[entity]) as answer:
            await answer.read()
            return answer.status

    for attempt in range(5):
        entity_id = f"urn:ngsi-ld:T:new{attempt}"
        statuses = await asyncio.gather(*(upsert(index, entity_id) for index in range(len(names))))

        assert sorted(statuses) == [201] + [204] * (len(names) - 1), "one creates it, the others update it"
        for client in pair.clients:
            assert await values(client, entity_id) == {name: index for index, name in enumerate(names)}


async def test_a_subscription_made_at_one_broker_fires_for_the_next_update_through_the_other(pair: Pair) -> None:
    for number in range(5):
        entity_id = f"urn:ngsi-ld:T:next{number}"
        await create(pair.clients[0], [entity_id], n={"type": "Property", "value": 0})
        async with subscriber() as endpoint:
            await subscribe(pair.clients[number % 2], endpoint.url)
            assert await patch(pair.clients[1 - number % 2], entity_id, n=1) == 204
            await soon(partial(endpoint.told.__contains__, (entity_id, 1)), 1, "the notification came")


async def test_each_change_is_notified_exactly_once_while_nobody_dies(pair: Pair, note: Note) -> None:
    entity_ids = [f"urn:ngsi-ld:T:{number}" for number in range(10)]
    waves = [[(entity_ids[number % 10], wave * 40 + number) for number in range(40)] for wave in range(10)]
    changes = {change for wave in waves for change in wave}
    async with subscriber() as endpoint:
        await create(pair.clients[0], entity_ids, n={"type": "Property", "value": -1})
        await subscribe(pair.clients[0], endpoint.url)
        await both_know_the_subscription(pair, endpoint)

        earlier = await pair.metric("vela_notifications_sent_total")

        for wave in waves:
            # Half of the changes of each entity through each broker.
            answers = await asyncio.gather(*(patch(pair.clients[n // 10 % 2], name, n=n) for name, n in wave))
            assert set(answers) == {204}

        await soon(lambda: changes <= endpoint.told.keys(), 20, "every change was notified")
        await soon(lambda: nothing_is_owed(pair), 20, "no broker owes anything")
        conflicts = await pair.metric("vela_version_conflicts_total")
        note(
            "two brokers, subscriptions", changes=len(changes), conflicts=int(conflicts), duplicates=endpoint.duplicates
        )
        assert endpoint.duplicates == 0
        assert await pair.metric("vela_notifications_sent_total") - earlier == len(changes)
        assert conflicts > 0, "the brokers never met: the test proves nothing"


async def test_what_a_killed_broker_owed_is_delivered_by_the_other(pair: Pair, note: Note) -> None:
    entity_ids = [f"urn:ngsi-ld:T:{number}" for number in range(50)]
    owed = {(entity_id, number) for number, entity_id in enumerate(entity_ids)}
    async with subscriber() as endpoint:
        await create(pair.clients[0], entity_ids, n={"type": "Property", "value": -1})
        await subscribe(pair.clients[0], endpoint.url)
        await both_know_the_subscription(pair, endpoint)
        endpoint.gate.clear()
        assert set(await asyncio.gather(*(patch(pair.clients[1], entity_id, n=n) for entity_id, n in owed))) == {204}
        assert await metric(pair.clients[1], "vela_notification_backlog") == len(owed)

        await asyncio.to_thread(pair.b.kill)
        endpoint.told.clear()
        endpoint.gate.set()

        seconds = await soon(lambda: owed <= endpoint.told.keys(), TAKEOVER_SECONDS, "the other broker delivered")
        note("takeover by the living broker", owed=len(owed), missing=0, delivered=f"{seconds:.1f} s after the kill")
        assert await metric(pair.clients[0], "vela_notifications_sent_total") >= len(owed)


async def both_know_the_subscription(pair: Pair, endpoint: Subscriber) -> None:
    """Change an entity through each broker until both notified, and everything owed for that was delivered."""
    for number, client in enumerate(pair.clients):
        probe = f"urn:ngsi-ld:T:probe{number}"
        await create(client, [probe], n={"type": "Property", "value": 0})

        changes = itertools.count(1)

        async def told(probe: str = probe, client: aiohttp.ClientSession = client, changes: Any = changes) -> bool:
            assert await patch(client, probe, n=next(changes)) == 204
            return any(entity_id == probe for entity_id, _ in endpoint.told)

        await soon(told, 5, "the broker knows the subscription")
    await soon(lambda: nothing_is_owed(pair), 10, "the probes are delivered")
    endpoint.told.clear()


async def nothing_is_owed(pair: Pair) -> bool:
    return await pair.metric("vela_notification_backlog") == 0
