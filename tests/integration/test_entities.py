"""Entities over HTTP: create, retrieve, replace, delete (clauses 6.4, 6.5; 5.6.1, 5.6.6, 5.6.18, 5.7.1)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from yarl import URL

from tests.conftest import RunningBroker
from tests.integration.api import DEFAULT, ENTITIES, create, new_id, new_type, query, read, until
from tests.problems import assert_problem


async def test_a_created_entity_is_answered_with_its_relative_path_and_comes_back(broker: RunningBroker) -> None:
    entity = {"id": new_id(), "type": "Car", "speed": {"type": "Property", "value": 55, "unitCode": "KMH"}}
    async with broker.client.post(ENTITIES, json=entity) as response:
        assert response.status == 201
        assert response.headers["Location"] == f"{ENTITIES}/{entity['id']}"
        assert await response.read() == b""
        assert "Link" not in response.headers  # 6.3.6: no Link without a body
    assert await read(broker, entity["id"]) == entity


async def test_the_keywords_of_json_ld_stand_for_id_and_type(broker: RunningBroker) -> None:
    entity_id = new_id()
    async with broker.client.post(ENTITIES, json={"@id": entity_id, "@type": "T", "a": 1}) as response:
        assert response.status == 201, await response.text()
    assert (await read(broker, entity_id))["type"] == "T"


async def test_the_location_of_an_odd_id_leads_to_the_entity(broker: RunningBroker) -> None:
    entity_id = new_id() + "/with?slash#and-ü"
    async with broker.client.post(ENTITIES, json={"id": entity_id, "type": "Car"}) as response:
        assert response.status == 201, await response.text()
        location = response.headers["Location"]
    async with broker.client.get(URL(broker.url + location, encoded=True)) as response:
        assert (await response.json())["id"] == entity_id


async def test_creating_an_entity_twice_is_409(broker: RunningBroker) -> None:
    entity_id = await create(broker)
    async with broker.client.post(ENTITIES, json={"id": entity_id, "type": "Other"}) as response:
        await assert_problem(response, 409, "AlreadyExists")
    assert (await read(broker, entity_id))["type"] == "Thing"


@pytest.mark.parametrize(
    ("entity", "pointer"),
    [
        ({"type": "T"}, "/id"),
        ({"id": "no-uri", "type": "T"}, "/id"),
        ({"id": 5, "type": "T"}, "/id"),
        ({"id": "urn:a:1"}, "/type"),
        ({"id": "urn:a:1", "type": []}, "/type"),
        ({"id": "urn:a:1", "type": None}, "/type"),
        ({"id": "urn:a:1", "type": "T", "a": None}, "/a"),
        ({"id": "urn:a:1", "type": "T", "a": {"type": "Property"}}, "/a"),
        ({"id": "urn:a:1", "type": "T", "a": {"type": "Relationship", "object": "no-uri"}}, "/a/object"),
        ({"id": "urn:a:1", "type": "T", "a": {"type": "Property", "value": "urn:ngsi-ld:null"}}, "/a/value"),
        ({"id": "urn:a:1", "type": "T", "a": {"type": "Property", "value": 1, "observedAt": "now"}}, "/a/observedAt"),
        ({"id": "urn:a:1", "type": "T", "a": [{"value": 1}, {"value": 2}]}, "/a/1"),
        ({"id": "urn:a:1", "type": "T", "scope": "not a scope"}, "/scope"),
        ({"id": "urn:a:1", "type": "T", "location": {"type": "Point", "coordinates": [200, 0]}}, "/location"),
        ({"id": "urn:a:1", "@id": "urn:a:2", "type": "T"}, "/@id"),
        ({"id": "urn:a:1", "type": "T", "@type": "S"}, "/@type"),
        ({"id": "urn:a:1", "type": "T", "a": {"type": "Property", "@type": "Property", "value": 1}}, "/a/@type"),
        ({"id": "urn:a:1", "type": "T", "a/b": {"type": "Property", "value": 1}}, "/a~1b"),
        ({"id": "urn:a:1", "type": "T", "urn:a/b": {"type": "Property", "value": None}}, "/urn:a~1b/value"),
    ],
)
async def test_a_bad_entity_is_refused_with_a_pointer_to_what_is_wrong(
    broker: RunningBroker, entity: dict[str, Any], pointer: str
) -> None:
    async with broker.client.post(ENTITIES, json=entity) as response:
        body = await assert_problem(response, 400, "BadRequestData")
    assert body["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("body", [b"{", b"", b"\xff\xfe{}", b'{"id": "urn:a:b", "type": "T", "a": NaN}', b"{} {}"])
async def test_what_is_no_json_is_an_invalid_request(broker: RunningBroker, body: bytes) -> None:
    async with broker.client.post(ENTITIES, data=body, headers={"Content-Type": "application/json"}) as response:
        await assert_problem(response, 400, "InvalidRequest")  # 5.5.4


@pytest.mark.parametrize("body", [b"[]", b"5", b'"text"', b"null", b"true"])
async def test_json_that_is_no_entity_is_bad_request_data(broker: RunningBroker, body: bytes) -> None:
    async with broker.client.post(ENTITIES, data=body, headers={"Content-Type": "application/json"}) as response:
        await assert_problem(response, 400, "BadRequestData")  # 5.5.4


async def test_an_entity_that_does_not_exist_is_404_for_every_operation(broker: RunningBroker) -> None:
    path = f"{ENTITIES}/{new_id()}"
    async with broker.client.get(path) as response:
        await assert_problem(response, 404, "ResourceNotFound")
    async with broker.client.delete(path) as response:
        await assert_problem(response, 404, "ResourceNotFound")
    async with broker.client.put(path, json={"type": "T"}) as response:
        await assert_problem(response, 404, "ResourceNotFound")


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_an_id_in_the_path_that_is_no_uri_is_bad_request_data(broker: RunningBroker, method: str) -> None:
    async with broker.client.request(method, f"{ENTITIES}/no-uri", json={"type": "T"}) as response:
        await assert_problem(response, 400, "BadRequestData")


async def test_replacing_leaves_nothing_of_the_old_entity_but_its_creation_time(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"old": 1}, scope="/a")
    before = await read(broker, entity_id, options="sysAttrs")
    async with broker.client.put(f"{ENTITIES}/{entity_id}", json={"type": "New", "new": {"value": 2}}) as response:
        assert response.status == 204, await response.text()
    after = await read(broker, entity_id, options="sysAttrs")
    assert set(after) == {"id", "type", "new", "createdAt", "modifiedAt"}
    assert after["type"] == "New"
    assert after["createdAt"] == before["createdAt"]  # 5.6.18.4
    assert after["modifiedAt"] > before["modifiedAt"]


async def test_replacing_refuses_another_id_and_nulls(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1})
    async with broker.client.put(f"{ENTITIES}/{entity_id}", json={"id": new_id(), "type": "T"}) as response:
        await assert_problem(response, 400, "BadRequestData")
    async with broker.client.put(f"{ENTITIES}/{entity_id}", json={"type": "T", "a": "urn:ngsi-ld:null"}) as response:
        await assert_problem(response, 400, "BadRequestData")  # 5.6.18.4: nulls are not supported here
    assert (await read(broker, entity_id))["a"]["value"] == 1


async def test_a_deleted_entity_is_gone_and_its_id_is_free_again(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1})
    async with broker.client.delete(f"{ENTITIES}/{entity_id}") as response:
        assert response.status == 204
        assert await response.read() == b""
        assert "Content-Length" not in response.headers  # 6.3.6
    async with broker.client.get(f"{ENTITIES}/{entity_id}") as response:
        await assert_problem(response, 404, "ResourceNotFound")
    await create(broker, {"b": 2}, id=entity_id)
    assert set(await read(broker, entity_id)) == {"id", "type", "b"}


async def test_the_type_parameter_guards_every_operation_on_an_entity(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1}, type=["Car", "Taxi"])
    path = f"{ENTITIES}/{entity_id}"
    for method in ("GET", "PUT", "DELETE"):
        async with broker.client.request(method, path, params={"type": "Bus"}, json={"type": "T"}) as response:
            await assert_problem(response, 404, "ResourceNotFound")
    for selection in ("Taxi", "Bus,Car", "Bus|Car", "(Car;Taxi)", DEFAULT + "Car"):
        assert (await read(broker, entity_id, type=selection))["id"] == entity_id  # 4.17
    async with broker.client.get(path, params={"type": "(Car;Bus)"}) as response:
        await assert_problem(response, 404, "ResourceNotFound")
    async with broker.client.delete(path, params={"type": "Taxi"}) as response:
        assert response.status == 204


async def test_an_expired_entity_does_not_exist_any_more(broker: RunningBroker) -> None:
    expiry = datetime.now(UTC) + timedelta(seconds=1.5)
    kind = new_type()
    entity_id = await create(broker, {"a": 1}, type=kind, expiresAt=f"{expiry:%Y-%m-%dT%H:%M:%S.%f}Z")
    assert (await read(broker, entity_id))["a"]["value"] == 1

    async def gone() -> bool:
        async with broker.client.get(f"{ENTITIES}/{entity_id}") as response:
            return response.status == 404

    await until(gone)
    assert datetime.now(UTC) >= expiry  # 4.22
    assert await query(broker, type=kind) == []
    await create(broker, id=entity_id)  # the id is free again


async def test_system_members_sent_by_a_client_are_ignored(broker: RunningBroker) -> None:
    past = "2001-01-01T00:00:00Z"
    entity_id = await create(
        broker, {"a": {"type": "Property", "value": 1, "createdAt": past, "modifiedAt": past}}, createdAt=past
    )  # 5.2.2: output only
    shown = await read(broker, entity_id, options="sysAttrs")
    assert past not in (shown["createdAt"], shown["a"]["createdAt"], shown["a"]["modifiedAt"])


async def test_many_concurrent_creations_of_one_entity_let_exactly_one_win(broker: RunningBroker) -> None:
    entity_id = new_id()

    async def attempt(number: int) -> int:
        entity = {"id": entity_id, "type": "T", "winner": number}
        async with broker.client.post(ENTITIES, json=entity) as response:
            if response.status != 201:
                await assert_problem(response, 409, "AlreadyExists")
            return response.status

    statuses = await asyncio.gather(*(attempt(number) for number in range(40)))
    assert sorted(statuses) == [201] + [409] * 39
    assert (await read(broker, entity_id))["winner"]["value"] == statuses.index(201)
