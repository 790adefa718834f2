"""From geo-queries to MongoDB filters that can be counted and combined.

`$nearSphere` can be neither; the places beyond a distance of a point are the ones within a circle around the opposite
point of the globe. That holds for whole geometries, so that distances to lines and areas are exact too.

MongoDB has no operator for `contains` and `overlaps`, nor for distances to anything but a point. For these there are
filters that select candidates only (`geo_is_exact` tells), of which `broker.ngsild.query.geo.matches` has to decide.
"""

import math
from collections.abc import Collection
from itertools import pairwise
from typing import Any

from broker.ngsild.model import LOCATION
from broker.ngsild.planar import Shape, positions
from broker.ngsild.query.geo import GeoQuery, Relation
from broker.ngsild.query.spherical import EARTH_RADIUS, Vector, angle, to_degrees, to_vector

Filter = dict[str, Any]

_AREAS = ("Polygon", "MultiPolygon")
_CORNERS = 16
_WIDEST_POLYGON = 1.2
"""Radians. A wider circle is not worth a polygon that the index could use, and must not exceed a hemisphere."""


def geo_is_exact(query: GeoQuery) -> bool:
    """Whether MongoDB can decide the query; otherwise its filter selects all matching entities and others."""
    kind = query.reference["type"]
    match query.relation:
        case Relation.INTERSECTS | Relation.DISJOINT:
            return True
        case Relation.WITHIN:
            return kind in (*_AREAS, "Point")
        case Relation.NEAR | Relation.EQUALS | Relation.CONTAINS:
            return bool(kind == "Point")
        case _:
            return False


def geo_filter(query: GeoQuery, types: Collection[str] = ()) -> Filter:
    """The filter of a geo-query (clause 4.10), or of candidates where it is not exact.

    `types`, if there are any, are such that only entities of one of them matter: the filter may select fewer others.
    """
    matching = {"$elemMatch": {"type": "GeoProperty", **_condition(query, "value")}}
    found: Filter = {f"state.attributes.{query.attribute}": matching}
    is_default = query.attribute == LOCATION
    around = _around(query)
    if around is not None:
        there = {"$geoIntersects": {"$geometry": around}}
        if not is_default:
            indexed: Filter = {f"state.attributes.{query.attribute}.value": there}
        elif types:
            # Together, as both are below an array: else MongoDB would look up the place and fetch all that is there.
            indexed = {"state": {"$elemMatch": {"types": {"$in": sorted(types)}, "location": there}}}
        else:
            indexed = {"state.location": there}
        found = {"$and": [indexed, found]}
    # What a declared index asks for (storage/indexes.py); MongoDB does not see it inside of the $elemMatch.
    return found if is_default else {f"state.attributes.{query.attribute}.type": "GeoProperty", **found}


def _around(query: GeoQuery) -> dict[str, Any] | None:
    """A geometry that any matching one meets, for the index to use; None where there is none but the globe.

    The indexed copy is that of all instances together, so that it can tell which entities to look at, and no more.
    """
    if query.relation is Relation.DISJOINT or query.min_distance is not None:
        return None
    if query.relation is not Relation.NEAR:
        return query.reference
    center, radius = _circle_around(query.shape)
    reach = (query.max_distance or 0) / EARTH_RADIUS + radius
    return _polygon_around(center, reach) if reach < _WIDEST_POLYGON else None


def _condition(query: GeoQuery, name: str) -> Filter:
    """The condition on the geometry in a field."""
    geometry = {"$geometry": query.reference}
    kind = query.reference["type"]
    if query.relation is Relation.NEAR:
        return _near(query, name)
    if query.relation is Relation.DISJOINT:
        return {name: {"$exists": True}, "$nor": [{name: {"$geoIntersects": geometry}}]}
    if query.relation is Relation.WITHIN and kind in _AREAS:
        return {name: {"$geoWithin": geometry}}
    if kind == "Point" and query.relation in (Relation.EQUALS, Relation.WITHIN):
        return _at_point(name, *query.reference["coordinates"])
    return {name: {"$geoIntersects": geometry}}


def _at_point(name: str, longitude: float, latitude: float) -> Filter:
    return {f"{name}.type": "Point", f"{name}.coordinates.0": longitude, f"{name}.coordinates.1": latitude}


def _near(query: GeoQuery, name: str) -> Filter:
    center, radius = _circle_around(query.shape)
    if query.min_distance is not None:
        beyond = query.min_distance / EARTH_RADIUS - radius
        return _beyond(name, center, beyond) if beyond > 0 else {name: {"$exists": True}}
    reach = (query.max_distance or 0) / EARTH_RADIUS + radius
    if reach >= math.pi:
        return {name: {"$exists": True}}
    circle = {"$geoWithin": {"$centerSphere": [list(to_degrees(center)), reach]}}
    others: list[Filter] = [{f"{name}.type": {"$ne": "Point"}}, {"$nor": [_beyond(name, center, reach)]}]
    return {"$or": [{name: circle}, {"$and": others}]}


def _beyond(name: str, center: Vector, reach: float) -> Filter:
    """Geometries all of whose points are farther away than `reach`."""
    if reach >= math.pi:
        return {"_id": {"$in": []}}
    opposite = to_degrees((-center[0], -center[1], -center[2]))
    return {name: {"$geoWithin": {"$centerSphere": [list(opposite), math.pi - reach]}}}


def _circle_around(geometry: Shape) -> tuple[Vector, float]:
    """A circle that holds the geometry: its centre, and its radius in radians, which is 0 for a point.

    Each point of an edge on the plane of longitudes and latitudes is nearer to one of its ends than half of its length.
    """
    corners = [to_vector(longitude, latitude) for longitude, latitude in positions(geometry)]
    total = tuple(map(sum, zip(*corners, strict=True)))
    length = math.hypot(*total)
    if geometry.geom_type == "Point":
        return corners[0], 0.0
    center: Vector = (total[0] / length, total[1] / length, total[2] / length) if length > 1e-9 else corners[0]
    return center, max(angle(center, corner) for corner in corners) + math.radians(_longest_edge(geometry)) / 2


def _longest_edge(geometry: Shape) -> float:
    if hasattr(geometry, "geoms"):
        return max(_longest_edge(part) for part in geometry.geoms)
    line = geometry.exterior if geometry.geom_type == "Polygon" else geometry
    coordinates = list(line.coords)
    return max((math.dist(start, end) for start, end in pairwise(coordinates)), default=0.0)


def _polygon_around(center: Vector, reach: float) -> dict[str, Any]:
    """A polygon around a circle, for the index to use."""
    longitude, latitude = map(math.radians, to_degrees(center))
    outer = math.atan(math.tan(reach) / math.cos(math.pi / _CORNERS)) * 1.000001 + 1e-9
    ring = []
    for corner in range(_CORNERS):
        bearing = -2 * math.pi * corner / _CORNERS
        north = math.asin(
            math.sin(latitude) * math.cos(outer) + math.cos(latitude) * math.sin(outer) * math.cos(bearing)
        )
        east = longitude + math.atan2(
            math.sin(bearing) * math.sin(outer) * math.cos(latitude),
            math.cos(outer) - math.sin(latitude) * math.sin(north),
        )
        ring.append([(math.degrees(east) + 540) % 360 - 180, math.degrees(north)])
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
