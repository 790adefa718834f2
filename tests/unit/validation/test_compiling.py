from typing import Any

import pytest

from broker.validation.definitions import DataModelError
from tests.unit.validation.stored import model

COMMON = "urn:vela:datamodels:common-schema"
FILES = {COMMON: "common-schema.json"}


def reason(schema: dict[str, Any], **members: Any) -> str:
    with pytest.raises(DataModelError) as caught:
        model(schema, **members)
    return str(caught.value)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "circle"}, "Thing/schema.json#/type is no valid schema: 'circle' is not valid"),
        (
            {"properties": {"a": {"items": [{}]}}},
            "Thing/schema.json#/properties/a/items is no valid schema: [{}] is not of type 'object', 'boolean'.",
        ),
        ({"properties": {"a/b": {"items": None}}}, "Thing/schema.json#/properties/a~1b/items is no valid schema: None"),
        (
            {"allOf": [{"$ref": "https://example.org/elsewhere.json"}]},
            "Thing/schema.json#/allOf/0/$ref refers to https://example.org/elsewhere.json, which does not exist.",
        ),
        (
            {"properties": {"a": {"$ref": "#/$defs/none"}}},
            "Thing/schema.json#/properties/a/$ref refers to #/$defs/none, which does not exist.",
        ),
        ({"properties": {"a": {"pattern": "("}}}, "Thing/schema.json#/properties/a/pattern is no valid schema: '('"),
        (
            {"properties": {"a": {"pattern": "a{,3}"}}},
            'Thing/schema.json#/properties/a/pattern cannot be used: "a{,3}" is not a "regex".',
        ),
        ({"$ref": "#anchor"}, "Thing/schema.json# cannot be used: Anchor 'anchor' does not exist."),
        ({"x-vela-compare": {}}, "Thing/schema.json#/x-vela-compare is no array"),
        ({"x-vela-compare": ["a <= b"]}, "Thing/schema.json#/x-vela-compare/0 is no object"),
        (
            {"x-vela-compare": [{"left": "/a", "operator": "<="}]},
            "Thing/schema.json#/x-vela-compare/0/right is missing or no text",
        ),
        (
            {"x-vela-compare": [{"left": "/a", "operator": "=<", "right": "/b", "message": ""}]},
            "Thing/schema.json#/x-vela-compare/0/operator is '=<': expected one of < <= > >= == !=",
        ),
        (
            {"x-vela-compare": [{"left": "a", "operator": "<=", "right": "/b", "message": ""}]},
            "Thing/schema.json#/x-vela-compare/0: 'a' is no JSON pointer",
        ),
        (
            {"properties": {"a": {"x-vela-units": "CEL"}}},
            "Thing/schema.json#/properties/a/x-vela-units is no list of unit codes",
        ),
        (
            {"properties": {"a": {"x-vela-observed-at": 1}}},
            "Thing/schema.json#/properties/a/x-vela-observed-at is neither true nor false",
        ),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_with_the_place_and_the_reason(
    schema: dict[str, Any], expected: str
) -> None:
    assert reason(schema).startswith(expected)


@pytest.mark.parametrize(
    ("common", "expected"),
    [
        ({"$defs": {}}, "Thing/schema.json#/$ref refers to common-schema.json#/$defs/a, which does not"),
        ({"$defs": {"a": {"minLength": -1}}}, "common-schema.json#/$defs/a/minLength is no valid schema: -1 is less"),
        (
            {"$defs": {"a": {"$ref": "#/$defs/b"}}},
            "common-schema.json#/$defs/a/$ref refers to #/$defs/b, which does not exist.",
        ),
        ({"$defs": {"a": {"x-vela-units": []}}}, None),
        (
            {"$defs": {"a": {"properties": {"b": {"x-vela-units": []}}}}},
            "common-schema.json#/$defs/a/properties/b/x-vela-units is no list",
        ),
    ],
)
def test_a_fault_in_another_document_names_that_document(common: dict[str, Any], expected: str | None) -> None:
    schema = {"$ref": f"{COMMON}#/$defs/a"}
    if expected is None:
        model(schema, resources={COMMON: common}, files=FILES)
    else:
        assert reason(schema, resources={COMMON: common}, files=FILES).startswith(expected)


def test_a_schema_is_read_as_one_of_draft_2020_12_whatever_it_claims() -> None:
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"items": [{}]}}}
    assert "#/properties/a/items is no valid schema" in reason(schema)
    model({"$schema": "https://example.org/unknown", "properties": {"a": {"type": "number"}}})


def test_the_file_of_a_definition_is_the_one_that_is_named() -> None:
    assert reason({"type": "circle"}, file="dataModel.X/Thing/schema.json").startswith("dataModel.X/Thing/schema.json#")


def test_a_schema_nested_beyond_all_reason_is_refused() -> None:
    schema: dict[str, Any] = {"type": "number"}
    for _ in range(990):
        schema = {"not": schema}
    assert "nested too deeply" in reason({"properties": {"a": schema}})
