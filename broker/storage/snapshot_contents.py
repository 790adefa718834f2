"""The contents of snapshots (clause 5.5.15): each a database of its own, which MongoDB itself fills.

A content is registered in the `tenants` collection before its database comes into being, so that nothing is ever left
behind unknown. What no snapshot refers to any more is dropped, and dropped again after a while, in case that a write
which was under way has brought it back; then it is forgotten.

All that a snapshot copies is read as it was at one instant, in one transaction. That may not last for long, nor change
anything, so what is read passes through this process into a collection without indexes; from there MongoDB copies it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

from bson import decode
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import WriteConcern

from broker.ngsild.model import Entity
from broker.storage.client import DURABLE, Mongo, storage_errors
from broker.storage.documents import as_entity
from broker.storage.entities import COLLECTION
from broker.storage.snapshot_census import count_content, forget_count
from broker.storage.snapshot_parts import EVERYTHING, Part, combining, reducing
from broker.storage.tenants import Tenants
from broker.storage.transactions import snapshot

_CANDIDATES = "snapshotCandidates"
_BYTES_AT_ONCE = 1 << 20
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
_YOUNG = 60.0
"""Seconds after which a content that no snapshot refers to was not made for one that is just being created."""

Filter = dict[str, Any]


class SnapshotContents:
    """Making, filling and dropping contents. Every method raises Unavailable when storage is lost."""

    def __init__(self, mongo: Mongo, tenants: Tenants) -> None:
        self._mongo = mongo
        self._tenants = tenants
        self._registry = mongo.control["tenants"].with_options(write_concern=WriteConcern(**DURABLE))

    async def make(self, source: str, content: str, token: str) -> None:
        """Make an empty content, with the indexes of `source`, another one. NonexistentTenant."""
        origin = await self._tenants.database(source)
        name = f"{self._mongo.name}+s{token}"
        with storage_errors():
            row = await self._registry.find_one({"_id": source})
            transient = bool(row is not None and row.get("transient"))
            made = {"database": name, "transient": transient, "madeAt": "$$NOW"}
            await self._registry.update_one({"_id": content}, [{"$set": made}], upsert=True)
            listed = await origin.command({"listIndexes": COLLECTION})
            indexes = [
                {option: value for option, value in index.items() if option != "v"}
                for index in listed["cursor"]["firstBatch"]
            ]
            command = {"createIndexes": COLLECTION, "indexes": indexes, "writeConcern": DURABLE}
            await self._mongo.database(name).command(command)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Any]:
        """An instant, for `copy`: what is copied of it is as it is now, with all that was acknowledged so far.

        Raises InternalError where copying takes longer than MongoDB lets a transaction go on.
        """
        with storage_errors():
            async with snapshot(self._mongo.client) as session:
                await self._registry.find_one({}, session=session)  # the instant is that of the first read
                yield session

    async def copy(
        self,
        source: str,
        content: str,
        instant: Any,
        condition: Filter,
        decide: Callable[[Entity], bool] | None = None,
        part: Part = EVERYTHING,
    ) -> bool:
        """Copy the entities that fulfil a filter, as they were at `instant`; whether there are any.

        If there is `decide`, it has the last word on each. A part of an entity that is there already is added to it.
        """
        origin, target = await self._tenants.database(source), await self._tenants.database(content)
        candidates = target[_CANDIDATES]
        with storage_errors():
            await candidates.drop()
            await _transfer(origin, condition, candidates, decide, instant)
            await _pour(target, part)
            accepted = await candidates.find_one({}, {"_id": 1})
            await candidates.drop()
        return accepted is not None

    async def complete(self, content: str) -> None:
        """Make ready for use what was filled."""
        await count_content(self._mongo, content, await self._tenants.database(content))

    async def drop(self, content: str) -> None:
        """Drop a content's database. The content stays registered until it is swept."""
        with storage_errors():
            row = await self._registry.find_one({"_id": content})
            if row is not None:
                await self._mongo.client.drop_database(row["database"])

    async def sweep(self, in_use: Callable[[], Awaitable[Collection[str]]], grace: float) -> None:
        """Drop the contents that are not among those `in_use`; forget those dropped more than `grace` seconds ago."""
        with storage_errors():
            cursor = self._registry.find({"madeAt": {"$exists": True}, "$expr": _before("$madeAt", _YOUNG)})
            rows = await cursor.to_list(None)
        used = await in_use() if rows else ()
        for row in rows:
            if row["_id"] not in used:
                await self._discard(row["_id"], row["database"], again="droppedAt" in row, grace=grace)

    async def _discard(self, content: str, database: str, *, again: bool, grace: float) -> None:
        with storage_errors():
            if not again:
                await self._mongo.client.drop_database(database)
                await self._registry.update_one({"_id": content}, [{"$set": {"droppedAt": "$$NOW"}}])
            elif await self._registry.find_one({"_id": content, "$expr": _before("$droppedAt", grace)}):
                await self._mongo.client.drop_database(database)
                await forget_count(self._mongo, content)
                await self._registry.delete_one({"_id": content})


async def _transfer(
    origin: Any, condition: Filter, candidates: Any, decide: Callable[[Entity], bool] | None, session: Any
) -> None:
    """Copy the entities that fulfil a filter, and are not decided against, without looking into them otherwise."""
    pending: list[RawBSONDocument] = []
    size = 0
    async for document in origin[COLLECTION].with_options(codec_options=_RAW).find(condition, session=session):
        if decide is None or decide(as_entity(decode(document.raw))):
            pending.append(document)
            size += len(document.raw)
        if size > _BYTES_AT_ONCE:
            await _insert(candidates, pending)
            pending, size = [], 0
    if pending:
        await _insert(candidates, pending)


async def _insert(candidates: Any, documents: list[RawBSONDocument]) -> None:
    command = {"insert": candidates.name, "documents": documents, "ordered": False, "writeConcern": DURABLE}
    await candidates.database.command(command)


async def _pour(target: Any, part: Part) -> None:
    """Have MongoDB copy the candidates to where they belong."""
    merge = {
        "into": COLLECTION,
        "on": "_id",
        "whenMatched": "replace" if part.everything else combining(),
        "whenNotMatched": "insert",
    }
    await target.command(
        {
            "aggregate": _CANDIDATES,
            "pipeline": [reducing(part), {"$merge": merge}],
            "cursor": {},
            "allowDiskUse": True,
            "writeConcern": DURABLE,
        }
    )


def _before(field: str, seconds: float) -> dict[str, Any]:
    return {"$lt": [field, {"$subtract": ["$$NOW", int(seconds * 1000)]}]}
