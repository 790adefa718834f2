"""Declared indexes and explanations (docs/queries.md): /indexes, /explain, `vela index` and `vela explain`."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pymongo import MongoClient

from broker.commands.indexes import explain_command, index_group
from broker.local import LocalBroker
from tests.conftest import RunningBroker
from tests.integration.api import BATCH, create, new_id, new_type, query, until
from tests.problems import assert_problem

BROKER_SETTINGS = {"slow_query": 0.00001, "slow_query_interval": 0.1}

MANY = 400
"""Entities of a type; one of them is found."""


def vela(broker: LocalBroker, *arguments: str) -> Result:
    return CliRunner().invoke(index_group, ["--broker", broker.url, *arguments])


async def populate(broker: RunningBroker) -> str:
    """Entities of a new type, whose name it returns; the attributes of the n-th tell its number in several ways."""
    kind = new_type()
    entities = [
        {
            "id": new_id(),
            "type": kind,
            "scope": f"/s{number}",
            "number": {"value": number, "observedAt": f"2026-01-01T00:00:00.{number:06}Z"},
            "text": {"value": f"t{number:04}", "part": {"value": number}},
            "list": {"type": "ListProperty", "valueList": [number, "x"]},
            "words": {"type": "LanguageProperty", "languageMap": {"en": f"w{number:04}"}},
            "link": {"type": "Relationship", "object": f"urn:ngsi-ld:Other:{number}"},
            "when": {"value": {"@type": "DateTime", "@value": f"2026-01-01T00:00:00.{number:06}Z"}},
            "address": {"value": {"city": f"c{number:04}"}},
            "parcel": {
                "type": "GeoProperty",
                "value": {"type": "Point", "coordinates": [number / 10, 45, 100]},
            },
        }
        for number in range(MANY)
    ]
    async with broker.client.post(f"{BATCH}/create", json=entities) as response:
        assert response.status == 201, await response.text()
    return kind


async def add(broker: RunningBroker, type_name: str, attribute: str, **members: str) -> dict[str, Any]:
    body = {"type": type_name, "attribute": attribute, **members}
    async with broker.client.post("/indexes", json=body) as response:
        assert response.status == 201, await response.text()
        found: dict[str, Any] = await response.json()
        return found


async def explain(broker: RunningBroker, **parameters: str) -> dict[str, Any]:
    async with broker.client.get("/explain", params=parameters) as response:
        assert response.status == 200, await response.text()
        found: dict[str, Any] = await response.json()
        return found


@pytest.mark.parametrize(
    ("attribute", "q"),
    [
        ("number", "number>398"),
        ("number", "number==398.5..450"),
        ("number", "number==399,1000"),
        ("text", 'text=="t0399"'),
        ("text", 'text~="^t0399$"'),
        ("text.part", "text.part>398"),
        ("list", "list==399"),
        ("link", 'link=="urn:ngsi-ld:Other:399"'),
        ("when", "when>2026-01-01T00:00:00.000398Z"),
        ("when", "when==2026-01-01T00:00:00.000399Z..2026-01-01T00:00:00.5Z"),
        ("number.observedAt", "number.observedAt>=2026-01-01T00:00:00.000399Z"),
        ("address", 'address[city]=="c0399"'),
        ("address[city]", 'address[city]>"c0398"'),
        ("words", 'words[en]=="w0399"'),
    ],
)
async def test_a_declared_index_finds_entities_without_looking_at_others(
    broker: RunningBroker, attribute: str, q: str
) -> None:
    kind = await populate(broker)
    before = await explain(broker, type=kind, q=q)
    assert (before["returned"], before["documentsExamined"], before["scans"]) == (1, MANY, True)

    added = await add(broker, kind, attribute)

    after = await explain(broker, type=kind, q=q)
    assert added["id"] in after["indexes"], after
    assert after["declaredIndexes"] == [{"type": kind, "attribute": attribute, "kind": "value"}]
    assert (after["returned"], after["scans"], after["advice"]) == (1, False, [])
    assert after["documentsExamined"] <= 4, after
    assert len(await query(broker, type=kind, q=q)) == 1


async def test_a_geo_property_gets_an_index_of_its_own(broker: RunningBroker) -> None:
    kind = await populate(broker)
    near = {
        "type": kind, "geoproperty": "parcel", "georel": "near;maxDistance==1000", "geometry": "Point",
        "coordinates": "[39.9,45]",
    }  # fmt: skip
    before = await explain(broker, **near)
    assert before["advice"] == [f"Declare an index: vela index add {kind} parcel --kind geo"]

    added = await add(broker, kind, "parcel", kind="geo")

    after = await explain(broker, **near)
    assert (after["indexes"], after["returned"], after["scans"]) == ([added["id"]], 1, False)
    assert len(await query(broker, **near)) == 1
    await create(broker, {"parcel": "none"}, type=kind)


@pytest.mark.parametrize("types", ["{0}", "{0}|{1}", "({0};{1})"])
async def test_entities_of_other_types_at_the_same_place_are_not_looked_at(broker: RunningBroker, types: str) -> None:
    wanted, also, *others = [new_type() for _ in range(12)]
    here, elsewhere = ({"type": "Point", "coordinates": [-33.3, latitude]} for latitude in (44.4, 5))
    there: list[Any] = [wanted, [also, wanted], *others * 4]
    places = [*((kind, here) for kind in there), *(([also, wanted], elsewhere) for _ in range(100))]
    entities = [
        {"id": new_id(), "type": kind, "location": {"type": "GeoProperty", "value": place}} for kind, place in places
    ]
    async with broker.client.post(f"{BATCH}/create", json=entities) as response:
        assert response.status == 201, await response.text()
    near = {"georel": "near;maxDistance==100", "geometry": "Point", "coordinates": "[-33.3,44.4]"}

    found = await explain(broker, type=types.format(wanted, also), **near)

    assert found["indexes"] == ["location"], found
    assert found["documentsExamined"] <= 2, found
    assert found["returned"] == (1 if ";" in types else 2)
    of_any_type = await explain(broker, **{**near, "coordinates": "[-33.3,33.3]"})
    assert (of_any_type["indexes"], of_any_type["documentsExamined"]) == (["location"], 0)


async def test_scopes_and_members_of_the_entity_can_be_indexed(broker: RunningBroker) -> None:
    kind = await populate(broker)
    added = [await add(broker, kind, "scope"), await add(broker, kind, "modifiedAt")]

    by_scope = await explain(broker, type=kind, scopeQ="/s399")
    by_time = await explain(broker, type=kind, q="modifiedAt>2100-01-01T00:00:00Z")

    assert (by_scope["indexes"], by_scope["returned"]) == ([added[0]["id"]], 1)
    assert (by_time["indexes"], by_time["documentsExamined"]) == ([added[1]["id"]], 0)


async def test_indexes_belong_to_a_tenant_and_one_that_is_there_is_not_declared_again(
    broker: RunningBroker, tenant: str
) -> None:
    headers = {"NGSILD-Tenant": tenant}
    body = {"type": "Vehicle", "attribute": "speed"}
    async with broker.client.post("/indexes", json=body, headers=headers) as response:
        await assert_problem(response, 404, "NonexistentTenant")
    async with broker.client.post(
        f"{BATCH}/create", json=[{"id": new_id(), "type": "Vehicle"}], headers=headers
    ) as response:
        assert response.status == 201
    async with broker.client.post("/indexes", json=body, headers=headers) as response:
        assert response.status == 201
        added = await response.json()
    async with broker.client.post("/indexes", json=body, headers=headers) as response:
        await assert_problem(response, 409, "AlreadyExists")
    async with broker.client.get("/indexes", headers=headers) as response:
        assert await response.json() == [added]
    async with broker.client.get(f"/indexes/{added['id']}") as response:
        await assert_problem(response, 404, "ResourceNotFound")
    async with broker.client.delete(f"/indexes/{added['id']}", headers=headers) as response:
        assert response.status == 204
    async with broker.client.get("/indexes", headers=headers) as response:
        assert await response.json() == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ([], None),
        ({"attribute": "speed"}, "/type"),
        ({"type": "Vehicle"}, "/attribute"),
        ({"type": "Vehicle", "attribute": 5}, "/attribute"),
        ({"type": "Vehicle", "attribute": "speed", "kind": "text"}, "/kind"),
        ({"type": "Vehicle", "attribute": "speed", "order": "up"}, "/order"),
        ({"type": "Vehicle", "attribute": "speed>5"}, "/attribute"),
    ],
)
async def test_a_declaration_that_makes_no_sense_is_refused(
    broker: RunningBroker, body: Any, pointer: str | None
) -> None:
    async with broker.client.post("/indexes", json=body) as response:
        problem = await assert_problem(response, 400, "BadRequestData")
    assert [one["pointer"] for one in problem.get("errors", ())] == ([pointer] if pointer is not None else [])


async def test_the_commands_say_what_is_slow_and_make_it_fast(
    broker: RunningBroker, broker_process: LocalBroker
) -> None:
    kind = await populate(broker)
    slow = CliRunner().invoke(explain_command, ["--broker", broker.url, f"type={kind}&q=number>398"])
    assert slow.exit_code == 0, slow.output
    assert f"vela index add {kind} number" in slow.output

    added = vela(broker_process, "add", kind, "number")

    assert added.exit_code == 0, added.output
    identifier = added.output.split()[0]
    fast = CliRunner().invoke(
        explain_command, ["--broker", broker.url, "--json", f"/ngsi-ld/v1/entities?type={kind}&q=number%3E398"]
    )
    assert json.loads(fast.output)["indexes"] == [identifier]
    assert [one["attribute"] for one in _listed(broker_process) if one["id"] == identifier] == ["number"]
    assert identifier in vela(broker_process, "list").output
    assert vela(broker_process, "remove", identifier).exit_code == 0
    assert identifier not in vela(broker_process, "list").output
    again = vela(broker_process, "remove", identifier)
    assert (again.exit_code, "does not exist" in again.stderr) == (1, True)


def _listed(broker: LocalBroker) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(vela(broker, "list", "--json").output)
    return found


@pytest.fixture
def control(mongo_uri: str, broker_process: LocalBroker) -> Iterator[Any]:
    """The database of the default tenant and of the declarations."""
    client: MongoClient[dict[str, Any]]
    with MongoClient(mongo_uri) as client:
        yield client[broker_process.settings.database]


async def test_a_lost_index_is_built_again_when_a_broker_starts(
    broker: RunningBroker, broker_process: LocalBroker, control: Any
) -> None:
    kind = await populate(broker)
    added = await add(broker, kind, "number")
    control["entities"].drop_index(added["id"])
    assert [one["state"] for one in _listed(broker_process) if one["id"] == added["id"]] == ["waiting"]

    broker.stop()
    broker.start()

    async def ready() -> bool:
        return [one["state"] for one in _listed(broker_process) if one["id"] == added["id"]] == ["ready"]

    await until(ready)


async def test_a_failed_build_says_why(broker: RunningBroker, control: Any) -> None:
    kind = await populate(broker)
    mixed = [{"type": "GeoProperty", "value": {"type": "Point", "coordinates": [1, 2]}},
             {"type": "Property", "value": 5, "datasetId": "urn:d"}]  # fmt: skip
    await create(broker, {"parcel": mixed}, type=kind)

    async with broker.client.post("/indexes", json={"type": kind, "attribute": "parcel", "kind": "geo"}) as response:
        assert response.status == 202, await response.text()
        found = await response.json()

    assert (found["state"], bool(found["failure"])) == ("failed", True)
    assert kind not in found["failure"], "the document itself is not repeated"


async def test_slow_queries_that_scan_are_counted(broker: RunningBroker) -> None:
    kind = await populate(broker)
    await query(broker, type=kind, q="number>398")

    for _ in range(100):
        text = await (await broker.client.get("/metrics")).text()
        if "vela_scanning_queries_total 0.0" not in text:
            break
        await query(broker, type=kind, q="number>398")
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("vela_s"))
    assert float(figures["vela_slow_queries_total"]) >= 1
    assert float(figures["vela_scanning_queries_total"]) >= 1
