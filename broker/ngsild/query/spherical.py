"""Distances on the globe in metres, taken as a sphere of the radius that MongoDB uses."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from broker.ngsild.planar import Shape, intersect

EARTH_RADIUS = 6_378_100.0
"""Metres."""

Vector = tuple[float, float, float]


def distance(one: Shape, other: Shape) -> float:
    """The least distance between two geometries in WGS84, along great circles; 0 where they meet."""
    if intersect(one, other):
        return 0.0
    paths, other_paths = list(_paths(one)), list(_paths(other))
    nearest = min(
        min(_least_angle(path, other_path), _least_angle(other_path, path))
        for path in paths
        for other_path in other_paths
    )
    return nearest * EARTH_RADIUS


def point_distance(longitude: float, latitude: float, other_longitude: float, other_latitude: float) -> float:
    """The distance between two points given in degrees (haversine formula)."""
    first, second = math.radians(latitude), math.radians(other_latitude)
    across = math.sin(math.radians(other_longitude - longitude) / 2)
    along = math.sin((second - first) / 2)
    square = along * along + math.cos(first) * math.cos(second) * across * across
    return 2 * EARTH_RADIUS * math.asin(min(1.0, math.sqrt(square)))


def to_vector(longitude: float, latitude: float) -> Vector:
    """The unit vector of a point given in degrees."""
    east, north = math.radians(longitude), math.radians(latitude)
    return math.cos(north) * math.cos(east), math.cos(north) * math.sin(east), math.sin(north)


def to_degrees(vector: Vector) -> tuple[float, float]:
    """Longitude and latitude of a vector."""
    x, y, z = vector
    return math.degrees(math.atan2(y, x)), math.degrees(math.atan2(z, math.hypot(x, y)))


def angle(one: Vector, other: Vector) -> float:
    """The angle between two vectors in radians; exact for small ones too."""
    return math.atan2(math.hypot(*_cross(one, other)), _dot(one, other))


def _paths(geometry: Shape) -> Iterator[list[Vector]]:
    """The points, lines and rings that a geometry is made of."""
    if hasattr(geometry, "geoms"):
        for part in geometry.geoms:
            yield from _paths(part)
        return
    lines = [geometry.exterior, *geometry.interiors] if geometry.geom_type == "Polygon" else [geometry]
    for line in lines:
        yield [to_vector(position[0], position[1]) for position in line.coords]


def _least_angle(points: Sequence[Vector], path: Sequence[Vector]) -> float:
    if len(path) == 1:
        return min(angle(point, path[0]) for point in points)
    return min(_angle_to_arc(point, start, end) for point in points for start, end in pairwise(path))


def _angle_to_arc(point: Vector, start: Vector, end: Vector) -> float:
    normal = _cross(start, end)
    length = math.hypot(*normal)
    beside = length > 1e-15 and _dot(_cross(normal, start), point) >= 0 and _dot(_cross(end, normal), point) >= 0
    if beside:
        return math.asin(min(1.0, abs(_dot(normal, point)) / length))
    return min(angle(point, start), angle(point, end))


def _cross(one: Vector, other: Vector) -> Vector:
    return (
        one[1] * other[2] - one[2] * other[1],
        one[2] * other[0] - one[0] * other[2],
        one[0] * other[1] - one[1] * other[0],
    )


def _dot(one: Vector, other: Vector) -> float:
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
