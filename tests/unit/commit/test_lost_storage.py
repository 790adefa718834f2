"""The committer when the storage goes away: who is told what, what is settled later, and what is believed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from bson import ObjectId

from broker.commit import committer as committers
from broker.commit import group
from broker.commit.cache import EntityCache
from broker.commit.census import Census
from broker.commit.committer import Committer, Limits
from broker.commit.evidence import Attempt, landed
from broker.commit.group import GroupServices, OutcomeUnknown
from broker.ngsild.changes import Change
from broker.ngsild.errors import Unavailable
from broker.ngsild.model import Entity
from broker.notify.owed import Owed, Parcel
from broker.storage.client import Election
from broker.storage.entities import WriteReport, Writes
from tests.unit.commit.memory_census import MemoryCensus
from tests.unit.notify.samples import owed, until

ME = "me"
E1, E2 = "urn:e:1", "urn:e:2"


class Storage:
    """Entities and outbox in memory. While `away`, nothing answers.

    With `leaves` it goes away in the next write, which lands if `keeps`.
    """

    def __init__(self) -> None:
        self.entities: dict[str, Entity] = {}
        self.outbox: dict[str, Owed] = {}
        self.away = self.leaves = self.keeps = False
        self.barriers = 0
        self.primary: Election | None = ObjectId()

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("The storage is away.")

    async def load(self, tenant: str, ids: Sequence[str]) -> dict[str, Entity]:
        self._answer()
        return {one: self.entities[one] for one in ids if one in self.entities}

    async def write(self, tenant: str, writes: Writes) -> WriteReport:
        self.away = self.away or self.leaves
        if not self.away or (self.leaves and self.keeps):
            self.entities.update((one["_id"], one) for one in writes.inserts)
        self.leaves = False
        self._answer()
        return WriteReport(elections={self.primary})

    async def barrier(self, tenant: str) -> None:
        self._answer()
        self.barriers += 1

    async def insert(self, owed: Sequence[Owed]) -> Election | None:
        self._answer()
        self.outbox.update((one.id, one) for one in owed)
        return self.primary

    async def discard(self, owed: Sequence[Owed]) -> None:
        self._answer()
        for one in owed:
            self.outbox.pop(one.id, None)


class Subscribed:
    """A subscription to everything."""

    def __init__(self) -> None:
        self.released: list[Owed] = []

    def check(self, change: Change) -> None:
        pass

    def match(self, change: Change, parcel: Parcel) -> list[Owed]:
        return [owed(change.entity_id, process=ME, commit=parcel.commit, id=parcel.next_id(0))]

    def release(self, owed: Sequence[Owed]) -> None:
        self.released.extend(owed)

    def group(self, mutations: int) -> None:
        pass

    def conflicts(self, entities: int) -> None:
        pass


@pytest.fixture
def storage() -> Storage:
    return Storage()


@pytest.fixture
def subscribed() -> Subscribed:
    return Subscribed()


@pytest.fixture
async def committer(
    storage: Storage, subscribed: Subscribed, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Committer]:
    monkeypatch.setattr(group, "_PATIENCE", 0.05)
    monkeypatch.setattr(committers, "_LOOK_AGAIN", 0.01)
    anything: Any = storage
    services = GroupServices(
        store=anything,
        cache=EntityCache(1 << 20),
        checker=subscribed,
        notifier=subscribed,
        outbox=storage,
        metrics=subscribed,
        census=Census(MemoryCensus(), ME),
        process=ME,
    )
    yield (made := Committer(services, Limits(group_max=1, groups_in_flight=1)))
    storage.away = False
    assert await made.drain(5)
    assert made.queued == 0
    assert made._lanes == {}


def creation(entity_id: str) -> Any:
    def mutation(before: Entity | None, now: str) -> tuple[Entity | None, bool]:
        if before is not None:
            return before, False
        return {"_id": entity_id, "types": ["urn:T"], "attributes": {}, "createdAt": now, "modifiedAt": now}, True

    return mutation


async def lose_during(committer: Committer, storage: Storage, *, keeps: bool) -> None:
    """Create E1 while the storage goes away in the middle of the write."""
    storage.leaves, storage.keeps = True, keeps
    with pytest.raises(OutcomeUnknown):
        await committer.submit("", E1, creation(E1))


async def test_a_change_in_doubt_that_landed_is_notified_when_the_storage_is_back(
    committer: Committer, storage: Storage, subscribed: Subscribed
) -> None:
    await lose_during(committer, storage, keeps=True)
    assert subscribed.released == []

    storage.away = False

    async def released() -> bool:
        return bool(subscribed.released)

    await until(released)
    assert [one.entity_id for one in subscribed.released] == [E1]
    assert {one.id for one in subscribed.released} == storage.outbox.keys()


async def test_a_change_in_doubt_that_never_landed_is_not_notified(
    committer: Committer, storage: Storage, subscribed: Subscribed
) -> None:
    await lose_during(committer, storage, keeps=False)
    storage.outbox["urn:n:1"] = owed(E2)

    storage.away = False

    assert await committer.drain(5)
    assert subscribed.released == []
    assert storage.outbox.keys() == {"urn:n:1"}, "what others owe is left alone"


async def test_an_update_of_an_entity_in_doubt_waits_while_the_storage_comes_back(
    committer: Committer, storage: Storage, subscribed: Subscribed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committers, "_LOOK_AGAIN", 0.1)
    await lose_during(committer, storage, keeps=True)
    await asyncio.sleep(0)  # the first look finds the storage away
    waiting = asyncio.create_task(committer.submit("", E1, creation(E1)))
    storage.away = False

    assert await waiting is False, "it had been created"
    assert [one.entity_id for one in subscribed.released] == [E1]


async def test_an_entity_in_doubt_takes_no_updates_until_the_doubt_is_resolved(
    committer: Committer, storage: Storage, subscribed: Subscribed
) -> None:
    await lose_during(committer, storage, keeps=True)

    with pytest.raises(Unavailable, match="nothing was changed"):
        await committer.submit("", E1, creation(E1))

    storage.away = False
    assert await committer.drain(5)
    assert await committer.submit("", E1, creation(E1)) is False, "it had been created"
    assert await committer.submit("", E2, creation(E2)) is True


async def test_who_waits_behind_a_group_that_gave_up_on_the_storage_is_refused_with_it(
    committer: Committer, storage: Storage
) -> None:
    storage.away = True
    outcomes = committer.submit_many("", [(f"urn:e:{number}", creation(f"urn:e:{number}")) for number in range(50)])

    async with asyncio.timeout(0.05 * 10):  # each group of its own would take 50 times 0.05 s
        assert all(isinstance(outcome, Unavailable) for outcome in await outcomes)


async def test_notifications_placed_on_another_primary_than_the_change_are_secured_before_it_is_acknowledged(
    committer: Committer, storage: Storage
) -> None:
    await committer.submit("", E1, creation(E1))
    assert storage.barriers == 0, "the change vouches for what was placed before it on the same primary"

    write = storage.write

    async def after_an_election(tenant: str, writes: Writes) -> WriteReport:
        storage.primary = ObjectId()
        storage.outbox.clear()
        return await write(tenant, writes)

    storage.write = after_an_election  # type: ignore[method-assign]
    await committer.submit("", E2, creation(E2))

    assert storage.barriers == 1
    assert [one.entity_id for one in storage.outbox.values()] == [E2]


async def test_what_mongodb_forgot_in_a_crash_after_it_was_read_has_not_landed() -> None:
    storage = Storage()
    storage.entities[E1] = {"_id": E1, "writers": {ME: 7}}
    storage.entities[E2] = {"_id": E2, "writers": {ME: 7}}

    class Crashing(Storage):
        async def barrier(self, tenant: str) -> None:
            await super().barrier(tenant)
            if self.barriers == 1:
                self.entities[E1] = {"_id": E1, "writers": {ME: 6}}

    crashing = Crashing()
    crashing.entities = storage.entities
    attempt = Attempt(ME, 7, {}, frozenset())

    assert (await landed(crashing, "", [E1, E2], attempt, answer_lost=True)).keys() == {E2}
    assert crashing.barriers == 2


async def test_a_deletion_has_landed_when_the_entity_is_gone() -> None:
    storage = Storage()
    storage.entities[E2] = {"_id": E2, "writers": {ME: 6, "other": 9}}
    attempt = Attempt(ME, 7, {}, frozenset({E1, E2}))

    assert await landed(storage, "", [E1, E2], attempt, answer_lost=True) == {E1: None}
