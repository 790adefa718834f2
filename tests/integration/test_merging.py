"""Merge Entity over HTTP (clauses 6.5.3.4, 5.6.17, 5.5.12)."""

from typing import Any

import pytest

from tests.conftest import RunningBroker
from tests.integration.api import CORE, DEFAULT, ENTITIES, JSON_LD, create, link, new_id, read
from tests.problems import assert_problem

NULL = "urn:ngsi-ld:null"
MERGE_PATCH = "application/merge-patch+json"
OBSERVED, OBSERVED_LATER = "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"
TEXTS = {"languageMap": {"en": "tower", "fr": "tour"}}


async def merge(broker: RunningBroker, entity_id: str, body: Any, **parameters: str) -> None:
    """Merge `body` into an entity, which must succeed."""
    async with broker.client.patch(f"{ENTITIES}/{entity_id}", json=body, params=parameters) as response:
        assert response.status == 204, await response.text()
        assert await response.read() == b""


async def refused(broker: RunningBroker, entity_id: str, body: Any, type_name: str, **parameters: str) -> Any:
    """The problem that a merge answers with 400; the entity must not have changed."""
    before = await read(broker, entity_id, options="sysAttrs")
    async with broker.client.patch(f"{ENTITIES}/{entity_id}", json=body, params=parameters) as response:
        problem = await assert_problem(response, 400, type_name)
    assert await read(broker, entity_id, options="sysAttrs") == before
    return problem


async def test_merging_goes_to_any_depth(broker: RunningBroker) -> None:
    entity_id = await create(
        broker,
        {
            "temperature": {"value": 25, "unitCode": "CEL", "observedAt": OBSERVED, "by": {"object": "urn:a:1"}},
            "address": {"value": {"street": "17. Juni", "city": "Berlin", "country": "Germany"}},
            "name": TEXTS, "gone": 1, "kept": 1,
        },
        scope="/A",
    )  # fmt: skip
    await merge(
        broker,
        entity_id,
        {
            "type": "Sensor", "scope": ["/B", "/C"], "gone": NULL, "new": {"object": "urn:a:2"},
            "temperature": {"type": "Property", "value": 100, "observedAt": OBSERVED_LATER, "by": NULL},
            "address": {"value": {"street": "Pariser Platz", "country": NULL}},
            "name": {"languageMap": {"de": "Turm", "fr": NULL}},
        },
    )  # fmt: skip
    assert await read(broker, entity_id) == {
        "id": entity_id, "type": ["Thing", "Sensor"], "scope": ["/B", "/C"],
        "temperature": {"type": "Property", "value": 100, "unitCode": "CEL", "observedAt": OBSERVED_LATER},
        "address": {"type": "Property", "value": {"street": "Pariser Platz", "city": "Berlin"}},
        "name": {"type": "LanguageProperty", "languageMap": {"en": "tower", "de": "Turm"}},
        "kept": {"type": "Property", "value": 1},
        "new": {"type": "Relationship", "object": "urn:a:2"},
    }  # fmt: skip
    await merge(broker, entity_id, {"scope": NULL})
    assert "scope" not in await read(broker, entity_id)


@pytest.mark.parametrize("parameter", ["format", "options"])
@pytest.mark.parametrize("form", ["simplified", "keyValues"])
async def test_simplified_values_keep_the_types_of_their_attributes(
    broker: RunningBroker, parameter: str, form: str
) -> None:
    entity_id = await create(broker, {"a": {"object": "urn:a:1"}, "b": {"value": {"x": 1}}, "c": {"vocab": "x"}})
    body = {"a": "urn:a:2", "b": {"type": "Property", "value": 1}, "c": "y"}
    await merge(broker, entity_id, body, **{parameter: form})
    shown = await read(broker, entity_id)
    assert shown["a"] == {"type": "Relationship", "object": "urn:a:2"}
    assert shown["b"] == {"type": "Property", "value": {"x": 1, "type": "Property", "value": 1}}
    assert shown["c"] == {"type": "VocabProperty", "vocab": "y"}
    problem = await refused(broker, entity_id, {"a": 5}, "BadRequestData", **{parameter: form})
    assert problem["errors"][0]["pointer"] == "/a"


async def test_a_common_time_and_language_hold_for_the_whole_merge(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": {"value": 1, "observedAt": OBSERVED}, "b": 1, "name": TEXTS})
    await merge(broker, entity_id, {"a": 2, "b": 2, "name": "beffroi"}, observedAt=OBSERVED_LATER, lang="fr")
    shown = await read(broker, entity_id)
    assert shown["a"] == {"type": "Property", "value": 2, "observedAt": OBSERVED_LATER}
    assert shown["b"] == {"type": "Property", "value": 2}
    assert shown["name"]["languageMap"] == {"en": "tower", "fr": "beffroi"}


@pytest.mark.parametrize(
    ("parameters", "type_name"),
    [
        ({"observedAt": "yesterday"}, "BadRequestData"), ({"lang": "en_GB"}, "BadRequestData"),
        ({"format": "concise"}, "InvalidRequest"), ({"options": "sysAttrs"}, "InvalidRequest"),
        ({"x": "1"}, "InvalidRequest"), ({"local": "perhaps"}, "BadRequestData"),
    ],
)  # fmt: skip
async def test_parameters_that_mean_nothing_are_refused(
    broker: RunningBroker, parameters: dict[str, str], type_name: str
) -> None:
    await refused(broker, await create(broker, {"a": 1}), {"a": 2}, type_name, **parameters)


async def test_the_type_parameter_selects_the_entity(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1})
    await merge(broker, entity_id, {"a": 2}, type="Thing", local="true")
    async with broker.client.patch(f"{ENTITIES}/{entity_id}", json={"a": 3}, params={"type": "Other"}) as response:
        await assert_problem(response, 404, "ResourceNotFound")
    assert (await read(broker, entity_id))["a"]["value"] == 2


async def test_names_are_expanded_whatever_the_media_type(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"speed": 1})
    path, full = f"{ENTITIES}/{entity_id}", f"{DEFAULT}speed"
    context = [{"tempo": full}, CORE]
    for number, (body, headers) in enumerate(
        [
            ({"tempo": 0, "@context": context}, {"Content-Type": JSON_LD}),
            ({"speed": 1}, {"Content-Type": MERGE_PATCH}),
            ({full: 2}, {"Content-Type": "application/json", **link(CORE)}),
            ({full: 3}, {"Content-Type": MERGE_PATCH, **link(CORE)}),
        ]
    ):
        async with broker.client.patch(path, json=body, headers=headers) as response:
            assert response.status == 204, await response.text()
        assert (await read(broker, entity_id, format="simplified"))["speed"] == number


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"a": {"type": "Relationship", "object": "urn:a:1"}}, "/a/type"), ({"type": NULL}, "/type"),
        ({"id": "urn:a:other", "a": 2}, "/id"), ({"a": {"value": 2, "datasetId": NULL}}, "/a/datasetId"),
        ({"a": {"value": [NULL]}}, "/a/value"), ({"new": {"type": "Property", "unitCode": "CEL"}}, "/new"),
        ({"a": None}, "/a"), ([], ""),
    ],
)  # fmt: skip
async def test_a_fragment_that_cannot_be_merged_is_refused_as_a_whole(
    broker: RunningBroker, body: Any, pointer: str
) -> None:
    entity_id = await create(broker, {"a": 1})
    if isinstance(body, dict):
        body = {"b": 1, **body}
    problem = await refused(broker, entity_id, body, "BadRequestData")
    assert problem["errors"][0]["pointer"] == pointer


async def test_an_entity_that_does_not_exist_is_404(broker: RunningBroker) -> None:
    async with broker.client.patch(f"{ENTITIES}/{new_id()}", json={"a": 1}) as response:
        await assert_problem(response, 404, "ResourceNotFound")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("path", [f"{ENTITIES}/", f"{ENTITIES}/no-uri"])
async def test_replacing_and_merging_need_the_id_of_an_entity(broker: RunningBroker, method: str, path: str) -> None:
    async with broker.client.request(method, path, json={"id": new_id(), "type": "T"}) as response:
        await assert_problem(response, 400, "BadRequestData")


async def test_a_merge_that_changes_nothing_leaves_the_time_of_the_last_change(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1})
    before = await read(broker, entity_id, options="sysAttrs")
    await merge(broker, entity_id, {"type": "Thing", "b": NULL})
    assert await read(broker, entity_id, options="sysAttrs") == before
