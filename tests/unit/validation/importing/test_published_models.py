"""The published models as they lie in the shared data: imported, and judging as `jsonschema` judges the originals."""

import random
import re
from collections import Counter
from typing import Any

import jsonschema
import pytest
from jsonschema.exceptions import SchemaError, UnknownType
from referencing.exceptions import Unresolvable

from broker.jsonld.context import Context
from broker.jsonld.processing import Part, combined_terms
from broker.validation.compiling import compile_definition
from broker.validation.importing.linting import Level, lint
from broker.validation.importing.sources import open_source
from broker.validation.models import Model
from tests.unit.validation.importing.published import (
    Example,
    examples,
    imported,
    mutated,
    oracle,
    originals,
    published_models,
)

FAILURES = (SchemaError, UnknownType, Unresolvable, AttributeError, TypeError, KeyError, re.error)
"""The many ways in which jsonschema fails over a schema that cannot be used."""
KEY_VALUES = "example.json*"
MUTATIONS = 10_000
SEED = 6


def compiled(path: str, models: dict[str, Model] = {}) -> Model:  # noqa: B006 - a memory on purpose
    if path not in models:
        models[path] = compile_definition(imported()[path])
    return models[path]


def accepts(example: Example, document: dict[str, Any]) -> bool:
    return bool(compiled(example.model)._validator.is_valid(document))


def test_every_model_is_imported_or_in_quarantine_for_a_true_reason() -> None:
    models = {path for path in originals() if path.count("/") == 2}
    assert set(imported()) == models
    for path, definition in imported().items():
        if definition.problem:
            assert not is_usable(path), (path, definition.problem)
        else:
            jsonschema.Draft202012Validator.check_schema(originals()[path])
            assert compiled(path).name == path.split("/")[1]


def is_usable(path: str) -> bool:
    """Whether jsonschema can use the schema and everything that it refers to, for all that the examples reach."""
    try:
        jsonschema.Draft202012Validator.check_schema(originals()[path])
        for example in examples(KEY_VALUES):
            if example.model == path:
                oracle(path).is_valid(example.document)
    except FAILURES:
        return False
    return True


def test_the_type_is_the_one_of_the_context_and_every_attribute_has_an_iri() -> None:
    for path, definition in imported().items():
        subject, name, _ = path.split("/")
        assert definition.iri == f"https://smartdatamodels.org/{subject}/{name}"
        assert definition.terms[name] == definition.iri
        assert (definition.subject, definition.name, definition.file) == (subject, name, path)


def test_where_a_model_comes_from_is_kept() -> None:
    licences = Counter(definition.licence for definition in imported().values())
    assert licences["CC-BY-4.0"] >= 60
    parking = imported()["dataModel.Parking/OffStreetParking/schema.json"]
    assert parking.source == str(published_models())
    assert parking.version == originals()[parking.file]["$schemaVersion"]


def test_the_published_key_value_examples_are_judged_as_jsonschema_judges_them() -> None:
    verdicts = Counter()
    for example in examples(KEY_VALUES):
        expected = oracle(example.model).is_valid(example.document)
        assert accepts(example, example.document) == expected, example.file
        verdicts[expected] += 1
    assert verdicts[True] > verdicts[False] > 0


@pytest.mark.slow
def test_mutated_examples_are_judged_as_jsonschema_judges_them() -> None:
    chance = random.Random(SEED)
    verdicts = Counter()
    for number in range(MUTATIONS):
        example = chance.choice(examples(KEY_VALUES))
        document = mutated(example.document, chance)
        expected = oracle(example.model).is_valid(document)
        assert accepts(example, document) == expected, (number, example.model, document)
        verdicts[expected] += 1
    assert min(verdicts.values()) > MUTATIONS / 20


def test_the_terms_of_a_model_are_an_at_context_of_their_own() -> None:
    for path, definition in imported().items():
        context = Context(combined_terms([Part(definition.terms, path)]), path, None)
        assert context.expand(definition.name) == definition.iri
        assert {name: context.expand(name) for name in definition.terms} == dict(definition.terms)


def test_lint_finds_what_is_known_of_them_and_no_errors() -> None:
    found = lint(open_source(str(published_models())).tree)
    assert [finding for finding in found if finding.level is Level.ERROR] == []
    told = {(finding.file, finding.pointer) for finding in found}
    assert ("common-schema.json", "/definitions") in told
    assert ("dataModel.Device/UWBAnchor/schema.json", "/$id") in told
    messages = "\n".join(f"{finding.place} {finding.message}" for finding in found)
    assert 'TrafficEnvironmentImpactForecast/schema.json "type" has to be TrafficEnvironmentImpact' in messages
    assert "dependentRequired" in messages
    assert "raw.githubusercontent.com" in messages
