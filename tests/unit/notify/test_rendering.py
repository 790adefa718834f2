from typing import Any

import orjson
import pytest

from broker.ngsild.changes import Change
from broker.ngsild.model import NGSI_LD_NULL
from broker.ngsild.representations import Format
from broker.notify.rendering import (
    GEO_JSON,
    JSON,
    LD_JSON,
    NO_ATTRIBUTES,
    Projection,
    notification_body,
    notification_head,
    notification_headers,
    notification_tail,
    prefers_plain_body,
)
from tests.unit.notify.samples import EARLIER, NOW, PlainContext, changed, entity, prop, updated

BEFORE = entity(a=1, b=2)
DATASET = "urn:d:1"
STAMPS = {"createdAt": EARLIER, "modifiedAt": EARLIER}


def render(change: Change, *, gone: frozenset[str] | None = NO_ATTRIBUTES, **projection: Any) -> Any:
    """What is shown of a change; of a deleted entity its attributes as far as `gone` has them."""
    context = projection.pop("context", PlainContext())
    shown = Projection(context, **projection)
    return orjson.loads(shown.render(change, None if change.after is not None else gone))


def test_the_changed_entity_is_shown_as_it_is_after_the_change() -> None:
    assert render(updated(BEFORE, a=3)) == {
        "id": "urn:e:1",
        "type": "T",
        "a": {"type": "Property", "value": 3},
        "b": {"type": "Property", "value": 2},
    }


def test_a_projection_picks_and_omits_members() -> None:
    change = updated(BEFORE, a=3)
    assert render(change, format=Format.SIMPLIFIED, pick=frozenset({"id", "urn:a"})) == {"id": "urn:e:1", "a": 3}
    assert render(change, format=Format.SIMPLIFIED, omit=frozenset({"type", "urn:a"})) == {"id": "urn:e:1", "b": 2}


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (Format.NORMALIZED, {"type": "Property", "value": NGSI_LD_NULL}),
        (Format.CONCISE, NGSI_LD_NULL),
        (Format.SIMPLIFIED, NGSI_LD_NULL),
    ],
)
def test_a_deleted_attribute_is_shown_as_ngsi_ld_null(form: Format, expected: Any) -> None:
    assert render(updated(BEFORE, a=None), format=form)["a"] == expected


@pytest.mark.parametrize(
    ("instance", "expected"),
    [
        ({"type": "Relationship", "object": "urn:x:1"}, {"type": "Relationship", "object": NGSI_LD_NULL}),
        ({"type": "JsonProperty", "json": {"x": 1}}, {"type": "JsonProperty", "json": NGSI_LD_NULL}),
        (
            {"type": "LanguageProperty", "languageMap": {"de": "Turm"}},
            {"type": "LanguageProperty", "languageMap": {"@none": NGSI_LD_NULL}},
        ),
        ({"type": "ListProperty", "valueList": [1]}, {"type": "ListProperty", "valueList": [NGSI_LD_NULL]}),
        (
            {"type": "ListRelationship", "objectList": ["urn:x:1"]},
            {"type": "ListRelationship", "objectList": [NGSI_LD_NULL]},
        ),
    ],
)
def test_a_deleted_attribute_keeps_its_kind(instance: dict[str, Any], expected: dict[str, Any]) -> None:
    assert render(updated(entity(a=[instance]), a=None))["a"] == expected


def test_a_deleted_instance_stands_beside_those_that_remain() -> None:
    before = entity(a=[prop(1), prop(2, datasetId=DATASET), prop(3, datasetId="urn:d:2")])
    change = updated(before, a=[one for one in before["attributes"]["urn:a"] if one.get("datasetId") != DATASET])
    assert render(change)["a"] == [
        {"type": "Property", "value": 1},
        {"type": "Property", "value": 3, "datasetId": "urn:d:2"},
        {"type": "Property", "value": NGSI_LD_NULL, "datasetId": DATASET},
    ]
    assert render(change, format=Format.SIMPLIFIED)["a"] == {
        "dataset": {"@none": 1, "urn:d:2": 3, DATASET: NGSI_LD_NULL}
    }


def test_a_deleted_instance_beside_a_single_default_one_is_simplified_into_a_dataset() -> None:
    before = entity(a=[prop(1), prop(2, datasetId=DATASET)])
    change = updated(before, a=before["attributes"]["urn:a"][:1])
    assert render(change, format=Format.SIMPLIFIED)["a"] == {"dataset": {"@none": 1, DATASET: NGSI_LD_NULL}}


@pytest.mark.parametrize("value", [1, [1, 2], [{"x": 1}], {"x": 1}])
def test_a_deleted_instance_stands_beside_a_concise_one_in_an_array(value: Any) -> None:
    before = entity(a=[prop(value), prop(2, datasetId=DATASET)])
    change = updated(before, a=before["attributes"]["urn:a"][:1])
    deleted = {"value": NGSI_LD_NULL, "datasetId": DATASET}
    assert render(change, format=Format.CONCISE)["a"] == [{"value": value}, deleted]
    change = updated(before, a=before["attributes"]["urn:a"][1:])
    remaining = {"value": 2, "datasetId": DATASET}
    assert render(change, format=Format.CONCISE)["a"] == [remaining, {"value": NGSI_LD_NULL}]


def test_a_deleted_default_instance_is_simplified_into_the_dataset_of_the_others() -> None:
    before = entity(a=[prop(1), prop(2, datasetId=DATASET)])
    change = updated(before, a=before["attributes"]["urn:a"][1:])
    assert render(change, format=Format.SIMPLIFIED)["a"] == {"dataset": {DATASET: 2, "@none": NGSI_LD_NULL}}


def test_system_attributes_of_a_deletion_tell_when_it_happened() -> None:
    assert render(updated(BEFORE, a=None), sys_attrs=True)["a"] == {
        "type": "Property",
        "value": NGSI_LD_NULL,
        "createdAt": EARLIER,
        "modifiedAt": EARLIER,
        "deletedAt": NOW,
    }


def test_projection_and_datasets_hold_for_deleted_attributes_too() -> None:
    change = updated(entity(a=[prop(1, datasetId=DATASET)], b=2), a=None, b=None)
    assert render(change, format=Format.SIMPLIFIED, pick=frozenset({"urn:b"})) == {"b": NGSI_LD_NULL}
    assert "b" not in render(change, omit=frozenset({"urn:b"}))
    assert set(render(change, datasets=frozenset({DATASET}))) == {"id", "type", "a"}


def test_of_a_deleted_entity_only_the_time_of_its_deletion_is_told() -> None:
    before = {**BEFORE, "scopes": ["/Madrid"]}
    assert render(changed(before, None)) == {"id": "urn:e:1", "type": "T", "deletedAt": NOW}
    assert render(changed(before, None), sys_attrs=True) == {
        "id": "urn:e:1",
        "type": "T",
        "createdAt": EARLIER,
        "modifiedAt": EARLIER,
        "deletedAt": NOW,
    }


def test_an_attribute_that_is_gone_with_all_its_instances_is_told_by_its_name_alone() -> None:
    change = updated(entity(a=[prop(1), prop(2, datasetId=DATASET)]), a=None)
    assert render(change)["a"] == {"type": "Property", "value": NGSI_LD_NULL}
    assert render(change, format=Format.SIMPLIFIED)["a"] == NGSI_LD_NULL
    shown = render(change, show_changes=True)["a"]
    assert [(one.get("datasetId"), one["previousValue"]) for one in shown] == [(None, 1), (DATASET, 2)]
    only = updated(entity(a=[prop(2, datasetId=DATASET)]), a=None)
    assert render(only)["a"] == {"type": "Property", "value": NGSI_LD_NULL, "datasetId": DATASET}


def test_of_a_deleted_entity_the_attributes_asked_for_are_shown() -> None:
    assert set(render(changed(BEFORE, None), gone=frozenset({"urn:b"}))) == {"id", "type", "deletedAt", "b"}


def test_a_deleted_entity_can_be_shown_with_its_deleted_attributes() -> None:
    shown = render(changed(BEFORE, None), gone=None, pick=frozenset({"id", "urn:a"}))
    assert shown == {"id": "urn:e:1", "deletedAt": NOW, "a": {"type": "Property", "value": NGSI_LD_NULL}}


PREVIOUS: list[tuple[dict[str, Any], dict[str, Any], str, Any]] = [
    ({"type": "Property", "value": 1}, {"type": "Property", "value": 2}, "previousValue", 1),
    (
        {"type": "Relationship", "object": ["urn:x:1", "urn:x:2"]},
        {"type": "Relationship", "object": "urn:x:3"},
        "previousObject",
        ["urn:x:1", "urn:x:2"],
    ),
    (
        {"type": "LanguageProperty", "languageMap": {"de": "Turm"}},
        {"type": "LanguageProperty", "languageMap": {"en": "tower"}},
        "previousLanguageMap",
        {"de": "Turm"},
    ),
    ({"type": "VocabProperty", "vocab": "urn:v"}, {"type": "VocabProperty", "vocab": ["urn:w"]}, "previousVocab", "v"),
    (
        {"type": "JsonProperty", "json": {"a%2Eb": None}},
        {"type": "JsonProperty", "json": {}},
        "previousJson",
        {"a.b": None},
    ),
    ({"type": "ListProperty", "valueList": [1]}, {"type": "ListProperty", "valueList": []}, "previousValueList", [1]),
    (
        {"type": "ListRelationship", "objectList": ["urn:x:1"]},
        {"type": "ListRelationship", "objectList": ["urn:x:2"]},
        "previousObjectList",
        [{"object": "urn:x:1"}],
    ),
]


@pytest.mark.parametrize(("before", "after", "member", "expected"), PREVIOUS)
def test_show_changes_tells_the_earlier_value_of_each_type(
    before: dict[str, Any], after: dict[str, Any], member: str, expected: Any
) -> None:
    old = entity(a=[{**before, **STAMPS}], b=2)
    change = updated(old, a=[{**after, **STAMPS}])
    shown = render(change, show_changes=True)
    assert shown["a"][member] == expected
    assert shown["b"] == {"type": "Property", "value": 2}
    assert {name: value for name, value in shown["a"].items() if name != member} == render(change)["a"]
    assert render(updated(old, a=None), show_changes=True)["a"][member] == expected
    assert render(changed(old, None), gone=None, show_changes=True)["a"][member] == expected


def test_show_changes_tells_nothing_of_what_is_new_equal_or_of_another_type() -> None:
    assert "previousValue" not in str(render(changed(None, BEFORE), show_changes=True))
    change = updated(BEFORE, a=[prop(1)], b=[{"type": "Relationship", "object": "urn:x:1"}], c=3)
    assert "previous" not in str(render(change, show_changes=True))


def test_show_changes_goes_by_instance_and_into_sub_attributes() -> None:
    before = entity(a=[prop(1), prop(2, datasetId=DATASET, attributes={"urn:s": [prop("x")]})])
    change = updated(before, a=[prop(1), prop(2, datasetId=DATASET, attributes={"urn:s": [prop("y")]})])
    default, other = render(change, show_changes=True)["a"]
    assert default == {"type": "Property", "value": 1}
    assert other["previousValue"] == 2
    assert other["s"] == {"type": "Property", "value": "y", "previousValue": "x"}


def test_show_changes_makes_a_concise_value_an_object() -> None:
    shown = render(updated(BEFORE, a=3), format=Format.CONCISE, show_changes=True)
    assert (shown["a"], shown["b"]) == ({"value": 3, "previousValue": 1}, 2)


def test_show_changes_and_a_language_filter_tell_both_texts_in_that_language() -> None:
    texts = [
        {"type": "LanguageProperty", "languageMap": {"de": one, "en": one.upper()}, **STAMPS} for one in ("alt", "neu")
    ]
    shown = render(updated(entity(a=texts[:1]), a=texts[1:]), show_changes=True, lang="en")["a"]
    assert shown == {"type": "Property", "value": "NEU", "previousValue": "ALT", "lang": "en"}


def test_an_earlier_version_of_the_specification_is_conformed_to() -> None:
    before = entity(a=[{"type": "VocabProperty", "vocab": "urn:v", **STAMPS}], b=[prop(2, unitCode="CEL")])
    change = updated(before, a=[{"type": "VocabProperty", "vocab": "urn:w", **STAMPS}])
    shown = render(change, show_changes=True, version=(1, 2))
    assert shown["a"] == {"type": "Property", "value": "w", "previousValue": "v"}
    assert shown["b"] == {"type": "Property", "value": 2}
    assert render(updated(before, a=None), version=(1, 2))["a"] == {"type": "Property", "value": NGSI_LD_NULL}


def body(projection: Projection) -> Any:
    entities = projection.render(updated(BEFORE, a=3))
    head, tail = notification_head('urn:s:"1"'), notification_tail(projection)
    finished = notification_body("urn:ngsi-ld:Notification:1", head, NOW, entities, tail, geojson=projection.geojson)
    return orjson.loads(finished)


def test_geojson_is_a_collection_of_features_with_its_context_inside() -> None:
    notification = body(Projection(PlainContext(), geojson=True, context_in_body=True, format=Format.SIMPLIFIED))
    assert notification["data"] == {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "id": "urn:e:1", "geometry": None, "properties": {"type": "T", "a": 3, "b": 2}}
        ],
        "@context": PlainContext.source,
    }
    assert "@context" not in notification
    assert "@context" not in body(Projection(PlainContext(), geojson=True))["data"]


@pytest.mark.parametrize(("prefer", "linked"), [("body=json", True), ("body=ld+json", False), (None, False)])
def test_geojson_has_a_link_header_where_the_body_has_no_context(prefer: str | None, linked: bool) -> None:
    info = {} if prefer is None else {"prefer": prefer}
    headers = notification_headers("", GEO_JSON, PlainContext.link, info)
    assert headers["Content-Type"] == "application/geo+json"
    assert ("Link" in headers) == linked == prefers_plain_body(info)


def test_several_entities_are_shown_as_they_are() -> None:
    shown = Projection(PlainContext(), Format.SIMPLIFIED).render_all([BEFORE, entity("urn:e:2")])
    assert orjson.loads(b"[" + shown + b"]") == [
        {"id": "urn:e:1", "type": "T", "a": 1, "b": 2},
        {"id": "urn:e:2", "type": "T"},
    ]


def test_a_notification_has_the_members_of_the_specification() -> None:
    notification = body(Projection(PlainContext()))
    assert {name: notification[name] for name in ("id", "type", "subscriptionId", "notifiedAt")} == {
        "id": "urn:ngsi-ld:Notification:1",
        "type": "Notification",
        "subscriptionId": 'urn:s:"1"',
        "notifiedAt": NOW,
    }
    assert [one["id"] for one in notification["data"]] == ["urn:e:1"]
    assert "@context" not in notification


def test_json_ld_carries_its_context_in_the_body_and_in_each_entity() -> None:
    notification = body(Projection(PlainContext(), context_in_body=True))
    assert notification["@context"] == PlainContext.source
    assert notification["data"][0]["@context"] == PlainContext.source


def test_json_names_its_context_in_a_link_header() -> None:
    assert notification_headers("", JSON, PlainContext.link, {}) == {
        "Content-Type": "application/json",
        "Link": f'<{PlainContext.source}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"',
    }


def test_json_ld_has_no_link_header_and_the_tenant_is_named() -> None:
    assert notification_headers("city", LD_JSON, PlainContext.link, {}) == {
        "Content-Type": "application/ld+json",
        "NGSILD-Tenant": "city",
    }


def test_receiver_info_adds_and_replaces_headers() -> None:
    info = {"Authorization": "Bearer x", "content-type": "text/json"}
    headers = notification_headers("", JSON, PlainContext.link, info)
    assert headers["Authorization"] == "Bearer x"
    assert headers["Content-Type"] == "text/json"
    assert "content-type" not in headers
