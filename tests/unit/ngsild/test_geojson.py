"""GeoJSON representation of entities (clauses 4.5.16, 4.5.17)."""

from typing import Any

import pytest

from broker.ngsild.geojson import feature, feature_collection, select_geometry
from broker.ngsild.model import LOCATION, NGSI_LD_BASE, Entity, encode_key

HERE = {"type": "Point", "coordinates": [8.5, 41.2, 100]}
THERE = {"type": "Point", "coordinates": [9.0, 42.0]}
OTHER = encode_key(NGSI_LD_BASE + "observationSpace")


def geo(value: Any, dataset: str | None = None) -> dict[str, Any]:
    instance = {"type": "GeoProperty", "value": value}
    return {**instance, "datasetId": dataset} if dataset else instance


def entity(**attributes: list[dict[str, Any]]) -> Entity:
    return {"_id": "urn:a:1", "types": ["T"], "attributes": attributes}


def test_a_feature_frames_the_rendered_entity() -> None:
    document = {"id": "urn:a:1", "type": "T", "scope": "/a", "location": HERE, "name": "x"}
    found = feature(entity(**{LOCATION: [geo(HERE)]}), document)
    assert found == {
        "id": "urn:a:1",
        "type": "Feature",
        "geometry": HERE,
        "properties": {"type": "T", "scope": "/a", "location": HERE, "name": "x"},
    }
    assert feature_collection([found]) == {"type": "FeatureCollection", "features": [found]}
    assert feature_collection([]) == {"type": "FeatureCollection", "features": []}


def test_a_projection_takes_neither_the_id_nor_the_geometry_away() -> None:
    found = feature(entity(**{LOCATION: [geo(HERE)]}), {"name": "x"})
    assert (found["id"], found["geometry"], found["properties"]) == ("urn:a:1", HERE, {"name": "x"})


@pytest.mark.parametrize(
    ("instances", "datasets", "geometry"),
    [
        ([], None, None),
        ([geo(HERE)], None, HERE),
        ([geo(HERE, "urn:d:1")], None, HERE),
        ([geo(THERE, "urn:d:1"), geo(HERE)], None, HERE),
        ([geo(THERE, "urn:d:1"), geo(HERE)], {"urn:d:1"}, THERE),
        ([geo(THERE, "urn:d:1"), geo(HERE)], {"urn:d:1", "@none"}, HERE),
        ([geo(THERE, "urn:d:1"), geo(HERE, "urn:d:2")], None, None),
        ([geo(THERE, "urn:d:1"), geo(HERE, "urn:d:2")], {"urn:d:2"}, HERE),
        ([geo(THERE, "urn:d:1")], {"urn:d:2"}, None),
        ([{"type": "Property", "value": HERE}], None, None),
        ([{"type": "Relationship", "object": "urn:a:2"}], None, None),
    ],
)
def test_the_geometry_is_that_of_the_instance_asked_for_or_the_default_one(
    instances: list[dict[str, Any]], datasets: set[str] | None, geometry: Any
) -> None:
    attributes = {LOCATION: instances} if instances else {}
    assert select_geometry(entity(**attributes), LOCATION, datasets) == geometry


def test_another_geo_property_can_give_the_geometry() -> None:
    found = entity(**{LOCATION: [geo(HERE)], OTHER: [geo(THERE)]})
    assert feature(found, {}, OTHER)["geometry"] == THERE
