"""Entity maps (clauses 5.5.9.3, 5.5.14, 5.14): what a query selected once, for all requests that refer to it.

A map fixes which entities are considered, and their order; whether an entity still meets the query is looked at again
for every page, and those that do not leave the map. A page begins at a place of the map: places never shift, so that
nobody is shown an entity twice or misses one because others left.
"""

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from broker.core.paging import PageRequest, QueryResult
from broker.core.queries import EntityQuery
from broker.ngsild.errors import BadRequestData, ResourceNotFound
from broker.ngsild.model import Entity
from broker.ngsild.ordering import Ordering
from broker.ngsild.timestamps import parse_timestamp
from broker.storage.documents import StoredEntity
from broker.storage.entity_maps import EntityMap, Places

_CHECKED_AT_ONCE = 100
"""Entities of a map that are looked at together, at least: some may match no longer."""

_OF_ONE = "one entity"
"""The fingerprint of a map that was made by a retrieval."""

_MEMBERS = frozenset({"id", "@id", "type", "@type", "expiresAt"})
_READ_ONLY = frozenset({"entityMap", "linkedMaps"})


class KeepsMaps(Protocol):
    """Where maps are kept: `storage/entity_maps.py` says what each does."""

    async def create(self, tenant: str, new: EntityMap, ids: AsyncIterator[str]) -> None:
        """Keep a new map."""

    async def get(self, tenant: str, map_id: str) -> EntityMap | None:
        """A map, or None."""

    async def expire(self, tenant: str, map_id: str, expires_at: datetime) -> bool:
        """Have a map expire at another time."""

    async def delete(self, tenant: str, map_id: str) -> bool:
        """Delete a map."""

    def places(self, tenant: str, map_id: str, start: int = 0, among: Collection[str] = ()) -> AsyncGenerator[Places]:
        """The occupied places of a map."""

    async def remove(self, tenant: str, map_id: str, chunk: int, ids: Sequence[str]) -> None:
        """Take entities out of a map."""

    def selected(
        self, tenant: str, condition: dict[str, Any], decide: Callable[[Entity], bool] | None
    ) -> AsyncIterator[str]:
        """The ids of all entities that fulfil a filter."""


class Selects(Protocol):
    """What maps need of queries."""

    async def query(self, tenant: str, query: EntityQuery, request: PageRequest) -> QueryResult:
        """One page of what a query selects."""

    async def selection(
        self, tenant: str, query: EntityQuery
    ) -> tuple[dict[str, Any], Callable[[Entity], bool] | None]:
        """A filter for all that a query selects, and what has the last word."""

    async def ordered(self, tenant: str, query: EntityQuery, ordering: Ordering) -> list[str]:
        """The ids of all that a query selects, in an order."""


class KnowsTenants(Protocol):
    """Which tenants exist."""

    async def database(self, tenant: str) -> Any:
        """NonexistentTenant if the tenant does not exist."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long something lives: usually, and at most, in seconds."""

    usual: float
    longest: float


@dataclass(slots=True)
class MapPage:
    """One page of a map. `next` is the place at which the next one begins; None: this is the last.

    `total` is how many entities of the map match in all, if that was asked for.
    """

    entities: list[StoredEntity]
    next: int | None = None
    total: int | None = None


class EntityMaps:
    """The use cases."""

    def __init__(self, store: KeepsMaps, queries: Selects, tenants: KnowsTenants, lifetimes: Lifetimes) -> None:
        self._store = store
        self._queries = queries
        self._tenants = tenants
        self._lifetimes = lifetimes

    async def create(
        self,
        tenant: str,
        query: EntityQuery,
        fingerprint: str,
        *,
        ordering: Ordering | None = None,
        lifetime: timedelta | None = None,
    ) -> EntityMap:
        """Clause 5.14.4: a map of all entities that a query selects now. `fingerprint` stands for the query.

        BadRequestData for a query that is too wide.
        """
        if ordering is not None:
            return await self._keep(
                tenant, fingerprint, lifetime, _each(await self._queries.ordered(tenant, query, ordering))
            )
        condition, decide = await self._queries.selection(tenant, query)
        return await self._keep(tenant, fingerprint, lifetime, self._store.selected(tenant, condition, decide))

    async def create_of_one(self, tenant: str, entity_id: str, lifetime: timedelta | None = None) -> EntityMap:
        """A map of one entity, for a retrieval (clause 5.7.1.4)."""
        return await self._keep(tenant, _OF_ONE, lifetime, _each([entity_id]))

    async def find(self, tenant: str, map_id: str) -> EntityMap | None:
        """The map that a request refers to; None if it does not exist, or has expired."""
        return await self._store.get(tenant, map_id)

    async def retrieve(self, tenant: str, map_id: str) -> EntityMap:
        """Clause 5.14.1."""
        await self._tenants.database(tenant)
        found = await self._store.get(tenant, map_id)
        if found is None:
            raise _missing(map_id)
        return found

    async def entities(self, tenant: str, of: EntityMap) -> AsyncGenerator[list[str]]:
        """The ids of all entities of a map in their order, in parts."""
        async for places in self._store.places(tenant, of.id):
            yield [entity_id for _, entity_id in places.entries]

    async def update(self, tenant: str, map_id: str, body: Any) -> None:
        """Clause 5.14.2: only the expiry can be changed, as far as the longest lifetime allows."""
        expires_at = _read_fragment(body, map_id)
        await self.retrieve(tenant, map_id)
        if expires_at is None:
            return
        latest = datetime.now(UTC) + timedelta(seconds=self._lifetimes.longest)
        if not await self._store.expire(tenant, map_id, min(expires_at, latest)):
            raise _missing(map_id)

    async def delete(self, tenant: str, map_id: str) -> None:
        """Clause 5.14.3."""
        await self._tenants.database(tenant)
        if not await self._store.delete(tenant, map_id):
            raise _missing(map_id)

    async def page(self, tenant: str, of: EntityMap, query: EntityQuery, request: PageRequest) -> MapPage:
        """The entities of a map from the place `request.offset` on that match its query still (clause 5.5.9.3).

        Those that do not, leave the map. With `query.ids` only these entities are considered.
        """
        found: list[tuple[int, StoredEntity]] = []
        if request.limit:  # one more tells whether there is a next page
            found = await self._first(tenant, of, query, request.offset, request.limit + 1)
        total = await self._count(tenant, of, query) if request.count else None
        following = found[request.limit][0] if len(found) > request.limit else None
        return MapPage([stored for _, stored in found[: request.limit]], following, total)

    async def _first(
        self, tenant: str, of: EntityMap, query: EntityQuery, start: int, wanted: int
    ) -> list[tuple[int, StoredEntity]]:
        found: list[tuple[int, StoredEntity]] = []
        async with aclosing(self._store.places(tenant, of.id, start, query.ids)) as parts:
            async for part in parts:
                entries = part.entries
                while entries and len(found) < wanted:
                    count = max(wanted - len(found), _CHECKED_AT_ONCE)
                    some, entries = entries[:count], entries[count:]
                    found += await self._matching(tenant, of, query, part.chunk, some)
                if len(found) >= wanted:
                    break
        return found

    async def _matching(
        self, tenant: str, of: EntityMap, query: EntityQuery, chunk: int, some: Sequence[tuple[int, str]]
    ) -> list[tuple[int, StoredEntity]]:
        ids = [entity_id for _, entity_id in some]
        result = await self._queries.query(tenant, replace(query, ids=ids), PageRequest(len(ids)))
        matching = {stored.entity_id: stored for stored in result.entities}
        if len(matching) < len(ids):
            gone = [entity_id for entity_id in ids if entity_id not in matching]
            await self._store.remove(tenant, of.id, chunk, gone)
        return [(place, matching[entity_id]) for place, entity_id in some if entity_id in matching]

    async def _count(self, tenant: str, of: EntityMap, query: EntityQuery) -> int:
        total = 0
        async for part in self._store.places(tenant, of.id, 0, query.ids):
            ids = [entity_id for _, entity_id in part.entries]
            result = await self._queries.query(tenant, replace(query, ids=ids), PageRequest(0, count=True))
            total += result.total or 0
        return total

    async def _keep(
        self, tenant: str, fingerprint: str, lifetime: timedelta | None, ids: AsyncIterator[str]
    ) -> EntityMap:
        seconds = self._lifetimes.usual if lifetime is None else lifetime.total_seconds()
        expires_at = datetime.now(UTC) + timedelta(seconds=min(seconds, self._lifetimes.longest))
        new = EntityMap(f"urn:ngsi-ld:EntityMap:{uuid.uuid4().hex}", fingerprint, _in_milliseconds(expires_at))
        await self._store.create(tenant, new, ids)
        return new


def render_expiry(of: EntityMap) -> str:
    """The expiry of a map as a DateTime."""
    return of.expires_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _read_fragment(body: Any, map_id: str) -> datetime | None:
    """The expiry that an update asks for, if it does. BadRequestData."""
    if not isinstance(body, dict):
        raise BadRequestData("The body is no entity map: expected a JSON object.", pointer="")
    for name in body:
        if name not in _MEMBERS and name not in _READ_ONLY:
            raise BadRequestData(
                f"{name!r:.80} is no member of an entity map: expected expiresAt, which alone can be changed.",
                pointer="/" + name.replace("~", "~0").replace("/", "~1"),
            )
    for names, expected in ((("id", "@id"), map_id), (("type", "@type"), "EntityMap")):
        for name in names:
            if body.get(name, expected) != expected:
                raise BadRequestData(
                    f"{name} is {body[name]!r:.80}, but that of this entity map is {expected!r}: leave it out.",
                    pointer=f"/{name}",
                )
    if "expiresAt" not in body:
        return None
    return _in_milliseconds(datetime.fromisoformat(parse_timestamp(body["expiresAt"], pointer="/expiresAt")))


def _in_milliseconds(instant: datetime) -> datetime:
    """As exact as MongoDB keeps it."""
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


async def _each(ids: Collection[Any]) -> AsyncIterator[Any]:
    for one in ids:
        yield one


def _missing(map_id: str) -> ResourceNotFound:
    return ResourceNotFound(f"The entity map {map_id} does not exist, or has expired.")
