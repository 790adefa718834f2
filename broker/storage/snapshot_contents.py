"""The contents of snapshots (clause 5.5.15): each a database of its own, which MongoDB itself fills.

A content is registered in the `tenants` collection before its database comes into being, so that nothing is ever left
behind unknown. What no snapshot refers to any more is dropped, and dropped again after a while, in case that a write
which was under way has brought it back; then it is forgotten.

All that a snapshot copies is read as it was at one instant: MongoDB keeps that for some minutes (read concern
"snapshot").
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Any

from bson import Timestamp
from pymongo import WriteConcern

from broker.ngsild.model import Entity
from broker.storage.client import DURABLE, Mongo, storage_errors
from broker.storage.documents import as_entity
from broker.storage.entities import COLLECTION
from broker.storage.snapshot_census import count_content, forget_count
from broker.storage.snapshot_parts import EVERYTHING, Part, combining, reducing
from broker.storage.tenants import Tenants

_CANDIDATES = "snapshotCandidates"
_REJECTED_AT_ONCE = 1_000
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

    async def instant(self, source: str) -> Timestamp:
        """The present instant, at which a content can be read later, with all that was acknowledged so far."""
        instant: Timestamp = (await self._look(source, {}, None))["atClusterTime"]
        return instant

    async def copy(
        self,
        source: str,
        content: str,
        instant: Timestamp,
        condition: Filter,
        decide: Callable[[Entity], bool] | None = None,
        part: Part = EVERYTHING,
    ) -> bool:
        """Copy the entities that fulfil a filter, as they were at `instant`; whether there are any.

        If there is `decide`, it has the last word on each. A part of an entity that is there already is added to it.
        """
        origin, target = await self._tenants.database(source), await self._tenants.database(content)
        if decide is None:
            await _pour(origin, COLLECTION, condition, target, COLLECTION, part, instant)
            return bool((await self._look(source, condition, instant))["firstBatch"])
        # Candidates are copied first: so what is decided about is what will be kept, whatever changes meanwhile.
        candidates = target[_CANDIDATES]
        with storage_errors():
            await candidates.drop()
        await _pour(origin, COLLECTION, condition, target, _CANDIDATES, EVERYTHING, instant)
        await _reject(candidates, decide)
        await _pour(target, _CANDIDATES, {}, target, COLLECTION, part, None)
        with storage_errors():
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

    async def _look(self, source: str, condition: Filter, instant: Timestamp | None) -> dict[str, Any]:
        """One entity that fulfils a filter, by its id, as the cursor of an answer."""
        database = await self._tenants.database(source)
        command = {
            "find": COLLECTION,
            "filter": condition,
            "projection": {"_id": 1},
            "limit": 1,
            "singleBatch": True,
            "readConcern": _at(instant),
        }
        with storage_errors():
            cursor: dict[str, Any] = (await database.command(command))["cursor"]
            return cursor


async def _pour(
    origin: Any, name: str, condition: Filter, target: Any, into: str, part: Part, instant: Timestamp | None
) -> None:
    """Have MongoDB copy the entities that fulfil a filter from one collection into another."""
    merge = {
        "into": {"db": target.name, "coll": into},
        "on": "_id",
        "whenMatched": "replace" if part.everything else combining(),
        "whenNotMatched": "insert",
    }
    command = {
        "aggregate": name,
        "pipeline": [{"$match": condition}, reducing(part), {"$merge": merge}],
        "cursor": {},
        "allowDiskUse": True,
        "writeConcern": DURABLE,
    }
    if instant is not None:
        command["readConcern"] = _at(instant)
    with storage_errors():
        await origin.command(command)


async def _reject(candidates: Any, decide: Callable[[Entity], bool]) -> None:
    rejected: list[str] = []
    with storage_errors():
        async for document in candidates.find():
            if not decide(as_entity(document)):
                rejected.append(document["_id"])
            if len(rejected) == _REJECTED_AT_ONCE:
                await candidates.delete_many({"_id": {"$in": rejected}})
                rejected = []
        if rejected:
            await candidates.delete_many({"_id": {"$in": rejected}})


def _at(instant: Timestamp | None) -> dict[str, Any]:
    return {"level": "snapshot"} if instant is None else {"level": "snapshot", "atClusterTime": instant}


def _before(field: str, seconds: float) -> dict[str, Any]:
    return {"$lt": [field, {"$subtract": ["$$NOW", int(seconds * 1000)]}]}
