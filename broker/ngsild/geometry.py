"""GeoJSON geometries (clause 4.7): which are accepted, and the copy that the 2dsphere index reads.

Accepted are the geometries of RFC 7946 but GeometryCollection, in WGS84. What a 2dsphere index would reject is refused
with the reason: positions outside the globe, open rings, lines without length, polygons that cross themselves.
"""

import math
from typing import Any

import orjson

from broker.ngsild.errors import BadRequestData
from broker.ngsild.planar import why_invalid

_POSITION_DEPTH = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
"""How many arrays lie around a position in `coordinates`, by geometry type."""

GEOMETRY_TYPES = frozenset(_POSITION_DEPTH)


def looks_like_geometry(value: Any) -> bool:
    """Whether a concise value is meant as a geometry: a GeoJSON type beside coordinates (clause 4.7.3)."""
    if not isinstance(value, dict) or "coordinates" not in value:
        return False
    kind = value.get("type")
    return isinstance(kind, str) and kind in GEOMETRY_TYPES


def read_geometry(value: Any, pointer: str) -> dict[str, Any]:
    """The geometry that `value` is, or encodes as JSON text (clause 4.7.2); BadRequestData with the reason if none."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise BadRequestData(
                "A GeoProperty holds a text that is not JSON: expected a GeoJSON geometry.", pointer=pointer
            ) from None
    if not isinstance(value, dict):
        raise BadRequestData(
            'A GeoProperty needs a GeoJSON geometry such as {"type": "Point", "coordinates": [9.7, 52.4]}.',
            pointer=pointer,
        )
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in GEOMETRY_TYPES:
        raise BadRequestData(
            f"{kind!r:.80} is not a supported geometry type: expected one of {', '.join(sorted(GEOMETRY_TYPES))}.",
            pointer=pointer,
        )
    coordinates: Any = value.get("coordinates")
    _check_coordinates(coordinates, _POSITION_DEPTH[kind], pointer)
    if kind != "Point":
        _check_shape(kind, coordinates, pointer)
    return value


def index_copy(geometry: dict[str, Any]) -> dict[str, Any]:
    """The geometry as the 2dsphere index reads it: type and coordinates, without altitudes."""
    kind = geometry["type"]
    return {"type": kind, "coordinates": _flatten(geometry["coordinates"], _POSITION_DEPTH[kind])}


def _flatten(coordinates: Any, depth: int) -> Any:
    return coordinates[:2] if depth == 0 else [_flatten(part, depth - 1) for part in coordinates]


def _check_coordinates(coordinates: Any, depth: int, pointer: str) -> None:
    if not isinstance(coordinates, list) or (depth and not coordinates):
        raise BadRequestData(
            f"The coordinates {coordinates!r:.80} are not as RFC 7946 has them for this geometry.", pointer=pointer
        )
    if depth:
        for part in coordinates:
            _check_coordinates(part, depth - 1, pointer)
        return
    numbers = all(type(number) in (int, float) for number in coordinates)
    if not numbers or not 2 <= len(coordinates) <= 3:
        raise BadRequestData(
            f"{coordinates!r:.80} is not a position: expected [longitude, latitude] and an optional altitude.",
            pointer=pointer,
        )
    if not (-180 <= coordinates[0] <= 180 and -90 <= coordinates[1] <= 90):
        raise BadRequestData(
            f"The position {coordinates!r} lies outside the globe: expected longitude -180 to 180, latitude -90 to 90.",
            pointer=pointer,
        )
    if not math.isfinite(coordinates[-1]):
        raise BadRequestData(f"The position {coordinates!r} is not finite.", pointer=pointer)


def _check_shape(kind: str, coordinates: list[Any], pointer: str) -> None:
    lines = {"LineString": [coordinates], "MultiLineString": coordinates}.get(kind, [])
    for line in lines:
        if all(position[:2] == line[0][:2] for position in line):
            raise BadRequestData("A LineString needs at least two different positions.", pointer=pointer)
    polygons = {"Polygon": [coordinates], "MultiPolygon": coordinates}.get(kind, [])
    for polygon in polygons:
        for ring in polygon:
            if len(ring) < 4 or ring[0] != ring[-1]:
                raise BadRequestData(
                    "A ring of a Polygon needs four positions or more, the last equal to the first.", pointer=pointer
                )
        reason = why_invalid(_flatten(polygon, 2))
        if reason is not None:
            raise BadRequestData(f"The polygon cannot be used: {reason}.", pointer=pointer)
