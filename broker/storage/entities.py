"""The `entities` collection: current state, one document per entity (`documents.py`), one collection per tenant."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bson.codec_options import CodecOptions
from pymongo.errors import DocumentTooLarge, OperationFailure

from broker.ngsild.errors import NgsiLdError, Unavailable
from broker.ngsild.expiry import MARK
from broker.ngsild.model import Entity
from broker.ngsild.shapes import Difference
from broker.storage.client import DURABLE, Election, storage_errors, translate
from broker.storage.documents import as_document
from broker.storage.finding import find
from broker.storage.tenants import Tenants

COLLECTION = "entities"
WRITERS_KEPT = 16
"""How many processes an entity remembers as its writers, those with the latest commits."""

_DUPLICATE_KEY = 11000
_MOST_PARTS = 16
"""Commands of one kind that a group is sent with to know of each difference how often it landed."""
_MIXED = object()
_PLAIN: CodecOptions[dict[str, Any]] = CodecOptions()


@dataclass(slots=True)
class Writes:
    """The statements of one group for one tenant, each list in the order of its entities.

    `transient` tells that one of these entities expires, or a part of it. `differences` are those between the shapes
    before and after, of the entities whose shape changes.
    """

    inserts: list[Entity] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    deletes: list[dict[str, Any]] = field(default_factory=list)
    inserted: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    transient: bool = False
    differences: dict[str, Difference] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.inserts or self.updates or self.deletes)


@dataclass(slots=True)
class WriteReport:
    """What became of the statements.

    `uncertain` names entities whose statement may not have landed; `refused` holds those whose statement cannot be
    stored, with the error; `answer_lost` tells that the connection broke before MongoDB confirmed anything. `elections`
    are those of the primaries that answered. `executed` counts the differences that landed, whatever is uncertain of
    single entities; where even their number is unknown, `uncounted` tells it.
    """

    uncertain: list[str] = field(default_factory=list)
    refused: dict[str, NgsiLdError] = field(default_factory=dict)
    answer_lost: bool = False
    elections: set[Election | None] = field(default_factory=set)
    executed: Counter[Difference] = field(default_factory=Counter)
    uncounted: bool = False


class EntityStore:
    """Reading and writing entities of all tenants."""

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def load(self, tenant: str, ids: Sequence[str]) -> dict[str, Entity]:
        """Those of the entities that exist, by id, as the primary has them."""
        database = await self._tenants.database(tenant)
        condition: Any = ids[0] if len(ids) == 1 else {"$in": list(ids)}
        found = await find(database[COLLECTION], {"_id": condition}, limit=len(ids))
        return {one.entity_id: one.entity for one in found}

    async def ids(self, tenant: str, condition: dict[str, Any], after: str | None, limit: int) -> list[str]:
        """The ids of at most `limit` entities that fulfil a filter, in their order, from the one behind `after` on."""
        database = await self._tenants.database(tenant)
        if after is not None:
            condition = {"$and": [condition, {"_id": {"$gt": after}}]}
        with storage_errors():
            cursor = database[COLLECTION].find(condition, {"_id": 1}, limit=limit).sort("_id", 1)
            return [document["_id"] for document in await cursor.to_list(None)]

    async def expired(self, tenant: str, now: str, limit: int) -> list[str]:
        """The ids of at most `limit` entities of which something has expired at the instant `now`."""
        database = await self._tenants.database(tenant)
        expired = {"$or": [{"state.expires": {"$lte": now}}, {f"state.{MARK}": {"$lte": now}}]}
        with storage_errors():
            cursor = database[COLLECTION].find(expired, {"_id": 1}, limit=limit)
            return [document["_id"] for document in await cursor.to_list(None)]

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
        if writes.transient:
            await self._tenants.mark_transient(tenant)
        report = WriteReport()
        sending = _Sending(database, writes.differences, report)
        commands = [
            self._command(sending, name, member, *part)
            for name, member, statements, ids in (
                ("update", "updates", writes.updates, writes.updated),
                ("delete", "deletes", writes.deletes, writes.deleted),
            )
            for part in sending.parts(statements, ids)
        ]
        if writes.inserts:
            documents = [as_document(entity) for entity in writes.inserts]
            commands.append(self._command(sending, "insert", "documents", documents, writes.inserted))
        if len(commands) == 1:
            await commands[0]
        else:
            for outcome in await asyncio.gather(*commands, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
        return report

    async def _command(
        self, sending: "_Sending", name: str, member: str, statements: list[Any], ids: list[str]
    ) -> None:
        report = sending.report
        command = {name: COLLECTION, member: statements, "ordered": False, "writeConcern": DURABLE}
        try:
            with storage_errors():
                answer = await sending.database.command(command, codec_options=_PLAIN)
        except Unavailable:
            raise
        except NgsiLdError as error:
            if len(ids) == 1 or not isinstance(error.__cause__, DocumentTooLarge):
                report.refused.update(dict.fromkeys(ids, error))
                report.uncounted |= isinstance(error.__cause__, OperationFailure)
                return
            # The driver sends no command larger than a document may be, whatever its statements: halves may do.
            middle = len(ids) // 2
            for part in (slice(middle), slice(middle, None)):
                await self._command(sending, name, member, statements[part], ids[part])
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
        if sending.differences:
            failed = {ids[found["index"]] for found in answer.get("writeErrors", ())}
            sending.count([one for one in ids if one not in failed], landed)

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


class _Sending:
    """The statements of one group on their way, as far as it matters how many of them change shapes."""

    __slots__ = ("database", "differences", "report")

    def __init__(self, database: Any, differences: Mapping[str, Difference], report: WriteReport) -> None:
        self.database = database
        self.differences = differences
        self.report = report

    def parts(self, statements: list[Any], ids: list[str]) -> list[tuple[list[Any], list[str]]]:
        """The statements by the difference they make: MongoDB says how many of a command it executed, not which."""
        if not self.differences or not ids:
            return [(statements, ids)] if ids else []
        parts: dict[Any, tuple[list[Any], list[str]]] = {}
        for statement, entity_id in zip(statements, ids, strict=True):
            difference = self.differences.get(entity_id)
            part = parts.get(difference)
            if part is None:
                own = difference is None or len(parts) < _MOST_PARTS
                part = parts.setdefault(difference if own else _MIXED, ([], []))
            part[0].append(statement)
            part[1].append(entity_id)
        return list(parts.values())

    def count(self, ids: list[str], landed: int) -> None:
        """Count the differences of `landed` of these entities."""
        made = Counter([self.differences[one] for one in ids if one in self.differences])
        if landed == len(ids):
            self.report.executed += made
        elif made:
            (difference, times), *others = made.items()
            if others or times != len(ids):
                self.report.uncounted = True
            else:
                self.report.executed[difference] += landed


def _check_confirmed(answer: dict[str, Any]) -> None:
    if "writeConcernError" in answer:
        raise Unavailable("The storage could not confirm the write on a majority; try again.")


def _server_error(error: dict[str, Any]) -> OperationFailure:
    return OperationFailure(error.get("errmsg", ""), error.get("code"))
