"""The `processes` collection of the control database: which broker processes are alive.

Each process renews its document every second. One that has not done so for `LEASE` seconds counts as dead, and what it
owed is taken over. All times are those of MongoDB's clock ($$NOW), so that the clocks of the hosts need not agree.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Protocol

from pymongo import ASCENDING, WriteConcern
from pymongo.errors import DuplicateKeyError

from broker.storage.client import DURABLE, Mongo, storage_errors

LEASE = 5.0
"""Seconds after its last sign of life when a process counts as dead."""

_FORGET_AFTER = 7 * 86_400


class KnowsAlive(Protocol):
    """Which processes are alive."""

    async def alive(self) -> set[str]:
        """The processes whose lease has not run out."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who is alive, and who of those that were asked for is dead."""

    alive: set[str]
    dead: set[str]


class Coroner:
    """Judges on behalf of `process` who is dead: whoever shows no sign of life in two looks in a row."""

    def __init__(self, process: str, processes: KnowsAlive) -> None:
        self._process = process
        self._processes = processes
        self._suspects: AbstractSet[str] = frozenset()

    async def judge(self, involved: AbstractSet[str]) -> Verdict | None:
        """Look once at the processes `involved`. Raises Unavailable.

        None if the own signs of life are missing: the storage was away, so nobody can be judged.
        """
        alive = await self._processes.alive()
        if self._process not in alive:
            self.forget()
            return None
        silent = involved - alive
        dead = set(silent & self._suspects)
        self._suspects = silent
        return Verdict(alive, dead)

    def forget(self) -> None:
        """Suspect nobody any more."""
        self._suspects = frozenset()


class Processes:
    """Signs of life of all broker processes on one MongoDB. Methods raise Unavailable when storage is lost."""

    def __init__(self, mongo: Mongo, *, lease: float = LEASE) -> None:
        self._collection = mongo.control["processes"].with_options(write_concern=WriteConcern(**DURABLE))
        self._lease = lease

    async def prepare(self) -> None:
        """Create the index that forgets the long dead."""
        with storage_errors():
            await self._collection.create_index(
                [("lastSeen", ASCENDING)], name="lastSeen", expireAfterSeconds=_FORGET_AFTER
            )

    async def beat(self, process: str, about: dict[str, Any] | None = None) -> None:
        """Say that `process` is alive; `about` (host, process number, …) is kept for people."""
        described = {name: {"$literal": value} for name, value in (about or {}).items()}
        renewal: dict[str, Any] = {"lastSeen": "$$NOW", **described}
        with storage_errors():
            await self._collection.update_one({"_id": process}, [{"$set": renewal}, {"$unset": ["heir"]}], upsert=True)

    async def alive(self) -> set[str]:
        """The processes whose lease has not run out."""
        oldest = {"$subtract": ["$$NOW", int(self._lease * 1000)]}
        with storage_errors():
            cursor = self._collection.find({"$expr": {"$gte": ["$lastSeen", oldest]}}, {"_id": 1})
            return {document["_id"] for document in await cursor.to_list(None)}

    async def inherit(self, dead: str, heir: str, alive: set[str]) -> bool:
        """Whether `heir` may take over what `dead` owed: only one living process may, and it may ask again."""
        others = sorted(alive - {heir})
        with storage_errors():
            try:
                await self._collection.update_one(
                    {"_id": dead, "heir": {"$nin": others}}, {"$set": {"heir": heir}}, upsert=True
                )
            except DuplicateKeyError:
                return False
        return True

    async def leave(self, process: str) -> None:
        """Forget `process`, which ends: what it still owes is free to be taken over at once."""
        with storage_errors():
            await self._collection.delete_one({"_id": process})
