"""Snapshots over HTTP (clauses 5.5.15, 5.16, 6.3.22)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymongo import MongoClient

from tests.conftest import RunningBroker
from tests.integration.api import BATCH, DEFAULT, ENTITIES, SUBSCRIPTIONS, V1, until
from tests.integration.servers import Receiver, serving
from tests.problems import assert_problem

SNAPSHOTS = f"{V1}/snapshots"
HEADER = "NGSILD-Snapshot"
BROKER_SETTINGS = {"snapshots_max": 4, "snapshot_lifetime": 3_600.0, "snapshot_lifetime_max": 7_200.0}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    server = Receiver()
    async with serving(server):
        yield server


@pytest.fixture
async def headers(broker: RunningBroker, tenant: str) -> dict[str, str]:
    """A tenant of this test alone, with entities of two types."""
    headers = {"NGSILD-Tenant": tenant}
    cars = [
        {
            "id": f"urn:ngsi-ld:Car:{number}",
            "type": "Car",
            "scope": "/Fleet",
            "speed": [
                {"type": "Property", "value": number * 10},
                {"type": "Property", "value": number * 11, "datasetId": "urn:gps"},
            ],
            "place": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [number, number]}},
        }
        for number in range(5)
    ]
    bikes = [{"id": "urn:ngsi-ld:Bike:1", "type": "Bike", "gears": {"type": "Property", "value": 7}}]
    async with broker.client.post(f"{BATCH}/create", json=[*cars, *bikes], headers=headers) as response:
        assert response.status == 201, await response.text()
    return headers


def selecting(kind: str, **members: Any) -> dict[str, Any]:
    return {"type": "Query", "entities": [{"type": kind}], **members}


async def make(broker: RunningBroker, headers: dict[str, str], *queries: dict[str, Any], **members: Any) -> str:
    """The path of a new snapshot that is complete."""
    body = {"type": "Snapshot", "snapshotQueries": list(queries), **members}
    async with broker.client.post(SNAPSHOTS, json=body, headers=headers) as response:
        assert response.status == 201, await response.text()
        path = response.headers["Location"]
    await complete(broker, headers, path)
    return path


async def complete(broker: RunningBroker, headers: dict[str, str], path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def done() -> bool:
        found.update(await status(broker, headers, path))
        return bool(found["snapshotStatus"] != "preparing")

    await until(done)
    return found


async def status(broker: RunningBroker, headers: dict[str, str], path: str) -> dict[str, Any]:
    async with broker.client.get(path, headers=headers) as response:
        assert response.status == 200, await response.text()
        body: dict[str, Any] = await response.json()
        return body


def inside(headers: dict[str, str], path: str) -> dict[str, str]:
    return {**headers, HEADER: path.rpartition("/")[2]}


async def ids(broker: RunningBroker, headers: dict[str, str], **parameters: str) -> list[str]:
    return [entity["id"] for entity in await entities(broker, headers, **parameters)]


async def entities(broker: RunningBroker, headers: dict[str, str], **parameters: str) -> list[Any]:
    async with broker.client.get(ENTITIES, params=parameters or {"local": "true"}, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers.get(HEADER) == headers.get(HEADER)
        found: list[Any] = await response.json()
        return found


async def test_a_snapshot_holds_what_its_queries_selected_when_it_was_made(
    broker: RunningBroker, headers: dict[str, str]
) -> None:
    path = await make(broker, headers, selecting("Car", q="speed>=30"), selecting("Bike"))
    async with broker.client.delete(f"{ENTITIES}/urn:ngsi-ld:Car:4", headers=headers) as response:
        assert response.status == 204
    change = {"speed": {"type": "Property", "value": 99}}
    async with broker.client.patch(f"{ENTITIES}/urn:ngsi-ld:Car:3/attrs", json=change, headers=headers) as response:
        assert response.status == 204
    there = inside(headers, path)
    assert await ids(broker, there) == ["urn:ngsi-ld:Bike:1", "urn:ngsi-ld:Car:3", "urn:ngsi-ld:Car:4"]
    assert await ids(broker, there, type="Car", q="speed==99") == []
    shown = await status(broker, headers, path)
    assert shown["snapshotStatus"] == "success"
    assert shown["snapshotQueriesDetails"] == [{"resultStatus": "success"}] * 2
    assert shown["snapshotQueries"] == [selecting("Car", q="speed>=30"), selecting("Bike")]


async def test_what_a_snapshot_holds_is_equal_to_the_original(broker: RunningBroker, headers: dict[str, str]) -> None:
    original = await entities(broker, headers, type="Car", options="sysAttrs")
    path = await make(broker, headers, selecting("Car"))
    assert await entities(broker, inside(headers, path), type="Car", options="sysAttrs") == original


async def test_writing_in_a_snapshot_leaves_the_original_alone(broker: RunningBroker, headers: dict[str, str]) -> None:
    path = await make(broker, headers, selecting("Car"))
    there, car = inside(headers, path), f"{ENTITIES}/urn:ngsi-ld:Car:1"
    async with broker.client.patch(
        f"{car}/attrs", json={"speed": {"type": "Property", "value": 1}}, headers=there
    ) as response:
        assert response.status == 204
        assert response.headers[HEADER] == there[HEADER]
    async with broker.client.post(ENTITIES, json={"id": "urn:a:new", "type": "Car"}, headers=there) as response:
        assert response.status == 201
    async with broker.client.delete(f"{ENTITIES}/urn:ngsi-ld:Car:2", headers=there) as response:
        assert response.status == 204
    assert len(await ids(broker, headers, type="Car")) == 5
    assert len(await ids(broker, there, type="Car")) == 5
    assert await ids(broker, there, type="Car", q="speed==1") == ["urn:ngsi-ld:Car:1"]
    assert await ids(broker, headers, type="Car", q="speed==1") == []
    async with broker.client.get(car, headers=headers) as response:
        assert (await response.json())["speed"][0]["value"] == 10


async def test_a_query_can_keep_a_part_of_its_entities_and_several_add_up(
    broker: RunningBroker, headers: dict[str, str]
) -> None:
    path = await make(
        broker,
        headers,
        selecting("Car", q="speed>=30", pick=["id", "type", "place"]),
        selecting("Car", q="speed>=40", attrs=["speed"], datasetId=["urn:gps"]),
        selecting("Bike", omit=["gears"]),
    )
    bike, third, fourth = await entities(broker, inside(headers, path))
    assert set(bike) == {"id", "type"}
    assert set(third) == {"id", "type", "place"}
    assert set(fourth) == {"id", "type", "scope", "place", "speed"}
    assert fourth["speed"]["datasetId"] == "urn:gps"
    path = await make(
        broker, headers, selecting("Car", pick=["speed"], datasetId=["@none"]), selecting("Car", datasetId=["urn:gps"])
    )
    kept = await entities(broker, inside(headers, path), type="Car", q="speed==44")
    assert sorted(one["value"] for one in kept[0]["speed"]) == [40, 44]


async def test_queries_that_mongodb_cannot_decide_alone_are_decided(
    broker: RunningBroker, headers: dict[str, str]
) -> None:
    area: dict[str, Any] = {
        "georel": "near;maxDistance==160000",
        "geometry": "LineString",
        "coordinates": [[0, 0], [1, 1]],
        "geoproperty": "place",
    }
    path = await make(broker, headers, selecting("Car", geoQ=area))
    assert await ids(broker, inside(headers, path)) == await ids(
        broker,
        headers,
        type="Car",
        georel=area["georel"],
        geometry="LineString",
        coordinates="[[0,0],[1,1]]",
        geoproperty="place",
    )
    assert await ids(broker, inside(headers, path)) == [f"urn:ngsi-ld:Car:{number}" for number in range(3)]


async def test_an_empty_and_a_failed_query_show_in_the_status(broker: RunningBroker, headers: dict[str, str]) -> None:
    path = await make(broker, headers, selecting("Car"), selecting("Nothing"))
    assert (await status(broker, headers, path))["snapshotStatus"] == "partial"
    path = await make(broker, headers, selecting("Nothing"))
    shown = await status(broker, headers, path)
    assert (shown["snapshotStatus"], shown["snapshotQueriesDetails"]) == ("empty", [{"resultStatus": "empty"}])
    assert await ids(broker, inside(headers, path)) == []


async def test_the_types_of_a_snapshot_are_discovered(broker: RunningBroker, headers: dict[str, str]) -> None:
    path = await make(broker, headers, selecting("Car", q="speed>=30"))
    there = inside(headers, path)
    async with broker.client.get(f"{V1}/types", headers=there) as response:
        assert (await response.json())["typeList"] == ["Car"]
    async with broker.client.get(f"{V1}/types/Car", headers=there) as response:
        assert (await response.json())["entityCount"] == 2
    async with broker.client.delete(f"{ENTITIES}/urn:ngsi-ld:Car:3", headers=there) as response:
        assert response.status == 204

    async def counted() -> bool:
        async with broker.client.get(f"{V1}/types/Car", headers=there) as response:
            return bool((await response.json())["entityCount"] == 1)

    await until(counted)


async def test_a_subscription_on_a_snapshot_tells_of_it_alone(
    broker: RunningBroker, headers: dict[str, str], receiver: Receiver
) -> None:
    there = inside(headers, await make(broker, headers, selecting("Car")))
    subscription = {
        "type": "Subscription",
        "entities": [{"type": "Car"}],
        "notification": {"endpoint": {"uri": f"{receiver.url}/in"}},
    }
    async with broker.client.post(SUBSCRIPTIONS, json=subscription, headers=there) as response:
        assert response.status == 201, await response.text()
    async with broker.client.get(SUBSCRIPTIONS, headers=headers) as response:
        assert await response.json() == []
    for where, value in ((headers, 1), (there, 2)):
        change = {"speed": {"type": "Property", "value": value}}
        async with broker.client.patch(f"{ENTITIES}/urn:ngsi-ld:Car:1/attrs", json=change, headers=where) as response:
            assert response.status == 204
    (notification,) = await receiver.wait(1, "/in")
    assert notification.headers[HEADER] == there[HEADER]
    assert notification.headers["NGSILD-Tenant"] == headers["NGSILD-Tenant"]
    assert 2 in [one["value"] for one in notification.body["data"][0]["speed"]]


async def test_a_clone_is_independent_of_its_original(broker: RunningBroker, headers: dict[str, str]) -> None:
    path = await make(broker, headers, selecting("Car"))
    async with broker.client.delete(f"{ENTITIES}/urn:ngsi-ld:Car:1", headers=inside(headers, path)) as response:
        assert response.status == 204
    clone = {"type": "Snapshot", "id": "urn:ngsi-ld:Snapshot:clone", "snapshotPriority": 9}
    async with broker.client.post(f"{path}/clone", json=clone, headers=headers) as response:
        assert response.status == 201, await response.text()
        cloned = response.headers["Location"]
    shown = await complete(broker, headers, cloned)
    assert (shown["snapshotStatus"], shown["snapshotPriority"]) == ("success", 9)
    async with broker.client.delete(path, headers=headers) as response:
        assert response.status == 204
    assert await ids(broker, inside(headers, cloned)) == [f"urn:ngsi-ld:Car:{number}" for number in (0, 2, 3, 4)]
    async with broker.client.post(f"{cloned}/clone", json=clone, headers=headers) as response:
        await assert_problem(response, 409, "AlreadyExists")
    async with broker.client.post(f"{path}/clone", json={"type": "Snapshot"}, headers=headers) as response:
        await assert_problem(response, 404, "ResourceNotFound")


async def test_a_deleted_snapshot_is_gone_with_its_database(
    broker: RunningBroker, headers: dict[str, str], mongo_uri: str
) -> None:
    client: MongoClient[dict[str, Any]]
    with MongoClient(mongo_uri) as client:

        def databases() -> set[str]:
            return {name for name in client.list_database_names() if name.startswith(f"{broker.database}+s")}

        before = databases()
        path = await make(broker, headers, selecting("Car"))
        assert len(databases() - before) == 1
        async with broker.client.delete(path, headers=headers) as response:
            assert response.status == 204
        assert databases() == before
    async with broker.client.get(path, headers=headers) as response:
        await assert_problem(response, 404, "ResourceNotFound")
    async with broker.client.get(ENTITIES, params={"type": "Car"}, headers=inside(headers, path)) as response:
        await assert_problem(response, 404, "ResourceNotFound")
        assert response.headers[HEADER] == path.rpartition("/")[2]


async def test_a_snapshot_of_the_same_id_shows_nothing_of_the_one_before(
    broker: RunningBroker, headers: dict[str, str]
) -> None:
    named = {"id": "urn:ngsi-ld:Snapshot:again"}
    path = await make(broker, headers, selecting("Car"), **named)
    async with broker.client.post(
        SNAPSHOTS, json={"type": "Snapshot", "snapshotQueries": [selecting("Car")], **named}, headers=headers
    ) as response:
        await assert_problem(response, 409, "AlreadyExists")
    assert len(await ids(broker, inside(headers, path))) == 5
    async with broker.client.delete(path, headers=headers) as response:
        assert response.status == 204
    assert await make(broker, headers, selecting("Bike"), **named) == path
    assert await ids(broker, inside(headers, path)) == ["urn:ngsi-ld:Bike:1"]


async def test_an_update_changes_priority_and_lifetime_within_bounds(
    broker: RunningBroker, headers: dict[str, str]
) -> None:
    path = await make(broker, headers, selecting("Car"))
    before = await status(broker, headers, path)
    change = {"snapshotPriority": 2, "snapshotLifetime": "P10Y", "snapshotStatus": "failure"}
    async with broker.client.patch(path, json=change, headers=headers) as response:
        assert response.status == 200, await response.text()
        after = await response.json()
    assert after == await status(broker, headers, path)
    assert (after["snapshotPriority"], after["snapshotStatus"]) == (2, "success")
    assert after["expiresAt"] > before["expiresAt"]
    assert after["expiresAt"][:4] == before["expiresAt"][:4] or before["expiresAt"][5:7] == "12"
    assert after["modifiedAt"] > before["modifiedAt"]
    assert after["createdAt"] == before["createdAt"]


async def test_a_snapshot_expires(broker: RunningBroker, headers: dict[str, str]) -> None:
    path = await make(broker, headers, selecting("Car"))
    async with broker.client.patch(path, json={"snapshotLifetime": "PT0.01S"}, headers=headers) as response:
        assert response.status == 200

    async def gone() -> bool:
        async with broker.client.get(path, headers=headers) as response:
            return response.status == 404

    await until(gone)


async def test_use_shows_in_the_status(broker: RunningBroker, headers: dict[str, str]) -> None:
    path = await make(broker, headers, selecting("Car"))
    before = await status(broker, headers, path)
    assert before["lastUsedAt"] == before["createdAt"]
    await ids(broker, inside(headers, path))
    assert (await status(broker, headers, path))["lastUsedAt"] > before["lastUsedAt"]


async def test_whoever_wants_to_know_is_told_of_the_status_and_of_the_end(
    broker: RunningBroker, headers: dict[str, str], receiver: Receiver
) -> None:
    told = {"endpoint": f"{receiver.url}/told", "receiverInfo": [{"key": "X-Key", "value": "k"}]}
    path = await make(broker, headers, selecting("Car"), **told)
    (first,) = await receiver.wait(1, "/told")
    assert first.headers["X-Key"] == "k"
    assert first.headers["NGSILD-Tenant"] == headers["NGSILD-Tenant"]
    assert first.body["type"] == "SnapshotNotification"
    assert first.body["snapshotId"] == path.rpartition("/")[2]
    assert (first.body["snapshotStatus"], first.body["snapshotPriority"]) == ("success", 5)
    assert first.body["snapshotQueriesDetails"] == [{"resultStatus": "success"}]
    assert first.body["expiresAt"] > first.body["notifiedAt"]
    async with broker.client.patch(path, json={"snapshotPriority": 3}, headers=headers) as response:
        assert response.status == 200
    async with broker.client.delete(path, headers=headers) as response:
        assert response.status == 204
    count, bodies = 3, [one.body for one in await receiver.wait(3, "/told")]
    while not any(body["expiresAt"] < body["notifiedAt"] for body in bodies):  # one may come twice under load
        count += 1
        bodies = [one.body for one in await receiver.wait(count, "/told")]
    assert any(body["snapshotPriority"] == 3 for body in bodies)
    assert len({body["id"] for body in bodies}) == 3


async def test_a_purge_deletes_the_snapshots_that_meet_its_query(
    broker: RunningBroker, headers: dict[str, str]
) -> None:
    kept = await make(broker, headers, selecting("Car"), snapshotPriority=8)
    purged = await make(broker, headers, selecting("Car"), snapshotPriority=2)
    for q, expected in (("snapshotPriority<5", 204), ("snapshotPriority<5", 404), ("speed>5", 400), ("(", 400)):
        async with broker.client.delete(SNAPSHOTS, params={"q": q}, headers=headers) as response:
            assert response.status == expected, await response.text()
    async with broker.client.delete(SNAPSHOTS, headers=headers) as response:
        await assert_problem(response, 400, "BadRequestData")
    assert (await status(broker, headers, kept))["snapshotPriority"] == 8
    async with broker.client.get(purged, headers=headers) as response:
        await assert_problem(response, 404, "ResourceNotFound")


async def test_the_least_important_snapshot_makes_room(broker: RunningBroker, headers: dict[str, str]) -> None:
    paths = [await make(broker, headers, selecting("Bike"), snapshotPriority=priority) for priority in (7, 6, 8, 7)]
    new = {"type": "Snapshot", "snapshotQueries": [selecting("Bike")]}
    async with broker.client.post(SNAPSHOTS, json={**new, "snapshotPriority": 5}, headers=headers) as response:
        await assert_problem(response, 503, "InternalError")
    await ids(broker, inside(headers, paths[0]))
    await make(broker, headers, selecting("Bike"), snapshotPriority=7)
    for path, expected in zip(paths, (200, 404, 200, 200), strict=True):
        async with broker.client.get(path, headers=headers) as response:
            assert response.status == expected


@pytest.mark.parametrize(
    ("queries", "status", "pointer"),
    [
        ([{"type": "Query"}], 400, "/snapshotQueries/0"),
        ([{"entities": [{"type": "Car"}]}], 400, "/snapshotQueries/0/type"),
        ([selecting("Car"), selecting("Car", q="a==")], 400, "/snapshotQueries/1/q"),
        ([selecting("Car", speed=1)], 400, "/snapshotQueries/0/speed"),
        ([selecting("Car", omit=["id"])], 400, "/snapshotQueries/0/omit"),
        ([selecting("Car", lang="de")], 501, "/snapshotQueries/0/lang"),
        ([selecting("Car", join="flat")], 501, "/snapshotQueries/0/join"),
    ],
)
async def test_a_snapshot_with_a_query_that_cannot_be_executed_is_refused(
    broker: RunningBroker, headers: dict[str, str], queries: list[Any], status: int, pointer: str
) -> None:
    body = {"type": "Snapshot", "snapshotQueries": queries}
    async with broker.client.post(SNAPSHOTS, json=body, headers=headers) as response:
        problem = await assert_problem(response, status, "BadRequestData" if status == 400 else "OperationNotSupported")
        assert problem["errors"][0]["pointer"] == pointer


async def test_a_snapshot_belongs_to_its_tenant(broker: RunningBroker, headers: dict[str, str]) -> None:
    path = await make(broker, headers, selecting("Car"))
    for request in ((path, {}), (f"{ENTITIES}?type=Car", {HEADER: path.rpartition("/")[2]})):
        async with broker.client.get(request[0], headers=request[1]) as response:
            await assert_problem(response, 404, "ResourceNotFound")
    async with broker.client.get(path, headers={"NGSILD-Tenant": "nowhere"}) as response:
        await assert_problem(response, 404, "NonexistentTenant")


async def test_an_operation_that_is_none_on_a_snapshot_is_refused(
    broker: RunningBroker, headers: dict[str, str]
) -> None:
    there = inside(headers, await make(broker, headers, selecting("Car")))
    for path in (SNAPSHOTS + "/urn:a:b", f"{V1}/jsonldContexts"):
        async with broker.client.get(path, headers=there) as response:
            await assert_problem(response, 400, "BadRequestData")
    async with broker.client.get(f"{ENTITIES}?type=Car", headers={**headers, HEADER: "no uri"}) as response:
        await assert_problem(response, 400, "BadRequestData")


async def test_names_are_read_with_the_context_of_the_snapshot(broker: RunningBroker, headers: dict[str, str]) -> None:
    body = {
        "@context": {"Wagen": f"{DEFAULT}Car", "tempo": f"{DEFAULT}speed"},
        "type": "Snapshot",
        "snapshotQueries": [selecting("Wagen", q="tempo>=40", pick=["tempo"])],
    }
    there = {**headers, "Content-Type": "application/ld+json"}
    async with broker.client.post(SNAPSHOTS, json=body, headers=there) as response:
        assert response.status == 201, await response.text()
        path = response.headers["Location"]
    await complete(broker, headers, path)
    (car,) = await entities(broker, inside(headers, path))
    assert set(car) == {"id", "type", "speed"}


async def test_an_entity_map_can_be_made_in_a_snapshot(broker: RunningBroker, headers: dict[str, str]) -> None:
    there = inside(headers, await make(broker, headers, selecting("Car", q="speed>=30")))
    async with broker.client.get(ENTITIES, params={"type": "Car", "entityMap": "true"}, headers=there) as response:
        assert response.status == 201
        location = response.headers["NGSILD-EntityMap"]
    async with broker.client.get(location, headers=there) as response:
        assert len((await response.json())["entityMap"]) == 2
    async with broker.client.get(location, headers=headers) as response:
        await assert_problem(response, 404, "ResourceNotFound")
