"""The `census` collection of a tenant: how many entities of each type there are, and which attributes they have.

One document per entity type, its `_id` the type's IRI, with the numbers of `census_counts.py` and

    flights    {<process>-<number>: when}   changes under way that the numbers contain already, landed or not
    doubts     {<process>-<number>: when}   changes of which it is unknown how many landed: the type is to be recounted
    recount    {token, at}                  the recount under way
    fence      <token>                      no change of the type may begin: a recount waits for those under way to end

How these make the numbers exact: docs/adr/0008. The `counting` collection of the control database has one document per
tenant: `writers`, the processes that may have flights or doubts there, and `counted`, whether the census covers what
was there before there was a census.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from broker.ngsild.errors import PayloadTooLarge, Unavailable
from broker.storage.census_counts import Counts, TypeCount, type_count
from broker.storage.client import APPLIED, DURABLE, Mongo, storage_errors
from broker.storage.tenants import Tenants

log = structlog.get_logger(__name__)

COLLECTION = "census"
ENTITIES = "entities"
WRITERS = "counting"

Open = tuple[str, str]
"""A flight and a type that it concerns."""

_DUPLICATE_KEY = 11000
_NOTHING: dict[str, Any] = {"$in": [None, {}]}
_NUMBERS = {"entities": 1, "attributes": 1}


class CensusStore:
    """Reading the census, and keeping it along with the writes. Methods raise Unavailable when storage is lost."""

    def __init__(self, mongo: Mongo, tenants: Tenants) -> None:
        self._writers = mongo.control[WRITERS]
        self._tenants = tenants
        self._counted: set[str] = set()

    async def register(self, tenant: str, process: str) -> None:
        """Say durably that `process` is going to have flights in the tenant."""
        database = await self._tenants.database(tenant)
        with storage_errors():
            empty = await database[ENTITIES].find_one({}, {"_id": 1}) is None
        await self._run(
            self._writers.database,
            {
                "update": WRITERS,
                "updates": [
                    {
                        "q": {"_id": tenant},
                        "u": {"$addToSet": {"writers": process}, "$setOnInsert": {"counted": empty}},
                        "upsert": True,
                    }
                ],
                "writeConcern": DURABLE,
            },
        )

    async def place(self, tenant: str, flight: str, changes: Mapping[str, Counts]) -> list[str]:
        """Add these changes, by type, to the numbers, as a flight; the types for which that has to wait for a recount.

        Not durable by itself: whatever is durable on the same primary afterwards makes it so.
        """
        statements = [
            {
                "q": {"_id": name, "fence": {"$exists": False}},
                "u": {**_increase(counts), "$currentDate": {f"flights.{flight}": True}},
                "upsert": True,
            }
            for name, counts in changes.items()
        ]
        return await self._place(tenant, statements)

    async def _place(self, tenant: str, statements: list[dict[str, Any]]) -> list[str]:
        try:
            answer = await self._update(tenant, statements, APPLIED)
        except PayloadTooLarge as error:
            if len(statements) == 1:
                _cannot_keep(tenant, statements[0], error.detail)
                return []
            middle = len(statements) // 2
            return [*await self._place(tenant, statements[:middle]), *await self._place(tenant, statements[middle:])]
        fenced = []
        for found in answer.get("writeErrors", ()):
            statement = statements[found["index"]]
            if found["code"] == _DUPLICATE_KEY:
                fenced.append(statement["q"]["_id"])
            else:
                _cannot_keep(tenant, statement, found.get("errmsg"))
        return fenced

    async def lift(self, tenant: str, names: Sequence[str]) -> None:
        """Take away the fences of these types."""
        await self._update(tenant, [{"q": {"_id": name}, "u": {"$unset": {"fence": ""}}} for name in names], APPLIED)

    async def amend(self, tenant: str, flight: str, changes: Mapping[str, Counts]) -> bool:
        """Add changes to the numbers and end the flight; False if it was not there any more for all of the types."""
        statements = [
            {"q": _with_flights(name, [flight]), "u": {**_increase(counts), "$unset": {f"flights.{flight}": ""}}}
            for name, counts in changes.items()
        ]
        return bool((await self._update(tenant, statements, DURABLE))["n"] == len(statements))

    async def conclude(self, tenant: str, flights: Sequence[Open]) -> list[Open]:
        """End flights whose numbers are right; those that may not have been there any more."""
        by_type = _by_type(flights)
        statements = [
            {"q": _with_flights(name, ended), "u": {"$unset": {f"flights.{flight}": "" for flight in ended}}}
            for name, ended in by_type.items()
        ]
        answer = await self._update(tenant, statements, DURABLE)
        return [] if answer["n"] == len(statements) else list(flights)

    async def doubt(self, tenant: str, flights: Sequence[Open]) -> None:
        """Say durably that it is unknown what landed of these flights."""
        statements = [
            {
                "q": {"_id": name},
                "u": {
                    "$unset": {f"flights.{flight}": "" for flight in ended},
                    "$currentDate": {f"doubts.{flight}": True for flight in ended},
                },
                "upsert": True,
            }
            for name, ended in _by_type(flights).items()
        ]
        await self._update(tenant, statements, DURABLE)

    async def prune(self, tenant: str, names: Sequence[str]) -> None:
        """Remove numbers that are zero, and types that are gone."""
        left = {"$ne": [{"$max": {"$map": {"input": {"$objectToArray": "$$one.v"}, "in": {"$abs": "$$this.v"}}}}, 0]}
        attributes = {"$filter": {"input": {"$objectToArray": "$attributes"}, "as": "one", "cond": left}}
        pipeline = [{"$set": {"attributes": {"$arrayToObject": attributes}}}]
        there = {"attributes": {"$exists": True}}
        await self._update(tenant, [{"q": {"_id": name, **there}, "u": pipeline} for name in names], APPLIED)
        gone = {"_id": {"$in": list(names)}, "entities": 0, "recount": {"$exists": False}, "fence": {"$exists": False}}
        gone |= dict.fromkeys(("attributes", "flights", "doubts"), _NOTHING)
        deletion = {"delete": COLLECTION, "deletes": [{"q": gone, "limit": 0}], "writeConcern": APPLIED}
        await self._run(await self._tenants.database(tenant), deletion)

    async def leave(self, process: str) -> None:
        """Say that `process` has no flights and no doubts anywhere any more."""
        with storage_errors():
            await self._writers.update_many({"writers": process}, {"$pull": {"writers": process}})

    async def types(self, tenant: str) -> list[str]:
        """The types of which there are entities."""
        collection = await self._census(tenant)
        with storage_errors():
            found = await collection.find({"entities": {"$gt": 0}}, {"_id": 1}).to_list(None)
        return [document["_id"] for document in found]

    async def counts(self, tenant: str) -> list[TypeCount]:
        """What is known of all types of which there are entities."""
        return await self._find(tenant, {}, _NUMBERS)

    async def count(self, tenant: str, name: str) -> TypeCount | None:
        """What is known of one type; None if there are no entities of it."""
        found = await self._find(tenant, {"_id": name}, _NUMBERS)
        return found[0] if found else None

    async def counts_with(self, tenant: str, key: str) -> list[TypeCount]:
        """What is known of an attribute in all types whose entities have it."""
        member = f"attributes.{key}"
        found = await self._find(tenant, {member: {"$exists": True}}, {"entities": 1, member: 1})
        return [one for one in found if one.attributes]

    async def _find(self, tenant: str, condition: dict[str, Any], members: dict[str, int]) -> list[TypeCount]:
        collection = await self._census(tenant)
        with storage_errors():
            documents = await collection.find({"entities": {"$gt": 0}, **condition}, members).to_list(None)
        return [type_count(document) for document in documents]

    async def _census(self, tenant: str) -> Any:
        """The collection. Unavailable if it does not cover yet what was there before it."""
        database = await self._tenants.database(tenant)
        if tenant not in self._counted:
            with storage_errors():
                known = await self._writers.find_one({"_id": tenant}, {"counted": 1}) or {}
                if known.get("counted"):
                    self._counted.add(tenant)
                elif await database[ENTITIES].find_one({}, {"_id": 1}) is not None:
                    raise Unavailable("The entities are being counted for the first time; try again.", retry_after=5)
        return database[COLLECTION]

    async def _update(self, tenant: str, statements: list[dict[str, Any]], concern: dict[str, Any]) -> dict[str, Any]:
        command = {"update": COLLECTION, "updates": statements, "ordered": False, "writeConcern": concern}
        return await self._run(await self._tenants.database(tenant), command)

    async def _run(self, database: Any, command: dict[str, Any]) -> dict[str, Any]:
        with storage_errors():
            answer: dict[str, Any] = await database.command(command)
        if "writeConcernError" in answer:
            raise Unavailable("The storage could not confirm the write on a majority; try again.")
        return answer


def _cannot_keep(tenant: str, statement: dict[str, Any], reason: Any) -> None:
    """Entities count more than their census: they are written all the same, and the missing flight will be noticed."""
    log.error("the census cannot keep a type", tenant=tenant, type=statement["q"]["_id"], reason=reason)


def _increase(counts: Counts) -> dict[str, Any]:
    return {"$inc": counts} if counts else {}


def _with_flights(name: str, flights: Sequence[str]) -> dict[str, Any]:
    return {"_id": name, **{f"flights.{flight}": {"$exists": True} for flight in flights}}


def _by_type(flights: Sequence[Open]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for flight, name in flights:
        found.setdefault(name, []).append(flight)
    return found
