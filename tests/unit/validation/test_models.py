"""What a data model finds in a whole entity."""

from typing import Any

import pytest

from broker.ngsild.model import DEFAULT_VOCABULARY, encode_key
from tests.unit.validation.stored import entity, model, prop, relationship, texts, thing

TWO = "urn:two"


def rules(schema: dict[str, Any], **values: Any) -> list[str]:
    return [f"{violation.pointer} {violation.rule}" for violation in model(schema).violations(thing(**values))]


def test_members_found_through_references_and_applicators_are_bound() -> None:
    schema = {
        "$defs": {"part": {"properties": {"a": {"type": "number"}}}},
        "allOf": [{"$ref": "#/$defs/part"}],
        "if": {"required": ["a"]},
        "then": {"properties": {"b": {"type": "number"}}},
        "dependentSchemas": {"a": {"properties": {"c": {"type": "number"}}}},
    }
    assert sorted(rules(schema, a="x", b="y", c="z")) == ["/a type", "/b type", "/c type"]


def test_a_schema_that_refers_to_itself_is_bound() -> None:
    schema = {"$defs": {"part": {"allOf": [{"$ref": "#/$defs/part"}]}}, "properties": {"a": {"type": "number"}}}
    assert rules({**schema, "anyOf": [{"$ref": "#"}, True]}, a="x") == ["/a type"]


def test_what_is_only_required_is_bound() -> None:
    assert rules({"required": ["id", "type", "a"]}, a=1) == []
    assert rules({"required": ["a"]}, b=1) == ["/a required"]
    assert rules({"dependentRequired": {"a": ["b"]}}, a=1, b=1) == []


def test_names_are_bound_by_the_iris_of_the_terms() -> None:
    own = model({"required": ["a"], "properties": {"a": {"type": "number"}}}, terms={"a": "https://example.org/v1.0/a"})
    key = encode_key("https://example.org/v1.0/a")
    assert (own.key_of("a"), own.name_of(key), own.key_of("b")) == (key, "a", encode_key(DEFAULT_VOCABULARY + "b"))
    assert [one.rule for one in own.violations(entity({key: [prop("x")]}))] == ["type"]
    assert [one.rule for one in own.violations(thing(a=1))] == ["required"]


def test_of_two_names_with_one_iri_the_required_one_counts() -> None:
    terms = {"title": "https://example.org/name", "name": "https://example.org/name"}
    own = model({"properties": {"title": {"type": "string"}, "name": {}}, "required": ["name"]}, terms=terms)
    assert own.violations(entity({own.key_of("name"): [prop("x")]})) == []


def test_a_single_relationship_keeps_a_schema_that_wants_an_array() -> None:
    schema = {"properties": {"a": {"type": "array", "minItems": 1}}}
    assert rules(schema, a=[relationship("urn:x:1")]) == []
    assert rules(schema, a=[relationship("urn:x:1"), relationship(["urn:x:2"], datasetId=TWO)]) == []
    assert rules(schema, a="urn:x:1") == ["/a type"]


def test_a_schema_that_closes_the_entity_sees_every_attribute() -> None:
    schema = {"properties": {"id": True, "type": True, "a": True}, "additionalProperties": False}
    assert rules(schema, a=1) == []
    assert rules(schema, a=1, b=1, c=2) == ["/b additionalProperties", "/c additionalProperties"]
    foreign = entity({encode_key(DEFAULT_VOCABULARY + "type"): [prop(1)]})
    assert [one.attribute for one in model(schema).violations(foreign)] == [DEFAULT_VOCABULARY + "type"]


def test_each_instance_is_checked_by_itself() -> None:
    schema = {"required": ["b"], "properties": {"a": {"maximum": 5}}}
    found = model(schema).violations(thing(a=[prop(9), prop(1), prop(7, datasetId=TWO)]))
    assert [(violation.pointer, violation.found, violation.dataset) for violation in found] == [
        ("/b", "missing", None),
        ("/a", "9", None),
        ("/a", "7", TWO),
    ]


def test_a_violation_of_the_only_instance_names_its_dataset() -> None:
    (found,) = model({"properties": {"a": {"maximum": 5}}}).violations(thing(a=[prop(9, datasetId=TWO)]))
    assert found.dataset == TWO


def test_each_text_of_a_language_map_is_checked() -> None:
    schema = {"required": ["a"], "properties": {"a": {"type": "string", "maxLength": 5}}}
    found = model(schema).violations(thing(a=[texts(de="Haus", fr=["maison", "foyer"])]))
    assert [(violation.rule, violation.found) for violation in found] == [("maxLength", '"maison"')]
    assert rules(schema, a=[texts()]) == ["/a required"]


def test_a_further_value_that_breaks_a_rule_of_the_whole_entity_is_found() -> None:
    schema = {"oneOf": [{"properties": {"a": {"type": "number"}}}, {"properties": {"a": {"type": "boolean"}}}]}
    assert rules(schema, a=[prop(1), prop(True, datasetId=TWO)]) == []
    (found,) = model(schema).violations(thing(a=[prop(1), prop("x", datasetId=TWO)]))
    assert (found.rule, found.dataset) == ("oneOf", TWO)
    assert rules(schema, a=[prop("x"), prop("y", datasetId=TWO)]) == [" oneOf"]


def test_a_comparison_holds_for_each_instance() -> None:
    schema = {"x-vela-compare": [{"left": "/a", "operator": "<=", "right": "/b", "message": "Too many."}]}
    found = model(schema).violations(thing(a=[prop(1), prop(9, datasetId=TWO)], b=5))
    assert [(violation.found, violation.dataset) for violation in found] == [("9", TWO)]


@pytest.mark.parametrize(
    ("operator", "holds", "breaks"),
    [("<", 1, 2), ("<=", 2, 3), (">", 3, 2), (">=", 2, 1), ("==", 2, 1), ("!=", 1, 2)],
)
def test_every_operator_compares_left_with_right(operator: str, holds: int, breaks: int) -> None:
    rule = {"left": "/a/x~1y", "operator": operator, "right": "/b", "message": "No."}
    assert rules({"x-vela-compare": [rule]}, a={"x/y": holds}, b=2) == []
    assert rules({"x-vela-compare": [rule]}, a={"x/y": breaks}, b=2.0) == ["/a/x~1y x-vela-compare"]


@pytest.mark.parametrize(
    "values", [{}, {"a": 9}, {"b": 1}, {"a": "9", "b": 1}, {"a": True, "b": 0}, {"a": [9], "b": 1}]
)
def test_a_comparison_without_two_numbers_holds(values: dict[str, Any]) -> None:
    rule = {"left": "/a", "operator": "<", "right": "/b", "message": "No."}
    assert rules({"x-vela-compare": [rule]}, **values) == []


def test_a_unit_code_that_the_model_does_not_know_is_a_violation_of_its_own() -> None:
    schema = {"$defs": {"t": {"x-vela-units": ["CEL", "KEL"]}}, "properties": {"a": {"$ref": "#/$defs/t"}}}
    assert rules(schema, a=[prop(1), prop(1, unitCode="CEL", datasetId="urn:one")]) == []
    (found,) = model(schema).violations(thing(a=[prop(1), prop(1, unitCode="FAH", datasetId=TWO)]))
    assert found.problem() == {
        "pointer": "/a/unitCode",
        "detail": 'a.unitCode (datasetId urn:two) is "FAH"; expected one of "CEL", "KEL".',
        "found": '"FAH"',
        "expected": 'one of "CEL", "KEL"',
        "schema": "Thing/schema.json#/$defs/t/x-vela-units",
        "datasetId": TWO,
    }
    assert (found.attribute, found.rule, found.advisory) == ("a", "x-vela-units", False)


def test_a_unit_that_the_description_names_holds_unless_the_keyword_says_otherwise() -> None:
    described = {"description": "How warm it is. Units:'Celsius degrees'"}
    (found,) = model({"properties": {"a": described}}).violations(thing(a=[prop(1, unitCode="FAH")]))
    assert (found.expected, found.schema) == ('one of "CEL"', "Thing/schema.json#/properties/a/description")
    assert rules({"properties": {"a": {**described, "x-vela-units": ["FAH"]}}}, a=[prop(1, unitCode="FAH")]) == []


def test_a_missing_time_of_observation_is_advisory() -> None:
    schema = {"properties": {"a": {"x-vela-observed-at": True}, "b": {"x-vela-observed-at": False}}}
    assert rules(schema, a=[prop(1, observedAt="2026-01-31T12:00:00Z")], b=1) == []
    (found,) = model(schema).violations(thing(a=1, b=1))
    assert (found.pointer, found.rule, found.advisory) == ("/a/observedAt", "x-vela-observed-at", True)
    assert found.detail == "a.observedAt is missing; expected the time of the observation."
    assert found.schema == "Thing/schema.json#/properties/a/x-vela-observed-at"


def test_a_date_time_without_zone_passes_only_where_that_is_tolerated() -> None:
    schema = {"properties": {"a": {"format": "date-time"}}}
    zoneless, wrong = thing(a="2026-01-31T12:00:00"), thing(a="2026-02-31T12:00:00")
    assert [one.rule for one in model(schema).violations(zoneless)] == ["format"]
    tolerant = model(schema, zone_tolerant=True)
    assert tolerant.violations(zoneless) == []
    assert [one.rule for one in tolerant.violations(wrong)] == ["format"]


def test_rules_that_tie_members_together_say_so() -> None:
    schema = {
        "properties": {"a": {"type": "number"}},
        "allOf": [{"required": ["b"]}],
        "if": {"required": ["a"]},
        "then": {"required": ["c"]},
        "anyOf": [{"required": ["d"]}, {"required": ["e"]}],
    }
    tied = {violation.pointer: violation.tied for violation in model(schema).violations(thing(a="x"))}
    assert tied == {"/a": False, "/b": False, "/c": True, "": True}
