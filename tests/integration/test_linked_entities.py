"""Linked entities over HTTP: join in answers, and paths through Relationships in q (clauses 4.5.23, 4.9, 5.7.1, 5.7.2).

A small world stands in a tenant of its own: stations have sensors, sensors have owners, owners know each other.
"""

import json
import uuid
from typing import Any

import pytest

from broker.local import LocalBroker
from tests.conftest import RunningBroker
from tests.integration.api import BATCH, ENTITIES, JSON, JSON_LD
from tests.integration.wire import request
from tests.problems import assert_problem

BROKER_SETTINGS = {"linked_entities_max": 8, "query_scan_max": 1_000}
HEADERS = {"NGSILD-Tenant": f"linked{uuid.uuid4().hex[:10]}"}
DATASET = "urn:ngsi-ld:Dataset:old"


def uri(name: str) -> str:
    return f"urn:ngsi-ld:{name}"


def to(*names: str, **members: Any) -> dict[str, Any]:
    return {"object": uri(names[0]) if len(names) == 1 else [uri(name) for name in names], **members}


def thing(name: str, kind: Any, /, **attributes: Any) -> dict[str, Any]:
    return {"id": uri(name), "type": kind, **attributes}


PLACE = {"type": "Point", "coordinates": [9.7, 52.4]}
WORLD = [
    thing("s1", "Station", sensor=to("d1", objectType="Device"), name="one", location=PLACE),
    thing("s2", "Station", sensor=[to("d2"), to("d1", datasetId=DATASET)], name="two"),
    thing("s3", "Station", sensor=to("d3", "gone"), name="three"),
    thing("s4", "Station", route={"objectList": [uri("d3"), uri("d1"), uri("gone")]}),
    thing("s5", "Station", sensor="urn:ngsi-ld:d1", name="a text that looks like a link"),
    thing("d1", "Device", humidity=40, owner=to("ann"), location=PLACE),
    thing("d2", ["Device", "Meter"], humidity=50, owner=to("bob"), label={"languageMap": {"de": "zwei", "en": "two"}}),
    thing("d3", "Device", humidity={"value": 40, "expiresAt": "2020-01-01T00:00:00Z"}, owner=to("ann", "bob")),
    thing("ann", "Person", age=30, knows=to("bob")),
    thing("bob", "Person", age=20, knows=to("ann")),
    thing("loop", "Loop", me=to("loop")),
    *(thing(f"n{number}", "Node", next=to(f"n{number + 1}")) for number in range(12)),
    thing("hub", "Hub", all=to(*(f"n{number}" for number in range(9)))),
]


@pytest.fixture(scope="module", autouse=True)
def world(broker_process: LocalBroker) -> None:
    body = json.dumps(WORLD).encode()
    answer = request(broker_process.settings.port, "POST", f"{BATCH}/create", {"Content-Type": JSON, **HEADERS}, body)
    assert answer.status == 201, answer.body


async def get(broker: RunningBroker, name: str = "", *, accept: str = JSON, **parameters: str) -> Any:
    path = f"{ENTITIES}/{uri(name)}" if name else ENTITIES
    async with broker.client.get(path, params=parameters, headers={**HEADERS, "Accept": accept}) as response:
        assert response.status == 200, f"{response.status} {await response.text()}"
        return await response.json(content_type=None)


async def names(broker: RunningBroker, **parameters: str) -> list[str]:
    return [one["id"].removeprefix("urn:ngsi-ld:") for one in await get(broker, **parameters)]


async def refusal(broker: RunningBroker, status: int, kind: str, name: str = "", **parameters: str) -> dict[str, Any]:
    path = f"{ENTITIES}/{uri(name)}" if name else ENTITIES
    async with broker.client.get(path, params=parameters, headers=HEADERS) as response:
        return await assert_problem(response, status, kind)


async def test_a_retrieved_entity_shows_what_it_links_to(broker: RunningBroker) -> None:
    inline = await get(broker, "s1", join="inline")
    device = inline["sensor"]["entity"]
    assert (device["id"], device["type"], device["humidity"]) == (
        uri("d1"),
        "Device",
        {"type": "Property", "value": 40},
    )
    assert device["owner"] == {"type": "Relationship", "object": uri("ann")}
    flat = await get(broker, "s1", join="flat", joinLevel="2")
    assert [one["id"] for one in flat] == [uri("s1"), uri("d1"), uri("ann")]
    assert "entity" not in flat[0]["sensor"]


async def test_the_levels_go_as_far_as_asked_for_and_end_at_what_was_encountered(broker: RunningBroker) -> None:
    shown = await get(broker, "s1", join="inline", joinLevel="9", format="simplified")
    ann = shown["sensor"]["owner"]
    assert (ann["id"], ann["knows"]["id"], ann["knows"]["knows"]) == (uri("ann"), uri("bob"), uri("ann"))
    for level in range(1, 9):
        flat = await get(broker, "n0", join="flat", joinLevel=str(level))
        assert [one["id"] for one in flat] == [uri(f"n{number}") for number in range(level + 1)]


async def test_an_entity_that_links_to_itself_stays_as_it_is(broker: RunningBroker) -> None:
    plain = await get(broker, "loop")
    assert await get(broker, "loop", join="inline", joinLevel="10") == plain
    assert await get(broker, "loop", join="flat", joinLevel="10") == [plain]


async def test_entities_in_contained_by_are_not_followed(broker: RunningBroker) -> None:
    shown = await get(
        broker, "s1", join="inline", joinLevel="3", containedBy=f"{uri('ann')},{uri('x')}", format="simplified"
    )
    assert shown["sensor"]["owner"] == uri("ann")


async def test_a_flat_answer_is_a_list_even_if_nothing_is_linked(broker: RunningBroker) -> None:
    for name in ("n11", "loop"):
        assert len(await get(broker, name, join="flat")) == 1


async def test_instances_and_lists_have_their_own_linked_entities(broker: RunningBroker) -> None:
    two, three, four, five = await get(
        broker,
        type="Station",
        id=",".join(map(uri, ("s2", "s3", "s4", "s5"))),
        join="inline",
        format="simplified",
        pick="id,sensor{id},route{id}",
    )
    assert two["sensor"] == {"dataset": {"@none": {"id": uri("d2")}, DATASET: {"id": uri("d1")}}}
    assert three["sensor"] == [{"id": uri("d3")}, uri("gone")]
    assert four["route"] == [{"id": uri("d3")}, {"id": uri("d1")}, uri("gone")]
    assert five["sensor"] == "urn:ngsi-ld:d1", "the value of a Property is no link"
    lossless = (await get(broker, "s4", join="inline"))["route"]
    assert [one["id"] for one in lossless["entityList"]] == [uri("d3"), uri("d1")]
    (only,) = (await get(broker, "s2", join="flat", datasetId=DATASET))[1:]
    assert only["id"] == uri("d1")


async def test_linked_entities_are_shown_in_the_same_way_as_those_selected(broker: RunningBroker) -> None:
    shown = await get(broker, "s2", join="inline", options="sysAttrs", lang="de", format="concise", datasetId="@none")
    device = shown["sensor"]["entity"]
    assert device["label"]["value"] == "zwei"
    assert device["type"] == ["Device", "Meter"]
    assert {"createdAt", "modifiedAt"} <= device.keys()
    expired = (await get(broker, "s4", join="inline", format="concise"))["route"]["entityList"][0]
    assert "humidity" not in expired, "it has expired"


async def test_json_ld_names_the_context_once_around_inline_entities(broker: RunningBroker) -> None:
    inline = await get(broker, "s1", accept=JSON_LD, join="inline")
    assert "@context" in inline
    assert "@context" not in inline["sensor"]["entity"]
    assert all("@context" in one for one in await get(broker, "s1", accept=JSON_LD, join="flat"))


async def test_geojson_has_features_around_selected_and_appended_entities(broker: RunningBroker) -> None:
    inline = await get(broker, "s1", accept="application/geo+json", join="inline", format="simplified")
    assert (inline["type"], inline["geometry"]) == ("Feature", PLACE)
    assert inline["properties"]["sensor"]["id"] == uri("d1")
    flat = await get(broker, "s1", accept="application/geo+json", join="flat", joinLevel="2")
    assert flat["type"] == "FeatureCollection"
    assert [(one["id"], one["geometry"]) for one in flat["features"]] == [
        (uri("s1"), PLACE),
        (uri("d1"), PLACE),
        (uri("ann"), None),
    ]


async def test_an_earlier_version_of_the_specification_applies_to_linked_entities(broker: RunningBroker) -> None:
    headers = {**HEADERS, "Prefer": "ngsi-ld=1.2"}
    path = f"{ENTITIES}/{uri('s2')}"
    async with broker.client.get(path, params={"join": "inline", "format": "concise"}, headers=headers) as response:
        assert response.status == 203
        shown = await response.json()
    assert shown["sensor"]["entity"]["label"] == {"de": "zwei", "en": "two"}


async def test_a_query_shows_what_its_page_links_to(broker: RunningBroker) -> None:
    inline = await get(broker, type="Station", join="inline", format="simplified", pick="id,sensor{id}", limit="3")
    assert [one["id"] for one in inline] == [uri("s1"), uri("s2"), uri("s3")]
    assert inline[0]["sensor"] == {"id": uri("d1")}
    assert inline[1]["sensor"]["dataset"][DATASET] == {"id": uri("d1")}, "each selected entity is complete"
    flat = await names(broker, type="Station", join="flat", limit="3")
    assert flat == ["s1", "s2", "s3", "d1", "d2", "d3"]
    assert await names(broker, type="Station,Device", join="flat", limit="8", pick="id,sensor") == [
        *("d1", "d2", "d3", "s1", "s2", "s3", "s4", "s5")
    ]


async def test_a_query_by_post_does_the_same(broker: RunningBroker) -> None:
    body = {
        "type": "Query",
        "entities": [{"type": "Station", "id": uri("s1")}],
        "join": "inline",
        "joinLevel": 2,
        "containedBy": [uri("ann")],
        "pick": ["id", "sensor{id,owner}"],
    }
    async with broker.client.post(
        f"{BATCH}/query", params={"options": "keyValues"}, json=body, headers=HEADERS
    ) as response:
        assert response.status == 200, await response.text()
        assert await response.json() == [{"id": uri("s1"), "sensor": {"id": uri("d1"), "owner": uri("ann")}}]


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"join": "nested"}, "/join"),
        ({"join": 1}, "/join"),
        ({"join": "flat", "joinLevel": 0}, "/joinLevel"),
        ({"join": "flat", "joinLevel": "2"}, "/joinLevel"),
        ({"join": "flat", "containedBy": []}, "/containedBy"),
        ({"join": "flat", "containedBy": [uri("a"), "Paris"]}, "/containedBy/1"),
        ({"join": "flat", "pick": ["id", "a{b{c}}"]}, "/pick"),
        ({"join": "flat", "omit": ["a{b{c}}"]}, "/omit"),
    ],
)
async def test_a_body_that_makes_no_sense_is_refused(
    broker: RunningBroker, members: dict[str, Any], pointer: str
) -> None:
    body = {"type": "Query", "entities": [{"type": "Station"}], **members}
    async with broker.client.post(f"{BATCH}/query", json=body, headers=HEADERS) as response:
        problem = await assert_problem(response, 400, "BadRequestData")
    assert problem["errors"][0]["pointer"] == pointer


async def test_more_linked_entities_than_the_setting_allows_are_refused(broker: RunningBroker) -> None:
    assert len(await get(broker, "n0", join="flat", joinLevel="8")) == 9
    for form in ("flat", "inline"):
        problem = await refusal(broker, 403, "TooManyResults", "n0", join=form, joinLevel="9")
        assert "more than 8 linked entities" in problem["detail"]
        await refusal(broker, 403, "TooManyResults", "hub", join=form)


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("sensor{humidity}==40", ["s1", "s2"]),
        ("sensor{humidity}>40", ["s2"]),
        ("sensor{humidity}", ["s1", "s2"]),
        ("!sensor{humidity}", ["s3", "s4", "s5"]),
        ("sensor{Device:humidity}==50", ["s2"]),
        ("sensor{Meter:humidity}==40", []),
        ("sensor{Meter,Device:humidity}==40", ["s1", "s2"]),
        ("sensor{owner{age}}==30", ["s1", "s2", "s3"]),
        ("sensor{owner{age}}<25", ["s2", "s3"]),
        ("sensor{owner{knows{age}}}==20", ["s1", "s2", "s3"]),
        ('sensor{label[de]}=="zwei"', ["s2"]),
        ("route{humidity}==40", ["s4"]),
        ('sensor{humidity}==40;name=="one"', ["s1"]),
        ('sensor{humidity}==50|name=="three"', ["s2", "s3"]),
        ("(sensor{humidity}==40|route{humidity}==40);!sensor{label}", ["s1", "s4"]),
        ('sensor{label[en]}~="^(t|w|o|tw)+$"', ["s2"]),
        ("unknown{humidity}==40", []),
    ],
)
async def test_q_follows_relationships(broker: RunningBroker, q: str, expected: list[str]) -> None:
    assert await names(broker, type="Station", q=q, join="flat", joinLevel="3", pick="id") == expected


async def test_a_query_through_links_is_counted_paged_and_ordered(broker: RunningBroker) -> None:
    asked = {"type": "Station", "q": "sensor{owner{age}}>0", "join": "inline", "joinLevel": "2", "pick": "id"}
    async with broker.client.get(
        ENTITIES, params={**asked, "count": "true", "limit": "2"}, headers=HEADERS
    ) as response:
        assert response.headers["NGSILD-Results-Count"] == "3"
        assert any('rel="next"' in link for link in response.headers.getall("Link"))
        assert [one["id"] for one in await response.json()] == [uri("s1"), uri("s2")]
    assert await names(broker, **asked, limit="2", offset="2") == ["s3"]
    assert await names(broker, **asked, orderBy="name;desc", local="true") == ["s2", "s3", "s1"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"q": "sensor{humidity}==40"},
        {"q": "sensor{humidity}==40", "join": "@none"},
        {"q": "sensor{owner{age}}==1", "join": "flat"},
        {"pick": "sensor{humidity}"},
        {"omit": "sensor{owner{age}}", "join": "inline", "joinLevel": "1"},
        {"join": "nested"},
        {"join": "flat", "joinLevel": "0"},
        {"join": "flat", "containedBy": "Paris"},
    ],
)
async def test_what_goes_deeper_than_linked_entities_are_retrieved_is_refused(
    broker: RunningBroker, parameters: dict[str, str]
) -> None:
    await refusal(broker, 400, "BadRequestData", type="Station", **parameters)


async def test_a_query_that_leads_to_too_many_entities_is_refused(broker: RunningBroker) -> None:
    targets = [f"urn:ngsi-ld:many:{number}" for number in range(1_001)]
    crowd = {"id": uri("crowd"), "type": "Crowd", "all": {"objectList": targets}}
    async with broker.client.post(ENTITIES, json=crowd, headers=HEADERS) as response:
        assert response.status == 201
    problem = await refusal(broker, 403, "TooComplexQuery", type="Crowd", q="all{age}>1", join="flat")
    assert "at most 1000," in problem["detail"]
