"""Reading entities, entity fragments and attribute fragments."""

from typing import Any

import pytest

from broker.ngsild.attributes import Nulls, is_deletion
from broker.ngsild.errors import BadRequestData
from broker.ngsild.fragments import AttributeFragment, read_attribute_fragment, read_entity, read_replacement
from broker.ngsild.names import PROOF_KEY
from tests.unit.ngsild.samples import DATASET, ID, NULL, POINT, core, fragment, iri, key


def attribute_fragment(document: Any) -> AttributeFragment:
    return read_attribute_fragment(document, core())


def proof_fragment(document: Any) -> AttributeFragment:
    return read_attribute_fragment(document, core(), PROOF_KEY)


def assert_bad(document: Any, pointer: str, nulls: Nulls = Nulls.MEMBERS) -> None:
    with pytest.raises(BadRequestData) as caught:
        fragment(document, nulls)
    assert caught.value.pointer == pointer, caught.value.detail


class TestEntities:
    def test_an_entity_is_read_as_a_whole(self) -> None:
        document = {
            "id": ID,
            "type": ["Building", "Museum", "Building"],
            "scope": ["/a", "/b"],
            "expiresAt": "2027-01-01T00:00:00,5Z",
            "name": "Prado",
        }
        found = read_entity(document, core())
        assert found.entity_id == ID
        assert found.types == [iri("Building"), iri("Museum")]
        assert found.scopes == ["/a", "/b"]
        assert found.expires_at == "2027-01-01T00:00:00.5Z"
        assert found.attributes == {key("name"): [{"type": "Property", "value": "Prado"}]}

    def test_id_and_type_may_be_written_as_json_ld_keywords(self) -> None:
        found = read_entity({"@id": ID, "@type": "Building"}, core())
        assert (found.entity_id, found.types) == (ID, [iri("Building")])

    def test_members_that_only_the_broker_makes_are_ignored(self) -> None:
        document = {"id": ID, "type": "Building", "createdAt": "x", "modifiedAt": 1, "deletedAt": None}
        assert read_entity(document, core()).attributes == {}

    @pytest.mark.parametrize(
        ("document", "pointer"), [({"type": "Building"}, "/3/id"), ({"id": ID, "name": "x"}, "/3/type")]
    )
    def test_an_entity_without_id_or_type_is_refused(self, document: dict[str, Any], pointer: str) -> None:
        with pytest.raises(BadRequestData) as caught:
            read_entity(document, core(), pointer="/3")
        assert caught.value.pointer == pointer

    @pytest.mark.parametrize("value", [NULL, {"value": NULL}, {"object": NULL}, {"languageMap": {"@none": NULL}}])
    def test_an_entity_holds_no_ngsi_ld_null(self, value: Any) -> None:
        with pytest.raises(BadRequestData):
            read_entity({"id": ID, "type": "Building", "a": value}, core())

    @pytest.mark.parametrize("name", ["id", "type", "scope", "expiresAt"])
    def test_no_member_of_an_entity_is_an_ngsi_ld_null(self, name: str) -> None:
        with pytest.raises(BadRequestData) as caught:
            read_entity({"id": ID, "type": "Building", name: NULL}, core())
        assert caught.value.pointer == f"/{name}"


class TestEntityFragments:
    def test_a_fragment_may_be_empty(self) -> None:
        found = fragment({})
        assert (found.entity_id, found.types, found.scopes, found.expires_at, found.attributes) == (None,) * 4 + ({},)

    def test_nulls_delete_attributes_the_scope_and_the_expiry(self) -> None:
        found = fragment({"scope": NULL, "expiresAt": NULL, "name": NULL})
        assert found.scopes == [NULL]
        assert found.expires_at == NULL
        assert is_deletion(found.attributes[key("name")][0])

    @pytest.mark.parametrize("document", [None, [], "text", 5, [{"id": ID}]])
    def test_what_is_no_object_is_refused(self, document: Any) -> None:
        assert_bad(document, "")

    @pytest.mark.parametrize(
        ("document", "pointer"),
        [
            ({"id": None}, "/id"),
            ({"id": 5}, "/id"),
            ({"id": "Building1"}, "/id"),
            ({"id": NULL}, "/id"),
            ({"type": None}, "/type"),
            ({"type": []}, "/type"),
            ({"type": ""}, "/type"),
            ({"type": ["Building", 5]}, "/type"),
            ({"type": {"a": 1}}, "/type"),
            ({"type": NULL}, "/type"),
            ({"type": ["Building", NULL]}, "/type"),
            ({"scope": None}, "/scope"),
            ({"scope": {"value": "/a"}}, "/scope"),
            ({"expiresAt": None}, "/expiresAt"),
            ({"expiresAt": "soon"}, "/expiresAt"),
            ({"expiresAt": {"value": "2027-01-01T00:00:00Z"}}, "/expiresAt"),
            ({"name": None}, "/name"),
            ({"value": 5}, "/value"),
            ({"name": {"value": 1, "observedAt": 5}}, "/name/observedAt"),
            ({"a/b": None}, "/a~1b"),
        ],
    )
    def test_a_member_that_is_not_understood_is_refused_at_its_place(self, document: Any, pointer: str) -> None:
        assert_bad(document, pointer)

    @pytest.mark.parametrize("name", ["a b", "", "a<b", "a\tb", "@list", "9Lives", "_a"])
    def test_a_name_that_cannot_be_expanded_is_refused(self, name: str) -> None:
        assert_bad({name: 1}, f"/{name}")
        assert_bad({"type": name}, "/type")
        assert_bad({"type": ["Building", name]}, "/type")

    def test_what_only_instances_have_is_no_member_of_an_entity(self) -> None:
        assert_bad({"instanceId": "urn:i:1"}, "/instanceId")


class TestAttributeFragments:
    def test_the_type_may_be_missing(self) -> None:
        found = attribute_fragment({"value": 5})
        assert (found.kind, found.dataset_id, found.changes) == (None, None, {"value": 5})

    @pytest.mark.parametrize(
        ("document", "changes"),
        [
            ({"type": "Property", "value": 5, "unitCode": "CEL"}, {"value": 5, "unitCode": "CEL"}),
            ({"object": "urn:a:b"}, {"object": "urn:a:b"}),
            ({"value": POINT}, {"value": POINT}),
            ({"languageMap": {"en": "x"}}, {"languageMap": {"en": "x"}}),
            ({"vocab": "x"}, {"vocab": iri("x")}),
            ({"json": [{"a.b": 1}]}, {"json": [{"a%2Eb": 1}]}),
            ({"valueList": [1]}, {"valueList": [1]}),
            ({"objectList": ["urn:a:b"]}, {"objectList": ["urn:a:b"]}),
            ({"objectType": "Person"}, {"objectType": iri("Person")}),
            ({"valueType": "Length"}, {"valueType": iri("Length")}),
            ({"observedAt": "2026-01-31T12:00:00Z"}, {"observedAt": "2026-01-31T12:00:00Z"}),
            ({"unitCode": NULL, "observedAt": NULL}, {"unitCode": NULL, "observedAt": NULL}),
            ({"accuracy": 5}, {"attributes": {key("accuracy"): [{"type": "Property", "value": 5}]}}),
            ({"@type": "Property", "createdAt": 5}, {}),
        ],
    )
    def test_the_members_that_change_are_read(self, document: dict[str, Any], changes: dict[str, Any]) -> None:
        assert attribute_fragment(document).changes == changes

    def test_the_dataset_names_the_instance(self) -> None:
        assert attribute_fragment({"value": 5, "datasetId": DATASET}).dataset_id == DATASET
        assert attribute_fragment({"value": 5, "datasetId": "@none"}).dataset_id is None

    @pytest.mark.parametrize("document", [{"value": NULL}, {"object": NULL}, {"languageMap": {"@none": NULL}}])
    def test_a_null_for_the_value_deletes_the_instance(self, document: dict[str, Any]) -> None:
        found = attribute_fragment({**document, "datasetId": DATASET})
        assert is_deletion(found.changes)
        assert found.dataset_id == DATASET

    @pytest.mark.parametrize(
        ("document", "pointer"),
        [
            (None, ""),
            ([], ""),
            ({}, ""),
            (5, ""),
            ({"type": "Thing"}, "/type"),
            ({"type": None}, "/type"),
            ({"type": ["Property"], "value": 5}, "/type"),
            ({"@type": {"a": 1}}, "/type"),
            ({"type": "Point", "coordinates": [0, 0]}, "/type"),
            ({"value": None}, "/value"),
            ({"value": {"country": NULL}}, "/value"),
            ({"value": 5, "object": "urn:a:b"}, "/object"),
            ({"json": 5}, "/json"),
            ({"a b": 5}, "/a b"),
            ({"entityIdSealed": ID}, "/entityIdSealed"),
            ({"object": "no URI"}, "/object"),
            ({"object": "urn:a:b", "unitCode": "CEL"}, "/unitCode"),
            ({"value": 5, "objectType": "X"}, "/objectType"),
            ({"datasetId": NULL}, "/datasetId"),
            ({"observedAt": "now"}, "/observedAt"),
            ({"value": 5, "id": ID}, "/id"),
        ],
    )
    def test_a_member_that_is_not_understood_is_refused_at_its_place(self, document: Any, pointer: str) -> None:
        with pytest.raises(BadRequestData) as caught:
            attribute_fragment(document)
        assert caught.value.pointer == pointer, caught.value.detail

    def test_a_proof_may_change_what_it_seals(self) -> None:
        found = proof_fragment({"entityIdSealed": ID, "entityTypeSealed": ["Building", "Museum"]})
        assert found.changes == {"entityIdSealed": ID, "entityTypeSealed": [iri("Building"), iri("Museum")]}
        with pytest.raises(BadRequestData) as caught:
            proof_fragment({"value": "text"})
        assert caught.value.pointer == "/value"

    def test_a_place_of_the_entity_stays_one(self) -> None:
        place = core().key("location")
        assert read_attribute_fragment({"value": POINT}, core(), place).changes == {"value": POINT}
        for document in ({"value": 7}, {"object": "urn:a:b"}):
            with pytest.raises(BadRequestData, match="is a GeoProperty"):
                read_attribute_fragment(document, core(), place)


class TestReplacements:
    def test_the_body_is_one_instance(self) -> None:
        assert read_replacement({"value": 5, "unitCode": "CEL"}, core()) == {
            "type": "Property",
            "value": 5,
            "unitCode": "CEL",
        }
        assert read_replacement(POINT, core(), core().key("location"))["type"] == "GeoProperty"

    @pytest.mark.parametrize("document", [None, 5, "text", [], [{"value": 1}]])
    def test_what_is_no_object_is_refused(self, document: Any) -> None:
        with pytest.raises(BadRequestData, match="one instance"):
            read_replacement(document, core())

    def test_the_attribute_keeps_its_own_rules(self) -> None:
        with pytest.raises(BadRequestData, match="is a GeoProperty"):
            read_replacement({"value": 7}, core(), core().key("location"))
        with pytest.raises(BadRequestData, match="ngsildproof"):
            read_replacement({"value": 7}, core(), PROOF_KEY)
