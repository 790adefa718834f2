"""Purge Entities (clauses 6.4.3.3, 5.6.21): what it deletes, what it spares, what it refuses, and its races."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from broker.core.purge import Purges, Reduction
from broker.core.queries import EntityQuery
from broker.ngsild.changes import Change
from broker.ngsild.errors import BadRequestData, Unavailable
from broker.ngsild.query.types import parse_types
from broker.storage.client import Mongo
from broker.storage.entities import Writes
from tests.conftest import RunningBroker
from tests.integration.api import BATCH, DEFAULT, ENTITIES, new_id, set_policy
from tests.integration.committing import Node, create, entity_id, update
from tests.problems import assert_problem
from tests.unit.ngsild.samples import core, key
from tests.unit.query.core_names import read_q

MODEL = "https://smartdatamodels.org/dataModel.Parking/"


def thing(letter: str, kind: Any, lon: float = 10.0, **members: Any) -> dict[str, Any]:
    return {
        "id": f"urn:ngsi-ld:{letter}", "type": kind, "location": {"type": "Point", "coordinates": [lon, 52]}, **members,
    }  # fmt: skip


TOWN = [
    thing("a", "Car", speed=50, brand="Audi", scope="/town/north"),
    thing("b", "Car", 11.0, speed=[{"value": 10}, {"value": 90, "datasetId": "urn:d:1"}], scope="/town/south"),
    thing("c", ["Car", "Taxi"], 12.0, seats=4),
    thing("d", "Bus", speed=90, seats=80),
]


class Town:
    """The town in a tenant of its own."""

    def __init__(self, broker: RunningBroker, tenant: str) -> None:
        self._client = broker.client
        self._headers = {"NGSILD-Tenant": tenant}

    async def build(self) -> None:
        async with self._client.post(f"{BATCH}/create", json=TOWN, headers=self._headers) as response:
            assert response.status == 201, await response.text()

    async def purge(self, parameters: dict[str, str], status: int = 204) -> Any:
        async with self._client.delete(ENTITIES, params=parameters, headers=self._headers) as response:
            text = await response.text()
            assert response.status == status, f"{response.status} {text}"
            return await response.json() if text else None

    async def left(self) -> dict[str, Any]:
        parameters = {"local": "true", "options": "keyValues"}
        async with self._client.get(ENTITIES, params=parameters, headers=self._headers) as response:
            return {entity["id"][-1]: entity for entity in await response.json()}


@pytest.fixture
async def town(broker: RunningBroker, tenant: str) -> Town:
    built = Town(broker, tenant)
    await built.build()
    return built


@pytest.mark.parametrize(
    ("parameters", "left"),
    [
        ({"type": "Car"}, "d"),
        ({"type": "(Car;Taxi)|Bus"}, "ab"),
        ({"type": "*"}, ""),
        ({"type": "*", "local": "true"}, ""),
        ({"local": "true"}, ""),
        ({"local": "true", "id": "urn:ngsi-ld:a,urn:ngsi-ld:zz"}, "bcd"),
        ({"type": "Car", "id": "urn:ngsi-ld:a,urn:ngsi-ld:d"}, "bcd"),
        ({"type": "Car", "idPattern": "[ab]$"}, "cd"),
        ({"q": "speed>=50"}, "c"),
        ({"q": "speed>=50", "type": "Car"}, "cd"),
        ({"attrs": "seats"}, "ab"),
        ({"attrs": "seats,brand"}, "b"),
        ({"type": "Car", "scopeQ": "/town/north"}, "bcd"),
        ({"georel": "near;maxDistance==1000", "geometry": "Point", "coordinates": "[10,52]"}, "bc"),
        (
            {"georel": "near;maxDistance==1000", "geometry": "LineString", "coordinates": "[[10,52],[10.01,52]]"},
            "bc",
        ),
        ({"type": "Boat"}, "abcd"),
        ({"type": "Car", "csf": "region==1", "geometryProperty": "location"}, "d"),
        ({"type": DEFAULT + "Bus"}, "abc"),
    ],
)
async def test_a_purge_deletes_what_its_query_selects(town: Town, parameters: dict[str, str], left: str) -> None:
    assert await town.purge(parameters) is None
    assert "".join(await town.left()) == left


@pytest.mark.parametrize(
    ("parameters", "members"),
    [
        ({"drop": "speed"}, {"id", "type", "location", "brand", "scope"}),
        ({"drop": "speed|brand,missing"}, {"id", "type", "location", "scope"}),
        ({"drop": "scope"}, {"id", "type", "location", "speed", "brand"}),
        ({"keep": "speed"}, {"id", "type", "scope", "speed"}),
        ({"keep": "id,type,scope,brand"}, {"id", "type", "scope", "brand"}),
        ({"keep": "missing"}, {"id", "type", "scope"}),
    ],
)
async def test_keep_and_drop_take_attributes_and_leave_entities(
    town: Town, parameters: dict[str, str], members: set[str]
) -> None:
    before = await town.left()
    await town.purge({"q": "speed==50", **parameters})
    after = await town.left()
    assert set(after["a"]) == members
    assert {letter: after[letter] for letter in "bcd"} == {letter: before[letter] for letter in "bcd"}


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({}, "too wide"),
        ({"id": "urn:ngsi-ld:a"}, "too wide"),
        ({"idPattern": ".*"}, "too wide"),
        ({"scopeQ": "/town/#"}, "too wide"),
        ({"keep": "speed"}, "too wide"),
        ({"attrs": "createdAt"}, "too wide"),
        ({"q": "modifiedAt>2020-01-01T00:00:00Z"}, "too wide"),
        ({"local": "false"}, "too wide"),
        ({"type": "*", "local": "false"}, "local=false"),
        ({"type": "Car", "id": "no-uri"}, "id"),
        ({"type": "Car", "keep": "a", "drop": "b"}, "exclude each other"),
        ({"type": "Car", "drop": "id"}, "id"),
        ({"type": "Car", "q": "speed=="}, "q is invalid"),
        ({"type": "Car", "csf": "a=="}, "q is invalid"),
        ({"type": "Car", "q": 'owner{name}=="x"'}, "linked"),
        ({"type": "Car", "attrs": "owner{name}"}, "linked"),
        ({"type": "Car", "keep": "owner{name}"}, "linked"),
        ({"type": "Car", "drop": "owner{name}"}, "linked"),
        ({"type": "Car", "georel": "within"}, "geometry"),
    ],
)
async def test_a_purge_that_is_wrong_deletes_nothing(town: Town, parameters: dict[str, str], text: str) -> None:
    body = await town.purge(parameters, 400)
    assert body["type"].endswith("/BadRequestData")
    assert text in body["detail"]
    assert "".join(await town.left()) == "abcd"


async def test_unknown_parameters_and_tenants_are_refused(broker: RunningBroker, town: Town, tenant: str) -> None:
    async with broker.client.delete(ENTITIES, params={"type": "Car", "join": "inline"}) as response:
        await assert_problem(response, 400, "InvalidRequest")
    headers = {"NGSILD-Tenant": f"{tenant}x"}
    async with broker.client.delete(ENTITIES, params={"type": "Car"}, headers=headers) as response:
        await assert_problem(response, 404, "NonexistentTenant")


async def test_entities_that_must_not_be_reduced_are_reported_beside_the_others(
    broker: RunningBroker, tenant: str
) -> None:
    headers = {"NGSILD-Tenant": tenant}
    await set_policy(broker.client, "OffStreetParking", "enforce", tenant)
    park = {
        "id": new_id("OffStreetParking"), "type": MODEL + "OffStreetParking",
        "location": {"type": "Point", "coordinates": [8.8, 53.1]}, MODEL + "totalSpotNumber": 200,
    }  # fmt: skip
    other = {"id": new_id(), "type": "Car", "location": {"type": "Point", "coordinates": [8.8, 53.1]}}
    async with broker.client.post(f"{BATCH}/create", json=[park, other], headers=headers) as response:
        assert response.status == 201, await response.text()
    async with broker.client.delete(
        ENTITIES, params={"local": "true", "drop": "location"}, headers=headers
    ) as response:
        assert response.status == 207, await response.text()
        body = await response.json()
    assert body["success"] == [other["id"]]
    (error,) = body["errors"]
    assert (error["entityId"], error["error"]["status"]) == (park["id"], 400)
    async with broker.client.get(f"{ENTITIES}/{park['id']}", headers=headers) as response:
        assert "location" in await response.json()


# Races, pages, failures: over a committer of the test's own


@pytest.fixture
async def mongo(mongo_uri: str, database_name: str) -> AsyncIterator[Mongo]:
    connected = await Mongo.connect(mongo_uri, database=f"{database_name}-purge")
    yield connected
    await connected.client.drop_database(connected.name)
    await connected.close()


@pytest.fixture
async def node(mongo: Mongo) -> Node:
    return await Node(mongo).start()


def purges(node: Node) -> Purges:
    return Purges(node.committer, node.store)


def where(text: str) -> EntityQuery:
    return EntityQuery(q=read_q(text))


def refuse(_change: Change) -> None:
    raise BadRequestData("This is forbidden.")


THINGS = EntityQuery(types=parse_types("Thing").expand(core()))


async def test_a_purge_of_many_goes_page_by_page_and_notifies_each(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.core.purge._PAGE", 10)
    await node.run(*(create(number, n=number) for number in range(45)))
    node.recorder.changes.clear()
    node.store.writes.clear()
    result = await purges(node).purge("", where("n>=5"))
    assert sorted(result.success) == sorted(entity_id(number) for number in range(5, 45))
    assert max(len(writes.deleted) for writes in node.store.writes) <= 10
    assert len(node.recorder.changes) == 40
    node.recorder.assert_all_released()
    assert len(await node.store.load("", [entity_id(number) for number in range(45)])) == 5


async def test_an_entity_that_changes_during_the_purge_and_matches_no_longer_stays(node: Node, mongo: Mongo) -> None:
    other = await Node(mongo, "p2").start()
    await node.run(*(create(number, n=1) for number in range(3)))

    async def change(_writes: Writes) -> None:
        await other.run(update(1, n=2), update(2, m=1))

    node.store.interfere = change
    result = await purges(node).purge("", where("n==1"))
    assert sorted(result.success) == [entity_id(0), entity_id(2)]
    left = await node.store.load("", [entity_id(number) for number in range(3)])
    assert left.keys() == {entity_id(1)}
    node.recorder.assert_all_released()


async def test_updates_at_the_same_time_are_neither_lost_nor_undone(node: Node) -> None:
    await node.run(*(create(number, n=1, m=1) for number in range(100)))
    result, *_ = await asyncio.gather(
        purges(node).purge("", THINGS, Reduction(drop=frozenset({key("n")}))),
        *(node.run(update(number, m=2)) for number in range(100)),
    )
    assert len(result.success) == 100
    for entity in (await node.store.load("", [entity_id(number) for number in range(100)])).values():
        assert entity["attributes"].keys() == {key("m")}
        assert entity["attributes"][key("m")][0]["value"] == 2


async def test_a_stale_cache_neither_spares_nor_costs_an_entity(node: Node, mongo: Mongo) -> None:
    other = await Node(mongo, "p2").start()
    await node.run(create(1, n=1), create(2, n=2))
    await other.run(update(1, n=2), update(2, n=1))
    assert (await purges(node).purge("", where("n==1"))).success == [entity_id(2)]
    assert (await node.store.load("", [entity_id(1), entity_id(2)])).keys() == {entity_id(1)}


async def test_an_expired_attribute_selects_nothing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"type": "Property", "value": 1, "expiresAt": "2090-01-01T00:00:00Z"}
    await node.run(create(1, n=short), create(2, n=1), create(3, n=short, m=1))
    for module in ("commit.group", "core.purge"):
        monkeypatch.setattr(f"broker.{module}.now_text", lambda: "2090-01-01T00:00:00.000001Z")
    assert (await purges(node).purge("", where("n==1"))).success == [entity_id(2)]
    assert (await purges(node).purge("", where("!n;m"))).success == [entity_id(3)]
    assert (await node.store.load("", [entity_id(1)])).keys() == {entity_id(1)}


async def test_a_purge_ends_with_the_storage_and_can_be_repeated(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.core.purge._PAGE", 10)
    await node.run(*(create(number, n=1) for number in range(25)))
    submit_many, calls = node.committer.submit_many, 0

    async def overloaded(*arguments: Any) -> list[Any]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Unavailable("Too many updates wait.")
        return await submit_many(*arguments)

    monkeypatch.setattr(node.committer, "submit_many", overloaded)
    with pytest.raises(Unavailable):
        await purges(node).purge("", where("n"))
    assert len((await purges(node).purge("", where("n"))).success) == 15


async def test_too_many_refusals_end_a_purge(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.core.purge._PAGE", 10)
    monkeypatch.setattr("broker.core.purge._MOST_ERRORS", 15)
    await node.run(*(create(number, n=1) for number in range(50)))
    with monkeypatch.context() as patch:
        patch.setattr(node.recorder, "check", refuse)
        result = await purges(node).purge("", where("n"), Reduction(keep=frozenset()))
    assert (len(result.errors), result.success) == (20, [])
