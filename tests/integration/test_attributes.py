"""Attributes over HTTP: append, update, partial update, replace, delete (clauses 6.6, 6.7; 5.6.2 to 5.6.5, 5.6.19)."""

import asyncio
from typing import Any

import pytest
from yarl import URL

from tests.conftest import RunningBroker
from tests.integration.api import DEFAULT, ENTITIES, create, new_id, read
from tests.problems import assert_problem

NULL = "urn:ngsi-ld:null"


async def send(broker: RunningBroker, method: str, path: str, body: Any = None, **parameters: str) -> int:
    """The status of an operation that must succeed with 204."""
    async with broker.client.request(method, f"{ENTITIES}/{path}", json=body, params=parameters) as response:
        assert response.status == 204, f"{response.status} {await response.text()}"
        assert await response.read() == b""
        return response.status


# PATCH …/attrs (5.6.2)


async def test_updating_replaces_whole_attributes_and_leaves_the_others(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"t": {"value": 25, "unitCode": "CEL", "quality": "good"}, "other": 1})
    await send(broker, "PATCH", f"{entity_id}/attrs", {"t": {"type": "Property", "value": 100}})
    entity = await read(broker, entity_id)
    assert entity["t"] == {"type": "Property", "value": 100}  # 5.5.8 example 2
    assert entity["other"]["value"] == 1


async def test_updating_appends_what_is_missing_and_deletes_what_is_null(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1, "b": 2, "c": {"languageMap": {"en": "x"}}})
    changes = {
        "a": NULL,
        "b": {"type": "Property", "value": NULL},
        "c": {"type": "LanguageProperty", "languageMap": {"@none": NULL}},
        "d": {"type": "Property", "value": 4},
    }
    await send(broker, "PATCH", f"{entity_id}/attrs", changes)
    assert set(await read(broker, entity_id)) == {"id", "type", "d"}


async def test_updating_keeps_the_creation_time_of_what_it_replaces(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1})
    before = (await read(broker, entity_id, options="sysAttrs"))["a"]
    await send(broker, "PATCH", f"{entity_id}/attrs", {"a": 2})
    after = (await read(broker, entity_id, options="sysAttrs"))["a"]
    assert after["createdAt"] == before["createdAt"]
    assert after["modifiedAt"] > before["modifiedAt"]


async def test_updating_addresses_instances_by_dataset(broker: RunningBroker) -> None:
    first, second = "urn:ngsi-ld:Dataset:1", "urn:ngsi-ld:Dataset:2"
    entity_id = await create(broker, {"a": [{"value": 0}, {"value": 1, "datasetId": first}]})
    await send(broker, "PATCH", f"{entity_id}/attrs", {"a": {"value": 2, "datasetId": second}})
    await send(broker, "PATCH", f"{entity_id}/attrs", {"a": {"value": NULL, "datasetId": first}})
    await send(broker, "PATCH", f"{entity_id}/attrs", {"a": {"value": 9, "datasetId": "@none"}})  # 4.5.5.1
    shown = (await read(broker, entity_id))["a"]
    assert sorted(shown, key=lambda one: one["value"]) == [
        {"type": "Property", "value": 2, "datasetId": second},
        {"type": "Property", "value": 9},
    ]


async def test_updating_adds_types_and_replaces_only_a_scope_that_exists(broker: RunningBroker) -> None:
    with_scope = await create(broker, {"a": 1}, scope="/old")
    without = await create(broker, {"a": 1})
    changes = {"type": "More", "scope": "/new", "a": 2}
    await send(broker, "PATCH", f"{with_scope}/attrs", changes)
    entity = await read(broker, with_scope)
    assert (entity["type"], entity["scope"]) == (["Thing", "More"], "/new")
    async with broker.client.patch(f"{ENTITIES}/{without}/attrs", json=changes) as response:
        assert response.status == 207  # 5.6.2.4: otherwise ignored
        assert [one["attributeName"] for one in (await response.json())["notUpdated"]] == ["scope"]
    entity = await read(broker, without)
    assert "scope" not in entity
    assert (entity["type"], entity["a"]["value"]) == (["Thing", "More"], 2)


async def test_a_proof_is_kept_and_given_back_with_what_it_seals(broker: RunningBroker) -> None:
    proof = {
        "type": "Property",
        "value": {"type": "DataIntegrityProof", "proofValue": "z3X"},
        "entityIdSealed": "urn:ngsi-ld:Thing:1",
        "entityTypeSealed": "Thing",
    }
    entity_id = await create(broker, {"a": {"value": 1, "ngsildproof": proof}})
    assert (await read(broker, entity_id))["a"]["ngsildproof"] == proof
    concise = await read(broker, entity_id, format="concise")
    assert concise["a"]["ngsildproof"] == {name: value for name, value in proof.items() if name != "type"}


async def test_a_place_of_the_entity_stays_one_whatever_the_operation(broker: RunningBroker) -> None:
    point = {"type": "Point", "coordinates": [9.7, 52.4]}
    entity_id = await create(broker, {"location": point})
    for method, path, body, pointer in (
        ("PATCH", "attrs", {"location": {"type": "Property", "value": 7}}, "/location/value"),
        ("POST", "attrs", {"location": "here"}, "/location"),
        ("PATCH", "attrs/location", {"value": 7}, "/value"),
        ("PUT", "attrs/location", {"type": "Property", "value": 7}, "/value"),
    ):
        async with broker.client.request(method, f"{ENTITIES}/{entity_id}/{path}", json=body) as response:
            problem = await assert_problem(response, 400, "BadRequestData")
            assert problem["errors"][0]["pointer"] == pointer, (method, path)
    assert (await read(broker, entity_id))["location"]["value"] == point


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
@pytest.mark.parametrize("name", ["type", "observedAt", "https%3A%2F%2Furi.etsi.org%2Fngsi-ld%2FhasValue", "9a"])
async def test_a_name_that_no_attribute_can_have_is_no_target(broker: RunningBroker, method: str, name: str) -> None:
    entity_id = await create(broker, {"a": 1})
    url = URL(f"{broker.url}{ENTITIES}/{entity_id}/attrs/{name}", encoded=True)
    body = None if method == "DELETE" else {"type": "Property", "value": 2}
    async with broker.client.request(method, url, json=body) as response:
        await assert_problem(response, 400, "BadRequestData")


@pytest.mark.parametrize("body", [[], [{"type": "Property", "value": 2}], 5])
async def test_an_attribute_is_replaced_by_one_object_only(broker: RunningBroker, body: Any) -> None:
    entity_id = await create(broker, {"a": 1})
    async with broker.client.put(f"{ENTITIES}/{entity_id}/attrs/a", json=body) as response:
        await assert_problem(response, 400, "BadRequestData")


async def test_deleting_by_update_what_does_not_exist_is_207_with_name_and_reason(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1})
    async with broker.client.patch(f"{ENTITIES}/{entity_id}/attrs", json={"a": 2, "missing": NULL}) as response:
        assert response.status == 207
        assert response.headers["Content-Type"] == "application/json"
        assert "Link" not in response.headers
        body = await response.json()
    assert body["updated"] == [DEFAULT + "a"]  # 6.3.6: fully qualified names, as there is no context
    assert [set(one) for one in body["notUpdated"]] == [{"attributeName", "reason"}]
    assert body["notUpdated"][0]["attributeName"] == DEFAULT + "missing"


@pytest.mark.parametrize(
    "body",
    [[], 5, {"a": None}, {"id": "urn:other:1", "a": 1}, {"a": {"type": "Property", "value": [NULL]}}, {"value": 1}],
)
async def test_a_bad_update_changes_nothing(broker: RunningBroker, body: Any) -> None:
    entity_id = await create(broker, {"a": 1})
    async with broker.client.patch(f"{ENTITIES}/{entity_id}/attrs", json=body) as response:
        await assert_problem(response, 400, "BadRequestData")
    assert (await read(broker, entity_id))["a"]["value"] == 1


async def test_concurrent_updates_of_different_attributes_all_stay(broker: RunningBroker) -> None:
    entity_id = await create(broker)
    await asyncio.gather(*(send(broker, "PATCH", f"{entity_id}/attrs", {f"a{number}": number}) for number in range(60)))
    shown = await read(broker, entity_id, format="simplified")
    assert {name: shown[name] for name in shown if name not in ("id", "type")} == {f"a{n}": n for n in range(60)}


# POST …/attrs (5.6.3)


async def test_appending_overwrites_unless_told_not_to(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1, "b": 1})
    await send(broker, "POST", f"{entity_id}/attrs", {"a": 2, "new": 3})
    assert (await read(broker, entity_id, format="simplified")).items() >= {"a": 2, "b": 1, "new": 3}.items()
    path = f"{ENTITIES}/{entity_id}/attrs"
    async with broker.client.post(path, json={"a": 9, "c": 4}, params={"options": "noOverwrite"}) as response:
        assert response.status == 207
        body = await response.json()
    assert body["updated"] == [DEFAULT + "c"]
    assert body["notUpdated"][0]["attributeName"] == DEFAULT + "a"
    assert (await read(broker, entity_id, format="simplified")).items() >= {"a": 2, "c": 4}.items()


async def test_appending_without_overwriting_adds_scopes_and_instances(broker: RunningBroker) -> None:
    dataset = "urn:ngsi-ld:Dataset:1"
    entity_id = await create(broker, {"a": 1}, scope="/x")
    await send(
        broker, "POST", f"{entity_id}/attrs", {"scope": "/y", "a": {"value": 2, "datasetId": dataset}},
        options="noOverwrite",
    )  # fmt: skip
    entity = await read(broker, entity_id)
    assert entity["scope"] == ["/x", "/y"]
    assert {one.get("datasetId"): one["value"] for one in entity["a"]} == {None: 1, dataset: 2}


async def test_appending_refuses_nulls(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1})
    async with broker.client.post(f"{ENTITIES}/{entity_id}/attrs", json={"a": NULL}) as response:
        await assert_problem(response, 400, "BadRequestData")  # 5.5.4: no update or merge


# PATCH …/attrs/{attrId} (5.6.4)


async def test_a_partial_update_changes_members_and_leaves_the_others(broker: RunningBroker) -> None:
    entity_id = await create(
        broker, {"t": {"value": 25, "unitCode": "CEL", "observedAt": "2022-03-14T01:59:26.535Z", "near": {"value": 1}}}
    )
    await send(
        broker,
        "PATCH",
        f"{entity_id}/attrs/t",
        {"type": "Property", "value": 100, "observedAt": "2022-03-14T13:00:00Z"},
    )
    assert (await read(broker, entity_id))["t"] == {
        "type": "Property",
        "value": 100,
        "unitCode": "CEL",
        "observedAt": "2022-03-14T13:00:00Z",
        "near": {"type": "Property", "value": 1},
    }  # fmt: skip  (5.5.8 example 1)


async def test_a_partial_update_needs_no_type_and_can_remove_members(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"t": {"value": 1, "unitCode": "CEL", "accuracy": {"value": 0.5}}})
    await send(broker, "PATCH", f"{entity_id}/attrs/t", {"value": 2, "unitCode": NULL, "accuracy": NULL})
    assert (await read(broker, entity_id))["t"] == {"type": "Property", "value": 2}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": "Relationship", "object": "urn:a:1"},  # 5.6.4.4: the type cannot change
        {"type": "Nonsense", "value": 1},
        {"object": "urn:a:1"},
        {"observedAt": "yesterday"},
        [],
        7,
    ],
)
async def test_a_bad_partial_update_is_refused(broker: RunningBroker, body: Any) -> None:
    entity_id = await create(broker, {"t": 1})
    async with broker.client.patch(f"{ENTITIES}/{entity_id}/attrs/t", json=body) as response:
        await assert_problem(response, 400, "BadRequestData")
    assert (await read(broker, entity_id))["t"] == {"type": "Property", "value": 1}


async def test_a_partial_update_with_a_null_value_deletes_the_instance(broker: RunningBroker) -> None:
    # 5.5.8 deletes what is null. The prose of 5.6.4.1 says otherwise; the conformance suite (012_05 ff.) settles it.
    dataset = "urn:ngsi-ld:Dataset:1"
    entity_id = await create(
        broker, {"t": [{"value": 1}, {"value": 2, "datasetId": dataset}], "r": {"object": "urn:a:1"}}
    )
    await send(broker, "PATCH", f"{entity_id}/attrs/t", {"type": "Property", "value": NULL, "datasetId": dataset})
    assert (await read(broker, entity_id))["t"] == {"type": "Property", "value": 1}
    await send(broker, "PATCH", f"{entity_id}/attrs/r", {"type": "Relationship", "object": NULL})
    assert "r" not in await read(broker, entity_id)


async def test_a_partial_update_finds_instances_by_dataset(broker: RunningBroker) -> None:
    dataset = "urn:ngsi-ld:Dataset:1"
    entity_id = await create(broker, {"t": [{"value": 1}, {"value": 2, "datasetId": dataset}]})
    await send(broker, "PATCH", f"{entity_id}/attrs/t", {"value": 5, "datasetId": dataset})
    assert {one.get("datasetId"): one["value"] for one in (await read(broker, entity_id))["t"]} == {None: 1, dataset: 5}
    path = f"{ENTITIES}/{entity_id}/attrs/t"
    async with broker.client.patch(path, json={"value": 5, "datasetId": "urn:ngsi-ld:Dataset:2"}) as response:
        await assert_problem(response, 404, "ResourceNotFound")


# PUT …/attrs/{attrId} (5.6.19)


async def test_replacing_an_attribute_may_change_its_type_but_not_its_creation_time(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"t": {"value": 1, "unitCode": "CEL"}})
    before = (await read(broker, entity_id, options="sysAttrs"))["t"]
    await send(broker, "PUT", f"{entity_id}/attrs/t", {"type": "Relationship", "object": "urn:a:1"})
    after = (await read(broker, entity_id, options="sysAttrs"))["t"]
    assert after == {
        "type": "Relationship", "object": "urn:a:1",
        "createdAt": before["createdAt"], "modifiedAt": after["modifiedAt"],
    }  # fmt: skip


# DELETE …/attrs/{attrId} (5.6.5)


async def test_deleting_takes_the_default_instance_one_dataset_or_all(broker: RunningBroker) -> None:
    first, second = "urn:ngsi-ld:Dataset:1", "urn:ngsi-ld:Dataset:2"
    instances = [{"value": 0}, {"value": 1, "datasetId": first}, {"value": 2, "datasetId": second}]
    entity_id = await create(broker, {"a": instances})
    await send(broker, "DELETE", f"{entity_id}/attrs/a")
    assert [one["datasetId"] for one in (await read(broker, entity_id))["a"]] == [first, second]
    await send(broker, "DELETE", f"{entity_id}/attrs/a", datasetId=first)
    assert (await read(broker, entity_id))["a"]["datasetId"] == second
    async with broker.client.delete(f"{ENTITIES}/{entity_id}/attrs/a") as response:
        await assert_problem(response, 404, "ResourceNotFound")
    await send(broker, "DELETE", f"{entity_id}/attrs/a", deleteAll="true")
    assert "a" not in await read(broker, entity_id)


async def test_deleting_the_scope_removes_it(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1}, scope=["/x", "/y"])
    await send(broker, "DELETE", f"{entity_id}/attrs/scope")
    assert "scope" not in await read(broker, entity_id)
    async with broker.client.delete(f"{ENTITIES}/{entity_id}/attrs/scope") as response:
        await assert_problem(response, 404, "ResourceNotFound")


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_the_scope_is_no_attribute_to_update_or_replace(broker: RunningBroker, method: str) -> None:
    entity_id = await create(broker, scope="/x")
    path = f"{ENTITIES}/{entity_id}/attrs/scope"
    async with broker.client.request(method, path, json={"type": "Property", "value": "/y"}) as response:
        await assert_problem(response, 400, "BadRequestData")  # 5.6.4.4, 5.6.19.4


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
async def test_what_does_not_exist_is_404_and_what_is_no_name_is_400(broker: RunningBroker, method: str) -> None:
    entity_id = await create(broker, {"a": 1})
    body = {"type": "Property", "value": 1}
    for path in (f"{entity_id}/attrs/missing", f"{new_id()}/attrs/a"):
        async with broker.client.request(method, f"{ENTITIES}/{path}", json=body) as response:
            await assert_problem(response, 404, "ResourceNotFound")
    for name in ("observedAt", "value", "id", "a b", "a'b", "a(b"):
        async with broker.client.request(method, f"{ENTITIES}/{entity_id}/attrs/{name}", json=body) as response:
            await assert_problem(response, 400, "BadRequestData")  # 4.6.2


async def test_an_attribute_can_be_addressed_by_its_full_name(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1})
    name = DEFAULT.replace("/", "%2F") + "a"
    url = URL(f"{broker.url}{ENTITIES}/{entity_id}/attrs/{name}", encoded=True)
    async with broker.client.patch(url, json={"value": 2}) as response:
        assert response.status == 204, await response.text()
    assert (await read(broker, entity_id))["a"]["value"] == 2
