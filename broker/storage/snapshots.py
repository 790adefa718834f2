"""The `snapshots` collection of the control database: the snapshots of all tenants (clause 5.2.41).

What is in them is kept elsewhere (`snapshot_contents.py`).

A document:

    _id          {tenant, id}
    createdAt, modifiedAt, expiresAt       texts of the form of `now_text`, which sort by time; so is
    usedAt       when an operation was last executed on the snapshot
    version      int, grows by one with each change but that of usedAt
    definition   what the client gave, see `core/snapshot_documents.py`
    status       "preparing", "success", "partial", "failure" or "empty"
    details      one ExecutionResultDetails (clause 5.2.42) for each query, as soon as they are executed
    content      the name of its content (`ngsild/content.py`), as soon as it is complete
    job          while it is preparing: {process, content}, the process at work and the content that it fills; `source`
                 is the content that a clone is made of

Whoever takes over a job fills another content: should the process that was thought dead go on, it fills one that
nobody will use.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import ASCENDING, UpdateOne, WriteConcern
from pymongo.errors import DuplicateKeyError

from broker.ngsild.errors import AlreadyExists
from broker.storage.client import DURABLE, Mongo, storage_errors

Document = dict[str, Any]

_PLAIN_ACKNOWLEDGEMENT = WriteConcern(w=1)


class SnapshotStore:
    """Reading and writing snapshots. Every method raises Unavailable when storage is lost."""

    def __init__(self, mongo: Mongo) -> None:
        collection = mongo.control["snapshots"]
        self._collection = collection.with_options(write_concern=WriteConcern(**DURABLE))
        self._uses = collection.with_options(write_concern=_PLAIN_ACKNOWLEDGEMENT)

    async def prepare(self) -> None:
        """Create the indexes."""
        with storage_errors():
            await self._collection.create_index([("_id.tenant", ASCENDING)], name="tenant")
            await self._collection.create_index([("expiresAt", ASCENDING)], name="expiresAt")
            await self._collection.create_index([("job.process", ASCENDING)], name="job", sparse=True)

    async def insert(self, document: Document) -> None:
        """Keep a new snapshot; AlreadyExists if there is one with its id that has not expired."""
        expired = {"_id": document["_id"], "expiresAt": {"$lte": document["createdAt"]}}
        with storage_errors():
            try:
                await self._collection.delete_one(expired)
                await self._collection.insert_one(dict(document))
            except DuplicateKeyError as error:
                raise AlreadyExists(
                    f"The snapshot {document['_id']['id']} exists already: choose another id, or delete it first."
                ) from error

    async def get(self, tenant: str, snapshot_id: str, now: str) -> Document | None:
        """One snapshot that has not expired at the instant `now`, or None."""
        with storage_errors():
            found: Document | None = await self._collection.find_one(
                {"_id": _key(tenant, snapshot_id), "expiresAt": {"$gt": now}}
            )
        return found

    async def find(self, key: Mapping[str, str]) -> Document | None:
        """The snapshot with this `_id`, expired or not, or None."""
        with storage_errors():
            found: Document | None = await self._collection.find_one({"_id": dict(key)})
        return found

    async def all(self, tenant: str, now: str) -> Sequence[Document]:
        """The snapshots of a tenant that have not expired at the instant `now`."""
        with storage_errors():
            cursor = self._collection.find({"_id.tenant": tenant, "expiresAt": {"$gt": now}})
            found: Sequence[Document] = await cursor.to_list(None)
        return found

    async def replace(self, document: Document) -> Document | None:
        """Set what a client can change, if the version is that of `document` still; the new document, or None."""
        change = {name: document[name] for name in ("definition", "expiresAt", "modifiedAt")}
        with storage_errors():
            changed: Document | None = await self._collection.find_one_and_update(
                {"_id": document["_id"], "createdAt": document["createdAt"], "version": document["version"]},
                {"$set": {**change, "version": document["version"] + 1}},
                return_document=True,
            )
        return changed

    async def delete(self, document: Document) -> bool:
        """Delete a snapshot; whether it was there still."""
        with storage_errors():
            result = await self._collection.delete_one({"_id": document["_id"], "createdAt": document["createdAt"]})
        return bool(result.deleted_count)

    async def take_over(self, document: Document, process: str, content: str) -> bool:
        """Whether `process` has the job of a snapshot from now on, and fills `content`: only one can."""
        old = document["job"]
        with storage_errors():
            result = await self._collection.update_one(
                {"_id": document["_id"], "job.process": old["process"], "job.content": old["content"]},
                {"$set": {"job.process": process, "job.content": content}},
            )
        return bool(result.matched_count)

    async def finish(self, document: Document, content: str, ended: Mapping[str, Any]) -> bool:
        """End the job that filled `content`, and set what `ended` has; False if somebody else has the job now."""
        with storage_errors():
            result = await self._collection.update_one(
                {"_id": document["_id"], "job.content": content},
                {"$set": {**ended, "content": content}, "$unset": {"job": ""}, "$inc": {"version": 1}},
            )
        return bool(result.matched_count)

    async def jobs(self) -> Sequence[Document]:
        """The snapshots that are being prepared, of all tenants."""
        with storage_errors():
            found: Sequence[Document] = await self._collection.find({"job.process": {"$exists": True}}).to_list(None)
        return found

    async def expired(self, now: str) -> Sequence[Document]:
        """The snapshots that have expired at the instant `now`, of all tenants."""
        with storage_errors():
            found: Sequence[Document] = await self._collection.find({"expiresAt": {"$lte": now}}).to_list(None)
        return found

    async def contents(self) -> set[str]:
        """The names of all contents that snapshots have, fill, or are cloned from."""
        fields = {"content": 1, "job.content": 1, "job.source": 1}
        with storage_errors():
            documents = await self._collection.find({}, fields).to_list(None)
        jobs = [document.get("job", {}) for document in documents]
        named = [*(document.get("content") for document in documents), *(job.get("content") for job in jobs)]
        return {name for name in [*named, *(job.get("source") for job in jobs)] if name is not None}

    async def note_uses(self, uses: Mapping[tuple[str, str], str]) -> None:
        """Write down when snapshots, by (tenant, id), were used last, all in one round trip."""
        if not uses:
            return
        statements = [UpdateOne({"_id": _key(*name)}, {"$max": {"usedAt": at}}) for name, at in uses.items()]
        with storage_errors():
            await self._uses.bulk_write(statements, ordered=False)


class SnapshotNotices:
    """The `snapshotNotices` collection: notifications of changes of snapshots (clause 5.16.6) that are to be sent.

    One is stored before the change that it is about, and waits until the change is seen. A document:

        _id          the notification's id
        snapshot     {tenant, id}
        createdAt    that of the snapshot
        version      the version that the change leads to; absent where it is the deletion
        url, headers, body (text)
        storedAt, dueAt     BSON dates, by MongoDB's clock
        attempts     how often it was tried to send it
    """

    def __init__(self, mongo: Mongo) -> None:
        self._collection = mongo.control["snapshotNotices"].with_options(write_concern=WriteConcern(**DURABLE))

    async def prepare(self) -> None:
        """Create the index."""
        with storage_errors():
            await self._collection.create_index([("dueAt", ASCENDING)], name="dueAt")

    async def add(self, notice: Document) -> None:
        """Keep a new one, which is due at once."""
        members = {name: {"$literal": value} for name, value in notice.items() if name != "_id"}
        stamps: Document = {"storedAt": "$$NOW", "dueAt": "$$NOW", "attempts": 0}
        with storage_errors():
            await self._collection.update_one({"_id": notice["_id"]}, [{"$set": {**members, **stamps}}], upsert=True)

    async def take(self, pause: float) -> Document | None:
        """One that is due, for the caller alone to send, with its `age` in seconds.

        It is due again after `pause` seconds, twice as long each time.
        """
        doubled = {"$multiply": [pause * 1000, {"$pow": [2, {"$min": ["$attempts", 10]}]}]}
        taken = {
            "dueAt": {"$add": ["$$NOW", doubled]},
            "attempts": {"$add": ["$attempts", 1]},
            "age": {"$divide": [{"$subtract": ["$$NOW", "$storedAt"]}, 1000]},
        }
        with storage_errors():
            found: Document | None = await self._collection.find_one_and_update(
                {"$expr": {"$lte": ["$dueAt", "$$NOW"]}},
                [{"$set": taken}],
                sort=[("dueAt", ASCENDING)],
                return_document=True,
            )
        return found

    async def remove(self, notice_id: str) -> None:
        """Forget one that was sent, or never will be."""
        with storage_errors():
            await self._collection.delete_one({"_id": notice_id})


def _key(tenant: str, snapshot_id: str) -> Document:
    return {"tenant": tenant, "id": snapshot_id}
