"""What the tests of the committer are made of: a committer over a real MongoDB, stand-ins that record, mutations."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from broker.commit.cache import EntityCache
from broker.commit.census import Census
from broker.commit.committer import Committer, Limits
from broker.commit.group import Checks, GroupServices
from broker.commit.submissions import Verdict
from broker.ngsild.attributes import Nulls
from broker.ngsild.changes import Change
from broker.ngsild.errors import BadRequestData, Unavailable
from broker.ngsild.fragments import read_entity, read_fragment
from broker.ngsild.model import Entity
from broker.ngsild.mutations import CreateEntity, Mutation, UpdateAttributes
from broker.notify.owed import Owed, Parcel
from broker.storage.census import CensusStore
from broker.storage.client import Mongo
from broker.storage.entities import EntityStore, WriteReport, Writes
from broker.storage.tenants import Tenants
from tests.unit.ngsild.samples import core, key
from tests.unit.notify.samples import owed

CACHE_BYTES = 64 << 20


def entity_id(number: int = 1) -> str:
    return f"urn:ngsi-ld:Thing:{number}"


def create(number: int = 1, **attributes: Any) -> tuple[str, Mutation]:
    """The creation of an entity, ready for `submit_many`."""
    document = {"id": entity_id(number), "type": "Thing", **attributes}
    return entity_id(number), CreateEntity(read_entity(document, core()))


def update(number: int = 1, **attributes: Any) -> tuple[str, Mutation]:
    """An update of attributes, ready for `submit_many`."""
    fragment = read_fragment(attributes, core(), nulls=Nulls.MEMBERS)
    return entity_id(number), UpdateAttributes(entity_id(number), fragment)


@dataclass(frozen=True, slots=True)
class Increment:
    """Add one to the attribute `name`; the outcome is the new value. Applied twice, it counts twice."""

    name: str
    number: int

    def __call__(self, before: Entity | None, now: str) -> tuple[Entity | None, int]:
        assert before is not None
        count = value_of(before, self.name) + 1
        after, _ = update(self.number, **{self.name: count})[1](before, now)
        return after, count


@dataclass(frozen=True, slots=True)
class Record:
    """Append `item` to the list in the attribute `name`."""

    name: str
    item: Any
    number: int

    def __call__(self, before: Entity | None, now: str) -> tuple[Entity | None, None]:
        assert before is not None
        items = [*(value_of(before, self.name) or []), self.item]
        return update(self.number, **{self.name: items})[1](before, now)[0], None


def increment(name: str, number: int = 1) -> tuple[str, Mutation]:
    """An `Increment`, ready for `submit_many`."""
    return entity_id(number), Increment(name, number)


def record(name: str, item: Any, number: int = 1) -> tuple[str, Mutation]:
    """A `Record`, ready for `submit_many`."""
    return entity_id(number), Record(name, item, number)


def value_of(entity: Entity | None, name: str) -> Any:
    """The value of a Property; 0 if there is none."""
    assert entity is not None
    instances = entity["attributes"].get(key(name))
    return instances[0]["value"] if instances else 0


class Refused:
    """The verdict on what is forbidden; nobody counts it."""

    refusal = BadRequestData("This is forbidden.")

    def count(self) -> None:
        pass


class Recorder:
    """Checker, notifier, outbox and metrics in one: it owes one notification for every change, and records all calls.

    `calls` holds ("insert" | "discard" | "release", [notification ids]); `changes` all changes that were matched.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.changes: list[Change] = []
        self.kept: dict[str, Owed] = {}
        self.released: list[Owed] = []
        self.commits = 0
        self.lost_races = 0
        self.process = ""
        self.silent = False
        self.before_insert: Callable[[], Awaitable[object]] | None = None

    def check(self, change: Change) -> Verdict | None:
        if change.after is not None and value_of(change.after, "forbidden"):
            return Refused()
        return None

    def match(self, change: Change, parcel: Parcel) -> list[Owed]:
        self.changes.append(change)
        return (
            []
            if self.silent
            else [owed(change.entity_id, process=self.process, commit=parcel.commit, id=parcel.next_id(0))]
        )

    def release(self, owed: Sequence[Owed]) -> None:
        self.calls.append(("release", [one.id for one in owed]))
        self.released.extend(owed)

    async def insert(self, owed: Sequence[Owed]) -> None:
        if self.before_insert is not None:
            await self.before_insert()
        self.calls.append(("insert", [one.id for one in owed]))
        self.kept.update((one.id, one) for one in owed)

    async def discard(self, owed: Sequence[Owed]) -> None:
        self.calls.append(("discard", [one.id for one in owed]))
        for one in owed:
            self.kept.pop(one.id, None)

    def group(self, mutations: int) -> None:
        self.commits += mutations

    def conflicts(self, entities: int) -> None:
        self.lost_races += entities

    def assert_all_released(self) -> None:
        """Assert that what is kept was released, in order and once, and nothing else was."""
        assert [one.id for one in self.released] == list(self.kept)


class Store(EntityStore):
    """The real store, with a place to interfere before each write; `writes` are all that were sent."""

    def __init__(self, tenants: Tenants) -> None:
        super().__init__(tenants)
        self.writes: list[Writes] = []
        self.loads = 0
        self.interfere: Callable[[Writes], Awaitable[None]] | None = None

    async def load(self, tenant: str, ids: Sequence[str]) -> dict[str, Entity]:
        self.loads += 1
        return await super().load(tenant, ids)

    async def write(self, tenant: str, writes: Writes) -> WriteReport:
        self.writes.append(writes)
        if self.interfere is not None:
            interfere, self.interfere = self.interfere, None
            await interfere(writes)
        return await super().write(tenant, writes)

    def lose_answer(self, *, landed: bool) -> None:
        """Let the next write end without an answer, executed or not."""

        async def lose(writes: Writes) -> None:
            if landed:
                await EntityStore.write(self, "", writes)
            raise Unavailable("The answer is lost.")

        self.interfere = lose

    def land_late(self) -> None:
        """Let the next write end without an answer, and be executed when its repetition is on its way."""

        async def lose(writes: Writes) -> None:
            async def land(_repetition: Writes) -> None:
                await EntityStore.write(self, "", writes)

            self.interfere = land
            raise Unavailable("The answer is lost.")

        self.interfere = lose


@dataclass
class Node:
    """One broker process: a committer with its own cache, and what it works with.

    Without a `checker` what is forbidden is refused.
    """

    mongo: Mongo
    process: str = "p1"
    limits: Limits = field(default_factory=Limits)
    recorder: Recorder = field(default_factory=Recorder)
    checker: Checks | None = None

    async def start(self) -> "Node":
        self.recorder.process = self.process
        self.tenants = Tenants(self.mongo)
        await self.tenants.open()
        self.store = Store(self.tenants)
        self.cache = EntityCache(CACHE_BYTES)
        self.census = Census(CensusStore(self.mongo, self.tenants), self.process)
        services = GroupServices(
            store=self.store,
            cache=self.cache,
            checker=self.checker or self.recorder,
            notifier=self.recorder,
            outbox=self.recorder,
            metrics=self.recorder,
            census=self.census,
            process=self.process,
        )
        self.committer = Committer(services, self.limits)
        return self

    async def run(self, *mutations: tuple[str, Mutation]) -> list[Any]:
        """The outcomes of mutations submitted together; errors are among them."""
        return await self.committer.submit_many("", mutations)

    async def race(self, *mutations: tuple[str, Mutation]) -> list[Any]:
        """The outcomes of mutations submitted at the same time, each on its own."""
        submissions = [self.committer.submit("", name, mutation) for name, mutation in mutations]
        return await asyncio.gather(*submissions, return_exceptions=True)

    async def stored(self, number: int = 1) -> Entity | None:
        """An entity as MongoDB has it."""
        return (await EntityStore.load(self.store, "", [entity_id(number)])).get(entity_id(number))

    async def value(self, name: str, number: int = 1) -> Any:
        return value_of(await self.stored(number), name)
