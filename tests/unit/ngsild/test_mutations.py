"""The provision operations as pure functions (clauses 5.5.8, 5.6.1 to 5.6.9, 5.6.18, 5.6.19)."""

import copy
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from broker.ngsild.attribute_mutations import DeleteAttribute, PartialUpdate, ReplaceAttribute
from broker.ngsild.attributes import read_instance
from broker.ngsild.errors import AlreadyExists, BadRequestData, ResourceNotFound
from broker.ngsild.fragments import read_attribute_fragment, read_entity
from broker.ngsild.model import Entity
from broker.ngsild.mutations import (
    AppendAttributes,
    CreateEntity,
    DeleteEntity,
    Mutation,
    ReplaceEntity,
    UpdateAttributes,
    UpdateResult,
    UpsertEntity,
)
from broker.ngsild.representations import render_entity
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
    fragment,
    iri,
    key,
)

OTHER_POINT = {"type": "Point", "coordinates": [1, 2]}
TWO = [{"value": 1}, {"value": 2, "datasetId": DATASET}]


def update(before: Entity, document: dict[str, Any]) -> tuple[Entity, UpdateResult]:
    return UpdateAttributes(ID, fragment(document))(before, NOW)


def append(before: Entity, document: dict[str, Any], *, overwrite: bool = True) -> tuple[Entity, UpdateResult]:
    return AppendAttributes(ID, fragment(document), overwrite)(before, NOW)


def partial(before: Entity, name: str, document: dict[str, Any]) -> Entity:
    after, _ = PartialUpdate(ID, key(name), read_attribute_fragment(document, core()))(before, NOW)
    return after


def upsert(before: Entity | None, document: dict[str, Any], *, mode: str) -> tuple[Entity, bool | UpdateResult]:
    return UpsertEntity(fragment({"id": ID, "type": "Building", **document}), mode == "update")(before, NOW)


def shown(stored: Entity) -> dict[str, Any]:
    """The attributes of an entity in normalised form."""
    document = render_entity(stored, core())
    return {name: value for name, value in document.items() if name not in ("id", "type", "scope")}


def only(stored: Entity, name: str) -> dict[str, Any]:
    (one,) = stored["attributes"][key(name)]
    return dict(one)


def stamps(stored: dict[str, Any]) -> tuple[str, str]:
    return stored["createdAt"], stored["modifiedAt"]


class TestCreateEntity:
    def test_all_parts_of_a_new_entity_have_the_time_of_the_change(self) -> None:
        created = entity(a={"value": 1, "sub": {"value": 2, "deep": 3}})
        a = only(created, "a")
        sub = a["attributes"][key("sub")][0]
        assert {stamps(part) for part in (created, a, sub, sub["attributes"][key("deep")][0])} == {(EARLIER, EARLIER)}

    def test_the_outcome_is_none(self) -> None:
        mutation = CreateEntity(read_entity({"id": ID, "type": "Building"}, core()))
        assert mutation(None, NOW)[1] is None

    def test_an_entity_that_exists_is_not_created_again(self) -> None:
        mutation = CreateEntity(read_entity({"id": ID, "type": "Building"}, core()))
        with pytest.raises(AlreadyExists, match=ID):
            mutation(entity(), NOW)


class TestUpdateAttributes:
    def test_a_matching_attribute_is_replaced_as_a_whole_and_keeps_its_creation_time(self) -> None:
        before = entity(a={"value": 25, "unitCode": "CEL", "observedAt": "2022-03-14T01:59:26.535Z", "sub": 1}, b=1)
        after, result = update(before, {"a": {"value": 100, "observedAt": "2022-03-14T13:00:00.000Z"}})
        assert shown(after)["a"] == {"type": "Property", "value": 100, "observedAt": "2022-03-14T13:00:00.000Z"}
        assert stamps(only(after, "a")) == (EARLIER, NOW)
        assert stamps(after) == (EARLIER, NOW)
        assert result == UpdateResult([iri("a")], [])

    def test_other_attributes_stay_the_same_object(self) -> None:
        before = entity(a=1, b=2)
        after, _ = update(before, {"a": 5})
        assert after["attributes"][key("b")] is before["attributes"][key("b")]

    def test_an_attribute_may_become_another_type(self) -> None:
        after, _ = update(entity(a=1), {"a": {"object": "urn:a:b"}})
        assert shown(after)["a"] == {"type": "Relationship", "object": "urn:a:b"}

    def test_a_new_attribute_is_appended(self) -> None:
        after, result = update(entity(), {"a": 1})
        assert stamps(only(after, "a")) == (NOW, NOW)
        assert result.updated == [iri("a")]

    def test_only_the_instance_of_the_same_dataset_is_replaced(self) -> None:
        after, _ = update(entity(a=TWO), {"a": {"value": 9, "datasetId": DATASET}})
        assert [one["value"] for one in shown(after)["a"]] == [1, 9]
        after, _ = update(entity(a=TWO), {"a": 9})
        assert [one["value"] for one in shown(after)["a"]] == [9, 2]

    def test_an_instance_of_a_new_dataset_is_added(self) -> None:
        after, _ = update(entity(a=1), {"a": {"value": 2, "datasetId": DATASET}})
        assert shown(after)["a"] == [
            {"type": "Property", "value": 1},
            {"type": "Property", "value": 2, "datasetId": DATASET},
        ]

    def test_a_null_deletes_the_default_instance_only(self) -> None:
        after, result = update(entity(a=TWO), {"a": NULL})
        assert shown(after)["a"] == {"type": "Property", "value": 2, "datasetId": DATASET}
        assert result.updated == [iri("a")]

    def test_a_null_with_a_dataset_deletes_its_instance_only(self) -> None:
        after, _ = update(entity(a=TWO), {"a": {"type": "Property", "value": NULL, "datasetId": DATASET}})
        assert shown(after)["a"] == {"type": "Property", "value": 1}

    def test_an_attribute_without_instances_is_gone(self) -> None:
        after, _ = update(entity(a=1, b=2), {"a": NULL})
        assert set(after["attributes"]) == {key("b")}

    def test_deleting_what_does_not_exist_is_reported_and_changes_nothing(self) -> None:
        before = entity(b=1)
        after, result = update(before, {"a": NULL})
        assert after is before
        assert result.updated == []
        assert [name for name, _ in result.not_updated] == [iri("a")]

    def test_an_attribute_of_which_only_some_instances_are_written_is_reported_on_both_sides(self) -> None:
        after, result = update(entity(a=1), {"a": {"dataset": {"@none": 2, OTHER_DATASET: NULL}}})
        assert shown(after)["a"]["value"] == 2
        assert result.updated == [iri("a")]
        assert [name for name, _ in result.not_updated] == [iri("a")]

    def test_sub_attributes_that_stay_keep_their_creation_time(self) -> None:
        before = entity(a={"value": 1, "sub": {"value": 2, "deep": 3}, "gone": 4})
        after, _ = update(before, {"a": {"value": 5, "sub": {"value": 6, "deep": 7, "new": 8}}})
        a = only(after, "a")
        sub = a["attributes"][key("sub")][0]
        assert set(a["attributes"]) == {key("sub")}
        assert stamps(sub) == (EARLIER, NOW)
        assert stamps(sub["attributes"][key("deep")][0]) == (EARLIER, NOW)
        assert stamps(sub["attributes"][key("new")][0]) == (NOW, NOW)

    @pytest.mark.parametrize("before", [1, {"value": 1, "sub": 2, "unitCode": "CEL", "valueType": "X"}, None])
    def test_no_null_is_ever_stored(self, before: Any) -> None:
        document = {"value": 5, "sub": NULL, "unitCode": NULL, "observedAt": NULL, "valueType": NULL, "expiresAt": NULL}
        after, _ = update(entity({} if before is None else {"a": before}), {"a": document})
        assert NULL not in repr(after)
        assert shown(after)["a"] == {"type": "Property", "value": 5}

    def test_types_are_added(self) -> None:
        before = entity()
        assert update(before, {"type": ["Museum", "Building"]})[0]["types"] == [iri("Building"), iri("Museum")]
        assert update(before, {"type": "Building"})[0]["types"] is before["types"]

    def test_a_scope_replaces_the_one_there_is_and_is_reported_as_not_updated_otherwise(self) -> None:
        assert update(entity(scope=["/a", "/b"]), {"scope": "/c"})[0]["scopes"] == ["/c"]
        before = entity(a=1)
        after, result = update(before, {"scope": "/c"})
        assert after is before
        assert [name for name, _ in result.not_updated] == ["scope"]
        after, result = update(before, {"scope": "/c", "a": 2})
        assert "scopes" not in after
        assert result.updated == [iri("a")]
        assert [name for name, _ in result.not_updated] == ["scope"]

    def test_a_null_removes_scope_and_expiry(self) -> None:
        before = entity(scope="/a", expiresAt="2027-01-01T00:00:00Z")
        after, _ = update(before, {"scope": NULL, "expiresAt": NULL})
        assert "scopes" not in after
        assert "expiresAt" not in after

    def test_the_expiry_is_set(self) -> None:
        after, _ = update(entity(), {"expiresAt": "2027-01-01T00:00:00Z"})
        assert after["expiresAt"] == "2027-01-01T00:00:00Z"


class TestAppendAttributes:
    def test_by_default_existing_attributes_are_overwritten(self) -> None:
        after, result = append(entity(a=1), {"a": 2, "b": 3})
        assert {name: one["value"] for name, one in shown(after).items()} == {"a": 2, "b": 3}
        assert stamps(only(after, "a")) == (EARLIER, NOW)
        assert result == UpdateResult([iri("a"), iri("b")], [])

    def test_without_overwriting_existing_attributes_are_left_untouched_and_reported(self) -> None:
        before = entity(a=1)
        after, result = append(before, {"a": 2, "b": 3}, overwrite=False)
        assert after["attributes"][key("a")] is before["attributes"][key("a")]
        assert result.updated == [iri("b")]
        assert [name for name, _ in result.not_updated] == [iri("a")]

    def test_without_overwriting_only_new_instances_are_added(self) -> None:
        new = [{"value": 8}, {"value": 9, "datasetId": OTHER_DATASET}]
        after, result = append(entity(a=TWO), {"a": new}, overwrite=False)
        assert [one["value"] for one in shown(after)["a"]] == [1, 2, 9]
        assert result.updated == [iri("a")]
        assert [name for name, _ in result.not_updated] == [iri("a")]

    def test_an_append_of_which_nothing_can_be_written_changes_nothing(self) -> None:
        before = entity(a=1, scope="/a")
        after, result = append(before, {"type": "Building", "a": 2, "scope": "/a"}, overwrite=False)
        assert after is before
        assert result.updated == []

    def test_an_expiry_is_set_even_if_no_attribute_is(self) -> None:
        after, _ = append(entity(a=1), {"a": 2, "expiresAt": "2027-01-01T00:00:00Z"}, overwrite=False)
        assert after["expiresAt"] == "2027-01-01T00:00:00Z"

    def test_without_overwriting_an_expiry_stays_and_that_is_reported(self) -> None:
        before = entity(expiresAt="2027-01-01T00:00:00Z")
        after, result = append(before, {"expiresAt": "2028-01-01T00:00:00Z"}, overwrite=False)
        assert after is before
        assert [name for name, _ in result.not_updated] == ["expiresAt"]

    @pytest.mark.parametrize(("overwrite", "scopes"), [(True, ["/c", "/a"]), (False, ["/a", "/b", "/c"])])
    def test_a_scope_replaces_or_is_added(self, overwrite: bool, scopes: list[str]) -> None:
        after, _ = append(entity(scope=["/a", "/b"]), {"scope": ["/c", "/a"]}, overwrite=overwrite)
        assert after["scopes"] == scopes

    def test_the_first_scope_is_set_with_and_without_overwriting(self) -> None:
        for overwrite in (True, False):
            assert append(entity(), {"scope": "/c"}, overwrite=overwrite)[0]["scopes"] == ["/c"]

    def test_types_are_added(self) -> None:
        after, _ = append(entity(a=1), {"type": "Museum", "a": 2}, overwrite=False)
        assert after["types"] == [iri("Building"), iri("Museum")]


class TestPartialUpdate:
    def test_members_that_are_not_mentioned_stay(self) -> None:
        before = entity(a={"value": 25, "unitCode": "CEL", "observedAt": "2022-03-14T01:59:26.535Z", "sub": 1})
        after = partial(before, "a", {"type": "Property", "value": 100, "observedAt": "2022-03-14T13:00:00.000Z"})
        assert shown(after)["a"] == {
            "type": "Property",
            "value": 100,
            "unitCode": "CEL",
            "observedAt": "2022-03-14T13:00:00.000Z",
            "sub": {"type": "Property", "value": 1},
        }
        assert stamps(only(after, "a")) == (EARLIER, NOW)
        assert stamps(after) == (EARLIER, NOW)

    def test_nulls_remove_members_and_sub_attributes(self) -> None:
        before = entity(a={"value": 1, "unitCode": "CEL", "valueType": "X", "sub": 1})
        after = partial(
            before, "a", {"unitCode": NULL, "valueType": NULL, "sub": NULL, "observedAt": NULL, "none": NULL}
        )
        assert shown(after)["a"] == {"type": "Property", "value": 1}
        assert "attributes" not in only(after, "a")

    def test_sub_attributes_are_replaced_one_by_one(self) -> None:
        before = entity(a={"value": 1, "one": {"value": 1, "deep": 5}, "two": 2})
        after = partial(before, "a", {"one": 9, "three": 3})
        old, new = only(before, "a")["attributes"], only(after, "a")["attributes"]
        assert shown(after)["a"]["one"] == {"type": "Property", "value": 9}
        assert stamps(new[key("one")][0]) == (EARLIER, NOW)
        assert stamps(new[key("three")][0]) == (NOW, NOW)
        assert new[key("two")] is old[key("two")]

    def test_the_instance_is_chosen_by_its_dataset(self) -> None:
        before = entity(a=TWO)
        after = partial(before, "a", {"value": 9, "datasetId": DATASET})
        assert [one["value"] for one in shown(after)["a"]] == [1, 9]
        assert after["attributes"][key("a")][0] is before["attributes"][key("a")][0]
        assert [one["value"] for one in shown(partial(before, "a", {"value": 9}))["a"]] == [9, 2]

    @pytest.mark.parametrize(
        ("raw", "document"),
        [
            (1, {"type": "Property", "value": NULL}),
            (POINT, {"type": "GeoProperty", "value": NULL}),
            ({"object": "urn:a:b"}, {"object": NULL}),
            ({"languageMap": {"en": "x"}}, {"languageMap": {"@none": NULL}}),
        ],
    )
    def test_a_null_for_the_value_deletes_the_instance(self, raw: Any, document: dict[str, Any]) -> None:
        assert shown(partial(entity(a=raw, b=1), "a", document)) == {"b": {"type": "Property", "value": 1}}
        assert shown(partial(entity(a=TWO), "a", {"value": NULL, "datasetId": DATASET})) == {
            "a": {"type": "Property", "value": 1}
        }

    @pytest.mark.parametrize(
        ("raw", "document", "pointer"),
        [
            (1, {"type": "Relationship", "object": "urn:a:b"}, "/type"),
            (1, {"type": "GeoProperty", "value": POINT}, "/type"),
            ({"json": {}}, {"type": "Property"}, "/type"),
            (1, {"type": "Relationship", "object": NULL}, "/type"),
            (1, {"object": "urn:a:b"}, "/object"),
            ({"object": "urn:a:b"}, {"value": 5}, "/value"),
            (POINT, {"value": 5}, "/value"),
            ({"object": "urn:a:b"}, {"unitCode": "CEL"}, "/unitCode"),
            ({"languageMap": {"en": "x"}}, {"unitCode": "CEL"}, "/unitCode"),
            ({"object": "urn:a:b"}, {"valueType": "X"}, "/valueType"),
            (1, {"objectType": "X"}, "/objectType"),
            ({"languageMap": {"en": "x"}}, {"valueType": "X"}, "/valueType"),
        ],
    )
    def test_the_type_cannot_change(self, raw: Any, document: dict[str, Any], pointer: str) -> None:
        with pytest.raises(BadRequestData) as caught:
            partial(entity(a=raw), "a", document)
        assert caught.value.pointer == pointer, caught.value.detail

    @pytest.mark.parametrize(
        ("raw", "document", "value"),
        [
            ({"type": "Property", "value": 1}, {"value": POINT}, POINT),
            (POINT, {"value": OTHER_POINT}, OTHER_POINT),
            (POINT, {"type": "GeoProperty", "value": orjson.dumps(OTHER_POINT).decode()}, OTHER_POINT),
            (1, {"observedAt": "2026-01-31T12:00:00Z"}, 1),
        ],
    )  # fmt: skip
    def test_the_type_stays_whatever_the_value_looks_like(self, raw: Any, document: dict[str, Any], value: Any) -> None:
        before = entity(a=raw)
        after = partial(before, "a", document)
        assert only(after, "a")["type"] == only(before, "a")["type"]
        assert only(after, "a")["value"] == value

    def test_an_instance_that_does_not_exist_cannot_be_updated(self) -> None:
        for document in ({"value": 1, "datasetId": OTHER_DATASET}, {"value": NULL, "datasetId": OTHER_DATASET}):
            with pytest.raises(ResourceNotFound, match="has no attribute"):
                partial(entity(a=TWO), "a", document)
        with pytest.raises(ResourceNotFound):
            partial(entity(b=1), "a", {"value": 1})


class TestReplaceAttribute:
    def replace(self, before: Entity, document: Any) -> Entity:
        after, _ = ReplaceAttribute(ID, key("a"), read_instance(document, core()))(before, NOW)
        return after

    def test_an_instance_is_replaced_and_keeps_its_creation_time(self) -> None:
        after = self.replace(entity(a={"value": 1, "unitCode": "CEL", "sub": 2}), {"json": {"b": 5}})
        assert shown(after)["a"] == {"type": "JsonProperty", "json": {"b": 5}}
        assert stamps(only(after, "a")) == (EARLIER, NOW)

    def test_the_instance_is_chosen_by_its_dataset(self) -> None:
        after = self.replace(entity(a=TWO), {"value": 9, "datasetId": DATASET})
        assert [one["value"] for one in shown(after)["a"]] == [1, 9]

    @pytest.mark.parametrize("document", [{"value": 1, "datasetId": OTHER_DATASET}])
    def test_what_does_not_exist_cannot_be_replaced(self, document: dict[str, Any]) -> None:
        for before in (entity(a=TWO), entity(b=1)):
            with pytest.raises(ResourceNotFound):
                self.replace(before, document)


class TestDeleteAttribute:
    def delete(self, before: Entity, **how: Any) -> Entity:
        after, _ = DeleteAttribute(ID, key("a"), **how)(before, NOW)
        return after

    def test_the_default_instance_is_deleted(self) -> None:
        assert shown(self.delete(entity(a=TWO)))["a"] == {"type": "Property", "value": 2, "datasetId": DATASET}
        assert self.delete(entity(a=1))["attributes"] == {}

    def test_the_instance_of_a_dataset_is_deleted(self) -> None:
        assert shown(self.delete(entity(a=TWO), dataset_id=DATASET))["a"] == {"type": "Property", "value": 1}

    def test_all_instances_are_deleted(self) -> None:
        after = self.delete(entity(a=TWO, b=1), delete_all=True)
        assert set(after["attributes"]) == {key("b")}
        assert stamps(after) == (EARLIER, NOW)

    @pytest.mark.parametrize("how", [{}, {"dataset_id": OTHER_DATASET}, {"delete_all": True}])
    def test_what_does_not_exist_cannot_be_deleted(self, how: dict[str, Any]) -> None:
        with pytest.raises(ResourceNotFound, match="has no attribute"):
            self.delete(entity(b=1), **how)
        with pytest.raises(ResourceNotFound):
            self.delete(entity(a={"value": 1, "datasetId": DATASET}))

    def test_the_scope_is_deleted(self) -> None:
        after, _ = DeleteAttribute(ID, None)(entity(scope="/a", a=1), NOW)
        assert "scopes" not in after
        assert stamps(after) == (EARLIER, NOW)
        with pytest.raises(ResourceNotFound, match="no scope"):
            DeleteAttribute(ID, None)(entity(), NOW)


class TestUpsertEntity:
    @pytest.mark.parametrize("mode", ["replace", "update"])
    def test_an_entity_that_does_not_exist_is_created(self, mode: str) -> None:
        after, created = upsert(None, {"a": 1}, mode=mode)
        assert created
        assert stamps(after) == (NOW, NOW)

    def test_an_entity_is_replaced(self) -> None:
        after, created = upsert(
            entity(a=1, b=2, scope="/a", expiresAt="2027-01-01T00:00:00Z"), {"a": 5}, mode="replace"
        )
        assert not created
        assert shown(after) == {"a": {"type": "Property", "value": 5}}
        assert "scopes" not in after
        assert "expiresAt" not in after
        assert stamps(after) == (EARLIER, NOW)

    def test_an_entity_is_updated(self) -> None:
        before = entity(a=1, b=2)
        after, outcome = upsert(before, {"a": 5, "type": "Museum"}, mode="update")
        assert outcome == UpdateResult(updated=[iri("a")])
        assert shown(after)["a"]["value"] == 5
        assert after["attributes"][key("b")] is before["attributes"][key("b")]
        assert after["types"] == [iri("Building"), iri("Museum")]

    @pytest.mark.parametrize(
        "document",
        [
            {"a": NULL},
            {"a": {"value": NULL}},
            {"a": [{"value": 1}, {"value": NULL, "datasetId": DATASET}]},
            {"scope": NULL},
            {"expiresAt": NULL},
        ],
    )
    def test_nothing_can_be_deleted_from_an_entity_that_does_not_exist(self, document: dict[str, Any]) -> None:
        with pytest.raises(BadRequestData):
            upsert(None, document, mode="update")

    def test_a_new_entity_leaves_out_members_that_would_be_removed(self) -> None:
        after, _ = upsert(None, {"a": {"value": 1, "unitCode": NULL, "sub": NULL}}, mode="update")
        assert shown(after) == {"a": {"type": "Property", "value": 1}}


class TestReplaceEntity:
    def test_an_entity_is_replaced_and_keeps_its_creation_time(self) -> None:
        before = entity(a=1, b=2, scope="/a")
        after, _ = ReplaceEntity(ID, fragment({"id": ID, "type": "Museum", "a": 5}))(before, NOW)
        assert after["types"] == [iri("Museum")]
        assert shown(after) == {"a": {"type": "Property", "value": 5}}
        assert "scopes" not in after
        assert stamps(after) == (EARLIER, NOW)

    def test_id_and_type_may_be_left_out(self) -> None:
        after, _ = ReplaceEntity(ID, fragment({"a": 5}))(entity(), NOW)
        assert (after["_id"], after["types"]) == (ID, [iri("Building")])


def test_an_entity_is_deleted() -> None:
    assert DeleteEntity(ID)(entity(), NOW) == (None, None)


NEW = {"a": {"value": 5, "datasetId": OTHER_DATASET}, "scope": "/c", "type": "Museum"}
TARGETED: dict[str, Callable[..., Mutation]] = {
    "update": lambda **how: UpdateAttributes(ID, fragment({"a": 5}), **how),
    "append": lambda **how: AppendAttributes(ID, fragment({"a": 5, "scope": "/c", "type": "Museum"}), **how),
    "append only": lambda **how: AppendAttributes(ID, fragment(NEW), overwrite=False, **how),
    "partial": lambda **how: PartialUpdate(ID, key("a"), read_attribute_fragment({"value": 5}, core()), **how),
    "replace attribute": lambda **how: ReplaceAttribute(ID, key("a"), read_instance({"value": 5}, core()), **how),
    "delete attribute": lambda **how: DeleteAttribute(ID, key("a"), **how),
    "replace entity": lambda **how: ReplaceEntity(ID, fragment({"a": 5}), **how),
    "delete entity": lambda **how: DeleteEntity(ID, **how),
}


@pytest.mark.parametrize("operation", TARGETED)
def test_the_entity_that_a_mutation_is_given_stays_as_it_was(operation: str) -> None:
    before = entity(a=[{"value": 1, "sub": 1}, {"value": 2, "datasetId": DATASET}], b=3, scope=["/a", "/b"])
    kept = copy.deepcopy(before)
    TARGETED[operation]()(before, NOW)
    assert before == kept


@pytest.mark.parametrize("operation", TARGETED)
def test_an_entity_that_does_not_exist_is_no_target(operation: str) -> None:
    with pytest.raises(ResourceNotFound, match=f"{ID} does not exist"):
        TARGETED[operation]()(None, NOW)


@pytest.mark.parametrize("operation", TARGETED)
def test_an_entity_of_another_type_is_no_target(operation: str) -> None:
    seen: list[list[str]] = []

    def select(types: list[str]) -> bool:
        seen.append(types)
        return len(seen) > 1

    mutation = TARGETED[operation](selector=select)
    with pytest.raises(ResourceNotFound, match="not with the type"):
        mutation(entity(a=1), NOW)
    mutation(entity(a=1), LATER)
    assert seen == [[iri("Building")]] * 2
