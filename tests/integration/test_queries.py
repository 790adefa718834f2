"""Queries over HTTP: GET /entities with its selections, pages and counts (clauses 6.4.3.2, 5.7.2, 4.9, 4.10, 6.3.10).

One small town stands in a tenant of its own for the whole module; `ids` of its entities are single letters.
"""

import json
import re
import uuid
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from broker.local import LocalBroker
from tests.conftest import RunningBroker
from tests.integration.api import BATCH, ENTITIES, JSON, JSON_LD, create, new_type
from tests.integration.wire import request
from tests.problems import assert_problem

TOWN = f"town{uuid.uuid4().hex[:10]}"
HEADERS = {"NGSILD-Tenant": TOWN}
DATASET = "urn:ngsi-ld:Dataset:night"


def thing(letter: str, kind: Any, lon: float | None = None, **members: Any) -> dict[str, Any]:
    location = {} if lon is None else {"location": {"type": "Point", "coordinates": [lon, 52.0]}}
    return {"id": f"urn:ngsi-ld:{letter}", "type": kind, **location, **members}


PEOPLE = [
    thing("a", "Car", 10.0, speed=55, brand="Audi", scope="/town/north", owner={"object": "urn:p:1"}),
    thing("b", "Car", 10.001, speed=90.5, brand="BMW", scope="/town/south", tags=["fast", "red"], sold=True),
    thing("c", ["Car", "Taxi"], 10.1, speed=[{"value": 10}, {"value": 70, "datasetId": DATASET}], brand="Citroën"),
    thing("d", "Bus", 11.0, speed={"value": 40, "observedAt": "2026-01-31T12:00:00Z", "source": "gps"}, seats=80),
    thing("e", "Bus", address={"city": "Berlin", "street": {"name": "Unter den Linden"}}, seats="many"),
    thing("f", "Sign", 9.0, text={"languageMap": {"de": "Halt", "en": "stop"}}, shape={"vocab": "octagon"}),
]


@pytest.fixture(scope="module", autouse=True)
def town(broker_process: LocalBroker) -> None:
    body = json.dumps(PEOPLE).encode()
    answer = request(broker_process.settings.port, "POST", f"{BATCH}/create", {"Content-Type": JSON, **HEADERS}, body)
    assert answer.status == 201, answer.body


async def ask(broker: RunningBroker, status: int = 200, **parameters: str) -> Any:
    async with broker.client.get(ENTITIES, params=parameters, headers=HEADERS) as response:
        assert response.status == status, f"{response.status} {await response.text()}"
        return await response.json()


async def letters(broker: RunningBroker, **parameters: str) -> str:
    """The letters of the entities found, in their order."""
    return "".join(entity["id"][-1] for entity in await ask(broker, **parameters))


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"type": "Car"}, "abc"),
        ({"type": "Car,Bus"}, "abcde"),
        ({"type": "Taxi|Sign"}, "cf"),
        ({"type": "(Car;Taxi)"}, "c"),
        ({"type": "(Car;Taxi),Bus"}, "cde"),
        ({"type": "*"}, "abcdef"),
        ({"type": "Nothing"}, ""),
        ({"type": "https://uri.etsi.org/ngsi-ld/default-context/Bus"}, "de"),
        ({"local": "true"}, "abcdef"),
        ({"type": "Car", "id": "urn:ngsi-ld:a,urn:ngsi-ld:e"}, "a"),
        ({"local": "true", "id": "urn:ngsi-ld:f,urn:ngsi-ld:a"}, "af"),
        ({"type": "Car", "idPattern": "urn:ngsi-ld:[bc]"}, "bc"),
        ({"local": "true", "idPattern": ".*d$"}, "d"),
        ({"local": "true", "idPattern": "^[a-z-]+:[a-z:-]+:(a|b|ab)+$"}, "ab"),
        ({"attrs": "seats"}, "de"),
        ({"attrs": "seats,tags"}, "bde"),
        ({"type": "Car", "attrs": "seats"}, ""),
    ],
)
async def test_selecting_by_type_id_pattern_and_attributes(
    broker: RunningBroker, parameters: dict[str, str], expected: str
) -> None:
    assert await letters(broker, **parameters) == expected


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("speed", "abcd"),
        ("speed==55", "a"),
        ("speed==55.0", "a"),
        ("speed!=55", "bcd"),
        ("speed>55", "bc"),
        ("speed>=55", "abc"),
        ("speed<40", "c"),
        ("speed==40..55", "ad"),
        ("speed==40,55", "ad"),
        ('brand=="Audi"', "a"),
        ('brand=="Audi","BMW"', "ab"),
        ('brand!="Audi"', "bc"),
        ("brand~=^C", "c"),
        ('brand~="(?i)bmw"', "b"),
        ("brand!~=^C", "ab"),
        ('brand~="^[A-Z]+[A-Za-z]*$"', "ab"),
        ('brand!~="^[A-Z]+[A-Za-z]*$"', "c"),
        ('tags=="red"', "b"),
        ("sold==true", "b"),
        ("owner==urn:p:1", "a"),
        ('owner=="urn:p:1"', "a"),
        ("seats>10", "d"),
        ("speed>50;sold", "b"),
        ("sold|seats", "bde"),
        ('(speed>50|seats==80);brand=="Audi"', "a"),
        ('speed>50|seats==80;brand=="Audi"', "abc"),  # AND binds tighter (4.9)
        ("speed.observedAt>=2026-01-31T12:00:00Z", "d"),
        ("speed.observedAt<2026-01-31T12:00:00Z", ""),
        ('speed.source=="gps"', "d"),
        ('address[city]=="Berlin"', "e"),
        ("address[street.name]~=Linden", "e"),
        ('address[city]=="Paris"', ""),
        ('text[de]=="Halt"', "f"),
        ('text[*]=="stop"', "f"),
        ('text[en]=="Halt"', ""),
        ("https://uri.etsi.org/ngsi-ld/default-context/seats", "de"),
    ],
)
async def test_filtering_by_q(broker: RunningBroker, q: str, expected: str) -> None:
    assert await letters(broker, q=q) == expected


@pytest.mark.parametrize(
    "q", ["speed==", "==5", "speed=5", "(speed", "speed>true", "speed==1..", ";", "a[b", "speed~=(["]
)
async def test_a_q_that_makes_no_sense_is_bad_request_data(broker: RunningBroker, q: str) -> None:
    async with broker.client.get(ENTITIES, params={"q": q}, headers=HEADERS) as response:
        await assert_problem(response, 400, "BadRequestData")  # 5.7.2.4


POINT = {"geometry": "Point", "coordinates": "[10.0,52.0]"}
SQUARE = {"geometry": "Polygon", "coordinates": "[[[9.9,51.9],[10.05,51.9],[10.05,52.1],[9.9,52.1],[9.9,51.9]]]"}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"georel": "near;maxDistance==1", **POINT}, "a"),
        ({"georel": "near;maxDistance==100", **POINT}, "ab"),
        ({"georel": "near;maxDistance==10000", **POINT}, "abc"),
        ({"georel": "near;minDistance==10000", **POINT}, "df"),
        ({"georel": "within", **SQUARE}, "ab"),
        ({"georel": "near;maxDistance==10000", "type": "Taxi", **POINT}, "c"),
        ({"georel": "near;maxDistance==10000", "q": "sold", **POINT}, "b"),
        ({"georel": "near;maxDistance==10000", "geoproperty": "address", **POINT}, ""),
    ],
)
async def test_filtering_by_place(broker: RunningBroker, parameters: dict[str, str], expected: str) -> None:
    assert "".join(sorted(await letters(broker, **parameters))) == expected


@pytest.mark.parametrize(
    "parameters",
    [
        {"georel": "near;maxDistance==1"},
        {"georel": "near;maxDistance==1", "geometry": "Point"},
        {"georel": "near", **POINT},
        {"georel": "near;maxDistance==-1", **POINT},
        {"georel": "beside", **POINT},
        {"georel": "within", "geometry": "Point", "coordinates": "[10]"},
        {"georel": "within", "geometry": "Blob", "coordinates": "[10,52]"},
        {"georel": "within", "geometry": "Point", "coordinates": "no json"},
        {"georel": "within", "geometry": "Point", "coordinates": "[400,52]"},
    ],
)
async def test_a_geo_query_that_makes_no_sense_is_bad_request_data(
    broker: RunningBroker, parameters: dict[str, str]
) -> None:
    async with broker.client.get(ENTITIES, params={"type": "Car", **parameters}, headers=HEADERS) as response:
        await assert_problem(response, 400, "BadRequestData")


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("/town/north", "a"),
        ("/town/#", "ab"),
        ("/town/+", "ab"),
        ("/town/north,/town/south", "ab"),
        ("(/town/north;/town/south)", ""),
        ("(/town/+;/town/south)|/town/north", "ab"),
        ("/#", "ab"),
        ("/town", ""),
        ("/other/#", ""),
    ],
)
async def test_filtering_by_scope(broker: RunningBroker, scope: str, expected: str) -> None:
    assert await letters(broker, type="Car", scopeQ=scope) == expected  # 4.19


@pytest.mark.parametrize(
    "parameters",
    [
        {}, {"id": "urn:ngsi-ld:a"}, {"idPattern": ".*"}, {"scopeQ": "/town/#"}, {"limit": "1"}, {"attrs": "createdAt"},
        {"q": "modifiedAt>2020-01-01T00:00:00Z"}, {"q": "createdAt|!expiresAt"},
    ],
)  # fmt: skip
async def test_a_query_that_is_too_wide_is_refused(broker: RunningBroker, parameters: dict[str, str]) -> None:
    async with broker.client.get(ENTITIES, params=parameters, headers=HEADERS) as response:
        body = await assert_problem(response, 400, "BadRequestData")  # 5.7.2.4
    assert "too wide" in body["detail"]


async def test_system_attributes_select_beside_others(broker: RunningBroker) -> None:
    assert await letters(broker, type="Car", q="modifiedAt>2020-01-01T00:00:00Z") == "abc"
    assert await letters(broker, q="modifiedAt>2020-01-01T00:00:00Z;seats") == "de"


async def test_all_types_are_local_by_nature(broker: RunningBroker) -> None:
    async with broker.client.get(ENTITIES, params={"type": "*", "local": "false"}, headers=HEADERS) as response:
        await assert_problem(response, 400, "BadRequestData")  # table 6.4.3.2-1


async def test_projecting_with_pick_omit_and_attrs(broker: RunningBroker) -> None:
    assert await ask(broker, type="Taxi", pick="id,brand") == [
        {"id": "urn:ngsi-ld:c", "brand": {"type": "Property", "value": "Citroën"}}
    ]
    assert await ask(broker, type="Taxi", pick="id|brand") == await ask(broker, type="Taxi", pick="id,brand")  # 4.21
    (entity,) = await ask(broker, type="Taxi", omit="speed,location,type")
    assert set(entity) == {"id", "brand"}
    (entity,) = await ask(broker, type="Taxi", attrs="brand,missing")
    assert set(entity) == {"id", "type", "brand"}
    assert await ask(broker, type="Taxi,Bus", pick="seats") == await ask(broker, type="Bus", pick="seats")


@pytest.mark.parametrize(
    ("parameters", "kind"),
    [
        ({"attrs": "speed", "pick": "speed"}, "BadRequestData"),
        ({"attrs": "speed", "omit": "speed"}, "BadRequestData"),
        ({"type": "Car", "pick": "id,speed", "omit": "id"}, "BadRequestData"),
        ({"type": "Car", "pick": "id,,speed"}, "BadRequestData"),
        ({"type": "Car", "csf": "))bad(("}, "BadRequestData"),
        ({"type": "Car", "csf": "a{b}"}, "BadRequestData"),
        ({"type": "Car", "splitEntities": "perhaps"}, "BadRequestData"),
        ({"type": "Car", "orderBy": "speed;up"}, "BadRequestData"),
        ({"type": "Car", "orderBy": "location;dist-asc"}, "BadRequestData"),
        ({"type": "Car", "orderBy": "brand", "collation": "!!nope"}, "BadRequestData"),
        ({"type": "Car", "orderBy": "brand", "collation": "xx"}, "BadRequestData"),
        ({"type": "Car", "orderBy": "brand", "offset": "10001"}, "BadRequestData"),
        ({"type": "Car", "cursor": "1.nonsense"}, "BadRequestData"),
        ({"type": "Car", "cursor": "1.nonsense", "offset": "1"}, "BadRequestData"),
        ({"type": "Car", "pick": "owner{name}"}, "BadRequestData"),  # 5.7.2.4: linked entities are not retrieved
        ({"type": "Car", "omit": "owner{name,age}"}, "BadRequestData"),
        ({"type": "Car", "attrs": "speed,"}, "InvalidRequest"),
        ({"type": "Car", "options": "sideways"}, "InvalidRequest"),
        ({"type": "Car", "format": "sideways"}, "InvalidRequest"),
        ({"type": "Car", "unknown": "1"}, "InvalidRequest"),
        ({"type": "Car", "id": "no-uri"}, "BadRequestData"),
        ({"type": ""}, "InvalidRequest"),
        ({"type": "(Car"}, "BadRequestData"),
        ({"type": "Car", "idPattern": "(["}, "BadRequestData"),
        ({"type": "Car", "scopeQ": "//"}, "BadRequestData"),
        ({"type": "Car", "datasetId": "no-uri"}, "BadRequestData"),
    ],
)
async def test_parameters_that_make_no_sense_are_refused(
    broker: RunningBroker, parameters: dict[str, str], kind: str
) -> None:
    async with broker.client.get(ENTITIES, params=parameters, headers=HEADERS) as response:
        await assert_problem(response, 400, kind)


async def test_a_parameter_that_is_given_twice_is_an_invalid_request(broker: RunningBroker) -> None:
    async with broker.client.get(f"{ENTITIES}?type=Car&type=Bus", headers=HEADERS) as response:
        await assert_problem(response, 400, "InvalidRequest")


@pytest.mark.parametrize("parameters", [{"csf": 'name=="x"'}, {"splitEntities": "true"}, {"splitEntities": "false"}])
async def test_what_is_about_context_sources_changes_nothing_without_them(
    broker: RunningBroker, parameters: dict[str, str]
) -> None:
    assert await letters(broker, type="Car", **parameters) == "abc"


async def test_values_are_expanded_for_the_attributes_named(broker: RunningBroker) -> None:
    assert await letters(broker, q='shape=="octagon"', expandValues="shape") == "f"
    assert await letters(broker, q='brand=="Audi"', jsonKeys="brand") == "a"


# Pages and counts (6.3.10, 6.3.13, 5.5.9)


def page_links(headers: Any) -> dict[str, str]:
    """The targets of the Link header by relation, the @context aside."""
    found = {}
    for target, relation, media_type in re.findall(
        r'<([^>]*)>; rel="([^"]*)"; type="([^"]*)"', ", ".join(headers.getall("Link"))
    ):
        if relation in ("next", "prev"):
            assert media_type == headers["Content-Type"]
            found[relation] = target
    return found


async def test_pages_lead_to_each_other_and_keep_every_parameter(broker: RunningBroker) -> None:
    seen: list[str] = []
    target = f"{ENTITIES}?type=Car,Bus&pick=id&limit=2&q=!nothing"
    relations = []
    while target:
        async with broker.client.get(target, headers=HEADERS) as response:
            assert response.status == 200
            entities = await response.json()
            assert all(set(entity) == {"id"} for entity in entities)
            seen += [entity["id"][-1] for entity in entities]
            links = page_links(response.headers)
            relations.append(set(links))
            target = links.get("next", "")
            if target:
                assert urlsplit(target).path == ENTITIES
                assert parse_qs(urlsplit(target).query).items() >= {
                    "type": ["Car,Bus"], "pick": ["id"], "limit": ["2"], "q": ["!nothing"]
                }.items()  # fmt: skip
            else:
                previous = links["prev"]
    assert "".join(seen) == "abcde"
    assert relations == [{"next"}, {"next", "prev"}, {"prev"}]  # 5.5.9.1
    async with broker.client.get(previous, headers=HEADERS) as response:
        assert [entity["id"][-1] for entity in await response.json()] == ["c", "d"]


async def test_the_links_of_linked_data_pages_bear_its_media_type(broker: RunningBroker) -> None:
    headers = {**HEADERS, "Accept": JSON_LD}
    async with broker.client.get(ENTITIES, params={"type": "Car", "limit": "1"}, headers=headers) as response:
        assert set(page_links(response.headers)) == {"next"}


async def test_a_count_tells_all_matches_whatever_the_page(broker: RunningBroker) -> None:
    for parameters in ({"count": "true"}, {"options": "count"}):
        async with broker.client.get(
            ENTITIES, params={"type": "Car,Bus", "limit": "2", **parameters}, headers=HEADERS
        ) as response:
            assert response.headers["NGSILD-Results-Count"] == "5"
            assert len(await response.json()) == 2
    async with broker.client.get(ENTITIES, params={"type": "Car"}, headers=HEADERS) as response:
        assert "NGSILD-Results-Count" not in response.headers


async def test_a_limit_of_zero_gives_the_count_alone(broker: RunningBroker) -> None:
    parameters = {"type": "Car", "limit": "0"}
    async with broker.client.get(ENTITIES, params={**parameters, "count": "true"}, headers=HEADERS) as response:
        assert await response.json() == []
        assert response.headers["NGSILD-Results-Count"] == "3"
        assert page_links(response.headers) == {}
    async with broker.client.get(ENTITIES, params=parameters, headers=HEADERS) as response:
        await assert_problem(response, 400, "BadRequestData")  # 6.3.13


@pytest.mark.parametrize(
    "parameters",
    [{"limit": "-1"}, {"limit": "x"}, {"limit": "1001"}, {"offset": "-1"}, {"offset": "1.5"}, {"count": "yes"}],
)
async def test_bad_pages_are_refused(broker: RunningBroker, parameters: dict[str, str]) -> None:
    async with broker.client.get(ENTITIES, params={"type": "Car", **parameters}, headers=HEADERS) as response:
        await assert_problem(response, 400, "BadRequestData")


async def test_a_pattern_that_would_take_seconds_on_a_stored_text_is_too_complex(broker: RunningBroker) -> None:
    kind = new_type()
    await create(broker, {"a": {"value": "ab" * 100_000}}, type=kind)
    parameters = {"type": kind, "q": "a~=(a.{200}|b.{220}|.{250}c)d"}
    async with broker.client.get(ENTITIES, params=parameters) as response:
        body = await assert_problem(response, 403, "TooComplexQuery")
    assert "a text of 200000 characters" in body["detail"]
    async with broker.client.get(ENTITIES, params={"type": kind, "q": "a~=.*(ba|ab)+.*"}) as response:
        assert [one["type"] for one in await response.json()] == [kind]


async def test_an_offset_beyond_the_end_is_answered(broker: RunningBroker) -> None:
    async with broker.client.get(
        ENTITIES, params={"type": "Car", "offset": "100", "count": "true"}, headers=HEADERS
    ) as response:
        assert response.status == 200
        assert response.headers["NGSILD-Results-Count"] == "3"
        assert set(page_links(response.headers)) == {"prev"}
    async with broker.client.get(ENTITIES, params={"type": "Car", "offset": "9" * 18}, headers=HEADERS) as response:
        assert response.status in (200, 400)


async def test_a_page_shows_system_attributes_and_formats_as_asked(broker: RunningBroker) -> None:
    (entity,) = await ask(broker, type="Sign", options="sysAttrs,keyValues")
    assert {"createdAt", "modifiedAt"} < set(entity)
    assert entity["text"] == {"languageMap": {"de": "Halt", "en": "stop"}}
    (entity,) = await ask(broker, type="Sign", format="concise", lang="en")
    assert entity["text"] == {"value": "stop", "lang": "en"}
    (entity,) = await ask(broker, type="Taxi", format="simplified", datasetId=DATASET)
    assert set(entity) == {"id", "type", "speed"}
