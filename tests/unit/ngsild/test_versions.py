"""Entities in terms of earlier versions of the specification (clause 4.3.6.8)."""

from typing import Any

import pytest

from broker.ngsild.model import Entity
from broker.ngsild.versions import conform

ADDED = {
    "datasetId": ("urn:d:1", (1, 3)),
    "observedAt": ("2026-01-31T12:00:00Z", (1, 3)),
    "unitCode": ("CEL", (1, 3)),
    "objectType": ("http://x/T", (1, 8)),
    "valueType": ("http://x/V", (1, 9)),
    "expiresAt": ("2030-01-31T12:00:00Z", (1, 9)),
}


class Compactor:
    def compact_vocab(self, iri: str) -> str:
        return iri.removeprefix("http://x/")


def entity(*instances: dict[str, Any], **members: Any) -> Entity:
    return {"_id": "urn:a:1", "types": ["T", "U"], "attributes": {"a": list(instances)}, **members}


def conformed(found: Entity, version: tuple[int, int], **options: bool) -> Entity:
    return conform(found, version, Compactor(), **options)


def test_the_current_version_is_the_entity_itself() -> None:
    found = entity({"type": "VocabProperty", "vocab": "http://x/v"})
    assert conformed(found, (1, 9)) is found


@pytest.mark.parametrize(
    ("instance", "since", "before"),
    [
        ({"type": "LanguageProperty", "languageMap": {"de": "x"}}, (1, 4), {"type": "Property", "value": {"de": "x"}}),
        ({"type": "VocabProperty", "vocab": "http://x/v"}, (1, 8), {"type": "Property", "value": "v"}),
        ({"type": "VocabProperty", "vocab": ["http://x/v", "y"]}, (1, 8), {"type": "Property", "value": ["v", "y"]}),
        ({"type": "JsonProperty", "json": {"b": 1}}, (1, 8), {"type": "Property", "value": {"b": 1}}),
        ({"type": "ListProperty", "valueList": [1, 2]}, (1, 8), {"type": "Property", "value": [1, 2]}),
        ({"type": "ListRelationship", "objectList": ["urn:b"]}, (1, 8), {"type": "Relationship", "object": ["urn:b"]}),
    ],
)
def test_an_attribute_type_of_a_later_version_becomes_a_plain_one(
    instance: dict[str, Any], since: tuple[int, int], before: dict[str, Any]
) -> None:
    sub = {"type": "Property", "value": 1, "attributes": {"s": [instance]}}
    major, minor = since
    for version, expected in ((since, instance), ((major, minor - 1), before)):
        attributes = conformed(entity(instance, sub), version)["attributes"]["a"]
        assert attributes[0] == expected
        if version >= (1, 3):
            assert attributes[1]["attributes"]["s"] == [expected]


@pytest.mark.parametrize("name", ADDED)
def test_a_member_of_a_later_version_is_left_out(name: str) -> None:
    value, (major, minor) = ADDED[name]
    found = entity({"type": "Property", "value": 1, name: value})
    assert conformed(found, (major, minor))["attributes"]["a"][0].get(name) == value
    assert name not in conformed(found, (major, minor - 1))["attributes"]["a"][0]


def test_scopes_and_expiry_of_the_entity_came_later() -> None:
    found = entity(scopes=["/a"], expiresAt="2030-01-31T12:00:00Z")
    assert conformed(found, (1, 8)) == entity(scopes=["/a"])
    assert conformed(found, (1, 3)) == entity()


def test_version_1_0_knows_one_type_and_one_instance_with_preference_for_the_default() -> None:
    found = entity({"type": "Property", "value": 1, "datasetId": "urn:d:1"}, {"type": "Property", "value": 2})
    old = conformed(found, (1, 0))
    assert (old["types"], old["attributes"]["a"]) == (["T"], [{"type": "Property", "value": 2}])
    only = entity({"type": "Property", "value": 1, "datasetId": "urn:d:1"})
    assert conformed(only, (1, 0))["attributes"]["a"] == [{"type": "Property", "value": 1}]


def test_a_language_filter_finds_its_languages_still_there() -> None:
    found = entity({"type": "LanguageProperty", "languageMap": {"de": "x"}})
    assert conformed(found, (1, 3), languages=False)["attributes"] == found["attributes"]


def test_the_entity_that_was_given_stays_as_it_was() -> None:
    found = entity({"type": "VocabProperty", "vocab": "http://x/v", "unitCode": "CEL"}, scopes=["/a"])
    before = repr(found)
    conformed(found, (1, 0))
    assert repr(found) == before
