"""Every term of real @contexts means what PyLD says, in both directions."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.jsonld.context import Context
from broker.jsonld.contexts import CORE_CONTEXT_URL, Contexts
from broker.jsonld.core import CORE_VERSIONS, core_document
from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import DEFAULT_VOCABULARY, NGSI_LD_BASE, encode_key
from tests.unit.jsonld.oracle import PyLD, matching_value, shared_data

CONTEXTS = [
    "contexts/fiware-testContext.jsonld",
    "contexts/ngsi-ld-test-suite.jsonld",
    "contexts/ngsi-ld-test-suite-compound.jsonld",
    "contexts/ngsildTestSuite.jsonld",
    "contexts/ngsildTestSuiteV1.8-compound.jsonld",
    "contexts/smartdatamodels-context.jsonld",
    *(
        f"smart-data-models/dataModel.{subject}/context.jsonld"
        for subject in (
            "Device",
            "Environment",
            "Parking",
            "Streetlighting",
            "Transportation",
            "WasteManagement",
            "Weather",
        )
    ),
]
UNKNOWN_NAMES = [
    "notATerm",
    "ngsi-ld:x",
    "geojson:Thing",
    "unknown:name",
    "https://example.org/a/b#c",
    "urn:a:b",
    "ünï",
]
UNKNOWN_IRIS = [
    DEFAULT_VOCABULARY + "notATerm",
    DEFAULT_VOCABULARY + "location",
    NGSI_LD_BASE + "notATerm",
    "https://purl.org/geojson/vocab#Thing",
    "https://uri.fiware.org/ns/data-models#notATerm",
    "http://example.org/notATerm",
    "https://nowhere.example/x",
    "urn:a:b",
]


class NoNetwork:
    async def get_json(self, url: str, **_: Any) -> Any:
        raise AssertionError(f"{url} was downloaded")


def every_file(folder: Path) -> Iterator[str]:
    for file in (*folder.glob("contexts/*.jsonld"), *folder.glob("smart-data-models/*/context.jsonld")):
        if "core-context" not in file.name:
            yield str(file.relative_to(folder))


def documents_of(folder: Path) -> dict[str, Any]:
    index = json.loads((folder / "contexts" / "index.json").read_text())
    return {url: json.loads((folder / "contexts" / name).read_text()) for url, name in index.items()}


def assert_equal_to_pyld(context: Context, pyld: PyLD) -> None:
    aliases = {name for name, mapping in pyld.terms.items() if mapping["@id"].startswith("@")}
    names = [name for name in (*pyld.terms, *UNKNOWN_NAMES) if name not in aliases]
    properties = {name: context.expand(name) for name in names}
    assert properties == pyld.expand_properties(names)
    assert properties == pyld.expand_types(names)
    assert {name: context.expand_vocab(name) for name in names} == pyld.expand_vocab(names)
    assert {name: context.key(name) for name in names} == {name: encode_key(iri) for name, iri in properties.items()}
    assert {name: context.coercion(name) for name in pyld.terms} == {
        name: mapping.get("@type") for name, mapping in pyld.terms.items()
    }
    for alias in aliases:
        with pytest.raises(BadRequestData):
            context.expand(alias)

    iris = sorted({*properties.values(), *UNKNOWN_IRIS})
    assert {iri: context.compact_vocab(iri) for iri in iris} == pyld.compact_vocab(iris)
    assert {iri: context.compact_vocab(iri) for iri in iris} == pyld.compact_types(iris)
    assert_names_are_equal(context, pyld, iris)


def assert_names_are_equal(context: Context, pyld: PyLD, iris: list[str]) -> None:
    for_objects = pyld.compact_properties(iris)
    for_other_values = {}
    for iri in iris:
        name = context.compact(iri)
        assert context.expand(name) == iri
        if for_objects[iri] != name:
            assert for_objects[iri] not in pyld.terms, "JSON-LD has a term for objects, and it is another one"
            for_other_values[iri] = name
    values = {iri: matching_value(pyld.terms[name]) for iri, name in for_other_values.items()}
    if values:
        assert pyld.compact_properties_of(values) == for_other_values


def test_the_core_context_equals_pyld():
    assert_equal_to_pyld(Contexts(NoNetwork()).core, PyLD([]))


@pytest.mark.parametrize("name", CONTEXTS)
async def test_a_published_context_equals_pyld(name: str):
    folder = shared_data()
    document = json.loads((folder / name).read_text())
    documents = documents_of(folder)
    contexts = Contexts(NoNetwork(), folders=[folder / "contexts"])
    without_core = {
        url: {"@context": [item for item in entry["@context"] if "core-context" not in item]}
        if isinstance(entry["@context"], list)
        else entry
        for url, entry in documents.items()
    }
    url = next((url for url, entry in documents.items() if entry == document), None)

    inline = document["@context"] if isinstance(document["@context"], dict) else [url]
    assert_equal_to_pyld(await contexts.resolve(inline), PyLD([inline] if url is None else [url], without_core))


def test_the_list_of_published_contexts_is_complete():
    assert sorted(every_file(shared_data())) == sorted(CONTEXTS)


@pytest.mark.parametrize("version", CORE_VERSIONS)
async def test_a_core_context_given_as_an_object_loses_to_the_one_that_is_built_in(version: str):
    contexts = Contexts(NoNetwork())
    content = core_document(version)["@context"]
    content = {name: definition for name, definition in content.items() if name != "ngsildproof"}

    context = await contexts.resolve(content)

    for name in core_document()["@context"]:
        if not name.startswith("@") and name not in ("id", "type"):
            assert context.expand(name) == contexts.core.expand(name)


@pytest.mark.parametrize(
    ("version", "dropped"),
    [
        ("1.6", {"attributeCount", "attributeDetails"}),
        ("1.7", {"VocabularyProperty"}),
        ("1.8", {"attributeCount", "attributeDetails", "geometryProperty", "objectsLists"}),
    ],
)
def test_a_term_of_an_earlier_core_means_the_same_in_the_present_one(version: str, dropped: set[str]):
    core = Contexts(NoNetwork()).core
    content = core_document(version)["@context"]

    changed = set()
    for name, definition in content.items():
        iri = definition["@id"] if isinstance(definition, dict) else definition
        if isinstance(iri, str) and not iri.startswith("@") and not name.startswith("@"):
            expected = iri.replace("ngsi-ld:", NGSI_LD_BASE).replace("geojson:", "https://purl.org/geojson/vocab#")
            if core.expand(name) != expected:
                changed.add(name)

    assert changed == dropped


def test_the_core_has_one_document_per_published_version():
    assert CORE_CONTEXT_URL.endswith(f"-v{CORE_VERSIONS[-1]}.jsonld")
    for version in CORE_VERSIONS:
        assert core_document(version)["@context"]["@vocab"] == DEFAULT_VOCABULARY
