"""Entity maps over HTTP (clauses 5.5.9.3, 5.5.14, 5.7.1.4, 5.7.2.4, 5.14)."""

import re
from typing import Any

import pytest
from pymongo import MongoClient

from tests.conftest import RunningBroker
from tests.integration.api import BATCH, CORE, DEFAULT, ENTITIES, JSON_LD, V1, create, new_id, new_type
from tests.problems import assert_problem

MAPS = f"{V1}/entityMaps"
HEADER = "NGSILD-EntityMap"


async def fill(broker: RunningBroker, count: int, **members: Any) -> tuple[str, list[str]]:
    """So many entities of a new type, whose attribute `n` counts from 0: the type and the ids, which sort so."""
    kind = new_type()
    entities = [
        {"id": f"urn:ngsi-ld:{kind}:{number:06}", "type": kind, "n": {"type": "Property", "value": number}, **members}
        for number in range(count)
    ]
    for start in range(0, count, 1_000):
        async with broker.client.post(f"{BATCH}/create", json=entities[start : start + 1_000]) as response:
            assert response.status == 201, await response.text()
    return kind, [entity["id"] for entity in entities]


async def make(broker: RunningBroker, **parameters: str) -> str:
    """The location of a new map."""
    async with broker.client.get(MAPS, params=parameters) as response:
        assert response.status == 201, await response.text()
        return response.headers[HEADER]


async def content(broker: RunningBroker, location: str) -> dict[str, Any]:
    async with broker.client.get(location) as response:
        assert response.status == 200, await response.text()
        body: dict[str, Any] = await response.json()
        return body


def links(response: Any) -> dict[str, str]:
    found = {}
    for header in response.headers.getall("Link", []):
        target, relation = re.match(r'<([^>]*)>; rel="([^"]*)"', header).groups()  # type: ignore[union-attr]
        if relation in ("next", "prev"):
            found[relation] = target
    return found


async def walk(broker: RunningBroker, target: str, headers: dict[str, str] | None = None) -> list[list[str]]:
    """The pages from `target` on, by their links alone."""
    pages = []
    while target:
        async with broker.client.get(target, headers=headers) as response:
            assert response.status in (200, 201), await response.text()
            pages.append([entity["id"] for entity in await response.json()])
            target = links(response).get("next", "")
        headers = None
    return pages


async def delete(broker: RunningBroker, entity_id: str) -> None:
    async with broker.client.delete(f"{ENTITIES}/{entity_id}") as response:
        assert response.status == 204


async def test_a_map_lists_what_its_query_selects(broker: RunningBroker) -> None:
    kind, ids = await fill(broker, 4)
    location = await make(broker, type=kind, q="n>1")
    body = await content(broker, location)
    assert body["id"] == location.rpartition("/")[2]
    assert body["type"] == "EntityMap"
    assert body["entityMap"] == {entity_id: ["@none"] for entity_id in ids[2:]}
    assert body["linkedMaps"] == {}


async def test_a_map_of_nothing_is_a_map(broker: RunningBroker) -> None:
    kind = new_type()
    location = await make(broker, type=kind)
    assert (await content(broker, location))["entityMap"] == {}
    assert await walk(broker, f"{ENTITIES}?type={kind}", {HEADER: location}) == [[]]
    async with broker.client.get(location, headers={"Accept": JSON_LD}) as response:
        assert (await response.json())["@context"] == CORE


async def test_a_map_made_by_a_query_document_serves_the_same_query_in_a_url(broker: RunningBroker) -> None:
    kind, ids = await fill(broker, 3)
    document = {"type": "Query", "entities": [{"type": kind}], "q": "n>0", "entityMapLifetime": "PT5M"}
    async with broker.client.post(MAPS, json=document) as response:
        assert response.status == 201, await response.text()
        location = response.headers[HEADER]
        assert list((await response.json())["entityMap"]) == ids[1:]
    async with broker.client.get(ENTITIES, params={"type": kind, "q": "n>0"}, headers={HEADER: location}) as response:
        assert response.status == 200
        assert response.headers[HEADER] == location
        assert [one["id"] for one in await response.json()] == ids[1:]


async def test_pages_go_through_a_map_of_many_chunks_by_their_links_alone(broker: RunningBroker) -> None:
    kind, ids = await fill(broker, 2_300)
    pages = await walk(broker, f"{ENTITIES}?type={kind}&limit=450&entityMap=true&entityMapLifetime=PT10M")
    assert [len(page) for page in pages] == [450, 450, 450, 450, 450, 50]
    assert [entity_id for page in pages for entity_id in page] == ids
    async with broker.client.get(MAPS, params={"type": kind}) as response:
        assert list((await response.json())["entityMap"]) == ids


async def test_following_links_makes_one_map_only(broker: RunningBroker, mongo_uri: str) -> None:
    kind, _ = await fill(broker, 5)
    client: MongoClient[dict[str, Any]]
    with MongoClient(mongo_uri) as client:
        before = client[broker.database]["entityMaps"].count_documents({})
        await walk(broker, f"{ENTITIES}?type={kind}&limit=2&entityMap=true")
        assert client[broker.database]["entityMaps"].count_documents({}) == before + 1


async def test_what_comes_later_is_on_no_page_of_a_map(broker: RunningBroker) -> None:
    kind, ids = await fill(broker, 3)
    location = await make(broker, type=kind)
    await create(broker, type=kind, id=f"urn:ngsi-ld:{kind}:000000a")
    assert await walk(broker, f"{ENTITIES}?type={kind}", {HEADER: location}) == [ids]


async def test_what_matches_no_longer_leaves_the_map_and_nobody_is_shown_twice_or_missed(
    broker: RunningBroker,
) -> None:
    kind, ids = await fill(broker, 10)
    location = await make(broker, type=kind, q="n<100")
    target, headers = f"{ENTITIES}?type={kind}&q=n<100&limit=3", {HEADER: location}
    async with broker.client.get(target, headers=headers) as response:
        assert [one["id"] for one in await response.json()] == ids[:3]
        following = links(response)["next"]
    await delete(broker, ids[0])
    await delete(broker, ids[4])
    async with broker.client.patch(
        f"{ENTITIES}/{ids[5]}/attrs", json={"n": {"type": "Property", "value": 500}}
    ) as done:
        assert done.status == 204
    async with broker.client.get(target, headers=headers) as response:  # somebody else begins anew meanwhile
        assert [one["id"] for one in await response.json()] == ids[1:4]
    assert await walk(broker, following) == [[ids[3], ids[6], ids[7]], ids[8:]]
    assert list((await content(broker, location))["entityMap"]) == [*ids[1:4], *ids[6:]]


async def test_the_count_is_that_of_the_entities_of_the_map_that_match(broker: RunningBroker) -> None:
    kind, ids = await fill(broker, 1_200)
    location = await make(broker, type=kind)
    await create(broker, type=kind)
    await delete(broker, ids[7])
    for limit in ("0", "5"):
        async with broker.client.get(
            ENTITIES, params={"type": kind, "count": "true", "limit": limit}, headers={HEADER: location}
        ) as response:
            assert response.headers["NGSILD-Results-Count"] == "1199"
            assert len(await response.json()) == int(limit)


async def test_ids_narrow_a_request_and_not_the_map(broker: RunningBroker) -> None:
    kind, ids = await fill(broker, 1_500)
    outside = await create(broker, type=kind)
    location = await make(broker, type=kind)
    await delete(broker, ids[3])
    wanted = [ids[1400], ids[3], ids[2], new_id()]
    async with broker.client.get(
        ENTITIES, params={"type": kind, "id": ",".join(wanted), "count": "true"}, headers={HEADER: location}
    ) as response:
        assert [one["id"] for one in await response.json()] == [ids[2], ids[1400]]
        assert response.headers["NGSILD-Results-Count"] == "2"
    left = (await content(broker, location))["entityMap"]
    assert outside in left
    assert len(left) == 1_500


async def test_a_map_keeps_the_order_that_was_asked_for(broker: RunningBroker) -> None:
    kind, ids = await fill(broker, 7)
    pages = await walk(broker, f"{ENTITIES}?type={kind}&local=true&orderBy=n;desc&limit=3&entityMap=true")
    assert pages == [[ids[6], ids[5], ids[4]], [ids[3], ids[2], ids[1]], [ids[0]]]


async def test_the_previous_page_is_a_link_away(broker: RunningBroker) -> None:
    kind, ids = await fill(broker, 5)
    location = await make(broker, type=kind)
    async with broker.client.get(f"{ENTITIES}?type={kind}&limit=2&offset=4", headers={HEADER: location}) as response:
        assert [one["id"] for one in await response.json()] == ids[4:]
        assert set(links(response)) == {"prev"}
        before = links(response)["prev"]
    async with broker.client.get(before) as response:
        assert [one["id"] for one in await response.json()] == ids[2:4]
        assert set(links(response)) == {"prev", "next"}


@pytest.mark.parametrize("other", [{"q": "n>0"}, {"attrs": "n"}, {"idPattern": "urn"}, {"scopeQ": "/A"}])
async def test_a_map_serves_no_other_query(broker: RunningBroker, other: dict[str, str]) -> None:
    kind, ids = await fill(broker, 2)
    location = await make(broker, type=kind)
    async with broker.client.get(ENTITIES, params={"type": kind, **other}, headers={HEADER: location}) as response:
        await assert_problem(response, 400, "BadRequestData")
    assert list((await content(broker, location))["entityMap"]) == ids


async def test_a_map_serves_its_query_with_no_other_context(broker: RunningBroker) -> None:
    kind, _ = await fill(broker, 1)
    location = await make(broker, type=DEFAULT + kind)
    async with broker.client.get(ENTITIES, params={"type": DEFAULT + kind}, headers={HEADER: location}) as response:
        assert response.status == 200
    other = {"@context": {"n": "https://other.example/n"}, "type": "Query", "entities": [{"type": DEFAULT + kind}]}
    async with broker.client.post(
        f"{BATCH}/query", json=other, headers={HEADER: location, "Content-Type": JSON_LD}
    ) as response:
        await assert_problem(response, 400, "BadRequestData")


async def test_a_query_that_refers_to_no_map_makes_a_new_one(broker: RunningBroker) -> None:
    kind, ids = await fill(broker, 2)
    gone = f"{MAPS}/urn:ngsi-ld:EntityMap:gone"
    async with broker.client.get(ENTITIES, params={"type": kind}, headers={HEADER: gone}) as response:
        assert response.status == 201
        location = response.headers[HEADER]
        assert location != gone
    assert list((await content(broker, location))["entityMap"]) == ids


async def test_a_map_can_be_named_by_its_id_and_by_a_url(broker: RunningBroker) -> None:
    kind, _ = await fill(broker, 1)
    location = await make(broker, type=kind)
    for name in (location, broker.url + location, location.rpartition("/")[2]):
        async with broker.client.get(ENTITIES, params={"type": kind}, headers={HEADER: name}) as response:
            assert (response.status, response.headers[HEADER]) == (200, location)


async def test_a_map_and_a_cursor_exclude_each_other(broker: RunningBroker) -> None:
    kind, _ = await fill(broker, 3)
    async with broker.client.get(ENTITIES, params={"type": kind, "limit": "1"}) as response:
        following = links(response)["next"]
    async with broker.client.get(following, headers={HEADER: await make(broker, type=kind)}) as response:
        await assert_problem(response, 400, "BadRequestData")


async def test_a_retrieval_gets_a_map_of_its_entity(broker: RunningBroker) -> None:
    entity_id = await create(broker)
    async with broker.client.get(f"{ENTITIES}/{entity_id}", params={"entityMap": "true"}) as response:
        assert response.status == 200
        location = response.headers[HEADER]
    assert (await content(broker, location))["entityMap"] == {entity_id: ["@none"]}
    async with broker.client.get(f"{ENTITIES}/{entity_id}", headers={HEADER: location}) as response:
        assert response.headers[HEADER] == location
    async with broker.client.get(f"{ENTITIES}/{new_id()}", params={"entityMap": "true"}) as response:
        await assert_problem(response, 404, "ResourceNotFound")
        assert HEADER not in response.headers


async def test_the_expiry_can_be_changed_within_bounds_and_nothing_else(broker: RunningBroker) -> None:
    kind, ids = await fill(broker, 1)
    location = await make(broker, type=kind)
    before = await content(broker, location)
    fragment = {"expiresAt": "2099-01-01T00:00:00Z", "entityMap": {}, "linkedMaps": {"a": "b"}, "type": "EntityMap"}
    async with broker.client.patch(location, json=fragment) as response:
        assert response.status == 204
    after = await content(broker, location)
    assert before["expiresAt"] < after["expiresAt"] < "2099"
    assert list(after["entityMap"]) == ids
    for wrong, pointer in (
        ({"expiresAt": "soon"}, "/expiresAt"),
        ({"expiresAt": None}, "/expiresAt"),
        ({"id": "urn:a:b"}, "/id"),
        ({"type": "Map"}, "/type"),
        ({"ids": []}, "/ids"),
    ):
        async with broker.client.patch(location, json=wrong) as response:
            assert (await assert_problem(response, 400, "BadRequestData"))["errors"][0]["pointer"] == pointer


async def test_what_has_expired_is_gone_at_once(broker: RunningBroker) -> None:
    kind, _ = await fill(broker, 1)
    location = await make(broker, type=kind)
    async with broker.client.patch(location, json={"expiresAt": "2001-01-01T00:00:00Z"}) as response:
        assert response.status == 204
    for method in ("GET", "DELETE", "PATCH"):
        body = {"expiresAt": "2099-01-01T00:00:00Z"} if method == "PATCH" else None
        async with broker.client.request(method, location, json=body) as response:
            await assert_problem(response, 404, "ResourceNotFound")
    async with broker.client.get(ENTITIES, params={"type": kind}, headers={HEADER: location}) as response:
        assert response.status == 201


async def test_a_deleted_map_leaves_nothing_behind(broker: RunningBroker, mongo_uri: str) -> None:
    kind, _ = await fill(broker, 1_100)
    location = await make(broker, type=kind)
    async with broker.client.delete(location) as response:
        assert response.status == 204
    async with broker.client.get(location) as response:
        await assert_problem(response, 404, "ResourceNotFound")
    client: MongoClient[dict[str, Any]]
    with MongoClient(mongo_uri) as client:
        left = client[broker.database]["entityMapChunks"].count_documents({"_id.map": location.rpartition("/")[2]})
        assert left == 0


async def test_maps_belong_to_their_tenant(broker: RunningBroker, tenant: str) -> None:
    location = await make(broker, type="Thing")
    await create_in(broker, tenant)
    async with broker.client.get(location, headers={"NGSILD-Tenant": tenant}) as response:
        await assert_problem(response, 404, "ResourceNotFound")
    async with broker.client.get(location, headers={"NGSILD-Tenant": "nowhere"}) as response:
        await assert_problem(response, 404, "NonexistentTenant")


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"id": "urn:a:b"}, "BadRequestData"),
        ({"type": "T", "entityMapLifetime": "1hour"}, "BadRequestData"),
        ({"type": "T", "entityMap": "maybe"}, "BadRequestData"),
        ({"type": "T", "unknown": "1"}, "InvalidRequest"),
    ],
)
async def test_a_map_for_a_query_that_makes_no_sense_is_refused(
    broker: RunningBroker, parameters: dict[str, str], error: str
) -> None:
    async with broker.client.get(MAPS, params=parameters) as response:
        await assert_problem(response, 400, error)


async def create_in(broker: RunningBroker, tenant: str) -> None:
    async with broker.client.post(
        ENTITIES, json={"id": new_id(), "type": "Thing"}, headers={"NGSILD-Tenant": tenant}
    ) as response:
        assert response.status == 201


async def test_a_purge_can_be_confined_to_a_map(broker: RunningBroker) -> None:
    kind, ids = await fill(broker, 5)
    location = await make(broker, type=kind, q="n<3")
    async with broker.client.delete(
        ENTITIES, params={"type": kind, "q": "n>0"}, headers={HEADER: location}
    ) as response:
        assert response.status == 204
        assert response.headers[HEADER] == location
    assert await walk(broker, f"{ENTITIES}?type={kind}") == [[ids[0], ids[3], ids[4]]]


async def test_a_purge_by_a_map_that_does_not_exist_deletes_nothing(broker: RunningBroker) -> None:
    kind, ids = await fill(broker, 2)
    gone = f"{MAPS}/urn:ngsi-ld:EntityMap:gone"
    async with broker.client.delete(ENTITIES, params={"type": kind}, headers={HEADER: gone}) as response:
        await assert_problem(response, 404, "ResourceNotFound")
    assert await walk(broker, f"{ENTITIES}?type={kind}") == [ids]
