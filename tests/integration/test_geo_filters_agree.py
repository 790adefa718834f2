"""The geo-filters in MongoDB select what the geo-predicates accept."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.queries import EntityQuery, Selector
from broker.ngsild.model import LOCATION, Entity, encode_key
from broker.ngsild.query import geo
from broker.ngsild.query.geo import GeoQuery, Relation, parse_geo
from broker.ngsild.query.types import TypeSelection
from broker.ngsild.timestamps import now_text
from broker.storage.filters import geo_filter, geo_is_exact
from tests.integration.agreement import (
    BATCH,
    Documents,
    accepted,
    assert_agreement,
    holding,
    indexed_collection,
    on_mongo,
    selected,
)

OTHER = encode_key("https://example.org/two.dotted")
TYPES = ["urn:T1", "urn:T2", "urn:T3"]


@pytest.fixture
def documents(mongo_uri: str, database_name: str) -> Iterator[Documents]:
    with indexed_collection(mongo_uri, database_name) as collection:
        yield collection


def rectangle(west: float, south: float, width: float, height: float) -> list[list[float]]:
    east, north = west + width, south + height
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def on_grid(chance: random.Random, offset: float = 0.0) -> float:
    return round(chance.randrange(-15, 15) / 10 + offset, 2)


def random_geometry(chance: random.Random, offset: float = 0.0) -> dict[str, Any]:
    """A geometry near [0, 0] whose corners lie on a grid; another offset keeps two geometries from touching edges."""
    x, y = on_grid(chance, offset), on_grid(chance, offset)
    width, height = chance.randrange(1, 9) / 10, chance.randrange(1, 9) / 10
    match chance.choice(["Point", "Point", "LineString", "Polygon", "MultiPoint", "MultiPolygon", "holed"]):
        case "Point":
            return {"type": "Point", "coordinates": [x, y]}
        case "MultiPoint":
            return {"type": "MultiPoint", "coordinates": [[x, y], [round(x + width, 2), y]]}
        case "LineString":
            return {
                "type": "LineString",
                "coordinates": [[x, y], [round(x + width, 2), y], [round(x + width, 2), y + height]],
            }
        case "MultiPolygon":
            return {
                "type": "MultiPolygon",
                "coordinates": [[rectangle(x, y, width, height)], [rectangle(x + 3, y, width, height)]],
            }
        case "holed":
            return {
                "type": "Polygon",
                "coordinates": [rectangle(x, y, 1.2, 1.2), rectangle(x + 0.3, y + 0.3, 0.6, 0.6)],
            }
        case _:
            return {"type": "Polygon", "coordinates": [rectangle(x, y, width, height)]}


def placed_entities(chance: random.Random, geometry: Callable[[random.Random], dict[str, Any]]) -> list[Entity]:
    made: list[Entity] = []
    for number in range(BATCH):
        attributes: dict[str, Any] = {}
        for key in (LOCATION, OTHER):
            if chance.random() < 0.8:
                attributes[key] = [{"type": "GeoProperty", "value": geometry(chance)}]
            if key in attributes and chance.random() < 0.3:
                attributes[key].append(
                    {"type": "GeoProperty", "value": geometry(chance), "datasetId": "urn:ngsi-ld:Dataset:1"}
                )
        types = chance.sample(TYPES, chance.choice([1, 1, 2]))
        made.append({"_id": f"urn:ngsi-ld:Test:{number}", "types": types, "attributes": attributes})
    return made


def assert_geo_agreement(documents: Documents, entities: list[Entity], query: GeoQuery) -> None:
    expected = accepted(entities, lambda entity: geo.matches(query, entity))
    found = selected(documents, geo_filter(query))
    if geo_is_exact(query):
        assert_agreement(found, expected, entities, query)
    assert expected <= found, query


@on_mongo
@given(seed=st.integers(0, 2**32))
def test_a_geo_filter_selects_what_the_geo_predicate_accepts(documents: Documents, seed: int) -> None:
    chance = random.Random(seed)
    entities = placed_entities(chance, random_geometry)
    with holding(documents, entities):
        for relation in Relation:
            if relation is Relation.NEAR:
                continue
            offset = chance.choice([0.0, 0.05]) if relation is Relation.EQUALS else 0.05
            for key in (LOCATION, OTHER):
                reference = random_geometry(chance, offset)
                query = parse_geo(relation, reference["type"], reference["coordinates"], key)
                assert_geo_agreement(documents, entities, query)


SELECTIONS = [
    EntityQuery(types=TypeSelection((("urn:T1",),))),
    EntityQuery(types=TypeSelection((("urn:T2", "urn:T1"),))),
    EntityQuery(types=TypeSelection((("urn:T1",), ("urn:T3", "urn:T2")))),
    EntityQuery(types=TypeSelection(())),
    EntityQuery(selectors=(Selector(TypeSelection((("urn:T1",),))), Selector(TypeSelection((("urn:T3", "urn:T2"),))))),
    EntityQuery(
        selectors=(Selector(TypeSelection((("urn:T1",),))), Selector(TypeSelection(()), ("urn:ngsi-ld:Test:7",)))
    ),
    EntityQuery(types=TypeSelection((("urn:T1",),)), selectors=(Selector(TypeSelection((("urn:T2",),))),)),
]


@on_mongo
@given(seed=st.integers(0, 2**32))
def test_types_and_a_place_together_select_what_both_predicates_accept(documents: Documents, seed: int) -> None:
    chance = random.Random(seed)
    entities = placed_entities(chance, random_geometry)
    with holding(documents, entities):
        for selection in SELECTIONS:
            for key in (LOCATION, OTHER):
                centre = [on_grid(chance, 0.05), on_grid(chance, 0.05)]
                query = replace(selection, geo=parse_geo("near;maxDistance==90000", "Point", centre, key))
                found = selected(documents, query.condition(now_text()))
                assert_agreement(found, accepted(entities, query.predicate()), entities, query)


def anywhere(chance: random.Random) -> dict[str, Any]:
    if chance.random() < 0.7:
        return {"type": "Point", "coordinates": [chance.uniform(-180, 180), chance.uniform(-90, 90)]}
    x, y = chance.uniform(-170, 170), chance.uniform(-80, 80)
    if chance.random() < 0.5:
        return {"type": "LineString", "coordinates": [[x, y], [x + chance.uniform(0.1, 9), y + 0.5]]}
    return {"type": "Polygon", "coordinates": [rectangle(x, y, 0.2, 0.2)]}


@on_mongo
@given(
    seed=st.integers(0, 2**32),
    metres=st.sampled_from([0.5, 100.0, 5e4, 1e6, 5e6, 9e6, 1.2e7, 1.9e7, 2.1e7]),
    modifier=st.sampled_from(["maxDistance", "minDistance"]),
)
def test_a_near_filter_selects_what_the_near_predicate_accepts(
    documents: Documents, seed: int, metres: float, modifier: str
) -> None:
    chance = random.Random(seed)
    geometry = anywhere if metres > 1e5 else random_geometry
    entities = placed_entities(chance, geometry)
    with holding(documents, entities):
        for key in (LOCATION, OTHER):
            for reference in (anywhere(chance), random_geometry(chance, 0.05)):
                metres *= chance.uniform(0.9, 1.1)
                query = parse_geo(f"near;{modifier}=={metres}", reference["type"], reference["coordinates"], key)
                assert_geo_agreement(documents, entities, query)
