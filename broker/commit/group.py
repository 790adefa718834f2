"""One group: from mutations to acknowledged outcomes.

What makes the answers true:

- An outcome is given only after the write is journaled on a majority, together with the notifications it owes. Those
  are placed first, on the same primary: no crash keeps the change without them. If it keeps them without the change,
  nobody was told that the change happened, and `writers` tells whoever finds them that it did not.
- A statement whose version no longer matches has lost a race against another process: its notifications are discarded,
  the entity is read again, and its mutations are applied again, in a commit with a new number.
- If the answer of a write is lost, the entities are read again: `writers` tells which statements landed
  (`evidence.py`). The others are sent again under the same commit number, so that one that lands late is recognised.
- If the storage stays away meanwhile, the callers hear that the outcome is unknown. What the group owes is settled when
  the storage is back (`resolve`); until then its entities take no updates, because a later commit would vouch for one
  that may never have landed.
- An outcome that changes nothing, a refusal above all, is given only if the entity was read in this group: the cache
  may be stale.
- A change of what an entity consists of is counted in the same way: in the census before it is written (`census.py`).
- What validation finds is counted when the outcome that it belongs to is given: a mutation that is applied again is
  judged again, and an error of the storage counts nothing.
- What has expired is absent for the mutations, and leaves the storage with the first commit that meets it, its deletion
  notified. What a mutation leaves behind expired already is never stored.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol, TypeVar

import structlog

from broker.commit import evidence
from broker.commit.cache import EntityCache
from broker.commit.census import Census
from broker.commit.evidence import Attempt
from broker.commit.plan import add_statement
from broker.commit.submissions import Entry, Verdict
from broker.ngsild.changes import Change, changed_attributes
from broker.ngsild.errors import BadRequestData, InternalError, NgsiLdError, PayloadTooLarge, Unavailable
from broker.ngsild.expiry import marked, visible
from broker.ngsild.model import Entity
from broker.ngsild.timestamps import now_text
from broker.notify.owed import Owed, Parcel
from broker.storage.client import Election
from broker.storage.entities import EntityStore, WriteReport, Writes

log = structlog.get_logger(__name__)

_PATIENCE = 10.0
"""Seconds for which a group keeps trying while the storage is lost or others keep winning its races."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.5
_T = TypeVar("_T")


class Checks(Protocol):
    """Validation of an entity as it would be after a change."""

    def check(self, change: Change) -> Verdict | None:
        """What is wrong with the change, still to be counted; None if nothing is."""


class Notifies(Protocol):
    """Matching of changes against subscriptions, and delivery."""

    def match(self, change: Change, parcel: Parcel) -> list[Owed]:
        """The notifications that the change owes, of the parcel of this attempt."""

    def release(self, owed: Sequence[Owed]) -> None:
        """Deliver: the change is stored, and so are these notifications."""


class KeepsOwed(Protocol):
    """Where owed notifications are kept until they are delivered."""

    async def insert(self, owed: Sequence[Owed]) -> Election | None:
        """Place them, twice is the same as once; None if they are durable, else the election of the primary."""

    async def discard(self, owed: Sequence[Owed]) -> None:
        """Remove them: their change never happened."""


class CountsCommits(Protocol):
    """What groups report about themselves."""

    def group(self, mutations: int) -> None:
        """A group of so many mutations was committed."""

    def conflicts(self, entities: int) -> None:
        """So many entities lost their version race."""


@dataclass(slots=True)
class GroupServices:
    """What every group works with. `process` is this process's id, `commits` numbers its commits."""

    store: EntityStore
    cache: EntityCache
    checker: Checks
    notifier: Notifies
    outbox: KeepsOwed
    metrics: CountsCommits
    census: Census
    process: str
    commits: Iterator[int] = field(default_factory=lambda: count(1))


class OutcomeUnknown(Unavailable):
    """The storage was lost while a group was being written and did not come back: nobody knows what it kept."""


class Contended(Unavailable):
    """Other processes keep winning the races for the same entities."""


class Group:
    """The mutations that are committed together."""

    def __init__(self, tenant: str, entries: list[Entry], services: GroupServices) -> None:
        self._tenant = tenant
        self._entries = entries
        self._services = services
        self._deadline = asyncio.get_running_loop().time() + _PATIENCE
        self._stored: dict[str, Entity | None] = {}
        self._cached: set[str] = set()
        self._alone: set[str] = set()
        self._doubtful: int | None = None
        self._under_way: Attempt | None = None
        self._pending: dict[str, list[Entry]] = {}
        for entry in entries:
            self._pending.setdefault(entry.entity_id, []).append(entry)

    async def commit(self) -> None:
        """Commit all mutations and settle their entries. Unavailable if the storage stays lost."""
        pause = 0.0
        while True:
            try:
                await self._load()
                await self._attempt()
            except OutcomeUnknown:
                raise
            except Unavailable:
                if asyncio.get_running_loop().time() > self._deadline:
                    raise
            if not self._pending:
                return
            if asyncio.get_running_loop().time() > self._deadline:
                raise Contended("Others keep changing the same entities; try again.")
            await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 - spreading retries needs no secrecy
            pause = min(pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)

    def fail(self, error: NgsiLdError) -> None:
        """Give `error` to every caller that still waits."""
        for entry in self._entries:
            if not entry.settled:
                self._services.cache.drop(self._tenant, entry.entity_id)
                entry.settle(error)

    @property
    def in_doubt(self) -> frozenset[str]:
        """The entities of a failed group that may have changed, and owe notifications if they have."""
        return frozenset(self._under_way.owed) if self._under_way is not None else frozenset()

    async def resolve(self) -> None:
        """Find out which of the changes in doubt landed, and deliver what those owe. Raises Unavailable: try again."""
        services, attempt = self._services, self._under_way
        if attempt is None:
            return
        landed = await evidence.landed(services.store, self._tenant, list(attempt.owed), attempt, answer_lost=True)
        await services.outbox.discard(_owed_for(attempt.owed.keys() - landed.keys(), attempt))
        await self._secure(_owed_for(landed, attempt))
        services.notifier.release(_owed_for(landed, attempt))
        self._under_way = None

    async def _load(self) -> None:
        missing = []
        tenant, stored, look_up = self._tenant, self._stored, self._services.cache.get
        for entity_id in self._pending:
            if entity_id not in stored:
                entity = look_up(tenant, entity_id)
                if entity is None:
                    missing.append(entity_id)
                else:
                    stored[entity_id] = entity
                    self._cached.add(entity_id)
        if missing:
            found = await self._services.store.load(tenant, missing)
            for entity_id in missing:
                stored[entity_id] = found.get(entity_id)

    async def _attempt(self) -> None:
        """Apply what is pending and store it; what stays pending has lost a race or rested on a stale cache."""
        commit = next(self._services.commits) if self._doubtful is None else self._doubtful
        parcel = Parcel(commit)
        now = now_text()
        writes = Writes()
        results: dict[str, Entity | None] = {}
        owed: dict[str, list[Owed]] = {}
        for entity_id in list(self._pending):
            stored = self._stored[entity_id]
            before = visible(stored, now)
            if before is not stored:
                self._expire(Change(self._tenant, entity_id, stored, before, now), parcel, owed)
            after, touched = self._apply(entity_id, before, now, parcel, owed)
            if after is not stored:
                if before is not stored:
                    touched = None
                results[entity_id] = add_statement(writes, stored, after, self._services.process, commit, touched)
            elif entity_id in owed:
                results[entity_id] = None  # created and deleted again: nothing to store, but something to tell
            elif entity_id in self._cached:
                self._forget(entity_id)
            else:
                self._settle(entity_id)
        if results:
            self._under_way = attempt = Attempt(self._services.process, commit, owed, frozenset(writes.deleted))
            report = await self._write(writes, results, attempt)
            await self._conclude(report, results, attempt)
            self._under_way = None

    def _apply(
        self, entity_id: str, before: Entity | None, now: str, parcel: Parcel, owed: dict[str, list[Owed]]
    ) -> tuple[Entity | None, tuple[str, ...] | None]:
        """The entity after its pending mutations; each entry keeps outcome and verdict, `owed` what has to be notified.

        With it the attributes that changed, as `changed_attributes` tells them, where one mutation changed them all.
        """
        current = before
        known: tuple[str, ...] | None = None
        for entry in self._due(entity_id):
            entry.verdict = None
            try:
                after, entry.outcome = entry.mutation(current, now)
                touched: tuple[str, ...] | None = None
                if after is not None and after is not current:
                    touched = changed_attributes(current, after)
                    lasting = marked(current, after, touched)
                    after = visible(lasting, now)
                    if after is not lasting:
                        touched = None
                if after is not current:
                    change = Change(self._tenant, entity_id, current, after, now, touched)
                    verdict = self._services.checker.check(change)
                    if verdict is not None and verdict.refusal is not None:
                        entry.outcome, entry.verdict = verdict.refusal, verdict
                        continue
                    notifications = self._services.notifier.match(change, parcel)
                    if notifications:
                        owed.setdefault(entity_id, []).extend(notifications)
                    entry.verdict = verdict
                    known = touched if current is before else None
                    current = after
            except NgsiLdError as error:
                entry.outcome = error
            except Exception:
                # A fault that one entity brings to light must not fail the others of its group.
                log.exception("mutation failed", tenant=self._tenant, entity=entity_id)
                entry.outcome = InternalError("The update failed unexpectedly; the log of the broker has the cause.")
        return current, known

    def _expire(self, change: Change, parcel: Parcel, owed: dict[str, list[Owed]]) -> None:
        """Owe the notifications of what has expired: this commit, whatever its mutations, takes it out of storage."""
        try:
            notifications = self._services.notifier.match(change, parcel)
        except Exception:
            log.exception("an expiry could not be notified", tenant=self._tenant, entity=change.entity_id)
            return
        if notifications:
            owed.setdefault(change.entity_id, []).extend(notifications)

    def _due(self, entity_id: str) -> list[Entry]:
        entries = self._pending[entity_id]
        return entries[:1] if entity_id in self._alone else entries

    async def _write(self, writes: Writes, results: dict[str, Entity | None], attempt: Attempt) -> WriteReport:
        """Place the notifications and the counts, then store the statements; report what did not land."""
        owed = _owed_for(attempt.owed, attempt)
        async with self._services.census.counting(self._tenant, writes.differences.values()) as counting:
            election = await self._patiently(lambda: self._services.outbox.insert(owed)) if owed else None
            report = counting.report = await self._send(writes)
        if election is not None and report.elections != {election}:
            # What was stored last does not vouch for what was placed first: another primary, or no answer.
            await self._patiently(lambda: self._secure(owed))
        uncertain = report.uncertain
        if uncertain:
            landed = await self._patiently(
                lambda: evidence.landed(
                    self._services.store, self._tenant, uncertain, attempt, answer_lost=report.answer_lost
                )
            )
            results.update(landed)
            report.uncertain = [entity_id for entity_id in uncertain if entity_id not in landed]
        self._doubtful = attempt.commit if report.answer_lost and report.uncertain else None
        return report

    async def _secure(self, owed: list[Owed]) -> None:
        """See to it that these notifications are journaled on a majority."""
        if owed and await self._services.outbox.insert(owed) is not None:
            await self._services.store.barrier(self._tenant)

    async def _send(self, writes: Writes) -> WriteReport:
        try:
            return await self._services.store.write(self._tenant, writes)
        except Unavailable:
            return WriteReport([*writes.updated, *writes.inserted, *writes.deleted], answer_lost=True)

    async def _patiently(self, operation: Callable[[], Awaitable[_T]]) -> _T:
        pause = _FIRST_PAUSE
        while True:
            try:
                return await operation()
            except Unavailable as error:
                if asyncio.get_running_loop().time() > self._deadline:
                    raise OutcomeUnknown(
                        "The storage was lost during the update: it may or may not have been kept; read it, or retry."
                    ) from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _conclude(self, report: WriteReport, results: dict[str, Entity | None], attempt: Attempt) -> None:
        """Acknowledge what landed; leave pending what lost its race, its notifications discarded."""
        owed = attempt.owed
        failed = {*report.uncertain, *report.refused}
        void = _owed_for(failed, attempt)
        if void:
            await self._patiently(lambda: self._services.outbox.discard(void))
            for entity_id in failed:
                owed.pop(entity_id, None)
        services = self._services
        landed = 0
        for entity_id, after in results.items():
            if entity_id in failed:
                continue
            if after is None:
                services.cache.drop(self._tenant, entity_id)
            else:
                services.cache.put(self._tenant, entity_id, after)
            landed += self._settle(entity_id)
        for entity_id, error in report.refused.items():
            if len(self._due(entity_id)) > 1 and isinstance(error, BadRequestData | PayloadTooLarge):
                # Only one of its mutations may be to blame: each gets a statement of its own.
                self._alone.add(entity_id)
                self._forget(entity_id)
            else:
                self._settle(entity_id, error)
        for entity_id in report.uncertain:
            self._forget(entity_id)
        if owed:
            services.notifier.release(_owed_for(owed, attempt))
        services.metrics.group(landed)
        if report.uncertain:
            services.metrics.conflicts(len(report.uncertain))

    def _settle(self, entity_id: str, error: NgsiLdError | None = None) -> int:
        """Give their outcomes to the mutations that were due, or all of them `error`; how many they were."""
        due = self._due(entity_id)
        for entry in due:
            if error is not None:
                entry.settle(error)
                continue
            entry.settle(entry.outcome)
            if entry.verdict is not None:
                self._count(entry.verdict, entity_id)
        waiting = self._pending.pop(entity_id)[len(due) :]
        if waiting:
            self._pending[entity_id] = waiting
            self._forget(entity_id)
        return len(due)

    def _count(self, verdict: Verdict, entity_id: str) -> None:
        try:
            verdict.count()
        except Exception:
            # What is stored stays acknowledged, and the rest of the group goes on.
            log.exception("a violation could not be counted", tenant=self._tenant, entity=entity_id)

    def _forget(self, entity_id: str) -> None:
        self._services.cache.drop(self._tenant, entity_id)
        self._cached.discard(entity_id)
        del self._stored[entity_id]


def _owed_for(entity_ids: Iterable[str], attempt: Attempt) -> list[Owed]:
    """What the attempt owes for these of its entities."""
    return [one for entity_id in entity_ids for one in attempt.owed.get(entity_id, ())]
