"""Periodic notifications without a database, on a clock that the test moves."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import orjson
import pytest

from broker.ngsild.errors import TooComplexQuery, Unavailable
from broker.ngsild.model import Entity
from broker.notify.owed import OF_NO_COMMIT, Owed
from broker.notify.periodic import PeriodicNotifications, next_instant
from broker.notify.subscription import Periodic, Subscription
from broker.storage.periods import Document, Period
from tests.unit.notify.samples import EARLIER, MemoryOutbox, entity, subscription, until

INTERVAL = 10_000
FIRST = 1_000_000


class Cluster:
    """A schedule with one subscription, and what all processes share beside it."""

    def __init__(self) -> None:
        self.now = FIRST
        self.period: dict[str, Any] = {"at": FIRST, "look": FIRST, "told": None}
        self.claims = 0
        self.outbox = Outbox()
        self.entities: list[list[Entity]] = [[entity("urn:e:1", a=1), entity("urn:e:2", a=2)]]
        self.renewed, self.refused = 0, 0
        self.meanwhile: Callable[[], bool] | None = None
        self.trouble: Exception | None = None
        self.lost = False

    async def claim(self, most: int, lease: float) -> list[Period]:
        if not self.period or self.period["look"] > self.now:
            return []
        self.claims += 1
        self.period |= {"look": self.now + round(lease * 1000), "claim": self.claims}
        document = {"_id": {"tenant": "", "id": "urn:s:1"}, "createdAt": EARLIER, "version": 1}
        return [Period({**document, "period": dict(self.period)}, self.period["at"], self.now, self.period["told"])]

    async def renew(self, period: Period, lease: float) -> bool:
        if period.document["period"]["claim"] != self.period.get("claim"):
            self.refused += 1
            return False
        self.renewed += 1
        self.period["look"] = self.now + round(lease * 1000)
        return True

    async def move_on(self, period: Period, to: int | None, told: str | None) -> None:
        if self.lost:
            raise Unavailable("the storage is away")
        if self.period.get("at") == period.at:
            self.period = {} if to is None else {"at": to, "look": to, "told": told or self.period["told"]}

    async def pages(self, tenant: str, periodic: Periodic) -> AsyncIterator[Sequence[Entity]]:
        for page in self.entities:
            if self.meanwhile is not None:
                await until(self.meanwhile)
            yield page
        if self.trouble is not None:
            raise self.trouble


class Outbox(MemoryOutbox):
    """An outbox that may be out of reach."""

    lost = False

    async def keep(self, owed: Sequence[Owed]) -> None:
        if self.lost:
            raise Unavailable("the storage is away")
        await self.insert(owed)

    async def waits(self, notification_id: str) -> bool:
        return notification_id in self.kept


class Process:
    """One process: `told` are the notifications that it delivered, `failures` the reasons why it could not make one."""

    def __init__(self, cluster: Cluster, lease: float = 6.0, **members: Any) -> None:
        periodic = Periodic(INTERVAL / 1000)
        self.process = "p"
        self.cluster = cluster
        self.one = subscription(periodic=periodic, **members)
        self.periodic = {("", "urn:s:1"): self.one}
        self.told: list[Any] = []
        self.failures: list[str] = []
        self.work = PeriodicNotifications(
            schedule=cluster,
            subscriptions=self,
            entities=cluster,
            renderer=self,
            outbox=cluster.outbox,
            notifier=self,
            lease=lease,
        )

    async def apply(self, document: Document) -> None:
        pass

    def get(self, tenant: str, subscription_id: str) -> Subscription | None:
        return self.periodic.get((tenant, subscription_id))

    async def render_all(self, entities: Sequence[Entity], subscription: Subscription) -> bytes:
        return subscription.projection.render_all(entities)

    def release(self, owed: Sequence[Owed]) -> None:
        for one in owed:
            assert one.id in self.cluster.outbox.kept
            assert one.commit == OF_NO_COMMIT
            self.told.append(orjson.loads(one.body))

    def failed(self, tenant: str, subscription_id: str, reason: str) -> None:
        self.failures.append(reason)

    async def look(self) -> None:
        await self.work.look()
        await self.work.made()

    async def delivered(self) -> None:
        """Everything that was told has left the outbox."""
        await self.cluster.outbox.remove(list(self.cluster.outbox.kept))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (1_000, 1_100),
        (1_099, 1_100),
        (1_100, 1_200),
        (5_432, 5_500),
        (900, 1_100),
    ],
)
def test_the_next_instant_is_the_first_on_the_grid_that_lies_ahead(now: int, expected: int) -> None:
    assert next_instant(1_000, 100, now) == expected


async def test_all_matching_entities_come_in_one_notification_at_each_instant() -> None:
    cluster = Cluster()
    process = Process(cluster)
    for _ in range(3):
        await process.look()
        await process.look()
        await process.delivered()
        cluster.now += INTERVAL
    assert [[one["id"] for one in body["data"]] for body in process.told] == [["urn:e:1", "urn:e:2"]] * 3
    assert len({body["id"] for body in process.told}) == 3
    assert cluster.period["at"] == FIRST + 3 * INTERVAL


async def test_of_two_processes_only_one_makes_it() -> None:
    cluster = Cluster()
    one, other = Process(cluster), Process(cluster)
    await one.work.look()
    await other.look()
    await one.work.made()
    assert (len(one.told), len(other.told)) == (1, 0)


async def test_of_what_was_missed_one_is_made_and_the_grid_stays() -> None:
    cluster = Cluster()
    process = Process(cluster)
    cluster.now = FIRST + 7 * INTERVAL + 123
    await process.look()
    await process.look()
    assert len(process.told) == 1
    assert cluster.period["at"] == FIRST + 8 * INTERVAL


async def test_where_nothing_matches_none_is_made() -> None:
    cluster = Cluster()
    cluster.entities = [[], []]
    process = Process(cluster)
    await process.look()
    assert process.told == []
    assert cluster.outbox.kept == {}
    assert cluster.period["at"] == FIRST + INTERVAL


async def test_while_one_waits_for_its_endpoint_no_further_one_is_made() -> None:
    cluster = Cluster()
    process = Process(cluster)
    for _ in range(4):
        await process.look()
        cluster.now += INTERVAL
    assert len(cluster.outbox.kept) == 1
    await process.delivered()
    await process.look()
    assert len(process.told) == 2


async def test_what_a_process_leaves_undone_another_makes_when_the_claim_has_run_out() -> None:
    cluster = Cluster()
    dying, heir = Process(cluster), Process(cluster)
    cluster.outbox.lost = True
    await dying.look()
    cluster.outbox.lost = False
    cluster.now += 5_000
    await heir.look()
    assert heir.told == []
    cluster.now += 1_000
    await heir.look()
    assert len(heir.told) == 1
    assert cluster.period["at"] == FIRST + INTERVAL


async def test_what_is_made_twice_has_the_same_id() -> None:
    cluster = Cluster()
    dying, heir = Process(cluster), Process(cluster)

    cluster.lost = True
    await dying.look()
    cluster.lost = False
    [made] = cluster.outbox.kept
    await dying.delivered()
    cluster.now += 6_000
    await heir.look()
    assert [body["id"] for body in heir.told] == [made]


async def test_a_long_search_keeps_its_claim() -> None:
    cluster = Cluster()
    cluster.meanwhile = lambda: cluster.renewed >= 5
    process = Process(cluster, lease=0.01)
    await process.look()
    assert len(process.told) == 1
    assert cluster.period["at"] == FIRST + INTERVAL


async def test_a_search_that_has_lost_its_claim_is_left_to_whoever_has_it() -> None:
    cluster = Cluster()
    cluster.meanwhile = lambda: bool(cluster.refused)
    slow, other = Process(cluster, lease=0.01), Process(cluster)
    await slow.work.look()
    cluster.now += INTERVAL
    await other.work.look()
    await slow.work.made()
    assert slow.told == []
    await other.work.made()
    assert len(other.told) == 1


async def test_more_than_fits_comes_in_several_notifications(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.notify.periodic._LARGEST_PART", 300)
    cluster = Cluster()
    entities = [entity(f"urn:e:{number}", a="x" * 60) for number in range(8)]
    cluster.entities = [entities[:4], entities[4:]]
    process = Process(cluster)
    await process.look()
    assert len(process.told) > 1
    assert [one["id"] for body in process.told for one in body["data"]] == [one["_id"] for one in entities]
    assert len({body["id"] for body in process.told}) == len(process.told)


async def test_a_query_that_cannot_be_answered_counts_as_failed_and_is_asked_at_the_next_instant() -> None:
    cluster = Cluster()
    cluster.trouble = TooComplexQuery("too many to look at")
    process = Process(cluster)
    await process.look()
    await process.look()
    assert process.failures == ["too many to look at"]
    assert process.told == []
    assert cluster.period["at"] == FIRST + INTERVAL


async def test_an_expired_subscription_is_due_no_more() -> None:
    cluster = Cluster()
    process = Process(cluster, expires=1)
    await process.look()
    assert process.told == []
    assert cluster.period == {}


async def test_who_has_no_periodic_subscriptions_asks_nothing() -> None:
    cluster = Cluster()
    process = Process(cluster)
    process.periodic.clear()
    await process.look()
    assert cluster.claims == 0
