"""POST /entityOperations/query: the Query of a body does what the parameters of a URL do (clauses 6.23, 5.2.23)."""

import json
import re
import uuid
from typing import Any

import pytest

from broker.local import LocalBroker
from tests.conftest import RunningBroker
from tests.integration.api import BATCH, CORE, ENTITIES, JSON, JSON_LD
from tests.integration.wire import request
from tests.problems import assert_problem

TOWN = f"posts{uuid.uuid4().hex[:10]}"
HEADERS = {"NGSILD-Tenant": TOWN}
QUERY = f"{BATCH}/query"
DATASET = "urn:ngsi-ld:Dataset:1"
POINT = {"type": "Point", "coordinates": [10.0, 52.0]}

THINGS = [
    {"id": "urn:ngsi-ld:a", "type": "Car", "speed": 55, "brand": "Audi", "scope": "/town", "location": POINT},
    {"id": "urn:ngsi-ld:b", "type": "Car", "speed": [{"value": 9}, {"value": 8, "datasetId": DATASET}], "brand": "BMW"},
    {"id": "urn:ngsi-ld:c", "type": ["Car", "Taxi"], "text": {"languageMap": {"de": "Halt", "en": "stop"}}},
    {"id": "urn:ngsi-ld:d", "type": "Bus", "shape": {"vocab": "octagon"}, "speed": 1},
]


@pytest.fixture(scope="module", autouse=True)
def town(broker_process: LocalBroker) -> None:
    body = json.dumps(THINGS).encode()
    answer = request(broker_process.settings.port, "POST", f"{BATCH}/create", {"Content-Type": JSON, **HEADERS}, body)
    assert answer.status == 201, answer.body


async def post(
    broker: RunningBroker, document: dict[str, Any], status: int = 200, target: str = QUERY, **parameters: str
) -> Any:
    body = {"type": "Query", **document}
    async with broker.client.post(target, json=body, params=parameters, headers=HEADERS) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def get(broker: RunningBroker, **parameters: str) -> Any:
    async with broker.client.get(ENTITIES, params=parameters, headers=HEADERS) as response:
        assert response.status == 200, await response.text()
        return await response.json()


GEO = {"georel": "near;maxDistance==1000", "geometry": "Point", "coordinates": [10.0, 52.0]}


@pytest.mark.parametrize(
    ("document", "parameters"),
    [
        ({"entities": [{"type": "Car"}]}, {"type": "Car"}),
        ({"entities": [{"type": "Car|Bus"}]}, {"type": "Car,Bus"}),
        ({"entities": [{"type": "*"}]}, {"type": "*"}),
        ({"entities": [{"type": "Car", "id": "urn:ngsi-ld:a"}]}, {"type": "Car", "id": "urn:ngsi-ld:a"}),
        ({"entities": [{"type": "Car", "id": ["urn:ngsi-ld:a", "urn:ngsi-ld:d"]}]},
         {"type": "Car", "id": "urn:ngsi-ld:a,urn:ngsi-ld:d"}),
        ({"entities": [{"type": "Car", "idPattern": ".*[bc]$"}]}, {"type": "Car", "idPattern": ".*[bc]$"}),
        ({"entities": [{"type": "Car", "id": "urn:ngsi-ld:a", "idPattern": "b$"}]},
         {"type": "Car", "id": "urn:ngsi-ld:a"}),  # 5.2.33: id takes precedence
        ({"entities": [{"type": "Taxi"}, {"type": "Bus"}]}, {"type": "Taxi,Bus"}),
        ({"entities": [{"type": "Car", "idPattern": "a$"}, {"type": "Bus", "id": "urn:ngsi-ld:d"}]},
         {"local": "true", "id": "urn:ngsi-ld:a,urn:ngsi-ld:d"}),
        ({"q": "speed>5"}, {"q": "speed>5"}),
        ({"q": 'shape=="octagon"', "expandValues": "shape"}, {"q": 'shape=="octagon"', "expandValues": "shape"}),
        ({"q": 'brand=="Audi"', "jsonKeys": "brand"}, {"q": 'brand=="Audi"', "jsonKeys": "brand"}),
        ({"geoQ": GEO}, {**GEO, "coordinates": "[10.0,52.0]"}),
        ({"geoQ": {**GEO, "coordinates": "[10.0,52.0]"}}, {**GEO, "coordinates": "[10.0,52.0]"}),
        ({"entities": [{"type": "Car"}], "scopeQ": "/town"}, {"type": "Car", "scopeQ": "/town"}),
        ({"attrs": ["brand", "text"]}, {"attrs": "brand,text"}),
        ({"entities": [{"type": "Car"}], "pick": ["id", "brand"]}, {"type": "Car", "pick": "id,brand"}),
        ({"entities": [{"type": "Car"}], "pick": ["id,brand"]}, {"type": "Car", "pick": "id,brand"}),
        ({"entities": [{"type": "Car"}], "omit": ["brand"]}, {"type": "Car", "omit": "brand"}),
        ({"entities": [{"type": "Car"}], "datasetId": [DATASET]}, {"type": "Car", "datasetId": DATASET}),
        ({"entities": [{"type": "Car"}], "datasetId": ["@none"]}, {"type": "Car", "datasetId": "@none"}),
        ({"entities": [{"type": "Taxi"}], "lang": "en"}, {"type": "Taxi", "lang": "en"}),
        ({"entities": [{"type": "Car"}], "csf": "a==1", "splitEntities": True, "join": "@none"}, {"type": "Car"}),
        ({"entities": [{"type": "Car,Bus"}], "ordering": {"orderBy": ["speed;desc", "id"], "collation": "de"}},
         {"type": "Car,Bus", "orderBy": "speed;desc,id", "collation": "de"}),
        ({"entities": [{"type": "*"}],
          "ordering": {"orderBy": ["location;dist-asc", "id;desc"], "coordinates": [8, 40], "geometry": "Point"}},
         {"type": "*", "orderBy": "location;dist-asc,id;desc", "orderFrom": "[8,40]", "orderGeometry": "Point"}),
    ],
)  # fmt: skip
async def test_a_query_in_a_body_finds_what_the_same_query_in_a_url_does(
    broker: RunningBroker, document: dict[str, Any], parameters: dict[str, str]
) -> None:
    found = await post(broker, document)
    assert found
    assert found == await get(broker, **parameters)


async def test_pages_formats_and_the_local_scope_stand_in_the_url(broker: RunningBroker) -> None:
    car = {"entities": [{"type": "Car"}]}
    assert await post(broker, car, format="simplified") == await get(broker, type="Car", format="simplified")
    assert await post(broker, car, options="sysAttrs") == await get(broker, type="Car", options="sysAttrs")
    assert len(await post(broker, {}, local="true")) == 4
    assert await post(broker, car, limit="1", offset="1") == await get(broker, type="Car", limit="1", offset="1")
    async with broker.client.post(
        QUERY, json={"type": "Query", **car}, params={"count": "true", "limit": "0"}, headers=HEADERS
    ) as response:
        assert await response.json() == []
        assert response.headers["NGSILD-Results-Count"] == "3"


async def test_the_links_of_a_page_are_followed_with_the_same_body(broker: RunningBroker) -> None:
    body = {"type": "Query", "entities": [{"type": "Car"}, {"type": "Bus"}], "ordering": {"orderBy": ["speed"]}}
    target, seen = f"{QUERY}?limit=2", []
    while target:
        async with broker.client.post(target, json=body, headers=HEADERS) as response:
            assert response.status == 200, await response.text()
            seen += [entity["id"][-1] for entity in await response.json()]
            found = re.findall(r'<([^>]*)>; rel="next"', ", ".join(response.headers.getall("Link")))
        assert not found or found[0].startswith(f"{QUERY}?cursor=")
        target = found[0] if found else ""
    assert seen == ["d", "b", "a", "c"]


async def test_the_context_of_a_linked_data_body_names_the_members(broker: RunningBroker) -> None:
    context = [{"wheels": "https://uri.etsi.org/ngsi-ld/default-context/speed"}, CORE]
    body = {"@context": context, "type": "Query", "q": "wheels==55", "pick": ["id", "wheels"]}
    headers = {**HEADERS, "Content-Type": JSON_LD, "Accept": JSON}
    async with broker.client.post(QUERY, data=json.dumps(body), headers=headers) as response:
        assert await response.json() == [{"id": "urn:ngsi-ld:a", "wheels": {"type": "Property", "value": 55}}]


async def test_an_answer_can_be_geojson(broker: RunningBroker) -> None:
    body = {"type": "Query", "entities": [{"type": "Car", "id": "urn:ngsi-ld:a"}]}
    headers = {**HEADERS, "Accept": "application/geo+json"}
    async with broker.client.post(QUERY, json=body, headers=headers) as response:
        assert response.status == 200, await response.text()
        (feature,) = json.loads(await response.text())["features"]
    assert feature["geometry"] == POINT


CAR = [{"type": "Car"}]


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"type": "NotQuery", "entities": CAR}, "/type"),
        ({"entities": []}, "/entities"),
        ({"entities": {"type": "Car"}}, "/entities"),
        ({"entities": ["Car"]}, "/entities/0"),
        ({"entities": [{"id": "urn:a:1"}]}, "/entities/0/type"),
        ({"entities": [{"type": "(Car"}]}, "/entities/0/type"),
        ({"entities": [{"type": 5}]}, "/entities/0/type"),
        ({"entities": [{"type": "Car", "id": "no uri"}]}, "/entities/0/id"),
        ({"entities": [{"type": "Car", "id": ["urn:a:1", 5]}]}, "/entities/0/id/1"),
        ({"entities": [{"type": "Car", "id": []}]}, "/entities/0/id"),
        ({"entities": [*CAR, {"type": "Car", "idPattern": "(["}]}, "/entities/1/idPattern"),
        ({"entities": [{"type": "Car", "name": "x"}]}, "/entities/0/name"),
        ({"entities": CAR, "attrs": []}, "/attrs"),
        ({"entities": CAR, "pick": ["a", "b{"]}, "/pick/1"),
        ({"entities": CAR, "pick": "a"}, "/pick"),
        ({"entities": CAR, "pick": ["a"], "omit": ["a"]}, "/omit"),
        ({"entities": CAR, "q": 42}, "/q"),
        ({"entities": CAR, "q": "a=="}, "/q"),
        ({"entities": CAR, "csf": "))bad(("}, "/csf"),
        ({"entities": CAR, "scopeQ": "//"}, "/scopeQ"),
        ({"entities": CAR, "lang": "!"}, "/lang"),
        ({"entities": CAR, "datasetId": ["x"]}, "/datasetId/0"),
        ({"entities": CAR, "expandValues": ["a"]}, "/expandValues"),
        ({"entities": CAR, "splitEntities": "yes"}, "/splitEntities"),
        ({"entities": CAR, "joinLevel": 0}, "/joinLevel"),
        ({"entities": CAR, "join": "sideways"}, "/join"),
        ({"entities": CAR, "temporalQ": {}}, "/temporalQ"),
        ({"entities": CAR, "aggrParams": {}}, "/aggrParams"),
        ({"entities": CAR, "limit": 5}, "/limit"),
        ({"entities": CAR, "geoQ": []}, "/geoQ"),
        ({"entities": CAR, "geoQ": {"near": 1}}, "/geoQ/near"),
        ({"entities": CAR, "geoQ": {**GEO, "coordinates": 5}}, "/geoQ/coordinates"),
        ({"entities": CAR, "geoQ": {**GEO, "georel": "beside"}}, "/geoQ"),
        ({"entities": CAR, "geoQ": {"georel": "within"}}, "/geoQ"),
        ({"entities": CAR, "ordering": {"orderBy": "id"}}, "/ordering/orderBy"),
        ({"entities": CAR, "ordering": {"orderBy": ["id;up"]}}, "/ordering"),
        ({"entities": CAR, "ordering": {"orderBy": ["id"], "geometry": 5}}, "/ordering/geometry"),
        ({"entities": CAR, "ordering": {"orderBy": ["id"], "coordinates": "8,40"}}, "/ordering/coordinates"),
        ({"entities": CAR, "ordering": {"orderBy": ["id"], "collation": "not a bcp47 tag!!"}}, "/ordering"),
        ({"entities": CAR, "ordering": {"orderBy": ["location;dist-asc"]}}, "/ordering"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_pointer_to_it(
    broker: RunningBroker, document: dict[str, Any], pointer: str
) -> None:
    async with broker.client.post(QUERY, json={"type": "Query", **document}, headers=HEADERS) as response:
        problem = await assert_problem(response, 400, "BadRequestData")
    assert problem["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("document", "parameters"),
    [
        ({}, {}),
        ({"entities": [{"type": "*"}]}, {"local": "false"}),
        ({"entities": CAR, "pick": ["id"]}, {"pick": "id"}),
        ({"entities": CAR}, {"limit": "0"}),
        ({"entities": CAR}, {"cursor": "1.x"}),
        ({"entities": CAR, "attrs": ["createdAt"]}, {"pick": "id"}),
    ],
)
async def test_body_and_url_must_go_together(
    broker: RunningBroker, document: dict[str, Any], parameters: dict[str, str]
) -> None:
    body = {"type": "Query", **document}
    async with broker.client.post(QUERY, json=body, params=parameters, headers=HEADERS) as response:
        await assert_problem(response, 400, "BadRequestData")


@pytest.mark.parametrize("parameter", ["type", "q", "georel", "orderBy", "unknown"])
async def test_conditions_have_no_place_in_the_url(broker: RunningBroker, parameter: str) -> None:
    body = {"type": "Query", "entities": CAR}
    async with broker.client.post(QUERY, json=body, params={parameter: "Car"}, headers=HEADERS) as response:
        await assert_problem(response, 400, "InvalidRequest")
