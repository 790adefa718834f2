"""Advice about queries (core/explaining.py), and the watch for slow ones (core/watching.py)."""

import asyncio
from collections.abc import Sequence

import pytest

from broker.core.explaining import Explanation, Explanations, advise, is_scan
from broker.core.indexes import read_declaration
from broker.core.paging import PageRequest, QueryResult
from broker.core.queries import EntityQuery
from broker.core.watching import WatchedQueries
from broker.ngsild.query.geo import parse_geo
from broker.ngsild.query.scopes import parse_scope_q
from broker.ngsild.query.types import parse_types
from broker.storage.indexes import DeclaredIndex, IndexDeclaration, IndexKind
from broker.storage.plans import QueryPlan, Search
from tests.unit.query.core_names import CORE, read_q


def select(q: str | None = None, types: str | None = "Vehicle", **members: object) -> EntityQuery:
    return EntityQuery(
        types=parse_types(types).expand(CORE) if types is not None else None,
        q=read_q(q) if q is not None else None,
        **members,  # type: ignore[arg-type]
    )


def plan(*indexes: str, documents: int = 10_000, returned: int = 1) -> QueryPlan:
    return QueryPlan(("FETCH", "IXSCAN"), indexes, documents, documents, returned, 0.02)


def declared(*paths: str) -> list[IndexDeclaration]:
    return [read_declaration("Vehicle", path, None, CORE) for path in paths]


def commands(query: EntityQuery, indexes: Sequence[IndexDeclaration] = ()) -> list[str]:
    return [one.said(CORE.compact) for one in advise(query, plan("types"), indexes) if one.declare is not None]


def sentences(query: EntityQuery, *indexes: IndexDeclaration, used: str = "types") -> str:
    found = list(advise(query, plan(used), indexes))
    assert [one for one in found if one.declare is not None] == []
    return " ".join(one.said(CORE.compact) for one in found)


@pytest.mark.parametrize(
    ("q", "paths"),
    [
        ("speed>50", ["speed"]),
        ("speed==1..2;color==5", ["speed"]),
        ("color!=5;speed>50", ["speed"]),
        ("speed>50|color==5", ["speed", "color"]),
        ("speed.observedAt>2026-01-01T00:00:00Z", ["speed.observedAt"]),
        ('address[city]=="Graz"', ["address[city]"]),
        ('name~="^A"', ["name"]),
    ],
)
def test_an_index_is_proposed_for_what_it_would_serve(q: str, paths: list[str]) -> None:
    assert commands(select(q)) == [f"Declare an index: vela index add Vehicle {path}" for path in paths]


def test_a_declared_index_is_not_proposed_again() -> None:
    assert commands(select("speed>50|color==5"), declared("speed")) == [
        "Declare an index: vela index add Vehicle color"
    ]
    assert "expected more of another way" in sentences(select("address[city]==5"), *declared("address"))
    used = declared("speed")[0]
    assert "dropped by other conditions" in sentences(select("speed>50"), used, used=used.id)


@pytest.mark.parametrize("q", ["speed!=5", "!speed", "speed", "speed>5|color!=3"])
def test_terms_that_no_index_serves_are_told(q: str) -> None:
    assert "No term of q can be looked up" in sentences(select(q))


def test_a_query_without_one_type_is_told_to_have_one() -> None:
    assert "Give a type" in sentences(select("speed>50", types=None))
    assert "each type by itself" in sentences(select("speed>50", types="Vehicle|Bus"))


def test_geo_properties_and_scopes_get_their_index() -> None:
    near = parse_geo("near;maxDistance==1000", "Point", "[1,2]", CORE.key("parcel"))
    assert commands(select(geo=near)) == ["Declare an index: vela index add Vehicle parcel --kind geo"]
    assert commands(select(scope=parse_scope_q("/Graz/#"))) == ["Declare an index: vela index add Vehicle scope"]
    apart = parse_geo("near;minDistance==1000", "Point", "[1,2]", CORE.key("parcel"))
    assert "one by one" in sentences(select(geo=apart))


def test_a_scan_looks_at_many_times_what_it_finds() -> None:
    assert is_scan(plan(documents=10_000, returned=20))
    assert not is_scan(plan(documents=10_000, returned=5_000))
    assert not is_scan(plan(documents=10_000, returned=20), skip=9_980)
    assert not is_scan(plan(documents=90, returned=0))


class Planned:
    """Explains every query in the same way."""

    def __init__(self, found: QueryPlan, indexes: Sequence[IndexDeclaration] = ()) -> None:
        self.found = found
        self.indexes = indexes
        self.searches: list[Search] = []

    async def explain(self, tenant: str, search: Search, *, seconds: float) -> QueryPlan:
        self.searches.append(search)
        return self.found

    async def declared(self, tenant: str | None = None) -> Sequence[DeclaredIndex]:
        return [DeclaredIndex("", one, None) for one in self.indexes]


async def explained(planned: Planned, request: PageRequest) -> Explanation:
    return await Explanations(planned, planned).explain("", select("speed>50"), request)


async def test_the_page_that_was_asked_for_is_explained() -> None:
    used = declared("speed")[0]
    planned = Planned(plan(used.id, documents=30, returned=21), [used])

    found = await explained(planned, PageRequest(20, 40))

    assert planned.searches == [found.search]
    assert (found.search.limit, found.search.skip, found.search.sort) == (21, 40, {"_id": 1})
    assert (found.used, found.exact, found.scans, found.advice) == ((used,), True, False, ())
    assert found.used[0].kind is IndexKind.VALUE


class Slow:
    """Queries that take a moment."""

    async def query(self, tenant: str, query: EntityQuery, request: PageRequest) -> QueryResult:
        await asyncio.sleep(0.001)
        return QueryResult([], None)


class Count:
    def __init__(self) -> None:
        self.times = 0

    def inc(self) -> None:
        self.times += 1


@pytest.mark.parametrize(("threshold", "slow", "scanning"), [(0.0001, 3, 1), (60.0, 0, 0), (0.0, 0, 0)])
async def test_slow_queries_are_counted_and_one_of_them_is_looked_into(
    threshold: float, slow: int, scanning: int
) -> None:
    planned, counted, found = Planned(plan("types")), Count(), Count()
    watched = WatchedQueries(
        Slow(), Explanations(planned, planned), threshold=threshold, interval=60, slow=counted, scanning=found
    )

    for _ in range(3):
        await watched.query("", select("speed>50"), PageRequest(20))
    if watched._task is not None:
        await watched._task

    assert (counted.times, found.times, len(planned.searches)) == (slow, scanning, scanning)
