"""Which entities a request selects (clause 5.7.2): the parts of a query, and the one condition that they make."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import NGSI_LD_BASE, Entity, encode_key
from broker.ngsild.query.geo import GeoQuery, matches
from broker.ngsild.query.scopes import ScopeQuery
from broker.ngsild.query.tree import Node, attributes_in
from broker.ngsild.query.types import TypeSelection
from broker.storage.filters import ids_filter, q_filter, scope_filter, types_filter
from broker.storage.geo_filters import geo_filter, geo_is_exact

_OF_THE_SYSTEM = frozenset(
    encode_key(NGSI_LD_BASE + name) for name in ("createdAt", "modifiedAt", "deletedAt", "expiresAt")
)


@dataclass(slots=True)
class EntityQuery:
    """A query with all names expanded. `attributes` are attribute keys of which an entity must have at least one."""

    types: TypeSelection | None = None
    ids: list[str] = field(default_factory=list)
    id_pattern: str | None = None
    attributes: list[str] = field(default_factory=list)
    q: Node | None = None
    geo: GeoQuery | None = None
    scope: ScopeQuery | None = None
    local: bool = False

    def decision(self) -> Callable[[Entity], bool] | None:
        """What decides of the entities that fulfil the condition, where MongoDB cannot; None where it can."""
        if self.geo is None or geo_is_exact(self.geo):
            return None
        return partial(matches, self.geo)

    def condition(self) -> dict[str, Any]:
        """The filter that selects the entities. BadRequestData if the query is too wide (clause 5.7.2.4)."""
        if not (self.types or self._named_attributes() or self.geo or self.local):
            raise BadRequestData(
                "The query is too wide: give at least one of type, attrs, q or georel, or local=true for all entities. "
                "attrs and q count only where they name an attribute that is not of the system."
            )
        parts: list[dict[str, Any]] = []
        if self.ids or self.id_pattern is not None:
            parts.append(ids_filter(self.ids, self.id_pattern))
        if self.types is not None:
            parts.append(types_filter(self.types))
        if self.attributes:
            parts.append({"$or": [{f"state.attributes.{key}": {"$exists": True}} for key in self.attributes]})
        if self.q is not None:
            parts.append(q_filter(self.q))
        if self.geo is not None:
            parts.append(geo_filter(self.geo, candidates=True))
        if self.scope is not None:
            parts.append(scope_filter(self.scope))
        parts.append({"state.expires": {"$not": {"$lte": datetime.now(UTC)}}})
        return {"$and": parts}

    def _named_attributes(self) -> set[str]:
        mentioned = attributes_in(self.q) if self.q is not None else set()
        return mentioned.union(self.attributes) - _OF_THE_SYSTEM
