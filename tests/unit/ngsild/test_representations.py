"""Rendering entities: normalised, concise, simplified; system attributes, projection, datasets, languages."""

from typing import Any

import pytest

from broker.ngsild.model import encode_key
from broker.ngsild.representations import Format, render_entity
from tests.unit.ngsild.samples import DATASET, EARLIER, ID, POINT, core, entity, key

HEAD = {"id": ID, "type": "Building"}


def rendered(form: Format, raw: Any, **options: Any) -> Any:
    """How the attribute "a" comes back that was created as `raw`."""
    return render_entity(entity(a=raw), core(), form, **options)["a"]


NORMALIZED: list[dict[str, Any]] = [
    {"type": "Property", "value": {"a.b": [1, 1.0, None]}, "unitCode": "CEL", "observedAt": "2026-01-31T12:00:00Z"},
    {"type": "GeoProperty", "value": POINT},
    {"type": "LanguageProperty", "languageMap": {"en": "x", "@none": ["y"]}},
    {"type": "VocabProperty", "vocab": ["Male", "http://example.org/x"]},
    {"type": "JsonProperty", "json": {"$id": "$", "value": {"type": "Property"}}},
    {"type": "ListProperty", "valueList": [1, {"": "x"}], "valueType": "Length"},
    {"type": "Relationship", "object": ["urn:a:b", "urn:a:c"], "objectType": ["Person", "Dog"]},
    {"type": "ListRelationship", "objectList": [{"object": "urn:a:b"}]},
]
CONCISE: list[Any] = [
    {"value": {"a.b": [1, 1.0, None]}, "unitCode": "CEL", "observedAt": "2026-01-31T12:00:00Z"},
    POINT,
    {"languageMap": {"en": "x", "@none": ["y"]}},
    {"vocab": ["Male", "http://example.org/x"]},
    {"json": {"$id": "$", "value": {"type": "Property"}}},
    {"valueList": [1, {"": "x"}], "valueType": "Length"},
    {"object": ["urn:a:b", "urn:a:c"], "objectType": ["Person", "Dog"]},
    {"objectList": ["urn:a:b"]},
]
SIMPLIFIED: list[Any] = [
    {"a.b": [1, 1.0, None]},
    POINT,
    {"languageMap": {"en": "x", "@none": ["y"]}},
    {"vocab": ["Male", "http://example.org/x"]},
    {"json": {"$id": "$", "value": {"type": "Property"}}},
    [1, {"": "x"}],
    ["urn:a:b", "urn:a:c"],
    ["urn:a:b"],
]
KINDS = [one["type"] for one in NORMALIZED]


@pytest.mark.parametrize("raw", NORMALIZED, ids=KINDS)
def test_the_normalised_form_is_what_was_sent(raw: dict[str, Any]) -> None:
    assert repr(rendered(Format.NORMALIZED, raw)) == repr(raw)


@pytest.mark.parametrize(("raw", "concise"), list(zip(NORMALIZED, CONCISE, strict=True)), ids=KINDS)
def test_the_concise_form_leaves_out_what_can_be_inferred(raw: dict[str, Any], concise: Any) -> None:
    assert rendered(Format.CONCISE, raw) == concise
    assert rendered(Format.NORMALIZED, concise) == raw


@pytest.mark.parametrize(("raw", "simplified"), list(zip(NORMALIZED, SIMPLIFIED, strict=True)), ids=KINDS)
def test_the_simplified_form_keeps_the_value_only(raw: dict[str, Any], simplified: Any) -> None:
    assert rendered(Format.SIMPLIFIED, raw) == simplified


@pytest.mark.parametrize(
    "value",
    [
        POINT,
        {"type": "Thing"},
        {"@type": "Property", "a": 1},
        {"value": 1},
        {"json": 1, "object": 2},
        {"dataset": {"@none": 1}},
        [{"value": 1}],
        [1, {"type": "Property"}],
        [{"type": "Thing"}],
    ],
)
def test_a_concise_property_is_wrapped_where_its_value_would_be_misread(value: Any) -> None:
    raw = {"type": "Property", "value": value}
    concise = rendered(Format.CONCISE, raw)
    assert concise != value
    assert rendered(Format.NORMALIZED, concise) == raw


@pytest.mark.parametrize("value", [{}, [], "", 0, False, [[{"value": 1}]], {"a": {"type": "x"}}, [1, {"a": 2}, {}]])
def test_a_concise_property_is_its_value_where_that_is_read_as_such(value: Any) -> None:
    raw = {"type": "Property", "value": value}
    assert rendered(Format.CONCISE, raw) == value
    assert rendered(Format.NORMALIZED, value) == raw


def test_several_instances_are_an_array_or_one_object_by_dataset() -> None:
    raw = [{"type": "Property", "value": 1}, {"type": "Relationship", "object": "urn:a:b", "datasetId": DATASET}]
    assert rendered(Format.NORMALIZED, raw) == raw
    assert rendered(Format.CONCISE, raw) == [{"value": 1}, {"object": "urn:a:b", "datasetId": DATASET}]
    assert rendered(Format.SIMPLIFIED, raw) == {"dataset": {"@none": 1, DATASET: "urn:a:b"}}


def test_one_instance_with_a_dataset_keeps_it() -> None:
    raw = {"type": "Property", "value": 1, "datasetId": DATASET}
    assert rendered(Format.NORMALIZED, raw) == raw
    assert rendered(Format.CONCISE, raw) == {"value": 1, "datasetId": DATASET}
    assert rendered(Format.SIMPLIFIED, raw) == {"dataset": {DATASET: 1}}


def test_sub_attributes_are_rendered_in_the_same_form() -> None:
    sub = {"type": "LanguageProperty", "languageMap": {"en": "x"}, "deep": {"type": "Property", "value": [1]}}
    raw = {"type": "Property", "value": 1, "sub": sub}
    assert rendered(Format.NORMALIZED, raw) == raw
    assert rendered(Format.CONCISE, raw) == {"value": 1, "sub": {"languageMap": {"en": "x"}, "deep": [1]}}
    assert rendered(Format.SIMPLIFIED, raw) == 1


@pytest.mark.parametrize("form", Format)
def test_types_and_scopes_are_an_array_only_if_there_are_several(form: Format) -> None:
    assert render_entity(entity(scope=["/a"], type=["Building"]), core(), form) == {**HEAD, "scope": "/a"}
    several = {"id": ID, "type": ["Building", "Museum"], "scope": ["/a", "/b"]}
    assert render_entity(entity(several), core(), form) == several


def test_system_attributes_are_shown_on_request_at_every_level() -> None:
    stored = entity(a={"value": 1, "expiresAt": "2027-01-01T00:00:00Z", "sub": 2}, expiresAt="2028-01-01T00:00:00Z")
    system = {"createdAt": EARLIER, "modifiedAt": EARLIER}
    assert render_entity(stored, core(), sys_attrs=True) == {
        **HEAD,
        **system,
        "expiresAt": "2028-01-01T00:00:00Z",
        "a": {
            "type": "Property",
            "value": 1,
            "sub": {"type": "Property", "value": 2, **system},
            **system,
            "expiresAt": "2027-01-01T00:00:00Z",
        },
    }
    assert render_entity(stored, core(), Format.CONCISE, sys_attrs=True)["a"]["sub"] == {"value": 2, **system}
    plain = render_entity(stored, core())
    assert set(plain) == {"id", "type", "a"}
    assert set(plain["a"]) == {"type", "value", "sub"}


def test_members_are_picked_and_omitted() -> None:
    stored = entity(a=1, b=2, scope="/x")
    assert set(render_entity(stored, core(), pick={"id", key("a")})) == {"id", "a"}
    assert set(render_entity(stored, core(), pick={"scope", "type"})) == {"scope", "type"}
    assert set(render_entity(stored, core(), omit={"id", "type", "scope", key("b")})) == {"a"}
    assert set(render_entity(stored, core(), pick={"id", key("a"), key("b")}, omit={key("a")})) == {"id", "b"}


def test_only_instances_of_the_datasets_asked_for_are_shown() -> None:
    stored = entity(a=[{"value": 1}, {"value": 2, "datasetId": DATASET}], b=3)
    only = render_entity(stored, core(), datasets={DATASET})
    assert only == {**HEAD, "a": {"type": "Property", "value": 2, "datasetId": DATASET}}
    assert set(render_entity(stored, core(), datasets={"@none"})) == {"id", "type", "a", "b"}
    assert set(render_entity(stored, core(), datasets={"urn:x:y"})) == {"id", "type"}


def test_names_are_compacted_with_the_context_and_keys_decoded() -> None:
    name = "https://example.org/a.b$c%2E"
    stored = entity({name: 1})
    assert set(stored["attributes"]) == {encode_key(name)}
    assert name in render_entity(stored, core())


def test_a_language_filter_turns_language_maps_into_texts_at_every_level() -> None:
    texts = {"de": "Turm", "fr": ["tour", "beffroi"], "@none": "tower"}
    seen = "2026-01-31T12:00:00Z"
    raw = {"languageMap": texts, "observedAt": seen, "sub": {"value": 1, "alt": {"languageMap": texts}}}
    french = {"type": "Property", "value": ["tour", "beffroi"], "lang": "fr"}
    sub = {"type": "Property", "value": 1, "alt": french}
    assert rendered(Format.NORMALIZED, raw, lang="fr") == {**french, "observedAt": seen, "sub": sub}
    german = {"value": "Turm", "lang": "de"}
    assert rendered(Format.CONCISE, raw, lang="de") == {
        **german,
        "observedAt": seen,
        "sub": {"value": 1, "alt": german},
    }
    assert rendered(Format.SIMPLIFIED, raw, lang="it") == "tower"
    assert rendered(Format.NORMALIZED, {"value": 1}, lang="de") == {"type": "Property", "value": 1}
