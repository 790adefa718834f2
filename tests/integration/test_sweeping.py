"""Expiry in the committer and in sweeps, over a real MongoDB, with a clock that tests set (clause 4.22)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from broker.core.entities import EntityOperations, Target
from broker.core.sweeping import Sweeper
from broker.ngsild.errors import AlreadyExists, NgsiLdError, ResourceNotFound, Unavailable
from broker.ngsild.expiry import MARK
from broker.ngsild.model import Entity
from broker.storage.client import Mongo
from broker.storage.entities import Writes
from broker.storage.reads import Reads
from tests.integration.committing import Node, create, entity_id, update, value_of
from tests.unit.ngsild.samples import key
from tests.unit.notify.samples import until

SOON, FAR, PAST = "2090-01-01T00:00:00Z", "2095-01-01T00:00:00Z", "2001-01-01T00:00:00Z"
THEN = "2090-01-01T00:00:00.000001Z"


class Clock:
    """The time as committer, queries and sweeper see it."""

    def __init__(self) -> None:
        self.now = "2080-01-01T00:00:00.000000Z"

    def __call__(self) -> str:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    set_clock = Clock()
    for module in ("commit.group", "core.entities", "core.sweeping"):
        monkeypatch.setattr(f"broker.{module}.now_text", set_clock)
    return set_clock


@pytest.fixture
async def mongo(mongo_uri: str, database_name: str) -> AsyncIterator[Mongo]:
    connected = await Mongo.connect(mongo_uri, database=database_name)
    yield connected
    await connected.close()


@pytest.fixture
async def node(mongo: Mongo, clock: Clock) -> Node:
    return await Node(mongo).start()


@pytest.fixture
async def other(mongo: Mongo, clock: Clock) -> Node:
    return await Node(mongo, "p2").start()


def sweeper(node: Node, interval: float = 3600) -> Sweeper:
    return Sweeper(node.committer, node.store, node.tenants, interval=interval)


def until_soon(value: int) -> dict[str, object]:
    """A Property that expires SOON."""
    return {"type": "Property", "value": value, "expiresAt": SOON}


def told(node: Node) -> list[tuple[Entity | None, Entity | None]]:
    """The changes that were matched against subscriptions, since the last call."""
    changes = [(change.before, change.after) for change in node.recorder.changes]
    node.recorder.changes.clear()
    return changes


async def refused(node: Node, number: int = 1) -> NgsiLdError:
    (outcome,) = await node.run(update(number, a=5))
    assert isinstance(outcome, NgsiLdError)
    return outcome


class TestWrites:
    async def test_an_expired_entity_does_not_exist_and_its_id_is_free(self, node: Node, clock: Clock) -> None:
        await node.run(create(a=1, expiresAt=SOON))
        (early,) = await node.run(create(b=1))
        assert isinstance(early, AlreadyExists)
        before = await node.stored()
        told(node)
        clock.now = THEN
        assert await node.run(create(b=1)) == [None]
        stored = await node.stored()
        assert stored is not None
        assert before is not None
        assert stored["version"] == before["version"] + 1
        assert (value_of(stored, "a"), value_of(stored, "b"), "expiresAt" in stored) == (0, 1, False)
        (ended, begun) = told(node)
        assert (value_of(ended[0], "a"), ended[1]) == (1, None)
        assert (begun[0], value_of(begun[1], "b")) == (None, 1)
        node.recorder.assert_all_released()

    async def test_a_refused_update_of_an_expired_entity_takes_it_out_of_storage(
        self, node: Node, clock: Clock
    ) -> None:
        await node.run(create(a=1, expiresAt=SOON))
        told(node)
        clock.now = THEN
        assert isinstance(await refused(node), ResourceNotFound)
        assert await node.stored() is None
        ((_, after),) = told(node)
        assert after is None
        assert isinstance(await refused(node), ResourceNotFound)
        assert told(node) == []

    async def test_an_expired_attribute_is_absent_for_an_update_and_goes_with_it(
        self, node: Node, clock: Clock
    ) -> None:
        await node.run(create(a=until_soon(1), b=2))
        told(node)
        clock.now = THEN
        await node.run(update(b=3))
        stored = await node.stored()
        assert stored is not None
        assert stored["attributes"].keys() == {key("b")}
        assert MARK not in stored
        ended, updated = told(node)
        assert ended[0] is not None
        assert ended[0]["attributes"].keys() == {key("a"), key("b")}
        for entity in (ended[1], *updated):
            assert entity is not None
            assert entity["attributes"].keys() == {key("b")}
        assert node.cache.get("", entity_id()) == stored

    async def test_what_is_created_expired_is_never_stored(self, node: Node) -> None:
        assert await node.run(create(a=1, expiresAt=PAST)) == [None]
        assert await node.stored() is None
        assert told(node) == []
        assert await node.run(create(a={"value": 1, "expiresAt": PAST}, b=2)) == [None]
        ((_, after),) = told(node)
        stored = await node.stored()
        for entity in (stored, after):
            assert entity is not None
            assert entity["attributes"].keys() == {key("b")}

    async def test_an_expiry_in_the_past_ends_an_entity_at_once(self, node: Node) -> None:
        await node.run(create(a=1), update(b=2))
        told(node)
        assert not isinstance((await node.run(update(expiresAt=PAST)))[0], NgsiLdError)
        assert await node.stored() is None
        ((before, after),) = told(node)
        assert (value_of(before, "b"), after) == (2, None)

    async def test_mutations_of_one_group_do_not_see_what_ended_in_it(self, node: Node) -> None:
        _, second = await node.run(create(a=1, expiresAt=PAST), update(a=2))
        assert isinstance(second, ResourceNotFound)
        assert await node.stored() is None

    async def test_an_expiry_that_a_whole_replacement_leaves_out_is_gone(self, node: Node, clock: Clock) -> None:
        await node.run(create(a=until_soon(1)))
        await node.run(update(a=2))
        clock.now = THEN
        assert await node.value("a") == 2
        await node.run(update(b=1))
        assert await node.value("a") == 2

    async def test_a_lost_race_against_a_longer_life_ends_nothing(self, node: Node, other: Node, clock: Clock) -> None:
        await node.run(create(a=1, expiresAt=SOON))
        told(node)
        clock.now = THEN

        async def prolong(_writes: Writes) -> None:
            clock.now = "2080-01-01T00:00:00.000000Z"
            await other.run(update(expiresAt=FAR))
            clock.now = THEN

        node.store.interfere = prolong
        await sweeper(node).sweep()
        assert await node.value("a") == 1
        assert node.recorder.lost_races == 1
        assert len(node.recorder.released) == 1  # that of the creation
        node.recorder.assert_all_released()


class TestSweeps:
    async def test_a_sweep_removes_what_has_expired_and_changes_nothing_else(self, node: Node, clock: Clock) -> None:
        await node.run(
            create(1, a=1, expiresAt=SOON),
            create(2, a=until_soon(1), b={"value": 2, "sub": until_soon(3)}, c={"value": 4, "expiresAt": FAR}),
            create(3, a={"value": 1, "expiresAt": FAR}),
        )
        clock.now = THEN
        no_queries: Any = None
        operations = EntityOperations(node.committer, no_queries, Reads(node.tenants), node.tenants)
        answered = (await operations.retrieve(Target("", entity_id(2)))).visible(THEN)
        assert answered is not None
        third = await node.stored(3)
        told(node)
        await sweeper(node).sweep()
        assert await node.stored(1) is None
        second = await node.stored(2)
        assert second is not None
        assert second["attributes"].keys() == {key("b"), key("c")}
        for member in ("types", "attributes", "createdAt", "modifiedAt", MARK):
            assert second[member] == answered[member]
        assert await node.stored(3) == third
        assert {before["_id"] for before, _ in told(node) if before is not None} == {entity_id(1), entity_id(2)}
        node.recorder.assert_all_released()

    async def test_sweeps_at_once_notify_once(self, node: Node, other: Node, clock: Clock) -> None:
        await node.run(*(create(number, a=until_soon(1), b=2) for number in range(50)))
        for one in (node, other):
            one.recorder.released.clear()
            one.recorder.kept.clear()
        clock.now = THEN
        await asyncio.gather(sweeper(node).sweep(), sweeper(other).sweep())
        released = [one.entity_id for one in (*node.recorder.released, *other.recorder.released)]
        assert sorted(released) == sorted(entity_id(number) for number in range(50))
        for number in range(50):
            stored = await node.stored(number)
            assert stored is not None
            assert key("a") not in stored["attributes"]

    async def test_a_stale_cache_hides_nothing_from_a_sweep(self, node: Node, other: Node, clock: Clock) -> None:
        await node.run(create(b=1))
        await other.run(update(a=until_soon(1)))
        clock.now = THEN
        await sweeper(node).sweep()
        stored = await node.stored()
        assert stored is not None
        assert stored["attributes"].keys() == {key("b")}

    async def test_more_than_one_page_is_swept(self, node: Node, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("broker.core.sweeping._PAGE", 10)
        await node.run(*(create(number, a=1, expiresAt=SOON) for number in range(35)))
        clock.now = THEN
        await sweeper(node).sweep()
        assert await node.store.load("", [entity_id(number) for number in range(35)]) == {}

    async def test_a_tenant_in_which_nothing_expires_is_not_looked_into(
        self, node: Node, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked: list[str] = []

        async def expired(tenant: str, _now: str, _limit: int) -> list[str]:
            looked.append(tenant)
            return []

        monkeypatch.setattr(node.store, "expired", expired)
        await node.tenants.ensure("madrid")
        await node.committer.submit("madrid", *create(a=1))
        await sweeper(node).sweep()
        assert looked == []
        await node.committer.submit("madrid", *update(a=until_soon(1)))
        await sweeper(node).sweep()
        assert looked == ["madrid"]

    async def test_sweeps_go_on_after_one_that_failed(self, node: Node, clock: Clock) -> None:
        await node.run(create(a=1, expiresAt=SOON))
        clock.now = THEN
        tries = 0
        submit_many = node.committer.submit_many

        class Flaky:
            async def submit_many(self, *arguments: object, **more: object) -> object:
                nonlocal tries
                tries += 1
                if tries == 1:
                    raise Unavailable("Too many updates wait.")
                return await submit_many(*arguments, **more)  # type: ignore[arg-type]

        sweeping = Sweeper(Flaky(), node.store, node.tenants, interval=0.01)  # type: ignore[arg-type]
        sweeping.start()

        async def swept() -> bool:
            return await node.stored() is None

        await until(swept)
        await sweeping.stop()
        assert tries >= 2
