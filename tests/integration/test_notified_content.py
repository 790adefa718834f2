"""What notifications say (clause 5.8.6): changes, deletions, linked entities, GeoJSON, versions, linked conditions."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.ngsild.model import NGSI_LD_NULL
from tests.conftest import RunningBroker
from tests.integration.api import CORE, DEFAULT, ENTITIES, JSON_LD, SUBSCRIPTIONS, V1, create, new_id, new_type, until
from tests.integration.servers import Received, Receiver, Site, serving
from tests.integration.test_subscriptions_http import show, subscribe, update

EVERYTHING = ["entityCreated", "attributeCreated", "attributeUpdated", "attributeDeleted", "entityDeleted"]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    server = Receiver()
    async with serving(server):
        yield server


async def listen(
    broker: RunningBroker, receiver: Receiver, kind: str, endpoint: dict[str, Any] | None = None, **members: Any
) -> str:
    """Subscribe to the entities of a type; members of the notification are those that a subscription has not."""
    params = {"join", "joinLevel", "pick", "omit", "showChanges", "format", "sysAttrs"}
    notification = {name: members.pop(name) for name in params & members.keys()}
    notification["endpoint"] = {"uri": receiver.url, **(endpoint or {})}
    return await subscribe(broker, entities=[{"type": kind}], notification=notification, **members)


async def remove(broker: RunningBroker, path: str) -> None:
    async with broker.client.delete(f"{ENTITIES}/{path}") as response:
        assert response.status == 204, await response.text()


def told(notified: list[Received]) -> list[Any]:
    return [one.body["data"] for one in notified]


async def test_changes_come_with_the_values_before(broker: RunningBroker, receiver: Receiver) -> None:
    kind = new_type()
    await listen(broker, receiver, kind, showChanges=True, notificationTrigger=EVERYTHING)
    entity_id = await create(broker, {"a": 1, "b": {"object": "urn:x:1"}, "c": {"vocab": "V"}}, type=kind)
    await update(broker, entity_id, a=2, b={"object": "urn:x:2"})
    await remove(broker, f"{entity_id}/attrs/a")
    await remove(broker, entity_id)
    created, updated, reduced, deleted = (one[0] for one in told(await receiver.wait(4)))
    assert "previous" not in str(created)
    assert updated["a"] == {"type": "Property", "value": 2, "previousValue": 1}
    assert updated["b"] == {"type": "Relationship", "object": "urn:x:2", "previousObject": "urn:x:1"}
    assert updated["c"] == {"type": "VocabProperty", "vocab": "V"}
    assert reduced["a"] == {"type": "Property", "value": NGSI_LD_NULL, "previousValue": 2}
    assert deleted.keys() == {"id", "type", "deletedAt", "b", "c"}
    assert deleted["c"] == {"type": "VocabProperty", "vocab": NGSI_LD_NULL, "previousVocab": "V"}


async def test_the_deletion_of_an_entity_is_that_of_its_watched_attributes(
    broker: RunningBroker, receiver: Receiver
) -> None:
    kind = new_type()
    await listen(broker, receiver, kind, watchedAttributes=["a"], notificationTrigger=["attributeDeleted"])
    entity_id = await create(broker, {"a": 1, "b": 2}, type=kind)
    await remove(broker, entity_id)
    [[deleted]] = told(await receiver.wait())
    assert deleted.keys() == {"id", "type", "deletedAt", "a"}


async def test_what_expires_is_notified_as_deleted(broker: RunningBroker, receiver: Receiver) -> None:
    kind = new_type()
    await listen(broker, receiver, kind, notificationTrigger=["entityDeleted", "attributeDeleted"], showChanges=True)
    soon = {"expiresAt": (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
    lasting = await create(broker, {"a": {"value": 1, **soon}, "b": 2}, type=kind)
    fleeting = await create(broker, {"a": 3}, type=kind, **soon)
    by_id = {one["id"]: one for [one] in told(await receiver.wait(2, seconds=20))}
    gone = {"type": "Property", "value": NGSI_LD_NULL}
    assert by_id[lasting]["a"] == {**gone, "previousValue": 1}
    assert by_id[lasting]["b"] == {"type": "Property", "value": 2}
    assert by_id[fleeting]["a"] == {**gone, "previousValue": 3}
    assert "deletedAt" in by_id[fleeting]


async def test_linked_entities_are_notified_as_they_are(broker: RunningBroker, receiver: Receiver) -> None:
    kind, city, country = new_type(), new_id("City"), new_id("Country")
    await create(broker, {"name": "France"}, id=country, type="Country")
    await create(broker, {"name": "Paris", "in": {"object": country}, "size": 105}, id=city, type="City")
    url = receiver.url
    for form, level, pick in (("inline", 2, ["id", "at{name,in{name}}"]), ("flat", 1, ["id", "at{id,name}"])):
        path = await listen(
            broker, receiver, kind, {"uri": f"{url}/{form}"}, join=form, joinLevel=level, pick=pick, format="simplified"
        )  # fmt: skip
        assert (await show(broker, path))["notification"]["pick"] == pick
    entity_id = await create(broker, {"at": {"object": city}, "a": 1}, type=kind)
    [inline] = told(await receiver.wait(1, "/inline"))
    assert inline == [{"id": entity_id, "at": {"name": "Paris", "in": {"name": "France"}}}]
    [flat] = told(await receiver.wait(1, "/flat"))
    assert flat == [{"id": entity_id, "at": city}, {"id": city, "name": "Paris"}]
    await remove(broker, city)
    await update(broker, entity_id, at={"object": [city, country]})
    _, [alone] = told(await receiver.wait(2, "/inline"))
    assert alone == {"id": entity_id, "at": [city, {"name": "France"}]}


async def test_a_condition_on_linked_entities_is_decided_on_them(broker: RunningBroker, receiver: Receiver) -> None:
    kind = new_type()
    low, full, drained = new_id("Battery"), new_id("Battery"), new_id("Battery")
    for battery, level in ((low, 0.3), (full, 0.95), (drained, 0.95)):
        await create(broker, {"level": level}, id=battery, type="Battery")
    await listen(broker, receiver, kind, q="has{level}<0.5;a==1", format="simplified")
    for battery in (full, low):
        for value in (1, 2):
            await create(broker, {"has": {"object": battery}, "a": value}, type=kind)
    await receiver.wait()
    entity_id = await create(broker, {"has": {"object": drained}, "a": 2}, type=kind)
    await update(broker, drained, level=0.1)  # the battery is not subscribed to
    await update(broker, entity_id, a=1)
    first, last = told(await receiver.wait(2))
    assert (first[0]["has"], first[0]["a"]) == (low, 1)
    assert (last[0]["id"], last[0]["a"]) == (entity_id, 1)


@pytest.mark.parametrize("plain", [False, True])
async def test_geojson_is_notified_as_a_collection_of_features(
    broker: RunningBroker, receiver: Receiver, plain: bool
) -> None:
    kind = new_type()
    endpoint: dict[str, Any] = {"accept": "application/geo+json"}
    if plain:
        endpoint["receiverInfo"] = [{"key": "Prefer", "value": "body=json"}]
    await listen(broker, receiver, kind, endpoint, format="simplified")
    point = {"type": "Point", "coordinates": [10.5, 52]}
    entity_id = await create(broker, {"location": {"type": "GeoProperty", "value": point}, "a": 1}, type=kind)
    [notification] = await receiver.wait()
    assert notification.headers["Content-Type"] == "application/geo+json"
    assert ("Link" in notification.headers) == plain
    data = notification.body["data"]
    assert data.pop("@context", None) == (None if plain else CORE)
    properties = {"type": kind, "location": point, "a": 1}
    assert data == {
        "type": "FeatureCollection",
        "features": [{"id": entity_id, "type": "Feature", "geometry": point, "properties": properties}],
    }


async def test_an_earlier_version_is_notified_in_its_own_terms(broker: RunningBroker, receiver: Receiver) -> None:
    kind = new_type()
    await listen(broker, receiver, kind, ngsildConformance="1.3")
    await create(broker, {"a": {"vocab": "V"}, "b": {"languageMap": {"en": "x"}}}, type=kind, scope="/x")
    [[shown]] = told(await receiver.wait())
    assert shown["a"] == {"type": "Property", "value": "V"}
    assert shown["b"] == {"type": "Property", "value": {"en": "x"}}
    assert "scope" not in shown


async def test_languages_datasets_and_system_attributes_are_told_as_asked(
    broker: RunningBroker, receiver: Receiver
) -> None:
    kind = new_type()
    await listen(broker, receiver, kind, lang="fr,en;q=0.5", datasetId=["@none"], sysAttrs=True, omit=["b"])
    texts = {"languageMap": {"en": "tower", "fr": "tour"}}
    await create(broker, {"a": [texts, {"value": 1, "datasetId": "urn:d:1"}], "b": 1}, type=kind)
    [[shown]] = told(await receiver.wait())
    assert {"createdAt", "modifiedAt"} <= shown.keys()
    assert (shown["a"]["value"], shown["a"]["lang"]) == ("tour", "fr")
    assert "createdAt" in shown["a"]
    assert "b" not in shown


async def test_a_vocabulary_term_in_q_is_expanded_where_asked_for(broker: RunningBroker, receiver: Receiver) -> None:
    kind = new_type()
    await listen(broker, receiver, kind, {"uri": f"{receiver.url}/yes"}, q='c=="V"', expandValues="c")
    await listen(broker, receiver, kind, {"uri": f"{receiver.url}/iri"}, q=f'c=="{DEFAULT}V"', jsonKeys="c")
    await listen(broker, receiver, kind, {"uri": f"{receiver.url}/no"}, q='c=="V"', jsonKeys="c")
    entity_id = await create(broker, {"c": {"vocab": "V"}}, type=kind)
    await update(broker, entity_id, a=1)
    await receiver.wait(2, "/yes")
    await receiver.wait(2, "/iri")
    assert not [one for one in receiver.received if one.path == "/no"]


async def test_a_reloaded_context_names_what_is_notified_from_then_on(
    broker: RunningBroker, receiver: Receiver
) -> None:
    site, kind = Site(), f"urn:vocab:{new_type()}"
    async with serving(site):
        url = site.publish("/context.jsonld", {"@context": {"old": "urn:vocab:a"}})
        body = {
            "@context": [url], "type": "Subscription", "entities": [{"type": kind}],
            "notification": {"format": "keyValues", "endpoint": {"uri": receiver.url}},
        }  # fmt: skip
        async with broker.client.post(SUBSCRIPTIONS, json=body, headers={"Content-Type": JSON_LD}) as response:
            assert response.status == 201, await response.text()
        entity_id = await create(broker, {"urn:vocab:a": 0}, type=kind)
        await receiver.wait()
        assert receiver.received[0].body["data"][0]["old"] == 0
        site.publish("/context.jsonld", {"@context": {"new": "urn:vocab:a"}})
        async with broker.client.delete(f"{V1}/jsonldContexts/{url.replace('/', '%2F')}?reload=true") as response:
            assert response.status == 204, await response.text()
        value = 0

        async def renamed() -> bool:
            nonlocal value
            value += 1
            await update(broker, entity_id, **{"urn:vocab:a": value})
            await receiver.wait(1 + value)
            return bool(receiver.received[-1].body["data"][0].get("new") == value)

        await until(renamed, 15)


async def test_an_expired_subscription_is_silent_until_it_gets_a_time_to_come(
    broker: RunningBroker, receiver: Receiver
) -> None:
    kind = new_type()
    soon = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    path = await listen(broker, receiver, kind, expiresAt=soon)

    async def expired() -> bool:
        return bool((await show(broker, path))["status"] == "expired")

    await until(expired)
    entity_id = await create(broker, {"a": 1}, type=kind)
    for change, status in (({"isActive": False}, "expired"), ({"expiresAt": "2199-01-01T00:00:00Z"}, "active")):
        async with broker.client.patch(path, json=change) as response:
            assert response.status == 204
        assert (await show(broker, path))["status"] == status
    await update(broker, entity_id, a=2)
    [[shown]] = told(await receiver.wait())
    assert shown["a"]["value"] == 2
