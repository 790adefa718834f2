"""Notifications over a real MongoDB and real HTTP: delivered, repeated, in order, and not lost with their process."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from broker.core.contexts import ContextOperations
from broker.core.subscriptions import Subscriptions
from broker.jsonld.contexts import Contexts
from broker.ngsild.changes import Change
from broker.ngsild.errors import AlreadyExists, BadRequestData, ResourceNotFound
from broker.ngsild.model import DEFAULT_VOCABULARY, encode_key
from broker.ngsild.timestamps import now_text
from broker.notify.compiling import SubscriptionCompiler
from broker.notify.completing import Completer
from broker.notify.endpoints import DeliveryLimits
from broker.notify.mqtt import MqttPublisher
from broker.notify.notifier import Notifier, Pace
from broker.notify.owed import Owed, Parcel
from broker.notify.registry import Registry
from broker.notify.sending import Sender
from broker.notify.trust import Trust
from broker.outbound import Outbound, OutboundPolicy
from broker.posting import Poster
from broker.storage.client import Mongo
from broker.storage.contexts import ContextStore
from broker.storage.edits import Edits
from broker.storage.entities import EntityStore
from broker.storage.outbox import Outbox
from broker.storage.processes import Processes
from broker.storage.subscriptions import SubscriptionStore
from broker.storage.tenants import Tenants
from broker.telemetry import Metrics
from tests.unit.notify.samples import until

TYPE = DEFAULT_VOCABULARY + "T"
KEY = encode_key(DEFAULT_VOCABULARY + "n")
QUICK = Pace(settle=0.01, beat=0.1, look=0.15, tidy=0.2, grace=0.3)


@dataclass
class Receiver:
    """An HTTP endpoint that notes what it is sent; `answer` says what it answers to the n-th request."""

    url: str = ""
    bodies: list[Any] = field(default_factory=list)
    headers: list[Any] = field(default_factory=list)
    answer: Callable[[int], int] = lambda _: 200
    requests: int = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.requests += 1
        status = self.answer(self.requests)
        if status == 200:
            self.bodies.append(await request.json())
            self.headers.append(request.headers)
        return web.Response(status=status)

    def values(self, entity_id: str) -> list[int]:
        """What was told about an entity's attribute, in the order of arrival."""
        return [
            body["data"][0]["n"]["value"] for body in self.bodies if body["data"] and body["data"][0]["id"] == entity_id
        ]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    noted = Receiver()
    app = web.Application()
    app.router.add_post("/notify", noted.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    noted.url = f"http://127.0.0.1:{runner.addresses[0][1]}/notify"
    yield noted
    await runner.cleanup()


class Process:
    """One broker process as far as notifications are concerned, inside this one."""

    def __init__(self, mongo: Mongo, tenants: Tenants, limits: DeliveryLimits | None = None) -> None:
        self.name = uuid.uuid4().hex[:8]
        self.outbound = Outbound(OutboundPolicy())
        self.poster = Poster(self.outbound)
        self.mqtt = MqttPublisher(self.outbound, Trust())
        edits = Edits(mongo.control)
        self.store = SubscriptionStore(mongo, edits)
        self.outbox = Outbox(mongo)
        self.entities = EntityStore(tenants)
        contexts = Contexts(self.outbound)
        compiler = SubscriptionCompiler(contexts)
        self.registry = Registry(self.store, compiler)
        self.notifier = Notifier(
            process=self.name,
            registry=self.registry,
            store=self.store,
            outbox=self.outbox,
            processes=Processes(mongo, lease=0.5),
            landed=self.entities.landed,
            sender=Sender(self.poster, self.mqtt, Trust()),
            completer=Completer(self.entities, 100),
            metrics=Metrics(),
            limits=limits or DeliveryLimits(backoff=0.02, rest=0.05),
            pace=QUICK,
        )
        self.subscriptions = Subscriptions(
            store=self.store,
            registry=self.registry,
            compiler=compiler,
            deliveries=self.notifier,
            tenants=tenants,
            contexts=ContextOperations(ContextStore(mongo.control, edits), contexts, tenants, max_bytes=1_000_000),
        )
        self.core = contexts.core
        self._mongo = mongo
        self._commits = 0

    async def start(self) -> None:
        await self.store.prepare()
        await self.outbox.prepare()
        await self.outbound.start()
        await self.notifier.start()

    async def stop(self) -> None:
        await self.notifier.stop(5)
        await self.mqtt.close()
        await self.poster.close()
        await self.outbound.close()

    async def die(self) -> None:
        """End as kill -9 does: nothing is drained, flushed or said."""
        for task in self.notifier._tasks:
            task.cancel()
        await self.notifier._takeover.stop()
        await asyncio.gather(*(endpoint.close() for endpoint in self.notifier._endpoints))
        await self.registry.stop()
        await self.poster.close()
        await self.outbound.close()

    async def subscribe(self, url: str, **members: Any) -> str:
        endpoint = members.pop("endpoint", {})
        notification = {**members.pop("notification", {}), "endpoint": {"uri": url, **endpoint}}
        body = {"type": "Subscription", "entities": [{"type": "T"}], "notification": notification, **members}
        return await self.subscriptions.create("", body, self.core, "http://broker")

    def owe(self, entity_id: str, value: int) -> list[Owed]:
        """What a change of the entity owes: its commit has a number, and nothing is stored."""
        self._commits += 1
        before = thing(entity_id, value - 1) if value else None
        return self.notifier.match(
            Change("", entity_id, before, thing(entity_id, value), now_text()), Parcel(self._commits)
        )

    async def land(self, entity_id: str) -> None:
        """Store the entity as it is after the last commit of this process."""
        await self._mongo.database(self._mongo.name)["entities"].update_one(
            {"_id": entity_id}, {"$set": {"state": [{"writers": {self.name: self._commits}}]}}, upsert=True
        )

    async def commit(self, entity_id: str, value: int) -> None:
        owed = self.owe(entity_id, value)
        await asyncio.gather(self.outbox.insert(owed), self.land(entity_id))
        self.notifier.release(owed)

    async def owes_nothing(self) -> bool:
        return not await self.outbox.owners()


def thing(entity_id: str, value: int) -> dict[str, Any]:
    return {"_id": entity_id, "types": [TYPE], "attributes": {KEY: [{"type": "Property", "value": value}]}}


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(mongo_uri: str, database_name: str) -> AsyncIterator[Start]:
    """Starts processes that share a database."""
    mongo = await Mongo.connect(mongo_uri, database=database_name)
    tenants = Tenants(mongo)
    await tenants.open()
    started: list[Process] = []

    async def start_one(limits: DeliveryLimits | None = None) -> Process:
        process = Process(mongo, tenants, limits)
        await process.start()
        started.append(process)
        return process

    yield start_one
    for process in started:
        await process.stop()
    await mongo.close()


async def test_a_change_is_told_over_http_counted_and_forgotten(start: Start, receiver: Receiver) -> None:
    process = await start()
    name = await process.subscribe(receiver.url, endpoint={"receiverInfo": [{"key": "X-Key", "value": "k"}]})
    await process.commit("urn:e:1", 1)
    await until(process.owes_nothing)
    assert receiver.values("urn:e:1") == [1]
    assert receiver.bodies[0]["subscriptionId"] == name
    assert receiver.headers[0]["X-Key"] == "k"
    assert "json-ld#context" in receiver.headers[0]["Link"]
    shown = (await process.subscriptions.retrieve("", name))["delivery"]
    assert (shown["timesSent"], shown["timesFailed"]) == (1, 0)
    assert shown["lastSuccess"] >= shown["lastNotification"]


async def test_order_per_entity_survives_failures(start: Start, receiver: Receiver) -> None:
    process = await start()
    await process.subscribe(receiver.url)
    receiver.answer = lambda request: 503 if request % 5 == 1 else 200
    for value in range(20):
        for entity_id in ("urn:e:1", "urn:e:2", "urn:e:3"):
            await process.commit(entity_id, value)
    await until(process.owes_nothing, 20)
    for entity_id in ("urn:e:1", "urn:e:2", "urn:e:3"):
        assert receiver.values(entity_id) == list(range(20))


async def test_a_queue_that_is_full_goes_on_in_the_outbox(start: Start, receiver: Receiver) -> None:
    process = await start(DeliveryLimits(queue=3, in_flight=2, backoff=0.02, rest=0.05))
    await process.subscribe(receiver.url)
    healthy = False
    receiver.answer = lambda _: 200 if healthy else 503
    for value in range(50):
        await process.commit(f"urn:e:{value % 2}", value)
    assert process.notifier.backlog == 50
    healthy = True
    await until(process.owes_nothing, 20)
    assert receiver.values("urn:e:0") == list(range(0, 50, 2))
    assert receiver.values("urn:e:1") == list(range(1, 50, 2))


async def test_what_a_dead_process_owed_is_told_by_another_exactly_when_it_landed(
    start: Start, receiver: Receiver
) -> None:
    dying, other = await start(), await start()
    await dying.subscribe(receiver.url)
    for value in range(3):
        owed = dying.owe("urn:e:landed", value)
        await dying.outbox.insert(owed)
        await dying.land("urn:e:landed")
    await dying.outbox.insert(dying.owe("urn:e:gone", 1))
    lost = dying.owe("urn:e:landed", 99)
    await dying.outbox.insert(lost)
    await dying.die()
    await until(other.owes_nothing, 20)
    assert receiver.values("urn:e:landed") == [0, 1, 2]
    assert receiver.values("urn:e:gone") == [1], "an entity that is gone had its change"


async def test_several_survivors_tell_what_a_dead_process_owed_once_and_in_order(
    start: Start, receiver: Receiver
) -> None:
    dying = await start()
    survivors = [await start() for _ in range(3)]
    await dying.subscribe(receiver.url)
    for value in range(40):
        await dying.outbox.insert(dying.owe("urn:e:1", value))
    await dying.land("urn:e:1")
    await dying.die()
    await until(survivors[0].owes_nothing, 20)
    assert receiver.values("urn:e:1") == list(range(40))


async def test_what_is_left_at_a_stop_is_told_by_the_next_process(start: Start, receiver: Receiver) -> None:
    first = await start()
    await first.subscribe(receiver.url)
    receiver.answer = lambda _: 503
    await first.commit("urn:e:1", 1)
    await until(lambda: receiver.requests)
    await first.stop()
    receiver.answer = lambda _: 200
    second = await start()
    await until(second.owes_nothing, 20)
    assert receiver.values("urn:e:1") == [1]


async def test_throttling_is_decided_once_for_all_processes(start: Start, receiver: Receiver) -> None:
    processes = [await start() for _ in range(3)]
    await processes[0].subscribe(receiver.url, throttling=60)
    await until(lambda: all(len(one.registry) == 1 for one in processes))
    for number, process in enumerate(processes):
        await process.commit(f"urn:e:{number}", 1)
    await until(processes[0].owes_nothing)
    assert len(receiver.bodies) == 1


async def test_an_edit_in_one_process_holds_in_the_others(start: Start, receiver: Receiver) -> None:
    one, other = await start(), await start()
    name = await one.subscribe(receiver.url, q="n==7")
    await until(lambda: len(other.registry) == 1)
    assert other.owe("urn:e:1", 8) == []
    assert len(other.owe("urn:e:1", 7)) == 1
    await one.subscriptions.update("", name, {"q": "n==8"}, one.core)
    await until(lambda: other.owe("urn:e:1", 8) != [])
    await one.subscriptions.update("", name, {"isActive": False}, one.core)
    assert one.owe("urn:e:1", 8) == []
    await until(lambda: other.owe("urn:e:1", 8) == [])
    await one.subscriptions.delete("", name)
    await until(lambda: len(other.registry) == 0)


async def test_a_process_that_starts_knows_the_subscriptions(start: Start, receiver: Receiver) -> None:
    first = await start()
    await first.subscribe(receiver.url, geoQ={"georel": "within", "geometry": "Polygon", "coordinates": SQUARE})
    await first.subscribe(receiver.url, scopeQ="/Madrid/#", entities=[{"idPattern": "^urn:e:[0-9]+$", "type": "*"}])
    await first.subscribe(receiver.url, notificationTrigger=["entityDeleted"])
    second = await start()
    assert len(second.registry) == 3
    located = thing("urn:e:1", 1)
    located["attributes"][encode_key("https://uri.etsi.org/ngsi-ld/location")] = [
        {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [1, 1]}}
    ]
    scoped = {**thing("urn:e:1", 1), "scopes": ["/Madrid/Gardens"]}
    for after, expected in ((located, 1), (scoped, 1), (thing("urn:e:1", 1), 0)):
        assert len(second.notifier.match(Change("", "urn:e:1", None, after, now_text()), Parcel(1))) == expected
    assert len(second.notifier.match(Change("", "urn:e:1", located, None, now_text()), Parcel(1))) == 1


SQUARE = [[[0, 0], [0, 2], [2, 2], [2, 0], [0, 0]]]


async def test_subscriptions_are_created_listed_and_deleted(start: Start) -> None:
    process = await start()
    url = "http://receiver.example/notify"
    name = await process.subscribe(url, id="urn:s:1")
    assert name == "urn:s:1"
    with pytest.raises(AlreadyExists):
        await process.subscribe(url, id="urn:s:1")
    generated = await process.subscribe(url)
    page, total = await process.subscriptions.query("", limit=1, offset=1, count=True)
    assert ([one["_id"]["id"] for one in page], total) == ([generated], 2)
    await process.subscriptions.delete("", name)
    for missing in (
        process.subscriptions.delete("", name),
        process.subscriptions.retrieve("", name),
        process.subscriptions.update("", name, {"isActive": True}, process.core),
    ):
        with pytest.raises(ResourceNotFound):
            await missing


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"q": "n=="}, "/q"),
        ({"scopeQ": "not a scope"}, "/scopeQ"),
        ({"geoQ": {"georel": "beside", "geometry": "Point", "coordinates": [1, 1]}}, "/geoQ"),
        ({"entities": [{"type": "T", "idPattern": "("}]}, "/entities/0/idPattern"),
        ({"entities": [{"type": "T;;U"}]}, "/entities/0/type"),
    ],
)
async def test_what_cannot_be_compiled_is_refused(start: Start, members: dict[str, Any], pointer: str) -> None:
    process = await start()
    with pytest.raises(BadRequestData) as caught:
        await process.subscribe("http://receiver.example/notify", **members)
    assert caught.value.pointer == pointer
    assert len(process.registry) == 0


async def test_concurrent_updates_of_a_subscription_are_all_kept(start: Start) -> None:
    process = await start()
    name = await process.subscribe("http://receiver.example/notify")
    members = ("description", "subscriptionName", "q", "scopeQ", "lang")
    texts = {**dict.fromkeys(members, "n"), "scopeQ": "/n"}
    await asyncio.gather(
        *(process.subscriptions.update("", name, {member: texts[member]}, process.core) for member in members)
    )
    definition = (await process.subscriptions.retrieve("", name))["definition"]
    assert {member: definition[member] for member in members} == texts


async def test_a_broker_tells_subscribers_over_http(broker: Any, receiver: Receiver, tenant: str) -> None:
    client: aiohttp.ClientSession = broker.client
    headers = {"NGSILD-Tenant": tenant}
    body = {
        "id": "urn:ngsi-ld:Subscription:1",
        "type": "Subscription",
        "entities": [{"type": "T"}],
        "q": "n<3",
        "notification": {"format": "keyValues", "endpoint": {"uri": receiver.url, "accept": "application/ld+json"}},
    }
    async with client.post("/ngsi-ld/v1/subscriptions/", json=body, headers=headers) as answer:
        assert answer.status == 201
        location = answer.headers["Location"]
    assert location == "/ngsi-ld/v1/subscriptions/urn:ngsi-ld:Subscription:1"
    created = {"id": "urn:e:1", "type": "T", "n": 1}
    async with client.post("/ngsi-ld/v1/entities", json=created, headers=headers) as answer:
        assert answer.status == 201
    async with client.patch("/ngsi-ld/v1/entities/urn:e:1/attrs", json={"n": 5}, headers=headers) as answer:
        assert answer.status == 204
    async with client.patch("/ngsi-ld/v1/entities/urn:e:1/attrs", json={"n": 2}, headers=headers) as answer:
        assert answer.status == 204
    await until(lambda: len(receiver.bodies) == 2)
    assert [one["data"][0]["n"] for one in receiver.bodies] == [1, 2]
    assert receiver.headers[0]["NGSILD-Tenant"] == tenant
    assert receiver.headers[0]["Content-Type"] == "application/ld+json"
    assert "@context" in receiver.bodies[0]["data"][0]
    started = time.monotonic()
    async with client.get(location, headers={**headers, "Accept": "application/ld+json"}) as answer:
        shown = await answer.json()
    assert time.monotonic() - started < 5
    assert shown["status"] == "active"
    assert shown["notification"]["timesSent"] == 2
    async with client.get("/ngsi-ld/v1/subscriptions?count=true&limit=0", headers=headers) as answer:
        assert (answer.headers["NGSILD-Results-Count"], await answer.json()) == ("1", [])
    async with client.patch(location, json={"isActive": False}, headers=headers) as answer:
        assert answer.status == 204
    async with client.delete(location, headers=headers) as answer:
        assert answer.status == 204
    async with client.get(location, headers=headers) as answer:
        assert answer.status == 404
