"""The order of entities (clause 4.23): `orderBy=name,age;desc` or `orderBy=location;dist-asc&orderFrom=[8,40]`.

    orderBy   = term *("," term)
    term      = attribute [";" ("asc" | "desc" | "dist-asc" | "dist-desc")]
    attribute = "id" | "type" | "scope" | name *("." name) ["[" member *("." member) "]"]

An entity is placed by its sort values, one a term: pairs of a kind and a value. Kinds stand in the order of clause
4.23.2 whatever the direction; the direction is that of the values of one kind. An attribute with several instances is
placed by its default instance, else by the first one; texts by their first 128 characters, objects and arrays by those
of their JSON text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

import orjson

from broker.ngsild.collations import ROOT, Collation, parse_collation
from broker.ngsild.errors import BadRequestData
from broker.ngsild.geometry import GEOMETRY_TYPES, index_copy
from broker.ngsild.model import VALUE_MEMBERS, Entity, find
from broker.ngsild.planar import shape_of
from broker.ngsild.query.geo import GeoQuery, parse_geo
from broker.ngsild.query.spherical import distance, point_distance
from broker.ngsild.query.temporals import TemporalKind, read_temporal
from broker.ngsild.query.tree import Exists, ExpandsNames, Path, expand
from broker.ngsild.values import decode_value

MAX_TERMS = 8
LONGEST_TEXT = 128

_NAME = r'(?:[^\W\d_][\w\-]*://[^\s\[\]{}()<>=!~;|,"]+|[^\W\d_][\w\-]*(?::[^\W\d_][\w\-]*)?)'
_TERM = re.compile(
    rf"\s*(?P<names>{_NAME}(?:\.{_NAME})*)(?:\[(?P<inside>[^\s\[\]{{}}()<>=!~;|,\"]+)\])?"
    r"\s*(?:;\s*(?P<direction>asc|desc|dist-asc|dist-desc)\s*)?"
)
_MEMBERS = {"id": "_id", "type": "types", "scope": "scopes"}
_LANGUAGE_OR_COMPOUND = ("Property", "JsonProperty", "LanguageProperty", "GeoProperty")
_MISSING = object()


class Kind(IntEnum):
    """The kinds of sort values, in their order."""

    DISTANCE = 0
    NUMBER = 1
    TEXT = 2
    OBJECT = 3
    ARRAY = 4
    BOOLEAN = 5
    TIME = 6
    DATE = 7
    DATE_TIME = 8
    NULL = 9
    ABSENT = 10


SortValue = tuple[int, Any]
"""A `Kind`, and what sorts within it: a number, a text, a boolean, or None."""

_TEMPORAL = {TemporalKind.TIME: Kind.TIME, TemporalKind.DATE: Kind.DATE, TemporalKind.DATE_TIME: Kind.DATE_TIME}
_NULL: SortValue = (Kind.NULL, None)
_ABSENT: SortValue = (Kind.ABSENT, None)


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """One term. `path` is expanded; one without names leads to the entity's own member."""

    path: Path
    descending: bool = False
    by_distance: bool = False


@dataclass(frozen=True, slots=True)
class Ordering:
    """What entities are sorted by. `reference` is the geometry from which distances are taken."""

    terms: tuple[OrderTerm, ...]
    collation: Collation = ROOT
    reference: GeoQuery | None = None

    def attributes(self) -> set[str]:
        """The keys of the attributes that the sort values are taken from."""
        return {term.path.names[0] for term in self.terms if term.path.names}

    def values(self, entity: Entity) -> tuple[SortValue, ...]:
        """The sort values of an entity, given as it is without what has expired."""
        return tuple(self._value(entity, term) for term in self.terms)

    def _value(self, entity: Entity, term: OrderTerm) -> SortValue:
        holder: Any = entity
        for name in term.path.names:
            instances = holder.get("attributes", {}).get(name)
            if not instances:
                return _ABSENT
            holder = find(instances, None) or instances[0]
        if term.by_distance and self.reference is not None and holder.get("type") == "GeoProperty":
            return (Kind.DISTANCE, _metres(self.reference, holder["value"]))
        return _sort_value(_target(holder, term.path))


class ReadsNames(ExpandsNames, Protocol):
    """What orderBy needs of an @context."""


def read_ordering(
    order_by: Sequence[str],
    context: ReadsNames,
    *,
    collation: str | None = None,
    coordinates: str | list[Any] | None = None,
    geometry: str | None = None,
) -> Ordering | None:
    """The ordering of these parameters; None if `order_by`, the terms, is empty.

    BadRequestData for a term that makes no sense, a collation that is none, and for an order by distance without
    `coordinates` (JSON text or what it holds) or with some that are none (clauses 4.23.3, 5.7.2.4).
    """
    order = parse_collation(collation) if collation is not None else ROOT
    reference = _reference(coordinates, geometry)
    if len(order_by) > MAX_TERMS:
        raise BadRequestData(f"orderBy has {len(order_by)} terms: expected at most {MAX_TERMS}.")
    terms = tuple(_term(text, context) for text in order_by)
    if reference is None and any(term.by_distance for term in terms):
        raise BadRequestData(
            "orderBy sorts by distance, but from where is missing: give the coordinates as orderFrom, such as [8,40]."
        )
    return Ordering(terms, order, reference) if terms else None


def _reference(coordinates: str | list[Any] | None, geometry: str | None) -> GeoQuery | None:
    if geometry is not None and geometry not in GEOMETRY_TYPES:
        raise BadRequestData(f"orderGeometry is {geometry!r:.80}: expected one of {', '.join(sorted(GEOMETRY_TYPES))}.")
    if coordinates is None:
        return None
    try:
        return parse_geo("intersects", geometry or "Point", coordinates)
    except BadRequestData as error:
        raise BadRequestData(f"The place to sort from (orderFrom, orderGeometry) is wrong. {error.detail}") from None


def _term(text: str, context: ReadsNames) -> OrderTerm:
    match = _TERM.fullmatch(text)
    if match is None:
        raise BadRequestData(
            f"orderBy holds {text!r:.80}: expected the name of an attribute, or a path such as name.observedAt or "
            "address[city], with ;asc, ;desc, ;dist-asc or ;dist-desc behind it or nothing."
        )
    written, inside, direction = match["names"], match["inside"], match["direction"] or "asc"
    by_distance, descending = direction.startswith("dist"), direction.endswith("desc")
    if written in _MEMBERS:
        if inside or by_distance:
            raise BadRequestData(f"orderBy holds {text!r:.80}, but {written!r} is a text: expected ;asc or ;desc.")
        return OrderTerm(Path((), member=_MEMBERS[written]), descending)
    path = Path(_split_names(written), inside=tuple(inside.split(".")) if inside else ())
    try:
        expanded = expand(Exists(path), context)
    except BadRequestData as error:
        reason = error.detail.partition(": ")[2]
        raise BadRequestData(f"orderBy cannot sort by {text!r:.80}: {reason}") from None
    assert isinstance(expanded, Exists)
    return OrderTerm(expanded.path, descending, by_distance)


def _split_names(written: str) -> tuple[str, ...]:
    """The names of a path; an IRI is one name, with its dots."""
    return (written,) if "://" in written else tuple(written.split("."))


def _target(holder: Any, path: Path) -> Any:
    if path.member is not None:
        value = holder.get(path.member, _MISSING)
        alone = path.member in ("types", "scopes") and value is not _MISSING and len(value) == 1
        return value[0] if alone else value
    kind = holder["type"]
    value = holder[VALUE_MEMBERS[kind]]
    if path.inside and kind not in _LANGUAGE_OR_COMPOUND:
        return _MISSING
    for key in path.inside:
        if not isinstance(value, dict) or key not in value:
            return _MISSING
        value = value[key]
    return value


def _sort_value(value: Any) -> SortValue:
    if value is _MISSING:
        return _ABSENT
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return (Kind.BOOLEAN, value)
    if isinstance(value, int | float):
        return (Kind.NUMBER, value)
    if isinstance(value, str):
        return _moment(value) or (Kind.TEXT, value[:LONGEST_TEXT])
    if isinstance(value, list):
        return (Kind.ARRAY, _json(value))
    typed = value.get("@value") if "@type" in value else None
    return (isinstance(typed, str) and _moment(typed)) or (Kind.OBJECT, _json(value))


def _moment(text: str) -> SortValue | None:
    moment = read_temporal(text) if text[:1].isdigit() and len(text) < 40 else None
    return (_TEMPORAL[moment.kind], moment.key) if moment is not None else None


def _json(value: Any) -> str:
    return orjson.dumps(decode_value(value), option=orjson.OPT_SORT_KEYS).decode()[:LONGEST_TEXT]


def _metres(reference: GeoQuery, value: dict[str, Any]) -> float:
    if value["type"] == "Point" == reference.reference["type"]:
        return point_distance(*value["coordinates"][:2], *reference.reference["coordinates"])
    return distance(shape_of(index_copy(value)), reference.shape)
