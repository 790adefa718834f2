from typing import Any

import pytest
from shapely.geometry import shape

from broker.ngsild.errors import BadRequestData, TooComplexQuery
from broker.ngsild.model import LOCATION, Entity
from broker.ngsild.query.geo import GeoQuery, Relation, matches, parse_geo
from broker.ngsild.query.spherical import distance, point_distance
from broker.storage.geo_filters import geo_is_exact
from tests.unit.query.core_names import CORE, entity, instance

SQUARE = [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]]
HOLED = [*SQUARE, [[4, 4], [6, 4], [6, 6], [4, 6], [4, 4]]]


def at(kind: str, coordinates: Any) -> Entity:
    return entity(location=instance({"type": kind, "coordinates": coordinates}, "GeoProperty"))


def holds(georel: str, kind: str, coordinates: Any, target: Entity) -> bool:
    return matches(parse_geo(georel, kind, coordinates), target)


def test_the_examples_of_the_clause_are_read() -> None:
    key = CORE.key("observationSpace")
    assert parse_geo("near;maxDistance==2000", "Point", "[8,40]", key) == GeoQuery(
        Relation.NEAR, {"type": "Point", "coordinates": [8, 40]}, key, max_distance=2000
    )
    assert parse_geo(
        "within", "Polygon", "[[[100.0,0.0],[101.0,0.0],[101.0,1.0],[100.0,1.0],[100.0,0.0]]]"
    ) == GeoQuery(
        Relation.WITHIN,
        {"type": "Polygon", "coordinates": [[[100.0, 0.0], [101.0, 0.0], [101.0, 1.0], [100.0, 1.0], [100.0, 0.0]]]},
        LOCATION,
    )


@pytest.mark.parametrize(
    "georel",
    [
        *(
            "touches",
            "near",
            "near;maxDistance==0",
            "near;maxDistance==-1",
            "near;maxDistance==inf",
            "within;maxDistance==1",
        ),
        *(
            "near;maxDistance==1e400",
            "near;maxDistance==5;minDistance==1",
            "near;distance==1",
            "near;maxDistance=1",
            "",
        ),
    ],
)
def test_a_georel_that_the_grammar_does_not_have_is_refused(georel: str) -> None:
    with pytest.raises(BadRequestData, match=r"^georel is .*: expected "):
        parse_geo(georel, "Point", "[8,40]")


@pytest.mark.parametrize(
    ("kind", "coordinates"),
    [
        *(
            ("Point", text)
            for text in ("8,40", "[8]", "[8,91]", "[NaN,1]", '["8",40]', "[[8,40]]", "[" * 10_000, "null", "")
        ),
        ("LineString", "[[8,40]]"),
        ("LineString", "[[8,40],[8,40]]"),
        ("Polygon", "[[[0,0],[1,0],[1,1]]]"),
        ("Polygon", "[[[0,0],[1,1],[1,0],[0,1],[0,0]]]"),
        ("Polygon", "[[[-170,-80],[170,-80],[170,80],[-170,80],[-170,-80]]]"),
        ("GeometryCollection", "[]"),
        ("Circle", "[8,40]"),
    ],
)
def test_a_geometry_that_cannot_be_used_is_refused(kind: str, coordinates: str) -> None:
    with pytest.raises(BadRequestData, match=r"^(coordinates|geometry) "):
        parse_geo("intersects", kind, coordinates)


def test_too_many_positions_are_too_complex() -> None:
    with pytest.raises(TooComplexQuery):
        parse_geo("intersects", "MultiPoint", [[1, 1]] * 10_001)


def test_relationships_are_those_of_simple_features() -> None:
    assert holds("within", "Polygon", HOLED, at("Point", [2, 2]))
    assert not holds("within", "Polygon", HOLED, at("Point", [5, 5]))
    assert not holds("within", "Polygon", HOLED, at("LineString", [[2, 2], [5, 5]]))
    assert holds("intersects", "Polygon", HOLED, at("LineString", [[2, 2], [5, 5]]))
    assert holds("disjoint", "Polygon", HOLED, at("Point", [5, 5]))
    assert not holds("disjoint", "Polygon", HOLED, at("Point", [2, 2]))
    assert holds("contains", "Point", [2, 2], at("Polygon", HOLED))
    assert not holds("contains", "Point", [5, 5], at("Polygon", HOLED))
    assert holds("equals", "Point", [5.0, 5], at("Point", [5, 5, 100]))
    assert holds("equals", "Polygon", [[[10, 0], [10, 10], [0, 10], [0, 0], [10, 0]]], at("Polygon", SQUARE))
    assert not holds("equals", "Polygon", HOLED, at("Polygon", SQUARE))
    assert holds("overlaps", "Polygon", [[[5, 5], [15, 5], [15, 15], [5, 15], [5, 5]]], at("Polygon", SQUARE))
    assert not holds("overlaps", "Polygon", [[[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]]], at("Polygon", SQUARE))


def test_an_entity_without_the_geo_property_matches_nothing() -> None:
    for georel in ("disjoint", "near;minDistance==1", "intersects"):
        assert not holds(georel, "Point", [1, 1], entity(other=1))
        assert not holds(georel, "Point", [1, 1], entity(location="no geometry"))


@pytest.mark.parametrize("name", ["location", "observationSpace"])
def test_one_instance_of_a_geo_property_that_matches_is_enough(name: str) -> None:
    far = instance({"type": "Point", "coordinates": [50, 50]}, "GeoProperty")
    near = instance({"type": "Point", "coordinates": [8, 40]}, "GeoProperty", datasetId="urn:d:1")
    query = parse_geo("near;maxDistance==10", "Point", [8, 40], CORE.key(name))
    assert matches(query, entity(**{name: [far, near]}))
    assert matches(query, entity(**{name: near}))
    assert not matches(query, entity(**{name: far}))


@pytest.mark.parametrize(
    ("metres", "kind", "coordinates", "target", "near"),
    [
        (2000, "Point", [8, 40], at("Point", [8, 40.01]), True),
        (1000, "Point", [8, 40], at("Point", [8, 40.01]), False),
        (2000, "LineString", [[0, 60], [10, 60]], at("Point", [10, 60.009]), True),
        (2000, "LineString", [[0, 61], [10, 61]], at("Point", [10, 60.009]), False),
        (20_000, "Point", [0, 85], at("LineString", [[1, 85], [0, 85.6]]), True),
        (5_000, "Point", [0, 85], at("LineString", [[1, 85], [0, 85.6]]), False),
        (1, "Point", [5, 5], at("Polygon", SQUARE), True),
        (1, "Point", [5, 5], at("Polygon", HOLED), False),
        (50_000, "Point", [179.9, 0], at("Point", [-179.9, 0]), True),
        (1, "Point", [0, 90], at("Point", [77, 90]), True),
    ],
)
def test_near_is_measured_on_the_globe_to_the_closest_point(
    metres: float,
    kind: str,
    coordinates: Any,
    target: Entity,
    near: bool,
) -> None:
    assert holds(f"near;maxDistance=={metres}", kind, coordinates, target) is near
    assert holds(f"near;minDistance=={metres}", kind, coordinates, target) is not near


def test_distances_are_along_great_circles() -> None:
    quarter = 6_378_100 * 3.141592653589793 / 2
    assert point_distance(0, 0, 0, 90) == pytest.approx(quarter)
    assert point_distance(0, 0, 180, 0) == pytest.approx(2 * quarter)
    line = shape({"type": "LineString", "coordinates": [[-10, 0], [10, 0]]})
    assert distance(shape({"type": "Point", "coordinates": [3, 45]}), line) == pytest.approx(quarter / 2)
    assert distance(shape({"type": "MultiPoint", "coordinates": [[90, 0], [20, 0]]}), line) == pytest.approx(
        quarter / 9
    )


@pytest.mark.parametrize(
    ("georel", "kind", "coordinates", "exact"),
    [
        ("near;maxDistance==1", "Point", [1, 1], True),
        ("near;maxDistance==1", "LineString", [[1, 1], [2, 2]], False),
        ("within", "Polygon", SQUARE, True),
        ("within", "LineString", [[1, 1], [2, 2]], False),
        ("disjoint", "LineString", [[1, 1], [2, 2]], True),
        ("equals", "Point", [1, 1], True),
        ("equals", "Polygon", SQUARE, False),
        ("contains", "Point", [1, 1], True),
        ("contains", "Polygon", SQUARE, False),
        ("overlaps", "Polygon", SQUARE, False),
    ],
)
def test_what_mongodb_can_decide_is_known(
    georel: str,
    kind: str,
    coordinates: Any,
    exact: bool,
) -> None:
    query = parse_geo(georel, kind, coordinates)
    assert geo_is_exact(query) is exact


def test_a_geometry_whose_positions_have_altitudes_or_not_is_compared_on_the_ground():
    line = {"type": "LineString", "coordinates": [[0.0, 0.0], [1.0, 1.0, 250.0]]}
    stored = {"_id": "urn:e:1", "attributes": {LOCATION: [{"type": "GeoProperty", "value": line}]}}

    assert matches(parse_geo("near;maxDistance==10", "MultiPoint", "[[0.0,0.0]]"), stored)
    assert matches(parse_geo("intersects", "Point", "[0.0,0.0]"), stored)
