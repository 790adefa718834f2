"""Linked entities from the database: what is asked of it, and what is refused."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from broker.core.linked import LinkedEntityReads, LinkLimits
from broker.core.queries import EntityQuery
from broker.ngsild.errors import TooComplexQuery
from broker.ngsild.expiry import marked
from broker.ngsild.linking import JoinForm, Joining, ProjectedView
from broker.ngsild.model import Entity
from broker.ngsild.query.grammar import parse_q
from broker.ngsild.query.tree import Linked, Node, expand
from broker.storage.filters import q_filter, q_is_exact
from tests.unit.ngsild.samples import NOW, core, entity

PAST = "2020-01-01T00:00:00Z"


def uri(name: object) -> str:
    return f"urn:e:{name}"


class Database:
    """Answers what a test tells it to, and remembers what it was asked."""

    def __init__(self, *entities: Entity, targets: Sequence[Sequence[str]] = (), selected: Sequence[str] = ()) -> None:
        self.entities = {one["_id"]: one for one in entities}
        self.next_targets = list(targets)
        self.selected = list(selected)
        self.loaded: list[int] = []

    async def load(self, _tenant: str, ids: Sequence[str]) -> dict[str, Entity]:
        self.loaded.append(len(ids))
        return {name: self.entities[name] for name in ids if name in self.entities}

    async def ids(self, _tenant: str, _condition: dict[str, Any], _after: str | None, _limit: int) -> list[str]:
        return self.selected

    async def decided(
        self, _tenant: str, _condition: dict[str, Any], decide: Callable[[Entity], bool], _limit: int
    ) -> list[str]:
        return [name for name, one in self.entities.items() if decide(one)]

    async def targets(self, _tenant: str, _condition: dict[str, Any], _names: Sequence[str], limit: int) -> list[str]:
        return list(self.next_targets.pop(0))[:limit]

    def reads(self, answer: int = 10_000, query: int = 100_000) -> LinkedEntityReads:
        return LinkedEntityReads(self, self, self, LinkLimits(answer, query))


def q(text: str) -> Node:
    return expand(parse_q(text), core())


async def linked_of(database: Database, one: Entity, level: int = 1) -> list[str]:
    joining = Joining(JoinForm.FLAT, level)
    found = await database.reads().join("", [one], joining, view=ProjectedView(core()))
    return [place.entity["_id"] for place in found.appended]


async def test_many_linked_entities_are_read_in_parts() -> None:
    hub = entity({"id": uri("hub")}, all={"objectList": [uri(number) for number in range(2_500)]})
    database = Database(entity({"id": uri(2_499)}))
    assert await linked_of(database, hub) == [uri(2_499)]
    assert database.loaded == [1_000, 1_000, 500]


async def test_what_has_expired_is_not_linked_to() -> None:
    middle = marked(None, entity({"id": uri("b")}, x={"object": uri("d"), "expiresAt": PAST}, y={"object": uri("c")}))
    gone = entity({"id": uri("c"), "expiresAt": PAST})
    database = Database(middle, gone, entity({"id": uri("d")}))
    start = entity({"id": uri("a")}, x={"object": uri("b")})
    assert await linked_of(database, start, level=5) == [uri("b")]
    assert database.loaded == [1, 1]


async def test_a_query_about_the_entities_alone_asks_for_nothing() -> None:
    query = EntityQuery(q=q("speed>1;owner"))
    assert await Database().reads().resolved("", query, NOW) is query


async def test_a_resolved_query_holds_the_ids_of_the_linked_entities_that_meet_it() -> None:
    database = Database(targets=[[uri("b"), uri("c")]], selected=[uri("c")])
    resolved = await database.reads().resolved("", EntityQuery(q=q("owner{age}>1")), NOW)
    assert isinstance(resolved.q, Linked)
    assert resolved.q.ids == frozenset({uri("c")})
    assert q_is_exact(resolved.q)
    assert uri("c") in str(q_filter(resolved.q))
    selects = resolved.predicate()
    assert selects(entity(owner={"object": [uri("b"), uri("c")]}))
    assert selects(entity(owner={"objectList": [uri("c")]}))
    assert not selects(entity(owner={"object": uri("b")}))
    assert not selects(entity(owner=uri("c")))


async def test_linked_entities_with_expired_attributes_are_decided_one_by_one() -> None:
    old = marked(None, entity({"id": uri("old")}, age={"value": 9, "expiresAt": PAST}, name="old"))
    database = Database(old, targets=[[uri("old")], [uri("old")]])
    resolved = await database.reads().resolved("", EntityQuery(q=q('owner{age}>1|owner{name}=="old"')), NOW)
    assert resolved.predicate()(entity(owner={"object": uri("old")}))
    database = Database(old, targets=[[uri("old")]])
    resolved = await database.reads().resolved("", EntityQuery(q=q("owner{age}>1")), NOW)
    assert not resolved.predicate()(entity(owner={"object": uri("old")}))


async def test_an_absence_through_a_relationship_holds_where_none_of_the_linked_entities_has_it() -> None:
    database = Database(targets=[[uri("b"), uri("c")]], selected=[uri("c")])
    selects = (await database.reads().resolved("", EntityQuery(q=q("!owner{age}")), NOW)).predicate()
    assert selects(entity(owner={"object": uri("b")}))
    assert selects(entity(speed=1))
    assert not selects(entity(owner={"object": [uri("b"), uri("c")]}))


@pytest.mark.parametrize(
    "targets",
    [
        [[uri(number) for number in range(101)]],
        [[uri(number) for number in range(60)], [uri(number) for number in range(60)]],
        [["urn:" + "x" * 2_500_000, "urn:" + "y" * 2_500_000]],
    ],
    ids=["one term", "two terms together", "long ids"],
)
async def test_a_query_that_leads_to_too_much_is_refused(targets: list[list[str]]) -> None:
    query = EntityQuery(q=q("owner{age}>1|friend{age}>1"))
    with pytest.raises(TooComplexQuery, match="at most 100, with ids of 4 MiB in all"):
        await Database(targets=[*targets, []]).reads(query=100).resolved("", query, NOW)
