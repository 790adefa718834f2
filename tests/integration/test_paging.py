"""Pages that can be trusted (clauses 5.5.9, 6.3.10): what stays is shown exactly once, whatever comes and goes."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.paging import PageRequest, Position
from broker.core.queries import EntityQuery
from broker.ngsild.collations import parse_collation
from broker.ngsild.errors import TooComplexQuery
from broker.ngsild.model import Entity
from broker.ngsild.ordering import Ordering, OrderTerm
from broker.ngsild.query.geo import parse_geo
from broker.ngsild.query.tree import Path
from broker.ngsild.query.types import TypeSelection
from tests.integration.querying import Town, open_town

MOST = 2_000
WORTH = [None, 0, 1, 1.5, "a", "A", "\u00e1", "b", "z", True, "2026-01-31", "2026-01-31T12:00:00Z", [1], {"x": 1}]
REFERENCE = parse_geo("intersects", "Point", [8, 40])


@pytest.fixture(scope="module")
def town(mongo_uri: str) -> Iterator[Town]:
    with open_town(mongo_uri, MOST) as found:
        yield found


def entity(chance: random.Random, kind: str = "urn:T") -> Entity:
    attributes: dict[str, Any] = {}
    for key in ("x", "y"):
        value = chance.choice(WORTH)
        if value is not None:
            attributes[key] = [{"type": "Property", "value": value}]
    if chance.random() < 0.7:
        place = {"type": "Point", "coordinates": [chance.randrange(-5, 5) * 1.0, chance.randrange(-5, 5) * 1.0]}
        attributes["place"] = [{"type": "GeoProperty", "value": place}]
    return {
        "_id": f"urn:ngsi-ld:T:{chance.randrange(10**9)}",
        "types": [kind],
        "attributes": attributes,
        "createdAt": "2026-01-31T12:00:00.000000Z",
        "modifiedAt": "2026-01-31T12:00:00.000000Z",
        "version": 1,
        "writers": {},
    }


terms = st.builds(
    OrderTerm, st.sampled_from(["x", "y", "place"]).map(lambda key: Path((key,))), st.booleans(), st.booleans()
)
orderings = st.none() | st.builds(
    Ordering,
    st.lists(terms, min_size=1, max_size=3).map(tuple),
    st.sampled_from(["und", "sv", "und-u-ks-level1"]).map(parse_collation),
    st.just(REFERENCE),
)
QUERIES = [
    EntityQuery(types=TypeSelection((("urn:T",),))),
    EntityQuery(types=TypeSelection((("urn:T",), ("urn:U",)))),
    EntityQuery(local=True),
    # MongoDB cannot decide this one alone.
    EntityQuery(geo=parse_geo("near;minDistance==1", "LineString", [[90, 0], [91, 0]], "place")),
]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32), ordering=orderings, limit=st.integers(1, 15), query=st.sampled_from(QUERIES),
    backwards=st.booleans(),
)  # fmt: skip
def test_what_stays_is_shown_exactly_once_while_others_come_and_go(
    town: Town, seed: int, ordering: Ordering | None, limit: int, query: EntityQuery, backwards: bool
) -> None:
    chance = random.Random(seed)
    town.clear()
    stay = [entity(chance) for _ in range(30)]
    fleeting = [entity(chance) for _ in range(15)]
    town.put(*stay, *fleeting)
    ids = [one["_id"] for one in fleeting]
    accepts = query.visible_predicate("2026-06-01T00:00:00.000000Z")
    expected = {one["_id"] for one in stay if accepts(one)}
    seen: list[str] = []
    position: Position | None = None
    for _ in range(200):
        result = town.run(town.querying.query("", query, PageRequest(limit, position=position, ordering=ordering)))
        assert len(result.entities) <= limit
        page = [one.entity_id for one in result.entities]
        seen += reversed(page) if backwards and position is not None and position.side.backwards else page
        if chance.random() < 0.7 and ids:
            town.remove(ids.pop())
        if chance.random() < 0.3:
            comer = entity(chance)
            ids.append(comer["_id"])
            town.put(comer)
        position = result.next
        if position is None:
            break
    assert position is None
    assert sorted(one for one in seen if one in expected) == sorted(expected)
    assert len(seen) == len(set(seen))
    if backwards:  # and the same way back
        back = list(result.entities and [one.entity_id for one in result.entities][::-1])
        position = result.previous
        while position is not None:
            result = town.run(town.querying.query("", query, PageRequest(limit, position=position, ordering=ordering)))
            back += [one.entity_id for one in result.entities][::-1]
            position = result.previous
        assert sorted(one for one in back if one in expected) == sorted(expected)
        assert [one for one in reversed(back) if one in expected] == [one for one in seen if one in expected]


def explained(town: Town, query: EntityQuery, limit: int, after: str | None = None) -> dict[str, Any]:
    """What MongoDB says of the find that a page is read with."""
    condition = query.condition("2026-06-01T00:00:00.000000Z")
    if after is not None:
        condition = {"$and": [*condition["$and"], {"_id": {"$gt": after}}]}
    find = {"find": "entities", "filter": condition, "sort": {"_id": 1}, "limit": limit + 1, "hint": query.index}
    database = town.collection.database
    found: dict[str, Any] = town.run(database.command({"explain": find, "verbosity": "executionStats"}))
    return found


def stages(plan: dict[str, Any]) -> set[str]:
    inner = [plan["inputStage"]] if "inputStage" in plan else plan.get("inputStages", [])
    return {plan["stage"]}.union(*map(stages, inner))


@pytest.mark.parametrize("types", [("urn:A",), ("urn:A", "urn:C")])
def test_a_page_of_a_type_reads_no_more_than_it_shows_among_many_types(town: Town, types: tuple[str, ...]) -> None:
    chance = random.Random(1)
    town.clear()
    town.put(*(entity(chance, f"urn:{chance.choice('ABBBBBBBBBBBBC')}") for _ in range(2_000)))
    query = EntityQuery(types=TypeSelection(tuple((name,) for name in types)))
    assert query.index == "types"
    for after in (None, "urn:ngsi-ld:T:5"):
        answer = explained(town, query, 20, after)
        assert "IXSCAN" in stages(answer["queryPlanner"]["winningPlan"])
        assert not {"COLLSCAN", "SORT"} & stages(answer["queryPlanner"]["winningPlan"])
        assert answer["executionStats"]["nReturned"] == 21
        assert answer["executionStats"]["totalDocsExamined"] <= 21


def test_a_count_of_a_type_tells_all_but_what_has_expired(town: Town) -> None:
    chance = random.Random(2)
    town.clear()
    gone = {**entity(chance, "urn:A"), "expiresAt": "2026-01-31T12:00:00Z"}
    town.put(gone, *(entity(chance, "urn:A") for _ in range(5)), entity(chance, "urn:B"))
    for query, total in (
        (EntityQuery(types=TypeSelection((("urn:A",),))), 5),
        (EntityQuery(types=TypeSelection((("urn:A",), ("urn:B",)))), 6),
        (EntityQuery(local=True), 6),
        (EntityQuery(local=True, ids=[gone["_id"]]), 0),
    ):
        assert town.run(town.querying.query("", query, PageRequest(0, count=True))).total == total


def test_a_search_that_finds_little_ends_in_time_and_goes_on_with_the_next_page(town: Town) -> None:
    chance = random.Random(3)
    town.clear()
    many = [entity(chance) for _ in range(3 * MOST)]
    for number, one in enumerate(many):
        one["_id"] = f"urn:ngsi-ld:T:{number:06}"
        one["attributes"] = {"place": [{"type": "GeoProperty", "value": square(2 if number % 1_000 == 7 else 1)}]}
    town.put(*many)
    query = EntityQuery(geo=parse_geo("overlaps", "Polygon", square(1.5)["coordinates"], "place"))
    assert query.decision("2026-06-01T00:00:00.000000Z") is not None
    seen = []
    pages = 0
    result = town.run(town.querying.query("", query, PageRequest(50)))
    while True:
        seen += [one.entity_id for one in result.entities]
        pages += 1
        if result.next is None:
            break
        result = town.run(town.querying.query("", query, PageRequest(50, position=result.next)))
    assert seen == [f"urn:ngsi-ld:T:{number:06}" for number in range(7, 3 * MOST, 1_000)]
    assert pages == 3
    back = []
    while result.previous is not None:
        result = town.run(town.querying.query("", query, PageRequest(50, position=result.previous)))
        back += [one.entity_id for one in result.entities][::-1]
    assert sorted({*back, *seen[-2:]}) == seen
    with pytest.raises(TooComplexQuery):
        town.run(town.querying.query("", query, PageRequest(0, count=True)))
    with pytest.raises(TooComplexQuery):
        town.run(town.querying.query("", query, PageRequest(50, offset=20)))
    ordering = Ordering((OrderTerm(Path(("x",))),))
    with pytest.raises(TooComplexQuery):
        town.run(town.querying.query("", EntityQuery(local=True), PageRequest(50, ordering=ordering)))


def square(side: float) -> dict[str, Any]:
    """A square: that of side 1 lies in the one of side 1.5, that of side 2 overlaps it."""
    west = 0.5 if side < 2 else 0.7
    corners = [[west, 0.5], [west + side, 0.5], [west + side, 0.5 + side], [west, 0.5 + side], [west, 0.5]]
    return {"type": "Polygon", "coordinates": [corners]}
