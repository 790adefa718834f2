from typing import Any

import pytest

from broker.validation.definitions import DataModelError
from broker.validation.importing.linting import Finding, Level, lint
from tests.unit.validation.importing.trees import COMMON_ADDRESS, PATHS, schema, tree

THING = PATHS["thing"]
RAW = "https://raw.githubusercontent.com/smart-data-models/data-models/master/common-schema.json"
HOME = {"$id": "https://smart-data-models.github.io/dataModel.Test/Thing/schema.json"}


def found(**files: Any) -> list[Finding]:
    files.setdefault("thing", schema(**HOME))
    return lint(tree(**files))


def told(level: Level, **files: Any) -> list[str]:
    return [f"{finding.place} {finding.message}" for finding in found(**files) if finding.level is level]


def test_a_model_without_fault_has_no_findings() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("broken", "finding"),
    [
        (
            {"items": [True]},
            f"{THING}#/items [True] is not of type 'object', 'boolean' (no valid schema of draft 2020-12).",
        ),
        (
            {"items": None},
            f"{THING}#/items None is not of type 'object', 'boolean' (no valid schema of draft 2020-12).",
        ),
        (
            {"$ref": "#/$defs/x"},
            f"{THING} {THING}# refers to #/$defs/x, which does not exist: {THING} has nothing there.",
        ),
    ],
)
def test_what_keeps_a_model_from_being_used_is_an_error_with_its_place(broken: dict[str, Any], finding: str) -> None:
    assert told(Level.ERROR, thing=schema(**HOME, **broken)) == [finding]


def test_every_fault_of_a_schema_is_found() -> None:
    faults = {"a": {"type": "circle"}, "b": {"minimum": "1"}}
    pointers = [
        finding.pointer for finding in found(thing=schema(**HOME, properties={"type": {"const": "Thing"}, **faults}))
    ]
    assert {"/properties/a/type", "/properties/b/minimum"} <= set(pointers)


@pytest.mark.parametrize(
    ("files", "finding"),
    [
        ({"thing": b"{"}, "is no JSON"),
        ({"context": {"@context": {"a": 5}}}, "dataModel.Test/context.jsonld cannot be used"),
        ({"thing": b'{"not":' * 500 + b"true" + b"}" * 500}, "nested"),
    ],
)
def test_files_that_cannot_be_read_are_errors(files: dict[str, Any], finding: str) -> None:
    (error,) = told(Level.ERROR, **files)
    assert finding in error


@pytest.mark.parametrize(
    ("files", "finding"),
    [
        ({"thing": schema()}, f'{THING} It has no "$id": expected the address at which it is published.'),
        (
            {"thing": schema(**{"$id": "https://example.org/x"})},
            f'{THING}#/$id "$id" is https://example.org/x, which is not its address: expected {HOME["$id"]}.',
        ),
        (
            {"other": schema(**HOME)},
            f'{THING}#/$id "$id" is {HOME["$id"]}, which is claimed by {PATHS["other"]}, too.',
        ),
        (
            {"thing": schema(**HOME) | {"$schema": "http://json-schema.org/draft-07/schema#"}},
            (
                f"{THING}#/$schema \"$schema\" is 'http://json-schema.org/draft-07/schema#': it is read as "
                "https://json-schema.org/draft/2020-12/schema all the same."
            ),
        ),
        ({"thing": schema(**HOME, definitions={})}, f"{THING}#/definitions definitions: draft 2020-12 calls it $defs."),
        (
            {"thing": schema(**HOME, allOf=[{"dependencies": {}}])},
            (
                f"{THING}#/allOf/0/dependencies dependencies: draft 2020-12 ignores it: dependentRequired and "
                "dependentSchemas took its place."
            ),
        ),
        (
            {"thing": schema(**HOME, allOf=[{"$ref": RAW}])},
            f"{THING}#/allOf/0/$ref It refers to {RAW}: expected the address at https://smart-data-models.github.io/.",
        ),
        ({"licence": None}, f"{THING} It has no licence: expected a LICENSE.md beside the schema."),
        ({"context": None}, f"{THING} There is no @context for its names: expected dataModel.Test/context.jsonld."),
        (
            {"thing": schema(**HOME, allOf=[{"properties": {"weight": {"properties": {"inner": True}}}}])},
            (
                f"{THING} dataModel.Test/context.jsonld has no term for 'weight': it stands for "
                "https://uri.etsi.org/ngsi-ld/default-context/weight."
            ),
        ),
        (
            {"thing": schema(**HOME, anyOf=[{"properties": {"a b": True}}])},
            f"{THING} dataModel.Test/context.jsonld has no term for 'a b': no attribute can have it.",
        ),
        (
            {"thing": schema(**HOME, allOf=[{"$ref": f"{COMMON_ADDRESS}#/definitions/name"}])},
            (
                f"{THING} dataModel.Test/context.jsonld has no term for 'name': it stands for "
                "https://uri.etsi.org/ngsi-ld/default-context/name."
            ),
        ),
        (
            {"thing": schema(**HOME) | {"properties": {"type": {"enum": ["Ting"]}}}},
            f'{THING} "type" has to be Ting, but the folder is Thing: expected just that.',
        ),
        (
            {"thing": schema(**HOME) | {"properties": {}}},
            f'{THING} Nothing is said about "type", but the folder is Thing: expected just that.',
        ),
    ],
)
def test_what_is_doubtful_is_a_warning_with_its_place(files: dict[str, Any], finding: str) -> None:
    assert finding in told(Level.WARNING, **files)
    assert told(Level.ERROR, **files) == []


def test_a_schema_at_a_place_where_it_is_not_read_is_a_warning() -> None:
    files = {**tree(thing=schema(**HOME)), "dataModel.Test/Thing/old/schema.json": b"{}"}
    assert [finding.file for finding in lint(files)] == ["dataModel.Test/Thing/old/schema.json"]


def test_the_findings_can_be_narrowed_to_a_selection() -> None:
    files = tree(thing=schema(**HOME), other=b"{")
    assert lint(files, "Thing") == []
    assert [finding.file for finding in lint(files, "Other")] == [PATHS["other"]]
    with pytest.raises(DataModelError, match="The source has no data model 'Ting'"):
        lint(files, "Ting")
