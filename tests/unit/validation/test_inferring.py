"""Schemas that are proposed from entities."""

import copy
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.jsonld.context import Context
from broker.jsonld.core import CORE_CONTEXT_URL
from broker.jsonld.processing import core_terms
from broker.ngsild.fragments import read_entity
from broker.ngsild.model import DEFAULT_VOCABULARY, Entity
from broker.ngsild.mutations import CreateEntity
from broker.validation.compiling import compile_definition
from broker.validation.definitions import Definition
from broker.validation.inferring import Proposal, infer
from broker.validation.models import Model

NOW = "2026-01-31T12:00:00Z"
CORE = Context(core_terms(), CORE_CONTEXT_URL, None)


def entity(number: int = 1, **attributes: Any) -> dict[str, Any]:
    return {"id": f"urn:ngsi-ld:Thing:{number}", "type": "Thing", **attributes}


def prop(value: Any, **members: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, **members}


def members(entities: Iterable[dict[str, Any]], **options: Any) -> dict[str, Any]:
    return dict(infer("Thing", entities, **options).schema["properties"])


def of_values(*values: Any, **options: Any) -> dict[str, Any]:
    """The schema of an attribute with these values, without its description."""
    schema = members([entity(number, a=prop(value)) for number, value in enumerate(values)], **options)["a"]
    return {name: item for name, item in schema.items() if name != "description"}


def compiled(proposal: Proposal) -> Model:
    terms = {name: iri for name, iri in proposal.context["@context"].items() if name not in ("id", "type")}
    return compile_definition(Definition(terms[proposal.name], proposal.name, proposal.schema, terms=terms))


def stored(document: dict[str, Any]) -> Entity:
    return CreateEntity(read_entity(document, CORE))(None, NOW)[0]


def test_what_every_entity_has_is_required() -> None:
    schema = infer("Thing", [entity(1, a=prop(1), b=prop(2)), entity(2, b=prop(3))]).schema

    assert schema["required"] == ["id", "type", "b"]
    assert schema["properties"]["type"]["const"] == "Thing"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], {"type": "integer"}),
        ([1, 2.5], {"type": "number"}),
        ([True, False], {"type": "boolean"}),
        (["a lamp", "another"], {"type": "string"}),
        (["a lamp", 1], {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.5Z"], {"type": "string", "format": "date-time"}),
        (["2026-01-31", "2026-02-01"], {"type": "string", "format": "date"}),
        (["2026-01-31", "soon"], {"type": "string"}),
        (["https://example.org/a", "urn:ngsi-ld:B:1"], {"type": "string", "format": "uri"}),
        (["note: a text"], {"type": "string"}),
        ([[1, 2], []], {"type": "array", "items": {"type": "integer"}}),
        ([[]], {"type": "array"}),
        ([{"city": "Dresden", "number": 5}], {
            "type": "object", "properties": {"city": {"type": "string"}, "number": {"type": "integer"}}}),
        ([{"@type": "DateTime", "@value": "2026-01-31T12:00:00Z"}], {"type": "string", "format": "date-time"}),
    ],
)  # fmt: skip
def test_types_and_formats_are_those_of_all_values(values: list[Any], expected: dict[str, Any]) -> None:
    assert of_values(*values) == expected


def test_few_texts_that_are_repeated_become_an_enumeration() -> None:
    assert of_values(*["on", "off"] * 10) == {"type": "string", "enum": ["off", "on"]}


@pytest.mark.parametrize(
    "texts",
    [
        ["on", "off"] * 9,  # too few
        [*["on"] * 30, "off"],  # one occurs once: there may be more like it
        ["on"] * 30,  # one text is no choice
        [f"lamp {number % 13}" for number in range(200)],  # too many different ones
        ["x" * 70, "y"] * 20,  # sentences
    ],
)
def test_other_texts_become_none(texts: list[str]) -> None:
    assert of_values(*texts) == {"type": "string"}


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([3.2, 48.9], 0, 50),
        ([12, 17], 12, 17),
        ([-0.34, 0.52], -0.4, 0.6),
        ([1013.2, 1013.4], 1013.2, 1013.4),
        ([230], 200, 300),
        ([-5, 1234], -1000, 2000),
    ],
)
def test_the_range_of_numbers_is_rounded_outwards_and_a_rule_only_when_asked_for(
    values: list[float], low: float, high: float
) -> None:
    entities = [entity(number, a=prop(value)) for number, value in enumerate(values)]

    lenient, strict = members(entities)["a"], members(entities, strict=True)["a"]

    assert "minimum" not in lenient
    assert f"from {low} to {high}." in lenient["description"]
    assert (strict["minimum"], strict["maximum"]) == (low, high)


def test_what_is_always_the_same_is_told() -> None:
    found = members([entity(1, a=prop(0), b=prop("x")), entity(2, a=prop(0), b=prop("x"))])

    assert found["a"]["description"].endswith("always 0.")
    assert found["b"]["description"].endswith("always 'x'.")


def test_units_and_times_of_observation_are_kept() -> None:
    found = members(
        [
            entity(1, a=prop(1, unitCode="CEL", observedAt=NOW), b=prop(1, observedAt=NOW)),
            entity(2, a=prop(2, unitCode="FAH", observedAt=NOW), b=prop(1)),
        ]
    )

    assert found["a"]["x-vela-units"] == ["CEL", "FAH"]
    assert found["a"]["x-vela-observed-at"] is True
    assert "x-vela-units" not in found["b"]
    assert "x-vela-observed-at" not in found["b"]


def test_relationships_are_uris_alone_or_in_arrays() -> None:
    one = {"type": "Relationship", "object": "urn:ngsi-ld:B:1"}
    two = {"type": "Relationship", "object": ["urn:ngsi-ld:B:1", "urn:ngsi-ld:B:2"]}
    listed = {"type": "ListRelationship", "objectList": [{"object": "urn:ngsi-ld:B:1"}]}
    uri = {"type": "string", "format": "uri"}

    found = members([entity(1, a=one, b=one, c=listed), entity(2, a=one, b=two, c=listed)])

    assert found["a"]["format"] == "uri"
    assert found["b"]["anyOf"] == [uri, {"type": "array", "items": uri}]
    assert (found["c"]["type"], found["c"]["items"]) == ("array", uri)


def test_geometries_are_those_that_were_seen() -> None:
    point = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [13.7, 51.0]}}
    line = {"type": "GeoProperty", "value": {"type": "LineString", "coordinates": [[13.7, 51.0], [13.8, 51.0]]}}

    found = members([entity(1, location=point, way=point), entity(2, location=point, way=line)])

    assert found["location"]["properties"]["type"] == {"enum": ["Point"]}
    assert found["location"]["properties"]["coordinates"]["maxItems"] == 3
    assert found["way"]["properties"]["type"] == {"enum": ["LineString", "Point"]}


def test_each_text_of_a_language_map_and_each_instance_counts() -> None:
    name = {"type": "LanguageProperty", "languageMap": {"de": "Brücke", "en": ["bridge", "the bridge"]}}
    several = [prop(1), prop(2.5, datasetId="urn:ngsi-ld:Dataset:1")]

    found = members([entity(1, name=name, a=several)])

    assert (found["name"]["type"], found["a"]["type"]) == ("string", "number")


def test_names_and_iris_are_those_of_the_census() -> None:
    iri = "https://smartdatamodels.org/dataModel.Energy/power"
    proposal = infer(
        "Meter",
        [{"id": "urn:ngsi-ld:Meter:1", "type": "https://smartdatamodels.org/dataModel.Energy/Meter", iri: prop(1),
          "note": prop("a"), "location": prop("b")}],
        iri="https://smartdatamodels.org/dataModel.Energy/Meter",
        names={iri: "power"},
    )  # fmt: skip

    assert proposal.subject == "dataModel.Energy"
    assert {"power", "note"} < set(proposal.schema["properties"])
    assert proposal.context["@context"]["power"] == iri
    assert proposal.context["@context"]["note"] == DEFAULT_VOCABULARY + "note"
    assert proposal.context["@context"]["Meter"] == "https://smartdatamodels.org/dataModel.Energy/Meter"


def test_a_proposal_refuses_what_no_entity_has() -> None:
    model = compiled(infer("Thing", [entity(number, a=prop(number), b=prop("x")) for number in range(3)], strict=True))

    wrong = model.violations(stored(entity(4, a=prop(7))))

    assert {(one.pointer, one.rule) for one in wrong} == {("/a", "maximum"), ("/b", "required")}


TEXTS = st.sampled_from(["on", "off", "2026-01-31T12:00:00Z", "https://example.org", "urn:ngsi-ld:B:1", "2026-01-31"])
PLAIN = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False),
    st.text(min_size=1), TEXTS,
)  # fmt: skip
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["k", "l", "m"]), inner, min_size=1),
    max_leaves=8,
)
URIS = st.sampled_from(["urn:ngsi-ld:B:1", "https://example.org/b", "a:b"])
ATTRIBUTES = st.one_of(
    st.builds(lambda value, more: {"type": "Property", "value": value, **more}, VALUES,
              st.sampled_from([{}, {"unitCode": "CEL"}, {"unitCode": "KEL", "observedAt": NOW}])),
    st.builds(lambda target: {"type": "Relationship", "object": target},
              URIS | st.lists(URIS, min_size=1, unique=True)),
    st.builds(lambda targets: {"type": "ListRelationship", "objectList": targets}, st.lists(URIS, min_size=1)),
    st.builds(lambda text: {"type": "LanguageProperty", "languageMap": {"en": text}}, st.text(min_size=1)),
    st.builds(lambda text: {"type": "VocabProperty", "vocab": text}, st.sampled_from(["on", "off", "urn:v:x"])),
    st.builds(lambda value: {"type": "JsonProperty", "json": value}, st.dictionaries(st.sampled_from("kl"), VALUES)),
    st.builds(lambda x, y: {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [x, y]}},
              st.integers(-179, 179), st.integers(-89, 89)),
)  # fmt: skip
ENTITIES = st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), ATTRIBUTES), min_size=1, max_size=30)


@given(ENTITIES, st.booleans())
def test_a_proposal_accepts_every_entity_that_it_was_made_of(parts: list[dict[str, Any]], strict: bool) -> None:
    entities = [entity(number, **part) for number, part in enumerate(parts)]

    model = compiled(infer("Thing", copy.deepcopy(entities), strict=strict))

    assert [one.detail for document in entities for one in model.violations(stored(document))] == []
