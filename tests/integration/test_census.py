"""The census over a real MongoDB: exact whatever races, is lost, or dies."""

import asyncio
import random
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from broker.commit import census as keeping
from broker.commit.committer import Limits
from broker.core.recounting import Recounter
from broker.ngsild.attributes import Nulls
from broker.ngsild.errors import NgsiLdError, Unavailable
from broker.ngsild.fragments import read_entity, read_fragment
from broker.ngsild.model import Entity
from broker.ngsild.mutations import AppendAttributes, CreateEntity, DeleteEntity, Mutation
from broker.storage import recounts
from broker.storage.census import CensusStore
from broker.storage.client import Mongo
from broker.storage.documents import as_entity
from broker.storage.entities import WriteReport, Writes
from broker.storage.recounts import Outcome, Recounting, Recounts
from tests.integration.committing import Node, create, entity_id, update
from tests.unit.ngsild.samples import core, key
from tests.unit.notify.samples import until
from tests.unit.storage.test_census_counts import counted

THING = core().expand("Thing")
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def mongo(mongo_uri: str, database_name: str) -> AsyncIterator[Mongo]:
    connected = await Mongo.connect(mongo_uri, database=database_name)
    yield connected
    await connected.close()


@pytest.fixture
async def node(mongo: Mongo) -> AsyncIterator[Node]:
    started = await Node(mongo).start()
    started.recorder.silent = True
    yield started
    await started.census.close(5)


@pytest.fixture
async def other(mongo: Mongo) -> AsyncIterator[Node]:
    started = await Node(mongo, process="p2").start()
    started.recorder.silent = True
    yield started
    await started.census.close(5)


class Alive:
    """Which processes are alive."""

    def __init__(self, *processes: str) -> None:
        self.processes = set(processes)

    async def alive(self) -> set[str]:
        return set(self.processes)


def recounter(node: Node, alive: Alive, grace: float = 0.0) -> Recounter:
    return Recounter(node.process, Recounts(node.mongo, node.tenants), alive, node.census, grace=grace)


async def documents(mongo: Mongo) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await mongo.control["census"].find().to_list(None)
    return found


async def stated(mongo: Mongo) -> dict[str, dict[str, int]]:
    """The numbers of the census that are not zero."""
    numbers: dict[str, dict[str, int]] = defaultdict(dict)
    for document in await documents(mongo):
        if document.get("entities"):
            numbers[document["_id"]]["entities"] = document["entities"]
        for name, kinds in document.get("attributes", {}).items():
            numbers[document["_id"]] |= {f"attributes.{name}.{kind}": n for kind, n in kinds.items() if n}
    return {name: found for name, found in numbers.items() if found}


async def there_is(mongo: Mongo) -> dict[str, dict[str, int]]:
    """What the entities say."""
    entities: list[Entity] = [as_entity(one) for one in await mongo.control["entities"].find().to_list(None)]
    return counted(entities)


async def settled(node: Node) -> None:
    """Wait until all flights of a process are ended or in doubt."""
    deadline = time.monotonic() + 5
    while node.census._settling is not None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def delete(number: int = 1) -> tuple[str, Mutation]:
    return entity_id(number), DeleteEntity(entity_id(number))


def append(number: int, *types: str, **attributes: Any) -> tuple[str, Mutation]:
    document = {"type": list(types), **attributes} if types else attributes
    fragment = read_fragment(document, core(), nulls=Nulls.MEMBERS)
    return entity_id(number), AppendAttributes(entity_id(number), fragment, overwrite=True)


def typed(number: int, *types: str, **attributes: Any) -> tuple[str, Mutation]:
    document = {"id": entity_id(number), "type": list(types), **attributes}
    return entity_id(number), CreateEntity(read_entity(document, core()))


async def test_the_census_is_right_when_a_write_is_acknowledged(node: Node, mongo: Mongo) -> None:
    await node.run(create(1, a=1), create(2, a=1, b={"object": "urn:o"}), typed(3, "Thing", "Other", a=1))
    assert await stated(mongo) == await there_is(mongo) != {}

    await node.run(append(1, c=3), update(2, a=5), delete(3))
    assert await stated(mongo) == await there_is(mongo)
    assert (await stated(mongo))[THING] == {
        "entities": 2,
        f"attributes.{key('a')}.Property": 2,
        f"attributes.{key('b')}.Relationship": 1,
        f"attributes.{key('c')}.Property": 1,
    }


async def test_an_update_of_values_does_not_touch_the_census(node: Node, mongo: Mongo) -> None:
    await node.run(create(1, a=1))
    await settled(node)
    before = await documents(mongo)

    await node.run(update(1, a=2))

    assert node.store.writes[-1].differences == {}
    assert node.census._settling is None
    assert await documents(mongo) == before


async def test_types_and_attributes_that_nothing_has_any_more_leave_the_census(node: Node, mongo: Mongo) -> None:
    await node.run(typed(1, "A", x=1), typed(2, "B", x=1, y=2))
    await node.run(delete(1), (entity_id(2), DropY()))
    await settled(node)

    (left,) = await documents(mongo)
    assert left["_id"] == core().expand("B")
    assert list(left["attributes"]) == [key("x")]


class DropY:
    """Removes the attribute y."""

    def __call__(self, before: Entity | None, _now: str) -> tuple[Entity | None, None]:
        assert before is not None
        kept = {name: instances for name, instances in before["attributes"].items() if name != key("y")}
        return {**before, "attributes": kept}, None


async def test_of_two_processes_that_delete_the_same_entities_only_one_counts_each(
    node: Node, other: Node, mongo: Mongo
) -> None:
    numbers = range(60)
    await node.run(*(typed(number, "ABC"[number % 3], x=1) for number in numbers), create(100))
    for one in (node, other):
        await one.run(*(update(number, x=2) for number in numbers))  # both have them all in their cache

    await asyncio.gather(*(one.run(*(delete(number) for number in numbers)) for one in (node, other)))

    assert (await stated(mongo)).keys() == {THING}
    assert not node.census.doubtful | other.census.doubtful


async def test_of_two_processes_that_create_the_same_entities_only_one_counts_each(
    node: Node, other: Node, mongo: Mongo
) -> None:
    await asyncio.gather(*(one.run(*(create(number, a=1) for number in range(50))) for one in (node, other)))

    assert (await stated(mongo))[THING] == {"entities": 50, f"attributes.{key('a')}.Property": 50}


@pytest.mark.parametrize("landed", [True, False])
async def test_types_are_recounted_when_the_answer_to_a_write_is_lost(node: Node, mongo: Mongo, landed: bool) -> None:
    await node.run(create(1))
    node.store.lose_answer(landed=landed)
    await node.run(create(2, a=1))
    await settled(node)

    await recounter(node, Alive("p1")).look()

    assert await stated(mongo) == await there_is(mongo)
    assert all(not document.get(member) for document in await documents(mongo) for member in ("flights", "doubts"))


@pytest.mark.parametrize("seed", range(6))
async def test_random_changes_by_two_processes_with_lost_answers_leave_an_exact_census(
    node: Node, other: Node, mongo: Mongo, seed: int
) -> None:
    chance = random.Random(seed)
    kinds = ("A", "B", "C")

    def step() -> tuple[str, Mutation]:
        number = chance.randrange(8)
        attribute = {chance.choice("xyz"): chance.choice([1, {"object": "urn:o"}, [1, 2]])}
        return chance.choice(
            [
                lambda: typed(number, *chance.sample(kinds, chance.randint(1, 3)), **attribute),
                lambda: append(number, **attribute),
                lambda: append(number, chance.choice(kinds)),
                lambda: update(number, **attribute),
                lambda: delete(number),
            ]
        )()

    for _ in range(12):
        for one in (node, other):
            if chance.random() < 0.2:
                one.store.lose_answer(landed=chance.random() < 0.5)
        await asyncio.gather(*(one.run(*(step() for _ in range(6))) for one in (node, other)))
    for one in (node, other):
        await settled(one)
    for one in (node, other):
        await recounter(one, Alive("p1", "p2")).look()

    assert await stated(mongo) == await there_is(mongo)
    assert not node.census.doubtful | other.census.doubtful


async def dies_in_the_middle(node: Node, *mutations: tuple[str, Mutation], landed: bool) -> None:
    """Let a process end between the census and the acknowledgement, its writes landed or not."""
    reached = asyncio.Event()

    async def hang(writes: Any) -> None:
        if landed:
            await type(node.store).write(node.store, "", writes)
        reached.set()
        await asyncio.Event().wait()

    node.store.interfere = hang
    running = asyncio.create_task(node.run(*mutations))
    await reached.wait()
    node.census._settle_soon = lambda: None  # type: ignore[method-assign]  # the dead do not tidy up
    for task in [*node.committer._tasks, running]:
        task.cancel()
    await asyncio.gather(*node.committer._tasks, running, return_exceptions=True)


@pytest.mark.parametrize("landed", [True, False])
async def test_what_a_dead_process_had_under_way_is_recounted_by_another(
    node: Node, other: Node, mongo: Mongo, landed: bool
) -> None:
    await other.run(create(1, a=1))
    await dies_in_the_middle(node, create(2, a=1), create(3, b=1), landed=landed)
    await settled(other)
    assert (await stated(mongo))[THING]["entities"] == 3

    recounting = recounter(other, Alive("p2"))
    await recounting.look()
    await recounting.look()  # dead is who is silent twice

    assert await stated(mongo) == await there_is(mongo)
    assert len(await there_is(mongo)) == 1
    assert await Recounts(mongo, other.tenants).writers() == {"": {"p2"}}


async def test_a_write_of_the_dead_that_lands_after_the_recount_is_found_by_the_next_one(
    node: Node, other: Node, mongo: Mongo
) -> None:
    await other.run(create(1))
    await dies_in_the_middle(node, create(2, a=1), landed=False)
    late = node.store.writes[-1]
    recounting = recounter(other, Alive("p2"), grace=0.5)
    await recounting.look()
    await recounting.look()
    assert (await stated(mongo))[THING]["entities"] == 1
    await node.store.write("", late)

    deadline = time.monotonic() + 10
    while await stated(mongo) != await there_is(mongo):
        assert time.monotonic() < deadline
        await recounting.look()
        await asyncio.sleep(0.05)
    assert (await stated(mongo))[THING]["entities"] == 2


async def test_a_process_that_was_only_taken_for_dead_is_counted_again_in_the_end(
    node: Node, other: Node, mongo: Mongo
) -> None:
    await other.run(create(1))
    go_on = asyncio.Event()
    reached = asyncio.Event()

    async def stall(_writes: Any) -> None:
        reached.set()
        await go_on.wait()

    node.store.interfere = stall
    stalled = asyncio.create_task(node.run(create(2)))
    await reached.wait()
    recounting = recounter(other, Alive("p2"), grace=30)
    await recounting.look()
    await recounting.look()
    assert (await stated(mongo))[THING]["entities"] == 1
    go_on.set()
    await stalled
    await settled(node)
    assert node.census.doubtful == {""}

    await recounter(node, Alive("p1", "p2")).look()
    assert (await stated(mongo))[THING]["entities"] == 2


async def test_recounts_are_exact_while_writers_go_on(mongo: Mongo, monkeypatch: pytest.MonkeyPatch) -> None:
    node = await Node(mongo, limits=Limits(groups_in_flight=8, group_eager=1)).start()
    node.recorder.silent = True
    write, count = node.store.write, recounts._count

    async def write_slowly(tenant: str, writes: Writes) -> WriteReport:
        await asyncio.sleep(0.03)  # between the census and the entities
        return await write(tenant, writes)

    async def count_late(*args: Any) -> Any:
        await asyncio.sleep(0.2)  # the snapshot grows old
        return await count(*args)

    monkeypatch.setattr(node.store, "write", write_slowly)
    monkeypatch.setattr(recounts, "_count", count_late)
    writing = True

    async def keep_writing(start: int) -> int:
        number = start
        while writing:
            await node.run(*(create(number + i, a=1) for i in range(3)))
            await node.run(delete(number), append(number + 1, b=2))
            number += 3
        return number - start

    async def under_way() -> bool:
        return THING in await stated(mongo)

    writers = [asyncio.create_task(keep_writing(start)) for start in range(0, 80_000, 10_000)]
    who = Recounting("p1", {"p1"}, frozenset(), 0.0)
    outcomes = []
    try:
        await until(under_way)
        for _ in range(5):
            wrong = {"$inc": {"entities": 7}, "$set": {"doubts.p1-0": LONG_AGO}}
            await mongo.control["census"].update_one({"_id": THING}, wrong)
            outcomes.append(await Recounts(mongo, node.tenants).recount("", THING, f"p1-{uuid.uuid4().hex}", who))
    finally:
        writing = False
        created = await asyncio.gather(*writers)
    await settled(node)

    assert outcomes == [Outcome.DONE] * 5, "the fence makes a quiet moment"
    assert all(created)
    assert await stated(mongo) == await there_is(mongo)
    assert not node.census.doubtful


async def test_entities_that_are_older_than_the_census_are_counted_at_start(mongo: Mongo) -> None:
    old = await Node(mongo, process="old").start()
    await old.run(*(typed(number, "A", "B", x=1) for number in range(5)), create(10))
    await settled(old)
    for name in ("census", "counting"):
        await mongo.control[name].drop()
    new = await Node(mongo, process="p2").start()
    kept = CensusStore(mongo, new.tenants)
    with pytest.raises(Unavailable, match="counted for the first time"):
        await kept.types("")

    await new.run(create(11, y=1))  # writers do not wait
    await recounter(new, Alive("p2")).look()

    assert set(await kept.types("")) == {THING, core().expand("A"), core().expand("B")}
    assert await stated(mongo) == await there_is(mongo)
    await new.census.close(5)


async def test_only_one_of_several_processes_counts_what_is_older(node: Node, other: Node, mongo: Mongo) -> None:
    await node.run(create(1))
    await settled(node)
    await mongo.control["counting"].drop()
    who = Recounting("p1", {"p1", "p2"}, frozenset(), 0.0)
    kept = Recounts(mongo, node.tenants)

    assert await kept.begin("", who)
    assert not await kept.begin("", Recounting("p2", {"p1", "p2"}, frozenset(), 0.0))
    assert await kept.begin("", Recounting("p2", {"p2"}, frozenset({"p1"}), 0.0)), "p1 has died meanwhile"


async def test_a_type_is_recounted_by_one_process_at_a_time(node: Node, other: Node, mongo: Mongo) -> None:
    await node.run(create(1))
    await settled(node)
    kept = Recounts(mongo, node.tenants)
    await mongo.control["census"].update_one({"_id": THING}, {"$set": {"recount.token": "p1-x", "doubts.p1-1": None}})

    assert await kept.recount("", THING, "p2-y", Recounting("p2", {"p1", "p2"}, frozenset(), 0)) is Outcome.BUSY


async def test_refused_mutations_are_not_counted(node: Node, mongo: Mongo) -> None:
    outcomes = await node.run(create(1), create(1, a=1), create(2, forbidden=True))

    assert [isinstance(one, NgsiLdError) for one in outcomes] == [False, True, True]
    assert await stated(mongo) == {THING: {"entities": 1}}


async def test_groups_with_many_kinds_of_differences_are_counted(node: Node, mongo: Mongo) -> None:
    node.committer._limits = Limits()
    numbers = range(40)
    await node.run(*(create(number, **{f"a{number}": 1}) for number in numbers))
    await node.run(*(append(number, **{f"b{number}": 1}) for number in numbers))
    await node.run(*(delete(number) for number in numbers if number % 2))

    assert await stated(mongo) == await there_is(mongo)
    assert not node.census.doubtful


async def test_the_settling_of_flights_does_not_hold_up_an_acknowledgement(
    node: Node, mongo: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_GATHERING", 0.3)
    await node.run(create(1))

    (document,) = await documents(mongo)
    assert len(document["flights"]) == 1
    await settled(node)
    (document,) = await documents(mongo)
    assert document["flights"] == {}
