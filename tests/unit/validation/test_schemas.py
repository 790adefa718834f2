from pathlib import Path
from typing import Any

import pytest

from broker.validation.schemas import DataModelError, load_models
from tests.unit.validation.stored import model, prop, relationship, thing


def rules(schema: dict[str, Any], **values: Any) -> list[str]:
    return [f"{violation.pointer} {violation.rule}" for violation in model(schema).violations(thing(**values))]


def test_members_found_through_references_and_applicators_are_bound() -> None:
    schema = {
        "$defs": {"part": {"properties": {"a": {"type": "number"}}}},
        "allOf": [{"$ref": "#/$defs/part"}],
        "if": {"required": ["a"]},
        "then": {"properties": {"b": {"type": "number"}}},
    }
    assert rules(schema, a="x", b="y") == ["/a type", "/b type"]


def test_a_schema_that_refers_to_itself_is_bound() -> None:
    schema = {"$defs": {"part": {"allOf": [{"$ref": "#/$defs/part"}]}}, "properties": {"a": {"type": "number"}}}
    assert rules({**schema, "anyOf": [{"$ref": "#"}, True]}, a="x") == ["/a type"]


def test_a_single_relationship_keeps_a_schema_that_wants_an_array() -> None:
    schema = {"properties": {"a": {"type": "array", "minItems": 1}}}
    assert rules(schema, a=[relationship("urn:x:1")]) == []
    assert rules(schema, a="urn:x:1") == ["/a type"]


def test_a_schema_that_closes_the_entity_sees_every_attribute() -> None:
    schema = {"properties": {"id": True, "type": True, "a": True}, "additionalProperties": False}
    assert rules(schema, a=1) == []
    assert rules(schema, a=1, b=1, c=2) == ["/b additionalProperties", "/c additionalProperties"]


def test_each_instance_is_checked_by_itself() -> None:
    schema = {"required": ["b"], "properties": {"a": {"maximum": 5}}}
    found = model(schema).violations(thing(a=[prop(9), prop(1), prop(7, datasetId="urn:two")]))
    assert [(violation.pointer, violation.found, violation.dataset) for violation in found] == [
        ("/b", "missing", None),
        ("/a", "9", None),
        ("/a", "7", "urn:two"),
    ]


def test_a_comparison_holds_for_each_instance() -> None:
    schema = {
        "properties": {"a": True, "b": True},
        "x-vela-compare": [{"left": "/a", "operator": "<=", "right": "/b", "message": "Too many."}],
    }
    found = model(schema).violations(thing(a=[prop(1), prop(9, datasetId="urn:two")], b=5))
    assert [(violation.found, violation.dataset) for violation in found] == [("9", "urn:two")]


@pytest.mark.parametrize(
    ("operator", "holds", "breaks"),
    [("<", 1, 2), ("<=", 2, 3), (">", 3, 2), (">=", 2, 1), ("==", 2, 1), ("!=", 1, 2)],
)
def test_every_operator_compares_left_with_right(operator: str, holds: int, breaks: int) -> None:
    rule = {"left": "/a/x~1y", "operator": operator, "right": "/b", "message": "No."}
    schema = {"properties": {"a": True, "b": True}, "x-vela-compare": [rule]}
    assert rules(schema, a={"x/y": holds}, b=2) == []
    assert rules(schema, a={"x/y": breaks}, b=2.0) == ["/a/x~1y x-vela-compare"]


@pytest.mark.parametrize(
    "values", [{}, {"a": 9}, {"b": 1}, {"a": "9", "b": 1}, {"a": True, "b": 0}, {"a": [9], "b": 1}]
)
def test_a_comparison_without_two_numbers_holds(values: dict[str, Any]) -> None:
    rule = {"left": "/a", "operator": "<", "right": "/b", "message": "No."}
    assert rules({"properties": {"a": True, "b": True}, "x-vela-compare": [rule]}, **values) == []


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "circle"}, "Thing/schema.json is no valid schema: "),
        ({"$ref": "https://example.org/elsewhere.json"}, "Thing/schema.json is no valid schema: "),
        ({"x-vela-compare": {}}, "x-vela-compare is no array"),
        ({"x-vela-compare": ["a <= b"]}, "x-vela-compare/0 is no object"),
        ({"x-vela-compare": [{"left": "/a", "operator": "<="}]}, "x-vela-compare/0/right is missing or no text"),
        (
            {"x-vela-compare": [{"left": "/a", "operator": "=<", "right": "/b", "message": ""}]},
            "x-vela-compare/0/operator is '=<': expected one of < <= > >= == !=",
        ),
        (
            {"x-vela-compare": [{"left": "a", "operator": "<=", "right": "/b", "message": ""}]},
            "'a' is no JSON pointer",
        ),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_with_the_reason(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(DataModelError) as caught:
        model(schema)
    assert message in str(caught.value)


def test_a_folder_without_its_shared_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataModelError, match=r"common-schema\.json does not exist"):
        load_models(tmp_path)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "common-schema.json").write_text("{")
    with pytest.raises(DataModelError, match=r"common-schema\.json is no JSON"):
        load_models(tmp_path)


def test_a_shared_schema_without_an_identifier_is_refused(tmp_path: Path) -> None:
    (tmp_path / "common-schema.json").write_text("{}")
    subject = tmp_path / "dataModel.Test"
    (subject / "Thing").mkdir(parents=True)
    (subject / "context.jsonld").write_text('{"@context": {}}')
    (subject / "Thing" / "schema.json").write_text('{"$id": "urn:test:thing"}')
    with pytest.raises(DataModelError, match=r"A schema that dataModel\.Test/Thing/schema\.json needs has no \$id"):
        load_models(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"@context": {"a": 5}}'])
def test_a_subject_without_a_usable_context_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "common-schema.json").write_text('{"$id": "urn:test:common"}')
    (tmp_path / "dataModel.Test").mkdir()
    (tmp_path / "dataModel.Test" / "context.jsonld").write_text(content)
    with pytest.raises(DataModelError, match=r"context\.jsonld (holds no JSON-LD @context|cannot be used)"):
        load_models(tmp_path)
