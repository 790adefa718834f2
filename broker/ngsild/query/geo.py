"""Geo-queries (clause 4.10): `georel=near;maxDistance==2000&geometry=Point&coordinates=[8,40]`.

Relationships are those of the simple features standard on plain longitudes and latitudes; distances are those on the
globe. A geometry is near within a distance if any point of it is, and it is near beyond a distance if none is within
it. Where a geo-property has several instances, one that matches is enough.
"""

import json
import math
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from broker.ngsild.errors import BadRequestData, TooComplexQuery
from broker.ngsild.geometry import GEOMETRY_TYPES, index_copy, read_geometry
from broker.ngsild.model import LOCATION, Entity
from broker.ngsild.planar import Shape, number_of_positions, prepared, shape_of
from broker.ngsild.query.spherical import distance, point_distance

MAX_POSITIONS = 10_000

_DISTANCE = re.compile(r"(max|min)Distance==((?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")


class Relation(StrEnum):
    """The spatial relationships of an entity's geometry to the geometry of the query."""

    NEAR = "near"
    WITHIN = "within"
    CONTAINS = "contains"
    INTERSECTS = "intersects"
    EQUALS = "equals"
    DISJOINT = "disjoint"
    OVERLAPS = "overlaps"


@dataclass(frozen=True, slots=True)
class GeoQuery:
    """A geo-query. `attribute` is the key of the geo-property, `reference` the geometry of the query as GeoJSON.

    For NEAR one of `max_distance` and `min_distance` is given, in metres.
    """

    relation: Relation
    reference: dict[str, Any]
    attribute: str = LOCATION
    max_distance: float | None = None
    min_distance: float | None = None
    shape: Shape = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", prepared(shape_of(index_copy(self.reference))))


def parse_geo(georel: str, geometry: str, coordinates: str | list[Any], geoproperty: str = LOCATION) -> GeoQuery:
    """The geo-query of these parameters; `geoproperty` is an attribute key, `coordinates` JSON text or what it holds.

    Raises BadRequestData, naming the parameter and what was expected, and TooComplexQuery for too many positions.
    """
    relation, max_distance, min_distance = _read_georel(georel)
    if geometry not in GEOMETRY_TYPES:
        raise BadRequestData(f"geometry is {geometry!r:.80}: expected one of {', '.join(sorted(GEOMETRY_TYPES))}.")
    positions = _read_coordinates(coordinates) if isinstance(coordinates, str) else coordinates
    try:
        reference = index_copy(read_geometry({"type": geometry, "coordinates": positions}, "/coordinates"))
    except (BadRequestData, RecursionError) as error:
        detail = error.detail if isinstance(error, BadRequestData) else "They are nested too deeply."
        raise BadRequestData(f"coordinates cannot be used as a {geometry}. {detail}") from None
    query = GeoQuery(relation, reference, geoproperty, max_distance, min_distance)
    _check_extent(query.shape)
    return query


def _read_georel(text: str) -> tuple[Relation, float | None, float | None]:
    name, *modifiers = text.split(";")
    if name not in Relation.__members__.values():
        raise BadRequestData(f"georel is {text!r:.80}: expected one of {', '.join(Relation)}.")
    relation = Relation(name)
    if relation is not Relation.NEAR:
        if modifiers:
            raise BadRequestData(f"georel is {text!r:.80}: expected {name!r} alone; only near has a distance.")
        return relation, None, None
    found = _DISTANCE.fullmatch(modifiers[0].strip()) if len(modifiers) == 1 else None
    metres = float(found[2]) if found else 0.0
    if found is None or not 0 < metres < math.inf:
        raise BadRequestData(
            f"georel is {text!r:.80}: expected near;maxDistance==METRES or near;minDistance==METRES, a number above 0."
        )
    return (relation, metres, None) if found[1] == "max" else (relation, None, metres)


def _read_coordinates(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BadRequestData(
            f"coordinates is {text!r:.80}: expected the coordinates of a GeoJSON geometry as JSON, such as [8,40]."
        ) from None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _check_extent(geometry: Shape) -> None:
    """Which side of a very wide shape is meant differs between a plane and the globe."""
    if number_of_positions(geometry) > MAX_POSITIONS:
        raise TooComplexQuery(f"coordinates has more than {MAX_POSITIONS} positions.")
    for part in getattr(geometry, "geoms", [geometry]):
        west, _, east, _ = part.bounds
        if east - west >= 180:
            raise BadRequestData(
                f"coordinates has a part from longitude {west:g} to {east:g}: expected less than 180 degrees; split it "
                "into parts of a MultiPolygon or MultiLineString."
            )


_WITHIN_A_POINT = (Relation.WITHIN, "Point")


def matches(query: GeoQuery, entity: Entity) -> bool:
    """Whether a geometry of the entity stands in the relationship (clauses 4.10 and 5.7.2.4)."""
    for instance in entity["attributes"].get(query.attribute, ()):
        if instance["type"] == "GeoProperty" and _holds(query, instance["value"]):
            return True
    return False


def _holds(query: GeoQuery, value: dict[str, Any]) -> bool:
    if query.relation is Relation.NEAR:
        metres = _metres(query, value)
        return metres <= query.max_distance if query.max_distance is not None else metres > (query.min_distance or 0)
    kind = query.reference["type"]
    if value["type"] != kind and (query.relation is Relation.EQUALS or (query.relation, kind) == _WITHIN_A_POINT):
        return False
    target = shape_of(index_copy(value))
    match query.relation:
        case Relation.WITHIN:
            return bool(query.shape.contains(target))
        case Relation.CONTAINS:
            return bool(target.contains(query.shape))
        case Relation.INTERSECTS:
            return bool(query.shape.intersects(target))
        case Relation.DISJOINT:
            return not query.shape.intersects(target)
        case Relation.EQUALS:
            return bool(target.equals(query.shape))
        case _:
            return bool(target.overlaps(query.shape))


def _metres(query: GeoQuery, value: dict[str, Any]) -> float:
    if value["type"] == "Point" == query.reference["type"]:
        return point_distance(*value["coordinates"][:2], *query.reference["coordinates"])
    return distance(shape_of(index_copy(value)), query.shape)
