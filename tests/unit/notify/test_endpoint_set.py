import asyncio
from dataclasses import replace

from broker.notify.endpoint_set import EndpointSet
from broker.notify.endpoints import DeliveryLimits, Outcome
from broker.notify.owed import Owed
from tests.unit.notify.samples import MemoryOutbox, owed, until

LIMITS = DeliveryLimits(endpoints=2, queue=3, in_flight=2, backoff=60, rest=60)


class Receivers:
    """A courier to endpoints, each called as the tenant of what it gets; those in `dead` fail."""

    def __init__(self, *dead: str) -> None:
        self.dead = set(dead)
        self.arrived: dict[str, list[Owed]] = {}

    async def attempt(self, owed: Owed) -> Outcome:
        await asyncio.sleep(0)
        if owed.tenant in self.dead:
            return Outcome(finished=False)
        self.arrived.setdefault(owed.tenant, []).append(owed)
        return Outcome(finished=True, accepted=True)


async def offer(endpoints: EndpointSet, outbox: MemoryOutbox, key: str, count: int) -> list[Owed]:
    entries = [owed(f"urn:e:{number % 2}", tenant=key) for number in range(count)]
    await outbox.insert(entries)
    for one in entries:
        assert endpoints.offer(key, one)
    return entries


async def test_endpoints_beyond_the_bound_wait_and_move_up_without_losing_their_order() -> None:
    receivers, outbox = Receivers(), MemoryOutbox()
    endpoints = EndpointSet(receivers, outbox, LIMITS)
    offered = {key: await offer(endpoints, outbox, key, 10) for key in "abcd"}
    assert len(list(endpoints)) == 2
    assert endpoints.backlog == 40

    def moved_up() -> bool:
        endpoints.tidy()
        return endpoints.backlog == 0

    await until(moved_up)
    for key, entries in offered.items():
        for entity in ("urn:e:0", "urn:e:1"):
            assert [one for one in receivers.arrived[key] if one.entity_id == entity] == [
                one for one in entries if one.entity_id == entity
            ]


async def test_dead_endpoints_do_not_keep_a_living_one_out() -> None:
    receivers, outbox = Receivers("a", "b"), MemoryOutbox()
    endpoints = EndpointSet(receivers, outbox, LIMITS)
    for key in "abc":
        await offer(endpoints, outbox, key, 5)
    await until(lambda: all(endpoint.asleep for endpoint in endpoints))
    endpoints.tidy()
    await until(lambda: len(receivers.arrived.get("c", ())) == 5)
    assert endpoints.backlog == 10


async def test_an_endpoint_that_was_set_aside_gets_everything_when_it_is_back() -> None:
    receivers, outbox = Receivers("a", "b"), MemoryOutbox()
    endpoints = EndpointSet(receivers, outbox, replace(LIMITS, endpoints=1))
    entries = await offer(endpoints, outbox, "a", 8)
    await offer(endpoints, outbox, "b", 1)
    await until(lambda: all(endpoint.asleep for endpoint in endpoints))
    endpoints.tidy()
    later = await offer(endpoints, outbox, "a", 2)
    receivers.dead.clear()

    def all_done() -> bool:
        endpoints.tidy()
        return endpoints.backlog == 0

    await until(all_done)
    assert sorted(one.sequence for one in receivers.arrived["a"]) == [one.sequence for one in [*entries, *later]]
    for entity in ("urn:e:0", "urn:e:1"):
        told = [one.sequence for one in receivers.arrived["a"] if one.entity_id == entity]
        assert told == sorted(told)
