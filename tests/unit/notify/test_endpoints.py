import asyncio
from collections import defaultdict
from dataclasses import replace

from broker.ngsild.errors import Unavailable
from broker.notify.endpoints import DeliveryLimits, Endpoint, Outcome
from broker.notify.owed import Owed
from broker.notify.queues import Budget, EndpointQueue
from tests.unit.notify.samples import MemoryOutbox, owed, until

FAST = DeliveryLimits(queue=100, in_flight=4, backoff=0.01, retries=2, rest=0.04)


class Receiver:
    """A courier that notes what arrives, and answers as `failing` says."""

    def __init__(self) -> None:
        self.arrived: list[Owed] = []
        self.under_way: set[str] = set()
        self.most_under_way = 0
        self.failing = 0
        self.attempts: list[float] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def attempt(self, owed: Owed) -> Outcome:
        assert owed.entity_id not in self.under_way, "two of one entity at once"
        self.attempts.append(asyncio.get_running_loop().time())
        self.under_way.add(owed.entity_id)
        self.most_under_way = max(self.most_under_way, len(self.under_way))
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
        finally:
            self.under_way.discard(owed.entity_id)
        if self.failing:
            self.failing -= 1
            return Outcome(finished=False)
        self.arrived.append(owed)
        return Outcome(finished=True, accepted=True)


def make_endpoint(receiver: Receiver, outbox: MemoryOutbox | None = None, limits: DeliveryLimits = FAST) -> Endpoint:
    return Endpoint(EndpointQueue(limits.queue, Budget()), receiver, outbox or MemoryOutbox(), limits)


def by_entity(entries: list[Owed]) -> dict[str, list[str]]:
    found = defaultdict(list)
    for one in entries:
        found[one.entity_id].append(one.id)
    return found


async def prove(endpoint: Endpoint, receiver: Receiver) -> None:
    """Deliver one notification, so that the endpoint is trusted with several at once."""
    endpoint.offer(owed("urn:e:first"))
    await until(lambda: len(receiver.arrived) == 1)
    await until(lambda: endpoint.idle)


async def test_an_endpoint_gets_one_notification_alone_until_it_has_accepted_one() -> None:
    receiver = Receiver()
    receiver.gate.clear()
    endpoint = make_endpoint(receiver)
    for number in range(3):
        endpoint.offer(owed(f"urn:e:{number}"))
    await until(lambda: receiver.under_way)
    for _ in range(20):
        await asyncio.sleep(0)
    assert receiver.most_under_way == 1
    receiver.gate.set()
    await until(lambda: len(receiver.arrived) == 3)
    assert receiver.most_under_way == 2


async def test_what_an_endpoint_chokes_on_holds_up_its_own_entity_only() -> None:
    class Choking(Receiver):
        async def attempt(self, owed: Owed) -> Outcome:
            if owed.entity_id == "urn:e:poison":
                return Outcome(finished=False)
            return await super().attempt(owed)

    receiver = Choking()
    endpoint = make_endpoint(receiver)
    for number in range(20):
        endpoint.offer(owed("urn:e:poison"))
        endpoint.offer(owed(f"urn:e:{number % 5}"))
    await until(lambda: len(receiver.arrived) == 20)
    await endpoint.close()
    assert len(endpoint) == 20


async def test_a_cooldown_is_kept_but_cannot_outlast_what_is_owed() -> None:
    class Cool(Receiver):
        async def attempt(self, owed: Owed) -> Outcome:
            outcome = await super().attempt(owed)
            return outcome if outcome.finished else replace(outcome, cooldown=1e300)

    receiver = Cool()
    receiver.failing = 1
    endpoint = make_endpoint(receiver, limits=replace(FAST, max_age=0.2))
    endpoint.offer(owed())
    await until(lambda: len(receiver.arrived) == 1)
    assert 0.2 <= receiver.attempts[1] - receiver.attempts[0] < 2


async def test_entities_are_served_side_by_side_each_in_its_order() -> None:
    receiver = Receiver()
    endpoint = make_endpoint(receiver)
    entries = [owed(f"urn:e:{number % 10}") for number in range(100)]
    for one in entries:
        endpoint.offer(one)
    await until(lambda: len(receiver.arrived) == 100)
    assert by_entity(receiver.arrived) == by_entity(entries)
    assert receiver.most_under_way == FAST.in_flight
    await until(lambda: endpoint.idle)


async def test_a_failed_notification_is_tried_again_before_the_next_of_its_entity() -> None:
    receiver = Receiver()
    receiver.failing = 3
    endpoint = make_endpoint(receiver)
    entries = [owed("urn:e:1") for _ in range(3)]
    for one in entries:
        endpoint.offer(one)
    await until(lambda: len(receiver.arrived) == 3)
    assert receiver.arrived == entries
    assert len(receiver.attempts) == 6


async def test_the_pauses_between_failures_grow_and_one_notification_alone_tries() -> None:
    receiver = Receiver()
    receiver.failing = 3
    endpoint = make_endpoint(receiver, limits=DeliveryLimits(in_flight=1, backoff=0.04, retries=1, rest=0.4))
    for number in range(4):
        endpoint.offer(owed(f"urn:e:{number}"))
    await until(lambda: len(receiver.arrived) == 4)
    first, second, third = (later - earlier for earlier, later in zip(receiver.attempts, receiver.attempts[1:4]))  # noqa: B905
    assert 0.02 <= first < 0.2
    assert second >= 0.2
    assert third >= 0.2


async def test_several_failures_at_once_are_one_failure_of_the_endpoint() -> None:
    receiver = Receiver()
    endpoint = make_endpoint(receiver, limits=DeliveryLimits(in_flight=4, backoff=0.05, retries=1, rest=60))
    await prove(endpoint, receiver)
    receiver.gate.clear()
    receiver.failing = 4
    for number in range(4):
        endpoint.offer(owed(f"urn:e:{number}"))
    await until(lambda: len(receiver.under_way) == 4)
    receiver.gate.set()
    await until(lambda: endpoint.resting)
    await until(lambda: len(receiver.arrived) == 1 + 4)


async def test_what_had_no_room_is_read_from_the_outbox_in_order() -> None:
    receiver, outbox = Receiver(), MemoryOutbox()
    receiver.gate.clear()
    endpoint = make_endpoint(receiver, outbox, DeliveryLimits(queue=4, in_flight=2))
    entries = [owed(f"urn:e:{number % 3}") for number in range(60)]
    await outbox.insert(entries)
    for one in entries:
        assert endpoint.offer(one)
    assert len(endpoint) == 60
    receiver.gate.set()
    await until(lambda: len(receiver.arrived) == 60)
    assert by_entity(receiver.arrived) == by_entity(entries)
    await until(lambda: endpoint.idle)


async def test_an_outbox_that_cannot_be_read_is_asked_again_later() -> None:
    class Interrupted(MemoryOutbox):
        interrupted = True

        async def read(self, ids: object) -> list[Owed]:
            if self.interrupted:
                self.interrupted = False
                raise Unavailable("away")
            return await super().read(ids)  # type: ignore[arg-type]

    receiver, outbox = Receiver(), Interrupted()
    endpoint = make_endpoint(receiver, outbox, DeliveryLimits(queue=1, in_flight=1))
    entries = [owed("urn:e:1") for _ in range(3)]
    await outbox.insert(entries)
    for one in entries:
        endpoint.offer(one)
    await until(lambda: len(receiver.arrived) == 3)
    assert receiver.arrived == entries


async def test_closing_breaks_off_and_keeps_what_was_not_delivered() -> None:
    receiver = Receiver()
    endpoint = make_endpoint(receiver)
    await prove(endpoint, receiver)
    receiver.gate.clear()
    for number in range(3):
        endpoint.offer(owed(f"urn:e:{number}"))
    await until(lambda: len(receiver.under_way) == 3)
    await endpoint.close()
    assert len(endpoint) == 3
    endpoint.offer(owed())
    await asyncio.sleep(0)
    assert not receiver.under_way


async def test_an_unexpected_failure_of_an_attempt_loses_nothing() -> None:
    class Faulty(Receiver):
        faults = 1

        async def attempt(self, owed: Owed) -> Outcome:
            if self.faults:
                self.faults -= 1
                raise RuntimeError("a bug")
            return await super().attempt(owed)

    receiver = Faulty()
    endpoint = make_endpoint(receiver)
    endpoint.offer(owed())
    await until(lambda: len(receiver.arrived) == 1)
