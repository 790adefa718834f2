"""Discovery over HTTP (clauses 5.7.5 to 5.7.10, 6.25 to 6.28): /types and /attributes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from broker.local import LocalBroker
from tests.conftest import RunningBroker
from tests.integration.api import BATCH, CORE, DEFAULT, ENTITIES, JSON, JSON_LD, V1, link, new_id, until
from tests.problems import assert_problem

TYPES, ATTRIBUTES = f"{V1}/types", f"{V1}/attributes"
NEARBY = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [9.7, 52.4]}}
OWNER = {"type": "Relationship", "object": "urn:ngsi-ld:Person:1"}


class Discoverer:
    """A client of one tenant."""

    def __init__(self, client: aiohttp.ClientSession, tenant: str) -> None:
        self.client = client
        self.headers = {"NGSILD-Tenant": tenant}

    async def create(self, *entities: dict[str, Any]) -> list[str]:
        """Create entities with new ids; these."""
        documents = [{"id": new_id(), **entity} for entity in entities]
        async with self.client.post(f"{BATCH}/create", json=documents, headers=self.headers) as answer:
            assert answer.status == 201, await answer.text()
        return [document["id"] for document in documents]

    async def get(self, path: str, **headers: str) -> Any:
        async with self.client.get(path, headers=self.headers | headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json(content_type=None)

    async def status(self, method: str, path: str, body: Any = None) -> int:
        async with self.client.request(method, path, json=body, headers=self.headers) as answer:
            await answer.read()
            return answer.status


@pytest.fixture
async def city(broker: RunningBroker, tenant: str) -> Discoverer:
    """Two cars, a car park, and something that is both a car and a museum."""
    discoverer = Discoverer(broker.client, tenant)
    await discoverer.create(
        {"type": "Car", "speed": 50, "owner": OWNER},
        {"type": "Car", "speed": [{"value": 1}, {"value": 2, "datasetId": "urn:ngsi-ld:d:1"}], "location": NEARBY},
        {"type": "CarPark", "location": NEARBY, "owner": "the city"},
        {"type": ["Museum", "Car"], "speed": 0, "owner": OWNER},
    )
    return discoverer


async def test_types_are_listed(city: Discoverer) -> None:
    listed = await city.get(TYPES)

    assert listed.pop("id").startswith("urn:ngsi-ld:EntityTypeList:")
    assert listed == {"type": "EntityTypeList", "typeList": ["Car", "CarPark", "Museum"]}


async def test_types_are_described_with_their_attributes(city: Discoverer) -> None:
    assert await city.get(f"{TYPES}?details=true") == [
        {"id": f"{DEFAULT}{name}", "type": "EntityType", "typeName": name, "attributeNames": attributes}
        for name, attributes in (
            ("Car", ["location", "owner", "speed"]),
            ("CarPark", ["location", "owner"]),
            ("Museum", ["owner", "speed"]),
        )
    ]


@pytest.mark.parametrize("name", ["Car", f"{DEFAULT}Car"], ids=["short", "IRI"])
async def test_a_type_is_described(city: Discoverer, name: str) -> None:
    location = "https://uri.etsi.org/ngsi-ld/location"

    assert await city.get(f"{TYPES}/{quote(name, safe='')}") == {
        "id": f"{DEFAULT}Car",
        "type": "EntityTypeInfo",
        "typeName": "Car",
        "entityCount": 3,
        "attributeDetails": [
            {"id": iri, "type": "Attribute", "attributeName": attribute, "attributeTypes": kinds}
            for iri, attribute, kinds in (
                (location, "location", ["GeoProperty"]),
                (f"{DEFAULT}owner", "owner", ["Relationship"]),
                (f"{DEFAULT}speed", "speed", ["Property"]),
            )
        ],
    }


async def test_attributes_are_listed(city: Discoverer) -> None:
    listed = await city.get(ATTRIBUTES)

    assert listed.pop("id").startswith("urn:ngsi-ld:AttributeList:")
    assert listed == {"type": "AttributeList", "attributeList": ["location", "owner", "speed"]}


async def test_attributes_are_described_with_the_types_that_have_them(city: Discoverer) -> None:
    described = await city.get(f"{ATTRIBUTES}?details=true")

    assert [(one["attributeName"], one["typeNames"]) for one in described] == [
        ("location", ["Car", "CarPark"]),
        ("owner", ["Car", "CarPark", "Museum"]),
        ("speed", ["Car", "Museum"]),
    ]
    assert all(one.keys() == {"id", "type", "attributeName", "typeNames"} for one in described)


async def test_an_attribute_is_described_with_its_instances_each_counted_once(city: Discoverer) -> None:
    assert await city.get(f"{ATTRIBUTES}/speed") == {
        "id": f"{DEFAULT}speed",
        "type": "Attribute",
        "attributeName": "speed",
        "attributeCount": 4,
        "attributeTypes": ["Property"],
        "typeNames": ["Car", "Museum"],
    }
    owner = await city.get(f"{ATTRIBUTES}/owner")
    assert (owner["attributeCount"], owner["attributeTypes"]) == (3, ["Property", "Relationship"])


async def test_what_nothing_has_any_more_is_gone_at_once(city: Discoverer) -> None:
    (car,) = await city.create({"type": "Boat", "sails": 3, "name": "Ann"})
    assert await city.status("DELETE", f"{ENTITIES}/{car}/attrs/sails") == 204
    assert await city.status("GET", f"{ATTRIBUTES}/sails") == 404
    assert (await city.get(f"{TYPES}?details=true"))[0]["attributeNames"] == ["name"]
    assert await city.status("DELETE", f"{ENTITIES}/{car}") == 204

    assert await city.status("GET", f"{TYPES}/Boat") == 404
    assert "Boat" not in (await city.get(TYPES))["typeList"]
    assert "name" not in (await city.get(ATTRIBUTES))["attributeList"]


async def test_an_attribute_may_change_its_type(city: Discoverer) -> None:
    (boat,) = await city.create({"type": "Boat", "name": "Ann"})
    body = {"name": {"type": "LanguageProperty", "languageMap": {"en": "Ann"}}}
    assert await city.status("POST", f"{ENTITIES}/{boat}/attrs", body) == 204

    assert (await city.get(f"{ATTRIBUTES}/name"))["attributeTypes"] == ["LanguageProperty"]


async def test_names_are_those_of_the_context_of_the_request(city: Discoverer) -> None:
    terms = {"Bus": "https://example.org/Bus", "line": "https://example.org/line"}
    async with city.client.post(
        ENTITIES,
        json={"id": new_id(), "type": "Bus", "line": 4, "@context": [terms, CORE]},
        headers=city.headers | {"Content-Type": JSON_LD},
    ) as answer:
        assert answer.status == 201, await answer.text()

    assert "https://example.org/Bus" in (await city.get(TYPES))["typeList"]
    bus = await city.get(f"{TYPES}/{quote('https://example.org/Bus', safe='')}")
    assert bus["attributeDetails"][0]["attributeName"] == "https://example.org/line"
    assert await city.status("GET", f"{TYPES}/Bus") == 404
    context = await hosted(city, terms)
    assert "Bus" in (await city.get(TYPES, **link(context)))["typeList"]
    assert (await city.get(f"{TYPES}/Bus", **link(context)))["attributeDetails"][0]["attributeName"] == "line"
    assert (await city.get(f"{ATTRIBUTES}/line", **link(context)))["typeNames"] == ["Bus"]


async def hosted(city: Discoverer, terms: dict[str, str]) -> str:
    """The URL of an @context with these terms, which the broker itself hosts."""
    headers = city.headers | {"Content-Type": JSON_LD}
    async with city.client.post(f"{V1}/jsonldContexts", json={"@context": terms}, headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        return str(answer.url.join(URL(answer.headers["Location"])))


@pytest.mark.parametrize("path", [TYPES, f"{TYPES}/Car", ATTRIBUTES, f"{ATTRIBUTES}/speed"])
async def test_the_context_is_in_the_link_of_json_and_in_the_body_of_json_ld(city: Discoverer, path: str) -> None:
    async with city.client.get(path, headers=city.headers | {"Accept": JSON}) as answer:
        assert answer.headers["Content-Type"] == JSON
        assert CORE in answer.headers["Link"]
    async with city.client.get(path, headers=city.headers | {"Accept": JSON_LD}) as answer:
        assert answer.headers["Content-Type"] == JSON_LD
        assert (await answer.json(content_type=None))["@context"] == CORE


@pytest.mark.parametrize("path", [TYPES, ATTRIBUTES])
async def test_each_element_of_a_detailed_list_carries_the_context_in_json_ld(city: Discoverer, path: str) -> None:
    described = await city.get(f"{path}?details=true", Accept=JSON_LD)

    assert {one["@context"] for one in described} == {CORE}


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        (f"{TYPES}/Nothing", 404, "ResourceNotFound"),
        (f"{ATTRIBUTES}/nothing", 404, "ResourceNotFound"),
        (f"{ATTRIBUTES}/id", 404, "ResourceNotFound"),
        (f"{ATTRIBUTES}/type", 404, "ResourceNotFound"),
        (f"{ATTRIBUTES}/scope", 404, "ResourceNotFound"),
        (f"{ATTRIBUTES}/createdAt", 404, "ResourceNotFound"),
        (f"{TYPES}/a%20b", 400, "BadRequestData"),
        (f"{ATTRIBUTES}/%40type", 400, "BadRequestData"),
        (f"{TYPES}?details=perhaps", 400, "BadRequestData"),
        (f"{TYPES}?limit=5", 400, "InvalidRequest"),
        (f"{TYPES}/Car?details=true", 400, "InvalidRequest"),
        (f"{ATTRIBUTES}/speed?details=true", 400, "InvalidRequest"),
    ],
)
async def test_what_cannot_be_answered_is_refused(city: Discoverer, path: str, status: int, kind: str) -> None:
    async with city.client.get(path, headers=city.headers) as answer:
        await assert_problem(answer, status, kind)


async def test_local_limits_nothing_while_there_is_nobody_else(city: Discoverer) -> None:
    assert (await city.get(f"{TYPES}?local=true"))["typeList"] == ["Car", "CarPark", "Museum"]
    assert (await city.get(f"{ATTRIBUTES}/speed?local=true"))["attributeCount"] == 4


async def test_geojson_is_not_acceptable(city: Discoverer) -> None:
    async with city.client.get(TYPES, headers=city.headers | {"Accept": "application/geo+json"}) as answer:
        await assert_problem(answer, 406, "InvalidRequest")


async def test_each_tenant_has_types_of_its_own(city: Discoverer, broker: RunningBroker) -> None:
    async with broker.client.get(TYPES, headers={"NGSILD-Tenant": "never-written-to"}) as answer:
        await assert_problem(answer, 404, "NonexistentTenant")
    other = Discoverer(broker.client, city.headers["NGSILD-Tenant"] + "-2")
    await other.create({"type": "Tram"})

    assert (await other.get(TYPES))["typeList"] == ["Tram"]
    assert "Tram" not in (await city.get(TYPES))["typeList"]


async def test_what_expires_is_counted_until_it_is_removed(
    start_broker: Callable[..., LocalBroker], tenant: str
) -> None:
    local = await asyncio.to_thread(start_broker, expiry_sweep_interval=0.1)
    async with aiohttp.ClientSession(base_url=local.url) as client:
        discoverer = Discoverer(client, tenant)
        (ghost,) = await discoverer.create({"type": "Ghost"})
        body = {"type": "Ghost", "expiresAt": "2026-01-01T00:00:00Z"}
        assert await discoverer.status("POST", f"{ENTITIES}/{ghost}/attrs", body) == 204

        async def gone() -> bool:
            return await discoverer.status("GET", f"{TYPES}/Ghost") == 404

        await until(gone)
    await asyncio.to_thread(local.stop)


@pytest.fixture
async def pair(start_broker: Callable[..., LocalBroker]) -> AsyncIterator[tuple[LocalBroker, LocalBroker]]:
    a = await asyncio.to_thread(start_broker)
    b = await asyncio.to_thread(start_broker, database=a.settings.database)
    yield a, b
    await asyncio.gather(asyncio.to_thread(a.stop), asyncio.to_thread(b.stop))


async def test_two_processes_know_of_each_others_writes_when_they_are_acknowledged(
    pair: tuple[LocalBroker, LocalBroker], tenant: str
) -> None:
    async with (
        aiohttp.ClientSession(base_url=pair[0].url) as client_a,
        aiohttp.ClientSession(base_url=pair[1].url) as client_b,
    ):
        both = Discoverer(client_a, tenant), Discoverer(client_b, tenant)
        for turn in range(10):
            await both[turn % 2].create({"type": "Car"}, {"type": "Car"})
            assert (await both[(turn + 1) % 2].get(f"{TYPES}/Car"))["entityCount"] == 2 * (turn + 1)


async def test_after_kill_9_in_the_middle_of_creations_the_counts_are_exact_again(
    pair: tuple[LocalBroker, LocalBroker], tenant: str
) -> None:
    dying, living = pair
    async with (
        aiohttp.ClientSession(base_url=living.url) as client,
        aiohttp.ClientSession(base_url=dying.url) as doomed,
    ):
        witness, victim = Discoverer(client, tenant), Discoverer(doomed, tenant)
        await witness.create({"type": "Car", "speed": 1})
        acknowledged = 0

        async def keep_creating() -> None:
            nonlocal acknowledged
            while True:
                await victim.create(*({"type": "Car", "speed": 1} for _ in range(20)))
                acknowledged += 20

        creating = [asyncio.create_task(keep_creating()) for _ in range(8)]

        async def under_way() -> bool:
            return acknowledged >= 200

        await until(under_way)
        dying.kill()
        ended = await asyncio.gather(*creating, return_exceptions=True)
        assert all(isinstance(one, aiohttp.ClientError) for one in ended)

        async def exact() -> bool:
            await witness.create({"type": "Car", "speed": 2})  # others write on
            async with client.get(
                ENTITIES, params={"type": "Car", "count": "true", "limit": "0"}, headers=witness.headers
            ) as answer:
                entities = int(answer.headers["NGSILD-Results-Count"])
            counted = await witness.get(f"{TYPES}/Car"), await witness.get(f"{ATTRIBUTES}/speed")
            assert entities > acknowledged
            return entities == counted[0]["entityCount"] == counted[1]["attributeCount"] and await no_doubt()

        async def no_doubt() -> bool:
            return '"recounted the entities of a type"' in living.log_file.read_text()

        await until(exact, 30)
