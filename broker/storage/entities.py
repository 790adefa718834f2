"""The `entities` collection: current state, one document per entity, one collection per tenant.

A document is `{"_id": the entity's URI, "state": [the rest]}`. The rest is the stored form of `ngsild/model.py` plus
two members that only indexes read: `location`, the default geo-property as plain GeoJSON, and `expires`, the expiry of
the entity as a date. They are derived on the way in and dropped on the way out. `state` is an array of one, so that an
update can require a version of it in an array filter (docs/adr/0004).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bson.codec_options import CodecOptions
from pymongo.errors import DocumentTooLarge, OperationFailure

from broker.ngsild.errors import NgsiLdError, Unavailable
from broker.ngsild.geometry import index_copy
from broker.ngsild.model import LOCATION, Entity, find
from broker.ngsild.timestamps import to_datetime
from broker.storage.client import DURABLE, Election, storage_errors, translate
from broker.storage.tenants import Tenants

COLLECTION = "entities"
WRITERS_KEPT = 16
"""How many processes an entity remembers as its writers, those with the latest commits."""

_INDEX_ONLY = ("location", "expires")
_DUPLICATE_KEY = 11000
_PLAIN: CodecOptions[dict[str, Any]] = CodecOptions()


@dataclass(slots=True)
class Writes:
    """The statements of one group for one tenant, each list in the order of its entities."""

    inserts: list[Entity] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    deletes: list[dict[str, Any]] = field(default_factory=list)
    inserted: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.inserts or self.updates or self.deletes)


@dataclass(slots=True)
class WriteReport:
    """What became of the statements.

    `uncertain` names entities whose statement may not have landed; `refused` holds those whose statement cannot be
    stored, with the error; `answer_lost` tells that the connection broke before MongoDB confirmed anything. `elections`
    are those of the primaries that answered.
    """

    uncertain: list[str] = field(default_factory=list)
    refused: dict[str, NgsiLdError] = field(default_factory=dict)
    answer_lost: bool = False
    elections: set[Election | None] = field(default_factory=set)


class EntityStore:
    """Reading and writing entities of all tenants."""

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def load(self, tenant: str, ids: Sequence[str]) -> dict[str, Entity]:
        """Those of the entities that exist, by id, as the primary has them."""
        database = await self._tenants.database(tenant)
        condition: Any = ids[0] if len(ids) == 1 else {"$in": list(ids)}
        with storage_errors():
            cursor = database[COLLECTION].find({"_id": condition})
            return {document["_id"]: as_entity(document) for document in await cursor.to_list(None)}

    async def get(self, tenant: str, entity_id: str) -> Entity | None:
        """One entity, or None."""
        return (await self.load(tenant, [entity_id])).get(entity_id)

    async def page(self, tenant: str, condition: dict[str, Any], skip: int, limit: int) -> list[Entity]:
        """At most `limit` entities that fulfil a filter, from the `skip`-th on, in the order of their ids."""
        database = await self._tenants.database(tenant)
        with storage_errors():
            cursor = database[COLLECTION].find(condition, skip=skip, limit=limit).sort("_id", 1)
            return [as_entity(document) for document in await cursor.to_list(None)]

    async def count(self, tenant: str, condition: dict[str, Any]) -> int:
        """How many entities fulfil a filter."""
        database = await self._tenants.database(tenant)
        with storage_errors():
            found: int = await database[COLLECTION].count_documents(condition)
            return found

    async def sift(
        self,
        tenant: str,
        condition: dict[str, Any],
        decide: Callable[[Entity], bool],
        skip: int,
        limit: int,
        *,
        count: bool,
    ) -> tuple[list[Entity], int | None]:
        """As `page` and `count`, for filters that select candidates only: `decide` has the last word on each.

        All candidates are read if they are to be counted, else those up to the end of the page.
        """
        database = await self._tenants.database(tenant)
        found: list[Entity] = []
        total = 0
        with storage_errors():
            async for document in database[COLLECTION].find(condition).sort("_id", 1):
                entity = as_entity(document)
                if decide(entity):
                    total += 1
                    if skip < total <= skip + limit:
                        found.append(entity)
                    elif total > skip + limit and not count:
                        break
        return found, total if count else None

    async def landed(self, tenant: str, entity_id: str, process: str, commit: int) -> bool:
        """Whether the change that `process` made with its commit number `commit` was stored.

        What cannot be known counts as stored: an entity that is gone was deleted by that change or after it; one with
        as many writers as it remembers may have forgotten this one.
        """
        database = await self._tenants.database(tenant)
        with storage_errors():
            document = await database[COLLECTION].find_one({"_id": entity_id}, {"state.writers": 1})
        if document is None:
            return True
        writers: dict[str, int] = document["state"][0]["writers"]
        return writers[process] >= commit if process in writers else len(writers) >= WRITERS_KEPT

    async def write(self, tenant: str, writes: Writes) -> WriteReport:
        """Send the statements, journaled on a majority, and report what did not land.

        Unavailable if it cannot be known what landed: the caller reads the entities again. No other error is raised:
        statements that MongoDB or the driver refuses are in the report.
        """
        database = await self._tenants.database(tenant)
        report = WriteReport()
        commands = []
        if writes.updates:
            commands.append(self._command(database, "update", "updates", writes.updates, writes.updated, report))
        if writes.inserts:
            documents = [as_document(entity) for entity in writes.inserts]
            commands.append(self._command(database, "insert", "documents", documents, writes.inserted, report))
        if writes.deletes:
            commands.append(self._command(database, "delete", "deletes", writes.deletes, writes.deleted, report))
        if len(commands) == 1:
            await commands[0]
        else:
            for outcome in await asyncio.gather(*commands, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
        return report

    async def _command(
        self, database: Any, name: str, member: str, statements: list[Any], ids: list[str], report: WriteReport
    ) -> None:
        command = {name: COLLECTION, member: statements, "ordered": False, "writeConcern": DURABLE}
        try:
            with storage_errors():
                answer = await database.command(command, codec_options=_PLAIN)
        except Unavailable:
            raise
        except NgsiLdError as error:
            if len(ids) == 1 or not isinstance(error.__cause__, DocumentTooLarge):
                report.refused.update(dict.fromkeys(ids, error))
                return
            # The driver sends no command larger than a document may be, whatever its statements: halves may do.
            middle = len(ids) // 2
            for part in (slice(middle), slice(middle, None)):
                await self._command(database, name, member, statements[part], ids[part], report)
            return
        _check_confirmed(answer)
        report.elections.add(answer.get("electionId"))
        refused = {}
        for found in answer.get("writeErrors", ()):
            reason = translate(_server_error(found))
            if found["code"] != _DUPLICATE_KEY and not isinstance(reason, Unavailable):
                refused[ids[found["index"]]] = reason
        report.refused.update(refused)
        # A statement of an update finds its entity by id alone; if the version differs it changes nothing.
        landed = answer["nModified"] if name == "update" else answer["n"]
        if landed + len(refused) != len(ids):
            report.uncertain.extend(one for one in ids if one not in refused)

    async def barrier(self, tenant: str) -> None:
        """Return once everything this broker has seen on the primary is journaled on a majority."""
        database = await self._tenants.database(tenant)
        with storage_errors():
            answer = await database.command(
                {
                    "update": "barrier",
                    "updates": [{"q": {"_id": 0}, "u": {"$inc": {"passed": 1}}, "upsert": True}],
                    "writeConcern": DURABLE,
                }
            )
        _check_confirmed(answer)


def as_document(entity: Entity) -> dict[str, Any]:
    """The entity with the members that indexes read."""
    state = {name: value for name, value in entity.items() if name != "_id"}
    location = location_copy(entity)
    if location is not None:
        state["location"] = location
    if "expiresAt" in entity:
        state["expires"] = to_datetime(entity["expiresAt"])
    return {"_id": entity["_id"], "state": [state]}


def as_entity(document: dict[str, Any]) -> Entity:
    """The entity of a document: without the members that only indexes read."""
    state = document["state"][0]
    for name in _INDEX_ONLY:
        state.pop(name, None)
    return {"_id": document["_id"], **state}


def location_copy(entity: Entity) -> dict[str, Any] | None:
    """The default instance of the default geo-property for the 2dsphere index (clause 4.7), or None."""
    instances = entity["attributes"].get(LOCATION)
    if instances is None:
        return None
    instance = find(instances, None)
    return index_copy(instance["value"]) if instance is not None and instance["type"] == "GeoProperty" else None


def _check_confirmed(answer: dict[str, Any]) -> None:
    if "writeConcernError" in answer:
        raise Unavailable("The storage could not confirm the write on a majority; try again.")


def _server_error(error: dict[str, Any]) -> OperationFailure:
    return OperationFailure(error.get("errmsg", ""), error.get("code"))
