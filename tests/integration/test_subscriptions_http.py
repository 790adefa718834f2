"""Subscriptions over HTTP (clauses 6.10, 6.11, 5.8.1 to 5.8.6, 5.2.12): kept as asked, and notified over real HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conftest import RunningBroker
from tests.integration.api import (
    CORE,
    ENTITIES,
    JSON,
    JSON_LD,
    RELATION,
    SUBSCRIPTIONS,
    create,
    link,
    new_id,
    new_type,
    until,
)
from tests.integration.servers import Receiver, serving
from tests.problems import assert_problem

NOWHERE = {"endpoint": {"uri": "http://127.0.0.1:9/"}}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    server = Receiver()
    async with serving(server):
        yield server


def subscription(**members: Any) -> dict[str, Any]:
    return {"type": "Subscription", "entities": [{"type": "T"}], "notification": NOWHERE, **members}


async def subscribe(broker: RunningBroker, headers: dict[str, str] | None = None, **members: Any) -> str:
    """Create a subscription; its path."""
    async with broker.client.post(SUBSCRIPTIONS, json=subscription(**members), headers=headers) as response:
        assert response.status == 201, await response.text()
        return response.headers["Location"]


async def show(broker: RunningBroker, path: str, **parameters: str) -> dict[str, Any]:
    async with broker.client.get(path, params=parameters) as response:
        assert response.status == 200
        shown: dict[str, Any] = await response.json()
        return shown


async def update(broker: RunningBroker, entity_id: str, **attributes: Any) -> None:
    async with broker.client.patch(f"{ENTITIES}/{entity_id}/attrs", json=attributes) as response:
        assert response.status == 204, await response.text()


async def test_a_subscription_comes_back_as_it_was_sent(broker: RunningBroker) -> None:
    given: dict[str, Any] = {
        "id": new_id("Subscription"), "type": "Subscription", "subscriptionName": "name", "description": "words",
        "entities": [{"type": "Car", "idPattern": "urn:.*"}, {"type": "Bus", "id": "urn:a:1"}],
        "watchedAttributes": ["speed"], "q": "speed>50;brand==\"Audi\"", "scopeQ": "/town/#",
        "geoQ": {"georel": "near;maxDistance==2000", "geometry": "Point", "coordinates": [10, 52]},
        "expiresAt": "2199-01-01T00:00:00Z", "isActive": True, "throttling": 5, "lang": "de",
        "notificationTrigger": ["attributeUpdated", "entityDeleted"],
        "notification": {
            "attributes": ["speed"], "format": "keyValues",
            "endpoint": {
                "uri": "http://127.0.0.1:9/x", "accept": JSON_LD, "timeout": 2000, "cooldown": 100,
                "receiverInfo": [{"key": "X-A", "value": "b"}],
            },
        },
    }  # fmt: skip
    path = await subscribe(broker, **given)
    assert path == f"{SUBSCRIPTIONS}/{given['id']}"
    shown = await show(broker, path)
    assert shown.pop("status") == "active"
    assert shown.pop("jsonldContext") == CORE  # 5.8.1.4
    assert shown == given
    assert {"createdAt", "modifiedAt"} <= set(await show(broker, path, options="sysAttrs"))


async def test_an_id_is_made_up_where_there_is_none_and_refused_where_it_is_taken(broker: RunningBroker) -> None:
    path = await subscribe(broker)
    identifier = path.rpartition("/")[2]
    assert identifier.startswith("urn:ngsi-ld:Subscription:")
    async with broker.client.post(SUBSCRIPTIONS, json=subscription(id=identifier)) as response:
        await assert_problem(response, 409, "AlreadyExists")


@pytest.mark.parametrize(
    "members",
    [
        {"type": "Thing"},
        {"type": None},
        {"notification": None},
        {"notification": {}},
        {"notification": {"endpoint": {}}},
        {"notification": {"endpoint": {"uri": "no url"}}},
        {"notification": {"endpoint": {"uri": "ftp://a/b"}}},
        {"notification": {**NOWHERE, "format": "sideways"}},
        {"notification": {**NOWHERE, "attributes": []}},
        {"entities": []},
        {"entities": [{}]},
        {"entities": [{"id": "no-uri", "type": "T"}]},
        {"entities": [{"type": "T", "idPattern": "(["}]},
        {"entities": None},
        {"watchedAttributes": []},
        {"watchedAttributes": [5]},
        {"notificationTrigger": ["sometimes"]},
        {"q": "speed=="},
        {"geoQ": {"georel": "near"}},
        {"geoQ": {"georel": "beside", "geometry": "Point", "coordinates": [1, 1]}},
        {"scopeQ": "//"},
        {"expiresAt": "2001-01-01T00:00:00Z"},  # 5.8.1.4
        {"expiresAt": "soon"},
        {"throttling": 0},
        {"throttling": -1},
        {"throttling": 1, "timeInterval": 1},
        {"isActive": "yes"},
        {"id": "no-uri"},
        {"unknownMember": 1},
    ],
)
async def test_a_subscription_that_makes_no_sense_is_refused(broker: RunningBroker, members: dict[str, Any]) -> None:
    async with broker.client.post(SUBSCRIPTIONS, json=subscription(**members)) as response:
        await assert_problem(response, 400, "BadRequestData")


@pytest.mark.parametrize(
    "members",
    [
        {"timeInterval": 5},
        {"csf": "region==5"},
        {"ngsildConformance": "1.6"},
        {"splitEntities": True},
        {"q": "near{speed}>5"},
    ],
)
async def test_what_needs_other_sources_versions_or_times_is_kept(
    broker: RunningBroker, members: dict[str, Any]
) -> None:
    shown = await show(broker, await subscribe(broker, **members))
    assert shown == {**shown, **members}


async def test_a_subscription_needs_something_to_watch(broker: RunningBroker) -> None:
    body = {"type": "Subscription", "notification": NOWHERE}
    async with broker.client.post(SUBSCRIPTIONS, json=body) as response:
        await assert_problem(response, 400, "BadRequestData")  # 5.2.12


async def test_listing_has_pages_and_counts(broker: RunningBroker, tenant: str) -> None:
    headers = {"NGSILD-Tenant": tenant}
    ids = [(await subscribe(broker, headers)).rpartition("/")[2] for _ in range(5)]
    seen: list[str] = []
    for offset in (0, 2, 4):
        async with broker.client.get(
            SUBSCRIPTIONS, params={"limit": "2", "offset": str(offset), "count": "true"}, headers=headers
        ) as response:
            assert response.headers["NGSILD-Results-Count"] == "5"
            seen += [one["id"] for one in await response.json()]
            links = ", ".join(response.headers.getall("Link"))
            assert ('rel="next"' in links, 'rel="prev"' in links) == (offset < 4, offset > 0)
    assert seen == ids
    async with broker.client.get(SUBSCRIPTIONS, params={"limit": "0"}, headers=headers) as response:
        await assert_problem(response, 400, "BadRequestData")


async def test_a_subscription_in_linked_data_bears_its_context(broker: RunningBroker) -> None:
    path = await subscribe(broker)
    async with broker.client.get(path, headers={"Accept": JSON_LD}) as response:
        assert response.headers["Content-Type"] == JSON_LD
        assert (await response.json(content_type=None))["@context"] == CORE
    async with broker.client.get(path, headers={"Accept": JSON}) as response:
        assert response.headers["Link"] == f'<{CORE}>; rel="{RELATION}"; type="{JSON_LD}"'


async def test_an_update_replaces_members_deletes_nulls_and_leaves_the_rest(broker: RunningBroker) -> None:
    path = await subscribe(broker, q="speed>50", description="old", watchedAttributes=["speed"])
    body = {"type": "Subscription", "q": "speed>90", "description": "urn:ngsi-ld:null", "isActive": False}
    async with broker.client.patch(path, json=body) as response:
        assert response.status == 204
        assert await response.read() == b""
    shown = await show(broker, path)
    assert (shown["q"], shown["status"], shown["watchedAttributes"]) == ("speed>90", "paused", ["speed"])
    assert "description" not in shown
    async with broker.client.patch(path, json={"isActive": True}) as response:
        assert response.status == 204
    assert (await show(broker, path))["status"] == "active"


@pytest.mark.parametrize(
    "body",
    [{}, [], {"q": "speed=="}, {"notification": None}, {"id": "urn:other:1"}, {"expiresAt": "2001-01-01T00:00:00Z"},
     {"entities": []}, {"unknown": 1}, {"notification": {"endpoint": {"uri": 5}}}],
)  # fmt: skip
async def test_a_bad_update_leaves_the_subscription_as_it_was(broker: RunningBroker, body: Any) -> None:
    path = await subscribe(broker, q="speed>50")
    before = await show(broker, path)
    async with broker.client.patch(path, json=body) as response:
        await assert_problem(response, 400, "BadRequestData")
    assert await show(broker, path) == before


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_what_does_not_exist_is_404_and_what_is_no_uri_is_400(broker: RunningBroker, method: str) -> None:
    body = {"isActive": False}
    async with broker.client.request(method, f"{SUBSCRIPTIONS}/{new_id('Subscription')}", json=body) as response:
        await assert_problem(response, 404, "ResourceNotFound")
    async with broker.client.request(method, f"{SUBSCRIPTIONS}/no-uri", json=body) as response:
        await assert_problem(response, 400, "BadRequestData")


async def test_a_deleted_subscription_is_gone(broker: RunningBroker) -> None:
    path = await subscribe(broker)
    async with broker.client.delete(path) as response:
        assert response.status == 204
    async with broker.client.get(path) as response:
        await assert_problem(response, 404, "ResourceNotFound")


# Notifications (5.8.6, 5.3.1, 6.3.8)


async def test_a_change_is_notified_in_the_normalized_form(broker: RunningBroker, receiver: Receiver) -> None:
    kind = new_type()
    path = await subscribe(
        broker,
        entities=[{"type": kind}],
        notification={"endpoint": {"uri": receiver.url + "/n", "receiverInfo": [{"key": "X-A", "value": "b"}]}},
    )
    entity_id = await create(
        broker, {"speed": {"value": 10, "unitCode": "KMH"}, "near": {"object": "urn:p:1"}}, type=kind
    )
    (notification,) = await receiver.wait()
    assert notification.headers["Content-Type"] == JSON
    assert notification.headers["Link"] == f'<{CORE}>; rel="{RELATION}"; type="{JSON_LD}"'
    assert notification.headers["X-A"] == "b"
    body = notification.body
    assert set(body) == {"id", "type", "subscriptionId", "notifiedAt", "data"}
    assert (body["type"], body["subscriptionId"]) == ("Notification", path.rpartition("/")[2])
    assert body["data"] == [
        {
            "id": entity_id, "type": kind, "speed": {"type": "Property", "value": 10, "unitCode": "KMH"},
            "near": {"type": "Relationship", "object": "urn:p:1"},
        }
    ]  # fmt: skip


async def test_a_change_is_notified_as_key_values_in_linked_data(broker: RunningBroker, receiver: Receiver) -> None:
    kind = new_type()
    await subscribe(
        broker, entities=[{"type": kind}],
        notification={"format": "keyValues", "endpoint": {"uri": receiver.url, "accept": JSON_LD}},
    )  # fmt: skip
    entity_id = await create(broker, {"speed": 10, "text": {"languageMap": {"en": "x"}}}, type=kind)
    (notification,) = await receiver.wait()
    assert notification.headers["Content-Type"] == JSON_LD
    assert "Link" not in notification.headers
    assert notification.body["@context"] == CORE
    assert notification.body["data"] == [
        {"@context": CORE, "id": entity_id, "type": kind, "speed": 10, "text": {"languageMap": {"en": "x"}}}
    ]


async def test_only_what_is_asked_for_is_notified(broker: RunningBroker, receiver: Receiver) -> None:
    kind = new_type()
    endpoint = {"endpoint": {"uri": receiver.url}, "attributes": ["speed"], "format": "simplified"}
    await subscribe(
        broker, entities=[{"type": kind, "idPattern": ".*:fast"}], watchedAttributes=["speed"], q="speed>50",
        notification=endpoint,
    )  # fmt: skip
    slow, fast = f"{new_id()}:slow", f"{new_id()}:fast"
    for entity_id in (slow, fast):
        await create(broker, {"speed": 10, "colour": "red"}, id=entity_id, type=kind)
        await update(broker, entity_id, colour="blue")
        await update(broker, entity_id, speed=60)
        await update(broker, entity_id, colour="green")
    await update(broker, fast, speed=70)
    notified = await receiver.wait(2)
    assert [one.body["data"] for one in notified] == [
        [{"id": fast, "type": kind, "speed": 60}],
        [{"id": fast, "type": kind, "speed": 70}],
    ]


async def test_updates_deletions_and_attribute_paths_all_notify(broker: RunningBroker, receiver: Receiver) -> None:
    kind = new_type()
    triggers = ["entityCreated", "attributeUpdated", "attributeDeleted", "entityDeleted"]
    await subscribe(
        broker, entities=[{"type": kind}], notificationTrigger=triggers,
        notification={"endpoint": {"uri": receiver.url}, "format": "concise"},
    )  # fmt: skip
    entity_id = await create(broker, {"a": 1, "b": 1}, type=kind)
    path = f"{ENTITIES}/{entity_id}"
    async with broker.client.patch(f"{path}/attrs/a", json={"value": 2}) as response:
        assert response.status == 204
    async with broker.client.delete(f"{path}/attrs/b") as response:
        assert response.status == 204
    async with broker.client.delete(path) as response:
        assert response.status == 204
    notified = await receiver.wait(4)
    assert [one.body["data"][0]["id"] for one in notified] == [entity_id] * 4
    assert (notified[0].body["data"][0]["a"], notified[1].body["data"][0]["a"]) == (1, 2)


async def test_a_tenants_notification_names_its_tenant(broker: RunningBroker, tenant: str, receiver: Receiver) -> None:
    headers = {"NGSILD-Tenant": tenant}
    await subscribe(broker, headers, notification={"endpoint": {"uri": receiver.url}})
    await create(broker, {"a": 1}, type="T")  # in the default tenant: nobody is told
    entity = {"id": "urn:a:1", "type": "T", "a": 1}
    async with broker.client.post(ENTITIES, json=entity, headers=headers) as response:
        assert response.status == 201
    (notification,) = await receiver.wait()
    assert notification.headers["NGSILD-Tenant"] == tenant  # 6.3.14
    assert notification.body["data"][0]["id"] == "urn:a:1"


async def test_a_subscription_counts_what_it_sent(broker: RunningBroker, receiver: Receiver) -> None:
    kind = new_type()
    path = await subscribe(broker, entities=[{"type": kind}], notification={"endpoint": {"uri": receiver.url}})
    entity_id = await create(broker, {"a": 1}, type=kind)
    await update(broker, entity_id, a=2)
    await receiver.wait(2)

    async def counted() -> bool:
        return (await show(broker, path))["notification"].get("timesSent") == 2

    await until(counted)
    told = (await show(broker, path))["notification"]
    assert told["status"] == "ok"
    assert told["lastSuccess"] >= told["lastNotification"]


async def test_a_paused_or_deleted_subscription_stays_silent(broker: RunningBroker, receiver: Receiver) -> None:
    kind = new_type()
    there = {"entities": [{"type": kind}]}
    paused = await subscribe(
        broker, **there, isActive=False, notification={"endpoint": {"uri": receiver.url + "/paused"}}
    )
    deleted = await subscribe(broker, **there, notification={"endpoint": {"uri": receiver.url + "/deleted"}})
    await subscribe(broker, **there, notification={"endpoint": {"uri": receiver.url + "/active"}})
    async with broker.client.delete(deleted) as response:
        assert response.status == 204
    entity_id = await create(broker, {"a": 1}, type=kind)
    await receiver.wait(1, "/active")
    async with broker.client.patch(paused, json={"isActive": True}) as response:
        assert response.status == 204
    await update(broker, entity_id, a=2)
    await receiver.wait(2, "/active")
    (late,) = await receiver.wait(1, "/paused")
    assert late.body["data"][0]["a"]["value"] == 2
    assert not [one for one in receiver.received if one.path == "/deleted"]


async def test_the_context_of_the_subscription_names_what_is_notified(
    broker: RunningBroker, receiver: Receiver
) -> None:
    context = {"speed": "urn:vocab:tempo", "Car": "urn:vocab:Car"}
    body = {
        "@context": [context, CORE], "type": "Subscription", "entities": [{"type": "Car"}], "q": "speed>5",
        "notification": {"format": "keyValues", "endpoint": {"uri": receiver.url, "accept": JSON_LD}},
    }  # fmt: skip
    async with broker.client.post(SUBSCRIPTIONS, json=body, headers={"Content-Type": JSON_LD}) as response:
        assert response.status == 201, await response.text()
    entity_id = await create(broker, {"urn:vocab:tempo": 10}, type="urn:vocab:Car")
    (notification,) = await receiver.wait()
    assert notification.body["@context"] == [context, CORE]
    assert notification.body["data"] == [{"@context": [context, CORE], "id": entity_id, "type": "Car", "speed": 10}]


async def test_a_link_header_gives_the_context_of_a_subscription(broker: RunningBroker) -> None:
    old = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.6.jsonld"
    assert (await show(broker, await subscribe(broker, link(old))))["entities"] == [{"type": "T"}]
