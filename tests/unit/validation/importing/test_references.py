from typing import Any

import pytest

from broker.validation.definitions import DataModelError
from broker.validation.importing.documents import Documents, canonical_uri, published_paths
from broker.validation.importing.references import Canonical, canonicalise
from tests.unit.validation.importing.trees import COMMON_ADDRESS, DIALECT, PATHS, schema, tree

THING = PATHS["thing"]
ID = "urn:vela:datamodels:dataModel.Test:Thing:schema"
COMMON = "urn:vela:datamodels:common-schema"
SHARED = "urn:vela:datamodels:dataModel.Test:test-schema"


def canonical(path: str = THING, **files: Any) -> Canonical:
    return canonicalise(Documents(tree(**files)), path)


def reference(text: str, **files: Any) -> Any:
    """What becomes of a reference in the schema of Thing, which has the "$id" of its address."""
    home = "https://smart-data-models.github.io/dataModel.Test/Thing/schema.json"
    files.setdefault("shared", {"$defs": {"a": {"type": "string"}}})
    found = canonical(thing={"$id": home, "definitions": {"own": True}, "$ref": text}, **files)
    assert found.problems == []
    return found.schema["$ref"]


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        (
            "dataModel.Parking/OffStreetParking/schema.json",
            "urn:vela:datamodels:dataModel.Parking:OffStreetParking:schema",
        ),
        ("common-schema.json", COMMON),
        ("Thing/my schema.json", "urn:vela:datamodels:Thing:my%20schema"),
    ],
)
def test_a_document_has_a_canonical_uri_from_its_path(path: str, uri: str) -> None:
    assert canonical_uri(path) == uri


@pytest.mark.parametrize(
    "address",
    [
        "https://smart-data-models.github.io/dataModel.Test/test-schema.json",
        "http://smart-data-models.github.io/dataModel.Test//test-schema.json",
        "https://raw.githubusercontent.com/smart-data-models/dataModel.Test/master/test-schema.json",
        "https://raw.githubusercontent.com/smart-data-models/dataModel.Test/refs/heads/main/test-schema.json",
        "https://github.com/smart-data-models/dataModel.Test/blob/master/test-schema.json",
        "https://github.com/smart-data-models/dataModel.Test/raw/0123abc/test-schema.json",
        "https://github.com/smart-data-models/dataModel.Test/tree/master/Thing/../test-schema.json",
        "../test-schema.json",
    ],
)
def test_every_address_of_a_published_document_leads_to_it(address: str) -> None:
    assert reference(f"{address}#/$defs/a") == f"{SHARED}#/$defs/a"


@pytest.mark.parametrize(
    ("address", "paths"),
    [
        (COMMON_ADDRESS, ("common-schema.json", "data-models/common-schema.json")),
        (
            "https://fiware.github.io/data-models/common-schema.json",
            ("common-schema.json", "data-models/common-schema.json"),
        ),
        ("https://smartdatamodels.org/dataModel.Test/context.jsonld", ("dataModel.Test/context.jsonld",)),
        ("https://geojson.org/schema/Point.json", ()),
        ("https://example.org/smart-data-models.github.io/dataModel.Test/a.json", ()),
        ("urn:vela:datamodels:common", ()),
    ],
)
def test_the_place_of_a_published_document_is_known_from_its_address(address: str, paths: tuple[str, ...]) -> None:
    assert published_paths(address) == paths


def test_references_inside_of_a_document_stay_there() -> None:
    assert reference("#/definitions/own") == "#/definitions/own"
    home = "https://smart-data-models.github.io/dataModel.Test/Thing/schema.json"
    assert reference(f"{home}#/definitions/own") == "#/definitions/own"


def test_a_reference_is_relative_to_the_identifier_first_and_to_the_place_then() -> None:
    shared = {"$defs": {"a": True}}
    elsewhere = {"$id": "https://smart-data-models.github.io/dataModel.Test/x/y/schema.json"}
    ref = {"$ref": "../../test-schema.json#/$defs/a"}
    assert canonical(thing={**elsewhere, **ref}, shared=shared).schema["$ref"] == f"{SHARED}#/$defs/a"
    ref = {"$ref": "../test-schema.json#/$defs/a"}
    assert canonical(thing={**elsewhere, **ref}, shared=shared).schema["$ref"] == f"{SHARED}#/$defs/a"


def test_a_document_is_found_by_the_identifier_that_it_alone_claims() -> None:
    assert (
        reference("urn:x:parts#/$defs/a", shared={"$id": "urn:x:parts", "$defs": {"a": True}}) == f"{SHARED}#/$defs/a"
    )


def test_an_identifier_that_several_claim_is_a_problem() -> None:
    twin = {"$id": "urn:x:parts"}
    found = canonical(thing={"$ref": "urn:x:parts"}, shared=twin, other=twin)
    assert found.problems == [
        (
            f'{THING}# refers to urn:x:parts, which is claimed as "$id" by several documents: {PATHS["other"]}, '
            f"{PATHS['shared']}."
        )
    ]


def test_what_lies_at_an_address_counts_before_what_claims_it() -> None:
    address = "https://smart-data-models.github.io/dataModel.Test/test-schema.json"
    assert reference(address, other={"$id": address}) == f"{SHARED}#"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("https://geojson.org/schema/Point.json", "which is not in the source"),
        (f"{COMMON_ADDRESS}#/definitions/nothing", "common-schema.json has nothing there"),
        (f"{COMMON_ADDRESS}#/definitions/name/properties/name/type", "is no schema: expected an object"),
        (f"{COMMON_ADDRESS}#nothing", "common-schema.json has no anchor nothing"),
        ("https://smart-data-models.github.io/dataModel.Other/a.json", "(expected at dataModel.Other/a.json)"),
        ("#/definitions/nothing", f"{THING} has nothing there"),
    ],
)
def test_a_reference_that_leads_nowhere_is_a_problem_with_its_place(target: str, reason: str) -> None:
    found = canonical(thing=schema(allOf=[{"$ref": target}]))
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"{THING}#/allOf/0 refers to {target}, which ")
    assert reason in found.problems[0]


def test_only_what_is_reached_is_taken_along_and_keeps_its_place() -> None:
    common = {
        "$id": COMMON_ADDRESS,
        "title": "x",
        "definitions": {
            "used": {"properties": {"a": {"$ref": "#/definitions/also"}, "b": {"type": "string"}}},
            "also": {"type": "number"},
            "list": {"oneOf": [{"type": "null"}, {"type": "array"}]},
            "broken": {"items": None, "$ref": "https://geojson.org/schema/Point.json"},
        },
    }
    parts = [
        {"$ref": f"{COMMON_ADDRESS}#/definitions/used/properties/a"},
        {"$ref": f"{COMMON_ADDRESS}#/definitions/list/oneOf/1"},
    ]
    found = canonical(thing=schema(allOf=parts), common=common)
    assert found.problems == []
    assert found.resources == {
        COMMON: {
            "$schema": DIALECT,
            "$id": COMMON,
            "definitions": {
                "used": {"properties": {"a": {"$ref": "#/definitions/also"}}},
                "also": {"type": "number"},
                "list": {"oneOf": [True, {"type": "array"}]},
            },
        }
    }
    assert found.files == {ID: THING, COMMON: "common-schema.json"}


def test_a_document_that_is_wanted_as_a_whole_and_in_parts_has_both() -> None:
    shared = {"type": "object", "definitions": {"a": {"type": "string"}, "b": {"type": "number"}}}
    parts = [{"$ref": "../test-schema.json"}, {"$ref": "../test-schema.json#/definitions/a"}]
    found = canonical(thing=schema(allOf=parts), shared=shared)
    kept = {"type": "object", "definitions": {"a": {"type": "string"}}}
    assert found.resources == {SHARED: {"$schema": DIALECT, "$id": SHARED, **kept}}


def test_models_that_refer_to_each_other_in_a_circle_end() -> None:
    other = {"properties": {"thing": {"$ref": "../Thing/schema.json"}}}
    found = canonical(thing={"properties": {"other": {"$ref": "../Other/schema.json"}}}, other=other)
    assert found.resources["urn:vela:datamodels:dataModel.Test:Other:schema"]["properties"]["thing"] == {
        "$ref": f"{ID}#"
    }
    assert found.names == {"thing", "other"}


def test_an_identifier_inside_of_a_document_is_what_its_references_are_relative_to() -> None:
    inner = {"$id": "inner.json", "$defs": {"a": {"type": "string"}}, "items": {"$ref": "#/$defs/a"}}
    found = canonical(
        thing={"$id": "https://example.org/thing.json", "$defs": {"inner": inner}, "$ref": "#/$defs/inner"}
    )
    assert found.problems == []
    assert found.schema["$defs"]["inner"] == {
        "$defs": {"a": {"type": "string"}},
        "items": {"$ref": "#/$defs/inner/$defs/a"},
    }


def test_an_anchor_becomes_the_place_that_it_names() -> None:
    shared = {"$defs": {"a/b": {"$anchor": "part", "type": "string"}}}
    found = canonical(thing={"$ref": "../test-schema.json#part"}, shared=shared)
    assert found.schema["$ref"] == f"{SHARED}#/$defs/a~1b"
    assert found.resources[SHARED]["$defs"] == {"a/b": {"type": "string"}}


def test_a_pointer_with_escapes_leads_to_its_place() -> None:
    shared = {"$defs": {"ä b/c~d%": {"type": "string"}}}
    found = canonical(thing={"$ref": "../test-schema.json#/$defs/%C3%A4%20b~1c~0d%25"}, shared=shared)
    assert found.problems == []
    assert found.schema["$ref"] == f"{SHARED}#/$defs/%C3%A4%20b~1c~0d%25"


def test_only_references_in_schemas_are_references() -> None:
    data = {"$ref": "https://example.org/elsewhere"}
    found = canonical(
        thing={"const": data, "enum": [data], "examples": [data], "properties": {"$ref": {"type": "string"}}}
    )
    assert found.problems == []
    assert found.schema["const"] == data


def test_the_metaschema_needs_no_document() -> None:
    found = canonical(thing={"$ref": DIALECT})
    assert (found.problems, found.schema["$ref"]) == ([], DIALECT)


def test_what_draft_2020_12_ignores_and_others_apply_stays_behind() -> None:
    found = canonical(thing={"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": ["b"]}})
    assert found.schema == {"$schema": DIALECT, "$id": ID}


def test_a_member_with_the_name_of_a_keyword_is_a_member() -> None:
    members = {"dependencies": {"type": "string"}, "$id": {"type": "string"}, "definitions": {"type": "string"}}
    assert canonical(thing={"properties": members}).schema["properties"] == members


def test_the_original_is_left_as_it_is() -> None:
    documents = Documents(tree(thing={"$ref": f"{COMMON_ADDRESS}#/definitions/name", "x-own": {"a": {"$ref": "#"}}}))
    before = repr((documents.get(THING), documents.get("common-schema.json")))
    canonicalise(documents, THING)
    assert repr((documents.get(THING), documents.get("common-schema.json"))) == before


def test_a_file_that_is_no_json_is_refused_with_its_name() -> None:
    with pytest.raises(DataModelError, match=rf"{THING} is no JSON: "):
        canonical(thing=b"{")


def test_a_byte_order_mark_is_no_harm() -> None:
    assert canonical(thing=b"\xef\xbb\xbf{}").schema == {"$schema": DIALECT, "$id": ID}
