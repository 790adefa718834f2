"""The committer over a real MongoDB: order, groups, races, lost answers, notifications, refusals, bounds."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from broker.commit.committer import Limits
from broker.commit.group import Checks
from broker.ngsild.attribute_mutations import DeleteAttribute
from broker.ngsild.errors import (
    AlreadyExists,
    BadRequestData,
    InternalError,
    NonexistentTenant,
    Overloaded,
    PayloadTooLarge,
    ResourceNotFound,
    Unavailable,
)
from broker.ngsild.model import Entity
from broker.ngsild.mutations import DeleteEntity, Mutation, UpsertEntity
from broker.ngsild.values import MAX_DEPTH
from broker.storage.client import Mongo
from broker.storage.entities import EntityStore, Writes
from broker.validation.checker import Checker
from broker.validation.policies import Policies, Policy
from tests.integration.committing import (
    Node,
    create,
    entity_id,
    increment,
    record,
    update,
    value_of,
)
from tests.integration.cut_line import INSERT_OF_ENTITIES, UPDATE_OF_ENTITIES, Cut, cut_line
from tests.unit.ngsild.samples import fragment, key
from tests.unit.notify.samples import until
from tests.unit.validation.stored import model
from tests.unit.validation.test_checker import Counted, Known

MEBIBYTE = 1 << 20
CROSSED = {"type": "Polygon", "coordinates": [[[0, 50], [100, 50], [100, 52], [50, 53], [0, 52], [0, 50]]]}
"""A polygon in the plane, whose edges cross on the globe."""
Start = Callable[..., Awaitable[Node]]


@pytest.fixture
async def mongo(mongo_uri: str, database_name: str) -> AsyncIterator[Mongo]:
    connected = await Mongo.connect(mongo_uri, database=database_name)
    yield connected
    await connected.close()


@pytest.fixture
async def start(mongo: Mongo) -> AsyncIterator[Start]:
    """A function that starts a broker process over the same MongoDB."""
    nodes: list[Node] = []

    async def start_one(process: str = "p1", over: Mongo = mongo, checker: Checks | None = None, **limits: int) -> Node:
        node = await Node(over, process, Limits(**limits), checker=checker).start()
        nodes.append(node)
        return node

    yield start_one
    for node in nodes:
        assert await node.committer.drain(5)
        assert node.committer.queued == 0
        assert node.committer._lanes == {}


@pytest.fixture
async def node(start: Start) -> Node:
    return await start()


def delete(number: int = 1) -> tuple[str, Mutation]:
    return entity_id(number), DeleteEntity(entity_id(number))


def versions(writes: Writes) -> list[int]:
    return [statement["arrayFilters"][0]["s.version"] for statement in writes.updates]


class TestOrderAndGroups:
    async def test_updates_of_an_entity_apply_in_the_order_in_which_they_were_submitted(self, node: Node) -> None:
        await node.run(*(create(number) for number in range(3)))
        submissions = [record("log", step, step % 3) for step in range(300)]
        tasks = []
        for step, (name, mutation) in enumerate(submissions):
            tasks.append(asyncio.create_task(node.committer.submit("", name, mutation)))
            if step % 40 == 0:
                await asyncio.sleep(0.002)
        await asyncio.gather(*tasks)
        for number in range(3):
            assert await node.value("log", number) == list(range(number, 300, 3))

    async def test_updates_of_an_entity_in_one_group_cost_one_write(self, node: Node) -> None:
        await node.run(create())
        node.store.writes.clear()
        assert await node.race(*(increment("n") for _ in range(50))) == list(range(1, 51))
        assert [len(writes.updates) for writes in node.store.writes] == [1]
        assert await node.value("n") == 50

    async def test_what_arrives_together_is_committed_together(self, node: Node) -> None:
        await node.race(*(create(number) for number in range(20)))
        assert [len(writes.inserts) for writes in node.store.writes] == [20]

    async def test_while_one_half_is_stored_there_is_another_to_go_on_with(self, node: Node) -> None:
        await node.race(*(create(number) for number in range(100)))
        assert [len(writes.inserts) for writes in node.store.writes] == [50, 50]

    async def test_the_mutations_of_a_batch_see_each_other_in_order(self, node: Node) -> None:
        outcomes = await node.run(
            create(a=1), create(a=2), increment("a"), delete(), update(a=5), delete(), create(a=7), increment("a")
        )
        created, again, incremented, deleted, updated, gone, recreated, last = outcomes
        assert (created, deleted, recreated) == (None, None, None)
        assert (incremented, last) == (2, 8)
        assert isinstance(again, AlreadyExists)
        assert isinstance(updated, ResourceNotFound)
        assert isinstance(gone, ResourceNotFound)
        assert await node.value("a") == 8

    async def test_the_outcomes_of_a_batch_are_in_its_order(self, start: Start) -> None:
        node = await start(group_max=7)
        assert await node.run(*(create(number) for number in range(40))) == [None] * 40
        outcomes = await node.run(*(increment("n", number % 8) for number in range(40)))
        assert outcomes == [number // 8 + 1 for number in range(40)]

    async def test_an_empty_batch_has_no_outcomes(self, node: Node) -> None:
        assert await node.run() == []

    async def test_groups_are_bounded_by_count_and_by_bytes(self, start: Start) -> None:
        node = await start(group_max=10)
        await node.race(*(create(number) for number in range(35)))
        assert sum(len(writes.inserts) for writes in node.store.writes) == 35
        assert max(len(writes.inserts) for writes in node.store.writes) == 10
        node = await start("p2", group_bytes=1000)
        await asyncio.gather(
            *(node.committer.submit("", name, mutation, 300) for name, mutation in map(create, range(100, 120)))
        )
        assert max(len(writes.inserts) for writes in node.store.writes) == 4

    async def test_all_kinds_of_statements_go_into_one_group(self, node: Node) -> None:
        await node.run(create(1), create(2))
        node.store.writes.clear()
        await node.race(update(1, a=1), delete(2), create(3))
        (writes,) = node.store.writes
        assert (writes.updated, writes.deleted, writes.inserted) == ([entity_id(1)], [entity_id(2)], [entity_id(3)])
        assert await node.stored(2) is None

    async def test_the_cache_holds_what_is_stored(self, node: Node) -> None:
        await node.run(create(a=1, scope="/a"), create(2, b={"x.y": [1, 1.0, None]}))
        await node.run(update(a=2, b={"value": 1, "sub": 2}, location={"type": "Point", "coordinates": [1, 2, 3]}))
        await node.run(update(expiresAt="2090-01-01T00:00:00Z"), increment("a"))
        node.store.loads = 0
        for number in (1, 2):
            cached = node.cache.get("", entity_id(number))
            assert cached is not None
            assert repr(cached["attributes"]) == repr((await node.stored(number) or {})["attributes"])
            assert cached == await node.stored(number)

    async def test_a_cached_entity_is_not_read_again(self, node: Node) -> None:
        await node.run(create())
        node.store.loads = 0
        for expected in (1, 2, 3):
            assert await node.run(increment("n")) == [expected]
        assert node.store.loads == 0

    async def test_a_caller_that_goes_away_does_not_stop_its_update(self, node: Node) -> None:
        await node.run(create())
        task = asyncio.create_task(node.committer.submit("", *increment("n")))
        other = asyncio.create_task(node.committer.submit("", *increment("n")))
        await asyncio.sleep(0)
        task.cancel()
        assert await other == 2
        assert await node.value("n") == 2

    async def test_a_tenant_that_does_not_exist_refuses_everything(self, node: Node) -> None:
        outcomes = await node.committer.submit_many("nobody", [create(), create(2)])
        assert all(isinstance(outcome, NonexistentTenant) for outcome in outcomes)

    async def test_tenants_have_entities_of_their_own(self, node: Node) -> None:
        await node.tenants.ensure("madrid")
        await asyncio.gather(node.committer.submit("", *create(a=1)), node.committer.submit("madrid", *create(a=2)))
        assert await node.value("a") == 1
        found = await node.store.load("madrid", [entity_id()])
        assert value_of(found[entity_id()], "a") == 2


@pytest.mark.parametrize("driver", ["pymongo", "motor"])
async def test_both_drivers_store_the_same(start: Start, mongo_uri: str, database_name: str, driver: str) -> None:
    if driver == "motor":
        pytest.importorskip("motor")
    over = await Mongo.connect(mongo_uri, driver_name=driver, database=database_name)
    node = await start("p1", over)
    value = {"a.b": [1, 1.0, -(2**63), "\0💚", None, {"$": True}]}
    assert await node.run(create(1, a=value), create(2), create(3, location=CROSSED))
    assert await node.run(increment("n"), delete(2), create(1), increment("n")) is not None
    assert repr(await node.value("a")) == repr({"a%2Eb": [1, 1.0, -(2**63), "\0💚", None, {"%24": True}]})
    assert await node.value("n") == 2
    assert [await node.stored(number) for number in (2, 3)] == [None, None]
    node.store.lose_answer(landed=True)
    assert await node.run(increment("n")) == [3]
    node.recorder.assert_all_released()
    await over.close()


class TestRefusals:
    async def test_a_refused_update_leaves_the_others_of_its_group_alone(self, node: Node) -> None:
        await node.run(create(), create(2))
        outcomes = await node.run(increment("n"), update(forbidden=True), increment("n"), increment("n", 2), create(2))
        assert [outcomes[0], outcomes[2], outcomes[3]] == [1, 2, 1]
        assert isinstance(outcomes[1], BadRequestData)
        assert isinstance(outcomes[4], AlreadyExists)
        assert await node.value("n") == 2
        assert await node.value("forbidden") == 0

    async def test_a_mutation_that_fails_unexpectedly_fails_alone(self, node: Node) -> None:
        def broken(before: Entity | None, now: str) -> tuple[Entity | None, Any]:
            raise ZeroDivisionError("the secret of the failure")

        await node.run(create(), create(2))
        outcomes = await node.run(increment("n"), (entity_id(), broken), increment("n"), increment("n", 2))
        assert [outcomes[0], outcomes[2], outcomes[3]] == [1, 2, 1]
        assert isinstance(outcomes[1], InternalError)
        assert "secret" not in outcomes[1].detail
        assert await node.value("n") == 2

    async def test_an_entity_that_is_too_large_is_refused_alone(self, node: Node) -> None:
        await node.run(create(1))
        outcomes = await node.run(
            increment("n"), create(2, text="x" * (17 * MEBIBYTE)), create(3), delete(4), increment("n")
        )
        assert outcomes[:1] + outcomes[2:3] + outcomes[4:] == [1, None, 2]
        assert isinstance(outcomes[1], PayloadTooLarge)
        assert isinstance(outcomes[3], ResourceNotFound)
        assert await node.value("n") == 2
        assert await node.stored(2) is None
        assert await node.stored(3) is not None
        assert set(node.recorder.kept) == {one.id for one in node.recorder.released}

    async def test_an_entity_just_beyond_what_mongodb_keeps_is_refused_alone(self, node: Node) -> None:
        outcomes = await node.run(
            create(1, text="x" * (16 * MEBIBYTE)), create(2), create(3, text="x" * (16 * MEBIBYTE - 999))
        )
        assert isinstance(outcomes[0], PayloadTooLarge)
        assert outcomes[1:] == [None, None]

    async def test_an_entity_that_grows_too_large_keeps_its_state_and_the_other_updates_of_its_group(
        self, node: Node
    ) -> None:
        await node.run(create(a="x" * (9 * MEBIBYTE)), create(2))
        outcomes = await node.run(increment("n"), update(b="y" * (9 * MEBIBYTE)), increment("n"), increment("n", 2))
        assert [outcomes[0], outcomes[2], outcomes[3]] == [1, 2, 1]
        assert isinstance(outcomes[1], PayloadTooLarge)
        assert await node.value("n") == 2
        assert await node.value("b") == 0
        assert len(await node.value("a")) == 9 * MEBIBYTE
        node.recorder.assert_all_released()

    async def test_a_group_larger_than_one_command_is_stored_in_parts(self, node: Node) -> None:
        assert await node.run(*(create(number, a="x" * (5 * MEBIBYTE)) for number in range(4))) == [None] * 4
        assert await node.run(*(update(number, a=[1] * 400_000) for number in range(4)))
        assert [len(await node.value("a", number)) for number in range(4)] == [400_000] * 4
        node.recorder.assert_all_released()

    async def test_a_geometry_that_only_mongodb_rejects_is_refused_alone(self, node: Node) -> None:
        await node.run(create(1), create(2))
        outcomes = await node.run(
            update(1, n=1), update(1, location=CROSSED), update(1, m=1), create(3, location=CROSSED), update(2, n=1)
        )
        assert isinstance(outcomes[1], BadRequestData)
        assert isinstance(outcomes[3], BadRequestData)
        assert "Edges 0 and 2 cross" in outcomes[1].detail
        assert [await node.value("n", number) for number in (1, 2)] == [1, 1]
        assert await node.value("m") == 1
        assert await node.stored(3) is None

    async def test_an_entity_nested_to_the_limit_is_stored_and_written_in_every_way(self, node: Node) -> None:
        def nested(levels: int) -> Any:
            value: Any = 1
            for _ in range(levels):
                value = {"k": value}
            return value

        deepest = nested(MAX_DEPTH - 5)
        sub: Any = {"languageMap": {"en": ["x"]}}
        for _ in range(48):
            sub = {"value": 1, "sub": sub}
        assert await node.run(create(a=deepest, b=sub)) == [None]
        await node.run(update(a=deepest, b=sub))
        await node.run(update(a=deepest, b=sub, expiresAt="2090-01-01T00:00:00Z"))
        node.cache.drop("", entity_id())
        await node.run(increment("n"))
        assert await node.value("a") == deepest


class TestRaces:
    async def test_concurrent_writers_in_two_processes_lose_nothing_and_see_no_conflict(self, start: Start) -> None:
        nodes = [await start("p1"), await start("p2")]
        entities, agents, rounds = 4, 20, 5
        await nodes[0].run(*(create(number) for number in range(entities)))

        async def agent(number: int) -> list[Any]:
            own = nodes[number % 2].committer
            return [
                await own.submit("", *increment(f"of{number}", target))
                for _ in range(rounds)
                for target in range(entities)
            ]

        counted = await asyncio.gather(*(agent(number) for number in range(agents)))
        for seen in counted:
            assert seen == [step for step in range(1, rounds + 1) for _ in range(entities)]
        for target in range(entities):
            stored = await nodes[0].stored(target)
            assert [value_of(stored, f"of{number}") for number in range(agents)] == [rounds] * agents
        assert sum(one.recorder.lost_races for one in nodes) > 0
        for one in nodes:
            one.recorder.assert_all_released()
            assert len(one.recorder.released) == agents // 2 * rounds * entities + (entities if one is nodes[0] else 0)

    @pytest.mark.parametrize("policy", [Policy.WARN, Policy.ENFORCE])
    async def test_a_violation_counts_once_however_often_it_lost_a_race(self, start: Start, policy: Policy) -> None:
        own, counted = model({"properties": {"wrong": {"not": {}}}}), Counted()
        checker = Checker(Known({own.iri: own}, Policies(policy)), counted)
        nodes = [await start("p1", checker=checker), await start("p2", checker=checker)]
        await nodes[0].run(create(1), create(2))

        async def agent(number: int) -> list[Any]:
            node, steps = nodes[number % 2], range(10)
            return [await node.race(increment(f"of{number}"), update(2, wrong=[number, step])) for step in steps]

        outcomes = await asyncio.gather(*(agent(number) for number in range(10)))
        refused = [isinstance(second, BadRequestData) for seen in outcomes for _, second in seen]
        assert [[first for first, _ in seen] for seen in outcomes] == [list(range(1, 11))] * 10
        assert refused == [policy is Policy.ENFORCE] * 100
        assert sum(one.recorder.lost_races for one in nodes) > 0
        assert counted == [("", "Thing", "wrong", "not", policy)] * 100

    async def test_one_attribute_of_many_processes_counts_every_increment(self, start: Start) -> None:
        nodes = [await start(f"p{number}") for number in range(20)]
        await nodes[0].run(create())
        outcomes = await asyncio.gather(*(one.committer.submit("", *increment("n")) for one in nodes for _ in range(5)))
        assert sorted(outcomes) == list(range(1, 101))
        assert await nodes[0].value("n") == 100

    async def test_the_same_entity_created_at_once_in_two_processes_is_created_by_one(self, start: Start) -> None:
        nodes = [await start("p1"), await start("p2")]
        outcomes = await asyncio.gather(
            *(one.committer.submit("", *create(number)) for number in range(20) for one in nodes),
            return_exceptions=True,
        )
        for number in range(20):
            pair = outcomes[2 * number : 2 * number + 2]
            assert [isinstance(one, AlreadyExists) for one in pair].count(True) == 1
            assert pair.count(None) == 1

    async def test_upserts_of_a_new_entity_from_two_processes_all_succeed(self, start: Start) -> None:
        nodes = [await start("p1"), await start("p2")]

        def upsert(name: str) -> Mutation:
            return UpsertEntity(fragment({"id": entity_id(), "type": "Thing", name: 1}), update=True)

        created = await asyncio.gather(
            *(nodes[number % 2].committer.submit("", entity_id(), upsert(f"a{number}")) for number in range(20))
        )
        assert created.count(True) == 1
        stored = await nodes[0].stored()
        assert [value_of(stored, f"a{number}") for number in range(20)] == [1] * 20

    async def test_a_refusal_from_a_stale_cache_is_checked_against_the_database(self, start: Start) -> None:
        one, other = await start("p1"), await start("p2")
        await one.run(create(1, a=1), create(2), create(3))
        await other.run(delete(1), update(2, b=1), update(3, b=1))
        delete_b = [(entity_id(number), DeleteAttribute(entity_id(number), key("b"))) for number in (2, 3)]
        assert await one.run(create(1), *delete_b) == [None] * 3
        (refused,) = await other.run(delete_b[0])
        assert isinstance(refused, ResourceNotFound)

    async def test_a_read_from_a_stale_cache_never_becomes_a_write(self, start: Start) -> None:
        one, other = await start("p1"), await start("p2")
        await one.run(create())
        assert await other.run(increment("n"), increment("n")) == [1, 2]
        assert await one.run(increment("n")) == [3]
        assert one.recorder.lost_races == 1

    async def test_an_entity_that_was_deleted_and_created_again_elsewhere_is_read_again(self, start: Start) -> None:
        one, other = await start("p1"), await start("p2")
        await one.run(create(a=1))
        await other.run(delete())
        await other.run(create(b=1))
        assert await one.run(increment("n")) == [1]
        stored = await one.stored()
        assert (value_of(stored, "a"), value_of(stored, "b")) == (0, 1)

    async def test_a_deletion_that_loses_its_race_deletes_the_newer_entity(self, start: Start) -> None:
        one, other = await start("p1"), await start("p2")
        await one.run(create())
        await other.run(increment("n"))
        assert await one.run(delete()) == [None]
        assert await one.stored() is None
        assert value_of(one.recorder.changes[-1].before, "n") == 1


class TestNotifications:
    async def test_a_change_is_stored_after_its_notification_is_placed_and_notified_after_both(
        self, node: Node
    ) -> None:
        await node.run(create())
        asked, placed = asyncio.Event(), asyncio.Event()

        async def place() -> None:
            asked.set()
            await placed.wait()

        node.recorder.before_insert = place
        task = asyncio.create_task(node.committer.submit("", *increment("n")))
        await asked.wait()
        released = len(node.recorder.released)
        assert await node.value("n") == 0, "a crash now must not leave the change without its notification"
        assert not task.done()
        placed.set()
        assert await task == 1
        assert len(node.recorder.released) == released + 1
        node.recorder.assert_all_released()

    async def test_each_mutation_of_a_group_is_a_change_of_its_own(self, node: Node) -> None:
        await node.run(create(), increment("n"), increment("n"), delete())
        seen = [(change.before is None, change.after is None) for change in node.recorder.changes]
        assert seen == [(True, False), (False, False), (False, False), (False, True)]
        assert node.recorder.changes[0].after is node.recorder.changes[1].before
        node.recorder.assert_all_released()
        assert len(node.recorder.released) == 4

    async def test_an_entity_created_and_deleted_in_one_group_leaves_no_trace_but_its_notifications(
        self, node: Node
    ) -> None:
        stored = asyncio.Event()
        node.recorder.before_insert = stored.wait
        task = asyncio.create_task(node.run(create(), delete()))
        await asyncio.sleep(0.05)
        assert not task.done()
        stored.set()
        assert await task == [None, None]
        assert [name for name, _ in node.recorder.calls] == ["insert", "release"]
        assert len(node.recorder.released) == 2
        assert await node.stored() is None

    async def test_what_changes_nothing_owes_nothing(self, node: Node) -> None:
        await node.run(create())
        node.recorder.calls.clear()
        await node.run(create(), update(missing="urn:ngsi-ld:null"), update(forbidden=1))
        assert node.recorder.calls == []

    async def test_what_a_lost_race_owed_is_discarded_before_the_change_is_tried_again(self, start: Start) -> None:
        one, other = await start("p1"), await start("p2")
        await one.run(create(), create(2))
        one.recorder.calls.clear()

        async def overtake(_writes: Writes) -> None:
            await other.run(increment("n"))

        one.store.interfere = overtake
        assert await one.run(increment("n"), increment("n", 2)) == [2, 1]
        (first, lost), (then, void), (early, seen), (second, again), (last, found) = one.recorder.calls
        assert (first, then, early, second, last) == ("insert", "discard", "release", "insert", "release")
        assert void == lost[:1]
        assert seen == lost[1:]
        assert found == again
        assert len(again) == 1
        by_id = one.recorder.kept
        stored = await one.stored()
        assert stored is not None
        assert by_id[again[0]].commit == stored["writers"]["p1"]
        assert by_id[again[0]].commit > by_id[lost[1]].commit

    async def test_what_a_refused_statement_owed_is_discarded(self, node: Node) -> None:
        (outcome,) = await node.run(create(location=CROSSED))
        assert isinstance(outcome, BadRequestData)
        assert [name for name, _ in node.recorder.calls] == ["insert", "discard"]
        assert node.recorder.kept == {}

    async def test_the_commit_of_a_notification_is_found_in_its_entity(self, node: Node) -> None:
        await node.run(create(), create(2))
        await node.run(increment("n"), delete(2))
        for one in node.recorder.released:
            assert await node.store.landed("", one.entity_id, "p1", one.commit)
        commit = node.recorder.released[-1].commit
        assert not await node.store.landed("", entity_id(), "p1", commit + 1)
        assert not await node.store.landed("", entity_id(), "p2", 1)


class TestLostAnswers:
    @pytest.mark.parametrize("landed", [True, False])
    async def test_a_write_whose_answer_is_lost_is_applied_once(self, node: Node, landed: bool) -> None:
        await node.run(create(1), create(2), create(3))
        node.store.lose_answer(landed=landed)
        outcomes = await node.run(increment("n"), increment("n"), increment("n", 2), create(4, n=5), delete(3))
        assert outcomes == [1, 2, 1, None, None]
        assert [await node.value("n", number) for number in (1, 2, 4)] == [2, 1, 5]
        assert await node.stored(3) is None
        node.recorder.assert_all_released()
        assert await node.run(increment("n"), increment("n", 4)) == [3, 6]
        assert len(node.store.writes) == (3 if landed else 4)

    async def test_a_write_of_which_only_a_part_landed_is_completed(self, node: Node) -> None:
        await node.run(*(create(number) for number in range(6)))

        async def half(writes: Writes) -> None:
            part = Writes(updates=writes.updates[::2], updated=writes.updated[::2])
            await EntityStore.write(node.store, "", part)
            raise Unavailable("The answer is lost.")

        node.store.interfere = half
        assert await node.run(*(increment("n", number) for number in range(6))) == [1] * 6
        assert [await node.value("n", number) for number in range(6)] == [1] * 6
        assert len(node.store.writes[-1].updates) == 3
        assert sorted(one.id for one in node.recorder.released) == sorted(node.recorder.kept)

    async def test_a_write_that_lands_while_it_is_repeated_is_applied_once(self, node: Node) -> None:
        await node.run(create(1), create(3))
        node.store.land_late()
        assert await node.run(increment("n"), create(2, n=5), delete(3)) == [1, None, None]
        assert [await node.value("n"), await node.value("n", 2)] == [1, 5]
        assert await node.stored(3) is None
        for number in (1, 2):
            stored = await node.stored(number)
            assert stored is not None
            assert node.cache.get("", entity_id(number)) in (None, stored)
            commits = [one.commit for one in node.recorder.released if one.entity_id == entity_id(number)]
            assert commits[-1] == stored["writers"]["p1"]
        node.recorder.assert_all_released()
        assert await node.run(increment("n"), increment("n", 2)) == [2, 6]

    async def test_a_lost_write_overtaken_by_another_process_is_applied_on_top(self, start: Start) -> None:
        one, other = await start("p1"), await start("p2")
        await one.run(create())

        async def overtake_and_lose(_writes: Writes) -> None:
            await other.run(increment("n"))
            raise Unavailable("The answer is lost.")

        one.store.interfere = overtake_and_lose
        assert await one.run(increment("n")) == [2]
        assert await one.value("n") == 2
        one.recorder.assert_all_released()

    async def test_a_write_that_landed_is_recognised_after_another_process_wrote_too(self, start: Start) -> None:
        one, other = await start("p1"), await start("p2")
        await one.run(create())

        async def land_and_lose(writes: Writes) -> None:
            await EntityStore.write(one.store, "", writes)
            await other.run(increment("n"))
            raise Unavailable("The answer is lost.")

        one.store.interfere = land_and_lose
        assert await one.run(increment("n")) == [1]
        assert await one.value("n") == 2
        assert await one.run(increment("n")) == [3]

    @pytest.mark.parametrize("how", Cut)
    async def test_a_connection_that_breaks_during_an_update_loses_and_repeats_nothing(
        self, start: Start, mongo_uri: str, database_name: str, how: Cut
    ) -> None:
        async with cut_line(mongo_uri, delay=0.2) as line:
            over = await Mongo.connect(line.uri, database=database_name)
            node = await start("p1", over)
            await node.run(create(1), create(2))
            line.cut(UPDATE_OF_ENTITIES, how)
            assert await node.run(increment("n"), increment("n", 2), create(3)) == [1, 1, None]
            if how is Cut.LATE:
                await asyncio.wait_for(line.executed_late.wait(), 5)
            assert [await node.value("n", number) for number in (1, 2)] == [1, 1]
            line.cut(INSERT_OF_ENTITIES, how)
            assert await node.run(increment("n"), create(4, n=7)) == [2, None]
            assert [await node.value("n", number) for number in (1, 4)] == [2, 7]
            assert line.cuts == 2
            node.recorder.assert_all_released()
            await over.close()


class TestBounds:
    async def test_a_full_queue_is_answered_with_a_refusal_at_once(self, start: Start) -> None:
        node = await start(max_queue=10, group_max=2, groups_in_flight=1)
        await node.run(*(create(number) for number in range(3)))
        outcomes = await node.race(*(increment("n", number % 3) for number in range(25)))
        refused = [one for one in outcomes if isinstance(one, Unavailable)]
        assert len(refused) == 15
        assert refused[0].headers["Retry-After"]
        assert "overloaded" in refused[0].detail
        assert sum([await node.value("n", number) for number in range(3)]) == 10
        assert await node.run(increment("n", 1)) == [4]

    async def test_of_very_many_that_wait_a_group_takes_half(self, start: Start) -> None:
        node = await start(group_max=250)
        assert await node.run(*(create(number) for number in range(700))) == [None] * 700
        sizes = sorted(len(writes.inserts) for writes in node.store.writes)  # groups in flight overtake each other
        assert sizes == [75, 150, 225, 250], "the larger of 150 and of half, but no more than group_max; then the rest"

    async def test_a_batch_is_taken_whole_as_long_as_the_queue_is_not_full(self, start: Start) -> None:
        node = await start(max_queue=10)
        assert await node.run(*(create(number) for number in range(30))) == [None] * 30
        batches = [[update(number, a=1) for number in range(8)] for _ in range(3)]
        outcomes = await asyncio.gather(*(node.run(*batch) for batch in batches), return_exceptions=True)
        assert [type(one) for one in outcomes] == [list, list, Overloaded]

    async def test_what_waits_is_bounded_by_the_time_that_it_takes(self, start: Start) -> None:
        node = await start(max_queue=600, longest_wait=0.2, group_max=20, groups_in_flight=1)

        async def slowly(_writes: Writes) -> None:
            node.store.interfere = slowly
            await asyncio.sleep(0.02)  # 1,000 updates a second at most

        await node.run(create(0))
        node.store.interfere = slowly
        tasks = []
        waiting = []
        async with asyncio.timeout(30):
            while not waiting or waiting[-1] >= 400:
                refusal = node.committer.refusal()
                if refusal is None:
                    tasks.append(asyncio.create_task(node.committer.submit("", *create(len(tasks) + 1))))
                else:
                    waiting.append(int(refusal.detail.split()[0]))
                await asyncio.sleep(0.001 if refusal else 0)
            assert max(waiting) == 600, "while nothing is known of the pace only the number counts"
            assert set(await asyncio.gather(*tasks)) == {None}
        assert not node.committer.full

    async def test_what_waits_stays_bounded_for_as_long_as_more_comes_than_can_be_committed(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("broker.commit.pace._VALID", 0.2)
        node = await start(max_queue=600, longest_wait=0.02, group_max=20, groups_in_flight=1)

        async def slowly(_writes: Writes) -> None:
            node.store.interfere = slowly
            await asyncio.sleep(0.02)

        await node.run(create(0))
        node.store.interfere = slowly
        tasks = []
        known_since = None
        async with asyncio.timeout(30):
            while known_since is None or time.monotonic() < known_since + 1:
                if node.committer.refusal() is None:
                    tasks.append(asyncio.create_task(node.committer.submit("", *create(len(tasks) + 1))))
                elif known_since is None and node.committer.queued < 300:
                    known_since = time.monotonic()
                if known_since is not None:
                    assert node.committer.queued < 300, "the pace was forgotten"
                await asyncio.sleep(0 if node.committer.refusal() is None else 0.001)
            await asyncio.gather(*tasks)

    async def test_draining_waits_for_what_is_under_way(self, node: Node) -> None:
        assert await node.committer.drain(1)
        await node.run(create())
        go_on = asyncio.Event()

        async def wait(_writes: Writes) -> None:
            await go_on.wait()

        node.store.interfere = wait
        tasks = [asyncio.create_task(node.committer.submit("", *increment("n"))) for _ in range(3)]
        await asyncio.sleep(0)
        assert not await node.committer.drain(0.02)
        assert not any(task.done() for task in tasks)
        go_on.set()
        assert await node.committer.drain(5)
        assert [task.result() for task in tasks] == [1, 2, 3]
        assert node.committer.queued == 0

    async def test_groups_of_disjoint_entities_overlap_and_those_of_one_entity_do_not(self, start: Start) -> None:
        node = await start(group_eager=1)
        await node.run(create(1), create(2))
        go_on = asyncio.Event()

        async def wait(_writes: Writes) -> None:
            await go_on.wait()

        node.store.interfere = wait
        first = asyncio.create_task(node.committer.submit("", *increment("n")))
        await until(lambda: node.store.interfere is None)
        same = asyncio.create_task(node.committer.submit("", *increment("n")))
        assert await node.committer.submit("", *increment("n", 2)) == 1
        assert not first.done()
        assert not same.done()
        go_on.set()
        assert [await first, await same] == [1, 2]
        assert versions(node.store.writes[-1]) == [versions(node.store.writes[-3])[0] + 1]
