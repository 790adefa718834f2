from typing import Any

import pytest

from broker.validation.violations import Violation
from tests.unit.validation.stored import model, prop, shipped, stored, thing


def only(schema: dict[str, Any], **values: Any) -> Violation:
    (found,) = model({"properties": dict.fromkeys(values, True), **schema}).violations(thing(**values))
    return found


@pytest.mark.parametrize(
    ("rule", "value", "sentence"),
    [
        ({"type": "number"}, "x", 'a is "x"; expected a number.'),
        ({"type": ["integer", "string"]}, [], "a is []; expected an integer or text."),
        ({"type": "boolean"}, 1, "a is 1; expected true or false."),
        ({"const": "one"}, "two", 'a is "two"; expected exactly "one".'),
        ({"enum": ["one", 2]}, "two", 'a is "two"; expected one of "one", 2.'),
        (
            {"enum": list(range(20))},
            -1,
            "a is -1; expected one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 or 8 others.",
        ),
        ({"minimum": 0}, -3, "a is -3; expected a number of at least 0."),
        ({"maximum": 1}, 1.5, "a is 1.5; expected a number of at most 1."),
        ({"exclusiveMinimum": 0}, 0, "a is 0; expected a number greater than 0."),
        ({"exclusiveMaximum": 0}, 0, "a is 0; expected a number less than 0."),
        ({"multipleOf": 5}, 7, "a is 7; expected a multiple of 5."),
        ({"minLength": 2}, "x", 'a is "x"; expected text of at least 2 characters.'),
        ({"maxLength": 2}, "xyz", 'a is "xyz"; expected text of at most 2 characters.'),
        ({"pattern": "^[a-z]+$"}, "X", 'a is "X"; expected text that matches ^[a-z]+$.'),
        (
            {"format": "date-time"},
            "noon",
            'a is "noon"; expected a date and time with its zone, such as 2026-01-31T12:00:00Z.',
        ),
        ({"format": "uri"}, "a b", 'a is "a b"; expected a URI, such as https://example.org/a.'),
        ({"format": "ipv4"}, "x", 'a is "x"; expected text in the format ipv4.'),
        ({"minItems": 1}, [], "a is []; expected an array of at least 1 items."),
        ({"maxItems": 1}, [1, 2], "a is [1, 2]; expected an array of at most 1 items."),
        ({"uniqueItems": True}, [1, 1], "a is [1, 1]; expected an array without repetitions."),
        ({"minProperties": 1}, {}, "a is {}; expected an object of at least 1 members."),
        ({"maxProperties": 0}, {"x": 1}, 'a is {"x": 1}; expected an object of at most 0 members.'),
        (
            {"anyOf": [{"type": "number"}, {"format": "date"}]},
            "x",
            'a is "x"; expected a number or a date, such as 2026-01-31.',
        ),
        ({"oneOf": [{"type": "number"}, {"type": "null"}]}, "x", 'a is "x"; expected a number or null.'),
        (False, 1, "a is 1; expected no such member: the data model does not allow it."),
        ({"items": {"type": "number"}}, [1, "x"], 'a.1 is "x"; expected a number.'),
        ({"required": ["x"]}, {}, "a.x is missing; expected it to be present."),
        (
            {"unevaluatedProperties": False},
            {"x": 1},
            "a.x is unknown to the data model; expected no such member.",
        ),
    ],
)
def test_a_violation_says_what_was_found_where_and_what_is_expected(rule: Any, value: Any, sentence: str) -> None:
    assert only({"properties": {"a": rule}}, a=value).detail == sentence


def test_a_rule_without_words_of_its_own_is_named_with_the_validators_explanation() -> None:
    detail = only({"properties": {"a": {"not": {"type": "number"}}}}, a=1).detail
    assert detail.startswith("a is 1; expected the rule not to hold (")


def test_more_than_one_matching_alternative_is_explained() -> None:
    detail = only({"properties": {"a": {"oneOf": [{"type": "number"}, {"minimum": 0}]}}}, a=1).detail
    assert detail.startswith("a is 1; expected the rule oneOf to hold (")


def test_a_violation_is_a_problem_with_pointer_and_place_in_the_schema() -> None:
    violation = only({"properties": {"a": {"minimum": 0}}}, a=[prop(1), prop(-1, datasetId="urn:two")])
    assert violation.problem() == {
        "pointer": "/a",
        "detail": "a (datasetId urn:two) is -1; expected a number of at least 0.",
        "found": "-1",
        "expected": "a number of at least 0",
        "schema": "Thing/schema.json#/properties/a/minimum",
        "datasetId": "urn:two",
    }


def test_long_values_are_cut() -> None:
    assert len(only({"properties": {"a": {"maxLength": 5}}}, a="x" * 5000).detail) < 300


def test_a_comparison_tells_both_numbers_and_why() -> None:
    entity = stored(
        {
            "id": "urn:ngsi-ld:OffStreetParking:1",
            "type": "OffStreetParking",
            "location": {"type": "Point", "coordinates": [8.8, 53.1]},
            "totalSpotNumber": 200,
            "availableSpotNumber": 212,
        }
    )
    (violation,) = shipped().violations(entity)
    assert violation.problem() == {
        "pointer": "/availableSpotNumber",
        "detail": "availableSpotNumber is 212; expected a number at most totalSpotNumber, which is 200. "
        "A car park cannot have more free spaces than spaces.",
        "found": "212",
        "expected": "a number at most totalSpotNumber, which is 200",
        "schema": "dataModel.Parking/OffStreetParking/schema.json#/x-vela-compare/0",
    }


def test_a_rule_of_the_shared_schema_is_found_in_its_own_file() -> None:
    entity = stored(
        {
            "id": "urn:ngsi-ld:OffStreetParking:1",
            "type": "OffStreetParking",
            "location": {"type": "Point", "coordinates": [181, 0]},
        }
    )
    (violation,) = shipped().violations(entity)
    assert violation.pointer == "/location/coordinates/0"
    assert violation.schema == "common-schema.json#/$defs/position/prefixItems/0/maximum"
