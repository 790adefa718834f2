from typing import Any

import pytest
from bson import Int64

from broker.ngsild.model import DEFAULT_VOCABULARY, Instance, encode_key
from broker.validation.simplified import Binding, Variant
from tests.unit.validation.stored import context, prop, relationship, thing

DATASET = "urn:ngsi-ld:dataset:two"


def binding(*arrays: str, unbound: bool = False) -> Binding:
    names = {encode_key(DEFAULT_VOCABULARY + name): name for name in ("a", "b")}
    return Binding("Thing", names, frozenset(arrays), context(Short="https://example.org/Short"), unbound=unbound)


def simplified(instance: Instance, *arrays: str) -> Any:
    document, variants = binding(*arrays).simplify(thing(a=[{"createdAt": "", **instance}]))
    assert not variants
    return document["a"]


@pytest.mark.parametrize(
    ("instance", "value"),
    [
        (prop(5), 5),
        (prop(False), False),
        (prop(Int64(2**40)), 2**40),
        (prop([1, {"x%2Ey": Int64(2)}]), [1, {"x.y": 2}]),
        (prop({"@type": "DateTime", "@value": "2026-01-31T12:00:00Z"}), "2026-01-31T12:00:00Z"),
        (prop([{"@type": "Date", "@value": "2026-01-31"}]), ["2026-01-31"]),
        (
            {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [1, 2.5]}},
            {"type": "Point", "coordinates": [1, 2.5]},
        ),
        (relationship("urn:x:1"), "urn:x:1"),
        (relationship(["urn:x:1", "urn:x:2"]), ["urn:x:1", "urn:x:2"]),
        ({"type": "VocabProperty", "vocab": "https://example.org/Short"}, "Short"),
        ({"type": "VocabProperty", "vocab": ["https://example.org/Short", DEFAULT_VOCABULARY + "y"]}, ["Short", "y"]),
        ({"type": "JsonProperty", "json": {"x%2Ey": [None]}}, {"x.y": [None]}),
        ({"type": "ListProperty", "valueList": [1, "two"]}, [1, "two"]),
        ({"type": "ListRelationship", "objectList": ["urn:x:1"]}, ["urn:x:1"]),
        ({"type": "LanguageProperty", "languageMap": {"de": "Haus"}}, "Haus"),
    ],
)
def test_each_type_of_attribute_becomes_the_value_that_schemas_describe(instance: Instance, value: Any) -> None:
    found = simplified(instance)
    assert found == value
    assert type(found) is type(value)


def test_a_single_relationship_becomes_an_array_where_the_schema_takes_nothing_else() -> None:
    assert simplified(relationship("urn:x:1"), "a") == ["urn:x:1"]
    assert simplified(relationship(["urn:x:1"]), "a") == ["urn:x:1"]


def test_each_further_instance_is_a_variant_with_its_dataset() -> None:
    entity = thing(a=[prop(1), prop(2, datasetId=DATASET)], b="x")
    assert binding().simplify(entity) == (
        {"id": "urn:ngsi-ld:Thing:1", "type": "Thing", "a": 1, "b": "x"},
        [Variant("a", 2, DATASET)],
    )


def test_each_further_text_of_a_language_map_is_a_variant() -> None:
    texts = {"type": "LanguageProperty", "languageMap": {"de": "Haus", "fr": ["maison", "foyer"]}, "createdAt": ""}
    document, variants = binding().simplify(thing(a=[texts]))
    assert document["a"] == "Haus"
    assert variants == [Variant("a", "maison", None), Variant("a", "foyer", None)]


def test_an_empty_language_map_has_no_value_to_check() -> None:
    document, variants = binding().simplify(thing(a=[{"type": "LanguageProperty", "languageMap": {}, "createdAt": ""}]))
    assert "a" not in document
    assert variants == []


def test_attributes_unknown_to_the_schema_are_left_out_unless_they_matter() -> None:
    entity = thing(a=1, other=2)
    assert "other" not in binding().simplify(entity)[0]
    assert binding(unbound=True).simplify(entity)[0]["other"] == 2
