"""Linked entities from the database: for answers (clause 4.5.23), and to decide queries through Relationships (4.9).

A query such as `sensor{humidity}>40` is decided backwards: MongoDB tells where the Relationships of the candidates
lead, then which of these entities meet the term in braces; their ids replace it (`Linked.ids`). What remains is a query
about the entities alone: it is paged, counted and ordered as any other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from broker.core.queries import EntityQuery
from broker.ngsild.errors import TooComplexQuery
from broker.ngsild.expiry import visible
from broker.ngsild.linking import Joining, LinkedEntities, View, retrieve_linked
from broker.ngsild.model import Entity
from broker.ngsild.query.links import link_depth
from broker.ngsild.query.tree import And, Linked, Node, Or
from broker.ngsild.query.types import TypeSelection
from broker.ngsild.timestamps import now_text

_IDS_AT_ONCE = 1_000
_MOST_BYTES = 4 * 1024 * 1024
"""All ids that a query looks at: they become part of filters, of which MongoDB takes 16 MB."""


class LoadsEntities(Protocol):
    """What reading linked entities needs."""

    async def load(self, tenant: str, ids: Sequence[str]) -> Mapping[str, Entity]:
        """Those of the entities that exist, by id."""

    async def ids(self, tenant: str, condition: dict[str, Any], after: str | None, limit: int) -> list[str]:
        """The ids of at most `limit` entities that fulfil a filter."""


class DecidesEntities(Protocol):
    """What queries need where MongoDB has not the last word."""

    async def decided(
        self, tenant: str, condition: dict[str, Any], decide: Callable[[Entity], bool], limit: int
    ) -> list[str]:
        """The ids of at most `limit` entities that fulfil a filter and of which `decide` says yes."""


class FollowsLinks(Protocol):
    """What queries through Relationships need."""

    async def targets(self, tenant: str, condition: dict[str, Any], names: Sequence[str], limit: int) -> list[str]:
        """At most `limit` distinct ids that the entities which fulfil a filter are linked to."""


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """The most entities that an answer may hold beside those selected, and that a query may look at beside them."""

    answer: int
    query: int


class LinkedEntityReads:
    """Linked entities of all tenants."""

    def __init__(
        self, store: LoadsEntities, selections: DecidesEntities, links: FollowsLinks, limits: LinkLimits
    ) -> None:
        self._store = store
        self._selections = selections
        self._links = links
        self._limits = limits

    async def join(
        self,
        tenant: str,
        entities: Sequence[Entity],
        joining: Joining,
        *,
        view: View,
        datasets: frozenset[str] | None = None,
    ) -> LinkedEntities:
        """Selected entities, without what has expired, and those that they link to. TooManyResults past the limit."""
        now = now_text()

        async def load(ids: Sequence[str]) -> dict[str, Entity]:
            found: dict[str, Entity] = {}
            for start in range(0, len(ids), _IDS_AT_ONCE):
                stored = await self._store.load(tenant, ids[start : start + _IDS_AT_ONCE])
                found |= {name: entity for name, one in stored.items() if (entity := visible(one, now)) is not None}
            return found

        most = self._limits.answer
        return await retrieve_linked(LinkedEntities(entities, joining, view=view, datasets=datasets, most=most), load)

    async def resolved(self, tenant: str, query: EntityQuery, now: str) -> EntityQuery:
        """The query with the ids of those linked entities that meet its terms; itself if it is about no such.

        TooComplexQuery past the limit.
        """
        if query.q is None or not link_depth(query.q):
            return query
        resolution = _Resolution(tenant, now, self._store, self._selections, self._links, self._limits.query)
        return await resolution.resolved(query)


class _Resolution:
    """The resolving of one query, at the instant `now`."""

    def __init__(
        self,
        tenant: str,
        now: str,
        store: LoadsEntities,
        selections: DecidesEntities,
        links: FollowsLinks,
        most: int,
    ) -> None:
        self._tenant = tenant
        self._now = now
        self._store = store
        self._selections = selections
        self._links = links
        self._most = most
        self._left = most
        self._bytes_left = _MOST_BYTES

    async def resolved(self, query: EntityQuery) -> EntityQuery:
        assert query.q is not None
        return replace(query, q=await self._resolve(query.q, query)) if link_depth(query.q) else query

    async def _resolve(self, node: Node, query: EntityQuery) -> Node:
        if isinstance(node, And | Or):
            return type(node)(tuple([await self._resolve(term, query) for term in node.terms]))
        return await self._resolve_linked(node, query) if isinstance(node, Linked) else node

    async def _resolve_linked(self, node: Linked, query: EntityQuery) -> Linked:
        condition = query.candidates(self._now)
        targets = await self._links.targets(self._tenant, condition, node.path.names, self._left + 1)
        self._left -= len(targets)
        self._bytes_left -= sum(len(entity_id) for entity_id in targets)
        if self._left < 0 or self._bytes_left < 0:
            raise TooComplexQuery(
                f"q leads to too many linked entities, expected at most {self._most}, with ids of "
                f"{_MOST_BYTES // 1024**2} MiB in all: select fewer entities by type, id or further terms, or query "
                "the linked entities by themselves, then compare the Relationship with their ids."
            )
        if not targets:
            return replace(node, ids=frozenset())
        types = TypeSelection(tuple((name,) for name in node.types)) if node.types else None
        linked = await self.resolved(EntityQuery(types=types, ids=targets, q=node.term))
        return replace(node, ids=frozenset(await self._selected(linked)))

    async def _selected(self, query: EntityQuery) -> list[str]:
        """The ids of all entities that a query selects. Those with expired attributes are not for MongoDB to decide."""
        decide, most = query.visible_predicate(self._now), len(query.ids)
        if query.decision(self._now) is not None:
            return await self._selections.decided(self._tenant, query.candidates(self._now), decide, most)
        found = await self._store.ids(self._tenant, query.condition(self._now), None, most)
        return found + await self._selections.decided(self._tenant, query.partly_expired(self._now), decide, most)
