from typing import Any

import pytest
from bson import Int64

from broker.ngsild.model import DEFAULT_VOCABULARY, Instance, encode_key
from broker.validation.simplified import Terms, values_of
from tests.unit.validation.stored import prop, relationship, texts

TERMS = Terms({"Short": "https://example.org/Short", "id": "@id", "taken": "https://example.org/taken"})


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
        (texts(de="Haus"), "Haus"),
    ],
)
def test_each_type_of_attribute_becomes_the_value_that_schemas_describe(instance: Instance, value: Any) -> None:
    (found,) = values_of(instance, TERMS, listed=False)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("instance", "value"),
    [
        (relationship("urn:x:1"), ["urn:x:1"]),
        (relationship(["urn:x:1"]), ["urn:x:1"]),
        ({"type": "VocabProperty", "vocab": "https://example.org/Short"}, ["Short"]),
        (prop("urn:x:1"), "urn:x:1"),
    ],
)
def test_a_single_relationship_or_term_becomes_an_array_where_the_schema_takes_nothing_else(
    instance: Instance, value: Any
) -> None:
    assert values_of(instance, TERMS, listed=True) == [value]


def test_each_text_of_a_language_map_is_a_value() -> None:
    assert values_of(texts(de="Haus", fr=["maison", "foyer"]), TERMS, listed=False) == ["Haus", "maison", "foyer"]
    assert values_of(texts(), TERMS, listed=False) == []


@pytest.mark.parametrize(
    ("name", "iri"),
    [
        ("Short", "https://example.org/Short"),
        ("other", DEFAULT_VOCABULARY + "other"),
        ("https://example.org/x.y", "https://example.org/x.y"),
        ("urn:x", "urn:x"),
    ],
)
def test_names_and_iris_stand_for_each_other(name: str, iri: str) -> None:
    assert TERMS.key(name) == encode_key(iri)
    assert TERMS.name(iri) == name


@pytest.mark.parametrize("suffix", ["id", "type", "taken", "urn:x", ""])
def test_an_iri_whose_short_form_means_something_else_stays(suffix: str) -> None:
    assert TERMS.name(DEFAULT_VOCABULARY + suffix) == DEFAULT_VOCABULARY + suffix


def test_of_several_names_the_preferred_one_is_shown_else_the_shortest() -> None:
    terms = {"long": "https://example.org/x", "b": "https://example.org/x", "a": "https://example.org/x"}
    assert Terms(terms).name("https://example.org/x") == "a"
    assert Terms(terms, ["long"]).name("https://example.org/x") == "long"
