"""The order of entities: terms, sort values, places to sort from (clause 4.23)."""

from typing import Any

import pytest

from broker.ngsild.errors import BadRequestData
from broker.ngsild.fragments import read_entity
from broker.ngsild.model import Entity
from broker.ngsild.mutations import CreateEntity
from broker.ngsild.ordering import Kind, Ordering, SortValue, read_ordering
from tests.unit.query.core_names import CORE

NOW = "2026-01-31T12:00:00.000000Z"


def entity(**members: Any) -> Entity:
    made, _ = CreateEntity(read_entity({"id": "urn:ngsi-ld:T:1", "type": "T", **members}, CORE))(None, NOW)
    assert made is not None
    return made


def ordering(*terms: str, **others: Any) -> Ordering:
    found = read_ordering(terms, CORE, **others)
    assert found is not None
    return found


def value(term: str, **members: Any) -> SortValue:
    (found,) = ordering(term).values(entity(**members))
    return found


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (5, (Kind.NUMBER, 5)),
        (-1.5, (Kind.NUMBER, -1.5)),
        ("text", (Kind.TEXT, "text")),
        ("x" * 500, (Kind.TEXT, "x" * 128)),
        ({"b": 1, "a": [2]}, (Kind.OBJECT, '{"a":[2],"b":1}')),
        ([2, 1], (Kind.ARRAY, "[2,1]")),
        (True, (Kind.BOOLEAN, True)),
        ("12:30:00Z", (Kind.TIME, "12:30:00.000000")),
        ("2026-01-31", (Kind.DATE, "2026-01-31.000000")),
        ("2026-01-31T12:30:00.5Z", (Kind.DATE_TIME, "2026-01-31T12:30:00.500000")),
        ({"@type": "DateTime", "@value": "2026-01-31T12:30:00Z"}, (Kind.DATE_TIME, "2026-01-31T12:30:00.000000")),
        ("2026-13-31", (Kind.TEXT, "2026-13-31")),
    ],
)
def test_a_value_is_sorted_by_its_kind(given: Any, expected: SortValue) -> None:
    assert value("a", a={"value": given}) == expected


def test_kinds_stand_in_the_order_of_the_clause() -> None:
    assert [kind.name for kind in sorted(Kind)] == [
        "DISTANCE", "NUMBER", "TEXT", "OBJECT", "ARRAY", "BOOLEAN", "TIME", "DATE", "DATE_TIME", "NULL", "ABSENT"
    ]  # fmt: skip


def test_every_type_of_attribute_is_sorted_by_its_target() -> None:
    assert value("a", a={"type": "Relationship", "object": "urn:x:1"}) == (Kind.TEXT, "urn:x:1")
    assert value("a", a={"type": "ListProperty", "valueList": [1]}) == (Kind.ARRAY, "[1]")
    assert value("a", a={"type": "LanguageProperty", "languageMap": {"de": "x"}}) == (Kind.OBJECT, '{"de":"x"}')
    assert value("a[de]", a={"type": "LanguageProperty", "languageMap": {"de": "x"}}) == (Kind.TEXT, "x")
    assert value("a", a={"type": "JsonProperty", "json": {"b": None}}) == (Kind.OBJECT, '{"b":null}')
    assert value("a[b]", a={"type": "JsonProperty", "json": {"b": None}}) == (Kind.NULL, None)


def test_paths_lead_into_values_sub_attributes_and_members() -> None:
    members = {
        "a": {
            "value": {"city": {"zip.code": 7}, "x": {"y": 3}},
            "observedAt": "2026-01-31T12:30:00Z",
            "sub": {"value": 9, "unitCode": "CEL"},
        }
    }
    assert value("a[x.y]", **members) == (Kind.NUMBER, 3)
    assert value("a[x.z]", **members) == (Kind.ABSENT, None)
    assert value("a.sub", **members) == (Kind.NUMBER, 9)
    assert value("a.sub.unitCode", **members) == (Kind.TEXT, "CEL")
    assert value("a.observedAt", **members) == (Kind.DATE_TIME, "2026-01-31T12:30:00.000000")
    assert value("a.createdAt", **members)[0] == Kind.DATE_TIME
    assert value("b.sub", **members) == (Kind.ABSENT, None)


def test_members_of_the_entity_are_sorted_by_too() -> None:
    assert value("id") == (Kind.TEXT, "urn:ngsi-ld:T:1")
    assert value("type") == (Kind.TEXT, CORE.expand("T"))
    assert value("scope") == (Kind.ABSENT, None)
    assert value("scope", scope="/A") == (Kind.TEXT, "/A")
    assert value("scope", scope=["/B", "/A"]) == (Kind.ARRAY, '["/B","/A"]')
    assert value("createdAt")[0] == value("modifiedAt")[0] == Kind.DATE_TIME


def test_the_default_instance_stands_for_an_attribute() -> None:
    assert value("a", a=[{"value": 1, "datasetId": "urn:d:1"}, {"value": 2}]) == (Kind.NUMBER, 2)
    assert value("a", a=[{"value": 1, "datasetId": "urn:d:1"}]) == (Kind.NUMBER, 1)


def test_distances_are_taken_from_a_place_to_geometries_only() -> None:
    place = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [8.0, 41.0]}}
    by_distance = ordering("place;dist-asc", coordinates="[8,40]")
    ((kind, metres),) = by_distance.values(entity(place=place))
    assert kind == Kind.DISTANCE
    assert metres == pytest.approx(111_319, rel=1e-3)
    assert by_distance.values(entity(place={"value": 3})) == ((Kind.NUMBER, 3),)
    assert by_distance.values(entity()) == ((Kind.ABSENT, None),)
    line = ordering("place;dist-asc", coordinates=[[8, 40], [8, 42]], geometry="LineString")
    assert line.values(entity(place=place)) == ((Kind.DISTANCE, pytest.approx(0.0, abs=1.0)),)


def test_directions_stand_behind_a_semicolon() -> None:
    terms = ordering("a", "b;asc", "c;desc", "d;dist-asc", "e;dist-desc", coordinates="[8,40]").terms
    assert [(term.descending, term.by_distance) for term in terms] == [
        (False, False), (False, False), (True, False), (False, True), (True, True)
    ]  # fmt: skip


def test_without_terms_there_is_no_ordering() -> None:
    assert read_ordering([], CORE, collation="de", coordinates="[8,40]") is None


@pytest.mark.parametrize(
    ("terms", "others"),
    [
        (["a;up"], {}),
        (["a;"], {}),
        (["a["], {}),
        (["a[]"], {}),
        (["a[b]c"], {}),
        (["1a"], {}),
        (["a{b}"], {}),
        (["id[x]"], {}),
        (["id;dist-asc"], {"coordinates": "[8,40]"}),
        (["createdAt.a"], {}),
        (["value"], {}),
        (["a;dist-asc"], {}),
        (["a;dist-asc"], {"coordinates": "8,40"}),
        (["a;dist-asc"], {"coordinates": "[8]"}),
        (["a;dist-asc"], {"coordinates": "[8,40]", "geometry": "LineString"}),
        (["a"], {"geometry": "GeometryCollection"}),
        (["a"], {"coordinates": "[8"}),
        (["a"], {"collation": "!!"}),
        (["a"] * 9, {}),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(terms: list[str], others: dict[str, Any]) -> None:
    with pytest.raises(BadRequestData):
        read_ordering(terms, CORE, **others)
