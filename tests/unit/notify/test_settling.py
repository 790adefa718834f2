"""What was delivered leaves the outbox: parcels as a whole where they can, single notifications where they must."""

from collections.abc import Iterable, Sequence

import pytest

from broker.ngsild.errors import Unavailable
from broker.notify.counters import Counters
from broker.notify.owed import Owed, Parcel, parcel_of
from broker.notify.settling import Settlement
from tests.unit.notify.samples import MemoryCounters, MemoryOutbox, owed


class Outbox(MemoryOutbox):
    """Notes how it is asked; out of reach while `lost`."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = False
        self.parcels: list[str] = []
        self.single: list[str] = []

    async def remove(self, ids: Iterable[str]) -> None:
        self._reach()
        self.single += ids

    async def remove_parcels(self, keys: Sequence[str]) -> None:
        self._reach()
        self.parcels += keys

    def _reach(self) -> None:
        if self.lost:
            raise Unavailable("lost")


def in_parcels(*sizes: int) -> list[list[Owed]]:
    parcels = [Parcel(1) for _ in sizes]
    return [[owed(id=parcel.next_id(1)) for _ in range(size)] for parcel, size in zip(parcels, sizes, strict=True)]


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def settlement(outbox: Outbox) -> Settlement:
    return Settlement(Counters(MemoryCounters()), outbox)


def finish(settlement: Settlement, *entries: Owed) -> None:
    for one in entries:
        settlement.finished(one.id)


async def test_a_parcel_leaves_as_a_whole_with_its_last_notification(settlement: Settlement, outbox: Outbox) -> None:
    first, second = in_parcels(3, 1)
    settlement.released([*first, *second])
    finish(settlement, *first[:2], *second)
    await settlement.settle()
    assert (outbox.parcels, outbox.single) == ([parcel_of(second[0].id)], [])
    finish(settlement, first[2])
    await settlement.settle()
    await settlement.settle()
    assert (outbox.parcels[1:], outbox.single) == ([parcel_of(first[0].id)], [])


async def test_what_is_finished_leaves_alone_when_the_rest_takes_long(
    settlement: Settlement, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    [entries] = in_parcels(4)
    settlement.released(entries)
    finish(settlement, *entries[:2])
    await settlement.settle()
    assert outbox.single == []
    monkeypatch.setattr("broker.notify.settling._PARTLY_AFTER", 0.0)
    await settlement.settle()
    assert outbox.single == [one.id for one in entries[:2]]
    finish(settlement, *entries[2:])
    await settlement.settle()
    assert outbox.parcels == [parcel_of(entries[0].id)]


async def test_at_the_end_everything_that_is_finished_leaves(settlement: Settlement, outbox: Outbox) -> None:
    [entries] = in_parcels(2)
    settlement.released(entries)
    finish(settlement, entries[0])
    await settlement.settle(everything=True)
    assert outbox.single == [entries[0].id]


async def test_what_another_process_stored_leaves_one_by_one(settlement: Settlement, outbox: Outbox) -> None:
    [entries] = in_parcels(2)
    finish(settlement, *entries)
    await settlement.settle()
    assert (outbox.parcels, outbox.single) == ([], [one.id for one in entries])


async def test_what_cannot_leave_yet_is_tried_again(settlement: Settlement, outbox: Outbox) -> None:
    mine, inherited = in_parcels(2, 1)
    settlement.released(mine)
    finish(settlement, *mine, *inherited)
    outbox.lost = True
    with pytest.raises(Unavailable):
        await settlement.settle()
    outbox.lost = False
    await settlement.settle()
    await settlement.settle()
    assert (outbox.parcels, outbox.single) == ([parcel_of(mine[0].id)], [inherited[0].id])
