"""Batch operations over HTTP (6.14 to 6.17, 6.31; 5.6.7 to 5.6.10, 5.6.20): 201, 204, and 207 where some fail."""

from typing import Any

import pytest

from tests.conftest import RunningBroker
from tests.integration.api import BATCH, CORE, DEFAULT, JSON, JSON_LD, create, new_id, new_type, query, read
from tests.problems import assert_problem, assert_problem_body

MOST = 150
BROKER_SETTINGS = {"max_batch": MOST}
NULL = "urn:ngsi-ld:null"


async def post(broker: RunningBroker, operation: str, body: Any, status: int, **parameters: str) -> Any:
    """What a batch operation answers, which must have this status."""
    async with broker.client.post(f"{BATCH}/{operation}", json=body, params=parameters) as response:
        assert response.status == status, f"{response.status} {await response.text()}"
        if status == 204:
            assert await response.read() == b""
            return None
        assert response.headers["Content-Type"] == "application/json"
        assert "Link" not in response.headers
        return await response.json()


def errors(result: dict[str, Any]) -> dict[str, str]:
    """The error type of each entity of a BatchOperationResult (5.2.16, 5.2.17), each a problem of its own."""
    assert set(result) == {"success", "errors"}
    for error in result["errors"]:
        assert set(error) == {"entityId", "error"}
        assert_problem_body(error["error"], error["error"]["status"], error["error"]["type"].rpartition("/")[2])
    return {error["entityId"]: error["error"]["type"].rpartition("/")[2] for error in result["errors"]}


async def test_creating_all_is_201_with_their_ids(broker: RunningBroker) -> None:
    kind = new_type()
    entities = [{"id": new_id(), "type": kind, "n": number} for number in range(25)]
    ids = await post(broker, "create", entities, 201)
    assert sorted(ids) == sorted(entity["id"] for entity in entities)
    assert len(await query(broker, type=kind, limit="100")) == 25


async def test_creating_some_is_207_with_both_lists(broker: RunningBroker) -> None:
    existing, new, bad = await create(broker), new_id(), new_id()
    body = [
        {"id": existing, "type": "T"}, {"id": new, "type": "T"}, {"id": bad, "type": "T", "a": None},
        {"id": "no-uri", "type": "T"}, 7,
    ]  # fmt: skip
    result = await post(broker, "create", body, 207)
    assert result["success"] == [new]
    assert errors(result) == {
        existing: "AlreadyExists", bad: "BadRequestData", "no-uri": "BadRequestData", NULL: "BadRequestData"
    }  # fmt: skip
    assert (await read(broker, new))["id"] == new


async def test_creating_the_same_entity_twice_in_a_batch_keeps_the_first(broker: RunningBroker) -> None:
    entity_id = new_id()
    result = await post(broker, "create", [{"id": entity_id, "type": "T", "n": number} for number in (1, 2)], 207)
    assert (result["success"], errors(result)) == ([entity_id], {entity_id: "AlreadyExists"})
    assert (await read(broker, entity_id))["n"]["value"] == 1


async def test_an_error_of_a_batch_points_into_the_array(broker: RunningBroker) -> None:
    body = [{"id": new_id(), "type": "T"}, {"id": new_id(), "type": "T", "a": {"type": "Property", "value": None}}]
    result = await post(broker, "create", body, 207)
    assert result["errors"][0]["error"]["errors"][0]["pointer"] == "/1/a/value"


async def test_upserting_creates_and_replaces(broker: RunningBroker) -> None:
    existing = await create(broker, {"old": 1})
    new = new_id()
    body = [{"id": existing, "type": "T", "a": 1}, {"id": new, "type": "T", "a": 1}]
    assert await post(broker, "upsert", body, 201) == [new]  # 6.15.3.1: the created ones only
    assert set(await read(broker, existing)) == {"id", "type", "a"}
    assert await post(broker, "upsert", body, 204) is None
    assert await post(broker, "upsert", body, 204, options="replace") is None


async def test_upserting_with_update_keeps_other_attributes(broker: RunningBroker) -> None:
    existing = await create(broker, {"old": 1, "gone": 1})
    await post(
        broker, "upsert", [{"id": existing, "type": "T", "a": 1, "gone": "urn:ngsi-ld:null"}], 204, options="update"
    )
    entity = await read(broker, existing)
    assert set(entity) == {"id", "type", "old", "a"}
    assert entity["type"] == ["Thing", "T"]


async def test_upserting_some_is_207(broker: RunningBroker) -> None:
    existing, new = await create(broker), new_id()
    body = [{"id": existing, "type": "T"}, {"id": new, "type": "T"}, {"id": new_id()}, {"type": "T"}]
    result = await post(broker, "upsert", body, 207)
    assert set(result["success"]) == {existing, new}
    assert set(errors(result).values()) == {"BadRequestData"}


async def test_the_same_entity_several_times_applies_in_order(broker: RunningBroker) -> None:
    entity_id = new_id()
    body = [{"id": entity_id, "type": "T", "n": number, f"a{number}": number} for number in range(5)]
    assert await post(broker, "upsert", body, 201, options="update") == [entity_id]
    shown = await read(broker, entity_id, format="simplified")
    assert shown["n"] == 4
    assert {f"a{number}" for number in range(5)} <= set(shown)


async def test_updating_appends_and_overwrites_existing_entities(broker: RunningBroker) -> None:
    one, two = await create(broker, {"a": 1}), await create(broker, {"a": 1})
    assert await post(broker, "update", [{"id": one, "a": 2, "b": 3}, {"id": two, "type": "T", "a": 4}], 204) is None
    assert (await read(broker, one, format="simplified")).items() >= {"a": 2, "b": 3}.items()
    missing = new_id()
    result = await post(broker, "update", [{"id": one, "a": 5}, {"id": missing, "a": 5}], 207)
    assert (result["success"], errors(result)) == ([one], {missing: "ResourceNotFound"})


async def test_updating_without_overwriting_leaves_what_is_there(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1})
    await post(broker, "update", [{"id": entity_id, "b": 2}], 204, options="noOverwrite")
    result = await post(broker, "update", [{"id": entity_id, "a": 2, "c": 2}], 207, options="noOverwrite")
    assert (result["success"], errors(result)) == ([], {entity_id: "AlreadyExists"})
    assert result["errors"][0]["error"]["detail"].count(f"{DEFAULT}a: ") == 1
    assert (await read(broker, entity_id, format="simplified")).items() >= {"a": 1, "b": 2, "c": 2}.items()


async def test_deleting_all_is_204_and_some_is_207(broker: RunningBroker) -> None:
    one, two, three = [await create(broker) for _ in range(3)]
    assert await post(broker, "delete", [one, two], 204) is None
    missing = new_id()
    result = await post(broker, "delete", [three, missing, "no-uri", 5], 207)
    assert result["success"] == [three]
    assert errors(result) == {missing: "ResourceNotFound", "no-uri": "BadRequestData", NULL: "BadRequestData"}
    assert [error["error"].get("errors", [{}])[0].get("pointer") for error in result["errors"]] == [None, "/2", "/3"]


async def test_deleting_an_entity_twice_in_a_batch_fails_the_second_time(broker: RunningBroker) -> None:
    entity_id = await create(broker)
    result = await post(broker, "delete", [entity_id, entity_id], 207)
    assert (result["success"], errors(result)) == ([entity_id], {entity_id: "ResourceNotFound"})


async def test_merging_merges_existing_entities(broker: RunningBroker) -> None:
    one, two = await create(broker, {"a": {"value": {"x": 1, "y": 1}}, "b": 1}), await create(broker, {"a": 1})
    body = [{"id": one, "type": "T", "a": {"value": {"y": NULL}}, "b": NULL}, {"id": two, "a": {"unitCode": "CEL"}}]
    assert await post(broker, "merge", body, 204) is None
    assert await read(broker, one, format="simplified") == {"id": one, "type": ["Thing", "T"], "a": {"x": 1}}
    assert (await read(broker, two))["a"]["value"] == {"unitCode": "CEL"}


async def test_merging_some_is_207(broker: RunningBroker) -> None:
    existing, other, missing = await create(broker, {"a": 1}), await create(broker, {"a": 1}), new_id()
    body: list[Any] = [
        {"id": existing, "a": 2}, {"id": missing, "a": 2}, {"a": 2}, 5,
        {"id": other, "a": {"type": "Relationship", "object": "urn:a:1"}},
    ]  # fmt: skip
    result = await post(broker, "merge", body, 207)
    assert result["success"] == [existing]
    assert errors(result) == {
        missing: "ResourceNotFound", NULL: "BadRequestData", other: "BadRequestData"
    }  # fmt: skip
    pointers = {error["error"]["errors"][0]["pointer"] for error in result["errors"] if "errors" in error["error"]}
    assert pointers == {"/2/id", "/3", "/4/a/type"}


@pytest.mark.parametrize(("operation", "options"), [("merge", {}), ("upsert", {"options": "update"}), ("update", {})])
async def test_changes_of_one_entity_in_a_batch_apply_in_their_order(
    broker: RunningBroker, operation: str, options: dict[str, str]
) -> None:
    entity_id = await create(broker, {"n": 0})
    body = [{"id": entity_id, "type": "Thing", "n": number, f"a{number}": number} for number in range(1, 8)]
    body.append({"id": entity_id, "type": "Thing", "a3": {"type": "Property", "value": NULL}})
    assert await post(broker, operation, body, 204, **options) is None
    shown = await read(broker, entity_id, format="simplified")
    assert shown["n"] == 7
    assert {name for name in shown if name.startswith("a")} == {f"a{number}" for number in (1, 2, 4, 5, 6, 7)}


@pytest.mark.parametrize("operation", ["create", "upsert", "update", "merge", "delete"])
async def test_a_batch_beyond_the_limit_is_413(broker: RunningBroker, operation: str) -> None:
    ids = [new_id() for _ in range(MOST + 1)]
    body = ids if operation == "delete" else [{"id": entity_id, "type": "T"} for entity_id in ids]
    async with broker.client.post(f"{BATCH}/{operation}", json=body) as response:
        problem = await assert_problem(response, 413, "InvalidRequest")
    assert f"at most {MOST}" in problem["detail"]
    assert await post(broker, "upsert", [{"id": entity_id, "type": "T"} for entity_id in ids[:MOST]], 201)


@pytest.mark.parametrize("operation", ["create", "upsert", "update", "merge", "delete"])
async def test_every_batch_operation_may_be_local(broker: RunningBroker, operation: str) -> None:
    entity_id = new_id() if operation == "create" else await create(broker)
    body = entity_id if operation == "delete" else {"id": entity_id, "type": "T", "a": 1}
    await post(broker, operation, [body], 201 if operation == "create" else 204, local="true")


async def test_upserting_with_update_reports_a_scope_that_was_ignored(broker: RunningBroker) -> None:
    entity_id = await create(broker)
    result = await post(broker, "upsert", [{"id": entity_id, "type": "T", "scope": "/A"}], 207, options="update")
    assert (result["success"], errors(result)) == ([], {entity_id: "ResourceNotFound"})


@pytest.mark.parametrize("operation", ["create", "upsert", "update", "merge", "delete"])
@pytest.mark.parametrize("body", ["[]", "{}", '{"id": "urn:a:1", "type": "T"}', "5", '"text"', "null", "[null]"])
async def test_a_body_that_is_no_filled_array_is_refused_whole(
    broker: RunningBroker, operation: str, body: str
) -> None:
    async with broker.client.post(f"{BATCH}/{operation}", data=body, headers={"Content-Type": JSON}) as response:
        await assert_problem(response, 400, "BadRequestData")


async def test_every_entity_has_its_own_context_in_linked_data(broker: RunningBroker) -> None:
    one, two, three = new_id(), new_id(), new_id()
    body = [
        {"@context": [{"speed": "urn:vocab:tempo"}, CORE], "id": one, "type": "T", "speed": 1},
        {"@context": {"speed": "urn:vocab:velocity"}, "id": two, "type": "T", "speed": 2},
        {"id": three, "type": "T", "speed": 3},
    ]
    async with broker.client.post(f"{BATCH}/create", json=body, headers={"Content-Type": JSON_LD}) as response:
        assert response.status == 207
        result = await response.json()
    assert (result["success"], errors(result)) == ([one, two], {three: "BadRequestData"})  # 6.3.5: it has no @context
    assert (await read(broker, one))["urn:vocab:tempo"]["value"] == 1
    assert (await read(broker, two))["urn:vocab:velocity"]["value"] == 2


async def test_a_context_inside_plain_json_fails_for_that_entity_only(broker: RunningBroker) -> None:
    one, two = new_id(), new_id()
    result = await post(broker, "upsert", [{"@context": CORE, "id": one, "type": "T"}, {"id": two, "type": "T"}], 207)
    assert (result["success"], errors(result)) == ([two], {one: "BadRequestData"})


async def test_an_unknown_option_is_an_invalid_request(broker: RunningBroker) -> None:
    body = [{"id": new_id(), "type": "T"}]
    for operation, option in (("create", "update"), ("upsert", "noOverwrite"), ("update", "update"), ("delete", "x")):
        async with broker.client.post(f"{BATCH}/{operation}", json=body, params={"options": option}) as response:
            await assert_problem(response, 400, "InvalidRequest")  # 6.3.20
    for operation, both in (("upsert", "replace,update"), ("update", "replace,noOverwrite")):
        async with broker.client.post(f"{BATCH}/{operation}", json=body, params={"options": both}) as response:
            await assert_problem(response, 400, "InvalidRequest")
