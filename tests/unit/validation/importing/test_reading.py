from pathlib import Path
from typing import Any

import pytest

from broker.bundled import bundled
from broker.validation.compiling import compile_definition
from broker.validation.definitions import DataModelError, Definition, read_definition
from broker.validation.importing.folders import Place, read_folder
from broker.validation.importing.reading import read_models
from tests.unit.validation.importing.trees import COMMON_ADDRESS, LICENCE, PATHS, content, schema, subject_iri, tree

THING = PATHS["thing"]
DEFAULT = "https://uri.etsi.org/ngsi-ld/default-context/"


def read(only: str | None = None, **files: Any) -> list[Definition]:
    return read_models(tree(**files), source="a test", version="1", only=only)


def thing(**files: Any) -> Definition:
    return next(definition for definition in read(**files) if definition.file == THING)


def test_a_model_comes_with_its_names_documents_and_origin() -> None:
    parts = [{"$ref": f"{COMMON_ADDRESS}#/definitions/name"}]
    found = thing(thing=schema(allOf=parts))
    assert (found.iri, found.name, found.subject, found.file) == (
        subject_iri("Thing"),
        "Thing",
        "dataModel.Test",
        THING,
    )
    assert (found.source, found.version, found.licence, found.problem) == ("a test", "1", "CC-BY-4.0", "")
    assert list(found.resources) == ["urn:vela:datamodels:common-schema"]
    assert set(found.files.values()) == {THING, "common-schema.json"}
    assert read_definition(found.document()) == found
    assert compile_definition(found).name == "Thing"


def test_a_source_without_a_version_leaves_it_to_the_schema() -> None:
    definitions = read_models(tree(thing=schema(**{"$schemaVersion": "0.3.1"})), source="", version="")
    assert [definition.version for definition in definitions] == ["0.3.1"]


@pytest.mark.parametrize(
    "only", [None, "dataModel.Test", "Test", "Thing", "dataModel.Test/Thing", "Test/Thing", "dataModel.Test/Thing/"]
)
def test_models_are_selected_by_subject_and_type(only: str | None) -> None:
    found = {definition.name for definition in read(only, other=schema())}
    assert found == ({"Thing"} if only is not None and "Thing" in only else {"Thing", "Other"})


def test_a_selection_of_nothing_is_refused_with_what_there_is() -> None:
    with pytest.raises(DataModelError, match=r"a test has no data model 'Ting': it has 1 models \(dataModel\.Test\)"):
        read("Ting")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (
            {"items": [{"type": "string"}]},
            "/properties/a/items is no valid schema: [{'type': 'string'}] is not of type 'object', 'boolean'",
        ),
        ({"items": None}, "/properties/a/items is no valid schema: None is not of type 'object', 'boolean'"),
        (
            {"$ref": "https://geojson.org/schema/Point.json"},
            "refers to https://geojson.org/schema/Point.json, which is not",
        ),
        ({"$ref": "#/definitions/x"}, f"#/properties/a refers to #/definitions/x, which does not exist: {THING}"),
        (
            {"type": "circle"},
            "/properties/a/type is no valid schema: 'circle' is not valid under any of the given schemas",
        ),
        ({"required": True}, "/properties/a/required is no valid schema: True is not of type 'array'"),
        ({"pattern": "(?<=x"}, "/properties/a/pattern is no valid schema: '(?<=x' is not a 'regex'"),
    ],
)
def test_a_model_that_cannot_be_used_is_in_quarantine_with_the_reason_and_harms_no_other(
    broken: dict[str, Any], reason: str
) -> None:
    found = {definition.name: definition for definition in read(thing=schema(properties={"a": broken}), other=schema())}
    assert found["Thing"].problem.startswith(THING)
    assert reason in found["Thing"].problem
    assert found["Other"].problem == ""


def test_what_is_broken_in_a_shared_document_is_the_problem_of_those_that_reach_it() -> None:
    common = {"definitions": {"good": {"type": "object"}, "bad": {"items": [True]}}}
    references = {name: {"$ref": f"{COMMON_ADDRESS}#/definitions/{name}"} for name in ("good", "bad")}
    found = {one.name: one for one in read(common=common, thing=references["bad"], other=references["good"])}
    assert found["Thing"].problem.startswith(
        "common-schema.json#/definitions/bad/items is no valid schema: [True] is not of type"
    )
    assert found["Other"].problem == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "is no JSON"),
        (b"[]", "is no schema: expected an object"),
        (b"true", "is no schema: expected an object"),
        (b'{"a": \xff}', "is no JSON"),
        (b'{"not":' * 3000 + b"true" + b"}" * 3000, "depth limit exceeded"),
        (b'{"not":' * 600 + b"true" + b"}" * 600, "nested"),
    ],
)
def test_a_file_that_is_no_schema_is_in_quarantine(text: bytes, reason: str) -> None:
    found = thing(thing=text)
    assert (found.iri, found.name) == (subject_iri("Thing"), "Thing")
    assert reason in found.problem
    assert read_definition(found.document()) == found


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        (b"{", "context.jsonld is no JSON"),
        ({"a": 1}, 'holds no JSON-LD @context: expected an object with an "@context" member'),
        ({"@context": 5}, "holds no JSON-LD @context"),
        ({"@context": {"a": 5}}, "context.jsonld cannot be used"),
        (
            {"@context": ["https://example.org/c"]},
            "refers to the @context https://example.org/c, which is not in the source",
        ),
        ({"@context": "https://smartdatamodels.org/dataModel.Test/context.jsonld"}, "holds no JSON-LD @context"),
    ],
)
def test_models_of_a_subject_whose_context_cannot_be_used_are_in_quarantine(context: Any, reason: str) -> None:
    found = thing(context=context)
    assert reason in found.problem
    assert found.iri == subject_iri("Thing")


def test_names_have_the_iris_of_the_context_and_else_those_that_clients_send() -> None:
    rule = {"properties": {"size": {"enum": ["small", "Thing"]}, "other": True, "location": True, "a b": True}}
    terms = thing(thing={**rule, "required": ["must", "id", "type"]}).terms
    assert dict(terms) == {
        "Thing": subject_iri("Thing"),
        "size": subject_iri("size"),
        "other": DEFAULT + "other",
        "must": DEFAULT + "must",
        "location": "https://uri.etsi.org/ngsi-ld/location",
    }


def test_values_that_the_context_knows_have_their_iris() -> None:
    context = {
        "@context": [
            {"free": "https://example.org/free"},
            "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context.jsonld",
        ]
    }
    found = thing(context=context, thing=schema(properties={"state": {"items": {"enum": ["free", "full", 1]}}}))
    assert found.terms["free"] == "https://example.org/free"
    assert "full" not in found.terms


def test_a_type_that_the_context_does_not_know_has_the_iri_that_the_smart_data_models_give_it() -> None:
    assert thing(context={"@context": {}}).iri == subject_iri("Thing")
    assert thing(context={"@context": {"Thing": "https://example.org/T"}}).iri == "https://example.org/T"


def test_a_subject_without_a_context_is_named_by_convention() -> None:
    parts = [{"$ref": f"{COMMON_ADDRESS}#/definitions/name"}, {"properties": {"size": True, "location": True}}]
    terms = thing(context=None, thing={"allOf": parts}).terms
    assert dict(terms) == {
        "Thing": subject_iri("Thing"),
        "size": subject_iri("size"),
        "name": "https://smartdatamodels.org/name",
        "location": "https://uri.etsi.org/ngsi-ld/location",
    }


def test_a_model_without_a_subject_has_names_of_its_own() -> None:
    files = {"Thing/schema.json": content(schema(properties={"size": True}))}
    (found,) = read_models(files, source="", version="")
    assert (found.iri, found.subject) == (DEFAULT + "Thing", "")
    assert dict(found.terms) == {"Thing": DEFAULT + "Thing", "size": DEFAULT + "size"}
    context = content({"@context": {"Thing": "https://example.org/Thing", "size": "https://example.org/size"}})
    for place in ("context.jsonld", "Thing/context.jsonld"):
        (found,) = read_models({**files, place: context}, source="", version="")
        assert (found.iri, found.terms["size"]) == ("https://example.org/Thing", "https://example.org/size")


def test_two_models_of_one_type_are_told_apart_and_the_second_is_in_quarantine() -> None:
    context = {"@context": {"Thing": subject_iri("Other"), "Other": subject_iri("Other")}}
    found = {definition.name: definition for definition in read(context=context, other=schema())}
    assert (found["Other"].iri, found["Other"].problem) == (subject_iri("Other"), "")
    assert found["Thing"].iri == subject_iri("Thing")
    assert f"which is that of {PATHS['other']}, too" in found["Thing"].problem


@pytest.mark.parametrize(
    ("files", "licence"),
    [
        ({"licence": LICENCE}, "CC-BY-4.0"),
        ({"licence": None}, ""),
        ({"licence": None, "subject_licence": "MIT License\n"}, "MIT"),
        ({"licence": None, "thing": schema(license="https://creativecommons.org/licenses/by/4.0")}, "CC-BY-4.0"),
        ({"licence": None, "thing": schema(license="ODbL 1.0"), "subject_licence": LICENCE}, "ODbL 1.0"),
        ({"licence": None, "notes": "notes:\nlicense: 'Apache License 2.0'\n"}, "Apache-2.0"),
        ({"licence": "\n# Ours alone\n\nmore"}, "Ours alone"),
    ],
)
def test_the_licence_is_that_of_the_model_else_of_its_subject(files: dict[str, Any], licence: str) -> None:
    assert thing(**files).licence == licence


def test_all_models_that_come_with_vela_are_usable_and_self_contained() -> None:
    folder = Path(bundled("datamodels"))
    definitions = read_models(read_folder(Place(folder, "")), source="", version="")
    assert len(definitions) >= 40
    assert {definition.file: definition.problem for definition in definitions if definition.problem} == {}
    for definition in definitions:
        compile_definition(read_definition(definition.document()))
