"""What a change touches: checking that alone finds just what checking everything finds there."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.ngsild.model import Entity, Instance
from broker.validation.models import Model
from broker.validation.violations import Violation
from tests.unit.validation.stored import NOW, definitions, entity, model, prop, relationship, shipped, texts, thing

NAMES = ("a", "b", "c", "d")
"""Those that schemas name; entities have others, too."""
DATASETS = (None, "urn:one", "urn:two")
DATES = ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00", "2026-01-31")

SCALARS = st.one_of(
    st.integers(-3, 12),
    st.booleans(),
    st.sampled_from([0.5, 1.0, 11.5]),
    st.sampled_from(["", "x", "open", "closed", "urn:x:1", "a b", "x" * 300, *DATES]),
)
VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.dictionaries(st.sampled_from(["x", "type", "minimum"]), SCALARS, max_size=2),
    st.sampled_from(DATES).map(lambda text: {"@type": "DateTime", "@value": text}),
    st.just({"type": "Point", "coordinates": [8.8, 53.1]}),
)
MEMBERS = st.fixed_dictionaries(
    {},
    optional={"unitCode": st.sampled_from(["CEL", "MTR", "GQ"]), "observedAt": st.just(NOW)},
)


@st.composite
def instances(draw: st.DrawFn) -> list[Instance]:
    found: list[Instance] = []
    for dataset in draw(st.lists(st.sampled_from(DATASETS), min_size=1, max_size=2, unique=True)):
        value = draw(VALUES)
        kinds: list[Instance] = [
            *[prop(value, **draw(MEMBERS))] * 3,
            relationship(draw(st.sampled_from(["urn:x:1", "not a uri", ["urn:x:1", "urn:x:2"]]))),
            texts(
                **draw(st.dictionaries(st.sampled_from(["de", "fr"]), st.sampled_from(["", "x", "open"]), max_size=2))
            ),
            {"type": "VocabProperty", "vocab": "https://example.org/open", "createdAt": NOW, "modifiedAt": NOW},
            {"type": "JsonProperty", "json": {"x": value}, "createdAt": NOW, "modifiedAt": NOW},
            {"type": "ListProperty", "valueList": [value], "createdAt": NOW, "modifiedAt": NOW},
        ]
        instance = draw(st.sampled_from(kinds))
        found.append(instance if dataset is None else {**instance, "datasetId": dataset})
    return found


REQUIRED = st.lists(st.sampled_from(NAMES), max_size=3, unique=True)
RULES: st.SearchStrategy[Any] = st.one_of(
    st.booleans(),
    st.sampled_from(["number", "string", "integer", "array", "boolean", ["string", "array"]]).map(
        lambda t: {"type": t}
    ),
    st.fixed_dictionaries({}, optional={"minimum": st.integers(0, 5), "maximum": st.integers(5, 9)}),
    st.just({"enum": ["open", "closed", 5]}),
    st.just({"type": "string", "format": "date-time"}),
    st.just({"type": "array", "minItems": 1, "items": {"type": "string"}, "uniqueItems": True}),
    st.just({"anyOf": [{"type": "string", "maxLength": 256, "pattern": r"^[\w\-.]+$"}, {"format": "uri"}]}),
    st.just({"oneOf": [{"type": "number"}, {"enum": ["open"]}]}),
    st.just({"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}),
    st.just({"type": "number", "x-vela-units": ["CEL", "KEL"]}),
    st.just({"description": "How high. Units:'meters'"}),
    st.just({"x-vela-observed-at": True}),
    st.just({"$ref": "#/$defs/e%25~1~0%20f"}),
)
PARTS = st.fixed_dictionaries(
    {}, optional={"properties": st.dictionaries(st.sampled_from(NAMES), RULES, max_size=4), "required": REQUIRED}
)
COMPARISON = st.builds(
    lambda left, operator, right: {"left": left, "operator": operator, "right": right, "message": "No."},
    st.sampled_from(["/a", "/b", "/c/x"]),
    st.sampled_from(["<=", ">", "=="]),
    st.sampled_from(["/a", "/b", "/d", "/a/minimum"]),
)
TIES = st.fixed_dictionaries(
    {},
    optional={
        "anyOf": st.lists(PARTS, min_size=1, max_size=2),
        "oneOf": st.lists(PARTS, min_size=1, max_size=2),
        "not": PARTS,
        "if": PARTS,
        "then": PARTS,
        "dependentRequired": st.dictionaries(st.sampled_from(NAMES), REQUIRED, max_size=2),
        "additionalProperties": st.sampled_from([True, {}, False, {"type": "number"}]),
        "unevaluatedProperties": st.booleans(),
        "propertyNames": st.just({"maxLength": 3}),
        "minProperties": st.integers(0, 4),
        "patternProperties": st.just({"^[ab]$": {"type": "number"}}),
    },
)


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    """Schemas of the shape of the official ones, and others that tie the members of an entity together."""
    schema: dict[str, Any] = {
        "$defs": {"commons": draw(PARTS), "nested": {"allOf": [draw(PARTS)]}, "e%/~ f": {"type": "string"}},
        "type": "object",
        **draw(PARTS),
        "x-vela-compare": draw(st.lists(COMPARISON, max_size=2)),
    }
    parts = [{"$ref": "#/$defs/commons"}, {"$ref": "#/$defs/nested"}, draw(PARTS)]
    schema["allOf"] = draw(st.lists(st.sampled_from(parts), min_size=1, max_size=3))
    if draw(st.booleans()):
        schema.update(draw(TIES))
    return schema


ENTITIES = st.dictionaries(st.sampled_from([*NAMES, "unknown"]), instances(), max_size=5).map(
    lambda all_: thing(**all_)
)


def assert_equal(found: Model, stored: Entity, touched: frozenset[str]) -> list[Violation]:
    whole = [violation for violation in found.violations(stored) if violation.concerns(touched)]
    assert found.violations_of(stored, touched) == whole
    return whole


@settings(max_examples=300, deadline=None)
@given(schemas(), ENTITIES, st.frozensets(st.sampled_from([*NAMES, "unknown", "absent"])))
def test_a_check_of_what_is_touched_finds_what_the_whole_check_finds_there(
    schema: dict[str, Any], stored: Entity, touched: frozenset[str]
) -> None:
    assert_equal(model(schema, terms={"open": "https://example.org/open"}), stored, touched)


NUMBERS = st.lists(
    st.one_of(
        st.integers(0, 3).map(prop),
        st.sampled_from(["CEL", "KEL"]).map(lambda code: prop(1, unitCode=code)),
        st.integers(0, 3).map(lambda number: prop({"x": number, "minimum": number})),
        st.sampled_from([texts(), texts(de="x", fr="")]),
    ),
    min_size=1,
    max_size=2,
).map(lambda all_: [one if not index else {**one, "datasetId": "urn:two"} for index, one in enumerate(all_)])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(COMPARISON, min_size=1, max_size=2),
    REQUIRED,
    st.dictionaries(st.sampled_from(NAMES), NUMBERS, min_size=1),
    st.frozensets(st.sampled_from(NAMES), min_size=1, max_size=2),
)
def test_it_does_where_attributes_are_compared_or_have_several_values_or_none(
    comparisons: list[Any], required: list[str], values: dict[str, Any], touched: frozenset[str]
) -> None:
    schema = {
        "x-vela-compare": comparisons,
        "required": required,
        "properties": {"a": {"maxLength": 0}, "b": {"x-vela-units": ["CEL"]}},
    }
    assert_equal(model(schema), thing(**values), touched)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_it_does_for_the_data_models_that_come_with_vela(data: st.DataObject) -> None:
    found = shipped(data.draw(st.sampled_from(sorted(definitions()))))
    names = sorted(found.attributes)
    drawn = data.draw(st.dictionaries(st.sampled_from(names), instances(), max_size=5))
    stored = entity({found.key_of(name): one for name, one in drawn.items()}, types=[found.iri])
    assert_equal(found, stored, data.draw(st.frozensets(st.sampled_from(names), max_size=3)))
    assert_equal(found, stored, frozenset(drawn))


@pytest.mark.parametrize(
    ("schema", "separable"),
    [
        ({"properties": {"a": {"anyOf": [True]}}, "required": ["a"], "additionalProperties": True}, True),
        ({"allOf": [{"$ref": "#/$defs/x"}], "$defs": {"x": {"type": "object", "properties": {}}}}, True),
        ({"type": ["object", "null"], "unevaluatedProperties": {}}, True),
        ({"additionalProperties": False}, False),
        ({"allOf": [{"anyOf": [True]}]}, False),
        ({"allOf": [False]}, False),
        ({"type": "string"}, False),
        ({"if": {"required": ["a"]}}, False),
        ({"properties": {"a": {"$id": "urn:own", "type": "number"}}}, False),
    ],
)
def test_a_schema_that_judges_attributes_one_by_one_is_known_as_such(schema: dict[str, Any], separable: bool) -> None:
    assert model(schema).separable is separable


@pytest.mark.parametrize("iri", sorted(definitions()), ids=lambda iri: str(iri).rpartition("/")[2])
def test_the_data_models_that_come_with_vela_are_checked_attribute_by_attribute(iri: str) -> None:
    assert shipped(iri).separable


def test_only_what_is_touched_is_looked_at() -> None:
    stored = thing(a=1)
    stored["attributes"].update(thing(b=[{"createdAt": NOW, "type": "no such type"}])["attributes"])
    found = model({"properties": {"a": {"type": "string"}, "b": {"type": "string"}}})
    assert [violation.pointer for violation in found.violations_of(stored, frozenset({"a"}))] == ["/a"]
