"""Entity maps (clause 5.2.39): which entities a query selected when the map was made, in their order.

They are in the database of their tenant. `entityMaps` has one document for each map:

    _id          the map's URI
    fingerprint  stands for what the query selects by: a map serves no other query
    expiresAt    BSON date, under a TTL index

`entityMapChunks` has the entities, so many to a document that a map of any length fits into MongoDB's documents, and
that a page is read without the rest:

    _id          {map, first}: the place of its first entity
    ids          the entities' ids; null in the place of one that has left the map
    left         how many have not left
    expiresAt    a while after the map's, so that no map ever lacks a chunk

Places never shift: they are what the offset of a page counts. A map exists as soon as its document does, which is
written last. What has expired is gone at once for every reader, and removed by MongoDB later.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import ASCENDING, DESCENDING, WriteConcern

from broker.ngsild.errors import NonexistentTenant
from broker.ngsild.model import Entity
from broker.storage.client import APPLIED, DURABLE, storage_errors
from broker.storage.documents import as_entity
from broker.storage.entities import COLLECTION
from broker.storage.tenants import Tenants

CHUNK = 1_000
"""Most entities in one chunk."""

_CHUNK_BYTES = 8 * 1024**2
_MAPS, _CHUNKS = "entityMaps", "entityMapChunks"
_CHUNKS_STAY = timedelta(minutes=5)
_BEYOND = 2**40
"""A place that no map reaches."""


@dataclass(frozen=True, slots=True)
class EntityMap:
    """A map without its entities."""

    id: str
    fingerprint: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Places:
    """Occupied places of one chunk in their order: (place, entity id). The chunk begins at the place `chunk`."""

    chunk: int
    entries: list[tuple[int, str]]


class EntityMapStore:
    """Reading and writing the entity maps of all tenants.

    Every method raises Unavailable when storage is lost, and all but `get` NonexistentTenant.
    """

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants
        self._prepared: set[str] = set()

    async def create(self, tenant: str, new: EntityMap, ids: AsyncIterator[str]) -> None:
        """Keep a new map of the entities `ids`."""
        maps, chunks = await self._collections(tenant)
        await self._prepare(maps, chunks)
        unsettled = chunks.with_options(write_concern=WriteConcern(**APPLIED))  # settled with the map's own document
        first, gathered, size = 0, list[str](), 0
        async for entity_id in ids:
            gathered.append(entity_id)
            size += len(entity_id)
            if len(gathered) == CHUNK or size > _CHUNK_BYTES:
                await _insert_chunk(unsettled, new, first, gathered)
                first, gathered, size = first + len(gathered), [], 0
        if gathered:
            await _insert_chunk(unsettled, new, first, gathered)
        with storage_errors():
            await maps.insert_one({"_id": new.id, "fingerprint": new.fingerprint, "expiresAt": new.expires_at})

    async def get(self, tenant: str, map_id: str) -> EntityMap | None:
        """A map that has not expired, or None."""
        try:
            maps, _ = await self._collections(tenant)
        except NonexistentTenant:
            return None
        with storage_errors():
            found = await maps.find_one(_present(map_id))
        if found is None:
            return None
        return EntityMap(found["_id"], found["fingerprint"], found["expiresAt"].replace(tzinfo=UTC))

    async def expire(self, tenant: str, map_id: str, expires_at: datetime) -> bool:
        """Have a map expire at another time; whether there is the map."""
        maps, chunks = await self._collections(tenant)
        with storage_errors():
            # The chunks first: they must outlast the map whatever happens in between.
            await chunks.update_many(_chunks_of(map_id), {"$max": {"expiresAt": expires_at + _CHUNKS_STAY}})
            result = await maps.update_one(_present(map_id), {"$set": {"expiresAt": expires_at}})
        return bool(result.matched_count)

    async def delete(self, tenant: str, map_id: str) -> bool:
        """Delete a map; whether there was one."""
        maps, chunks = await self._collections(tenant)
        with storage_errors():
            result = await maps.delete_one(_present(map_id))
            if result.deleted_count:
                await chunks.delete_many(_chunks_of(map_id))
        return bool(result.deleted_count)

    async def places(
        self, tenant: str, map_id: str, start: int = 0, among: Collection[str] = ()
    ) -> AsyncGenerator[Places]:
        """The occupied places of a map from `start` on, chunk by chunk; with `among`, those of these entities only.

        What has not been asked for is not read.
        """
        _, chunks = await self._collections(tenant)
        wanted = frozenset(among)
        occupied: dict[str, Any] = {"ids": {"$in": list(among)}} if among else {"left": {"$gt": 0}}
        with storage_errors():
            document = await chunks.find_one(_chunks_of(map_id, up_to=start), sort=[("_id", DESCENDING)])
        while document is not None:
            first = document["_id"]["first"]
            entries = [
                (place, entity_id)
                for place, entity_id in enumerate(document["ids"], first)
                if place >= start and entity_id is not None and (not wanted or entity_id in wanted)
            ]
            if entries:
                yield Places(first, entries)
            with storage_errors():
                following = {**_chunks_of(map_id, behind=first), **occupied}
                document = await chunks.find_one(following, sort=[("_id", ASCENDING)])

    async def remove(self, tenant: str, map_id: str, chunk: int, ids: Sequence[str]) -> None:
        """Take entities out of a chunk. It does no harm if others do the same at the same time."""
        _, chunks = await self._collections(tenant)
        gone = {"$in": ["$$this", {"$literal": list(ids)}]}
        emptied = {"$map": {"input": "$ids", "in": {"$cond": [gone, None, "$$this"]}}}
        occupied = {"$filter": {"input": "$ids", "cond": {"$ne": ["$$this", None]}}}
        with storage_errors():
            await chunks.update_one(
                {"_id": {"map": map_id, "first": chunk}},
                [{"$set": {"ids": emptied}}, {"$set": {"left": {"$size": occupied}}}],
            )

    async def selected(
        self, tenant: str, condition: dict[str, Any], decide: Callable[[Entity], bool] | None
    ) -> AsyncIterator[str]:
        """The ids of all entities that fulfil a filter, in their order; if there is `decide`, it has the last word."""
        database = await self._tenants.database(tenant)
        shown = None if decide is not None else {"_id": 1}
        with storage_errors():
            async for document in database[COLLECTION].find(condition, shown, batch_size=CHUNK).sort("_id", ASCENDING):
                if decide is None or decide(as_entity(document)):
                    yield document["_id"]

    async def _collections(self, tenant: str) -> tuple[Any, Any]:
        database = await self._tenants.database(tenant)
        durable = WriteConcern(**DURABLE)
        return (
            database[_MAPS].with_options(write_concern=durable),
            database[_CHUNKS].with_options(write_concern=durable),
        )

    async def _prepare(self, maps: Any, chunks: Any) -> None:
        name = maps.database.name
        if name in self._prepared:
            return
        with storage_errors():
            for collection in (maps, chunks):
                await collection.create_index([("expiresAt", ASCENDING)], name="expiresAt", expireAfterSeconds=0)
        self._prepared.add(name)


async def _insert_chunk(chunks: Any, of: EntityMap, first: int, ids: list[str]) -> None:
    with storage_errors():
        await chunks.insert_one(
            {
                "_id": {"map": of.id, "first": first},
                "ids": ids,
                "left": len(ids),
                "expiresAt": of.expires_at + _CHUNKS_STAY,
            }
        )


def _present(map_id: str) -> dict[str, Any]:
    return {"_id": map_id, "expiresAt": {"$gt": datetime.now(UTC)}}


def _chunks_of(map_id: str, *, behind: int = -1, up_to: int = _BEYOND) -> dict[str, Any]:
    """The filter for the chunks of a map that begin at a place behind one and up to another."""
    return {"_id": {"$gt": {"map": map_id, "first": behind}, "$lte": {"map": map_id, "first": up_to}}}
