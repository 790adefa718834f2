"""/jsonldContexts (clauses 5.13, 6.29, 6.30): two brokers on one database, as two hosts would be."""

from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from broker.local import LocalBroker
from tests.conftest import RunningBroker
from tests.integration.api import CORE, ENTITIES, JSON_LD, SUBSCRIPTIONS, V1, link, new_id, read, until
from tests.integration.servers import Receiver, Site, serving
from tests.problems import assert_problem

CONTEXTS = f"{V1}/jsonldContexts"
SPEED = {"@context": {"speed": "urn:vocab:speed", "Car": "urn:vocab:Car"}}


@pytest.fixture(scope="module")
def other_process(broker_process: LocalBroker, start_broker: Callable[..., LocalBroker]) -> LocalBroker:
    """A second broker on the same database."""
    return start_broker(database=broker_process.settings.database)


@pytest.fixture
async def other(other_process: LocalBroker) -> AsyncIterator[RunningBroker]:
    async with aiohttp.ClientSession(base_url=other_process.url) as client:
        yield RunningBroker(other_process, client)


async def add(broker: RunningBroker, document: Any = SPEED, tenant: str = "") -> str:
    """The path of a new hosted @context."""
    headers = {"NGSILD-Tenant": tenant} if tenant else {}
    async with broker.client.post(CONTEXTS, json=document, headers=headers) as response:
        assert (response.status, await response.read()) == (201, b""), await response.text()
        location = response.headers["Location"]
    assert location.startswith(f"{CONTEXTS}/urn:")
    return location


async def details(broker: RunningBroker, identifier: str) -> dict[str, Any]:
    async with broker.client.get(f"{CONTEXTS}/{quote(identifier, safe='')}?details=true") as response:
        assert response.status == 200, await response.text()
        found: dict[str, Any] = await response.json()
        return found


async def create_with(broker: RunningBroker, context: Any, headers: dict[str, str] | None = None) -> tuple[int, str]:
    entity = {"@context": context, "id": new_id(), "type": "Car", "speed": 1}
    async with broker.client.post(
        ENTITIES, json=entity, headers={"Content-Type": JSON_LD, **(headers or {})}
    ) as response:
        return response.status, str(entity["id"])


async def test_an_added_context_is_served_as_it_was_sent(broker: RunningBroker) -> None:
    path = await add(broker, {**SPEED, "comment": "dropped"})
    async with broker.client.get(path) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "application/json")
        assert await response.json() == SPEED
    async with broker.client.get(path, headers={"Accept": f"{JSON_LD}, application/json;q=0.9"}) as response:
        assert response.headers["Content-Type"] == JSON_LD
    found = await details(broker, path.rpartition("/")[2])
    assert (found["URL"], found["kind"]) == (broker.url + path, "Hosted")
    assert found["localId"] == path.rpartition("/")[2]
    assert found["createdAt"].endswith("Z")
    assert (await details(broker, broker.url + path))["localId"] == found["localId"]


@pytest.mark.parametrize("context", [5, True, [CORE, 7], {"a": 5}, "relative/url"])
async def test_what_is_no_context_is_not_added(broker: RunningBroker, context: Any) -> None:
    async with broker.client.post(CONTEXTS, json={"@context": context}) as response:
        body = await assert_problem(response, 400, "BadRequestData")
    assert body["errors"][0]["pointer"] == "/@context"


@pytest.mark.parametrize("body", [b"[]", b'{"a": 1}', b"{", b'"x"'])
async def test_a_body_without_a_context_is_an_invalid_request(broker: RunningBroker, body: bytes) -> None:
    async with broker.client.post(CONTEXTS, data=body, headers={"Content-Type": "application/json"}) as response:
        await assert_problem(response, 400, "InvalidRequest")


async def test_a_context_that_refers_to_one_out_of_reach_is_not_added(broker: RunningBroker, site: Site) -> None:
    async with broker.client.post(CONTEXTS, json={"@context": [site.url + "/missing"]}) as response:
        await assert_problem(response, 504, "LdContextNotAvailable")


async def test_a_hosted_context_is_of_use_at_once_at_every_broker(broker: RunningBroker, other: RunningBroker) -> None:
    path = await add(broker)
    for at in (broker, other):
        for origin in (broker.url, other.url, "https://gateway.example.org/city"):
            status, entity_id = await create_with(at, origin + path)
            assert status == 201
            assert set(await read(at, entity_id)) == {"id", "type", "urn:vocab:speed"}
            assert (await read(at, entity_id, headers=link(origin + path)))["type"] == "Car"


async def test_what_one_broker_deletes_is_gone_at_the_other(broker: RunningBroker, other: RunningBroker) -> None:
    path = await add(broker)
    url = broker.url + path
    assert (await create_with(other, url))[0] == (await create_with(broker, [url, {"x": "urn:x"}]))[0] == 201
    async with broker.client.delete(path) as response:
        assert (response.status, await response.read()) == (204, b"")
    assert (await create_with(broker, [url, {"x": "urn:x"}]))[0] == 504

    async def gone() -> bool:
        return (await create_with(other, url))[0] == 504

    await until(gone)
    for method in (broker.client.get, broker.client.delete):
        async with method(path) as response:
            await assert_problem(response, 404, "ResourceNotFound")


async def test_a_cached_context_is_listed_counted_reloaded_and_deleted_for_all(
    broker: RunningBroker, other: RunningBroker, site: Site
) -> None:
    url = site.publish("/car", SPEED)
    _, entity_id = await create_with(broker, url)
    found = await details(broker, url)
    assert (found["URL"], found["kind"], found["numberOfHits"]) == (url, "Cached", 1)
    assert found["expiresAt"] > found["createdAt"]
    assert found["lastUsage"] >= found["createdAt"][:19]
    assert (await details(broker, found["localId"]))["numberOfHits"] == 2  # a look at it is a use, too
    async with broker.client.get(f"{CONTEXTS}/{quote(url, safe='')}") as response:
        await assert_problem(response, 422, "OperationNotSupported")
    assert "speed" in await read(other, entity_id, headers=link(url))

    site.publish("/car", {"@context": {"pace": "urn:vocab:speed"}})
    async with broker.client.delete(f"{CONTEXTS}/{quote(url, safe='')}?reload=true") as response:
        assert response.status == 204

    async def reloaded() -> bool:
        return "pace" in await read(other, entity_id, headers=link(url))

    assert "pace" in await read(broker, entity_id, headers=link(url))
    await until(reloaded)
    assert site.asked == ["/car", "/car"]

    del site.pages["/car"]
    async with broker.client.delete(f"{CONTEXTS}/{quote(url, safe='')}?reload=true") as response:
        await assert_problem(response, 504, "LdContextNotAvailable")
    assert "pace" in await read(broker, entity_id, headers=link(url))
    async with other.client.delete(f"{CONTEXTS}/{quote(found['localId'], safe='')}") as response:
        assert response.status == 204
    async with broker.client.get(f"{CONTEXTS}/{quote(url, safe='')}?details=true") as response:
        await assert_problem(response, 404, "ResourceNotFound")


async def test_only_cached_contexts_are_reloaded(broker: RunningBroker) -> None:
    path = await add(broker)
    async with broker.client.delete(f"{path}?reload=true") as response:
        await assert_problem(response, 400, "BadRequestData")
    for suffix in ("", "?reload=true", "?reload=false"):
        async with broker.client.delete(f"{CONTEXTS}/urn:nothing{suffix}") as response:
            await assert_problem(response, 404, "ResourceNotFound")  # 5.13.5.4, its second item


@pytest.mark.parametrize("url", [CORE, CORE.replace("v1.9", "v1.6")])
async def test_the_core_context_stays(broker: RunningBroker, url: str) -> None:
    path = f"{CONTEXTS}/{quote(url, safe='')}"
    async with broker.client.delete(path) as response:
        await assert_problem(response, 400, "BadRequestData")
    async with broker.client.delete(f"{path}?reload=true") as response:
        assert response.status == 204
    assert (await details(broker, url))["URL"] == CORE


async def test_lists_are_by_kind_and_tenant(broker: RunningBroker, other: RunningBroker, tenant: str) -> None:
    mine, theirs = await add(broker), await add(broker, tenant=tenant)
    for name, seen, unseen in (("", mine, theirs), (tenant, theirs, mine)):
        headers = {"NGSILD-Tenant": name} if name else {}
        async with other.client.get(CONTEXTS, headers=headers) as response:
            listed = await response.json()
        assert other.url + seen in listed
        assert other.url + unseen not in listed
        assert CORE in listed
        async with other.client.get(f"{CONTEXTS}?kind=Hosted&details=true", headers=headers) as response:
            assert {one["kind"] for one in await response.json()} == {"Hosted"}
        for method in (other.client.get, other.client.delete):
            async with method(unseen, headers=headers) as response:
                await assert_problem(response, 404, "ResourceNotFound")
    assert (await create_with(broker, broker.url + theirs))[0] == 504
    assert (await create_with(broker, broker.url + theirs, {"NGSILD-Tenant": tenant}))[0] == 201


@pytest.mark.parametrize("query", ["?kind=other", "?details=maybe", "?kind=", "?limit=1"])
async def test_bad_parameters_are_refused(broker: RunningBroker, query: str) -> None:
    async with broker.client.get(CONTEXTS + query) as response:
        assert response.status == 400


async def subscribe(broker: RunningBroker, endpoint: str, context: Any, tenant: str, **members: Any) -> dict[str, Any]:
    body = {
        "@context": context, "type": "Subscription", "entities": [{"type": "Car"}],
        "notification": {"endpoint": {"uri": endpoint, "accept": "application/json"}}, **members,
    }  # fmt: skip
    headers = {"NGSILD-Tenant": tenant}
    async with broker.client.post(SUBSCRIPTIONS, json=body, headers={**headers, "Content-Type": JSON_LD}) as response:
        assert response.status == 201, await response.text()
        location = response.headers["Location"]
    async with broker.client.get(location, headers=headers) as response:
        subscription: dict[str, Any] = await response.json()
        return subscription


async def test_an_array_of_contexts_gets_a_url_for_the_link_of_notifications(
    broker: RunningBroker, other: RunningBroker, tenant: str
) -> None:
    receiver = Receiver()
    async with serving(receiver):
        source = [SPEED["@context"], {"x": f"urn:{tenant}"}]
        first = await subscribe(broker, f"{receiver.url}/a", source, tenant)
        again = await subscribe(other, f"{receiver.url}/b", source, tenant)
        url = first["jsonldContext"]
        assert again["jsonldContext"].rpartition("/")[2] == url.rpartition("/")[2]
        async with other.client.get(
            f"{CONTEXTS}?kind=ImplicitlyCreated", headers={"NGSILD-Tenant": tenant}
        ) as response:
            assert await response.json() == [again["jsonldContext"]]
        assert (await create_with(broker, source, {"NGSILD-Tenant": tenant}))[0] == 201
        received = (await receiver.wait(1, "/a"))[0]
    assert received.headers["Link"].startswith(f"<{url}>")
    assert "@context" not in received.body
    assert received.body["data"][0]["speed"]["value"] == 1
    async with aiohttp.ClientSession() as client, client.get(url) as response:  # as a program that follows the link
        assert await response.json() == {"@context": [*source, CORE]}
    assert (await create_with(other, url))[0] == 201


async def test_a_hosted_context_serves_subscriptions(broker: RunningBroker, other: RunningBroker, tenant: str) -> None:
    receiver = Receiver()
    path = await add(broker, {"@context": {"pace": "urn:vocab:speed"}}, tenant)
    async with serving(receiver):
        url = broker.url + path
        subscription = await subscribe(other, receiver.url, SPEED["@context"], tenant, jsonldContext=url)
        assert subscription["jsonldContext"] == url
        assert (await create_with(other, SPEED["@context"], {"NGSILD-Tenant": tenant}))[0] == 201
        received = (await receiver.wait())[0]
    assert received.headers["Link"].startswith(f"<{url}>")
    assert received.body["data"][0]["pace"]["value"] == 1
