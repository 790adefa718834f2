"""GeoJSON over HTTP: Accept, Prefer, geometryProperty (clauses 4.5.16, 4.5.17, 6.3.6, 6.3.15)."""

from typing import Any

import pytest

from tests.conftest import RunningBroker
from tests.integration.api import CORE, ENTITIES, JSON, JSON_LD, SUBSCRIPTIONS, create, new_id, new_type
from tests.problems import assert_problem

GEO_JSON = "application/geo+json"
ACCEPT = {"Accept": GEO_JSON}
HERE = {"type": "Point", "coordinates": [8.5, 41.2]}
THERE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
PLACE: dict[str, Any] = {
    "name": "Downtown",
    "location": [
        {"type": "GeoProperty", "value": THERE, "datasetId": "urn:d:1"},
        {"type": "GeoProperty", "value": HERE, "observedAt": "2026-01-31T12:00:00Z"},
    ],
    "observationSpace": {"type": "GeoProperty", "value": THERE},
}


async def ask(broker: RunningBroker, path: str, headers: dict[str, str] = ACCEPT, **parameters: str) -> Any:
    async with broker.client.get(path, params=parameters, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == GEO_JSON
        return await response.json(content_type=None)


async def test_one_entity_is_a_feature_with_its_context(broker: RunningBroker) -> None:
    entity_id = await create(broker, PLACE)
    assert await ask(broker, f"{ENTITIES}/{entity_id}") == {
        "id": entity_id,
        "type": "Feature",
        "geometry": HERE,
        "properties": {
            "type": "Thing",
            "name": {"type": "Property", "value": "Downtown"},
            "location": PLACE["location"],
            "observationSpace": PLACE["observationSpace"],
        },
        "@context": CORE,
    }


async def test_concise_and_simplified_are_the_properties_of_a_feature(broker: RunningBroker) -> None:
    path = f"{ENTITIES}/{await create(broker, PLACE)}"
    concise = await ask(broker, path, format="concise", datasetId="urn:d:1")
    assert concise["geometry"] == THERE
    assert concise["properties"]["location"] == {"value": THERE, "datasetId": "urn:d:1"}
    simplified = await ask(broker, path, options="keyValues", geometryProperty="observationSpace", omit="name,id")
    assert (simplified["id"], simplified["geometry"]) == (path.rpartition("/")[2], THERE)
    assert simplified["properties"] == {
        "type": "Thing",
        "location": {"dataset": {"urn:d:1": THERE, "@none": HERE}},
        "observationSpace": THERE,
    }


async def test_a_query_answers_with_a_feature_collection_and_links_to_its_pages(broker: RunningBroker) -> None:
    kind = new_type()
    ids = sorted([await create(broker, PLACE, type=kind), await create(broker, type=kind)])
    body = await ask(broker, ENTITIES, type=kind)
    assert (body["type"], body["@context"]) == ("FeatureCollection", CORE)
    assert sorted(one["id"] for one in body["features"]) == ids
    assert sorted(str(one["geometry"]) for one in body["features"]) == ["None", str(HERE)]
    assert not any("@context" in one or "@context" in one["properties"] for one in body["features"])
    assert (await ask(broker, ENTITIES, type=new_type()))["features"] == []
    async with broker.client.get(ENTITIES, params={"type": kind, "limit": "1"}, headers=ACCEPT) as response:
        assert response.headers["Link"].endswith(f'rel="next"; type="{GEO_JSON}"')


async def test_prefer_moves_the_context_to_the_link_header(broker: RunningBroker) -> None:
    path = f"{ENTITIES}/{await create(broker, PLACE)}"
    for target, parameters in ((path, {}), (ENTITIES, {"type": "Thing"})):
        async with broker.client.get(target, params=parameters, headers={**ACCEPT, "Prefer": "body=json"}) as response:
            assert "@context" not in await response.json(content_type=None)
            assert CORE in response.headers["Link"]
            assert response.headers["Preference-Applied"] == "body=json"
        async with broker.client.get(
            target, params=parameters, headers={**ACCEPT, "Prefer": "body=ld+json"}
        ) as response:
            assert (await response.json(content_type=None))["@context"] == CORE
            assert "Link" not in response.headers


async def test_a_geometry_that_is_none_is_null(broker: RunningBroker) -> None:
    path = f"{ENTITIES}/{await create(broker, {'name': 'x'})}"
    for name in ("location", "name", "unheardOf"):
        assert (await ask(broker, path, geometryProperty=name))["geometry"] is None


@pytest.mark.parametrize("accept", [JSON, JSON_LD, "*/*", f"{GEO_JSON}, {JSON}"])
async def test_a_geometry_is_selected_for_geojson_only(broker: RunningBroker, accept: str) -> None:
    for path in (f"{ENTITIES}?type=T&geometryProperty=location", f"{ENTITIES}/{new_id()}?geometryProperty=location"):
        async with broker.client.get(path, headers={"Accept": accept}) as response:
            await assert_problem(response, 400, "BadRequestData")  # 5.7.1.4, 5.7.2.4


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", SUBSCRIPTIONS, None),
        ("GET", "/ngsi-ld/v1/info/sourceIdentity", None),
        ("POST", ENTITIES, {"id": "urn:a:406", "type": "T"}),
        ("PATCH", f"{ENTITIES}/urn:a:406/attrs", {"a": 1}),
        ("DELETE", f"{ENTITIES}/urn:a:406", None),
    ],
)
async def test_all_other_operations_offer_no_geojson(broker: RunningBroker, method: str, path: str, body: Any) -> None:
    async with broker.client.request(method, path, json=body, headers=ACCEPT) as response:
        problem = await assert_problem(response, 406, "InvalidRequest")  # 6.3.4
        assert f"{JSON}, {JSON_LD}" in problem["detail"]
    async with broker.client.get(f"{ENTITIES}/urn:a:406") as response:
        assert response.status == 404
