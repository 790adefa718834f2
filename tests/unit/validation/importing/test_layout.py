from typing import Any

import pytest

from broker.validation.importing.layout import arrange, is_wanted, subject_of
from tests.unit.validation.importing.trees import content, schema, subject_iri

SCHEMA = content(schema())
CONTEXT = content({"@context": {"Thing": subject_iri("Thing"), "name": "https://smartdatamodels.org/name"}})


def arranged(name: str = "downloads", *paths: str, **special: bytes) -> list[str]:
    tree: dict[str, Any] = {path: SCHEMA if path.endswith(".json") else CONTEXT for path in paths}
    return sorted(arrange({**tree, **special}, name))


COLLECTION = ["common-schema.json", "dataModel.Test/Thing/schema.json", "dataModel.Test/context.jsonld"]
SUBJECT = ["Thing/schema.json", "context.jsonld"]


@pytest.mark.parametrize("prefix", ["", "wrapped/", "a/b/"])
def test_a_collection_is_found_inside_of_other_folders(prefix: str) -> None:
    assert arranged("x", *(prefix + path for path in COLLECTION)) == COLLECTION


def test_the_shared_document_is_taken_from_its_own_repository() -> None:
    paths = ["data-models/common-schema.json", "subjects/dataModel.Test/Thing/schema.json"]
    assert arranged("x", *paths) == ["common-schema.json", "dataModel.Test/Thing/schema.json"]


@pytest.mark.parametrize("folder", ["dataModel.Test", "dataModel.Test-master", "dataModel.Test-" + "0a" * 20])
def test_a_subject_has_its_name_from_its_folder(folder: str) -> None:
    assert arranged(folder, "Thing/schema.json", "Thing/LICENSE.md") == [
        "dataModel.Test/Thing/LICENSE.md",
        "dataModel.Test/Thing/schema.json",
    ]
    assert arranged("x", f"{folder}/Thing/schema.json") == ["dataModel.Test/Thing/schema.json"]


def test_a_subject_has_its_name_from_its_context_where_the_folder_has_another() -> None:
    assert arranged("checkout", *SUBJECT, "common-schema.json") == COLLECTION


def test_models_of_ones_own_stay_without_a_subject() -> None:
    tree = {
        "Thing/schema.json": SCHEMA,
        "context.jsonld": content({"@context": {"Thing": "https://example.org/Thing"}}),
    }
    assert arrange(tree, "mine") == tree


def test_a_folder_with_a_schema_alone_has_the_type_that_the_schema_names() -> None:
    assert arranged("whatever", "schema.json", "LICENSE.md") == ["Thing/LICENSE.md", "Thing/schema.json"]
    assert sorted(arrange({"schema.json": b"{}"}, "Road-main")) == ["Road/schema.json"]
    assert sorted(arrange({"schema.json": b"{"}, "Road")) == ["Road/schema.json"]
    assert arranged("whatever", "schema.json", "context.jsonld") == [
        "dataModel.Test/Thing/schema.json",
        "dataModel.Test/context.jsonld",
    ]


def test_of_two_copies_the_one_further_up_counts() -> None:
    tree = {"old/dataModel.Test/Thing/schema.json": b"{}", "dataModel.Test/Thing/schema.json": SCHEMA}
    assert arrange(tree, "x")["dataModel.Test/Thing/schema.json"] == SCHEMA


@pytest.mark.parametrize(
    ("folder", "subject"),
    [
        ("dataModel.Parking", "dataModel.Parking"),
        ("dataModel.DCAT-AP", "dataModel.DCAT-AP"),
        ("dataModel.DCAT-AP-main", "dataModel.DCAT-AP"),
        ("dataModel.", ""),
        ("Parking", ""),
        ("data-models", ""),
    ],
)
def test_the_folder_of_a_subject_is_known_by_its_name(folder: str, subject: str) -> None:
    assert subject_of(folder) == subject


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("dataModel.Test/Thing/schema.json", True),
        ("dataModel.Test/context.jsonld", True),
        ("dataModel.Test/Thing/LICENSE.md", True),
        ("dataModel.Test/Thing/notes.yaml", True),
        ("dataModel.Test/Thing/README.md", False),
        ("dataModel.Test/Thing/examples/example.json", False),
        (".git/config.json", False),
        ("a/" * 20 + "schema.json", False),
    ],
)
def test_only_what_may_matter_to_a_model_is_kept(path: str, wanted: bool) -> None:
    assert is_wanted(path) is wanted
