"""Query Entities (clause 5.7.2): one page of what a query selects, in the order of ids or in the one asked for."""

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol

from broker.core.ordering import Collates, first_places
from broker.core.paging import PageRequest, Place, QueryResult, neighbours
from broker.core.queries import EntityQuery
from broker.ngsild.errors import BadRequestData, Unavailable
from broker.ngsild.expiry import visible
from broker.ngsild.model import Entity
from broker.ngsild.ordering import Ordering
from broker.ngsild.timestamps import now_text
from broker.storage.documents import StoredEntity

MOST_ORDERED_OFFSET = 10_000
"""Places of an order that are kept at once to skip them. The links to the next page need none of them."""

_MOST_PARTLY_EXPIRED = 50_000
"""Ids that one filter can name: MongoDB takes 16 MB."""

Filter = dict[str, Any]


class SelectsEntities(Protocol):
    """What queries need of the storage: `storage/selections.py` says what each does."""

    async def page(
        self,
        tenant: str,
        condition: Filter,
        *,
        bound: tuple[str, str] | None,
        skip: int,
        limit: int,
        hint: str | None = None,
        prompt: bool = False,
    ) -> list[StoredEntity]:
        """Entities in the order of their ids."""

    async def count(self, tenant: str, condition: Filter, hint: str | None = None) -> int:
        """How many entities."""

    async def sift(
        self,
        tenant: str,
        condition: Filter,
        decide: Callable[[Entity], bool],
        *,
        bound: tuple[str, str] | None,
        skip: int,
        limit: int,
    ) -> tuple[list[StoredEntity], str | None]:
        """Entities of which `decide` has the last word, and where the search ended before its time."""

    async def count_decided(self, tenant: str, condition: Filter, decide: Callable[[Entity], bool]) -> int:
        """How many entities of which `decide` has the last word."""

    def candidates(
        self, tenant: str, condition: Filter, attributes: Sequence[str] | None = None
    ) -> AsyncIterator[list[Entity]]:
        """All entities in batches."""

    async def decided(self, tenant: str, condition: Filter, decide: Callable[[Entity], bool], limit: int) -> list[str]:
        """The ids of entities of which `decide` has the last word."""

    async def any_partly_expired(self, tenant: str, now: str) -> bool:
        """Whether any entity may hold an attribute that has expired."""

    async def named(self, tenant: str, ids: Sequence[str]) -> list[StoredEntity]:
        """Entities by id, in this order."""


class ResolvesLinks(Protocol):
    """What queries through Relationships need: `core/linked.py` has it."""

    async def resolved(self, tenant: str, query: EntityQuery, now: str) -> EntityQuery:
        """The query with the ids of the linked entities that it is about."""


class Querying:
    """The use case."""

    def __init__(self, store: SelectsEntities, collator: Collates, links: ResolvesLinks) -> None:
        self._store = store
        self._collator = collator
        self._links = links

    async def query(self, tenant: str, query: EntityQuery, request: PageRequest) -> QueryResult:
        """One page. BadRequestData for a query that is too wide, and for a collation that does not exist.

        TooComplexQuery if too many entities would have to be looked at one by one; Unavailable if the storage is lost.
        """
        query.check_width()
        ordering = request.ordering
        if ordering is not None:
            await self._collator.check(ordering.collation)
            if request.offset > MOST_ORDERED_OFFSET:
                raise BadRequestData(
                    f"The offset is {request.offset}: expected at most {MOST_ORDERED_OFFSET} beside orderBy. Leave it "
                    'out, and follow the links to the next page, rel="next".'
                )
        now = now_text()
        query = await self._links.resolved(tenant, query, now)
        # Equal queries of one second are equal to the storage, too, and can share a find. What expired within that
        # second is found then, but not shown: `visible` has the last word.
        instant = now if query.concerns_attributes else f"{now[:19]}.000000Z"
        condition = query.condition(instant, await self._partly_expired(tenant, query, now))
        total = await self._total(tenant, query, condition, now) if request.count else None
        if not request.limit:
            return QueryResult([], total)
        if ordering is not None:
            result = await self._ordered(tenant, query, condition, request, now)
        else:
            result = await self._by_id(tenant, query, condition, request, now)
        result.total = total
        return result

    async def selection(self, tenant: str, query: EntityQuery) -> tuple[Filter, Callable[[Entity], bool] | None]:
        """A filter for all entities that a query selects now; where it selects others, too, what has the last word."""
        query.check_width()
        now = now_text()
        query = await self._links.resolved(tenant, query, now)
        return query.condition(now, await self._partly_expired(tenant, query, now)), query.decision(now)

    async def ordered(self, tenant: str, query: EntityQuery, ordering: Ordering) -> list[str]:
        """The ids of all entities that a query selects, in an order. Raises as `query`."""
        query.check_width()
        await self._collator.check(ordering.collation)
        now = now_text()
        query = await self._links.resolved(tenant, query, now)
        condition = query.condition(now, await self._partly_expired(tenant, query, now))
        batches = self._visible(tenant, query, condition, sorted(ordering.attributes()), now)
        places = await first_places(batches, ordering, self._collator, None, sys.maxsize)
        return [place.entity_id for place in places]

    async def _by_id(
        self, tenant: str, query: EntityQuery, condition: Filter, request: PageRequest, now: str
    ) -> QueryResult:
        position, decide, ended = request.position, query.decision(now), None
        bound = (position.side.value, position.entity_id) if position is not None else None
        # One more than asked for tells whether there is a further page.
        most = request.limit + 1
        if decide is not None:
            found, ended = await self._store.sift(
                tenant, condition, decide, bound=bound, skip=request.offset, limit=most
            )
        else:
            found = await self._store.page(
                tenant,
                condition,
                bound=bound,
                skip=request.offset,
                limit=most,
                hint=query.index,
                prompt=query.prompt,
            )
        shown = found[: request.limit]
        if position is not None and position.side.backwards:
            shown.reverse()
        more = len(found) > request.limit
        seen = Place(ended) if ended is not None and not more else None
        places = [Place(stored.entity_id) for stored in shown]
        return QueryResult(shown, None, *neighbours(request, places, more=more or seen is not None, seen=seen))

    async def _ordered(
        self, tenant: str, query: EntityQuery, condition: Filter, request: PageRequest, now: str
    ) -> QueryResult:
        ordering, position = request.ordering, request.position
        assert ordering is not None
        most = request.offset + request.limit + 1
        batches = self._visible(tenant, query, condition, sorted(ordering.attributes()), now)
        places = (await first_places(batches, ordering, self._collator, position, most))[request.offset :]
        more = len(places) > request.limit
        places = places[: request.limit]
        if position is not None and position.side.backwards:
            places.reverse()
        shown = await self._store.named(tenant, [place.entity_id for place in places])
        return QueryResult(shown, None, *neighbours(request, places, more=more))

    async def _visible(
        self, tenant: str, query: EntityQuery, condition: Filter, attributes: Sequence[str], now: str
    ) -> AsyncIterator[list[Entity]]:
        decide = query.decision(now)
        async for batch in self._store.candidates(tenant, condition, attributes if decide is None else None):
            decided = batch if decide is None else [stored for stored in batch if decide(stored)]
            yield [entity for stored in decided if (entity := visible(stored, now)) is not None]

    async def _total(self, tenant: str, query: EntityQuery, condition: Filter, now: str) -> int:
        decide = query.decision(now)
        if decide is not None:
            return await self._store.count_decided(tenant, condition, decide)
        if query.concerns_attributes:
            return await self._store.count(tenant, condition)
        # The index of types alone counts these; of those that have expired there are few, in an index of their own.
        everything, expired = query.counted(now)
        hint = query.index if everything else "_id_"
        return await self._store.count(tenant, everything, hint) - await self._store.count(tenant, expired, "expires")

    async def _partly_expired(self, tenant: str, query: EntityQuery, now: str) -> list[str]:
        """Selected entities with expired attributes that wait for the sweeper: those that MongoDB cannot decide on."""
        if not query.concerns_attributes or not await self._store.any_partly_expired(tenant, now):
            return []
        found = await self._store.decided(
            tenant, query.partly_expired(now), query.visible_predicate(now), _MOST_PARTLY_EXPIRED
        )
        if len(found) == _MOST_PARTLY_EXPIRED:
            raise Unavailable("Too many attributes have expired at once, and are being removed; try again.")
        return found
