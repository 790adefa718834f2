"""Tenants over HTTP (clauses 4.14, 5.5.10, 6.3.14)."""

import asyncio
import json

import pytest

from tests.conftest import RunningBroker
from tests.integration.api import BATCH, ENTITIES, JSON, SUBSCRIPTIONS, create, new_id
from tests.integration.wire import request
from tests.problems import assert_problem

SUBSCRIPTION = {
    "type": "Subscription", "entities": [{"type": "T"}], "notification": {"endpoint": {"uri": "http://127.0.0.1:9/"}},
}  # fmt: skip


async def test_the_same_id_lives_in_each_tenant_apart(broker: RunningBroker, tenant: str) -> None:
    entity_id = await create(broker, {"home": "default"})
    headers = {"NGSILD-Tenant": tenant}
    async with broker.client.post(
        ENTITIES, json={"id": entity_id, "type": "Thing", "home": "tenant"}, headers=headers
    ) as response:
        assert response.status == 201
        assert response.headers["NGSILD-Tenant"] == tenant
    for given, expected in ((headers, "tenant"), ({}, "default")):
        async with broker.client.get(f"{ENTITIES}/{entity_id}?format=simplified", headers=given) as response:
            assert (await response.json())["home"] == expected
            assert response.headers.get("NGSILD-Tenant") == given.get("NGSILD-Tenant")
    async with broker.client.delete(f"{ENTITIES}/{entity_id}", headers=headers) as response:
        assert response.status == 204
    async with broker.client.get(f"{ENTITIES}/{entity_id}") as response:
        assert response.status == 200


async def test_queries_counts_and_batches_stay_within_their_tenant(broker: RunningBroker, tenant: str) -> None:
    headers = {"NGSILD-Tenant": tenant}
    body = [{"id": new_id(), "type": tenant} for _ in range(3)]
    async with broker.client.post(f"{BATCH}/upsert", json=body, headers=headers) as response:
        assert response.status == 201
    async with broker.client.post(f"{BATCH}/create", json=[{"id": new_id(), "type": tenant}]) as response:
        assert response.status == 201
    for given, count in ((headers, "3"), ({}, "1")):
        async with broker.client.get(ENTITIES, params={"type": tenant, "count": "true"}, headers=given) as response:
            assert response.headers["NGSILD-Results-Count"] == count
    async with broker.client.post(f"{BATCH}/delete", json=[one["id"] for one in body]) as response:
        assert response.status == 207  # not there in the default tenant


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"{ENTITIES}?type=T", None),
        ("GET", f"{ENTITIES}?type=T&count=true&limit=0", None),
        ("GET", f"{ENTITIES}/urn:a:1", None),
        ("PUT", f"{ENTITIES}/urn:a:1", {"type": "T"}),
        ("DELETE", f"{ENTITIES}/urn:a:1", None),
        ("PATCH", f"{ENTITIES}/urn:a:1/attrs", {"a": 1}),
        ("POST", f"{ENTITIES}/urn:a:1/attrs", {"a": 1}),
        ("PATCH", f"{ENTITIES}/urn:a:1/attrs/a", {"value": 1}),
        ("PUT", f"{ENTITIES}/urn:a:1/attrs/a", {"value": 1}),
        ("DELETE", f"{ENTITIES}/urn:a:1/attrs/a", None),
        ("POST", f"{BATCH}/update", [{"id": "urn:a:1", "a": 1}]),
        ("POST", f"{BATCH}/delete", ["urn:a:1"]),
        ("GET", SUBSCRIPTIONS, None),
        ("GET", f"{SUBSCRIPTIONS}/urn:a:1", None),
        ("PATCH", f"{SUBSCRIPTIONS}/urn:a:1", {"isActive": False}),
        ("DELETE", f"{SUBSCRIPTIONS}/urn:a:1", None),
    ],
)
async def test_a_tenant_does_not_exist_before_its_first_write(
    broker: RunningBroker, tenant: str, method: str, path: str, body: object
) -> None:
    headers = {"NGSILD-Tenant": tenant}
    async with broker.client.request(method, path, json=body, headers=headers) as response:
        await assert_problem(response, 404, "NonexistentTenant")  # 5.5.10
        assert response.headers["NGSILD-Tenant"] == tenant
    async with broker.client.get(ENTITIES, params={"type": "T"}, headers=headers) as response:
        await assert_problem(response, 404, "NonexistentTenant")  # still not: none of these creates it


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (ENTITIES, {"id": "urn:a:1", "type": "T"}),
        (f"{BATCH}/create", [{"id": "urn:a:1", "type": "T"}]),
        (f"{BATCH}/upsert", [{"id": "urn:a:1", "type": "T"}]),
        (SUBSCRIPTIONS, SUBSCRIPTION),
    ],
)
async def test_a_tenant_comes_into_being_with_its_first_write(
    broker: RunningBroker, tenant: str, path: str, body: object
) -> None:
    headers = {"NGSILD-Tenant": tenant}
    async with broker.client.post(path, json=body, headers=headers) as response:
        assert response.status == 201, await response.text()
    async with broker.client.get(ENTITIES, params={"type": "T"}, headers=headers) as response:
        assert response.status == 200


@pytest.mark.parametrize("body", [{"id": "no-uri", "type": "T"}, {"id": "urn:a:1"}, [], {"type": "T"}])
async def test_a_refused_write_creates_no_tenant(broker: RunningBroker, tenant: str, body: object) -> None:
    headers = {"NGSILD-Tenant": tenant}
    async with broker.client.post(ENTITIES, json=body, headers=headers) as response:
        await assert_problem(response, 400, "BadRequestData")
    async with broker.client.get(ENTITIES, params={"type": "T"}, headers=headers) as response:
        await assert_problem(response, 404, "NonexistentTenant")


async def test_many_first_writes_at_once_create_one_tenant(broker: RunningBroker, tenant: str) -> None:
    async def write() -> int:
        headers = {"NGSILD-Tenant": tenant}
        async with broker.client.post(ENTITIES, json={"id": new_id(), "type": "T"}, headers=headers) as response:
            return response.status

    assert set(await asyncio.gather(*(write() for _ in range(30)))) == {201}
    async with broker.client.get(
        ENTITIES, params={"type": "T", "count": "true"}, headers={"NGSILD-Tenant": tenant}
    ) as response:
        assert response.headers["NGSILD-Results-Count"] == "30"


@pytest.mark.parametrize("name", ["with.dots$and/slashes", "UPPER", "x" * 256, "!"])
async def test_odd_names_work_and_never_mix(broker: RunningBroker, name: str) -> None:
    headers = {"NGSILD-Tenant": name}
    entity = {"id": new_id(), "type": "T"}
    async with broker.client.post(ENTITIES, json=entity, headers=headers) as response:
        assert response.status == 201, await response.text()
        assert response.headers["NGSILD-Tenant"] == name
    for other, status in ((name, 200), (name.swapcase() + "-", 404), ("", 404)):
        async with broker.client.get(f"{ENTITIES}/{entity['id']}", headers={"NGSILD-Tenant": other}) as response:
            assert response.status == status


@pytest.mark.parametrize("name", ["Stadt-Süd", "a b", "x" * 300])
async def test_a_name_that_no_tenant_can_have_is_refused_or_does_not_exist(broker: RunningBroker, name: str) -> None:
    port, headers = broker.settings.port, {"NGSILD-Tenant": name, "Content-Type": JSON}
    for path in (ENTITIES, SUBSCRIPTIONS):
        sample = {**SUBSCRIPTION, "id": "urn:a:1"} if path == SUBSCRIPTIONS else {"id": "urn:a:1", "type": "T"}
        request(port, "POST", path, headers, json.dumps(sample).encode()).problem(400, "BadRequestData")
        for method in ("GET", "DELETE"):
            request(port, method, f"{path}/urn:a:1", headers).problem(404, "NonexistentTenant")
    changes = b'{"isActive": false}'
    request(port, "PATCH", f"{SUBSCRIPTIONS}/urn:a:1", headers, changes).problem(404, "NonexistentTenant")


async def test_subscriptions_belong_to_their_tenant(broker: RunningBroker, tenant: str) -> None:
    headers = {"NGSILD-Tenant": tenant}
    async with broker.client.post(SUBSCRIPTIONS, json=SUBSCRIPTION, headers=headers) as response:
        location = response.headers["Location"]
    async with broker.client.get(location) as response:
        await assert_problem(response, 404, "ResourceNotFound")
    async with broker.client.get(SUBSCRIPTIONS, headers=headers) as response:
        assert [one["id"] for one in await response.json()] == [location.rpartition("/")[2]]
    async with broker.client.delete(location, headers=headers) as response:
        assert response.status == 204
