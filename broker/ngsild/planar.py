"""Geometries on the plane of longitudes and latitudes, by shapely.

shapely comes with numpy, and takes 15 MB and a tenth of a second. It is loaded when it is first needed, and by this
module alone: entities with points and lines do without it.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry as Shape
else:
    Shape = Any

__all__ = ["Shape", "intersect", "number_of_positions", "positions", "prepared", "shape_of", "why_invalid"]


def shape_of(geometry: dict[str, Any]) -> Shape:
    """The shape that a GeoJSON geometry without altitudes describes."""
    return _shapely().geometry.shape(geometry)


def prepared(shape: Shape) -> Shape:
    """The same shape, made ready for being compared with many others."""
    _shapely().prepare(shape)
    return shape


def intersect(one: Shape, other: Shape) -> bool:
    """Whether two shapes have a point in common."""
    return bool(_shapely().intersects(one, other))


def positions(shape: Shape) -> list[list[float]]:
    """All positions of a shape, longitude and latitude."""
    found: list[list[float]] = _shapely().get_coordinates(shape).tolist()
    return found


def number_of_positions(shape: Shape) -> int:
    """How many positions a shape has."""
    return int(_shapely().get_num_coordinates(shape))


def why_invalid(polygon: list[Any]) -> str | None:
    """Why the rings are no polygon of the simple features standard; None where they are one."""
    shapely = _shapely()
    try:
        reason: str = shapely.validation.explain_validity(shape_of({"type": "Polygon", "coordinates": polygon}))
    except (shapely.errors.GEOSException, ValueError) as error:
        return str(error)
    return None if reason == "Valid Geometry" else reason


@lru_cache(maxsize=1)
def _shapely() -> Any:
    import shapely.errors
    import shapely.geometry
    import shapely.validation

    return shapely
