from pathlib import Path

import pytest

from tests.unit.validation.stored import MODELS, definitions, read_json, shipped, stored

SCHEMAS = sorted(MODELS.glob("dataModel.*/*/schema.json"))
EXAMPLES = sorted(MODELS.glob("dataModel.*/*/examples/*valid-*.json"))
IRIS = {definition.file: iri for iri, definition in definitions().items()}


def iri_of(folder: Path) -> str:
    return IRIS[(folder / "schema.json").relative_to(MODELS).as_posix()]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda file: f"{file.parent.parent.name}/{file.stem}")
def test_an_example_breaks_exactly_the_rules_that_are_listed_for_it(example: Path) -> None:
    iri = iri_of(example.parent.parent)
    violations = shipped(iri).violations(stored(read_json(example), iri))
    found = sorted(f"{violation.pointer} {violation.rule}" for violation in violations if not violation.advisory)
    assert found == sorted(read_json(example.parent / "expected.json")[example.name])
    assert bool(found) == example.name.startswith("invalid-")


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda file: file.parent.name)
def test_every_data_model_has_a_valid_and_an_invalid_example_and_a_list_of_what_is_wrong(schema: Path) -> None:
    examples = schema.parent / "examples"
    files = {file.name for file in examples.glob("*.json")} - {"expected.json"}
    assert {name.split("-")[0] for name in files} == {"valid", "invalid"}
    assert set(read_json(examples / "expected.json")) == files


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda file: file.parent.name)
def test_every_member_of_a_data_model_is_a_term_of_its_context(schema: Path) -> None:
    terms = read_json(schema.parent.parent / "context.jsonld")["@context"]
    assert set(read_json(schema)["properties"]) <= set(terms)
    assert schema.parent.name in terms


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda file: file.parent.name)
def test_the_type_of_a_data_model_is_that_of_the_smart_data_models(schema: Path) -> None:
    iri = iri_of(schema.parent)
    assert iri == f"https://smartdatamodels.org/{schema.parent.parent.name}/{schema.parent.name}"
    assert shipped(iri).name == schema.parent.name
    assert not definitions()[iri].problem
