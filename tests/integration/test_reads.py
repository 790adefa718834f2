"""Reading: gathered finds over a real MongoDB, and answers that are never out of date, kept in memory or not."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import aiohttp
import bson
import pytest

from broker.local import LocalBroker
from broker.ngsild.errors import NgsiLdError, NonexistentTenant
from broker.ngsild.expiry import MARK
from broker.ngsild.model import Entity
from broker.storage import finding
from broker.storage.client import Mongo
from broker.storage.entities import COLLECTION, EntityStore, Writes
from broker.storage.finding import Page, _answer, find_page, find_pages
from broker.storage.reads import ExpiryReads, Reads
from broker.storage.tenants import Tenants
from tests.conftest import RunningBroker
from tests.integration.api import ENTITIES, JSON, JSON_LD, create, new_id, new_type, query, read
from tests.integration.wire import exchange, request
from tests.unit.ngsild.samples import entity, iri

READERS = 8


class Node:
    """Reads and writes of one process."""

    def __init__(self, mongo: Mongo) -> None:
        self.tenants = Tenants(mongo)
        self.store = EntityStore(self.tenants)
        self.reads = Reads(self.tenants)

    async def insert(self, *entities: Entity) -> None:
        for one in entities:
            new = {**one, "version": 1 << 40, "writers": {"p": 1}}
            report = await self.store.write("", Writes(inserts=[new], inserted=[new["_id"]]))
            assert not report.refused


@pytest.fixture(params=["pymongo", "motor"])
async def node(request: pytest.FixtureRequest, mongo_uri: str, database_name: str) -> AsyncIterator[Node]:
    if request.param == "motor":
        pytest.importorskip("motor")
    mongo = await Mongo.connect(mongo_uri, driver_name=request.param, database=database_name)
    found = Node(mongo)
    await found.tenants.open()
    yield found
    await mongo.close()


# Gathered finds


async def test_every_read_gets_its_own_entity_as_it_is_stored(node: Node) -> None:
    entities = [entity(id=f"urn:e:{number}", a=number, b={"value": "\0💚", "sub": [1, 1.0]}) for number in range(50)]
    await node.insert(*entities)
    ids = [one["_id"] for one in entities]
    found = await asyncio.gather(*[node.reads.get("", entity_id) for entity_id in [*ids, "urn:e:none", *ids]])
    assert found[50] is None
    stored = await node.store.load("", ids)
    assert len(stored) == 50
    for one in found:
        assert one is None or repr(one.entity) == repr(stored[one.entity_id])
    assert [one.entity_id for one in found if one is not None] == [*ids, *ids]


async def test_more_than_one_answer_of_mongodb_can_hold_is_read_all_the_same(node: Node) -> None:
    large = [entity(id=f"urn:e:{number}", a="x" * (7 << 20)) for number in range(3)]
    await node.insert(*large, entity(id="urn:e:small", a=1))
    ids = [one["_id"] for one in large] + ["urn:e:small"]
    found = await asyncio.gather(*[node.reads.get("", entity_id) for entity_id in ids])
    assert [one.entity_id for one in found if one is not None] == ids
    assert all(one is not None and one.version == 1 << 40 for one in found)


async def test_a_tenant_that_does_not_exist_has_nothing_to_read(node: Node) -> None:
    with pytest.raises(NonexistentTenant):
        await node.reads.get("nobody", "urn:e:1")


# Pages


def page(kind: str, limit: int, *, skip: int = 0, after: str = "", direction: int = 1) -> Page:
    condition = {"$and": [{"state.types": iri(kind)}, {"_id": {"$gt" if direction == 1 else "$lt": after}}]}
    return Page(bson.encode(condition), limit, skip, direction, "types")


async def test_pages_that_are_asked_for_together_are_those_that_each_would_be_alone(node: Node) -> None:
    for kind in "AB":
        ids = [f"urn:{kind}:{number:03}" for number in range(50)]
        await node.insert(*[entity(id=one, type=kind, page=7) for one in ids])
    collection = (await node.tenants.database(""))[COLLECTION]
    pages = [
        page("A", 20),
        page("A", 20, after="urn:A:040"),
        page("B", 3, skip=2, after="urn:A:zzz"),
        page("C", 20),
        page("A", 5, after="urn:A:010", direction=-1),
        page("B", 20, after="urn:B:048"),
        page("A", 20),
    ]
    together = await find_pages(collection, pages)
    alone = [await find_page(collection, one) for one in pages]
    assert [[one.entity_id for one in found] for found in together] == [
        [f"urn:A:{number:03}" for number in range(20)],
        [f"urn:A:{number:03}" for number in range(41, 50)],
        [f"urn:B:{number:03}" for number in (2, 3, 4)],
        [],
        [f"urn:A:{number:03}" for number in (9, 8, 7, 6, 5)],
        ["urn:B:049"],
        [f"urn:A:{number:03}" for number in range(20)],
    ]
    assert [[repr(one.entity) for one in found] for found in together] == [
        [repr(one.entity) for one in found] for found in alone
    ]
    assert all(one.version == 1 << 40 for found in together for one in found)


async def test_pages_that_do_not_fit_into_one_answer_are_asked_for_one_by_one(node: Node) -> None:
    for kind in "AB":
        await node.insert(entity(id=f"urn:{kind}", type=kind, a="x" * (10 << 20)))
    collection = (await node.tenants.database(""))[COLLECTION]
    found = await find_pages(collection, [page("A", 20), page("B", 20)])
    assert [[one.entity_id for one in each] for each in found] == [["urn:A"], ["urn:B"]]


async def test_a_page_that_mongodb_has_to_sort_is_had_with_one_command(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.insert(*[entity(id=f"urn:e:{number:02}", type=f"T{-number % 7}") for number in range(40)])
    collection = (await node.tenants.database(""))[COLLECTION]
    sent = []

    async def answer(database: Any, command: dict[str, Any]) -> Any:
        sent.append(next(iter(command)))
        return await _answer(database, command)

    monkeypatch.setattr(finding, "_answer", answer)
    condition = bson.encode({"state.types": {"$gte": ""}})  # by the index of types: not in the order of ids
    found = await find_page(collection, Page(condition, 21, 3, 1, "types"))
    assert [one.entity_id for one in found] == [f"urn:e:{number:02}" for number in range(3, 24)]
    assert sent == ["find"]


async def test_a_page_that_mongodb_refuses_is_refused_however_many_are_asked_for(node: Node) -> None:
    await node.insert(entity())
    collection = (await node.tenants.database(""))[COLLECTION]
    wrong = Page(bson.encode({"_id": {"$nonsense": 1}}), 20, 0, 1, None)
    for pages in ([wrong], [page("Building", 20), wrong]):
        with pytest.raises(NgsiLdError):
            await find_pages(collection, pages)


async def test_what_expires_within_an_entity_is_noticed_from_that_instant_on(node: Node) -> None:
    expiries = ExpiryReads(node.tenants)
    assert not await expiries.any_partly_expired("", "2026-01-02T00:00:00.000000Z")
    await node.insert(entity(id="urn:e:1", a=1), {**entity(id="urn:e:2", a=1), MARK: "2026-01-02T00:00:00.000000Z"})
    for now, expected in (("2026-01-01T23:59:59.999999Z", False), ("2026-01-02T00:00:00.000000Z", True)):
        assert await expiries.any_partly_expired("", now) is expected


# Answers


@pytest.fixture(scope="module")
def other_process(start_broker: Callable[..., LocalBroker], broker_process: LocalBroker) -> LocalBroker:
    """A second broker on the same database, which keeps no rendered entities."""
    return start_broker(database=broker_process.settings.database, read_cache_bytes=0)


async def test_a_read_sees_what_another_process_acknowledged_before_it(
    broker: RunningBroker, other_process: LocalBroker
) -> None:
    ids = [await create(broker, {"a": -1}) for _ in range(READERS)]
    async with aiohttp.ClientSession(base_url=other_process.url) as writer:

        async def write_and_read(entity_id: str) -> None:
            for number in range(25):
                change = {"a": {"type": "Property", "value": number}}
                async with writer.patch(f"{ENTITIES}/{entity_id}/attrs", json=change) as response:
                    assert response.status == 204
                for path in (f"{ENTITIES}/{entity_id}", f"{ENTITIES}?id={entity_id}&type=Thing"):
                    async with broker.client.get(path, params={"options": "keyValues"}) as response:
                        shown = await response.json()
                    assert (shown if isinstance(shown, dict) else shown[0])["a"] == number

        await asyncio.gather(*map(write_and_read, ids))
        async with writer.delete(f"{ENTITIES}/{ids[0]}") as response:
            assert response.status == 204
    async with broker.client.get(f"{ENTITIES}/{ids[0]}") as response:
        assert response.status == 404


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"options": "sysAttrs"},
        {"format": "concise"},
        {"format": "simplified"},
        {"attrs": "a"},
        {"pick": "id,b"},
        {"omit": "a"},
        {"lang": "fr"},
        {"datasetId": "@none"},
    ],
    ids=str,
)
@pytest.mark.parametrize("media_type", [JSON, JSON_LD, "application/geo+json"])
async def test_an_answer_from_memory_is_that_of_a_process_without_memory(
    broker: RunningBroker, other_process: LocalBroker, parameters: dict[str, str], media_type: str
) -> None:
    kind = new_type()
    attributes = {"a": {"value": [1, 1.0, "ü💚"], "sub": 1}, "b": {"languageMap": {"fr": "oui", "en": "yes"}}}
    ids = [await create(broker, attributes, type=kind) for _ in range(3)]
    async with aiohttp.ClientSession(base_url=other_process.url) as other:

        async def answer(client: aiohttp.ClientSession, path: str, **more: str) -> tuple[bytes, dict[str, str]]:
            async with client.get(path, params={**parameters, **more}, headers={"Accept": media_type}) as response:
                assert response.status == 200
                headers = {name: value for name, value in response.headers.items() if name != "Date"}
                return await response.read(), headers

        for path, more in ((f"{ENTITIES}/{ids[0]}", {}), (ENTITIES, {"type": kind, "count": "true", "limit": "2"})):
            first = await answer(broker.client, path, **more)
            assert await answer(broker.client, path, **more) == first
            assert await answer(other, path, **more) == first


async def test_memory_is_counted(broker: RunningBroker) -> None:
    async def counted() -> tuple[float, float]:
        async with broker.client.get("/metrics") as response:
            lines = dict(line.rsplit(" ", 1) for line in (await response.text()).splitlines() if line[:1] != "#")
        return float(lines["vela_read_cache_hits_total"]), float(lines["vela_read_cache_misses_total"])

    entity_id = await create(broker, {"a": 1})
    hits, misses = await counted()
    for _ in range(3):
        async with broker.client.get(f"{ENTITIES}/{entity_id}") as response:
            assert response.status == 200
    assert await counted() == (hits + 2, misses + 1)


async def test_conditions_of_a_request_hold_for_what_is_in_memory_too(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1})
    for parameters, status in (
        ({}, 200),
        ({"type": "Thing"}, 200),
        ({"type": "Other"}, 404),
        ({"attrs": "a"}, 200),
        ({"attrs": "missing"}, 404),
        ({}, 200),
    ):
        async with broker.client.get(f"{ENTITIES}/{entity_id}", params=parameters) as response:
            assert response.status == status, parameters


async def test_tenants_do_not_see_each_others_answers(broker: RunningBroker, tenant: str) -> None:
    entity_id = new_id()
    for name, value in ((None, 1), (tenant, 2)):
        headers = {"NGSILD-Tenant": name} if name else {}
        body = {"id": entity_id, "type": "Thing", "a": {"type": "Property", "value": value}}
        async with broker.client.post(ENTITIES, json=body, headers=headers) as response:
            assert response.status == 201
    for _ in range(2):
        for name, value in ((None, 1), (tenant, 2)):
            headers = {"NGSILD-Tenant": name} if name else {}
            async with broker.client.get(f"{ENTITIES}/{entity_id}", headers=headers) as response:
                assert (await response.json())["a"]["value"] == value
                assert response.headers.get("NGSILD-Tenant") == name


async def test_an_answer_has_the_same_head_however_it_is_written(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1})
    port, target = broker.settings.port, f"{ENTITIES}/{entity_id}"

    def head(answer: Any) -> dict[str, str]:
        return {name: value for name, value in answer.headers.items() if name not in ("Date", "Connection")}

    usual = await asyncio.to_thread(request, port, "GET", target)
    assert usual.status == 200
    assert usual.headers["Server"] == "Vela"
    assert usual.headers["Content-Type"] == JSON
    assert usual.headers["Link"].startswith("<https://uri.etsi.org/ngsi-ld/v1/")
    closing = await asyncio.to_thread(request, port, "GET", target, {"Connection": "close"})
    assert (head(closing), closing.body) == (head(usual), usual.body)
    old = await asyncio.to_thread(exchange, port, f"GET {target} HTTP/1.0\r\n\r\n".encode())
    assert old is not None
    assert (head(old), old.body) == (head(usual), usual.body)
    bare = await asyncio.to_thread(request, port, "HEAD", target)
    assert (head(bare), bare.body) == (head(usual), b"")


async def test_what_expires_leaves_the_answers_at_once(broker: RunningBroker) -> None:
    kind = new_type()
    expires = time.time() + 0.8
    instant = datetime.fromtimestamp(expires, UTC).isoformat(timespec="microseconds")[:-6] + "Z"
    whole = await create(broker, {"a": 1}, type=kind, expiresAt=instant)
    part = await create(broker, {"a": 1, "b": {"value": 1, "expiresAt": instant}}, type=kind)
    seen: set[bool] = set()
    while time.time() < expires + 0.3:
        began = time.time()
        async with broker.client.get(f"{ENTITIES}/{whole}") as response:
            found = response.status == 200
        shown = await read(broker, part)
        listed = {one["id"]: one for one in await query(broker, type=kind)}
        ended = time.time()
        if began >= expires:
            assert (found, "b" in shown, whole in listed, "b" in listed[part]) == (False, False, False, False)
        if ended < expires:
            assert (found, "b" in shown, whole in listed, "b" in listed[part]) == (True, True, True, True)
        seen.add(began >= expires)
    assert seen == {False, True}
