"""When periodic subscriptions are due: kept in their documents in the `subscriptions` collection, for all processes.

A subscription that is active and has a `timeInterval` has a member

    period      {at, look, claim, told}
      at        the instant for which the next notification is owed
      look      when some process is to see to it: `at`; a little later while one is at work on it
      claim     names the claim under way, if there is one
      told      the URN of the last notification that was made, if there was one

Whoever wants to see to what is due moves `look` on by a lease, in one step: nobody else finds it before the lease has
run out, and somebody does if the claimer dies. Only when the notification is in the outbox does `at` move on. The
clock is MongoDB's ($$NOW), so that the clocks of the hosts need not agree. Times here are milliseconds since 1970.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import ASCENDING, WriteConcern

from broker.storage.client import DURABLE, Mongo, storage_errors

Document = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 100 * 366 * 86_400.0
"""Seconds of the longest interval: beyond it lie dates that nobody can write."""

DUE = {"period.look": {"$exists": True}, "$expr": {"$lte": ["$period.look", "$$NOW"]}}
"""The filter for what is due, an index range."""

_PLANNED_BY = ("timeInterval", "isActive", "expiresAt")


@dataclass(slots=True)
class Period:
    """A periodic notification that is due, claimed for the caller.

    `document` is that of the subscription. `at` is the instant for which the notification is owed, `now` that of the
    claim by the same clock. `told` is the URN of the notification before.
    """

    document: Document
    at: int
    now: int
    told: str | None


class Periods:
    """What is due, given to one process at a time. Methods raise Unavailable when storage is lost."""

    def __init__(self, mongo: Mongo) -> None:
        collection = mongo.control["subscriptions"]
        self._durable = collection.with_options(write_concern=WriteConcern(**DURABLE))
        # A claim that a failover undoes is made again: two processes then make the same notification, of one id.
        self._relaxed = collection.with_options(write_concern=WriteConcern(w=1))

    async def prepare(self) -> None:
        """Create the index."""
        with storage_errors():
            await self._durable.create_index([("period.look", ASCENDING)], name="period", sparse=True)

    async def claim(self, most: int, lease: float) -> list[Period]:
        """At most `most` of what is due, the longest due first; nobody else gets these for `lease` seconds."""
        with storage_errors():
            cursor = self._relaxed.find(DUE, {"_id": 1}, limit=most).sort("period.look", ASCENDING)
            ids = [document["_id"] for document in await cursor.to_list(None)]
            if not ids:
                return []
            claim, milliseconds = uuid.uuid4().hex, round(lease * 1000)
            until = {"period.look": {"$add": ["$$NOW", milliseconds]}, "period.claim": claim}
            await self._relaxed.update_many({"_id": {"$in": ids}, **DUE}, [{"$set": until}])
            cursor = self._relaxed.find({"_id": {"$in": ids}, "period.claim": claim}, {"delivery": 0, "turn": 0})
            return [_period(document, milliseconds) for document in await cursor.to_list(None)]

    async def renew(self, period: Period, lease: float) -> bool:
        """Hold a claim for another `lease` seconds; False if somebody else has it now, or nobody is to have it."""
        until = {"period.look": {"$add": ["$$NOW", round(lease * 1000)]}}
        claim = period.document["period"]["claim"]
        with storage_errors():
            result = await self._relaxed.update_one(
                {"_id": period.document["_id"], "period.claim": claim}, [{"$set": until}]
            )
        return bool(result.matched_count)

    async def move_on(self, period: Period, to: int | None, told: str | None) -> None:
        """The notification is in the outbox as `told`, or none was to be made: the next one is owed at `to`.

        With `to` None there is none, until the subscription is edited. If the subscription was edited meanwhile, or
        another process was faster, nothing changes.
        """
        update: Document = {"$unset": {"period": ""}}
        if to is not None:
            at = _EPOCH + timedelta(milliseconds=to)
            known = {"period.told": told} if told is not None else {}
            update = {"$set": {"period.at": at, "period.look": at, **known}, "$unset": {"period.claim": ""}}
        condition = {"_id": period.document["_id"], "period.at": _EPOCH + timedelta(milliseconds=period.at)}
        with storage_errors():
            await self._durable.update_one(condition, update)


def milliseconds(seconds: float) -> int:
    """An interval as MongoDB can add it to a date: at least one millisecond, at most some 100 years."""
    return max(1, round(min(seconds, _LONGEST) * 1000))


def planned(definition: Mapping[str, Any]) -> Any:
    """An aggregation expression for the `period` of a new subscription: the first one ends an interval from now."""
    if "timeInterval" not in definition or definition.get("isActive") is False:
        return "$$REMOVE"
    first = {"$add": ["$$NOW", milliseconds(definition["timeInterval"])]}
    return {"at": first, "look": first}


def replanned(definition: Mapping[str, Any]) -> Any:
    """The same for an edit that leads to `definition`: what does not touch the periods leaves them as they are."""
    same = [
        {"$eq": [{"$ifNull": [f"$definition.{name}", None]}, {"$literal": definition.get(name)}]}
        for name in _PLANNED_BY
    ]
    return {"$cond": [{"$and": same}, "$period", planned(definition)]}


def _period(document: Document, lease: int) -> Period:
    period = document["period"]
    return Period(document, _since_1970(period["at"]), _since_1970(period["look"]) - lease, period.get("told"))


def _since_1970(instant: datetime) -> int:
    return (instant.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
