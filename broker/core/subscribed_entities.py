"""The entities that a periodic subscription tells of (clause 5.8.6): those that its conditions select as a query."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from broker.core.paging import PageRequest, QueryResult
from broker.core.queries import EntityQuery, Selector
from broker.ngsild.errors import NonexistentTenant
from broker.ngsild.model import Entity
from broker.ngsild.query.types import TypeSelection
from broker.ngsild.timestamps import now_text
from broker.notify.subscription import EntitySelector, Periodic

_PAGE = 200


class Queries(Protocol):
    """Query Entities."""

    async def query(self, tenant: str, query: EntityQuery, request: PageRequest) -> QueryResult:
        """One page of what a query selects."""


class SubscribedEntities:
    """Reads them page by page, in the order of their ids."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def pages(self, tenant: str, periodic: Periodic) -> AsyncIterator[Sequence[Entity]]:
        """All entities that match at present, without what of them has expired.

        Raises as `Querying.query` does; a tenant that does not exist has no entities.
        """
        query = entity_query(periodic)
        request: PageRequest | None = PageRequest(limit=_PAGE)
        while request is not None:
            try:
                result = await self._queries.query(tenant, query, request)
            except NonexistentTenant:
                return
            now = now_text()
            yield [entity for stored in result.entities if (entity := stored.visible(now)) is not None]
            request = None if result.next is None else PageRequest(limit=_PAGE, position=result.next)


def entity_query(periodic: Periodic) -> EntityQuery:
    """The query that selects what a periodic subscription is about."""
    query = EntityQuery(q=periodic.q, geo=periodic.geo, scope=periodic.scope, local=True)
    selectors = [_selector(one) for one in periodic.selectors]
    if len(selectors) == 1:  # as a client asks for the entities of a type: what indexes serve best
        [only] = selectors
        query.types, query.ids, query.id_pattern = only.types, list(only.ids), None if only.ids else only.id_pattern
    else:
        query.selectors = tuple(selectors)
    return query


def _selector(one: EntitySelector) -> Selector:
    return Selector(TypeSelection(one.types), one.ids, one.id_pattern)
