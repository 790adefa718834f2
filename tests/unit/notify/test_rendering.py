from typing import Any

import orjson
import pytest

from broker.ngsild.changes import Change
from broker.ngsild.model import NGSI_LD_NULL
from broker.ngsild.representations import Format
from broker.notify.rendering import (
    JSON,
    LD_JSON,
    Projection,
    notification_body,
    notification_head,
    notification_headers,
    notification_tail,
)
from tests.unit.notify.samples import EARLIER, NOW, PlainContext, changed, entity, prop, updated

BEFORE = entity(a=1, b=2)
DATASET = "urn:d:1"


class NamelessContext(PlainContext):
    source = ("http://example.org/a.jsonld", "http://example.org/b.jsonld")  # type: ignore[assignment]
    link = None


def render(change: Change, *, deleted_attributes: bool = False, **projection: Any) -> Any:
    context = projection.pop("context", PlainContext())
    return orjson.loads(Projection(context, **projection).render(change, deleted_attributes=deleted_attributes))


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


def test_a_deleted_entity_can_be_shown_with_its_deleted_attributes() -> None:
    shown = render(changed(BEFORE, None), deleted_attributes=True, pick=frozenset({"id", "urn:a"}))
    assert shown == {"id": "urn:e:1", "deletedAt": NOW, "a": {"type": "Property", "value": NGSI_LD_NULL}}


def body(projection: Projection) -> Any:
    entity_part = projection.render(updated(BEFORE, a=3), deleted_attributes=False)
    head, tail = notification_head('urn:s:"1"'), notification_tail(projection)
    return orjson.loads(notification_body("urn:ngsi-ld:Notification:1", head, NOW, entity_part, tail))


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
    assert notification_headers("", JSON, PlainContext(), {}) == {
        "Content-Type": "application/json",
        "Link": f'<{PlainContext.source}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"',
    }


def test_json_ld_has_no_link_header_and_the_tenant_is_named() -> None:
    assert notification_headers("city", LD_JSON, PlainContext(), {}) == {
        "Content-Type": "application/ld+json",
        "NGSILD-Tenant": "city",
    }


def test_a_context_without_a_url_of_its_own_is_not_linked_to() -> None:
    assert "Link" not in notification_headers("", JSON, NamelessContext(), {})


def test_receiver_info_adds_and_replaces_headers() -> None:
    headers = notification_headers("", JSON, PlainContext(), {"Authorization": "Bearer x", "content-type": "text/json"})
    assert headers["Authorization"] == "Bearer x"
    assert headers["Content-Type"] == "text/json"
    assert "content-type" not in headers
