import asyncio

import pytest

from broker.ngsild.errors import Unavailable
from broker.notify.counters import Counters
from broker.storage.subscriptions import Deliveries
from tests.unit.notify.samples import EARLIER, NOW, MemoryCounters, subscription, until, updated
from tests.unit.notify.test_notifier import ENTITY, OF_T, UPDATE, Scene


class SlowStore(MemoryCounters):
    """Takes counts once the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def add_deliveries(self, deliveries: dict[tuple[str, str], Deliveries]) -> None:
        await self.gate.wait()
        await super().add_deliveries(deliveries)


class LostStore(MemoryCounters):
    """Is out of reach at first."""

    lost = True

    async def add_deliveries(self, deliveries: dict[tuple[str, str], Deliveries]) -> None:
        if self.lost:
            raise Unavailable("the storage is away")
        await super().add_deliveries(deliveries)


async def test_a_flush_returns_when_what_another_one_takes_is_there() -> None:
    store = SlowStore()
    counters = Counters(store)
    counters.attempted("", "urn:s:1", NOW)
    first = asyncio.create_task(counters.flush())
    await asyncio.sleep(0)
    second = asyncio.create_task(counters.flush())
    await asyncio.sleep(0)
    assert not second.done()
    store.gate.set()
    await second
    assert store.deliveries["", "urn:s:1"].sent == 1
    await first


async def test_counts_that_could_not_be_added_are_added_later_once() -> None:
    store = LostStore()
    counters = Counters(store)
    counters.attempted("", "urn:s:1", EARLIER)
    counters.failed("", "urn:s:1", EARLIER, "it answered 503")
    with pytest.raises(Unavailable):
        await counters.flush()
    counters.attempted("", "urn:s:1", NOW)
    counters.succeeded("", "urn:s:1", NOW)
    store.lost = False
    await counters.flush()
    await counters.flush()
    counted = store.deliveries["", "urn:s:1"]
    assert (counted.sent, counted.failed, counted.last_success, counted.last_failure) == (2, 1, NOW, EARLIER)


async def test_what_has_left_the_outbox_is_counted() -> None:
    async with Scene(subscription(OF_T)) as scene:
        for number in range(20):
            await scene.commit(updated(ENTITY, a=number + 2))
            await until(lambda: not scene.outbox.kept)
            assert scene.counters.deliveries["", "urn:s:1"].sent == number + 1


async def test_what_cannot_be_counted_stays_in_the_outbox() -> None:
    async with Scene(subscription(OF_T)) as scene:
        scene.notifier._counters._store = store = LostStore()
        await scene.commit(UPDATE)
        await until(lambda: scene.post.received)
        with pytest.raises(Unavailable):
            await scene.notifier._settlement.settle()
        assert len(scene.outbox.kept) == 1
        store.lost = False
        await until(lambda: not scene.outbox.kept)
    assert store.deliveries["", "urn:s:1"].sent == 1
