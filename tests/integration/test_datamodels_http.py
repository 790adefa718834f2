"""/datamodels: importing and removing data models, policies, what was counted; followed by every worker at once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from broker.local import LocalBroker
from tests.conftest import RunningBroker
from tests.integration.api import ENTITIES, new_id, set_policy, until
from tests.problems import assert_problem

MODELS = "/datamodels/models"
PARKING = "https://smartdatamodels.org/dataModel.Parking/OffStreetParking"
WORKERS = 2


def definition(iri: str, most: float = 10, **members: Any) -> dict[str, Any]:
    """A data model of roads that are no longer than `most`."""
    schema = {
        "$id": "urn:vela:datamodels:test:schema",
        "type": "object",
        "properties": {"length": {"type": "number", "maximum": most}},
        "required": ["length"],
    }
    terms = {"length": "https://example.org/length"}
    return {"iri": iri, "name": iri.rpartition("/")[2], "schema": schema, "terms": terms, **members}


@pytest.fixture
def road() -> str:
    """The IRI of a type of this test alone."""
    return f"https://example.org/{new_id('Road').rpartition(':')[2]}"


class Operator:
    """What operators and clients do at one broker process."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self.client = client

    async def add(self, *definitions: dict[str, Any]) -> list[dict[str, Any]]:
        async with self.client.post(MODELS, json={"definitions": definitions}) as response:
            assert response.status == 200, await response.text()
            results: list[dict[str, Any]] = await response.json()
            return results

    async def get(self, path: str, **parameters: str) -> Any:
        async with self.client.get(path, params=parameters) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def show(self, name: str) -> Any:
        return await self.get(f"{MODELS}/{quote(name, safe='')}")

    async def delete(self, path: str, expected: int = 204, **parameters: str) -> Any:
        async with self.client.delete(path, params=parameters) as response:
            if expected == 204:
                assert response.status == 204, await response.text()
                return None
            return await assert_problem(response, expected, {404: "ResourceNotFound", 409: "Conflict"}[expected])

    async def create(self, iri: str, length: Any = 11, tenant: str = "", **members: Any) -> int:
        """The status of the answer to the creation of a road; 11 is too long for `definition`."""
        entity = {"id": new_id("Road"), "type": iri, "https://example.org/length": length, **members}
        headers = {"NGSILD-Tenant": tenant} if tenant else None
        async with self.client.post(ENTITIES, json=entity, headers=headers) as response:
            return response.status


@pytest.fixture
async def operator(broker: RunningBroker) -> Operator:
    return Operator(broker.client)


@pytest.fixture(scope="module")
def second_process(broker_process: LocalBroker, start_broker: Callable[..., LocalBroker]) -> LocalBroker:
    """Another broker on the same database, as on another host."""
    return start_broker(database=broker_process.settings.database)


@pytest.fixture
async def elsewhere(second_process: LocalBroker) -> AsyncIterator[Operator]:
    async with aiohttp.ClientSession(base_url=second_process.url) as client:
        yield Operator(client)


async def within_a_second(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it holds, at most for the second that other processes may take to follow."""
    await until(condition, seconds=1)


async def test_the_models_that_come_with_vela_are_listed(operator: Operator) -> None:
    models = await operator.get("/datamodels", subject="dataModel.Parking")
    (parking,) = (one for one in models if one["name"] == "OffStreetParking")
    assert parking == {
        "iri": PARKING, "name": "OffStreetParking", "subject": "dataModel.Parking", "origin": "bundled",
        "source": "Vela", "version": parking["version"], "licence": parking["licence"], "policy": "warn",
    }  # fmt: skip
    assert {one["subject"] for one in models} == {"dataModel.Parking"}
    assert await operator.get("/datamodels", problem="true") == []
    assert [one["iri"] for one in await operator.get("/datamodels", name=PARKING)] == [PARKING]


async def test_an_imported_model_is_shown_as_it_was_sent(operator: Operator, road: str) -> None:
    sent = definition(road, subject="dataModel.Roads", source="https://example.org/a.zip", version="2.1", licence="MIT")
    assert await operator.add(sent) == [{"iri": road, "name": sent["name"], "status": "imported"}]
    for name in (road, sent["name"]):
        shown = await operator.show(name)
        assert shown["definition"] == sent
        assert {"origin": "imported", "source": "https://example.org/a.zip", "version": "2.1"}.items() <= shown.items()
        assert shown["importedAt"].endswith("Z")


async def test_the_same_model_again_is_unchanged_and_a_fixed_one_is_imported(operator: Operator, road: str) -> None:
    await operator.add(definition(road))
    before = await operator.show(road)
    assert [one["status"] for one in await operator.add(definition(road))] == ["unchanged"]
    assert await operator.show(road) == before
    assert [one["status"] for one in await operator.add(definition(road, version="2"))] == ["unchanged"]
    assert (await operator.show(road))["version"] == "2"
    assert [one["status"] for one in await operator.add(definition(road, most=20))] == ["imported"]


async def test_a_broken_model_is_kept_in_quarantine_with_the_reason_and_spoils_no_other(
    operator: Operator, road: str
) -> None:
    broken, good = definition(f"{road}/Broken"), definition(f"{road}/Good")
    broken["schema"]["properties"]["length"]["type"] = "nonsense"
    first, second = await operator.add(broken, good)
    assert (first["status"], second["status"]) == ("quarantined", "imported")
    assert "nonsense" in first["problem"]
    assert "problem" not in second
    await set_policy(operator.client, broken["iri"], "enforce")
    assert await operator.create(broken["iri"]) == 201
    assert broken["iri"] in [one["iri"] for one in await operator.get("/datamodels", problem="true")]
    assert (await operator.show(broken["iri"]))["problem"] == first["problem"]


async def test_of_two_models_of_one_type_in_one_import_the_first_counts(operator: Operator, road: str) -> None:
    first, second = await operator.add(definition(road), definition(road, most=20))
    assert (first["status"], second["status"]) == ("imported", "quarantined")
    assert "definition 0 of this import describes the same type" in second["problem"]
    assert (await operator.show(road))["definition"] == definition(road)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ([], None),
        ({"definitions": {}}, None),
        ({"definitions": [], "more": 1}, None),
        ({"definitions": [definition("urn:x:a"), {"iri": "urn:x:b"}]}, "/definitions/1"),
        ({"definitions": [definition("urn:x:a"), "b"]}, "/definitions/1"),
        ({"definitions": [definition("urn:x:a"), definition("no IRI")]}, "/definitions/1/iri"),
    ],
)
async def test_a_body_that_is_no_list_of_definitions_is_refused_whole(
    operator: Operator, body: Any, pointer: str | None
) -> None:
    async with operator.client.post(MODELS, json=body) as response:
        problem = await assert_problem(response, 400, "BadRequestData")
    assert [one["pointer"] for one in problem.get("errors", [])] == ([pointer] if pointer else [])
    await operator.delete(f"{MODELS}/urn:x:a", 404)


async def test_an_imported_model_is_removed_and_a_bundled_one_is_not(operator: Operator, road: str) -> None:
    await operator.add(definition(road))
    await operator.delete(f"{MODELS}/{road.rpartition('/')[2]}")
    await operator.delete(f"{MODELS}/{quote(road, safe='')}", 404)
    problem = await operator.delete(f"{MODELS}/OffStreetParking", 409)
    assert "set its policy to off" in problem["detail"]


async def test_an_imported_model_takes_the_place_of_a_bundled_one_until_it_is_removed(operator: Operator) -> None:
    museum = "https://smartdatamodels.org/dataModel.PointOfInterest/Museum"
    await operator.add(definition(museum, subject="dataModel.PointOfInterest"))
    assert (await operator.show("Museum"))["origin"] == "imported"
    await operator.delete(f"{MODELS}/Museum")
    assert (await operator.show("Museum"))["origin"] == "bundled"


async def test_a_name_of_several_models_is_answered_with_the_candidates(operator: Operator, road: str) -> None:
    first, second = definition(f"{road}/1/Path"), definition(f"{road}/2/Path")
    await operator.add(first, second)
    async with operator.client.get(f"{MODELS}/Path") as response:
        problem = await assert_problem(response, 409, "Conflict")
    assert first["iri"] in problem["detail"]
    assert second["iri"] in problem["detail"]
    async with operator.client.put("/datamodels/policies", json={"type": "Path", "policy": "off"}) as response:
        await assert_problem(response, 409, "Conflict")


async def test_policies_are_set_listed_and_taken_back(operator: Operator, road: str, tenant: str) -> None:
    await operator.add(definition(road))
    name = road.rpartition("/")[2]
    await set_policy(operator.client, name, "off")
    await set_policy(operator.client, road, "enforce", tenant)
    await set_policy(operator.client, road, "warn", "")
    entry = {"type": road, "name": name}
    assert [one for one in await operator.get("/datamodels/policies") if one["type"] == road] == [
        {"tenant": None, **entry, "policy": "off"},
        {"tenant": "", **entry, "policy": "warn"},
        {"tenant": tenant, **entry, "policy": "enforce"},
    ]
    assert await operator.create(road, tenant=tenant) == 400
    await operator.delete("/datamodels/policies", type=name, tenant=tenant)
    assert await operator.create(road, tenant=tenant) == 201
    await operator.delete("/datamodels/policies", 404, type=name, tenant=tenant)
    await operator.delete(f"{MODELS}/{name}")
    await operator.delete("/datamodels/policies", type=name)  # of a model that is gone
    await operator.delete("/datamodels/policies", type=road, tenant="")
    assert road not in [one["type"] for one in await operator.get("/datamodels/policies")]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ([], None),
        ({"type": "OffStreetParking"}, "/policy"),
        ({"policy": "off"}, "/type"),
        ({"type": "OffStreetParking", "policy": "strict"}, "/policy"),
        ({"type": "OffStreetParking", "policy": "off", "tenant": 1}, "/tenant"),
        ({"type": "OffStreetParking", "policy": "off", "tenants": "a"}, "/tenants"),
    ],
)
async def test_a_policy_that_means_nothing_is_refused(operator: Operator, body: Any, pointer: str | None) -> None:
    async with operator.client.put("/datamodels/policies", json=body) as response:
        problem = await assert_problem(response, 400, "BadRequestData")
    assert [one["pointer"] for one in problem.get("errors", [])] == ([pointer] if pointer else [])


async def test_a_policy_for_a_type_without_a_model_is_refused(operator: Operator) -> None:
    async with operator.client.put("/datamodels/policies", json={"type": "Nothing", "policy": "off"}) as response:
        problem = await assert_problem(response, 404, "ResourceNotFound")
    assert "does not exist" in problem["detail"]
    async with operator.client.delete("/datamodels/policies") as response:
        await assert_problem(response, 400, "BadRequestData")


async def test_violations_tell_who_sends_what_and_can_be_selected_and_forgotten(
    operator: Operator, road: str, tenant: str
) -> None:
    terms = {"length": "https://example.org/length", "dataProvider": "https://example.org/dataProvider"}
    await operator.add(definition(road, terms=terms))
    for length, provider in [(11, "A"), (12, "A"), (13, "B"), ("long", "B")]:
        provided = {"https://example.org/dataProvider": provider}
        assert await operator.create(road, length, tenant, **provided) == 201
    found = await operator.get("/datamodels/violations", tenant=tenant)
    assert [(one["rule"], one["source"], one["count"]) for one in found] == [
        ("maximum", "A", 2), ("maximum", "B", 1), ("type", "B", 1),
    ]  # fmt: skip
    first = found[0]
    assert (first["type"], first["iri"], first["attribute"], first["policy"]) == (
        road.rpartition("/")[2], road, "length", "warn",
    )  # fmt: skip
    assert first["first"] < first["last"]
    assert first["sample"]["found"] == "12"

    selected = await operator.get("/datamodels/violations", tenant=tenant, type=road, rule="maximum", limit="1")
    assert selected == [first]
    assert await operator.get("/datamodels/violations", tenant=tenant, attribute="width") == []
    await operator.delete("/datamodels/violations", tenant=tenant, rule="maximum")
    assert [one["rule"] for one in await operator.get("/datamodels/violations", type=road)] == ["type"]


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "limit=x", "colour=red", "type="])
async def test_a_selection_that_means_nothing_is_refused(operator: Operator, query: str) -> None:
    async with operator.client.get(f"/datamodels/violations?{query}") as response:
        assert response.status == 400


async def test_a_model_that_is_fixed_takes_effect_in_every_process_within_a_second(
    operator: Operator, elsewhere: Operator, road: str
) -> None:
    await operator.add(definition(road))
    await set_policy(operator.client, road, "enforce")
    await within_a_second(lambda: _answers(elsewhere, road, 400))
    await operator.add(definition(road, most=20))
    assert await operator.create(road) == 201  # at once, where it was imported
    await within_a_second(lambda: _answers(elsewhere, road, 201))
    await operator.add(definition(road))
    await within_a_second(lambda: _answers(elsewhere, road, 400))
    await operator.delete(f"{MODELS}/{quote(road, safe='')}")
    await within_a_second(lambda: _answers(elsewhere, road, 201))


async def test_a_policy_takes_effect_in_every_process_within_a_second(
    operator: Operator, elsewhere: Operator, road: str
) -> None:
    await operator.add(definition(road))
    assert await elsewhere.show(road)  # even one that was imported this very moment
    await set_policy(elsewhere.client, road, "enforce")
    await within_a_second(lambda: _answers(operator, road, 400))
    await elsewhere.delete("/datamodels/policies", type=road)
    await within_a_second(lambda: _answers(operator, road, 201))


async def test_the_violations_of_all_processes_are_counted_together(
    operator: Operator, elsewhere: Operator, road: str
) -> None:
    await operator.add(definition(road))
    assert await elsewhere.show(road)
    assert await operator.create(road) == 201
    assert await elsewhere.create(road) == 201
    assert [one["count"] for one in await elsewhere.get("/datamodels/violations", type=road)] in ([1], [2])

    async def both_are_counted() -> bool:
        return [one["count"] for one in await operator.get("/datamodels/violations", type=road)] == [2]

    await until(both_are_counted, seconds=2)


async def test_models_and_policies_outlast_the_broker(start_broker: Callable[..., LocalBroker], road: str) -> None:
    local = start_broker(workers=WORKERS)
    async with aiohttp.ClientSession(base_url=local.url) as client:
        await Operator(client).add(definition(road))
        await set_policy(client, road, "enforce")
    local.stop()
    local.start()
    for _ in range(2 * WORKERS):  # a connection each: the kernel deals them out
        async with aiohttp.ClientSession(base_url=local.url) as client:
            assert await Operator(client).create(road) == 400
    local.stop()


async def _answers(at: Operator, iri: str, status: int) -> bool:
    return await at.create(iri) == status
