"""Reading attributes: all types in the normalised, concise and simplified form, metadata, instances, sub-attributes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ngsild.attribute_values import LANG_STRING
from broker.ngsild.attributes import Nulls, is_deletion, read_attributes, read_instance
from broker.ngsild.errors import BadRequestData
from broker.ngsild.measurements import read_measurement
from broker.ngsild.model import NGSI_LD_BASE, VALUE_MEMBERS
from broker.ngsild.names import PROOF_KEY
from tests.unit.ngsild.samples import (
    DATASET,
    NULL,
    OTHER_DATASET,
    POINT,
    assert_refused,
    attribute,
    core,
    instance,
    iri,
    key,
)

VALUES: dict[str, Any] = {
    "Property": {"street": "Hauptstraße", "no.": 1},
    "GeoProperty": POINT,
    "LanguageProperty": {"en": "tower", "@none": ["a", "b"]},
    "VocabProperty": "Male",
    "JsonProperty": {"id": "no URI", "value": None},
    "ListProperty": [1, "two", [3]],
    "Relationship": "urn:ngsi-ld:Person:1",
    "ListRelationship": ["urn:ngsi-ld:Person:1", "urn:ngsi-ld:Person:2"],
}
STORED: dict[str, Any] = {**VALUES, "Property": {"street": "Hauptstraße", "no%2E": 1}, "VocabProperty": iri("Male")}
UNITLESS = [kind for kind in VALUES if kind not in ("Property", "GeoProperty", "ListProperty")]


def normalized(kind: str, **members: Any) -> dict[str, Any]:
    return {"type": kind, VALUE_MEMBERS[kind]: VALUES[kind], **members}


@pytest.mark.parametrize("kind", VALUES)
def test_each_type_is_read_in_the_normalised_form(kind: str) -> None:
    assert instance(normalized(kind)) == {"type": kind, VALUE_MEMBERS[kind]: STORED[kind]}


@pytest.mark.parametrize("kind", VALUES)
def test_each_type_is_inferred_in_the_concise_form(kind: str) -> None:
    concise = {VALUE_MEMBERS[kind]: VALUES[kind], "observedAt": "2026-01-31T12:00:00,5Z"}
    expected = {"type": kind, VALUE_MEMBERS[kind]: STORED[kind], "observedAt": "2026-01-31T12:00:00.5Z"}
    assert instance(concise) == expected


@pytest.mark.parametrize("kind", ["LanguageProperty", "VocabProperty", "JsonProperty"])
def test_the_simplified_form_of_wrapped_types_is_read(kind: str) -> None:
    member = VALUE_MEMBERS[kind]
    assert instance({member: VALUES[kind]}) == {"type": kind, member: STORED[kind]}


@pytest.mark.parametrize("value", [5, 1.0, True, False, "", "urn:a:b", [], [1, "a", None], {}, {"a": {"b": None}}])
def test_any_other_value_alone_is_a_property(value: Any) -> None:
    assert instance(value) == {"type": "Property", "value": value}
    assert repr(instance(value)["value"]) == repr(value)


def test_a_geometry_alone_is_a_geo_property() -> None:
    assert instance(POINT) == {"type": "GeoProperty", "value": POINT}
    assert instance({"value": POINT, "observedAt": "2026-01-31T12:00:00Z"})["type"] == "GeoProperty"


def test_a_geometry_stays_a_property_where_the_type_says_so() -> None:
    assert instance({"type": "Property", "value": POINT}) == {"type": "Property", "value": POINT}


@pytest.mark.parametrize("kind", [["Point"], {"a": 1}, 5, None, "Thing"])
def test_a_value_with_a_member_type_of_its_own_is_a_property(kind: Any) -> None:
    value = {"type": kind, "coordinates": 1}
    assert instance(value) == {"type": "Property", "value": value}
    assert instance([value]) == {"type": "Property", "value": [value]}


def test_the_keyword_type_says_the_type_too() -> None:
    assert instance({"@type": "Relationship", "object": "urn:a:b"}) == {"type": "Relationship", "object": "urn:a:b"}
    assert instance({"@type": ["x"], "a": 1}) == {"type": "Property", "value": {"@type": ["x"], "a": 1}}


@pytest.mark.parametrize("value", [["urn:a:b", "urn:a:c"], ["urn:a:b"]])
def test_a_relationship_may_have_several_objects(value: list[str]) -> None:
    assert instance({"type": "Relationship", "object": value}) == {"type": "Relationship", "object": value}


def test_a_list_of_relationships_is_read_with_and_without_wrapped_objects() -> None:
    raw = {"type": "ListRelationship", "objectList": [{"object": "urn:a:b"}, "urn:a:c"]}
    assert instance(raw) == {"type": "ListRelationship", "objectList": ["urn:a:b", "urn:a:c"]}


def test_vocabulary_terms_become_iris() -> None:
    assert instance({"vocab": ["Male", "http://example.org/x"]})["vocab"] == [iri("Male"), "http://example.org/x"]


def test_geometries_may_be_json_text_in_a_geo_property_only() -> None:
    text = '{"type": "Point", "coordinates": [9.7, 52.4]}'
    assert instance({"type": "GeoProperty", "value": text})["value"] == POINT
    assert instance(text) == {"type": "Property", "value": text}


def test_metadata_are_read_and_expanded() -> None:
    raw = normalized(
        "Property",
        unitCode="CEL",
        valueType="Temperature",
        observedAt="2026-01-31T12:00:00.5Z",
        expiresAt="2027-01-01T00:00:00Z",
        datasetId=DATASET,
    )
    assert instance(raw) == {
        "type": "Property",
        "value": STORED["Property"],
        "unitCode": "CEL",
        "valueType": iri("Temperature"),
        "observedAt": "2026-01-31T12:00:00.5Z",
        "expiresAt": "2027-01-01T00:00:00Z",
        "datasetId": DATASET,
    }


@pytest.mark.parametrize("kind", ["Relationship", "ListRelationship"])
def test_relationships_may_say_the_types_of_their_objects(kind: str) -> None:
    assert instance(normalized(kind, objectType="Person"))["objectType"] == iri("Person")
    assert instance(normalized(kind, objectType=["Person", "Dog"]))["objectType"] == [iri("Person"), iri("Dog")]


def test_the_dataset_none_is_the_default_instance() -> None:
    assert "datasetId" not in instance({"value": 1, "datasetId": "@none"})


@pytest.mark.parametrize("kind", VALUES)
def test_members_that_only_the_broker_makes_are_ignored(kind: str) -> None:
    member = VALUE_MEMBERS[kind]
    previous = "previous" + member[0].upper() + member[1:]
    raw = normalized(kind, createdAt="x", modifiedAt=1, deletedAt=None, instanceId="urn:i:1", **{previous: 5})
    assert instance(raw) == {"type": kind, member: STORED[kind]}


def test_sub_attributes_of_all_types_are_read_to_any_depth() -> None:
    inner = {f"of{kind}": normalized(kind) for kind in VALUES}
    raw = {"value": 1, "accuracy": {"value": 2, "by": {"object": "urn:a:b", **inner}}, "quality": 0.5}
    stored = instance(raw)
    assert stored["attributes"][key("quality")] == [{"type": "Property", "value": 0.5}]
    by = stored["attributes"][key("accuracy")][0]["attributes"][key("by")][0]
    assert by["object"] == "urn:a:b"
    for kind in VALUES:
        assert by["attributes"][key(f"of{kind}")] == [{"type": kind, VALUE_MEMBERS[kind]: STORED[kind]}]


def test_sub_attributes_may_have_several_instances() -> None:
    stored = instance({"value": 1, "sub": [{"value": 2}, {"object": "urn:a:b", "datasetId": DATASET}]})
    assert [one.get("datasetId") for one in stored["attributes"][key("sub")]] == [None, DATASET]


def test_instances_are_told_apart_by_their_dataset() -> None:
    stored = attribute(
        [{"value": 1}, {"type": "Property", "value": 2, "datasetId": DATASET}, {"json": [], "datasetId": OTHER_DATASET}]
    )
    assert stored == [
        {"type": "Property", "value": 1},
        {"type": "Property", "value": 2, "datasetId": DATASET},
        {"type": "JsonProperty", "json": [], "datasetId": OTHER_DATASET},
    ]


def test_the_simplified_form_of_several_instances_is_read() -> None:
    stored = attribute({"dataset": {"@none": 1, DATASET: POINT, OTHER_DATASET: {"languageMap": {"en": "x"}}}})
    assert stored == [
        {"type": "Property", "value": 1},
        {"type": "GeoProperty", "value": POINT, "datasetId": DATASET},
        {"type": "LanguageProperty", "languageMap": {"en": "x"}, "datasetId": OTHER_DATASET},
    ]


def test_a_value_that_only_resembles_several_instances_is_a_property() -> None:
    values: list[dict[str, Any]] = [{"dataset": {}}, {"dataset": 5}, {"dataset": {"a": 1}, "more": 2}]
    for value in values:
        assert instance(value) == {"type": "Property", "value": value}


def test_an_attribute_of_the_same_iri_twice_is_refused() -> None:
    with pytest.raises(BadRequestData, match="twice") as caught:
        read_attributes({"a": 1, iri("a"): 2}, core(), pointer="/0")
    assert caught.value.pointer == "/0/" + iri("a").replace("/", "~1")


@pytest.mark.parametrize(
    ("raw", "pointer", "text"),
    [
        (None, "/a", "null is no value"),
        ({"type": "Property"}, "/a", "has no 'value'"),
        ({"type": "Relationship", "value": 1}, "/a", "has no 'object'"),
        ({"type": "Property", "value": None}, "/a/value", "null is no value"),
        ({"type": "Thing", "value": 1}, "/a/type", "not an attribute type"),
        ({"type": ["Property"], "value": 1}, "/a/type", "not an attribute type"),
        ({"value": 1, "object": "urn:a:b"}, "/a", "both 'value' and 'object'"),
        ({"type": "Property", "value": 1, "object": "urn:a:b"}, "/a/object", "cannot have the member"),
        ({"value": 2**63}, "/a/value", "64 bits"),
        ({"type": "GeoProperty", "value": 5}, "/a/value", "GeoJSON"),
        ({"type": "GeoProperty", "value": {"type": "Point", "coordinates": [900, 0]}}, "/a/value", "outside the globe"),
        ({"type": "Point", "coordinates": [900, 0]}, "/a", "outside the globe"),
        ({"type": "Relationship", "object": "no URI"}, "/a/object", "is not a URI"),
        ({"type": "Relationship", "object": ["urn:a:b", 5]}, "/a/object/1", "is not a URI"),
        ({"type": "Relationship", "object": []}, "/a/object", "empty array"),
        ({"type": "Relationship", "object": {"id": "urn:a:b"}}, "/a/object", "is not a URI"),
        ({"type": "ListRelationship", "objectList": "urn:a:b"}, "/a/objectList", "must be an array"),
        ({"type": "ListRelationship", "objectList": [{"object": 1}]}, "/a/objectList/0", "is not a URI"),
        ({"objectList": [{"object": "urn:a:b", "x": 1}]}, "/a/objectList/0", "is not a URI"),
        ({"type": "ListProperty", "valueList": {"a": 1}}, "/a/valueList", "must be an array"),
        ({"type": "ListProperty", "valueList": [1, 2**64]}, "/a/valueList/1", "64 bits"),
        ({"type": "LanguageProperty", "languageMap": {}}, "/a/languageMap", "languageMap is an object"),
        ({"type": "LanguageProperty", "languageMap": "text"}, "/a/languageMap", "languageMap is an object"),
        ({"type": "LanguageProperty", "languageMap": {"en_GB": "x"}}, "/a/languageMap", "language tag"),
        ({"type": "LanguageProperty", "languageMap": {"en": 5}}, "/a/languageMap/en", "text or an array"),
        ({"type": "LanguageProperty", "languageMap": {"en": ["x", None]}}, "/a/languageMap/en", "text or an array"),
        ({"type": "VocabProperty", "vocab": 5}, "/a/vocab", "is not a text"),
        ({"type": "VocabProperty", "vocab": []}, "/a/vocab", "is not a text"),
        ({"type": "VocabProperty", "vocab": ["x", ""]}, "/a/vocab", "is not a text"),
        ({"value": 1, "observedAt": "yesterday"}, "/a/observedAt", "DateTime"),
        ({"value": 1, "expiresAt": 5}, "/a/expiresAt", "DateTime"),
        ({"value": 1, "unitCode": 5}, "/a/unitCode", "is not a text"),
        ({"value": 1, "datasetId": "1"}, "/a/datasetId", "is not a URI"),
        ({"value": 1, "datasetId": ["urn:a:b"]}, "/a/datasetId", "is not a URI"),
        ({"value": 1, "valueType": []}, "/a/valueType", "is not a text"),
        ({"object": "urn:a:b", "objectType": []}, "/a/objectType", "is not a text"),
        ({"type": "JsonProperty", "json": 5}, "/a/json", "an object or an array of objects"),
        ({"json": "text"}, "/a/json", "an object or an array of objects"),
        ({"type": "JsonProperty", "json": None}, "/a/json", "an object or an array of objects"),
        ({"json": [{"a": 1}, 5]}, "/a/json", "an object or an array of objects"),
        ({"languageMap": {"en": "x"}, "valueType": "xsd:string"}, "/a/valueType", "is langString"),
        ({"vocab": "@list"}, "/a/vocab", "keywords"),
        ({"object": "urn:a:b", "objectType": "9Lives"}, "/a/objectType", "holds '9'"),
        ({"value": 1, "9lives": 2}, "/a/9lives", "holds '9'"),
        ({"value": 1, "a b": 2}, "/a/a b", "holds ' '"),
        ({"value": 1, "objectType": "X"}, "/a/objectType", "cannot have the member"),
        ({"object": "urn:a:b", "valueType": "X"}, "/a/valueType", "cannot have the member"),
        ({"value": 1, "id": "urn:a:b"}, "/a/id", "cannot have the member"),
        ({"value": 1, "entity": {}}, "/a/entity", "cannot have the member"),
        ({"object": "urn:a:b", "entityList": []}, "/a/entityList", "cannot have the member"),
        ({"value": 1, "previousObject": "urn:a:b"}, "/a/previousObject", "cannot have the member"),
        ({"value": 1, "previousJson": {}}, "/a/previousJson", "cannot have the member"),
        ({"value": 1, "entityIdSealed": "urn:a:b"}, "/a/entityIdSealed", "cannot have the member"),
        ({"object": "urn:a:b", "entityTypeSealed": "X"}, "/a/entityTypeSealed", "cannot have the member"),
        ({"value": 1, "@context": {}}, "/a/@context", "cannot have the member"),
        ({"value": 1, "x:b/c~d": None}, "/a/x:b~1c~0d", "null is no value"),
        ({"value": 1, "sub": {"value": 2, "deep": {"object": 5}}}, "/a/sub/deep/object", "is not a URI"),
        ([{"value": 1}, {"value": None}], "/a/1/value", "null is no value"),
        ([{"value": 1}, {"value": 2}], "/a/1", "have no datasetId"),
        ([{"value": 1}, 5], "/a/1", "have no datasetId"),
        ([{"value": 1, "datasetId": DATASET}, {"value": 2, "datasetId": DATASET}], "/a/1", DATASET),
        ([{"value": 1}, {"value": 2, "datasetId": "@none"}], "/a/1", "have no datasetId"),
        ({"dataset": {"not a URI": 1}}, "/a/dataset/not a URI", "is not a URI"),
        ({"dataset": {"@none": {"value": 1, "datasetId": DATASET}, DATASET: 2}}, f"/a/dataset/{DATASET}", DATASET),
    ],
)  # fmt: skip
def test_what_is_no_attribute_is_refused_at_its_place(raw: Any, pointer: str, text: str) -> None:
    assert_refused(raw, pointer, text)


@pytest.mark.parametrize("value_type", ["langString", LANG_STRING])
def test_the_value_type_of_a_language_property_is_lang_string(value_type: str) -> None:
    assert instance(normalized("LanguageProperty", valueType=value_type))["valueType"] == LANG_STRING


PLACES = ["location", "observationSpace", "operationSpace", NGSI_LD_BASE + "location"]


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize(
    ("raw", "at"),
    [
        ({"type": "Property", "value": 7}, "/value"),
        ({"value": {"type": "Thing"}}, "/value"),
        ("Berlin", ""),
        ({"object": "urn:a:b"}, "/object"),
        ({"json": POINT}, "/json"),
        ([{"value": POINT}, {"value": 7, "datasetId": DATASET}], "/1/value"),
        ({"dataset": {DATASET: 7}}, f"/dataset/{DATASET}"),
    ],
)
def test_the_places_of_an_entity_are_geo_properties(name: str, raw: Any, at: str) -> None:
    with pytest.raises(BadRequestData, match="is a GeoProperty") as caught:
        read_attributes({name: raw}, core())
    assert caught.value.pointer == "/" + name.replace("/", "~1") + at


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("nulls", [Nulls.MEMBERS, Nulls.DEEP])
def test_the_places_of_an_entity_hold_geometries_or_are_deleted(name: str, nulls: Nulls) -> None:
    as_property = {"type": "Property", "value": POINT}  # as several official examples of Smart Data Models have it
    for raw in (POINT, {"value": POINT}, {"type": "GeoProperty", "value": POINT}, as_property):
        ((stored,),) = read_attributes({name: raw}, core(), nulls=nulls).values()
        assert stored["value"] == POINT
    ((stored,),) = read_attributes({name: NULL}, core(), nulls=nulls).values()
    assert is_deletion(stored)


def test_a_sub_attribute_may_be_called_location() -> None:
    assert instance({"value": 1, "location": "left"})["attributes"][core().key("location")][0]["value"] == "left"


PROOF = {
    "type": "Property",
    "entityIdSealed": "urn:ngsi-ld:Store:002",
    "entityTypeSealed": "Store",
    "value": {"type": "DataIntegrityProof", "proofValue": "z3X"},
}


@pytest.mark.parametrize("name", ["ngsildproof", NGSI_LD_BASE + "ngsildproof"])
def test_a_proof_seals_id_and_type(name: str) -> None:
    sealed = {**PROOF, "entityTypeSealed": iri("Store")}
    assert read_attributes({name: PROOF}, core())[PROOF_KEY] == [sealed]
    for kind in VALUES:
        assert instance(normalized(kind, **{name: PROOF}))["attributes"][PROOF_KEY] == [sealed]


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        ({"type": "Property", "value": "text"}, "/a/ngsildproof/value"),
        (5, "/a/ngsildproof"),
        ({"json": {}}, "/a/ngsildproof/json"),
        ({**PROOF, "entityIdSealed": 42}, "/a/ngsildproof/entityIdSealed"),
        ({**PROOF, "entityTypeSealed": 42}, "/a/ngsildproof/entityTypeSealed"),
        ({**PROOF, "entityTypeSealed": "a b"}, "/a/ngsildproof/entityTypeSealed"),
        ([PROOF, {**PROOF, "datasetId": DATASET}], "/a/ngsildproof/1"),
    ],
)
def test_what_is_no_proof_is_refused(raw: Any, pointer: str) -> None:
    assert_refused({"value": 1, "ngsildproof": raw}, pointer)


@pytest.mark.parametrize("kind", UNITLESS)
def test_types_without_units_refuse_them(kind: str) -> None:
    assert_refused(normalized(kind, unitCode="CEL"), "/a/unitCode", "no unit")


@pytest.mark.parametrize(
    "name", ["value", "type", "id", "instanceId", "observedAt", "@value", "@graph", "entityIdSealed", "lang"]
)
def test_reserved_names_are_no_attributes(name: str) -> None:
    with pytest.raises(BadRequestData, match="reserved name") as caught:
        read_attributes({name: 1}, core())
    assert caught.value.pointer == f"/{name}"


@pytest.mark.parametrize("name", ["hasValue", "hasObject", "observedAt", "unitCode", "hasJSON", "scope", "expiresAt"])
def test_iris_of_reserved_names_are_no_attributes_either(name: str) -> None:
    with pytest.raises(BadRequestData, match="reserved name"):
        read_attributes({NGSI_LD_BASE + name: 1}, core())
    assert_refused({"value": 1, NGSI_LD_BASE + name: 1}, "/a/" + (NGSI_LD_BASE + name).replace("/", "~1"), "reserved")


def nested_attributes(levels: int) -> dict[str, Any]:
    raw: dict[str, Any] = {"type": "Property", "value": 1}
    for _ in range(levels):
        raw = {"type": "Property", "value": 1, "sub": raw}
    return raw


def test_sub_attributes_are_nested_to_the_limit_and_refused_beyond_it() -> None:
    stored = instance(nested_attributes(48))
    for _ in range(48):
        stored = stored["attributes"][key("sub")][0]
    assert stored == {"type": "Property", "value": 1}
    for levels in (49, 140, 300):
        with pytest.raises(BadRequestData, match="nested deeper"):
            instance(nested_attributes(levels))


class TestNulls:
    """NGSI-LD Nulls: refused in creations, deletions in updates, inside values only in merges (clause 5.5.4)."""

    @pytest.mark.parametrize(
        "raw",
        [
            {"type": "Property", "value": NULL},
            {"type": "GeoProperty", "value": NULL},
            {"type": "Relationship", "object": NULL},
            {"type": "LanguageProperty", "languageMap": {"@none": NULL}},
            {"type": "LanguageProperty", "languageMap": NULL},
            {"type": "VocabProperty", "vocab": NULL},
            {"type": "JsonProperty", "json": NULL},
            {"type": "ListProperty", "valueList": [NULL]},
            {"type": "ListProperty", "valueList": NULL},
            {"type": "ListRelationship", "objectList": [NULL]},
            {"type": "ListRelationship", "objectList": [{"object": NULL}]},
        ],
    )
    def test_a_null_for_the_value_deletes_the_instance(self, raw: dict[str, Any]) -> None:
        for nulls in (Nulls.MEMBERS, Nulls.DEEP):
            assert is_deletion(instance(raw, nulls))
            other = instance({**raw, "datasetId": DATASET}, nulls)
            assert is_deletion(other)
            assert other["datasetId"] == DATASET
        assert_refused(raw, f"/a/{VALUE_MEMBERS[raw['type']]}", "deletes an attribute")

    def test_a_null_in_place_of_an_attribute_deletes_its_default_instance(self) -> None:
        assert instance(NULL, Nulls.MEMBERS) == {"type": "Property", "deleted": True}
        assert_refused(NULL, "/a", "deletion")

    def test_a_null_in_the_simplified_form_deletes_the_instance_of_its_dataset(self) -> None:
        (one,) = attribute({"dataset": {DATASET: NULL}}, Nulls.MEMBERS)
        assert is_deletion(one)
        assert one["datasetId"] == DATASET

    def test_a_null_deletes_a_sub_attribute(self) -> None:
        stored = instance({"value": 1, "sub": NULL}, Nulls.MEMBERS)
        assert is_deletion(stored["attributes"][key("sub")][0])
        assert_refused({"value": 1, "sub": NULL}, "/a/sub", "deletion")

    @pytest.mark.parametrize("name", ["observedAt", "expiresAt", "unitCode", "valueType"])
    def test_a_null_removes_a_member_of_a_property(self, name: str) -> None:
        assert instance({"value": 1, name: NULL}, Nulls.MEMBERS)[name] == NULL
        assert_refused({"value": 1, name: NULL}, f"/a/{name}")

    def test_a_null_removes_the_object_type_of_a_relationship(self) -> None:
        assert instance({"object": "urn:a:b", "objectType": NULL}, Nulls.MEMBERS)["objectType"] == NULL
        assert_refused({"object": "urn:a:b", "objectType": NULL}, "/a/objectType")

    @pytest.mark.parametrize("nulls", Nulls)
    def test_a_dataset_cannot_be_deleted(self, nulls: Nulls) -> None:
        assert_refused({"value": 1, "datasetId": NULL}, "/a/datasetId", "stands for a deletion", nulls)
        assert_refused({"dataset": {NULL: 1}}, f"/a/dataset/{NULL}", "stands for a deletion", nulls)

    @pytest.mark.parametrize("nulls", [Nulls.REFUSED, Nulls.MEMBERS])
    @pytest.mark.parametrize(
        ("raw", "pointer"),
        [
            ({"value": {"country": NULL}}, "/a/value"),
            ({"value": {"deep": {"country": NULL}}}, "/a/value"),
            ({"country": NULL}, "/a"),
            ({"json": {"country": NULL}}, "/a/json"),
            ({"languageMap": {"en": "x", "fr": NULL}}, "/a/languageMap/fr"),
        ],
    )
    def test_a_null_inside_a_value_is_for_merges(self, raw: dict[str, Any], pointer: str, nulls: Nulls) -> None:
        assert_refused(raw, pointer, NULL, nulls)
        assert not is_deletion(instance(raw, Nulls.DEEP))

    @pytest.mark.parametrize("nulls", Nulls)
    @pytest.mark.parametrize(
        ("raw", "pointer"),
        [
            ({"object": ["urn:a:b", NULL]}, "/a/object/1"),
            ({"object": [NULL]}, "/a/object/0"),
            ({"objectList": ["urn:a:b", NULL]}, "/a/objectList/1"),
            ({"valueList": [1, NULL]}, "/a/valueList/1"),
            ({"value": {"deep": [{"country": NULL}]}}, "/a/value"),
            ({"languageMap": {"en": [NULL]}}, "/a/languageMap/en"),
            ({"vocab": ["x", NULL]}, "/a/vocab"),
            ({"object": "urn:a:b", "objectType": ["x", NULL]}, "/a/objectType"),
        ],
    )
    def test_a_null_among_others_is_refused(self, raw: dict[str, Any], pointer: str, nulls: Nulls) -> None:
        assert_refused(raw, pointer, nulls=nulls)


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["Property", "Relationship", "Propert"])},
        optional={
            "value": st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
            | st.just(NULL) | st.just([1]),
            "observedAt": st.sampled_from(["2020-09-16T00:00:01Z", "2020-09-16T00:00:01,5Z", "yesterday", 5]),
            "unitCode": st.just("CEL"),
        },
    )
)  # fmt: skip
def test_a_measurement_read_at_once_is_what_reading_in_full_gives(raw: dict[str, Any]):
    quick = read_measurement(raw)

    if quick is not None:
        assert quick == read_instance(raw, core())
