"""The `subscriptions` collection of the control database: the subscriptions of all tenants.

A document:

    _id         {tenant, id}
    tenant      the tenant, for lists
    createdAt, modifiedAt
    version     int, grows by one with each change of the definition
    definition  the subscription in its stored form, see below
    delivery    {timesSent, timesFailed, lastNotification, lastSuccess, lastFailure}: only ever counted up; and for
                operators lastError (a text), failuresInRow (since the last success), givenUp (notifications)
    turn        {notification, at}: who had the last turn under `throttling`, by the clock of MongoDB
    period      under `timeInterval`: when the next notification is due, see `periods.py`

A definition has the members of clause 5.2.12 as the client gave them, but for these:

    entities            [{types, id: [URI, …], idPattern}]; types is a disjunction of conjunctions of type IRIs,
                        absent where any type will do
    watchedAttributes, and attributes, pick, omit in notification     attribute IRIs, and "id", "type", "scope"; in pick
                        and omit {name: IRI, members: [ … ]} where they go on into linked entities
    geoQ.geoproperty    attribute IRI
    notificationTrigger always there
    context, contextLink  the @context of the creation as JSON text, and the one URL for it
    qContext            the @context of the names in q, as JSON text

What is delivered is counted in the document itself but apart from the definition, so that counting never overwrites an
edit, and an edit never resets a counter.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pymongo import ASCENDING, UpdateOne, WriteConcern
from pymongo.errors import DuplicateKeyError

from broker.ngsild.errors import AlreadyExists
from broker.storage.client import DURABLE, Mongo, storage_errors
from broker.storage.edits import Edits, Keys
from broker.storage.periods import milliseconds, planned, replanned

Document = dict[str, Any]

_PLAIN_ACKNOWLEDGEMENT = WriteConcern(w=1)
_NAME = "subscriptions"
_READ_AT_ONCE = 1000
_DEFINED = {"delivery": 0, "turn": 0, "period": 0}


@dataclass(slots=True)
class SubscriptionEdit:
    """One subscription was created, changed, or (document is None) deleted, by any broker process."""

    tenant: str
    subscription_id: str
    document: Document | None


@dataclass(slots=True)
class Deliveries:
    """What was delivered for one subscription since the last count. Timestamps are texts; None: nothing of the kind.

    `in_row` counts the failures since the last success, `given_up` notifications that are not tried again.
    """

    sent: int = 0
    failed: int = 0
    last_notification: str | None = None
    last_success: str | None = None
    last_failure: str | None = None
    last_error: str | None = None
    in_row: int = 0
    given_up: int = 0


@dataclass(slots=True, frozen=True)
class Turn:
    """Which notification was the last to be allowed under a throttling, and for how many seconds no other one is."""

    holder: str
    wait: float


class SubscriptionStore:
    """Reading, writing and following subscriptions. Every method raises Unavailable when storage is lost.

    Edits return when all processes have had the time to take notice: what is changed after the answer to a client,
    through whichever process, finds its subscription at work.
    """

    def __init__(self, mongo: Mongo, edits: Edits) -> None:
        collection = mongo.control[_NAME]
        self._edits = edits
        self._collection = collection.with_options(write_concern=WriteConcern(**DURABLE))
        self._counters = collection.with_options(write_concern=_PLAIN_ACKNOWLEDGEMENT)

    async def prepare(self) -> None:
        """Create the indexes."""
        with storage_errors():
            await self._collection.create_index(
                [("tenant", ASCENDING), ("createdAt", ASCENDING), ("_id", ASCENDING)], name="tenant"
            )

    async def insert(self, tenant: str, subscription_id: str, definition: Document, now: str) -> Document:
        """Keep a new subscription and return its document; AlreadyExists if the tenant has one with this id."""
        document = {
            "_id": _key(tenant, subscription_id),
            "tenant": tenant,
            "createdAt": now,
            "modifiedAt": now,
            "version": 1,
            "definition": definition,
        }
        made = {"$mergeObjects": [{"$literal": document}, {"period": planned(definition)}]}
        async with self._edits.editing(_NAME, [document["_id"]], spread=True):
            await self._insert(document, made)
        return document

    async def _insert(self, document: Document, made: Document) -> None:
        with storage_errors():
            try:
                # There is no document without a version: the upsert inserts, or meets the key of one that there is.
                await self._collection.update_one(
                    {"_id": document["_id"], "version": {"$exists": False}}, [{"$replaceWith": made}], upsert=True
                )
            except DuplicateKeyError as error:
                raise AlreadyExists(
                    f"The subscription {document['_id']['id']} exists already: update it, or delete it first."
                ) from error

    async def get(self, tenant: str, subscription_id: str) -> Document | None:
        """The document of one subscription, or None."""
        with storage_errors():
            found: Document | None = await self._collection.find_one({"_id": _key(tenant, subscription_id)})
        return found

    async def list(self, tenant: str, *, limit: int, offset: int = 0) -> Sequence[Document]:
        """A page of the tenant's subscriptions in the order of their creation; a limit of 0 is an empty page."""
        if limit == 0:
            return []
        with storage_errors():
            cursor = self._collection.find({"tenant": tenant}, skip=offset, limit=limit)
            cursor = cursor.sort([("createdAt", ASCENDING), ("_id", ASCENDING)])
            page: Sequence[Document] = await cursor.to_list(None)
        return page

    async def count(self, tenant: str) -> int:
        """How many subscriptions the tenant has."""
        with storage_errors():
            found: int = await self._collection.count_documents({"tenant": tenant})
        return found

    async def all(self) -> AsyncIterator[Document]:
        """The subscriptions of all tenants."""
        with storage_errors():
            async for document in self._collection.find({}, _DEFINED):
                yield document

    async def replace(
        self, tenant: str, subscription_id: str, definition: Document, *, version: int, now: str
    ) -> Document | None:
        """Replace the definition if the document still has `version`; the new document, or None if it has not."""
        edited = {"definition": {"$literal": definition}, "modifiedAt": now, "version": version + 1}
        name = _key(tenant, subscription_id)
        async with self._edits.editing(_NAME, [name], spread=True):
            with storage_errors():
                changed: Document | None = await self._collection.find_one_and_update(
                    {"_id": name, "version": version},
                    [{"$set": {"period": replanned(definition)}}, {"$set": edited}],
                    return_document=True,
                )
        return changed

    async def delete(self, tenant: str, subscription_id: str) -> bool:
        """Delete a subscription; whether there was one."""
        name = _key(tenant, subscription_id)
        async with self._edits.editing(_NAME, [name], spread=True):
            with storage_errors():
                result = await self._collection.delete_one({"_id": name})
        return bool(result.deleted_count)

    async def delete_all(self, tenant: str) -> None:
        """Delete all subscriptions of a tenant."""
        with storage_errors():
            found = await self._collection.find({"tenant": tenant}, {"_id": 1}).to_list(None)
        names = [one["_id"] for one in found]
        async with self._edits.editing(_NAME, names, spread=True):
            with storage_errors():
                await self._collection.delete_many({"_id": {"$in": names}})

    async def add_deliveries(self, deliveries: Mapping[tuple[str, str], Deliveries]) -> None:
        """Add to the counters of the subscriptions, by (tenant, id), all in one round trip."""
        if not deliveries:
            return
        statements = [UpdateOne({"_id": _key(*name)}, _count(one)) for name, one in deliveries.items()]
        with storage_errors():
            await self._counters.bulk_write(statements, ordered=False)

    async def take_turn(self, tenant: str, subscription_id: str, notification_id: str, seconds: float) -> Turn:
        """Give a notification the turn under a throttling of `seconds`, if it can be had, and say whose it is.

        For all processes; the clock is MongoDB's. The notification that has the turn has it anew when it asks again. A
        subscription that does not exist gives no turn.
        """
        period = milliseconds(seconds)
        mine = {"$eq": ["$turn.notification", {"$literal": notification_id}]}
        rested = {"$lte": [{"$ifNull": ["$turn.at", None]}, {"$subtract": ["$$NOW", period]}]}
        taken = {"notification": {"$literal": notification_id}, "at": "$$NOW"}
        wait = {"$subtract": [{"$add": ["$turn.at", period]}, "$$NOW"]}
        with storage_errors():
            found = await self._collection.find_one_and_update(
                {"_id": _key(tenant, subscription_id)},
                [{"$set": {"turn": {"$cond": [{"$or": [mine, rested]}, taken, "$turn"]}}}],
                projection={"_id": 0, "holder": "$turn.notification", "wait": wait},
                return_document=True,
            )
        return Turn("", seconds) if found is None else Turn(found["holder"], found["wait"] / 1000)

    @asynccontextmanager
    async def edits(self) -> AsyncIterator[AsyncIterator[SubscriptionEdit]]:
        """Follow creations, edits and deletions by any process, from the moment the context is entered.

        Reading everything after entering and then applying the edits leaves no gap. One may come more than once. Raises
        Unavailable when it breaks off: enter again.
        """
        async with self._edits.following(_NAME) as edited:
            yield self._read(edited)

    async def _read(self, edited: AsyncIterator[Keys]) -> AsyncIterator[SubscriptionEdit]:
        async for keys in edited:
            for start in range(0, len(keys), _READ_AT_ONCE):
                some = keys[start : start + _READ_AT_ONCE]
                with storage_errors():
                    found = await self._collection.find({"_id": {"$in": some}}, _DEFINED).to_list(None)
                documents = {(one["_id"]["tenant"], one["_id"]["id"]): one for one in found}
                for key in some:
                    yield SubscriptionEdit(key["tenant"], key["id"], documents.get((key["tenant"], key["id"])))


def _key(tenant: str, subscription_id: str) -> Document:
    return {"tenant": tenant, "id": subscription_id}


def _count(deliveries: Deliveries) -> Document:
    latest = {
        "delivery.lastNotification": deliveries.last_notification,
        "delivery.lastSuccess": deliveries.last_success,
        "delivery.lastFailure": deliveries.last_failure,
    }
    counts = {
        "delivery.timesSent": deliveries.sent,
        "delivery.timesFailed": deliveries.failed,
        "delivery.givenUp": deliveries.given_up,
    }
    state: Document = {} if deliveries.last_error is None else {"delivery.lastError": deliveries.last_error}
    (counts if deliveries.last_success is None else state)["delivery.failuresInRow"] = deliveries.in_row
    update: Document = {"$inc": counts}
    if state:
        update["$set"] = state
    known = {name: text for name, text in latest.items() if text is not None}
    if known:
        update["$max"] = known
    return update
