"""The schedule of periodic subscriptions in a real MongoDB: planned, claimed by one, moved on, planned anew."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from broker.ngsild.errors import AlreadyExists
from broker.storage.client import Mongo
from broker.storage.edits import Edits
from broker.storage.periods import DUE, Period, Periods
from broker.storage.subscriptions import Document, SubscriptionStore
from tests.unit.notify.samples import EARLIER, until

NOW = "2026-01-31T12:00:00.000000Z"


@dataclass
class Stores:
    """Subscriptions and their schedule."""

    periods: Periods
    subscriptions: SubscriptionStore

    async def subscribe(self, name: str = "urn:s:1", **definition: Any) -> Document:
        return await self.subscriptions.insert("", name, {"timeInterval": 0.001, **definition}, EARLIER)

    async def edit(self, name: str = "urn:s:1", *, version: int = 1, **definition: Any) -> Document:
        edited = await self.subscriptions.replace("", name, definition, version=version, now=NOW)
        assert edited is not None
        return edited

    async def due(self, lease: float = 60.0) -> Period:
        found: list[Period] = []

        async def is_due() -> bool:
            found.extend(await self.periods.claim(10, lease))
            return bool(found)

        await until(is_due)
        [one] = found
        return one


@pytest.fixture(params=["pymongo", "motor"])
async def stores(request: pytest.FixtureRequest, mongo_uri: str, database_name: str) -> AsyncIterator[Stores]:
    if request.param == "motor":
        pytest.importorskip("motor")
    mongo = await Mongo.connect(mongo_uri, driver_name=request.param, database=database_name)
    stores = Stores(Periods(mongo), SubscriptionStore(mongo, Edits(mongo.control)))
    await asyncio.gather(stores.periods.prepare(), stores.subscriptions.prepare())
    yield stores
    await mongo.close()


async def test_of_many_who_ask_at_once_each_period_goes_to_one(stores: Stores) -> None:
    names = {f"urn:s:{number}" for number in range(40)}
    await asyncio.gather(*(stores.subscribe(name) for name in names))
    claimed = [
        period.document["_id"]["id"]
        for _ in range(10)
        for periods in await asyncio.gather(*(stores.periods.claim(5, 60.0) for _ in range(4)))
        for period in periods
    ]
    assert sorted(claimed) == sorted(names)


async def test_a_claim_runs_out_unless_it_is_renewed(stores: Stores) -> None:
    await stores.subscribe()
    first = await stores.due(lease=0.05)
    second = await stores.due(lease=60.0)
    assert second.at == first.at
    assert not await stores.periods.renew(first, 60.0), "it is somebody else's by now"
    assert await stores.periods.renew(second, 0.0)
    assert (await stores.due()).at == first.at


async def test_what_moved_on_is_due_at_the_instant_given_and_moves_once(stores: Stores) -> None:
    await stores.subscribe()
    period = await stores.due()
    assert period.now >= period.at
    assert period.told is None
    late = Period(period.document, period.at, period.now, None)
    await stores.periods.move_on(period, period.at + 1, "urn:n:1")
    await stores.periods.move_on(late, period.at + 999, "urn:n:2")
    following = await stores.due()
    assert (following.at, following.told) == (period.at + 1, "urn:n:1")
    await stores.periods.move_on(following, None, None)
    assert await stores.periods.claim(10, 1.0) == []
    kept = await stores.subscriptions.get("", "urn:s:1")
    assert kept is not None
    assert "period" not in kept


async def test_only_active_subscriptions_with_a_time_interval_are_planned(stores: Stores) -> None:
    planned = await stores.subscribe("urn:s:1")
    await stores.subscribe("urn:s:2", isActive=False)
    await stores.subscriptions.insert("", "urn:s:3", {}, EARLIER)
    assert (await stores.due()).document["_id"] == planned["_id"]
    with pytest.raises(AlreadyExists):
        await stores.subscribe("urn:s:1")


async def test_an_edit_plans_anew_only_where_it_touches_the_periods(stores: Stores) -> None:
    async def at() -> Any:
        document = await stores.subscriptions.get("", "urn:s:1")
        assert document is not None
        return document.get("period", {}).get("at")

    await stores.subscribe(timeInterval=1000)
    planned = await at()
    described = await stores.edit(timeInterval=1000, description="{$set: 1}", endpoint={"$a.b": "$c"})
    assert described["definition"]["endpoint"] == {"$a.b": "$c"}
    assert await at() == planned
    await stores.edit(version=2, timeInterval=5000)
    assert (await at() - planned).total_seconds() == pytest.approx(4000, abs=30)
    await stores.edit(version=3, timeInterval=5000, isActive=False)
    assert await at() is None
    await stores.edit(version=4, timeInterval=1e300)
    assert await at() is not None
    await stores.edit(version=5)
    assert await at() is None


async def test_an_edit_takes_a_period_from_whoever_is_at_work_on_it(stores: Stores) -> None:
    await stores.subscribe()
    period = await stores.due()
    await stores.edit(timeInterval=1000)
    assert not await stores.periods.renew(period, 60.0)
    await stores.periods.move_on(period, period.at, "urn:n:1")
    assert await stores.periods.claim(10, 1.0) == []


async def test_the_schedule_is_read_from_its_index(stores: Stores, mongo_uri: str, database_name: str) -> None:
    for number in range(50):
        await stores.subscriptions.insert("", f"urn:other:{number}", {}, EARLIER)
    await stores.subscribe()
    mongo = await Mongo.connect(mongo_uri, database=database_name)
    find = {"find": "subscriptions", "filter": DUE, "sort": {"period.look": 1}, "limit": 5}
    explained = await mongo.control.command("explain", find)
    await mongo.close()
    assert explained["executionStats"]["totalKeysExamined"] <= 1
    assert explained["executionStats"]["totalDocsExamined"] <= 1
