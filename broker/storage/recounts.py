"""Counting the entities of a type anew while they change, and correcting the census by the result (docs/adr/0008).

One snapshot of the database holds both the entities and the numbers of the census: that of a transaction, which needs
no history that the database would have to keep for everybody. If no flight of a living process stands beside the
numbers, nothing that they contain is still to land: the difference between what is counted and what is stated is the
error, and it stays the same whatever is written meanwhile. A fence keeps new flights away for the moment that it takes
to find such a snapshot.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any

from pymongo import WriteConcern

from broker.storage.census import COLLECTION, ENTITIES, WRITERS
from broker.storage.census_counts import Counts, add_entities, correction, counts_of
from broker.storage.client import DURABLE, Mongo, storage_errors
from broker.storage.tenants import Tenants
from broker.storage.transactions import opened, snapshot

_QUIET = 0.7
"""Seconds for which a fence may stand: shorter than those after which it counts as left behind (`commit/census.py`)."""
_PAUSE = 0.02
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_ANY: dict[str, Any] = {"$nin": [None, {}]}


class Outcome(Enum):
    """What became of an attempt to recount."""

    DONE = auto()
    """The numbers are right, and no doubt is left."""
    EARLY = auto()
    """The numbers are right unless a write of those in doubt is still under way somewhere: recount again later."""
    BUSY = auto()
    """Another process recounts, or changes did not pause: try again."""


@dataclass(frozen=True, slots=True)
class Recounting:
    """Who recounts, and what is known of the others.

    `dead` are processes that will not end their flights any more. A doubt is settled when it is `grace` seconds old: no
    write is under way for so long.
    """

    process: str
    alive: AbstractSet[str]
    dead: AbstractSet[str]
    grace: float


class Recounts:
    """What recounting needs of the census. Methods raise Unavailable when storage is lost."""

    def __init__(self, mongo: Mongo, tenants: Tenants) -> None:
        self._client = mongo.client
        self._writers = mongo.control[WRITERS].with_options(write_concern=WriteConcern(**DURABLE))
        self._every = mongo.control["tenants"]
        self._tenants = tenants

    async def writers(self) -> dict[str, set[str]]:
        """The processes that may have left something to recount, by tenant."""
        with storage_errors():
            found = await self._writers.find({"writers.0": {"$exists": True}}, {"writers": 1}).to_list(None)
        return {document["_id"]: set(document["writers"]) for document in found}

    async def forget(self, tenant: str, processes: Iterable[str]) -> None:
        """Remember no more that these processes, which are dead, wrote to the tenant."""
        with storage_errors():
            await self._writers.update_one({"_id": tenant}, {"$pull": {"writers": {"$in": list(processes)}}})

    async def doubtful(self, tenant: str, dead: AbstractSet[str], process: str) -> list[str]:
        """The types that `process` has to recount: with flights of the dead, or doubts of theirs or its own."""
        census = (await self._tenants.database(tenant))[COLLECTION]
        condition = {"$or": [{"flights": _ANY}, {"doubts": _ANY}]}
        with storage_errors():
            found = await census.find(condition, {"flights": 1, "doubts": 1}).to_list(None)
        return [
            document["_id"]
            for document in found
            if owners(document.get("flights")) & dead or owners(document.get("doubts")) & {*dead, process}
        ]

    async def uncounted(self) -> list[str]:
        """The tenants whose census does not cover yet what was there before it."""
        with storage_errors():
            counted = await self._writers.find({"counted": True}, {"_id": 1}).to_list(None)
            others = {"_id": {"$nin": [document["_id"] for document in counted]}}
            tenants = await self._every.find(others, {"_id": 1}).to_list(None)
        return [document["_id"] for document in tenants]

    async def begin(self, tenant: str, who: Recounting) -> bool:
        """Put all types of a tenant in doubt, as those of `who`; False if another living process has done so."""
        database = await self._tenants.database(tenant)
        others = sorted(who.alive - {who.process})
        with storage_errors():
            await self._writers.update_one({"_id": tenant}, {"$setOnInsert": {"counted": False}}, upsert=True)
            claim = {"$set": {"counter": who.process}, "$addToSet": {"writers": who.process}}
            claimed = await self._writers.update_one(
                {"_id": tenant, "counted": {"$ne": True}, "counter": {"$nin": others}}, claim
            )
            if not claimed.matched_count:
                return False
            by_type = [{"$unwind": "$state"}, {"$unwind": "$state.types"}, {"$group": {"_id": "$state.types"}}]
            names = [one["_id"] async for one in await opened(database[ENTITIES].aggregate(by_type))]
            for name in names:
                await database[COLLECTION].update_one(
                    {"_id": name}, {"$set": {f"doubts.{who.process}-0": _LONG_AGO}}, upsert=True
                )
        return True

    async def covered(self, tenant: str) -> None:
        """Say that the census covers all entities of the tenant."""
        with storage_errors():
            await self._writers.update_one({"_id": tenant}, {"$set": {"counted": True}, "$unset": {"counter": ""}})

    async def recount(self, tenant: str, name: str, token: str, who: Recounting) -> Outcome:
        """Count the entities of a type, and correct the census. `token`: <process>-<anything that never repeats>."""
        database = await self._tenants.database(tenant)
        census = database[COLLECTION].with_options(write_concern=WriteConcern(**DURABLE))
        with storage_errors():
            if not await self._claim(census, name, token, who):
                return Outcome.BUSY
            async with self._quiet(census, name, token, who.dead) as (session, stated):
                await census.update_one({"_id": name, "fence": token}, {"$unset": {"fence": ""}})
                if stated is None:
                    return Outcome.BUSY
                found = await _count(database[ENTITIES], name, session)
            return await _correct(census, stated, found, who)

    async def _claim(self, census: Any, name: str, token: str, who: Recounting) -> bool:
        document = await census.find_one({"_id": name}, {"recount": 1})
        if document is None:
            return False
        held = document.get("recount", {}).get("token")
        if held is not None and owner(held) in who.alive - {who.process}:
            return False
        claimed = await census.update_one(
            {"_id": name, "recount.token": held},
            {"$set": {"recount.token": token, "fence": token}, "$currentDate": {"recount.at": True}},
        )
        return bool(claimed.matched_count)

    @asynccontextmanager
    async def _quiet(
        self, census: Any, name: str, token: str, dead: AbstractSet[str]
    ) -> AsyncIterator[tuple[Any, dict[str, Any] | None]]:
        """A session on a snapshot in which no change of the type is under way, and the census of the type in it.

        None for the latter if changes go on in spite of the fence.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _QUIET
        while True:
            async with snapshot(self._client) as session:
                stated = await census.find_one({"_id": name}, session=session)
                seen = stated is not None and stated.get("recount", {}).get("token") == token
                if seen and owners(stated.get("flights")) <= dead:
                    yield session, stated
                    return
                if loop.time() > deadline:
                    yield session, None
                    return
            await asyncio.sleep(_PAUSE)


async def _count(entities: Any, name: str, session: Any) -> Counts:
    """The numbers of a type as the entities say in the snapshot of the session."""
    kinds = {"$map": {"input": {"$objectToArray": "$state.attributes"}, "as": "one", "in": ["$$one.k", "$$one.v.type"]}}
    pipeline: list[dict[str, Any]] = [
        {"$match": {"state.types": name}},
        {"$project": {"state": {"$first": "$state"}}},
        {"$group": {"_id": {"first": {"$first": "$state.types"}, "kinds": kinds}, "entities": {"$sum": 1}}},
    ]
    counts: defaultdict[str, int] = defaultdict(int)
    async for alike in await opened(entities.aggregate(pipeline, session=session, allowDiskUse=True)):
        shape = alike["_id"]
        add_entities(counts, shape["kinds"], alike["entities"], first=shape["first"] == name)
    return counts


async def _correct(census: Any, stated: dict[str, Any], found: Counts, who: Recounting) -> Outcome:
    """Add what is missing, unless somebody else has corrected the type, or one of the dead has ended its flight."""
    recount, flights, doubts = stated["recount"], stated.get("flights", {}), stated.get("doubts", {})
    settled = recount["at"] - timedelta(seconds=who.grace)
    late = {flight: at for flight, at in {**flights, **doubts}.items() if at > settled}
    # Should one of the dead be alive after all, it misses its flight when it wants to end it, and doubts.
    over = ["recount", *(f"flights.{one}" for one in flights), *(f"doubts.{one}" for one in doubts if one not in late)]
    change: dict[str, Any] = {"$unset": dict.fromkeys(over, "")}
    if late:
        change["$set"] = {f"doubts.{flight}": at for flight, at in late.items()}
    missing = correction(found, counts_of(stated))
    if missing:
        change["$inc"] = missing
    unchanged = {"_id": stated["_id"], "recount.token": recount["token"]}
    unchanged |= {f"flights.{flight}": {"$exists": True} for flight in flights}
    corrected = await census.update_one(unchanged, change)
    if not corrected.matched_count:
        return Outcome.BUSY
    return Outcome.EARLY if late else Outcome.DONE


def owner(flight: str) -> str:
    """The process whose flight or recount this is."""
    return flight.rpartition("-")[0]


def owners(flights: dict[str, Any] | None) -> set[str]:
    """The processes whose flights these are."""
    return {owner(flight) for flight in flights or ()}
