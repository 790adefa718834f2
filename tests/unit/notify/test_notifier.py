import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Self

import orjson
import pytest

from broker.ngsild.changes import Change
from broker.ngsild.errors import Unavailable
from broker.notify.completing import Completer
from broker.notify.endpoints import DeliveryLimits
from broker.notify.matching import ATTRIBUTE_UPDATED, Condition, Selector
from broker.notify.mqtt_address import MqttDestination, parse_mqtt
from broker.notify.notifier import Notifier
from broker.notify.owed import Owed, Parcel
from broker.notify.registry import Registry
from broker.notify.sending import Sender
from broker.notify.subscription import Subscription
from broker.notify.throttling import Throttle
from broker.notify.trust import Trust
from broker.outbound import OutboundError, OutboundRefused
from broker.storage.subscriptions import Document, SubscriptionEdit
from broker.telemetry import Metrics
from tests.unit.notify.samples import (
    EARLIER,
    NOW,
    URL,
    MemoryCounters,
    MemoryEntities,
    MemoryOutbox,
    changed,
    entity,
    prop,
    subscription,
    until,
    updated,
)

ENTITY = entity(a=1)
UPDATE = updated(ENTITY, a=2)
OF_T = Condition(selectors=(Selector(types=(frozenset({"urn:T"}),)),))


class Post:
    """An endpoint: notes what it is sent; `answers` are given first, then 200."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Any, Mapping[str, str]]] = []
        self.answers: list[int | Exception] = []
        self.attempts = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> int:  # noqa: ASYNC109
        self.attempts += 1
        await self.gate.wait()
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        if answer == 200:
            self.received.append((url, orjson.loads(body), headers))
        return answer


class Publish:
    """An MQTT broker: notes what it is sent; `answers` are given first, None for an acknowledgement."""

    def __init__(self) -> None:
        self.received: list[tuple[MqttDestination, Any]] = []
        self.answers: list[Exception | None] = []

    async def publish(self, destination: MqttDestination, payload: bytes, timeout: float) -> None:  # noqa: ASYNC109
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.received.append((destination, orjson.loads(payload)))


class Source:
    """Subscription documents without a database; what cannot be compiled is in `broken`."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], Document] = {}
        self.compiled: dict[tuple[str, str], Subscription] = {}
        self.broken: set[str] = set()
        self.edited: asyncio.Queue[SubscriptionEdit | Exception] = asyncio.Queue()

    def keep(self, one: Subscription) -> Document:
        document = {
            "_id": {"tenant": one.tenant, "id": one.id}, "createdAt": one.version[0], "version": one.version[1],
        }  # fmt: skip
        self.documents[one.tenant, one.id] = document
        self.compiled[one.tenant, one.id] = one
        return document

    async def all(self) -> AsyncIterator[Document]:
        for document in list(self.documents.values()):
            yield document

    async def get(self, tenant: str, subscription_id: str) -> Document | None:
        return self.documents.get((tenant, subscription_id))

    @asynccontextmanager
    async def edits(self) -> AsyncIterator[AsyncIterator[SubscriptionEdit]]:
        yield self._edits()

    async def _edits(self) -> AsyncIterator[SubscriptionEdit]:
        while True:
            edit = await self.edited.get()
            if isinstance(edit, Exception):
                raise edit
            yield edit

    async def compile(self, document: Document) -> Subscription:
        if document["_id"]["id"] in self.broken:
            raise Unavailable("its @context is out of reach")
        return self.compiled[document["_id"]["tenant"], document["_id"]["id"]]


class Heartbeats:
    """The processes that are alive."""

    def __init__(self) -> None:
        self.living: set[str] = set()

    async def beat(self, process: str, about: dict[str, Any] | None = None) -> None:
        self.living.add(process)

    async def leave(self, process: str) -> None:
        self.living.discard(process)

    async def alive(self) -> set[str]:
        return set(self.living)

    async def inherit(self, dead: str, heir: str, alive: set[str]) -> bool:
        return True


class Scene:
    """A notifier with everything around it."""

    def __init__(self, *subscriptions: Subscription, limits: DeliveryLimits | None = None) -> None:
        self.source = Source()
        for one in subscriptions:
            self.source.keep(one)
        self.registry = Registry(self.source, self.source.compile)
        self.entities = MemoryEntities()
        self.outbox, self.counters, self.heartbeats = MemoryOutbox(), MemoryCounters(), Heartbeats()
        self.post, self.mqtt = Post(), Publish()
        self.notifier = Notifier(
            process="p",
            registry=self.registry,
            store=self.counters,
            outbox=self.outbox,
            processes=self.heartbeats,
            landed=self._landed,
            sender=Sender(self.post, self.mqtt, Trust()),
            completer=Completer(self.entities, 10),
            metrics=Metrics(),
            limits=limits or DeliveryLimits(backoff=0.01, rest=0.02),
        )
        self._commits = 0

    async def __aenter__(self) -> Self:
        await self.notifier.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.notifier.stop(0.1)

    async def commit(self, *changes: Change) -> list[Owed]:
        """What the committer does with changes that land."""
        self._commits += 1
        parcel = Parcel(self._commits)
        owed = [one for change in changes for one in self.notifier.match(change, parcel)]
        await self.outbox.insert(owed)
        self.notifier.release(owed)
        return owed

    async def settled(self) -> None:
        await until(lambda: not self.outbox.kept)
        await self.notifier.flush()

    async def _landed(self, tenant: str, entity_id: str, process: str, commit: int) -> bool:
        return True


async def test_a_change_is_notified_and_leaves_the_outbox() -> None:
    async with Scene(subscription(OF_T)) as scene:
        owed = await scene.commit(UPDATE)
        await scene.settled()
    [(url, body, headers)] = scene.post.received
    assert url == URL
    assert body["id"] == owed[0].id
    assert body["subscriptionId"] == "urn:s:1"
    assert body["notifiedAt"] == NOW
    assert body["data"] == [{"id": "urn:e:1", "type": "T", "a": {"type": "Property", "value": 2}}]
    assert headers["Content-Type"] == "application/json"
    counted = scene.counters.deliveries["", "urn:s:1"]
    assert (counted.sent, counted.failed, counted.last_failure) == (1, 0, None)
    assert counted.last_success is not None


async def test_nothing_is_owed_where_nobody_listens() -> None:
    async with Scene(subscription(OF_T, tenant="other")) as scene:
        assert await scene.commit(UPDATE) == []
        assert await scene.commit(changed(None, entity(types=["urn:U"]), tenant="other")) == []


async def test_what_is_too_large_for_the_outbox_is_no_part_of_what_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.notify.notifier.fits", lambda body: len(body) < 5_000)
    async with Scene(subscription(OF_T)) as scene:
        scene.post.gate.clear()
        owed = await scene.commit(updated(ENTITY, a="x" * 5_000), changed(None, entity("urn:e:2", a=1)))
        assert [one.entity_id for one in owed] == ["urn:e:2"]
        await scene.notifier._settlement.settle(everything=True)
        assert list(scene.outbox.kept) == [owed[0].id], "what is not delivered yet is still owed"
        scene.post.gate.set()
        await scene.settled()
    counted = scene.counters.deliveries["", "urn:s:1"]
    assert (counted.sent, counted.failed) == (1, 1)


async def test_a_paused_subscription_does_not_hear_of_changes() -> None:
    async with Scene(subscription(OF_T, active=False)) as scene:
        assert await scene.commit(UPDATE) == []


async def test_failures_are_counted_and_tried_again_in_order() -> None:
    async with Scene(subscription(OF_T)) as scene:
        scene.post.answers = [503, OutboundError("there was no answer"), 429]
        await scene.commit(updated(ENTITY, a=2), updated(ENTITY, a=3))
        await scene.commit(updated(ENTITY, a=4))
        await scene.settled()
    assert [body["data"][0]["a"]["value"] for _, body, _ in scene.post.received] == [2, 3, 4]
    counted = scene.counters.deliveries["", "urn:s:1"]
    assert (counted.sent, counted.failed) == (6, 3)


async def test_a_notification_over_mqtt_carries_its_metadata_beside_its_body() -> None:
    one = over_mqtt("mqtt://broker.example/city/air", {"MQTT-QoS": "1"})
    async with Scene(one) as scene:
        await scene.commit(UPDATE)
        await scene.settled()
    [(destination, message)] = scene.mqtt.received
    assert (destination.server.host, destination.topic, destination.qos) == ("broker.example", "city/air", 1)
    assert message.keys() == {"metadata", "body"}
    assert message["metadata"] == one.target.headers
    assert message["body"]["type"] == "Notification"
    assert scene.post.attempts == 0
    assert scene.counters.deliveries["", "urn:s:1"].sent == 1


async def test_an_mqtt_broker_that_is_away_is_tried_again_and_a_refusal_is_final() -> None:
    async with Scene(over_mqtt("mqtt://broker.example/city/air", {})) as scene:
        scene.mqtt.answers = [OutboundError("away"), None, OutboundRefused("not authorized")]
        await scene.commit(updated(ENTITY, a=2), updated(ENTITY, a=3), updated(ENTITY, a=4))
        await scene.settled()
    assert [message["body"]["data"][0]["a"]["value"] for _, message in scene.mqtt.received] == [2, 4]
    assert scene.counters.deliveries["", "urn:s:1"].failed == 2


def over_mqtt(uri: str, parameters: dict[str, str]) -> Subscription:
    one = subscription(OF_T)
    one.target = replace(one.target, url=uri, mqtt=parse_mqtt(uri, parameters))
    return one


async def test_a_notification_waits_for_room_without_failing() -> None:
    limits = DeliveryLimits(connections=1, timeout=0.05, backoff=0.01, rest=0.02)
    other = subscription(OF_T, subscription_id="urn:s:2")
    other.target = replace(other.target, url="http://other.example/notify")
    async with Scene(subscription(OF_T), other, limits=limits) as scene:
        scene.post.gate.clear()
        await scene.commit(UPDATE)
        await until(lambda: scene.post.attempts == 1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert scene.post.attempts == 1
        scene.post.gate.set()
        await scene.settled()
    assert len(scene.post.received) == 2
    assert scene.counters.deliveries["", "urn:s:2"].failed == 0


def test_a_subscription_cannot_hold_a_connection_for_longer_than_the_operator_lets_it() -> None:
    limits = DeliveryLimits(timeout=5, longest_timeout=60)
    assert [limits.time_for(wanted) for wanted in (None, 0.5, 30, 1e9)] == [5, 0.5, 30, 60]
    assert DeliveryLimits(timeout=90, longest_timeout=60).time_for(1e9) == 90


@pytest.mark.parametrize("answer", [400, 301, OutboundRefused("requests to 169.254.0.1 are not allowed")])
async def test_what_an_endpoint_refuses_is_not_repeated(answer: int | Exception) -> None:
    async with Scene(subscription(OF_T)) as scene:
        scene.post.answers = [answer]
        await scene.commit(UPDATE, updated(ENTITY, a=3))
        await scene.settled()
    assert [body["data"][0]["a"]["value"] for _, body, _ in scene.post.received] == [3]
    assert scene.counters.deliveries["", "urn:s:1"].failed == 1


async def test_what_is_too_old_is_given_up_and_counted_as_failed() -> None:
    async with Scene(subscription(OF_T)) as scene:
        owed = scene.notifier.match(UPDATE, Parcel(1))
        owed[0].created_at = time.time() - 100_000
        await scene.outbox.insert(owed)
        scene.notifier.release(owed)
        await scene.settled()
    assert scene.post.attempts == 0
    assert scene.counters.deliveries["", "urn:s:1"].failed == 1


async def test_subscriptions_with_the_same_view_share_its_rendering_but_not_their_ids() -> None:
    first = subscription(OF_T)
    second = subscription(OF_T, subscription_id="urn:s:2", projection=first.projection)
    async with Scene(first, second) as scene:
        await scene.commit(UPDATE)
        await scene.settled()
    bodies = [body for _, body, _ in scene.post.received]
    assert {body["subscriptionId"] for body in bodies} == {"urn:s:1", "urn:s:2"}
    assert len({body["id"] for body in bodies}) == 2
    assert bodies[0]["data"] == bodies[1]["data"]


async def test_a_subscription_that_fails_to_match_harms_nobody_else() -> None:
    faulty = Condition(predicates=(lambda one: one["no such member"],))
    async with Scene(subscription(faulty), subscription(OF_T, subscription_id="urn:s:2")) as scene:
        assert [one.subscription_id for one in await scene.commit(UPDATE)] == ["urn:s:2"]


async def test_throttling_lets_one_notification_through_and_knows_when_the_next_may_come() -> None:
    async with Scene(subscription(OF_T, throttle=Throttle(60.0))) as scene:
        await scene.commit(UPDATE, updated(ENTITY, a=3))
        await scene.settled()
        assert await scene.commit(updated(ENTITY, a=4)) == []
    assert [body["data"][0]["a"]["value"] for _, body, _ in scene.post.received] == [2]


async def test_what_a_deleted_subscription_was_owed_is_dropped() -> None:
    async with Scene(subscription(OF_T)) as scene:
        owed = scene.notifier.match(UPDATE, Parcel(1))
        await scene.outbox.insert(owed)
        del scene.source.documents["", "urn:s:1"]
        scene.registry.forget("", "urn:s:1")
        scene.notifier.release(owed)
        await scene.settled()
    assert scene.post.attempts == 0


async def test_edits_by_other_processes_are_followed() -> None:
    async with Scene() as scene:
        one = subscription(OF_T)
        scene.source.edited.put_nowait(SubscriptionEdit("", one.id, scene.source.keep(one)))
        await until(lambda: len(scene.registry) == 1)
        assert len(await scene.commit(UPDATE)) == 1
        del scene.source.documents["", one.id]
        scene.source.edited.put_nowait(SubscriptionEdit("", one.id, None))
        await until(lambda: len(scene.registry) == 0)
        assert await scene.commit(UPDATE) == []


async def test_who_looked_before_a_subscription_was_made_does_not_make_others_forget_it() -> None:
    async with Scene() as scene:
        one = subscription(OF_T)
        scene.source.keep(one)
        scene.registry.put(one)
        scene.source.edited.put_nowait(SubscriptionEdit("", one.id, None))
        other = subscription(OF_T, subscription_id="urn:s:2")
        scene.source.edited.put_nowait(SubscriptionEdit("", other.id, scene.source.keep(other)))
        await until(lambda: scene.registry.get("", other.id) is not None)
        assert scene.registry.get("", one.id) is one


async def test_an_earlier_state_of_a_subscription_does_not_replace_a_later_one() -> None:
    async with Scene() as scene:
        later = subscription(OF_T, version=(EARLIER, 2), active=False)
        earlier = subscription(OF_T, version=(EARLIER, 1))
        anew = subscription(OF_T, version=(NOW, 1))
        scene.registry.put(later)
        scene.registry.put(earlier)
        assert scene.registry.get("", "urn:s:1") is later
        scene.registry.put(anew)
        assert scene.registry.get("", "urn:s:1") is anew


async def test_when_following_breaks_everything_is_read_again() -> None:
    async with Scene(subscription(OF_T)) as scene:
        del scene.source.documents["", "urn:s:1"]
        scene.source.keep(subscription(OF_T, subscription_id="urn:s:2"))
        scene.source.edited.put_nowait(Unavailable("the stream broke"))
        await until(lambda: scene.registry.get("", "urn:s:2") is not None)
        assert scene.registry.get("", "urn:s:1") is None


async def test_a_subscription_that_cannot_be_compiled_is_tried_again() -> None:
    async with Scene() as scene:
        one = subscription(OF_T)
        scene.source.broken.add(one.id)
        await scene.registry.apply(scene.source.keep(one))
        assert scene.registry.get("", one.id) is None
        scene.source.broken.clear()
        await scene.registry.retry_broken()
        assert scene.registry.get("", one.id) is one


async def test_stopping_delivers_what_it_can_and_leaves() -> None:
    scene = Scene(subscription(OF_T))
    await scene.notifier.start()
    await scene.commit(UPDATE)
    await scene.notifier.stop(5)
    assert len(scene.post.received) == 1
    assert scene.outbox.kept == {}
    assert scene.heartbeats.living == set()


async def test_stopping_leaves_what_cannot_be_delivered_in_the_outbox() -> None:
    scene = Scene(subscription(OF_T))
    scene.post.answers = [503] * 1000
    await scene.notifier.start()
    await scene.commit(UPDATE)
    await until(lambda: scene.post.attempts)
    await scene.notifier.stop(5)
    assert len(scene.outbox.kept) == 1


async def test_counts_survive_a_lost_storage() -> None:
    async with Scene(subscription(OF_T)) as scene:
        lost = True
        add = scene.counters.add_deliveries

        async def add_or_fail(deliveries: Any) -> None:
            if lost:
                raise Unavailable("away")
            await add(deliveries)

        scene.counters.add_deliveries = add_or_fail  # type: ignore[method-assign]
        await scene.commit(UPDATE)
        await until(lambda: scene.post.received)
        with pytest.raises(Unavailable):
            await scene.notifier.flush()
        lost = False
        await scene.notifier.flush()
    assert scene.counters.deliveries["", "urn:s:1"].sent == 1


def best_of(action: Any, times: int) -> float:
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(times):
            action()
        best = min(best, (time.perf_counter() - started) / times)
    return best


async def test_matching_costs_next_to_nothing_where_nobody_listens_and_little_beside_ten_thousand_others() -> None:
    others: Sequence[Subscription] = [
        subscription(
            Condition(selectors=(Selector(types=(frozenset({f"urn:T{number}"}),)),), triggers=ATTRIBUTE_UPDATED),
            subscription_id=f"urn:s:{number}",
            tenant="busy",
        )
        for number in range(10_000)
    ]
    async with Scene(*others) as scene:
        wide = entity(**{f"n{number}": [prop(number)] for number in range(6)})
        change = updated(wide, n0=7, n1=8)
        busy = Change("busy", change.entity_id, change.before, change.after, NOW)
        match = scene.notifier.match
        # Generous: the figures on an idle machine are a tenth of these.
        assert best_of(lambda: match(change, 1), 10_000) < 3e-6
        assert best_of(lambda: match(busy, 1), 10_000) < 10e-6
