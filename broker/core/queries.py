"""Which entities a request selects (clause 5.7.2): the parts of a query, and the conditions that they make."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

from broker.ngsild.errors import BadRequestData, TooComplexQuery
from broker.ngsild.expiry import visible
from broker.ngsild.model import NGSI_LD_BASE, Entity, encode_key
from broker.ngsild.query import geo, scopes
from broker.ngsild.query.geo import GeoQuery
from broker.ngsild.query.patterns import parse_pattern
from broker.ngsild.query.predicate import compile_predicate
from broker.ngsild.query.scopes import ScopeQuery
from broker.ngsild.query.tree import Node, attributes_in
from broker.ngsild.query.types import TypeSelection
from broker.storage.filters import (
    existing_filter,
    expired_filter,
    id_pattern_is_exact,
    ids_filter,
    partly_expired_filter,
    q_filter,
    q_is_exact,
    scope_filter,
    types_filter,
    unexpired_filter,
)
from broker.storage.geo_filters import geo_filter, geo_is_exact

Filter = dict[str, Any]
Predicate = Callable[[Entity], bool]

_SLOW = 0.001
_MOST_SECONDS = 1.0
"""Seconds from which on the decision about one entity counts, where the usual takes microseconds; and of all such
decisions for one request."""

_OF_THE_SYSTEM = frozenset(
    encode_key(NGSI_LD_BASE + name) for name in ("createdAt", "modifiedAt", "deletedAt", "expiresAt")
)


@dataclass(frozen=True, slots=True)
class Selector:
    """One entity selector of a query in a body (clause 5.2.33): with `ids`, the pattern has no say."""

    types: TypeSelection
    ids: tuple[str, ...] = ()
    id_pattern: str | None = None

    def condition(self) -> Filter:
        """The filter that selects the entities."""
        parts = [types_filter(self.types)] if not self.types.everything else []
        if self.ids or self.id_pattern is not None:
            parts.append(ids_filter(self.ids, None if self.ids else self.id_pattern))
        return {"$and": parts} if parts else {}

    def predicate(self) -> Predicate:
        """Whether the selector selects an entity."""
        types, ids = self.types, frozenset(self.ids)
        if ids:
            return lambda entity: entity["_id"] in ids and types.matches(entity["types"])
        if self.id_pattern is None:
            return lambda entity: types.matches(entity["types"])
        search = parse_pattern(self.id_pattern).matcher()
        return lambda entity: types.matches(entity["types"]) and search(entity["_id"]) is not None


@dataclass(slots=True)
class EntityQuery:
    """A query with all names expanded. `attributes` are attribute keys of which an entity must have at least one.

    Of `selectors`, if there are any, an entity must fulfil at least one, beside all else.

    An attribute that has expired but is stored still counts as absent (clause 4.22). MongoDB cannot leave it out of
    account, so the filter of a query that asks for attributes (`concerns_attributes`) passes over the few entities that
    have such; the predicate decides of these, which `partly_expired` selects, as it decides of any entity in memory.
    """

    types: TypeSelection | None = None
    ids: list[str] = field(default_factory=list)
    id_pattern: str | None = None
    attributes: list[str] = field(default_factory=list)
    q: Node | None = None
    geo: GeoQuery | None = None
    scope: ScopeQuery | None = None
    local: bool = False
    selectors: tuple[Selector, ...] = ()

    def check_width(self) -> None:
        """BadRequestData if the query is too wide (clauses 5.6.21.4 and 5.7.2.4)."""
        if not (self.types or self.selectors or self._named_attributes() or self.geo or self.local):
            raise BadRequestData(
                "The query is too wide: give at least one of type, attrs, q or georel, or local=true for all entities. "
                "attrs and q count only where they name an attribute that is not of the system."
            )

    @property
    def concerns_attributes(self) -> bool:
        """Whether the entities' attributes matter."""
        return bool(self.attributes or self.q is not None or self.geo is not None)

    @property
    def index(self) -> str | None:
        """The index to read from where MongoDB could be mistaken: for all entities of some types, in their order."""
        by_types = self.types is not None and not self.types.everything
        by_ids = self.ids or self.id_pattern is not None or self.selectors
        otherwise = by_ids or self.concerns_attributes or self.scope is not None
        return "types" if by_types and not otherwise else None

    @property
    def prompt(self) -> bool:
        """Whether MongoDB finds a page without looking at others: each type alone selects, in the order of an index."""
        return (
            self.index is not None
            and self.types is not None
            and all(len(names) == 1 for names in self.types.alternatives)
        )

    def counted(self, now: str) -> tuple[Filter, Filter]:
        """Filters for all entities whose attributes do not matter, and for those of them that have expired."""
        parts = self._beside_attributes()
        return {"$and": parts} if parts else {}, {"$and": [*parts, expired_filter(now)]}

    def decision(self, now: str) -> Predicate | None:
        """What decides of the entities that fulfil the condition, where MongoDB cannot; None where it can."""
        exact = (
            (self.geo is None or geo_is_exact(self.geo))
            and (self.q is None or q_is_exact(self.q))
            and all(pattern is None or id_pattern_is_exact(pattern) for pattern in self._id_patterns())
        )
        return None if exact else self.visible_predicate(now)

    def condition(self, now: str, partly_expired: Sequence[str] = ()) -> Filter:
        """The filter that selects the entities at the instant `now`.

        `partly_expired` are ids of those with expired attributes that the predicate has accepted.
        """
        parts = [*self._beside_attributes(), existing_filter(now)]
        if self.concerns_attributes:
            fulfilled = {"$and": [*self._on_attributes(), unexpired_filter(now)]}
            if partly_expired:
                accepted = {"_id": {"$in": list(partly_expired)}, **partly_expired_filter(now)}
                fulfilled = {"$or": [fulfilled, accepted]}
            parts.append(fulfilled)
        return {"$and": parts}

    def partly_expired(self, now: str) -> Filter:
        """The filter for entities with expired attributes that the query may select."""
        return {"$and": [*self._beside_attributes(), partly_expired_filter(now)]}

    def candidates(self, now: str) -> Filter:
        """A filter for all entities that the query selects, and a few others."""
        parts = [*self._beside_attributes(), existing_filter(now)]
        if self.concerns_attributes:
            parts.append({"$or": [{"$and": self._on_attributes()}, partly_expired_filter(now)]})
        return {"$and": parts}

    def predicate(self) -> Predicate:
        """Whether the query selects an entity, given as it is without what has expired."""
        parts: list[Predicate] = []
        if self.ids:
            ids = frozenset(self.ids)
            parts.append(lambda entity: entity["_id"] in ids)
        if self.types is not None:
            types = self.types
            parts.append(lambda entity: types.matches(entity["types"]))
        if self.id_pattern is not None:
            search = parse_pattern(self.id_pattern).matcher()
            parts.append(lambda entity: search(entity["_id"]) is not None)
        if self.selectors:
            selections = [selector.predicate() for selector in self.selectors]
            parts.append(lambda entity: any(selects(entity) for selects in selections))
        if self.attributes:
            attributes = self.attributes
            parts.append(lambda entity: any(key in entity["attributes"] for key in attributes))
        if self.q is not None:
            parts.append(compile_predicate(self.q))
        if self.geo is not None:
            parts.append(partial(geo.matches, self.geo))
        if self.scope is not None:
            scope = self.scope
            parts.append(lambda entity: scopes.matches(scope, entity.get("scopes", ())))
        return lambda entity: all(part(entity) for part in parts)

    def visible_predicate(self, now: str) -> Predicate:
        """As `predicate`, of an entity as it is stored. TooComplexQuery once it has taken too long in all."""
        return _within_bounds(_on_visible(self.predicate(), now))

    def _beside_attributes(self) -> list[Filter]:
        parts: list[Filter] = []
        if self.ids or self.id_pattern is not None:
            parts.append(ids_filter(self.ids, self.id_pattern))
        if self.types is not None and not self.types.everything:
            parts.append(types_filter(self.types))
        if self.selectors:
            parts.append({"$or": [selector.condition() for selector in self.selectors]})
        if self.scope is not None:
            parts.append(scope_filter(self.scope))
        return parts

    def _on_attributes(self) -> list[Filter]:
        parts: list[Filter] = []
        if self.attributes:
            parts.append({"$or": [{f"state.attributes.{key}": {"$exists": True}} for key in self.attributes]})
        if self.q is not None:
            parts.append(q_filter(self.q))
        if self.geo is not None:
            parts.append(geo_filter(self.geo, self._some_types()))
        return parts

    def _some_types(self) -> frozenset[str]:
        """Types of which every selected entity has one or more; none where any types will do."""
        if self.types is not None and not self.types.everything:
            return self.types.some()
        if any(selector.types.everything for selector in self.selectors):
            return frozenset()
        return frozenset(name for selector in self.selectors for name in selector.types.some())

    def _id_patterns(self) -> list[str | None]:
        return [self.id_pattern, *(None if one.ids else one.id_pattern for one in self.selectors)]

    def _named_attributes(self) -> set[str]:
        mentioned = attributes_in(self.q) if self.q is not None else set()
        return mentioned.union(self.attributes) - _OF_THE_SYSTEM


def _within_bounds(predicate: Predicate) -> Predicate:
    """The predicate, for one request: what is unpleasant to look at can keep a process busy only so long."""
    spent = 0.0

    def accepts(stored: Entity) -> bool:
        nonlocal spent
        started = perf_counter()
        accepted = predicate(stored)
        seconds = perf_counter() - started
        if seconds > _SLOW:
            spent += seconds
            if spent > _MOST_SECONDS:
                raise TooComplexQuery(
                    "The patterns or geometries of the query take too long to compare with those of the entities. Use "
                    "simpler ones, or select fewer entities by type, id or further terms."
                )
        return accepted

    return accepts


def _on_visible(predicate: Predicate, now: str) -> Predicate:
    def accepts(stored: Entity) -> bool:
        entity = visible(stored, now)
        return entity is not None and predicate(entity)

    return accepts
