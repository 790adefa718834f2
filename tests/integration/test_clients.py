"""What real clients put on the wire, seen with unmodified ones: each of their habits has to be served as it is.

The clients: FIWARE IoT Agent JSON, ngsildclient, filip, pyngsild, ngsijs. Requests stand here as exact bytes where a
library would tidy them up.
"""

import asyncio
import http.client
import json
from typing import Any

import aiohttp
import pytest

from tests.conftest import RunningBroker
from tests.integration.api import (
    BATCH,
    CORE,
    ENTITIES,
    JSON,
    JSON_LD,
    SUBSCRIPTIONS,
    create,
    link,
    new_id,
    new_type,
    read,
)
from tests.integration.servers import Receiver, serving
from tests.integration.wire import Answer, Headers, request

V1_6 = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.6.jsonld"
CORES = [
    V1_6,
    "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.7.jsonld",
    "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.8.jsonld",
    CORE,
    "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context.jsonld",
]
FIWARE = {
    "fiware-service": "smartcity",
    "fiware-servicepath": "/environment",
    "NGSILD-Path": "/",
    "Connection": "keep-alive",
}
NOWHERE = {"endpoint": {"uri": "http://127.0.0.1:9/"}}


def send(broker: RunningBroker, method: str, target: str, headers: Headers = (), body: Any = None) -> Answer:
    """One request on a connection of its own; `body` as JSON."""
    data = None if body is None else json.dumps(body).encode()
    return request(broker.settings.port, method, target, headers, data)


# Every client


async def test_collections_are_addressed_with_a_slash_at_the_end(broker: RunningBroker) -> None:
    kind = new_type()
    headers = {"Content-Type": JSON}
    entity = {"id": new_id(), "type": kind}
    assert send(broker, "POST", f"{ENTITIES}/", headers, entity).status == 201
    assert send(broker, "GET", f"{ENTITIES}/?type={kind}").json()[0]["id"] == entity["id"]
    assert send(broker, "POST", f"{BATCH}/upsert/?options=update", headers, [entity]).status == 204
    subscription = {"type": "Subscription", "entities": [{"type": kind}], "notification": NOWHERE}
    created = send(broker, "POST", f"{SUBSCRIPTIONS}/", headers, subscription)
    assert created.status == 201
    assert created.headers["Location"].startswith(f"{SUBSCRIPTIONS}/urn:")
    assert send(broker, "GET", f"{SUBSCRIPTIONS}/").status == 200


async def test_error_answers_are_exactly_application_json_with_the_exact_type(broker: RunningBroker) -> None:
    entity_id = await create(broker)
    base = "https://uri.etsi.org/ngsi-ld/errors/"
    for answer, kind in (
        (send(broker, "GET", f"{ENTITIES}/{new_id()}"), "ResourceNotFound"),
        (send(broker, "POST", ENTITIES, {"Content-Type": JSON}, {"id": entity_id, "type": "T"}), "AlreadyExists"),
        (send(broker, "POST", ENTITIES, {"Content-Type": JSON}, {"id": "x"}), "BadRequestData"),
        (send(broker, "GET", f"{ENTITIES}?nonsense=1"), "InvalidRequest"),
        (send(broker, "GET", f"{ENTITIES}?type=T", {"NGSILD-Tenant": new_type()}), "NonexistentTenant"),
    ):
        assert answer.headers.get_all("Content-Type") == ["application/json"]
        assert answer.json()["type"] == base + kind


@pytest.mark.parametrize("url", CORES)
async def test_the_core_context_is_known_by_every_url_without_fetching(broker: RunningBroker, url: str) -> None:
    entity = {"@context": url, "id": new_id(), "type": "T", "name": {"type": "Property", "value": "x"}}
    assert send(broker, "POST", ENTITIES, {"Content-Type": JSON_LD}, entity).status == 201
    path = f"{ENTITIES}/{entity['id']}"
    answer = send(broker, "GET", path, {"Accept": JSON_LD, **link(url)})
    assert answer.status == 200
    assert answer.json()["name"] == {"type": "Property", "value": "x"}
    assert (
        send(broker, "PATCH", f"{path}/attrs/name", {"Content-Type": JSON, **link(url)}, {"value": "y"}).status == 204
    )
    # v1.6 stands in the Link of every request, DELETE included, whose body has none.
    assert send(broker, "DELETE", f"{path}/attrs/name", link(url)).status == 204
    assert send(broker, "DELETE", path, link(url)).status == 204


@pytest.mark.parametrize("content_type", [JSON, JSON_LD])
async def test_get_and_delete_may_have_a_content_type_and_no_body(broker: RunningBroker, content_type: str) -> None:
    entity_id = await create(broker, {"a": 1})
    headers = {"Content-Type": content_type}
    for target in (f"{ENTITIES}/{entity_id}", f"{ENTITIES}?type=T", SUBSCRIPTIONS, "/version", "/health/live"):
        assert send(broker, "GET", target, headers).status == 200
    with_length = {**headers, "Content-Length": "0"}
    assert send(broker, "DELETE", f"{ENTITIES}/{entity_id}/attrs/a", with_length).status == 204
    assert send(broker, "DELETE", f"{ENTITIES}/{entity_id}", headers).status == 204


async def test_a_batch_delete_is_a_plain_array_as_linked_data(broker: RunningBroker) -> None:
    ids = [await create(broker) for _ in range(3)]
    answer = send(broker, "POST", f"{BATCH}/delete", {"Content-Type": JSON_LD}, ids)
    assert (answer.status, answer.body) == (204, b"")
    assert send(broker, "GET", f"{ENTITIES}/{ids[0]}").status == 404


async def test_counts_come_for_subscriptions_too_and_by_option(broker: RunningBroker, tenant: str) -> None:
    headers = {"Content-Type": JSON, "NGSILD-Tenant": tenant}
    for number in range(3):
        subscription = {"type": "Subscription", "entities": [{"type": "T"}], "notification": NOWHERE}
        assert send(broker, "POST", SUBSCRIPTIONS, headers, subscription).status == 201
        entity = {"id": f"urn:e:{number}", "type": "T"}
        assert send(broker, "POST", ENTITIES, headers, entity).status == 201
    for path in (f"{ENTITIES}?type=T&", f"{SUBSCRIPTIONS}?"):
        for query in ("count=true", "options=count", "count=true&options=count", "count=true&limit=1000"):
            answer = send(broker, "GET", path + query, headers)
            assert (answer.status, answer.headers["NGSILD-Results-Count"], len(answer.json())) == (200, "3", 3), query
        answer = send(broker, "GET", f"{path}count=true&limit=0", headers)
        assert (answer.headers["NGSILD-Results-Count"], answer.json()) == ("3", [])
    both = send(broker, "GET", f"{ENTITIES}?type=T&count=true&options=keyValues,count", headers)
    assert both.headers["NGSILD-Results-Count"] == "3"


async def test_the_context_is_in_the_body_of_linked_data_subscriptions_included(broker: RunningBroker) -> None:
    body = {"@context": V1_6, "type": "Subscription", "entities": [{"type": "T"}], "notification": NOWHERE}
    created = send(broker, "POST", SUBSCRIPTIONS, {"Content-Type": JSON_LD}, body)
    headers = {"Accept": JSON_LD, **link(V1_6)}
    assert "@context" in send(broker, "GET", created.headers["Location"], headers).json()
    assert all("@context" in one for one in send(broker, "GET", SUBSCRIPTIONS, headers).json())
    kind = new_type()
    entity_id = await create(broker, type=kind)
    assert "@context" in send(broker, "GET", f"{ENTITIES}/{entity_id}", headers).json()
    assert "@context" in send(broker, "GET", f"{ENTITIES}?type={kind}", headers).json()[0]


async def test_a_partial_update_has_no_type(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"temperature": {"value": 20, "unitCode": "CEL"}})
    path = f"{ENTITIES}/{entity_id}/attrs/temperature"
    assert send(broker, "PATCH", path, {"Content-Type": JSON}, {"value": 21.5}).status == 204
    assert (await read(broker, entity_id))["temperature"] == {"type": "Property", "value": 21.5, "unitCode": "CEL"}


async def test_merge_patch_is_json_for_post_attrs_and_patch_subscriptions(broker: RunningBroker) -> None:
    headers = {"Content-Type": "application/merge-patch+json", **link(V1_6)}
    entity_id = await create(broker)
    assert send(broker, "POST", f"{ENTITIES}/{entity_id}/attrs", headers, {"a": {"value": 1}}).status == 204
    assert (await read(broker, entity_id))["a"]["value"] == 1
    body = {"type": "Subscription", "entities": [{"type": "T"}], "notification": NOWHERE}
    path = send(broker, "POST", SUBSCRIPTIONS, {"Content-Type": JSON}, body).headers["Location"]
    assert send(broker, "PATCH", path, headers, {"isActive": False}).status == 204
    assert send(broker, "GET", path).json()["status"] == "paused"


async def test_a_subscription_may_have_read_only_members_and_a_name(broker: RunningBroker) -> None:
    body = {
        "type": "Subscription", "name": "short", "entities": [{"type": "T"}], "status": "active",
        "createdAt": "2020-01-01T00:00:00Z",
        "notification": {
            **NOWHERE, "status": "ok", "timesSent": 7, "lastSuccess": "2020-01-01T00:00:00Z",
            "lastNotification": "2020-01-01T00:00:00Z", "lastFailure": None, "timesFailed": 0,
        },
    }  # fmt: skip
    created = send(broker, "POST", SUBSCRIPTIONS, {"Content-Type": JSON}, body)
    assert created.status == 201, created.body
    shown = send(broker, "GET", created.headers["Location"]).json()
    assert shown["subscriptionName"] == "short"
    assert "timesSent" not in shown["notification"]
    # What a client read it sends back, changed.
    again = send(broker, "PATCH", created.headers["Location"], {"Content-Type": JSON}, {**shown, "name": "new"} | {
        "subscriptionName": "new"
    })  # fmt: skip
    assert again.status == 204, again.body
    assert send(broker, "GET", created.headers["Location"]).json()["subscriptionName"] == "new"


async def test_attributes_that_were_not_updated_have_a_name_and_a_reason(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1})
    headers = {"Content-Type": JSON}
    answer = send(broker, "POST", f"{ENTITIES}/{entity_id}/attrs?options=noOverwrite", headers, {"a": 2, "b": 1})
    assert answer.status == 207
    (one,) = answer.json()["notUpdated"]
    assert set(one) == {"attributeName", "reason"}


async def test_a_uri_in_q_may_be_unquoted_and_q_percent_encoded_inside_json(broker: RunningBroker) -> None:
    kind = new_type()
    entity_id = await create(broker, {"owner": {"object": "urn:ngsi-ld:Person:1"}, "name": "x y"}, type=kind)
    for q in ("owner==urn:ngsi-ld:Person:1", "owner==%22urn:ngsi-ld:Person:1%22", "name==%22x%20y%22"):
        answer = send(broker, "GET", f"{ENTITIES}?type={kind}&q={q}")
        assert [one["id"] for one in answer.json()] == [entity_id], answer.body
    receiver = Receiver()
    async with serving(receiver):
        body = {
            "type": "Subscription", "entities": [{"type": kind}], "q": "name==%22x%20y%22",
            "notification": {"format": "keyValues", "endpoint": {"uri": receiver.url}},
        }  # fmt: skip
        assert send(broker, "POST", SUBSCRIPTIONS, {"Content-Type": JSON}, body).status == 201
        for number, name in enumerate(("x", "x y")):
            await create(broker, {"name": name, "n": number}, type=kind)
        (notified,) = await receiver.wait()
    assert notified.body["data"][0]["n"] == 1


async def test_a_tenant_comes_into_being_with_its_first_write(broker: RunningBroker, tenant: str) -> None:
    headers = {"Content-Type": JSON, "NGSILD-Tenant": tenant}
    before = send(broker, "GET", f"{ENTITIES}?type=T", headers)
    before.problem(404, "NonexistentTenant")
    entity = [{"id": new_id(), "type": "T"}]
    assert send(broker, "POST", f"{BATCH}/upsert/?options=update", headers, entity).status == 201
    assert send(broker, "GET", f"{ENTITIES}?type=T", headers).status == 200


async def test_the_version_is_asked_as_orions_is(broker: RunningBroker) -> None:
    for target in ("/version", "/version/"):
        answer = send(broker, "GET", target, {"Content-Type": JSON, "Accept": "*/*"})
        assert answer.status == 200
        assert answer.json()


async def test_200_connections_at_once_are_all_served(broker: RunningBroker) -> None:
    kind = new_type()
    async with aiohttp.ClientSession(
        base_url=broker.url, connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60)
    ) as client:

        async def use(number: int) -> list[int]:
            entity = {"id": f"urn:ngsi-ld:{kind}:{number}", "type": kind, "n": number}
            statuses = []
            for method, path, body in (
                ("POST", ENTITIES, entity),
                ("PATCH", f"{ENTITIES}/{entity['id']}/attrs", {"n": number + 1}),
                ("GET", f"{ENTITIES}/{entity['id']}", None),
            ):
                async with client.request(method, path, json=body) as response:
                    await response.read()
                    statuses.append(response.status)
            return statuses

        assert await asyncio.gather(*(use(number) for number in range(200))) == [[201, 204, 200]] * 200
        async with client.get(ENTITIES, params={"type": kind, "count": "true", "limit": "0"}) as response:
            assert response.headers["NGSILD-Results-Count"] == "200"


# The IoT agent


async def test_a_measure_with_the_same_entity_several_times_applies_in_order(broker: RunningBroker) -> None:
    entity_id = new_id("Device")
    body = [
        {
            "@context": V1_6, "id": entity_id, "type": "Device",
            "temperature": {"type": "Property", "value": value, "observedAt": f"2026-01-31T12:00:0{value}.000Z"},
        }
        for value in (1, 3, 2)
    ]  # fmt: skip
    headers = {"Content-Type": JSON_LD, "NGSILD-Tenant": "smartcity", **FIWARE}
    assert send(broker, "POST", f"{BATCH}/upsert/?options=update", headers, body).status == 201
    assert send(broker, "POST", f"{BATCH}/upsert/?options=update", headers, body).status == 204
    shown = send(broker, "GET", f"{ENTITIES}/{entity_id}", headers).json()
    assert shown["temperature"]["value"] == 2  # the last wins


async def test_100_upserts_that_create_the_same_entity_at_once_all_succeed(broker: RunningBroker) -> None:
    entity_id = new_id("Device")
    async with aiohttp.ClientSession(base_url=broker.url, connector=aiohttp.TCPConnector(limit=0)) as client:

        async def upsert(number: int) -> int:
            entity = {
                "@context": V1_6,
                "id": entity_id,
                "type": "Device",
                f"a{number}": {"type": "Property", "value": 1},
            }
            headers = {"Content-Type": JSON_LD, **FIWARE}
            async with client.post(f"{BATCH}/upsert/?options=update", json=[entity], headers=headers) as response:
                await response.read()
                return response.status

        statuses = await asyncio.gather(*(upsert(number) for number in range(100)))
    assert sorted(statuses) == [201] + [204] * 99
    assert len(await read(broker, entity_id)) == 102


async def test_attributes_of_a_device_are_asked_with_a_content_type_of_linked_data(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1, "b": 2, "c": 3}, type="Device")
    headers = {"Content-Type": JSON_LD, "Accept": JSON, **FIWARE}
    answer = send(broker, "GET", f"{ENTITIES}/{entity_id}?attrs=a,b", headers)
    assert answer.status == 200
    assert set(answer.json()) == {"id", "type", "a", "b"}


async def test_a_subscription_of_a_device_is_created_with_a_location(broker: RunningBroker) -> None:
    body = {
        "@context": V1_6, "type": "Subscription", "description": "for a device",
        "entities": [{"id": new_id("Device"), "type": "Device"}], "watchedAttributes": ["a"],
        "notification": {
            "attributes": ["a"], "format": "normalized",
            "endpoint": {"uri": "http://127.0.0.1:9/notify", "accept": JSON},
        },
    }  # fmt: skip
    headers = {"Content-Type": JSON_LD, **FIWARE}
    created = send(broker, "POST", f"{SUBSCRIPTIONS}/", headers, body)
    assert created.status == 201
    identifier = created.headers["Location"].rpartition("/")[2]
    assert send(broker, "GET", f"{SUBSCRIPTIONS}/{identifier}", headers).json()["id"] == identifier
    assert send(broker, "DELETE", f"{SUBSCRIPTIONS}/{identifier}", headers).status == 204


async def test_fiware_headers_mean_nothing(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1})
    answer = send(broker, "GET", f"{ENTITIES}/{entity_id}", FIWARE)
    assert answer.status == 200
    assert "NGSILD-Tenant" not in answer.headers


async def test_one_connection_is_kept_for_many_requests(broker: RunningBroker) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", broker.settings.port, timeout=10)
    try:
        sockets = set()
        for number in range(5):
            body = json.dumps([{"@context": V1_6, "id": "urn:d:kept", "type": "Device", "n": number}])
            connection.request("POST", f"{BATCH}/upsert/?options=update", body, {"Content-Type": JSON_LD, **FIWARE})
            response = connection.getresponse()
            response.read()
            assert response.status in (201, 204)
            assert connection.sock is not None
            sockets.add(connection.sock.getsockname())
        assert len(sockets) == 1
    finally:
        connection.close()
