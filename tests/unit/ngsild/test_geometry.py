"""Geometries of GeoProperties: what a 2dsphere index can take, and why others are refused."""

from typing import Any

import pytest
from hypothesis import given

from broker.ngsild.errors import BadRequestData
from broker.ngsild.geometry import index_copy, looks_like_geometry, read_geometry
from tests.unit.ngsild.strategies import geometries

RING = [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]
HOLE = [[1, 1], [2, 1], [2, 2], [1, 1]]
GOOD: dict[str, Any] = {
    "Point": [9.7, 52.4],
    "MultiPoint": [[9.7, 52.4], [0, 0]],
    "LineString": [[0, 0], [1, 1], [0, 0]],
    "MultiLineString": [[[0, 0], [1, 1]], [[2, 2], [3, 3]]],
    "Polygon": [RING, HOLE],
    "MultiPolygon": [[RING, HOLE], [[[10, 10], [11, 10], [11, 11], [10, 10]]]],
}


@pytest.mark.parametrize("kind", GOOD)
def test_every_geometry_but_collections_is_kept_as_it_is(kind: str) -> None:
    geometry = {"type": kind, "coordinates": GOOD[kind], "bbox": [0, 0, 4, 4]}
    assert read_geometry(geometry, "/a") is geometry
    assert looks_like_geometry(geometry)


@given(geometries())
def test_random_geometries_are_accepted(geometry: dict[str, Any]) -> None:
    assert read_geometry(geometry, "/a") == geometry


@pytest.mark.parametrize("position", [[-180, -90], [180, 90], [0, 0, 1e9], [0, 0, -5], [179.999999, 0.5]])
def test_positions_reach_to_the_edges_of_the_globe_and_any_altitude(position: list[float]) -> None:
    read_geometry({"type": "Point", "coordinates": position}, "/a")


def test_a_geometry_may_be_json_text() -> None:
    text = '{"type": "Point", "coordinates": [9.7, 52.4]}'
    assert read_geometry(text, "/a") == {"type": "Point", "coordinates": [9.7, 52.4]}


@pytest.mark.parametrize(
    ("kind", "coordinates", "reason"),
    [
        ("Point", None, "coordinates"),
        ("Point", "9.7,52.4", "coordinates"),
        ("Point", {}, "coordinates"),
        ("Point", [], "not a position"),
        ("Point", [9.7], "not a position"),
        ("Point", [1, 2, 3, 4], "not a position"),
        ("Point", ["9.7", "52.4"], "not a position"),
        ("Point", [True, False], "not a position"),
        ("Point", [None, 1], "not a position"),
        ("Point", [[9.7, 52.4]], "not a position"),
        ("Point", [180.1, 0], "outside the globe"),
        ("Point", [0, -90.1], "outside the globe"),
        ("Point", [52.4, 97], "outside the globe"),
        ("Point", [float("nan"), 0], "outside the globe"),
        ("Point", [0, 0, float("inf")], "not finite"),
        ("MultiPoint", [], "coordinates"),
        ("MultiPoint", [9.7, 52.4], "coordinates"),
        ("LineString", [[0, 0]], "two different positions"),
        ("LineString", [[0, 0], [0.0, 0.0], [0, 0, 5]], "two different positions"),
        ("MultiLineString", [[[0, 0], [1, 1]], []], "coordinates"),
        ("MultiLineString", [[[0, 0], [1, 1]], [[1, 1], [1, 1]]], "two different positions"),
        ("Polygon", [[]], "coordinates"),
        ("Polygon", [[[0, 0], [1, 1], [0, 0]]], "four positions"),
        ("Polygon", [[[0, 0], [4, 0], [4, 4], [0, 4]]], "last equal to the first"),
        ("Polygon", [[[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]]], "cannot be used"),
        ("Polygon", [[[0, 0], [1, 1], [2, 2], [0, 0]]], "cannot be used"),
        ("Polygon", [RING, [[10, 10], [11, 10], [11, 11], [10, 10]]], "cannot be used"),
        ("MultiPolygon", [[RING], [[[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]]]], "cannot be used"),
        ("MultiPolygon", [RING], "coordinates"),
    ],
)
def test_what_the_index_would_reject_is_refused_with_the_reason(kind: str, coordinates: Any, reason: str) -> None:
    with pytest.raises(BadRequestData, match=reason) as caught:
        read_geometry({"type": kind, "coordinates": coordinates}, "/location/value")
    assert caught.value.pointer == "/location/value"


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        [9.7, 52.4],
        {},
        {"type": "Circle", "coordinates": [0, 0]},
        {"type": "GeometryCollection", "geometries": []},
        {"type": ["Point"], "coordinates": [0, 0]},
        {"type": {"Point": 1}, "coordinates": [0, 0]},
        {"type": "Point"},
        {"coordinates": [0, 0]},
        "",
        "Point",
        "[9.7, 52.4]",
        '{"type": "Point", "coordinates": [9.7, 520]}',
        '{"type": "Point", "coordinates": [9.7, 52.4]',
    ],
)
def test_what_is_no_geometry_is_refused(value: Any) -> None:
    with pytest.raises(BadRequestData) as caught:
        read_geometry(value, "/a")
    assert caught.value.pointer == "/a"


@pytest.mark.parametrize(
    "value",
    [None, "Point", [], {}, {"type": "Point"}, {"type": "Circle", "coordinates": []}, {"type": [], "coordinates": []}],
)
def test_only_a_geojson_type_beside_coordinates_looks_like_a_geometry(value: Any) -> None:
    assert not looks_like_geometry(value)


def test_the_index_sees_neither_altitudes_nor_other_members() -> None:
    geometry = {"type": "LineString", "coordinates": [[0, 0, 5], [1, 1]], "bbox": [0, 0, 1, 1]}
    assert index_copy(geometry) == {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}
    assert index_copy({"type": "Point", "coordinates": [1, 2, 3]}) == {"type": "Point", "coordinates": [1, 2]}
    assert geometry["coordinates"] == [[0, 0, 5], [1, 1]]
