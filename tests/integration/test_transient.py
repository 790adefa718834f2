"""Transient entities and attributes over HTTP (clause 4.22): gone from every answer before anything is swept."""

import asyncio
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.paging import PageRequest
from broker.core.queries import EntityQuery
from broker.local import LocalBroker
from broker.ngsild.expiry import marked, visible
from broker.ngsild.model import Entity, Instance
from broker.ngsild.query.predicate import compile_predicate
from broker.ngsild.query.tree import Node as QueryNode
from tests.conftest import RunningBroker
from tests.integration.api import ENTITIES, SUBSCRIPTIONS, create, new_id, new_type, query, read
from tests.integration.querying import Town, open_town
from tests.integration.servers import Receiver, serving
from tests.integration.test_filters_agree import nodes, random_entities

BROKER_SETTINGS = {"expiry_sweep_interval": 3600}
"""What these tests see, no sweep has done."""

FUTURE = "2100-01-01T00:00:00Z"
DATASET = "urn:ngsi-ld:Dataset:1"
HERE = {"type": "Point", "coordinates": [1, 2]}


def soon(seconds: float = 2) -> tuple[str, datetime]:
    """An expiry, as a text and as an instant."""
    instant = datetime.now(UTC) + timedelta(seconds=seconds)
    return f"{instant:%Y-%m-%dT%H:%M:%S.%f}Z", instant


async def past(instant: datetime) -> None:
    """Wait for an instant to come."""
    await asyncio.sleep(max(0, (instant - datetime.now(UTC)).total_seconds()) + 0.001)


async def found(broker: RunningBroker, **parameters: str) -> set[str]:
    """The ids that a query finds; the count says the same."""
    async with broker.client.get(ENTITIES, params={**parameters, "count": "true"}) as response:
        assert response.status == 200, await response.text()
        entities = await response.json()
        assert int(response.headers["NGSILD-Results-Count"]) == len(entities)
        return {entity["id"] for entity in entities}


async def test_expired_attributes_are_in_no_answer(broker: RunningBroker) -> None:
    kind = new_type()
    expiry, instant = soon()
    changing = await create(
        broker,
        {
            "flash": {"type": "Property", "value": 1, "expiresAt": expiry},
            "owner": {"type": "Relationship", "object": "urn:p:1", "expiresAt": expiry},
            "location": {"type": "GeoProperty", "value": HERE, "expiresAt": expiry},
            "speed": [
                {"value": 10},
                {"value": 20, "datasetId": DATASET, "expiresAt": expiry},
            ],
            "height": {"value": 5, "sensor": {"value": "x", "expiresAt": expiry}},
        },
        type=kind,
    )
    steady = await create(broker, {"flash": 1, "location": HERE, "height": {"value": 5, "sensor": "x"}}, type=kind)
    both, one, none = {changing, steady}, {steady}, set[str]()
    near = {"georel": "near;maxDistance==1000", "geometry": "Point", "coordinates": "[1,2]"}
    beside = {"georel": "near;maxDistance==1000", "geometry": "LineString", "coordinates": "[[1,2],[1,2.001]]"}
    expected: list[tuple[dict[str, str], set[str], set[str]]] = [
        ({}, both, both),
        ({"q": "flash"}, both, one),
        ({"q": "flash==1"}, both, one),
        ({"q": "flash!=2"}, both, one),
        ({"q": "!flash"}, none, {changing}),
        ({"q": "!flash;speed==10"}, none, {changing}),
        ({"q": "owner==urn:p:1"}, {changing}, none),
        ({"q": "speed==20"}, {changing}, none),
        ({"q": "speed==10"}, {changing}, {changing}),
        ({"q": 'height.sensor=="x"'}, both, one),
        ({"q": "height==5"}, both, both),
        ({"attrs": "flash"}, both, one),
        ({"attrs": "owner,speed"}, {changing}, {changing}),
        (near, both, one),
        (beside, both, one),
    ]
    for parameters, before, _ in expected:
        assert await found(broker, type=kind, **parameters) == before, parameters
    assert datetime.now(UTC) < instant, "too slow to tell anything"
    await past(instant)
    for parameters, _, after in expected:
        assert await found(broker, type=kind, **parameters) == after, parameters
    shown = await read(broker, changing)
    assert shown == {
        "id": changing, "type": kind, "speed": {"type": "Property", "value": 10},
        "height": {"type": "Property", "value": 5},
    }  # fmt: skip
    (listed,) = await query(broker, type=kind, q="!flash", options="keyValues")
    assert listed == {"id": changing, "type": kind, "speed": 10, "height": 5}
    async with broker.client.get(f"{ENTITIES}/{changing}", params={"attrs": "flash"}) as response:
        assert response.status == 404


async def test_pages_and_counts_are_right_while_expired_attributes_are_stored_still(broker: RunningBroker) -> None:
    kind = new_type()
    expiry, instant = soon()
    made = [
        await create(
            broker,
            {"a": {"type": "Property", "value": 1, **({"expiresAt": expiry} if number % 3 == 0 else {})}, "b": 1},
            type=kind,
        )
        for number in range(30)
    ]
    await past(instant)
    for q, expected in (("a", 20), ("!a", 10), ("b", 30), ("a|b", 30)):
        listed: list[str] = []
        for offset in range(0, 40, 7):
            parameters = {"type": kind, "q": q, "limit": "7", "offset": str(offset), "count": "true"}
            async with broker.client.get(ENTITIES, params=parameters) as response:
                assert response.headers["NGSILD-Results-Count"] == str(expected)
                listed += [entity["id"] for entity in await response.json()]
        assert listed == sorted(listed)
        assert len(listed) == expected
    assert len(set(listed) & set(made)) == 30


async def test_an_expired_attribute_counts_as_absent_for_writes(broker: RunningBroker) -> None:
    expiry, instant = soon(1)
    entity_id = await create(broker, {"a": {"value": 1, "expiresAt": expiry}, "b": 1})
    path = f"{ENTITIES}/{entity_id}/attrs"
    await past(instant)
    async with broker.client.patch(f"{path}/a", json={"value": 2}) as response:
        assert response.status == 404
    async with broker.client.delete(f"{path}/a") as response:
        assert response.status == 404
    async with broker.client.post(path, params={"options": "noOverwrite"}, json={"a": 3}) as response:
        assert response.status == 204
    assert (await read(broker, entity_id))["a"]["value"] == 3


async def test_partial_updates_keep_an_expiry_and_can_move_or_end_it(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": {"value": 1, "expiresAt": FUTURE}, "b": {"value": 1, "expiresAt": FUTURE}})
    path = f"{ENTITIES}/{entity_id}/attrs"
    for name, change in (("a", {"value": 2}), ("b", {"expiresAt": "2001-01-01T00:00:00Z"})):
        async with broker.client.patch(f"{path}/{name}", json=change) as response:
            assert response.status == 204
    shown = await read(broker, entity_id, options="sysAttrs")
    assert (shown["a"]["value"], shown["a"]["expiresAt"], "b" in shown) == (2, FUTURE, False)
    async with broker.client.patch(f"{path}/a", json={"expiresAt": "urn:ngsi-ld:null"}) as response:
        assert response.status == 204
    assert "expiresAt" not in (await read(broker, entity_id, options="sysAttrs"))["a"]


async def test_an_entity_created_expired_is_accepted_and_never_seen(broker: RunningBroker) -> None:
    entity_id = new_id()
    for _ in range(2):
        await create(broker, {"a": 1}, id=entity_id, expiresAt="2001-01-01T00:00:00Z")
        async with broker.client.get(f"{ENTITIES}/{entity_id}") as response:
            assert response.status == 404


async def test_an_expiry_is_swept_and_told_to_subscribers(
    broker: RunningBroker, start_broker: Callable[..., LocalBroker]
) -> None:
    kind = new_type()
    receiver = Receiver()
    async with serving(receiver):
        subscription = {
            "type": "Subscription", "entities": [{"type": kind}],
            "notificationTrigger": ["entityDeleted", "attributeDeleted"],
            "notification": {"format": "keyValues", "endpoint": {"uri": receiver.url}},
        }  # fmt: skip
        async with broker.client.post(SUBSCRIPTIONS, json=subscription) as response:
            assert response.status == 201
        expiry, _ = soon(1)
        ended = await create(broker, {"a": 1}, type=kind, expiresAt=expiry)
        reduced = await create(broker, {"a": {"value": 1, "expiresAt": expiry}, "b": 2}, type=kind)
        start_broker(database=broker.database, expiry_sweep_interval=0.05)
        bodies = [one.body["data"][0] for one in await receiver.wait(2)]
    told = {body["id"]: body for body in bodies}
    assert told.keys() == {ended, reduced}
    assert datetime.fromisoformat(told[ended].pop("deletedAt")) >= datetime.fromisoformat(expiry)
    assert told[ended] == {"id": ended, "type": kind, "a": "urn:ngsi-ld:null"}
    assert told[reduced] == {"id": reduced, "type": kind, "a": "urn:ngsi-ld:null", "b": 2}
    assert await read(broker, reduced, options="keyValues") == {"id": reduced, "type": kind, "b": 2}


# Filters and predicates agree


def with_expiries(entity: Entity, flags: Iterator[bool]) -> Entity:
    def sprinkle(instances: list[Instance]) -> None:
        for instance in instances:
            if next(flags):
                instance["expiresAt"] = "2001-01-01T00:00:00.5Z" if next(flags) else FUTURE
            for children in instance.get("attributes", {}).values():
                sprinkle(children)

    for instances in entity["attributes"].values():
        sprinkle(instances)
    if next(flags) and next(flags):
        entity["expiresAt"] = "2001-01-01T00:00:00Z" if next(flags) else FUTURE
    return marked(None, {**entity, "version": 1, "writers": {}})


@pytest.fixture(scope="module")
def offline(mongo_uri: str) -> Iterator[Town]:
    with open_town(mongo_uri, 1_000) as found:
        yield found


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32), queries=st.lists(nodes, min_size=20, max_size=20))
def test_random_queries_find_what_the_predicate_accepts_of_what_has_not_expired(
    offline: Town, seed: int, queries: list[QueryNode]
) -> None:
    chance = random.Random(seed)
    flags = iter(lambda: chance.random() < 0.4, None)
    entities = [with_expiries(entity, flags) for entity in random_entities(seed)]
    offline.clear()
    offline.put(*entities)
    now = "2026-06-01T00:00:00.000000Z"
    for query_node in queries:
        accepts = compile_predicate(query_node)
        expected = [seen["_id"] for entity in entities if (seen := visible(entity, now)) is not None and accepts(seen)]
        query = EntityQuery(q=query_node, local=True)
        result = offline.run(offline.querying.query("", query, PageRequest(limit=1000, count=True)))
        assert sorted(one.entity_id for one in result.entities) == sorted(expected), query_node
        assert result.total == len(expected)
