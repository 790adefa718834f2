"""Two brokers on one MongoDB: what happens once for a subscription happens once for both of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from broker.local import LocalBroker
from tests.integration.servers import Received, Receiver, serving
from tests.unit.notify.samples import until

API = "/ngsi-ld/v1"
SUBSCRIPTION = "urn:ngsi-ld:Subscription:1"


@dataclass
class Pair:
    """A client of each broker, with headers that name a tenant of this test alone."""

    clients: tuple[aiohttp.ClientSession, aiohttp.ClientSession]

    async def send(self, method: str, path: str, body: Any = None, *, through: int = 0) -> Any:
        """The body of an answer that is a success."""
        async with self.clients[through].request(method, API + path, json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json() if answer.content_type == "application/json" else None

    async def subscribe(self, url: str, **members: Any) -> None:
        notification = {"format": "keyValues", **members.pop("notification", {}), "endpoint": {"uri": url}}
        body = {"id": SUBSCRIPTION, "type": "Subscription", "entities": [{"type": "T"}], "notification": notification}
        await self.send("POST", "/subscriptions", {**body, **members})

    async def create(self, *entities: dict[str, Any]) -> None:
        await self.send("POST", "/entityOperations/create", [{"type": "T", **one} for one in entities])

    async def delivery(self, through: int) -> dict[str, Any]:
        """What a broker says of the deliveries."""
        shown = await self.send("GET", f"/subscriptions/{SUBSCRIPTION}", through=through)
        notification: dict[str, Any] = shown["notification"]
        return notification


@pytest.fixture(scope="module")
def brokers(start_broker: Callable[..., LocalBroker]) -> tuple[LocalBroker, LocalBroker]:
    first = start_broker()
    return first, start_broker(database=first.settings.database)


@pytest.fixture
async def pair(brokers: tuple[LocalBroker, LocalBroker], tenant: str) -> AsyncIterator[Pair]:
    one, other = (aiohttp.ClientSession(base_url=broker.url, headers={"NGSILD-Tenant": tenant}) for broker in brokers)
    async with one, other:
        pair = Pair((one, other))
        yield pair
        async with one.delete(f"{API}/subscriptions/{SUBSCRIPTION}"):
            pass


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with serving(receiver):
        yield receiver


def seconds(received: Received) -> float:
    return datetime.fromisoformat(received.body["notifiedAt"]).timestamp()


async def test_at_each_interval_one_notification_tells_of_all_matching_entities(pair: Pair, receiver: Receiver) -> None:
    await pair.create(*({"id": f"urn:ngsi-ld:T:{number:03}", "n": number} for number in range(250)))
    await pair.create({"id": "urn:ngsi-ld:U:1", "type": "U", "n": 1})
    created = time.time()
    await pair.subscribe(receiver.url, timeInterval=1, q="n>=10")
    received = await receiver.wait(4)
    assert len(received) == 4
    assert len({one.body["id"] for one in received}) == 4
    instants = [created, *map(seconds, received)]
    gaps = [later - earlier for earlier, later in pairwise(instants)]
    assert all(0.5 < gap < 1.7 for gap in gaps), gaps
    for one in received:
        assert one.body["subscriptionId"] == SUBSCRIPTION
        assert one.body["data"] == [{"id": f"urn:ngsi-ld:T:{n:03}", "type": "T", "n": n} for n in range(10, 250)]


async def test_a_change_does_not_make_a_periodic_subscription_fire_and_what_it_tells_is_current(
    pair: Pair, receiver: Receiver
) -> None:
    entities = [{"type": "T"}, {"type": "U", "id": "urn:ngsi-ld:U:1"}]
    await pair.subscribe(receiver.url, timeInterval=2.5, entities=entities)
    await pair.create({"id": "urn:ngsi-ld:T:1", "n": 1}, {"id": "urn:ngsi-ld:U:1", "type": "U", "n": 7})
    await pair.create({"id": "urn:ngsi-ld:U:2", "type": "U", "n": 8})
    for n in range(5):
        await pair.send("PATCH", "/entities/urn:ngsi-ld:T:1/attrs", {"n": n}, through=n % 2)
    assert receiver.received == []
    [first] = await receiver.wait(1)
    assert [(one["id"], one["n"]) for one in first.body["data"]] == [("urn:ngsi-ld:T:1", 4), ("urn:ngsi-ld:U:1", 7)]


async def test_without_a_matching_entity_nothing_is_sent_and_a_pause_ends_it(pair: Pair, receiver: Receiver) -> None:
    await pair.subscribe(receiver.url, timeInterval=0.3, geoQ=AROUND)
    await pair.create({"id": "urn:ngsi-ld:T:1", "n": 1}, {"id": "urn:ngsi-ld:T:2", "location": point(50, 50)})
    await asyncio.sleep(1)  # three intervals in which nothing must come: there is nothing to wait for
    assert receiver.received == []
    await pair.create({"id": "urn:ngsi-ld:T:3", "location": point(1, 1)})
    [first, *_] = await receiver.wait(1)
    assert [one["id"] for one in first.body["data"]] == ["urn:ngsi-ld:T:3"]
    await pair.send("PATCH", f"/subscriptions/{SUBSCRIPTION}", {"isActive": False}, through=1)
    paused = len(receiver.received)
    await asyncio.sleep(1)
    assert len(receiver.received) <= paused + 1, "one may have been on its way"
    told = len(receiver.received)
    await pair.send("PATCH", f"/subscriptions/{SUBSCRIPTION}", {"isActive": True})
    await receiver.wait(told + 1)


async def test_linked_entities_come_along(pair: Pair, receiver: Receiver) -> None:
    await pair.create({"id": "urn:ngsi-ld:U:1", "type": "U", "n": 1})
    await pair.create({"id": "urn:ngsi-ld:T:1", "r": {"type": "Relationship", "object": "urn:ngsi-ld:U:1"}})
    await pair.subscribe(receiver.url, timeInterval=0.3, notification={"join": "flat", "joinLevel": 1})
    [first, *_] = await receiver.wait(1)
    assert [one["id"] for one in first.body["data"]] == ["urn:ngsi-ld:T:1", "urn:ngsi-ld:U:1"]


async def test_throttling_holds_across_both_brokers(pair: Pair, receiver: Receiver) -> None:
    await pair.create(*({"id": f"urn:ngsi-ld:T:{number}", "n": 0} for number in range(4)))
    await pair.subscribe(receiver.url, throttling=1)
    began = time.monotonic()
    arrivals: list[float] = []
    n = 0
    while time.monotonic() - began < 3.4:
        n += 1
        path = f"/entities/urn:ngsi-ld:T:{n % 4}/attrs"
        await asyncio.gather(*(pair.send("PATCH", path, {"n": 2 * n + one}, through=one) for one in (0, 1)))
        arrivals += [time.monotonic()] * (len(receiver.received) - len(arrivals))
    assert n > 20, "too few updates to prove anything"
    assert 3 <= len(arrivals) <= 4
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    assert all(gap > 0.85 for gap in gaps), gaps


async def test_both_brokers_tell_the_same_true_counts(pair: Pair, receiver: Receiver) -> None:
    await pair.create(*({"id": f"urn:ngsi-ld:T:{number}", "n": 0} for number in range(2)))
    await pair.subscribe(receiver.url)

    async def told_by_both() -> bool:
        for one in (0, 1):
            await pair.send("PATCH", f"/entities/urn:ngsi-ld:T:{one}/attrs", {"n": time.time_ns()}, through=one)
        return {one.body["data"][0]["id"] for one in receiver.received} == {"urn:ngsi-ld:T:0", "urn:ngsi-ld:T:1"}

    await until(told_by_both)
    for n in range(40):
        await pair.send("PATCH", f"/entities/urn:ngsi-ld:T:{n % 2}/attrs", {"n": n}, through=n % 2)
    await until(lambda: [one.body["data"][0]["n"] for one in receiver.received].count(39) == 1)

    async def agree() -> bool:
        shown = [await pair.delivery(one) for one in (0, 1)]
        return shown[0] == shown[1] and shown[0]["timesSent"] == len(receiver.received)

    await until(agree)
    shown = await pair.delivery(0)
    assert "timesFailed" not in shown
    assert shown["status"] == "ok"
    assert shown["lastNotification"] <= shown["lastSuccess"]


def point(*coordinates: float) -> dict[str, Any]:
    return {"type": "GeoProperty", "value": {"type": "Point", "coordinates": list(coordinates)}}


AROUND = {"georel": "within", "geometry": "Polygon", "coordinates": [[[0, 0], [0, 2], [2, 2], [2, 0], [0, 0]]]}
