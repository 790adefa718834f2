"""Merging as a pure function (clauses 5.5.12, 5.6.17)."""

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ngsild.errors import BadRequestData, ResourceNotFound
from broker.ngsild.merge_fragments import read_merge_fragment
from broker.ngsild.merging import Common, MergeEntity, merge_value
from broker.ngsild.model import Entity
from broker.ngsild.representations import render_entity
from tests.unit.ngsild import strategies
from tests.unit.ngsild.samples import (
    DATASET,
    EARLIER,
    ID,
    LATER,
    NOW,
    NULL,
    OTHER_DATASET,
    POINT,
    core,
    entity,
    iri,
    key,
)

OBSERVED, OBSERVED_LATER = "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"
OTHER_POINT = {"type": "Point", "coordinates": [1, 2]}
TEXTS = {"type": "LanguageProperty", "languageMap": {"en": "tower", "fr": "tour"}}


def merge(
    before: Entity, document: dict[str, Any], *, simplified: bool = False, now: str = NOW, **common: str
) -> Entity:
    fragment = read_merge_fragment(document, core(), simplified=simplified)
    after, _ = MergeEntity(ID, fragment, Common(**common))(before, now)
    return after


def shown(stored: Entity) -> dict[str, Any]:
    """The attributes of an entity in normalised form."""
    document = render_entity(stored, core())
    return {name: value for name, value in document.items() if name not in ("id", "type", "scope", "expiresAt")}


def merged(attribute: Any, patch: Any, **options: Any) -> Any:
    """The attribute "a" after a merge, in normalised form; None if it is gone."""
    return shown(merge(entity(a=attribute), {"a": patch}, **options)).get("a")


def refused(attribute: Any, patch: Any, pointer: str, text: str, **options: Any) -> None:
    """Assert that merging `patch` into the attribute "a" is BadRequestData."""
    before = entity(**({} if attribute is None else {"a": attribute}))
    with pytest.raises(BadRequestData) as caught:
        merge(before, {"a": patch}, **options)
    assert (caught.value.pointer, text in caught.value.detail) == (pointer, True), caught.value.detail


def rfc7396(target: Any, patch: Any) -> Any:
    """JSON Merge Patch as its RFC defines it."""
    if not isinstance(patch, dict):
        return patch
    if not isinstance(target, dict):
        target = {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = rfc7396(target.get(name), value)
    return target


def nulls_for_none(patch: Any) -> Any:
    if isinstance(patch, dict):
        return {name: NULL if value is None else nulls_for_none(value) for name, value in patch.items()}
    return patch


class TestAttributes:
    def test_what_the_fragment_does_not_name_stays(self) -> None:
        before = entity(a={"value": 25, "unitCode": "CEL", "observedAt": OBSERVED}, b=1)
        after = merge(before, {"a": {"type": "Property", "value": 100, "observedAt": OBSERVED_LATER}})
        assert shown(after) == {
            "a": {"type": "Property", "value": 100, "unitCode": "CEL", "observedAt": OBSERVED_LATER},
            "b": {"type": "Property", "value": 1},
        }
        assert after["attributes"][key("b")] is before["attributes"][key("b")]

    def test_a_new_attribute_is_added(self) -> None:
        after = merge(entity(a=1), {"b": {"type": "Relationship", "object": "urn:a:1"}})
        assert shown(after)["b"] == {"type": "Relationship", "object": "urn:a:1"}
        assert after["attributes"][key("b")][0]["createdAt"] == NOW

    def test_a_merged_instance_keeps_its_creation_time(self) -> None:
        after = merge(entity(a=1), {"a": 2})
        (instance,) = after["attributes"][key("a")]
        assert (instance["createdAt"], instance["modifiedAt"]) == (EARLIER, NOW)
        assert (after["createdAt"], after["modifiedAt"]) == (EARLIER, NOW)

    def test_an_attribute_may_come_without_its_value(self) -> None:
        assert merged(5, {"type": "Property", "unitCode": "CEL"}) == {"type": "Property", "value": 5, "unitCode": "CEL"}

    def test_a_new_attribute_without_a_value_is_refused(self) -> None:
        refused(None, {"type": "Property", "unitCode": "CEL"}, "/a", "has no 'value'")

    def test_an_object_without_a_type_is_a_value(self) -> None:
        assert merged({"value": {"x": 1}}, {"unitCode": "CEL"})["value"] == {"x": 1, "unitCode": "CEL"}

    @pytest.mark.parametrize("name", ["observedAt", "unitCode", "expiresAt", "valueType"])
    def test_a_null_removes_a_member(self, name: str) -> None:
        full = {
            "value": 5, "observedAt": OBSERVED, "unitCode": "CEL", "expiresAt": "2099-01-01T00:00:00Z",
            "valueType": "urn:t",
        }  # fmt: skip
        (left,) = merge(entity(a=full), {"a": {"type": "Property", name: NULL}})["attributes"][key("a")]
        assert set(left) == {"type", "createdAt", "modifiedAt", *full} - {name}

    def test_a_null_in_place_of_a_member_that_is_not_there_changes_nothing(self) -> None:
        assert merged(5, {"value": 5, "unitCode": NULL, "sub": NULL}) == {"type": "Property", "value": 5}
        assert merged(5, {"value": 6, "sub": {"value": NULL}}) == {"type": "Property", "value": 6}

    def test_a_dataset_cannot_be_deleted(self) -> None:
        refused({"value": 1, "datasetId": DATASET}, {"value": 2, "datasetId": NULL}, "/a/datasetId", "cannot name")

    def test_the_type_of_an_attribute_cannot_be_a_null(self) -> None:
        refused(1, {"type": NULL, "value": 2}, "/a/type", "not an attribute type")

    def test_sub_attributes_are_merged_like_attributes(self) -> None:
        full = {"value": 1, "s": {"value": 1, "unitCode": "CEL", "t": {"value": {"x": 1, "y": 1}}}, "u": 7}
        patch = {"type": "Property", "s": {"type": "Property", "t": {"value": {"y": NULL, "z": 1}}}, "u": NULL}
        assert merged(full, patch) == {
            "type": "Property",
            "value": 1,
            "s": {
                "type": "Property", "value": 1, "unitCode": "CEL",
                "t": {"type": "Property", "value": {"x": 1, "z": 1}},
            },
        }  # fmt: skip

    @pytest.mark.parametrize("name", ["object", "languageMap", "@id", "https://uri.etsi.org/ngsi-ld/datasetId"])
    def test_reserved_names_are_refused_as_everywhere(self, name: str) -> None:
        with pytest.raises(BadRequestData):
            merge(entity(a=1), {"a": {"type": "Property", "value": 1, name: {"value": 1}}})

    def test_an_attribute_that_occurs_twice_is_refused(self) -> None:
        with pytest.raises(BadRequestData, match="occurs twice"):
            merge(entity(), {"a": 1, iri("a"): 2})


class TestInstances:
    BOTH = ({"value": {"x": 1}}, {"value": {"x": 2}, "datasetId": DATASET})

    def test_each_dataset_is_merged_with_its_own(self) -> None:
        after = merged(list(self.BOTH), {"value": {"y": 2}, "datasetId": DATASET})
        assert [one["value"] for one in after] == [{"x": 1}, {"x": 2, "y": 2}]
        after = merged(list(self.BOTH), {"type": "Property", "value": {"y": 2}})
        assert [one["value"] for one in after] == [{"x": 1, "y": 2}, {"x": 2}]

    def test_another_dataset_is_added(self) -> None:
        after = merged(list(self.BOTH), {"value": 3, "datasetId": OTHER_DATASET})
        assert [one.get("datasetId") for one in after] == [None, DATASET, OTHER_DATASET]

    def test_a_null_removes_the_instance_of_its_dataset_alone(self) -> None:
        assert merged(list(self.BOTH), {"value": NULL, "datasetId": DATASET})["value"] == {"x": 1}
        assert merged(list(self.BOTH), NULL)["value"] == {"x": 2}
        assert len(merged(list(self.BOTH), {"value": NULL, "datasetId": OTHER_DATASET})) == 2

    def test_several_instances_are_merged_at_once(self) -> None:
        after = merged(list(self.BOTH), [{"value": NULL}, {"value": {"x": NULL}, "datasetId": DATASET}])
        assert after == {"type": "Property", "value": {}, "datasetId": DATASET}

    def test_the_simplified_form_names_datasets_as_keys(self) -> None:
        patch = {"dataset": {"@none": {"y": 1}, DATASET: NULL}}
        assert merged(list(self.BOTH), patch, simplified=True) == {"type": "Property", "value": {"x": 1, "y": 1}}

    @pytest.mark.parametrize(
        ("patch", "pointer"),
        [
            ([{"value": 1}, {"value": 2}], "/a/1"),
            ([{"value": 1, "datasetId": DATASET}, {"value": NULL, "datasetId": DATASET}], "/a/1"),
            ({"dataset": {"no uri": 1}}, "/a/dataset/no uri"),
        ],
    )
    def test_a_dataset_named_twice_or_badly_is_refused(self, patch: Any, pointer: str) -> None:
        refused(1, patch, pointer, "datasetId")


class TestValues:
    def test_keys_of_objects_are_merged_and_removed(self) -> None:
        address = {"street": "17. Juni", "city": "Berlin", "country": "Germany", "geo": {"x": 1, "y": {"z": 1}}}
        patch = {"value": {"street": "Pariser Platz", "country": NULL, "geo": {"x": NULL, "y": {"w": 2}}}}
        assert merged({"value": address}, patch)["value"] == {
            "street": "Pariser Platz", "city": "Berlin", "geo": {"y": {"z": 1, "w": 2}}
        }  # fmt: skip

    def test_keys_with_dots_and_dollars_are_merged(self) -> None:
        assert merged({"value": {"a.b": 1, "$c": 2}}, {"value": {"a.b": NULL, "$c": 3}})["value"] == {"$c": 3}

    def test_a_new_value_is_kept_without_what_it_removes(self) -> None:
        assert shown(merge(entity(), {"a": {"value": {"x": 1, "y": {"z": NULL}}}}))["a"]["value"] == {"x": 1, "y": {}}

    def test_raw_json_is_merged_too(self) -> None:
        assert merged({"json": {"x": 1, "y": 2}}, {"json": {"y": NULL, "z": 3}})["json"] == {"x": 1, "z": 3}

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ({"value": [{"x": 1}, 2]}, {"value": [{"y": 1}]}),
            ({"valueList": [1, 2, 3]}, {"valueList": [4]}),
            ({"object": ["urn:a:1", "urn:a:2"]}, {"object": "urn:a:3"}),
            ({"objectList": ["urn:a:1", "urn:a:2"]}, {"objectList": ["urn:a:3"]}),
            ({"vocab": ["x", "y"]}, {"vocab": "z"}),
            ({"value": {**POINT, "bbox": [9.7, 52.4, 9.7, 52.4]}}, {"value": OTHER_POINT}),
        ],
    )
    def test_arrays_lists_and_geometries_are_replaced_as_a_whole(self, old: Any, new: Any) -> None:
        assert merged(old, new) == shown(entity(a=new))["a"]

    @pytest.mark.parametrize(
        ("old", "null"),
        [
            (1, NULL), ({"value": 1}, {"value": NULL}), ({"object": "urn:a:1"}, {"object": NULL}),
            ({"object": "urn:a:1"}, NULL), (POINT, {"type": "GeoProperty", "value": NULL}),
            (TEXTS, {"languageMap": {"@none": NULL}}), (TEXTS, NULL), ({"json": {}}, {"json": NULL}),
            ({"vocab": "x"}, {"vocab": NULL}), ({"valueList": [1]}, {"valueList": [NULL]}),
            ({"valueList": [1]}, {"valueList": NULL}), ({"objectList": ["urn:a:1"]}, {"objectList": [NULL]}),
        ],
    )  # fmt: skip
    def test_a_null_as_the_value_removes_the_attribute(self, old: Any, null: Any) -> None:
        assert merged(old, null) is None
        assert merge(entity(b=1), {"a": null}) == entity(b=1)

    @pytest.mark.parametrize(
        ("patch", "pointer"),
        [
            ({"value": [NULL]}, "/a/value"), ({"value": {"x": [1, {"y": NULL}]}}, "/a/value"), ([1, NULL], "/a"),
            ({"languageMap": {"en": ["x", NULL]}}, "/a/languageMap/en"), ({"object": ["urn:a:1", NULL]}, "/a/object/1"),
            ({"json": [{"x": NULL}]}, "/a/json"), ({"valueList": [{"x": NULL}]}, "/a/valueList/0"),
        ],
    )  # fmt: skip
    def test_nothing_inside_an_array_can_be_removed(self, patch: Any, pointer: str) -> None:
        refused(None, patch, pointer, NULL)

    def test_the_null_of_json_is_a_value(self) -> None:
        assert merged({"value": {"x": 1}}, {"value": {"x": None}})["value"] == {"x": None}

    @given(strategies.property_values(), strategies.property_values())
    def test_values_merge_as_json_merge_patch_does(self, old: Any, patch: Any) -> None:
        expected = rfc7396(copy.deepcopy(old), copy.deepcopy(patch))
        assert merge_value(old, nulls_for_none(patch)) == expected
        if not isinstance(patch, dict) or not _has_none_in_array(patch):
            after = merge(entity(a={"type": "Property", "value": old}), {"a": {"value": nulls_for_none(patch)}})
            assert shown(after)["a"]["value"] == expected


def _has_none_in_array(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_none_in_array(item) for item in value.values())
    return isinstance(value, list)


class TestLanguages:
    def test_tags_are_merged_and_removed(self) -> None:
        patch = {"type": "LanguageProperty", "languageMap": {"fr": NULL, "de": ["Turm", "Hochhaus"]}}
        assert merged(TEXTS, patch)["languageMap"] == {"en": "tower", "de": ["Turm", "Hochhaus"]}

    def test_without_its_last_text_the_attribute_is_gone(self) -> None:
        assert merged(TEXTS, {"languageMap": {"fr": NULL, "en": NULL}}) is None
        assert merge(entity(b=1), {"a": {"languageMap": {"fr": NULL}}}) == entity(b=1)

    @pytest.mark.parametrize("simplified", [False, True])
    @pytest.mark.parametrize("text", ["beffroi", ["tour", "beffroi"]])
    def test_a_plain_text_is_in_the_common_language(self, text: Any, simplified: bool) -> None:
        after = merged(TEXTS, text, lang="fr", simplified=simplified)
        assert after["languageMap"] == {"en": "tower", "fr": text}

    def test_a_text_with_members_around_it_is_in_the_common_language(self) -> None:
        after = merged(TEXTS, {"value": "beffroi", "note": 1}, lang="fr")
        assert after["languageMap"] == {"en": "tower", "fr": "beffroi"}
        assert after["note"]["value"] == 1

    def test_the_common_language_is_for_language_properties_alone(self) -> None:
        assert merged("tower", "tour", lang="fr") == {"type": "Property", "value": "tour"}
        assert shown(merge(entity(), {"a": "tour"}, lang="fr"))["a"] == {"type": "Property", "value": "tour"}

    def test_a_plain_text_without_a_language_is_refused(self) -> None:
        refused(TEXTS, "beffroi", "/a", "URL parameter lang")


class TestCommonTime:
    def test_it_renews_what_has_a_time(self) -> None:
        after = merge(
            entity(a={"value": 1, "observedAt": OBSERVED, "s": {"value": 1, "observedAt": OBSERVED}}, b=1, c=1),
            {"a": {"value": 2, "s": 2}, "b": 2, "new": 2},
            observed_at=OBSERVED_LATER,
        )
        times = {name: value.get("observedAt") for name, value in shown(after).items()}
        assert times == {"a": OBSERVED_LATER, "b": None, "c": None, "new": None}
        assert shown(after)["a"]["s"]["observedAt"] == OBSERVED_LATER

    def test_what_the_fragment_says_counts_for_more(self) -> None:
        own = "2026-03-03T00:00:00Z"
        timed = {"value": 1, "observedAt": OBSERVED}
        assert merged(timed, {"value": 2, "observedAt": own}, observed_at=OBSERVED_LATER)["observedAt"] == own
        assert "observedAt" not in merged(timed, {"value": 2, "observedAt": NULL}, observed_at=OBSERVED_LATER)

    def test_what_the_fragment_does_not_name_keeps_its_time(self) -> None:
        before = entity(a={"value": 1, "observedAt": OBSERVED}, b=1)
        assert shown(merge(before, {"b": 2}, observed_at=OBSERVED_LATER))["a"]["observedAt"] == OBSERVED


class TestTypes:
    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ({"object": "urn:a:1"}, "urn:a:2", {"type": "Relationship", "object": "urn:a:2"}),
            ({"vocab": "x"}, "y", {"type": "VocabProperty", "vocab": "y"}),
            ({"valueList": [1]}, [2], {"type": "ListProperty", "valueList": [2]}),
            ({"objectList": ["urn:a:1"]}, ["urn:a:2"],
             {"type": "ListRelationship", "objectList": [{"object": "urn:a:2"}]}),
            ({"json": {"x": 1}}, {"y": 2}, {"type": "JsonProperty", "json": {"x": 1, "y": 2}}),
            (TEXTS, {"languageMap": {"fr": NULL}}, {"type": "LanguageProperty", "languageMap": {"en": "tower"}}),
            (POINT, OTHER_POINT, {"type": "GeoProperty", "value": OTHER_POINT}),
            ({"type": "Property", "value": 5}, POINT, {"type": "Property", "value": POINT}),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("simplified", [False, True])
    def test_a_value_alone_keeps_the_type_of_the_attribute(
        self, old: Any, new: Any, expected: Any, simplified: bool
    ) -> None:
        assert merged(old, new, simplified=simplified) == expected

    def test_a_simplified_object_is_a_value_whatever_its_keys(self) -> None:
        patch = {"type": "Property", "value": 1}
        assert merged({"value": {"x": 1}}, patch, simplified=True)["value"] == {"x": 1, **patch}

    @pytest.mark.parametrize(
        ("old", "new", "pointer"),
        [
            (5, {"type": "Relationship", "object": "urn:a:1"}, "/a/type"), (5, {"object": "urn:a:1"}, "/a"),
            (TEXTS, {"type": "Property", "value": 5}, "/a/type"), (5, TEXTS, "/a/type"),
            (TEXTS, {"type": "Relationship"}, "/a/type"), (5, {"json": {}}, "/a"),
            (5, {"type": "GeoProperty", "value": POINT}, "/a/type"),
        ],
    )  # fmt: skip
    def test_another_type_is_refused(self, old: Any, new: Any, pointer: str) -> None:
        refused(old, new, pointer, "cannot change its type")

    @pytest.mark.parametrize(
        ("old", "new"), [({"object": "urn:a:1"}, "no uri"), (POINT, 5), ({"valueList": [1]}, 5), ({"json": {}}, 5)]
    )
    def test_a_value_that_the_type_cannot_have_is_refused(self, old: Any, new: Any) -> None:
        refused(old, new, "/a", "", simplified=True)


class TestEntity:
    def test_types_are_added(self) -> None:
        assert merge(entity(), {"type": ["Museum", "Building"]})["types"] == [iri("Building"), iri("Museum")]

    def test_the_type_cannot_be_deleted(self) -> None:
        with pytest.raises(BadRequestData) as caught:
            merge(entity(), {"type": NULL})
        assert caught.value.pointer == "/type"

    def test_the_scope_is_replaced_or_removed(self) -> None:
        before = entity({"scope": ["/A", "/B"]})
        assert merge(before, {"scope": "/C"})["scopes"] == ["/C"]
        assert merge(entity(), {"scope": "/C"})["scopes"] == ["/C"]
        assert "scopes" not in merge(before, {"scope": NULL})
        assert merge(entity(), {"scope": NULL}) == entity()

    def test_the_expiry_is_replaced_or_removed(self) -> None:
        before = entity({"expiresAt": "2098-01-01T00:00:00Z"})
        assert merge(before, {"expiresAt": "2099-01-01T00:00:00Z"})["expiresAt"] == "2099-01-01T00:00:00Z"
        assert "expiresAt" not in merge(before, {"expiresAt": NULL})

    def test_a_fragment_that_names_nothing_new_changes_nothing(self) -> None:
        before = entity(a=1)
        assert merge(before, {"id": ID, "type": "Building", "b": NULL, "createdAt": NOW}) is before

    def test_an_entity_that_does_not_exist_cannot_be_merged(self) -> None:
        with pytest.raises(ResourceNotFound):
            MergeEntity(ID, read_merge_fragment({"a": 1}, core()))(None, NOW)

    def test_an_entity_of_another_type_cannot_be_merged(self) -> None:
        mutation = MergeEntity(ID, read_merge_fragment({"a": 1}, core()), selector=lambda types: "T" in types)
        with pytest.raises(ResourceNotFound):
            mutation(entity(), NOW)

    @pytest.mark.parametrize("document", [[], "text", None, 5])
    def test_a_fragment_that_is_no_object_is_refused(self, document: Any) -> None:
        with pytest.raises(BadRequestData):
            read_merge_fragment(document, core())


def timeless(stored: Entity) -> Any:
    return render_entity(stored, core())


@given(strategies.entities(), strategies.entities(), st.booleans())
def test_merging_is_idempotent_and_leaves_its_arguments_alone(
    old: dict[str, Any], new: dict[str, Any], simplified: bool
) -> None:
    before = entity({**old, "id": ID})
    frozen = orjson.dumps(before)
    patch = read_merge_fragment({**new, "id": ID}, core(), simplified=simplified)
    try:
        once, _ = MergeEntity(ID, patch)(before, NOW)
    except BadRequestData:
        return
    twice, _ = MergeEntity(ID, patch)(once, LATER)
    assert timeless(twice) == timeless(once)
    assert orjson.dumps(before) == frozen


@given(strategies.entities())
def test_merging_an_entity_into_itself_or_into_an_empty_one_gives_the_entity(document: dict[str, Any]) -> None:
    document["id"] = ID
    fragment = read_merge_fragment(document, core())
    whole = entity(document)
    empty = entity({"id": ID, "type": document["type"]})
    assert timeless(MergeEntity(ID, fragment)(whole, NOW)[0]) == timeless(whole)
    assert timeless(MergeEntity(ID, fragment)(empty, NOW)[0]) == timeless(whole)


@given(strategies.entities())
def test_nulls_for_every_instance_leave_no_attribute(document: dict[str, Any]) -> None:
    document["id"] = ID
    whole = entity(document)
    patch = {
        name: [{"value": NULL, **_dataset(one)} for one in (raw if isinstance(raw, list) else [raw])]
        for name, raw in document.items()
        if name not in ("id", "type", "scope", "expiresAt")
    }
    assert MergeEntity(ID, read_merge_fragment(patch, core()))(whole, NOW)[0]["attributes"] == {}


def _dataset(instance: dict[str, Any]) -> dict[str, str]:
    return {"datasetId": instance["datasetId"]} if "datasetId" in instance else {}
