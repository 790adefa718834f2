"""The `outbox` collection of the control database: notifications owed, stored before their change is acknowledged.

A document:

    _id         the notification's URN
    tenant, subscription, entity
    process, commit, sequence   the commit that owes it; within one process (commit, sequence) is the order of delivery
    owner       the process that delivers it: at first `process`, after a takeover the heir
    claim       names one takeover, only on documents taken over
    body        the finished notification body (zlib-compressed when `packed` is true)
    draft       true where the body is a draft, to be finished when it is delivered
    createdAt   seconds since 1970
"""

import inspect
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bson.codec_options import CodecOptions
from pymongo import ASCENDING, IndexModel, WriteConcern
from pymongo.errors import OperationFailure

from broker.storage.client import APPLIED, DURABLE, Election, Mongo, storage_errors

LARGEST_BODY = 16 * 1024 * 1024 - 64 * 1024
"""Bytes of the largest body that one document can keep, after packing."""

_COMMAND_BYTES = 8 * 1024 * 1024
_PACK_FROM = 4 * 1024 * 1024
_REMOVE_AT_ONCE = 1000
_PLAIN: CodecOptions[dict[str, Any]] = CodecOptions()
_DUPLICATE = 11000
_INDEXES = [
    IndexModel([("owner", ASCENDING)], name="owner"),
    IndexModel(
        [("claim", ASCENDING), ("process", ASCENDING), ("commit", ASCENDING), ("sequence", ASCENDING)],
        name="claim",
        partialFilterExpression={"claim": {"$exists": True}},
    ),
]


@dataclass(slots=True, frozen=True)
class Backlog:
    """What is owed to one subscription: how many notifications, and since when, in seconds since 1970."""

    notifications: int
    oldest: float


Position = tuple[str, int, int]
"""Where a notification stands in its order: process, commit, sequence."""


@dataclass(slots=True)
class Owed:
    """One notification that is owed.

    `id` is its URN, the same on every attempt, so that a receiver can tell a repetition. `process` and `commit` name
    the commit that owes it; `sequence` orders what one process owes. `body` is the finished notification body (JSON),
    or with `draft` what it is to be made of when it is delivered. `created_at` is seconds since 1970.
    """

    id: str
    tenant: str
    subscription_id: str
    entity_id: str
    process: str
    commit: int
    sequence: int
    body: bytes
    created_at: float
    draft: bool = False


class Outbox:
    """Notifications from their change to their delivery. Methods raise Unavailable when storage is lost."""

    def __init__(self, mongo: Mongo) -> None:
        self._database = mongo.control
        self._durable = mongo.control["outbox"].with_options(write_concern=WriteConcern(**DURABLE))
        # What has been delivered may come back after a failover of MongoDB: it is delivered again, never lost.
        self._relaxed = mongo.control["outbox"].with_options(write_concern=WriteConcern(w=1))

    async def prepare(self) -> None:
        """Create the indexes."""
        with storage_errors():
            await self._durable.create_indexes(_INDEXES)

    async def insert(self, owed: Sequence[Owed]) -> Election | None:
        """Place what is owed, ahead of the change that owes it. Inserting the same again is no error.

        Returns the election of the primary that has it. Whatever the same primary stores later reaches the disks of a
        majority together with it, and never without it: MongoDB keeps its writes in their order. None if no such order
        can be relied on, as in a sharded cluster: then it is journaled on a majority already.
        """
        elections = {await self._insert(documents, APPLIED) for documents in _commands(owed)}
        if len(elections) == 1 and None not in elections:
            return elections.pop()
        await self.keep(owed)
        return None

    async def keep(self, owed: Sequence[Owed]) -> None:
        """Place what is owed for no change, journaled on a majority. Keeping the same again is no error."""
        for documents in _commands(owed):
            await self._insert(documents, DURABLE)

    async def waits(self, notification_id: str) -> bool:
        """Whether a notification has yet to be delivered."""
        with storage_errors():
            return await self._durable.find_one({"_id": notification_id}, {"_id": 1}) is not None

    async def backlogs(self, tenant: str) -> dict[str, Backlog]:
        """What all processes owe to the subscriptions of a tenant, by their ids. Looks at all of the outbox."""
        found = {"_id": "$subscription", "notifications": {"$sum": 1}, "oldest": {"$min": "$createdAt"}}
        with storage_errors():
            opening: Any = self._durable.aggregate([{"$match": {"tenant": tenant}}, {"$group": found}])
            cursor = await opening if inspect.isawaitable(opening) else opening  # Motor has nothing to await
            return {one["_id"]: Backlog(one["notifications"], one["oldest"]) for one in await cursor.to_list(None)}

    async def _insert(self, documents: list[dict[str, Any]], concern: dict[str, Any]) -> Election | None:
        command = {"insert": "outbox", "documents": documents, "ordered": False, "writeConcern": concern}
        with storage_errors():
            answer = await self._database.command(command, codec_options=_PLAIN)
            refused = [one for one in answer.get("writeErrors", ()) if one["code"] != _DUPLICATE]
            problem = refused[0] if refused else answer.get("writeConcernError")
            if problem is not None:
                raise OperationFailure(problem.get("errmsg", ""), problem.get("code"))
        election: Election | None = answer.get("electionId")
        return election

    async def discard(self, owed: Sequence[Owed]) -> None:
        """Take back what is owed for changes that lost their version race.

        Await it before the same change is tried again: an entry that is left behind looks as if it had landed once the
        process has a later commit on the same entity.
        """
        ids = [one.id for one in owed]
        for start in range(0, len(ids), _REMOVE_AT_ONCE):
            with storage_errors():
                await self._durable.delete_many({"_id": {"$in": ids[start : start + _REMOVE_AT_ONCE]}})

    async def remove(self, ids: Sequence[str]) -> None:
        """Forget notifications that were delivered or given up."""
        for start in range(0, len(ids), _REMOVE_AT_ONCE):
            with storage_errors():
                await self._relaxed.delete_many({"_id": {"$in": ids[start : start + _REMOVE_AT_ONCE]}})

    async def owners(self) -> set[str]:
        """The processes that have something to deliver."""
        with storage_errors():
            return set(await self._durable.distinct("owner"))

    async def claim(self, dead: str, heir: str, claim: str) -> int:
        """Hand everything that `dead` had to deliver to `heir`, marked with the name of this takeover; how much it was.

        Safe to repeat with the same names.
        """
        with storage_errors():
            result = await self._durable.update_many({"owner": dead}, {"$set": {"owner": heir, "claim": claim}})
        return int(result.modified_count)

    async def claimed(self, claim: str, after: Position | None, limit: int) -> list[Owed]:
        """The next notifications of a takeover in their order, past the position `after`."""
        condition: dict[str, Any] = {"claim": claim}
        if after is not None:
            process, commit, sequence = after
            condition["$or"] = [
                {"process": {"$gt": process}},
                {"process": process, "commit": {"$gt": commit}},
                {"process": process, "commit": commit, "sequence": {"$gt": sequence}},
            ]
        order = [(name, ASCENDING) for name in ("claim", "process", "commit", "sequence")]
        with storage_errors():
            cursor = self._durable.find(condition, limit=limit).sort(order)
            return [_owed(document) for document in await cursor.to_list(None)]

    async def read(self, ids: Sequence[str]) -> list[Owed]:
        """Those of the notifications that are still owed, in the order of `ids`."""
        with storage_errors():
            cursor = self._durable.find({"_id": {"$in": list(ids)}})
            found = {document["_id"]: _owed(document) for document in await cursor.to_list(None)}
        return [found[one] for one in ids if one in found]


def position(owed: Owed) -> Position:
    """Where a notification stands in the order of its takeover."""
    return owed.process, owed.commit, owed.sequence


def fits(body: bytes) -> bool:
    """Whether one document can keep `body`."""
    return len(body) < _PACK_FROM or len(zlib.compress(body, 1)) <= LARGEST_BODY


def _commands(owed: Sequence[Owed]) -> Iterator[list[dict[str, Any]]]:
    documents: list[dict[str, Any]] = []
    size = 0
    for one in owed:
        document = _document(one)
        if documents and size + len(document["body"]) > _COMMAND_BYTES:
            yield documents
            documents, size = [], 0
        documents.append(document)
        size += len(document["body"]) + 512
    if documents:
        yield documents


def _document(owed: Owed) -> dict[str, Any]:
    document = {
        "_id": owed.id,
        "tenant": owed.tenant,
        "subscription": owed.subscription_id,
        "entity": owed.entity_id,
        "process": owed.process,
        "commit": owed.commit,
        "sequence": owed.sequence,
        "owner": owed.process,
        "body": owed.body,
        "createdAt": owed.created_at,
    }
    if owed.draft:
        document["draft"] = True
    if len(owed.body) >= _PACK_FROM:
        document["body"] = zlib.compress(owed.body, 1)
        document["packed"] = True
    return document


def _owed(document: dict[str, Any]) -> Owed:
    body = bytes(document["body"])
    return Owed(
        id=document["_id"],
        tenant=document["tenant"],
        subscription_id=document["subscription"],
        entity_id=document["entity"],
        process=document["process"],
        commit=document["commit"],
        sequence=document["sequence"],
        body=zlib.decompress(body) if document.get("packed") else body,
        created_at=document["createdAt"],
        draft=document.get("draft", False),
    )
