"""Violations count with the outcomes that callers are given, however often a change was checked on the way."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from broker.commit import committer as committers
from broker.commit import group
from broker.commit.cache import EntityCache
from broker.commit.census import Census
from broker.commit.committer import Committer, Limits
from broker.commit.group import Contended, GroupServices, OutcomeUnknown
from broker.ngsild.changes import Change
from broker.ngsild.errors import BadRequestData, InternalError, NgsiLdError, Unavailable
from broker.ngsild.model import Entity
from broker.ngsild.mutations import Mutation
from broker.notify.owed import Owed, Parcel
from broker.storage.client import Election
from broker.storage.entities import WriteReport, Writes
from broker.validation.checker import Checker
from broker.validation.models import Model
from broker.validation.policies import Policies, Policy
from broker.validation.violations import Violation
from tests.unit.commit.memory_census import MemoryCensus
from tests.unit.notify.samples import owed
from tests.unit.validation.stored import model, thing

ME, OTHER = "me", "other"
SCHEMA = {"properties": {"n": {"maximum": 5}, "m": {"maximum": 5}}}
E1, E2 = "urn:ngsi-ld:Thing:1", "urn:ngsi-ld:Thing:2"
N, UNKEEPABLE = (next(iter(thing(**{name: 0})["attributes"])) for name in ("n", "unkeepable"))


class Storage:
    """Entities in memory, as MongoDB would keep them but for an attribute `unkeepable`. While `away` nothing answers.

    What `before_writes` holds is done ahead of the next writes, one each.
    """

    def __init__(self) -> None:
        self.entities: dict[str, Entity] = {}
        self.before_writes: list[Callable[[], None]] = []
        self.away = self.keeps = False
        self.writes = 0

    def answer(self) -> None:
        if self.away:
            raise Unavailable("The storage is away.")

    async def load(self, tenant: str, ids: Sequence[str]) -> dict[str, Entity]:
        self.answer()
        return {one: self.entities[one] for one in ids if one in self.entities}

    async def write(self, tenant: str, writes: Writes) -> WriteReport:
        self.writes += 1
        if self.before_writes:
            self.before_writes.pop(0)()
        report = WriteReport(elections={None}, executed=Counter(writes.differences.values()))
        if not self.away or self.keeps:
            for new in writes.inserts:
                self._put(new["_id"], new, report, 0)
            for statement in writes.updates:
                entity_id = statement["q"]["_id"]
                after = _assigned(self.entities.get(entity_id), statement["u"]["$set"])
                self._put(entity_id, after, report, statement["arrayFilters"][0]["s.version"])
            for statement in writes.deletes:
                self._put(statement["q"]["_id"], None, report, statement["q"]["state.version"])
        self.answer()
        return report

    async def barrier(self, tenant: str) -> None:
        self.answer()

    async def insert(self, owed: Sequence[Owed]) -> Election | None:
        self.answer()
        return None

    async def discard(self, owed: Sequence[Owed]) -> None:
        self.answer()

    def change(self, entity_id: str = E1, **values: Any) -> None:
        """What another process does to an entity."""
        before = self.entities[entity_id]
        version, writers = before["version"] + 1, before["writers"] | {OTHER: 1}
        self.entities[entity_id] = _set(before, **values) | {"version": version, "writers": writers}

    def leave(self, *, keeps: bool) -> None:
        """Go away in the middle of the next write, which lands if it `keeps` it."""

        def go() -> None:
            self.away, self.keeps = True, keeps

        self.before_writes.append(go)

    def _put(self, entity_id: str, after: Entity | None, report: WriteReport, version: int) -> None:
        if after is not None and UNKEEPABLE in after["attributes"]:
            report.refused[entity_id] = BadRequestData("MongoDB cannot keep this.")
        elif self.entities.get(entity_id, {"version": 0})["version"] != version:
            report.uncertain.append(entity_id)
        elif after is None:
            del self.entities[entity_id]
        else:
            self.entities[entity_id] = after


class Bystanders:
    """Subscriptions and metrics. A change of `fails` cannot be matched; with `subscribed` every other is notified."""

    def __init__(self) -> None:
        self.subscribed = False
        self.fails = ""

    def match(self, change: Change, parcel: Parcel) -> list[Owed]:
        if change.entity_id == self.fails:
            raise ZeroDivisionError
        if not self.subscribed:
            return []
        return [owed(change.entity_id, process=ME, commit=parcel.commit, id=parcel.next_id(0))]

    def release(self, owed: Sequence[Owed]) -> None:
        pass

    def group(self, mutations: int) -> None:
        pass

    def conflicts(self, entities: int) -> None:
        pass


class Scene:
    """A committer whose data model wants `n` and `m` to be at most 5, and what was `counted`."""

    def __init__(self, policy: Policy) -> None:
        things = model(SCHEMA)
        self.get = {things.iri: things}.get
        self.policy = Policies(policy).of
        self.counted: list[tuple[str, str, str]] = []
        self.storage = Storage()
        self.bystanders = Bystanders()
        self.broken = False
        anything: Any = self.storage
        self.services = GroupServices(
            store=anything,
            cache=EntityCache(1 << 20),
            checker=Checker(self, self),
            notifier=self.bystanders,
            outbox=self.storage,
            metrics=self.bystanders,
            census=Census(MemoryCensus(), ME),
            process=ME,
        )
        self.committer = Committer(self.services, Limits())

    def count(self, tenant: str, entity: Entity, model: Model, violation: Violation, policy: Policy) -> None:
        if self.broken:
            raise ZeroDivisionError
        self.counted.append((entity["_id"], violation.attribute, policy))

    async def stored(self, *entity_ids: str) -> None:
        """Have entities with n=1 and m=1, and the cache know them."""
        await self.run(*((one, create(one, n=1, m=1)) for one in entity_ids))

    async def run(self, *mutations: tuple[str, Mutation]) -> list[Any]:
        """The outcomes of mutations that are submitted together."""
        return await self.committer.submit_many("", mutations)


@pytest.fixture
async def warn() -> Scene:
    return Scene(Policy.WARN)


@pytest.fixture
async def enforce() -> Scene:
    return Scene(Policy.ENFORCE)


def _assigned(before: Entity | None, assign: dict[str, Any]) -> Entity | None:
    """The entity after the $set of an update statement."""
    if before is None:
        return None
    after = {name: dict(value) if isinstance(value, dict) else value for name, value in before.items()}
    for path, value in assign.items():
        *way, last = path.removeprefix("state.$[s].").split(".")
        place = after
        for name in way:
            place = place[name]
        place[last] = value
    return after


def _set(before: Entity, **values: Any) -> Entity:
    return {**before, "attributes": before["attributes"] | thing(**values)["attributes"]}


def create(entity_id: str = E1, **values: Any) -> Mutation:
    def mutation(before: Entity | None, now: str) -> tuple[Entity, None]:
        assert before is None
        return {**thing(**values), "_id": entity_id, "createdAt": now}, None

    return mutation


def put(**values: Any) -> Mutation:
    def mutation(before: Entity | None, now: str) -> tuple[Entity, None]:
        assert before is not None
        return _set(before, **values), None

    return mutation


def delete(before: Entity | None, now: str) -> tuple[None, None]:
    return None, None


async def test_a_violation_counts_once_however_many_races_its_update_lost(warn: Scene) -> None:
    await warn.stored(E1)
    warn.storage.before_writes += [lambda: warn.storage.change(m=2), lambda: warn.storage.change(m=3)]
    assert await warn.run((E1, put(n=9))) == [None]
    assert warn.storage.writes == 4, "two races were lost"
    assert warn.counted == [(E1, "n", "warn")]


async def test_a_violation_that_a_lost_race_did_away_with_does_not_count(warn: Scene) -> None:
    def double(before: Entity | None, now: str) -> tuple[Entity, int]:
        assert before is not None
        n: int = before["attributes"][N][0]["value"]
        return _set(before, n=2 * n), 2 * n

    await warn.stored(E1)
    await warn.run((E1, put(n=4)))
    warn.storage.before_writes.append(lambda: warn.storage.change(n=1))
    assert await warn.run((E1, double)) == [2]
    assert warn.counted == []


async def test_a_repetition_that_changes_nothing_counts_nothing(warn: Scene) -> None:
    def lower(before: Entity | None, now: str) -> tuple[Entity, bool]:
        assert before is not None
        if before["attributes"][N][0]["value"] <= 9:
            return before, False
        return _set(before, n=9), True

    await warn.stored(E1)
    await warn.run((E1, put(n=10)))
    warn.counted.clear()
    warn.storage.before_writes.append(lambda: warn.storage.change(n=1))
    assert await warn.run((E1, lower)) == [False]
    assert warn.counted == []


async def test_only_the_entity_that_lost_its_race_is_judged_again(warn: Scene) -> None:
    await warn.stored(E1, E2)
    warn.storage.before_writes.append(lambda: warn.storage.change(E2, m=2))
    assert await warn.run((E1, put(n=9)), (E2, put(n=9))) == [None, None]
    assert sorted(warn.counted) == [(E1, "n", "warn"), (E2, "n", "warn")]


async def test_a_refusal_that_rested_on_the_cache_counts_once(enforce: Scene) -> None:
    await enforce.stored(E1)
    assert enforce.services.cache.get("", E1) is not None
    (refusal,) = await enforce.run((E1, put(n=9, m=8)))
    assert isinstance(refusal, BadRequestData)
    assert len(refusal.violations) == 2
    assert sorted(enforce.counted) == [(E1, "m", "enforce"), (E1, "n", "enforce")]


async def test_a_refusal_in_a_group_that_lost_its_race_counts_once(enforce: Scene) -> None:
    await enforce.stored(E1)
    enforce.storage.before_writes.append(lambda: enforce.storage.change(m=2))
    accepted, refusal = await enforce.run((E1, put(m=3)), (E1, put(n=9)))
    assert accepted is None
    assert isinstance(refusal, BadRequestData)
    assert enforce.counted == [(E1, "n", "enforce")]


async def test_each_of_several_mutations_of_an_entity_counts_what_it_breaks_itself(warn: Scene) -> None:
    await warn.stored(E1)
    assert await warn.run((E1, put(n=9)), (E1, put(n=2)), (E1, put(m=7)), (E1, put(n=8, m=6))) == [None] * 4
    assert warn.storage.writes == 2
    assert sorted(warn.counted) == [(E1, "m", "warn")] * 2 + [(E1, "n", "warn")] * 2


async def test_mutations_that_get_a_statement_of_their_own_count_once(warn: Scene) -> None:
    await warn.stored(E1)
    outcomes = await warn.run((E1, put(n=9)), (E1, put(unkeepable=1, m=9)), (E1, put(m=8)))
    assert [outcomes[0], outcomes[2]] == [None, None]
    assert isinstance(outcomes[1], BadRequestData)
    assert warn.storage.writes == 5, "together, then each by itself"
    assert warn.counted == [(E1, "n", "warn"), (E1, "m", "warn")], "what MongoDB cannot keep was not accepted"


async def test_a_change_that_fails_after_it_was_checked_counts_nothing(warn: Scene) -> None:
    await warn.stored(E1, E2)
    warn.bystanders.fails = E1
    failed, accepted = await warn.run((E1, put(n=9)), (E2, put(n=9)))
    assert isinstance(failed, InternalError)
    assert accepted is None
    assert warn.counted == [(E2, "n", "warn")]


@pytest.mark.parametrize("subscribed", [False, True])
async def test_what_was_accepted_counts_where_nothing_remains_to_be_stored(warn: Scene, subscribed: bool) -> None:
    warn.bystanders.subscribed = subscribed
    assert await warn.run((E1, create(n=9)), (E1, delete)) == [None, None]
    assert warn.storage.entities == {}
    assert warn.counted == [(E1, "n", "warn")]


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("policy", [Policy.WARN, Policy.ENFORCE])
async def test_nothing_counts_when_the_storage_is_lost(
    policy: Policy, keeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(policy)
    await scene.stored(E1)
    monkeypatch.setattr(group, "_PATIENCE", 0.03)
    monkeypatch.setattr(committers, "_LOOK_AGAIN", 0.01)
    scene.storage.leave(keeps=keeps)
    outcomes = [OutcomeUnknown, OutcomeUnknown]
    assert [type(one) for one in await scene.run((E1, put(m=2)), (E1, put(n=9)))] == outcomes
    assert scene.counted == []
    scene.storage.away = False
    assert await scene.committer.drain(5)
    assert scene.counted == [], "who was told of an error sends it again"
    await scene.run((E1, put(n=7)))
    assert scene.counted == [(E1, "n", policy)]


async def test_a_violation_whose_answer_was_lost_counts_once(warn: Scene) -> None:
    await warn.stored(E1)
    for keeps in (True, False):
        warn.storage.leave(keeps=keeps)
        running = asyncio.create_task(warn.run((E1, put(n=9 + keeps))))
        while not warn.storage.away:  # noqa: ASYNC110 - the storage has no event to wait for
            await asyncio.sleep(0)
        assert warn.counted == []
        warn.storage.away = False
        assert await running == [None]
        assert warn.counted == [(E1, "n", "warn")]
        warn.counted.clear()


async def test_nothing_counts_for_who_never_wins(warn: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await warn.stored(E1)
    monkeypatch.setattr(group, "_PATIENCE", 0.02)
    warn.storage.before_writes += [lambda: warn.storage.change(m=2)] * 1_000
    (outcome,) = await warn.run((E1, put(n=9)))
    assert isinstance(outcome, Contended)
    assert warn.counted == []


async def test_what_cannot_be_counted_is_acknowledged_all_the_same(warn: Scene) -> None:
    await warn.stored(E1, E2)
    warn.broken = True
    outcomes: list[NgsiLdError | None] = await warn.run((E1, put(n=9)), (E2, put(n=9)))
    assert outcomes == [None, None]
    assert [one["attributes"][N][0]["value"] for one in warn.storage.entities.values()] == [9, 9]
