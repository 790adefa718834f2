"""The `outbox` collection of the control database: notifications owed, stored before their change is acknowledged.

A document is a parcel: all that one attempt to commit owes, or one notification that is owed for no change. Kept
together they cost MongoDB a fraction of a document for each (docs/adr/0010).

    _id         what the URNs of its notifications begin with: all but the last four characters
    tenant
    process, commit, sequence   the commit that owes it; within one process (commit, sequence) is the order of delivery,
                of which this is the first
    owner       the process that delivers it: at first `process`, after a takeover the heir
    claim       names one takeover, only on documents taken over
    notifications   those that are still owed, in their order:
        id          the last four characters of its URN
        subscription, entity, sequence
        body        the finished notification body (zlib-compressed when `packed` is true)
        draft       true where the body is a draft, to be finished when it is delivered
        createdAt   seconds since 1970
"""

import inspect
import os
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from bson.codec_options import CodecOptions
from pymongo import ASCENDING, IndexModel, UpdateOne, WriteConcern
from pymongo.errors import OperationFailure

from broker.storage.client import APPLIED, DURABLE, Election, Mongo, storage_errors

LARGEST_BODY = 16 * 1024 * 1024 - 64 * 1024
"""Bytes of the largest body that one document can keep, after packing."""

_COMMAND_BYTES = 8 * 1024 * 1024
_PACK_FROM = 4 * 1024 * 1024
_REMOVE_AT_ONCE = 1000
_READ_AT_ONCE = 16 * 1024 * 1024
_URN = "urn:ngsi-ld:Notification:"
_SUFFIX = 4
_MOST_IN_PARCEL = 16**_SUFFIX
_PARCEL_BYTES = 4 * 1024 * 1024
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


class Parcel:
    """Gives ids to the notifications that one attempt to commit owes, so that they are kept together.

    `commit` is the number of that commit. Another attempt needs another parcel, even under the same number.
    """

    __slots__ = ("_base", "_size", "_used", "commit")

    def __init__(self, commit: int) -> None:
        self.commit = commit
        self._base = ""
        self._used = _MOST_IN_PARCEL
        self._size = 0

    def next_id(self, size: int) -> str:
        """The URN of the next notification, whose body has about `size` bytes. What is too much for one is several."""
        self._size += size
        if self._used >= _MOST_IN_PARCEL or self._size > _PARCEL_BYTES:
            self._base, self._used, self._size = _new_base(), 0, size
        number, self._used = self._used, self._used + 1
        return f"{self._base}{number:04x}"


def parcel_of(notification_id: str) -> str:
    """The key of the parcel that has the notification."""
    return notification_id[:-_SUFFIX]


def made_at(notification_id: str) -> float:
    """When the parcel of a notification was made, in seconds since 1970: its id says so itself."""
    return (uuid.UUID(notification_id.removeprefix(_URN)).int >> 80) / 1000


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

        The notifications of a parcel come together: once it is there, nothing is added to it.

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
        wanted = {"_id": parcel_of(notification_id), "notifications.id": notification_id[-_SUFFIX:]}
        with storage_errors():
            return await self._durable.find_one(wanted, {"_id": 1}) is not None

    async def backlogs(self, tenant: str) -> dict[str, Backlog]:
        """What all processes owe to the subscriptions of a tenant, by their ids. Looks at all of the outbox."""
        found = {
            "_id": "$notifications.subscription",
            "notifications": {"$sum": 1},
            "oldest": {"$min": "$notifications.createdAt"},
        }
        stages = [{"$match": {"tenant": tenant}}, {"$unset": "notifications.body"}, {"$unwind": "$notifications"}]
        with storage_errors():
            opening: Any = self._durable.aggregate([*stages, {"$group": found}])
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
        await self._take_out([one.id for one in owed], self._durable)

    async def remove(self, ids: Iterable[str]) -> None:
        """Forget single notifications that were delivered or given up."""
        await self._take_out(ids, self._relaxed)

    async def remove_parcels(self, keys: Sequence[str]) -> None:
        """Forget parcels of which everything was delivered or given up."""
        for start in range(0, len(keys), _REMOVE_AT_ONCE):
            with storage_errors():
                await self._relaxed.delete_many({"_id": {"$in": keys[start : start + _REMOVE_AT_ONCE]}})

    async def _take_out(self, ids: Iterable[str], collection: Any) -> None:
        by_parcel: dict[str, list[str]] = {}
        for one in ids:
            by_parcel.setdefault(parcel_of(one), []).append(one[-_SUFFIX:])
        keys = list(by_parcel)
        for start in range(0, len(keys), _REMOVE_AT_ONCE):
            some = keys[start : start + _REMOVE_AT_ONCE]
            pulls = [
                UpdateOne({"_id": key}, {"$pull": {"notifications": {"id": {"$in": by_parcel[key]}}}}) for key in some
            ]
            with storage_errors():
                await collection.bulk_write(pulls, ordered=False)
                await collection.delete_many({"_id": {"$in": some}, "notifications": []})

    async def owners(self) -> set[str]:
        """The processes that have something to deliver."""
        with storage_errors():
            return set(await self._durable.distinct("owner"))

    async def claim(self, dead: str, heir: str, claim: str) -> int:
        """Hand everything that `dead` had to deliver to `heir`, marked with the name of this takeover.

        How many parcels it was. Safe to repeat with the same names.
        """
        with storage_errors():
            await self._durable.delete_many({"owner": dead, "notifications": []})
            result = await self._durable.update_many({"owner": dead}, {"$set": {"owner": heir, "claim": claim}})
        return int(result.modified_count)

    async def claimed(self, claim: str, after: Position | None, limit: int) -> list[Owed]:
        """The next notifications of a takeover in their order, past the position `after`: whole parcels.

        At least `limit` of them, if there are so many and they are not large.
        """
        condition: dict[str, Any] = {"claim": claim, "notifications": {"$ne": []}}
        if after is not None:
            process, commit, sequence = after
            condition["$or"] = [
                {"process": {"$gt": process}},
                {"process": process, "commit": {"$gt": commit}},
                {"process": process, "commit": commit, "sequence": {"$gt": sequence}},
            ]
        order = [(name, ASCENDING) for name in ("claim", "process", "commit", "sequence")]
        found: list[Owed] = []
        size = 0
        with storage_errors():
            async for document in self._durable.find(condition, limit=limit).sort(order):
                owed = _owed(document)
                found += owed
                size += sum(len(one.body) for one in owed)
                if len(found) >= limit or size >= _READ_AT_ONCE:
                    break
        return found

    async def read(self, ids: Sequence[str]) -> list[Owed]:
        """Those of the notifications that are still owed, in the order of `ids`."""
        with storage_errors():
            cursor = self._durable.find({"_id": {"$in": list({parcel_of(one) for one in ids})}})
            found = {owed.id: owed async for document in cursor for owed in _owed(document)}
        return [found[one] for one in ids if one in found]


def position(owed: Owed) -> Position:
    """Where a notification stands in the order of its takeover."""
    return owed.process, owed.commit, owed.sequence


def fits(body: bytes) -> bool:
    """Whether one document can keep `body`."""
    return len(body) < _PACK_FROM or len(zlib.compress(body, 1)) <= LARGEST_BODY


def _new_base() -> str:
    """The beginning of a version 7 UUID's URN: it grows with time, so that neighbours in time are so in the index."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    value = milliseconds << 80 | 0x7 << 76 | (random >> 68) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return f"{_URN}{uuid.UUID(int=value)}"[:-_SUFFIX]


def _commands(owed: Sequence[Owed]) -> Iterator[list[dict[str, Any]]]:
    documents: list[dict[str, Any]] = []
    size = 0
    for key, parcel in groupby(owed, lambda one: parcel_of(one.id)):
        document = _document(key, list(parcel))
        more = sum(len(one["body"]) + 256 for one in document["notifications"]) + 256
        if documents and size + more > _COMMAND_BYTES:
            yield documents
            documents, size = [], 0
        documents.append(document)
        size += more
    if documents:
        yield documents


def _document(key: str, parcel: Sequence[Owed]) -> dict[str, Any]:
    first = parcel[0]
    return {
        "_id": key,
        "tenant": first.tenant,
        "process": first.process,
        "commit": first.commit,
        "sequence": first.sequence,
        "owner": first.process,
        "notifications": [_entry(one) for one in parcel],
    }


def _entry(owed: Owed) -> dict[str, Any]:
    entry = {
        "id": owed.id[-_SUFFIX:],
        "subscription": owed.subscription_id,
        "entity": owed.entity_id,
        "sequence": owed.sequence,
        "body": owed.body,
        "createdAt": owed.created_at,
    }
    if owed.draft:
        entry["draft"] = True
    if len(owed.body) >= _PACK_FROM:
        entry["body"] = zlib.compress(owed.body, 1)
        entry["packed"] = True
    return entry


def _owed(document: dict[str, Any]) -> list[Owed]:
    return [
        Owed(
            id=document["_id"] + entry["id"],
            tenant=document["tenant"],
            subscription_id=entry["subscription"],
            entity_id=entry["entity"],
            process=document["process"],
            commit=document["commit"],
            sequence=entry["sequence"],
            body=zlib.decompress(entry["body"]) if entry.get("packed") else bytes(entry["body"]),
            created_at=entry["createdAt"],
            draft=entry.get("draft", False),
        )
        for entry in document["notifications"]
    ]
