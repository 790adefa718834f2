"""Schemas over HTTP: an OffStreetParking that breaks its data model is refused, reported, or not looked at."""

from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from broker.local import LocalBroker
from tests.conftest import RunningBroker
from tests.integration.api import BATCH, ENTITIES, new_id, set_policy
from tests.problems import assert_problem, assert_problem_body

BROKER_SETTINGS = {"validation_default": "warn"}
MODEL = "https://smartdatamodels.org/dataModel.Parking/"
STRICT, LAX = {"NGSILD-Tenant": "strict"}, {"NGSILD-Tenant": "lax"}


def car_park(**attributes: Any) -> dict[str, Any]:
    """A car park that keeps every rule, but for `attributes`, which are given by their names in the data model."""
    entity = {
        "id": new_id("OffStreetParking"),
        "type": MODEL + "OffStreetParking",
        "location": {"type": "Point", "coordinates": [8.8, 53.1]},
        MODEL + "totalSpotNumber": 200,
        MODEL + "availableSpotNumber": 20,
    }
    return entity | {MODEL + name: value for name, value in attributes.items()}


@pytest.fixture(autouse=True)
async def policies(broker: RunningBroker) -> None:
    """One tenant where rules are enforced, one where nobody looks."""
    await set_policy(broker.client, "OffStreetParking", "enforce", "strict")
    await set_policy(broker.client, "OffStreetParking", "off", "lax")


async def report(client: aiohttp.ClientSession, tenant: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The entries of /datamodels/violations for a tenant, by attribute and rule."""
    async with client.get("/datamodels/violations") as response:
        assert response.status == 200
        entries = await response.json()
    return {(one["attribute"], one["rule"]): one for one in entries if one["tenant"] == tenant}


async def test_enforced_a_violation_is_refused_with_every_finding(broker: RunningBroker) -> None:
    entity = car_park(availableSpotNumber=-3, occupancy="half")
    async with broker.client.post(ENTITIES, json=entity, headers=STRICT) as response:
        body = await assert_problem(response, 400, "BadRequestData")
    assert {one["pointer"] for one in body["errors"]} == {"/availableSpotNumber", "/occupancy"}
    for finding in body["errors"]:
        assert {"pointer", "detail", "found", "expected", "schema"} <= set(finding)
        assert "schema.json#" in finding["schema"]
    async with broker.client.get(f"{ENTITIES}/{entity['id']}", headers=STRICT) as response:
        assert response.status == 404
    counted = await report(broker.client, "strict")
    assert {entry["policy"] for entry in counted.values()} == {"enforce"}
    assert counted["occupancy", "type"]["sample"]["entity"] == entity["id"]


async def test_enforced_the_entity_is_checked_as_it_would_be_after_the_change(broker: RunningBroker) -> None:
    entity = car_park()
    async with broker.client.post(ENTITIES, json=entity, headers=STRICT) as response:
        assert response.status == 201, await response.text()
    path = f"{ENTITIES}/{entity['id']}/attrs"
    async with broker.client.patch(path, json={MODEL + "availableSpotNumber": 201}, headers=STRICT) as response:
        body = await assert_problem(response, 400, "BadRequestData")
        assert body["errors"][0]["pointer"] == "/availableSpotNumber"
    both = {MODEL + "availableSpotNumber": 201, MODEL + "totalSpotNumber": 300}
    async with broker.client.patch(path, json=both, headers=STRICT) as response:
        assert response.status == 204
    async with broker.client.delete(f"{path}/location", headers=STRICT) as response:
        await assert_problem(response, 400, "BadRequestData")  # the model requires a location
    async with broker.client.delete(f"{ENTITIES}/{entity['id']}", headers=STRICT) as response:
        assert response.status == 204  # an entity that goes breaks no rule


async def test_enforced_a_batch_refuses_only_the_entities_that_break_a_rule(broker: RunningBroker) -> None:
    good, bad = car_park(), car_park(totalSpotNumber="many")
    async with broker.client.post(f"{BATCH}/upsert", json=[good, bad], headers=STRICT) as response:
        assert response.status == 207
        result = await response.json()
    assert result["success"] == [good["id"]]
    (error,) = result["errors"]
    assert error["entityId"] == bad["id"]
    assert_problem_body(error["error"], 400, "BadRequestData")


async def test_warned_a_violation_is_kept_and_reported(broker: RunningBroker) -> None:
    entity = car_park(availableSpotNumber=212)
    async with broker.client.post(ENTITIES, json=entity) as response:
        assert response.status == 201
    entry = (await report(broker.client, ""))["availableSpotNumber", "x-vela-compare"]
    assert (entry["type"], entry["sample"]["entity"]) == ("OffStreetParking", entity["id"])
    assert "212" in entry["sample"]["detail"]
    assert entry["first"] <= entry["last"]
    path = f"{ENTITIES}/{entity['id']}/attrs"
    async with broker.client.patch(path, json={MODEL + "occupancy": 0.5}) as response:
        assert response.status == 204
    counted = (await report(broker.client, ""))["availableSpotNumber", "x-vela-compare"]["count"]
    assert counted == entry["count"]  # an update of something else does not count the old violation again
    async with broker.client.get("/metrics") as response:
        metrics = await response.text()
    labels = 'attribute="availableSpotNumber",policy="warn",rule="x-vela-compare",type="OffStreetParking"'
    assert f"vela_schema_violations_total{{{labels}}}" in metrics


async def test_off_nothing_is_looked_at(broker: RunningBroker) -> None:
    async with broker.client.post(ENTITIES, json=car_park(availableSpotNumber=-3), headers=LAX) as response:
        assert response.status == 201
    assert await report(broker.client, "lax") == {}


async def test_other_types_are_free(broker: RunningBroker) -> None:
    entity = {"id": new_id(), "type": "OffStreetParking", MODEL + "availableSpotNumber": "any"}
    async with broker.client.post(ENTITIES, json=entity, headers=STRICT) as response:
        assert response.status == 201  # the short name without an @context is another type


@pytest.mark.parametrize(("policy", "status"), [("enforce", 400), ("warn", 201), ("off", 201)])
async def test_the_default_policy_is_a_setting(
    start_broker: Callable[..., LocalBroker], policy: str, status: int
) -> None:
    local = start_broker(validation_default=policy)
    async with aiohttp.ClientSession(base_url=local.url) as client:
        async with client.post(ENTITIES, json=car_park(availableSpotNumber=-3)) as response:
            assert response.status == status
        assert {entry["policy"] for entry in (await report(client, "")).values()} == {policy} - {"off"}
    local.stop()
