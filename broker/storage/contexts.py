"""The `contexts` collection of the control database: the @contexts that Vela keeps (clauses 5.13, 6.3.16).

A document:

    _id        the URL of a "Cached" one, the local identifier of any other
    localId    the local identifier: a URI
    kind       "Cached", "Hosted", "ImplicitlyCreated"
    tenant     whose it is; absent where it is "Cached", which belongs to all
    document   the @context document as JSON text: its keys may hold "$" and "."; absent for the core, which is built in
    version    which state of the document it is
    createdAt  when it was downloaded or added
    expires    until when a downloaded one is fresh; it is kept for `KEPT_AFTER_EXPIRY` longer, as it may be all there
               is when its server is down
    hits, lastUsage     how often it was used, and when last; written down now and then
"""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from bson.codec_options import CodecOptions
from pymongo import ASCENDING, UpdateOne, WriteConcern
from pymongo.errors import DuplicateKeyError

from broker.jsonld.core import CORE_CONTEXT_URL
from broker.jsonld.identifiers import cached_local_id
from broker.jsonld.usage import Usage
from broker.storage.client import DURABLE, Database, storage_errors
from broker.storage.edits import Edits, Keys

CACHED, HOSTED, IMPLICIT = "Cached", "Hosted", "ImplicitlyCreated"
KINDS = (CACHED, HOSTED, IMPLICIT)
KEPT_AFTER_EXPIRY = timedelta(days=90)

_ACKNOWLEDGED = WriteConcern(w="majority")  # what is lost with a power failure is downloaded again
_COUNTED = WriteConcern(w=1)
_NAME = "contexts"


@dataclass(frozen=True, slots=True)
class StoredContext:
    """One @context of the collection; `document` is the decoded JSON (None where it was not asked for), times in UTC.

    `record` is its _id. `url` is where it was downloaded, None for one of the broker's own.
    """

    record: str
    local_id: str
    kind: str
    tenant: str
    document: Any
    version: str
    created_at: datetime
    expires_at: datetime | None
    hits: int
    last_usage: datetime | None

    @property
    def url(self) -> str | None:
        """Where it was downloaded."""
        return self.record if self.kind == CACHED else None

    @property
    def owner(self) -> str:
        """The one tenant whose requests may use it; "" where all may."""
        return self.tenant if self.kind == HOSTED else ""


@dataclass(frozen=True, slots=True)
class ContextEdit:
    """A record has a new version, or (None) was deleted, by any broker process."""

    record: str
    version: str | None


class ContextStore:
    """Reading, writing and following @contexts. Every method raises Unavailable when storage is lost.

    `database` is the control database.
    """

    def __init__(self, database: Database, edits: Edits) -> None:
        options: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True, tzinfo=UTC)
        collection = database[_NAME]
        self._edits = edits
        self._collection = collection.with_options(codec_options=options, write_concern=_ACKNOWLEDGED)
        self._durable = self._collection.with_options(write_concern=WriteConcern(**DURABLE))
        self._counters = self._collection.with_options(write_concern=_COUNTED)

    async def prepare(self) -> None:
        """Have MongoDB delete the @contexts that nobody has refreshed for long; list the core as one of the cached."""
        with storage_errors():
            await self._collection.create_index(
                "expires",
                name="expired",
                expireAfterSeconds=int(KEPT_AFTER_EXPIRY.total_seconds()),
                partialFilterExpression={"kind": CACHED},
            )
            await self._collection.create_index("localId", name="localId")
            await self._insert(CORE_CONTEXT_URL, _cached(CORE_CONTEXT_URL, None))

    async def get(self, name: str) -> StoredContext | None:
        """The @context downloaded from a URL, fresh or not, or one of the broker's own by its local identifier."""
        return await self._one({"_id": name})

    async def find(self, *identifiers: str) -> StoredContext | None:
        """The @context with one of these as its local identifier or URL, or None."""
        names = {"$in": list(identifiers)}
        return await self._one({"$or": [{"_id": names}, {"localId": names}]})

    async def list(self, tenant: str, kind: str | None = None) -> Sequence[StoredContext]:
        """The @contexts that a tenant sees, without their documents, the oldest first."""
        wanted: dict[str, Any] = {"$or": [{"kind": CACHED}, {"tenant": tenant}]}
        if kind is not None:
            wanted["kind"] = kind
        with storage_errors():
            cursor = self._collection.find(wanted, {"document": 0})
            found = await cursor.sort([("createdAt", ASCENDING), ("_id", ASCENDING)]).to_list(None)
        return [_stored(document) for document in found]

    async def put(self, url: str, document: Any, expires_at: datetime) -> str:
        """Keep `document`, which was downloaded from `url` just now, instead of any earlier one; its version."""
        record = {**_cached(url, document), "expires": expires_at}
        async with self._edits.editing(_NAME, [url]):
            with storage_errors():
                await self._collection.update_one(
                    {"_id": url}, {"$set": record, "$setOnInsert": {"hits": 0}}, upsert=True
                )
        version: str = record["version"]
        return version

    async def note(self, url: str, document: Any) -> None:
        """Keep `document`, which is known without a download, unless there is one for `url` already."""
        with storage_errors():
            await self._insert(url, _cached(url, document))

    async def add(self, local_id: str, tenant: str, document: Any, kind: str = HOSTED) -> None:
        """Keep one of the broker's own; what is there under this local identifier already is the same, and stays."""
        with storage_errors():
            await self._insert(local_id, {"tenant": tenant, **_record(local_id, kind, document)}, durable=True)

    async def delete(self, record: str) -> bool:
        """Delete one; whether there was one."""
        async with self._edits.editing(_NAME, [record]):
            with storage_errors():
                result = await self._durable.delete_one({"_id": record})
        return bool(result.deleted_count)

    async def add_usage(self, usage: Mapping[str, Usage]) -> None:
        """Add to the counters of the records that still exist, all in one round trip."""
        if not usage:
            return
        statements = [
            UpdateOne(
                {"_id": record},
                {"$inc": {"hits": one.hits}, "$max": {"lastUsage": datetime.fromtimestamp(one.last, UTC)}},
            )
            for record, one in usage.items()
        ]
        with storage_errors():
            await self._counters.bulk_write(statements, ordered=False)

    @asynccontextmanager
    async def edits(self) -> AsyncIterator[AsyncIterator[ContextEdit]]:
        """Follow new versions and deletions by any process, from the moment the context is entered.

        One may come more than once. Raises Unavailable when it breaks off: enter again.
        """
        async with self._edits.following(_NAME) as edited:
            yield self._read(edited)

    async def _read(self, edited: AsyncIterator[Keys]) -> AsyncIterator[ContextEdit]:
        async for keys in edited:
            with storage_errors():
                found = await self._collection.find({"_id": {"$in": keys}}, {"version": 1}).to_list(None)
            versions = {one["_id"]: one["version"] for one in found}
            for key in keys:
                yield ContextEdit(key, versions.get(key))

    async def _one(self, wanted: dict[str, Any]) -> StoredContext | None:
        with storage_errors():
            found = await self._collection.find_one(wanted)
        return None if found is None else _stored(found)

    async def _insert(self, name: str, record: dict[str, Any], *, durable: bool = False) -> None:
        collection = self._durable if durable else self._collection
        with suppress(DuplicateKeyError):  # two processes at once: both have the same
            await collection.update_one({"_id": name}, {"$setOnInsert": {**record, "hits": 0}}, upsert=True)


def _cached(url: str, document: Any) -> dict[str, Any]:
    return _record(cached_local_id(url), CACHED, document)


def _record(local_id: str, kind: str, document: Any) -> dict[str, Any]:
    record = {"localId": local_id, "kind": kind, "createdAt": datetime.now(UTC), "version": secrets.token_hex(8)}
    return record if document is None else {**record, "document": orjson.dumps(document).decode()}


def _stored(found: dict[str, Any]) -> StoredContext:
    return StoredContext(
        record=found["_id"],
        local_id=found["localId"],
        kind=found["kind"],
        tenant=found.get("tenant", ""),
        document=orjson.loads(found["document"]) if "document" in found else None,
        version=found["version"],
        created_at=found["createdAt"],
        expires_at=found.get("expires"),
        hits=found["hits"],
        last_usage=found.get("lastUsage"),
    )
