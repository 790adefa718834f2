"""The census of one process: what it places, takes back, ends, and doubts."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from broker.commit import census as module
from broker.commit.census import Census
from broker.ngsild.errors import Unavailable
from broker.ngsild.shapes import Difference, Shape
from broker.storage.entities import WriteReport
from tests.unit.commit.memory_census import MemoryCensus
from tests.unit.notify.samples import until

A: Shape = (("A",), frozenset({("x", ("Property",))}))
B: Shape = (("B",), frozenset())
NEW_A: Difference = (None, A)
NEW_B: Difference = (None, B)


@pytest.fixture
def store() -> MemoryCensus:
    return MemoryCensus()


@pytest.fixture
async def census(store: MemoryCensus, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Census]:
    monkeypatch.setattr(module, "_GATHERING", 0.005)
    monkeypatch.setattr(module, "_LOOK_AGAIN", 0.005)
    made = Census(store, "p")
    yield made
    store.away = store.answers_lost = False
    await made.close(5)


def landed(*differences: Difference) -> WriteReport:
    return WriteReport(executed=Counter(differences))


async def settled(census: Census) -> None:
    async def idle() -> bool:
        return census._settling is None

    await until(idle)


async def test_the_numbers_hold_the_changes_before_they_are_written(census: Census, store: MemoryCensus) -> None:
    async with census.counting("t", [NEW_A, NEW_A, NEW_B]) as flight:
        assert store.total("A") == {"entities": 2, "attributes.x.Property": 2}
        assert {name for _, name in store.flights} == {"A", "B"}
        flight.report = landed(NEW_A, NEW_A, NEW_B)
    await settled(census)

    assert store.flights == store.doubts == set()
    assert store.registered == [("t", "p")]


async def test_a_group_that_changes_no_shape_costs_the_storage_nothing(census: Census, store: MemoryCensus) -> None:
    async with census.counting("t", []) as flight:
        flight.report = landed()

    assert census._settling is None
    assert store.registered == []


async def test_what_did_not_land_is_taken_out_before_anybody_hears_of_it(census: Census, store: MemoryCensus) -> None:
    async with census.counting("t", [NEW_A, NEW_A, NEW_B]) as flight:
        flight.report = landed(NEW_A)

    assert store.total("A") == {"entities": 1, "attributes.x.Property": 1}
    assert store.total("B") == {}
    assert store.flights == set()


async def test_flights_of_a_busy_process_are_ended_together(census: Census, store: MemoryCensus) -> None:
    for _ in range(20):
        async with census.counting("t", [NEW_A]) as flight:
            flight.report = landed(NEW_A)
    await settled(census)

    assert store.flights == set()
    assert store.concluding == 1


@pytest.mark.parametrize(
    "report", [None, WriteReport(answer_lost=True), WriteReport(uncounted=True)], ids=["failed", "lost", "uncounted"]
)
async def test_types_are_in_doubt_where_it_is_unknown_what_landed(
    census: Census, store: MemoryCensus, report: WriteReport | None
) -> None:
    async with census.counting("t", [NEW_A]) as flight:
        flight.report = report
    await settled(census)

    assert [name for _, name in store.doubts] == ["A"]
    assert census.doubtful == {"t"}


async def test_a_process_that_was_taken_for_dead_doubts_what_it_had_under_way(
    census: Census, store: MemoryCensus
) -> None:
    async with census.counting("t", [NEW_A]) as flight:
        store.flights.clear()  # a recount has replaced the numbers
        flight.report = landed(NEW_A)
    await settled(census)

    assert [name for _, name in store.doubts] == ["A"]


async def test_nothing_is_written_while_it_is_unknown_whether_it_is_counted(
    census: Census, store: MemoryCensus
) -> None:
    store.answers_lost = True
    with pytest.raises(Unavailable):
        async with census.counting("t", [NEW_A]):
            pytest.fail("the writes were sent")
    store.answers_lost = False
    await settled(census)

    assert [name for _, name in store.doubts] == ["A"]


async def test_doubts_outlast_a_storage_that_is_away(census: Census, store: MemoryCensus) -> None:
    async with census.counting("t", [NEW_A]) as flight:
        store.away = True
        flight.report = landed()
    await asyncio.sleep(0.02)
    assert store.doubts == set()

    store.away = False
    await settled(census)
    assert [name for _, name in store.doubts] == ["A"]


async def test_a_change_waits_for_the_fence_of_a_recount(census: Census, store: MemoryCensus) -> None:
    store.fences = {"A"}

    async def create() -> None:
        async with census.counting("t", [NEW_A, NEW_B]) as flight:
            flight.report = landed(NEW_A, NEW_B)

    creating = asyncio.create_task(create())
    await asyncio.sleep(0.01)
    assert not creating.done()
    store.fences.clear()
    await creating

    assert (store.total("A")["entities"], store.total("B")["entities"]) == (1, 1)


async def test_a_fence_that_was_left_behind_is_taken_away(
    census: Census, store: MemoryCensus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FENCED", 0.01)
    store.fences = {"A"}

    async with asyncio.timeout(5), census.counting("t", [NEW_A]) as flight:
        flight.report = landed(NEW_A)

    assert store.fences == set()
    assert store.total("A")["entities"] == 1


async def test_types_that_lost_something_are_pruned(census: Census, store: MemoryCensus) -> None:
    async with census.counting("t", [(A, None), NEW_B]) as flight:
        flight.report = landed((A, None), NEW_B)
    await settled(census)

    assert store.pruned == {"A"}


async def test_a_process_that_ends_without_doubts_leaves_nothing_to_look_after(
    census: Census, store: MemoryCensus
) -> None:
    async with census.counting("t", [NEW_A]) as flight:
        flight.report = landed(NEW_A)
    await census.close(5)

    assert store.flights == set()
    assert store.registered == []
