"""Where the @context of a request comes from, and where that of an answer goes (clauses 6.3.5, 6.3.6, 5.5.5, 5.5.7)."""

from typing import Any

import pytest

from broker.local import free_port
from tests.conftest import RunningBroker
from tests.integration.api import BATCH, CORE, DEFAULT, ENTITIES, JSON_LD, SUBSCRIPTIONS, link, new_id, query, read
from tests.integration.servers import Site
from tests.problems import assert_problem

BROKER_SETTINGS = {"context_timeout": 2.0}

VEHICLES = {"@context": {"speed": "urn:vocab:speed", "Car": "urn:vocab:Car", "colour": {"@id": "urn:vocab:colour"}}}


async def post_linked(broker: RunningBroker, context: Any, **members: Any) -> str:
    entity = {"@context": context, "id": new_id(), "type": "Car", **members}
    async with broker.client.post(ENTITIES, json=entity, headers={"Content-Type": JSON_LD}) as response:
        assert response.status == 201, await response.text()
    return str(entity["id"])


async def test_names_expand_by_the_context_in_the_body(broker: RunningBroker, site: Site) -> None:
    url = site.publish("/vehicles", VEHICLES)
    for context in (url, [url], [url, CORE], VEHICLES["@context"], [VEHICLES["@context"], CORE]):
        entity_id = await post_linked(broker, context, speed=1, other=2)
        entity = await read(broker, entity_id)
        assert entity["type"] == "urn:vocab:Car"
        assert set(entity) == {"id", "type", "urn:vocab:speed", "other"}
        assert (await read(broker, entity_id, headers=link(url)))["speed"]["value"] == 1


async def test_names_expand_and_compact_by_the_link_header(broker: RunningBroker, site: Site) -> None:
    url = site.publish("/vehicles", VEHICLES)
    entity_id = new_id()
    body = {"id": entity_id, "type": "Car", "speed": 1, "colour": {"vocab": "speed"}}
    async with broker.client.post(ENTITIES, json=body, headers=link(url)) as response:
        assert response.status == 201
    path = f"{ENTITIES}/{entity_id}"
    async with broker.client.patch(f"{path}/attrs/speed", json={"value": 2}, headers=link(url)) as response:
        assert response.status == 204
    async with broker.client.patch(f"{path}/attrs/speed", json={"value": 2}) as response:
        await assert_problem(response, 404, "ResourceNotFound")  # without the @context it is another name
    assert await read(broker, entity_id, headers=link(url)) == {
        "id": entity_id, "type": "Car", "speed": {"type": "Property", "value": 2},
        "colour": {"type": "VocabProperty", "vocab": "speed"},
    }  # fmt: skip
    assert (await query(broker, link(url), q="speed==2", id=entity_id))[0]["type"] == "Car"
    assert await query(broker, q="speed==2", id=entity_id) == []
    async with broker.client.delete(f"{path}/attrs/speed", headers=link(url)) as response:
        assert response.status == 204
    assert site.asked == ["/vehicles"]  # fetched once


async def test_the_core_context_wins_and_other_names_go_into_the_default_vocabulary(broker: RunningBroker) -> None:
    entity_id = await post_linked(
        broker, {"unitCode": "urn:x:unit", "observedAt": "urn:x:at"}, a={"value": 1, "unitCode": "CEL"}
    )
    assert (await read(broker, entity_id))["a"] == {"type": "Property", "value": 1, "unitCode": "CEL"}  # 5.5.7
    context = {"a": "urn:elsewhere:a"}
    hidden = await post_linked(broker, context, a=1)
    assert set(await read(broker, hidden)) == {"id", "type", "urn:elsewhere:a"}
    assert (await query(broker, q=f"{DEFAULT}a", id=entity_id))[0]["id"] == entity_id


async def test_an_answer_in_linked_data_names_the_context_of_its_request(broker: RunningBroker, site: Site) -> None:
    url = site.publish("/vehicles", VEHICLES)
    entity_id = await post_linked(broker, url, speed=1)
    entity = await read(broker, entity_id, headers={"Accept": JSON_LD, **link(url)})
    assert entity["@context"] == [url, CORE]
    assert (entity["type"], entity["speed"]["value"]) == ("Car", 1)
    async with broker.client.get(f"{ENTITIES}/{entity_id}", headers=link(url)) as response:
        assert f"<{url}>" in response.headers["Link"]
    async with broker.client.get(f"{ENTITIES}/{entity_id}", headers={"Accept": JSON_LD}) as response:
        assert (await response.json(content_type=None))["@context"] == CORE


async def test_no_mixes_of_link_and_body_are_allowed(broker: RunningBroker, site: Site) -> None:
    url = site.publish("/vehicles", VEHICLES)
    entity = {"id": new_id(), "type": "Car"}
    for path, body in ((ENTITIES, entity), (f"{BATCH}/create", [entity])):
        with_context: Any = {"@context": url, **entity} if body is entity else [{"@context": url, **entity}]
        headers = {"Content-Type": JSON_LD, **link(url)}
        async with broker.client.post(path, json=with_context, headers=headers) as response:
            await assert_problem(response, 400, "BadRequestData")
    async with broker.client.post(ENTITIES, json={"@context": url, **entity}) as response:
        body = await assert_problem(response, 400, "BadRequestData")  # application/json with an @context inside
        assert body["errors"][0]["pointer"] == "/@context"
    async with broker.client.post(ENTITIES, json=entity, headers={"Content-Type": JSON_LD}) as response:
        await assert_problem(response, 400, "BadRequestData")  # linked data without an @context
    async with broker.client.post(ENTITIES, json=entity, headers={"Content-Type": JSON_LD, **link(url)}) as response:
        await assert_problem(response, 400, "BadRequestData")


@pytest.mark.parametrize(
    "header",
    [
        '<http://a/x>; rel="http://www.w3.org/ns/json-ld#context", <http://a/y>; rel="http://www.w3.org/ns/json-ld#context"',
        'http://a/x; rel="http://www.w3.org/ns/json-ld#context"',
        '<>; rel="http://www.w3.org/ns/json-ld#context"',
        '<no url>; rel="http://www.w3.org/ns/json-ld#context"',
    ],
)
async def test_a_link_header_that_names_no_context_is_bad_request_data(broker: RunningBroker, header: str) -> None:
    async with broker.client.get(ENTITIES, params={"type": "T"}, headers={"Link": header}) as response:
        await assert_problem(response, 400, "BadRequestData")


async def test_other_links_are_ignored(broker: RunningBroker) -> None:
    headers = {"Link": '<http://a.example/next>; rel="next"'}
    async with broker.client.get(ENTITIES, params={"type": "T"}, headers=headers) as response:
        assert response.status == 200
        assert CORE in response.headers["Link"]


@pytest.mark.parametrize(
    "context",
    [
        5,
        True,
        [5],
        {"a": 5},
        {"@version": 1.1, "a": {"@id": "urn:a", "@context": {}}},
        "relative/url",
        {"@import": "x"},
    ],
)
async def test_what_is_no_context_is_bad_request_data(broker: RunningBroker, context: Any) -> None:
    entity = {"@context": context, "id": new_id(), "type": "Car"}
    async with broker.client.post(ENTITIES, json=entity, headers={"Content-Type": JSON_LD}) as response:
        await assert_problem(response, 400, "BadRequestData")  # 5.5.7


async def test_a_context_that_cannot_be_had_is_504(broker: RunningBroker, site: Site) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/context"
    missing = site.url + "/missing"
    for url in (nobody, missing, "ftp://example.org/context", "http://no-such-host.invalid/context"):
        async with broker.client.get(ENTITIES, params={"type": "T"}, headers=link(url)) as response:
            await assert_problem(response, 504, "LdContextNotAvailable")
        entity = {"@context": url, "id": new_id(), "type": "Car"}
        async with broker.client.post(ENTITIES, json=entity, headers={"Content-Type": JSON_LD}) as response:
            await assert_problem(response, 504, "LdContextNotAvailable")
        subscription = {
            "type": "Subscription", "entities": [{"type": "T"}], "jsonldContext": url,
            "notification": {"endpoint": {"uri": "http://127.0.0.1:9/"}},
        }  # fmt: skip
        async with broker.client.post(SUBSCRIPTIONS, json=subscription) as response:
            await assert_problem(response, 504, "LdContextNotAvailable")  # 5.8.1.4


async def test_one_unreachable_context_in_a_batch_fails_only_its_entity(broker: RunningBroker, site: Site) -> None:
    good, bad = new_id(), new_id()
    body = [
        {"@context": site.url + "/missing", "id": bad, "type": "T"},
        {"@context": CORE, "id": good, "type": "T"},
    ]
    async with broker.client.post(f"{BATCH}/create", json=body, headers={"Content-Type": JSON_LD}) as response:
        assert response.status == 207
        result = await response.json()
    assert result["success"] == [good]
    assert result["errors"][0]["entityId"] == bad
    assert result["errors"][0]["error"]["type"].endswith("LdContextNotAvailable")


async def test_a_remote_document_that_is_no_context_is_bad_request_data(broker: RunningBroker, site: Site) -> None:
    for path, document in (("/a", b"no json"), ("/b", {"no": "context"}), ("/c", [1]), ("/d", {"@context": 5})):
        url = site.publish(path, document)
        async with broker.client.get(ENTITIES, params={"type": "T"}, headers=link(url)) as response:
            await assert_problem(response, 400, "BadRequestData")  # 5.5.6


async def test_addresses_that_nobody_should_ask_are_refused(broker: RunningBroker) -> None:
    url = "http://169.254.169.254/latest/meta-data"  # where clouds serve credentials
    async with broker.client.get(ENTITIES, params={"type": "T"}, headers=link(url)) as response:
        assert response.status in (400, 504)
        await assert_problem(
            response, response.status, "BadRequestData" if response.status == 400 else "LdContextNotAvailable"
        )
