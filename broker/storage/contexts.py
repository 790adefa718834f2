"""The `contexts` collection of the control database: @contexts that were downloaded, for all processes (clause 6.3.16).

A document:

    _id        the URL
    document   the @context document as JSON text: its keys may hold "$" and "."
    kind       "Cached"
    createdAt  when it was downloaded
    expires    until when it is fresh; kept for `KEPT_AFTER_EXPIRY` longer, as it may be all there is when its server
               is down
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from bson.codec_options import CodecOptions
from pymongo import WriteConcern

from broker.storage.client import Database, storage_errors

CACHED = "Cached"
KEPT_AFTER_EXPIRY = timedelta(days=90)

_ACKNOWLEDGED = WriteConcern(w="majority")  # what is lost with a power failure is downloaded again


@dataclass(frozen=True, slots=True)
class StoredContext:
    """One @context of the collection; `document` is the decoded JSON, the times are in UTC."""

    url: str
    document: Any
    kind: str
    created_at: datetime
    expires_at: datetime


class ContextStore:
    """Reading and writing downloaded @contexts. Every method raises Unavailable when storage is lost.

    `database` is the control database.
    """

    def __init__(self, database: Database) -> None:
        options: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True, tzinfo=UTC)
        self._collection = database["contexts"].with_options(codec_options=options, write_concern=_ACKNOWLEDGED)

    async def prepare(self) -> None:
        """Have MongoDB delete the @contexts that nobody has refreshed for long."""
        with storage_errors():
            await self._collection.create_index(
                "expires",
                name="expired",
                expireAfterSeconds=int(KEPT_AFTER_EXPIRY.total_seconds()),
                partialFilterExpression={"kind": CACHED},
            )

    async def get(self, url: str) -> StoredContext | None:
        """The @context downloaded from `url`, fresh or not, or None."""
        with storage_errors():
            found = await self._collection.find_one({"_id": url})
        if found is None:
            return None
        return StoredContext(url, orjson.loads(found["document"]), found["kind"], found["createdAt"], found["expires"])

    async def put(self, url: str, document: Any, expires_at: datetime) -> None:
        """Keep `document`, which was downloaded from `url` just now, instead of any earlier one."""
        record = {
            "document": orjson.dumps(document).decode(),
            "kind": CACHED,
            "createdAt": datetime.now(UTC),
            "expires": expires_at,
        }
        with storage_errors():
            await self._collection.replace_one({"_id": url}, record, upsert=True)
