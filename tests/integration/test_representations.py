"""The three representations of entities over HTTP, in and out, and content negotiation (4.5, 6.3.4, 6.3.6, 6.3.7)."""

from typing import Any

import pytest

from tests.conftest import RunningBroker
from tests.integration.api import CORE, ENTITIES, JSON, JSON_LD, RELATION, SUBSCRIPTIONS, create, new_id, new_type, read
from tests.integration.wire import request
from tests.problems import assert_problem

DATASET = "urn:ngsi-ld:Dataset:1"
NOON = "2026-01-31T12:00:00.123456Z"

NORMALIZED: dict[str, Any] = {
    "plain": {"type": "Property", "value": 7},
    "rich": {
        "type": "Property", "value": {"a": [1, {"b": None}]}, "unitCode": "CEL", "observedAt": NOON,
        "accuracy": {"type": "Property", "value": 0.5, "by": {"type": "Relationship", "object": "urn:p:1"}},
    },
    "listed": {"type": "Property", "value": [1, "two", 3.5, True, {"four": 4}]},
    "place": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [9.7, 52.4]}},
    "text": {"type": "LanguageProperty", "languageMap": {"de": "Turm", "en": ["tower", "keep"]}},
    "kind": {"type": "VocabProperty", "vocab": "Tower"},
    "raw": {"type": "JsonProperty", "json": {"id": "x", "value": [None, 1]}},
    "series": {"type": "ListProperty", "valueList": [3, 1, 2]},
    "near": {"type": "Relationship", "object": "urn:p:2", "objectType": "Building"},
    "both": {"type": "Relationship", "object": ["urn:p:2", "urn:p:3"]},
    "route": {"type": "ListRelationship", "objectList": [{"object": "urn:s:2"}, {"object": "urn:s:1"}]},
    "many": [{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": DATASET}],
}  # fmt: skip

CONCISE: dict[str, Any] = {
    "plain": 7,
    "rich": {
        "value": {"a": [1, {"b": None}]}, "unitCode": "CEL", "observedAt": NOON,
        "accuracy": {"value": 0.5, "by": {"object": "urn:p:1"}},
    },
    "listed": [1, "two", 3.5, True, {"four": 4}],
    "place": {"type": "Point", "coordinates": [9.7, 52.4]},
    "text": {"languageMap": {"de": "Turm", "en": ["tower", "keep"]}},
    "kind": {"vocab": "Tower"},
    "raw": {"json": {"id": "x", "value": [None, 1]}},
    "series": {"valueList": [3, 1, 2]},
    "near": {"object": "urn:p:2", "objectType": "Building"},
    "both": {"object": ["urn:p:2", "urn:p:3"]},
    "route": {"objectList": ["urn:s:2", "urn:s:1"]},
    "many": [{"value": 1}, {"value": 2, "datasetId": DATASET}],
}  # fmt: skip

SIMPLIFIED: dict[str, Any] = {
    "plain": 7,
    "rich": {"a": [1, {"b": None}]},
    "listed": [1, "two", 3.5, True, {"four": 4}],
    "place": {"type": "Point", "coordinates": [9.7, 52.4]},
    "text": {"languageMap": {"de": "Turm", "en": ["tower", "keep"]}},
    "kind": {"vocab": "Tower"},
    "raw": {"json": {"id": "x", "value": [None, 1]}},
    "series": [3, 1, 2],
    "near": "urn:p:2",
    "both": ["urn:p:2", "urn:p:3"],
    "route": ["urn:s:2", "urn:s:1"],
    "many": {"dataset": {"@none": 1, DATASET: 2}},
}


@pytest.mark.parametrize("given", [NORMALIZED, CONCISE], ids=["normalized", "concise"])
async def test_every_attribute_type_goes_in_and_comes_out_in_each_form(
    broker: RunningBroker, given: dict[str, Any]
) -> None:
    entity_id = await create(broker, given)
    head = {"id": entity_id, "type": "Thing"}
    assert await read(broker, entity_id) == {**head, **NORMALIZED}
    assert await read(broker, entity_id, format="normalized") == {**head, **NORMALIZED}
    assert await read(broker, entity_id, format="concise") == {**head, **CONCISE}
    for parameters in (
        {"format": "simplified"},
        {"format": "keyValues"},
        {"options": "keyValues"},
        {"options": "simplified"},
    ):
        assert await read(broker, entity_id, **parameters) == {**head, **SIMPLIFIED}


async def test_simplified_input_becomes_what_it_looks_like(broker: RunningBroker) -> None:
    entity_id = await create(broker, SIMPLIFIED)
    entity = await read(broker, entity_id)
    for name in ("plain", "place", "text", "kind", "raw", "many"):
        assert entity[name] == NORMALIZED[name], name
    assert entity["near"] == {"type": "Property", "value": "urn:p:2"}  # a lossy form: nothing says that this is a URI


async def test_concise_output_is_accepted_as_input_and_means_the_same(broker: RunningBroker) -> None:
    first = await create(broker, NORMALIZED)
    concise = await read(broker, first, format="concise")
    second = await create(broker, {**concise, "id": new_id()})
    assert {**await read(broker, first), "id": None} == {**await read(broker, second), "id": None}  # lossless (4.5.1)


async def test_the_format_parameter_wins_over_options(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1})
    assert (await read(broker, entity_id, format="simplified", options="normalized"))["a"] == 1  # 6.3.12


async def test_system_attributes_are_shown_only_on_request(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": {"value": 1, "sub": {"value": 2}}}, expiresAt="2199-01-01T00:00:00Z")
    assert set(await read(broker, entity_id)) == {"id", "type", "a"}
    shown = await read(broker, entity_id, options="sysAttrs")
    assert set(shown) == {"id", "type", "a", "createdAt", "modifiedAt", "expiresAt"}
    assert set(shown["a"]) == {"type", "value", "sub", "createdAt", "modifiedAt"}
    assert set(shown["a"]["sub"]) == {"type", "value", "createdAt", "modifiedAt"}
    simplified = await read(broker, entity_id, options="sysAttrs,keyValues")
    assert simplified["a"] == 1
    assert simplified["createdAt"] == shown["createdAt"]


async def test_projection_of_one_entity(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1, "b": 2, "c": 3}, scope="/x")
    assert set(await read(broker, entity_id, pick="id,a,scope")) == {"id", "a", "scope"}
    assert set(await read(broker, entity_id, omit="a,type")) == {"id", "scope", "b", "c"}
    assert set(await read(broker, entity_id, attrs="a,missing")) == {"id", "type", "scope", "a"}
    async with broker.client.get(f"{ENTITIES}/{entity_id}", params={"attrs": "missing"}) as response:
        await assert_problem(response, 404, "ResourceNotFound")  # 5.7.1.4
    for parameters in ({"attrs": "a", "pick": "a"}, {"pick": "a{b}"}):
        async with broker.client.get(f"{ENTITIES}/{entity_id}", params=parameters) as response:
            await assert_problem(response, 400, "BadRequestData")


async def test_a_language_is_chosen_by_lang(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"t": {"languageMap": {"de": "Turm", "en": "tower", "@none": "torre"}}})
    for lang, value, tag in (("en", "tower", "en"), ("de-CH,en;q=0.5", "tower", "en"), ("fr", "torre", "@none")):
        shown = (await read(broker, entity_id, lang=lang))["t"]
        assert shown == {"type": "Property", "value": value, "lang": tag}  # 4.15
    assert (await read(broker, entity_id, lang="de", format="simplified"))["t"] == "Turm"


async def test_a_malformed_language_filter_is_refused(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1})
    async with broker.client.get(f"{ENTITIES}/{entity_id}", params={"lang": "fr;q=x"}) as response:
        await assert_problem(response, 400, "BadRequestData")
    subscription = {"type": "Subscription", "entities": [{"type": "T"}], "lang": "d e",
                    "notification": {"endpoint": {"uri": "http://receiver.example/"}}}  # fmt: skip
    async with broker.client.post(SUBSCRIPTIONS, json=subscription) as response:
        problem = await assert_problem(response, 400, "BadRequestData")
    assert problem["errors"][0]["pointer"] == "/lang"


async def test_instances_are_chosen_by_dataset(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": [{"value": 1}, {"value": 2, "datasetId": DATASET}], "b": 3})
    assert (await read(broker, entity_id, datasetId=DATASET)) == {
        "id": entity_id, "type": "Thing", "a": {"type": "Property", "value": 2, "datasetId": DATASET}
    }  # fmt: skip
    only_default = await read(broker, entity_id, datasetId="@none")
    assert (only_default["a"]["value"], only_default["b"]["value"]) == (1, 3)
    assert len((await read(broker, entity_id, datasetId=f"@none,{DATASET}"))["a"]) == 2


# Negotiation


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (JSON_LD, JSON_LD),
        (f"{JSON_LD}, {JSON}", JSON),  # 6.3.4: the order of the specification decides, not that of the header
        (f"{JSON};q=0.5, {JSON_LD}", JSON_LD),
        (f"{JSON};q=0.5, {JSON_LD};q=0.9", JSON_LD),
        ("text/html, application/ld+json;q=0.1", JSON_LD),
        ("APPLICATION/LD+JSON", JSON_LD),
        ("application/geo+json, application/json;q=0.2", "application/geo+json"),
    ],
)
async def test_the_answer_has_the_media_type_that_the_client_prefers(
    broker: RunningBroker, accept: str | None, expected: str
) -> None:
    kind = new_type()
    entity_id = await create(broker, type=kind)
    headers = {"Accept": accept} if accept else {}
    for target in (f"{ENTITIES}/{entity_id}", f"{ENTITIES}?type={kind}"):
        answer = request(broker.settings.port, "GET", target, headers)
        assert (answer.status, answer.headers["Content-Type"]) == (200, expected)


async def test_the_context_is_in_the_body_or_in_the_link_header(broker: RunningBroker) -> None:
    kind = new_type()
    entity_id = await create(broker, type=kind)
    for path in (f"{ENTITIES}/{entity_id}", f"{ENTITIES}?type={kind}"):
        async with broker.client.get(path, headers={"Accept": JSON}) as response:
            assert response.headers["Link"] == f'<{CORE}>; rel="{RELATION}"; type="{JSON_LD}"'
            body = await response.json()
            assert "@context" not in (body[0] if isinstance(body, list) else body)
        async with broker.client.get(path, headers={"Accept": JSON_LD}) as response:
            assert "Link" not in response.headers
            body = await response.json(content_type=JSON_LD)
            assert (body[0] if isinstance(body, list) else body)["@context"] == CORE


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "application/json;q=0", "image/*", "nonsense"])
async def test_what_nobody_offers_is_406_with_what_there_is(broker: RunningBroker, accept: str) -> None:
    async with broker.client.get(ENTITIES, params={"type": "T"}, headers={"Accept": accept}) as response:
        body = await assert_problem(response, 406, "InvalidRequest")
    assert JSON in body["detail"]
    assert JSON_LD in body["detail"]


async def test_errors_are_plain_json_whatever_the_client_accepts(broker: RunningBroker) -> None:
    async with broker.client.get(f"{ENTITIES}/{new_id()}", headers={"Accept": JSON_LD}) as response:
        await assert_problem(response, 404, "ResourceNotFound")  # 6.3.6
        assert "Link" not in response.headers


async def test_a_missing_length_is_a_bare_411_and_a_foreign_media_type_a_bare_415(broker: RunningBroker) -> None:
    port = broker.settings.port
    chunked = request(
        port, "POST", ENTITIES, {"Content-Type": JSON, "Transfer-Encoding": "chunked"}, b"2\r\n{}\r\n0\r\n\r\n"
    )
    assert (chunked.status, chunked.body) == (411, b"")  # 6.3.4
    assert (request(port, "POST", ENTITIES, {"Content-Type": JSON}).status) == 411
    for content_type in ("text/plain", "application/xml", "", "nonsense", "application/geo+json"):
        answer = request(port, "POST", ENTITIES, {"Content-Type": content_type}, b'{"id": "urn:a:b", "type": "T"}')
        assert (answer.status, answer.body) == (415, b"")
    assert request(port, "POST", ENTITIES, (), b"{}").status == 415


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;x=y"]
)
async def test_parameters_of_the_content_type_do_not_matter(broker: RunningBroker, content_type: str) -> None:
    body = f'{{"id": "{new_id()}", "type": "T"}}'
    async with broker.client.post(ENTITIES, data=body, headers={"Content-Type": content_type}) as response:
        assert response.status == 201


async def test_a_body_that_is_too_large_is_413(broker: RunningBroker) -> None:
    body = f'{{"id": "{new_id()}", "type": "T", "a": "'.encode() + b"x" * (20 << 20) + b'"}'
    answer = request(broker.settings.port, "POST", ENTITIES, {"Content-Type": JSON}, body)
    answer.problem(413, "InvalidRequest")
