"""GeoJSON: an entity as a Feature, several as a FeatureCollection (clauses 4.5.16, 4.5.17, 5.2.29 to 5.2.31).

A Feature frames what `representations.py` renders: any of the three representations becomes its properties.
"""

from collections.abc import Collection
from typing import Any

from broker.ngsild.model import LOCATION, Entity, find
from broker.ngsild.values import decode_value


def feature(
    entity: Entity,
    document: dict[str, Any],
    geometry_key: str = LOCATION,
    datasets: Collection[str] | None = None,
) -> dict[str, Any]:
    """The Feature for an entity that `render_entity` made `document` of.

    `geometry_key` is the attribute key of the GeoProperty that gives the geometry, `datasets` the datasetIds asked for.
    The Feature has its id and its geometry whatever the projection leaves of the properties: GeoJSON needs them.
    """
    return {
        "id": entity["_id"],
        "type": "Feature",
        "geometry": select_geometry(entity, geometry_key, datasets),
        "properties": {name: value for name, value in document.items() if name != "id"},
    }


def feature_collection(features: list[dict[str, Any]]) -> dict[str, Any]:
    """The FeatureCollection of these Features."""
    return {"type": "FeatureCollection", "features": features}


def select_geometry(entity: Entity, key: str, datasets: Collection[str] | None = None) -> dict[str, Any] | None:
    """The geometry of an entity (clause 4.5.16.1); None where it has none.

    Of several instances the one with the datasetId asked for counts; where that leaves several, the default one.
    """
    instances = entity["attributes"].get(key, [])
    if datasets is not None:
        instances = [one for one in instances if one.get("datasetId", "@none") in datasets]
    chosen = instances[0] if len(instances) == 1 else find(instances, None)
    if chosen is None or chosen["type"] != "GeoProperty":
        return None
    geometry: dict[str, Any] = decode_value(chosen["value"])
    return geometry
