import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from broker.ngsild.errors import AlreadyExists
from broker.storage.client import Mongo
from broker.storage.edits import Edits
from broker.storage.entities import EntityStore, Writes
from broker.storage.outbox import Backlog, Outbox, Parcel, fits, parcel_of, position
from broker.storage.processes import Processes
from broker.storage.subscriptions import Deliveries, SubscriptionEdit, SubscriptionStore
from broker.storage.tenants import Tenants
from tests.unit.notify.samples import EARLIER, NOW, owed, until


@pytest.fixture(params=["pymongo", "motor"])
async def mongo(request: pytest.FixtureRequest, mongo_uri: str, database_name: str) -> AsyncIterator[Mongo]:
    if request.param == "motor":
        pytest.importorskip("motor")
    connected = await Mongo.connect(mongo_uri, driver_name=request.param, database=database_name)
    yield connected
    await connected.close()


@pytest.fixture
async def outbox(mongo: Mongo) -> Outbox:
    kept = Outbox(mongo)
    await kept.prepare()
    return kept


@pytest.fixture
async def subscriptions(mongo: Mongo) -> SubscriptionStore:
    kept = SubscriptionStore(mongo, Edits(mongo.control))
    await kept.prepare()
    return kept


async def test_what_is_owed_comes_back_as_it_was_stored(outbox: Outbox) -> None:
    entries = [owed(f"urn:e:{number}", body=b'{"n":%d}' % number) for number in range(3)]
    await outbox.insert(entries)
    ids = [one.id for one in reversed(entries)]
    assert await outbox.read(ids) == list(reversed(entries))


async def test_storing_the_same_twice_is_the_same_as_once(outbox: Outbox) -> None:
    entries = [owed(), owed()]
    await outbox.insert(entries[:1])
    await outbox.insert(entries)
    await outbox.insert(entries)
    await outbox.insert(entries[:1])
    assert await outbox.read([one.id for one in entries]) == entries


async def test_what_was_delivered_or_taken_back_is_owed_no_more(outbox: Outbox) -> None:
    entries = [owed() for _ in range(3)]
    await outbox.insert(entries)
    await outbox.remove([entries[0].id])
    await outbox.discard(entries[1:2])
    assert await outbox.read([one.id for one in entries]) == entries[2:]


async def test_a_write_to_the_same_primary_vouches_for_what_was_placed_before_it(mongo: Mongo, outbox: Outbox) -> None:
    tenants = Tenants(mongo)
    await tenants.open()
    entity = {"_id": "urn:e:1", "types": ["urn:T"], "attributes": {}, "createdAt": NOW, "modifiedAt": NOW, "version": 1}

    election = await outbox.insert([owed(), owed()])
    report = await EntityStore(tenants).write("", Writes(inserts=[{**entity, "writers": {}}], inserted=["urn:e:1"]))

    assert election is not None
    assert report.elections == {election}


async def test_a_parcel_shrinks_with_each_notification_and_goes_with_the_last(mongo: Mongo, outbox: Outbox) -> None:
    parcel = Parcel(1)
    entries = [owed(f"urn:e:{number}", commit=1, id=parcel.next_id(2)) for number in range(4)]
    await outbox.insert(entries)
    assert await mongo.control["outbox"].count_documents({}) == 1
    await outbox.remove([entries[1].id])
    await outbox.discard([entries[2]])
    assert [await outbox.waits(one.id) for one in entries] == [True, False, False, True]
    assert await outbox.read([one.id for one in entries]) == [entries[0], entries[3]]
    await outbox.insert(entries)
    assert await outbox.read([one.id for one in entries]) == [entries[0], entries[3]], "nothing is added to a parcel"
    await outbox.remove([entries[0].id, entries[3].id])
    assert await mongo.control["outbox"].count_documents({}) == 0


async def test_whole_parcels_go_at_once(mongo: Mongo, outbox: Outbox) -> None:
    first, second = Parcel(1), Parcel(1)
    entries = [owed(id=parcel.next_id(2)) for parcel in (first, first, second)]
    await outbox.insert(entries)
    await outbox.remove_parcels([parcel_of(entries[0].id)])
    assert await outbox.read([one.id for one in entries]) == entries[2:]


async def test_what_is_too_much_for_one_parcel_is_several() -> None:
    parcel = Parcel(1)
    small, large, after = parcel.next_id(1), parcel.next_id(5 << 20), parcel.next_id(1)
    assert len({parcel_of(one) for one in (small, large, after)}) == 3
    assert parcel_of(parcel.next_id(1)) == parcel_of(after)
    many = [parcel.next_id(0) for _ in range(70_000)]
    assert len(set(many)) == 70_000
    assert len({parcel_of(one) for one in many}) == 2


async def test_a_takeover_skips_parcels_that_a_broken_off_removal_left_empty(mongo: Mongo, outbox: Outbox) -> None:
    entries = [owed(process="dead", commit=1), owed(process="dead", commit=2)]
    await outbox.insert(entries)
    emptied = {"_id": parcel_of(entries[0].id)}
    await mongo.control["outbox"].update_one(emptied, {"$set": {"notifications": []}})
    assert await outbox.claim("dead", "heir", "c") == 1
    assert await outbox.claimed("c", None, 1) == entries[1:]


async def test_large_bodies_are_kept_even_many_at_once(outbox: Outbox) -> None:
    entries = [owed(body=b"x" * (3 << 20)) for _ in range(4)] + [owed(body=b"y" * (20 << 20))]
    assert all(fits(one.body) for one in entries)
    await outbox.insert(entries)
    assert await outbox.read([one.id for one in entries]) == entries


async def test_a_takeover_hands_over_everything_in_order(outbox: Outbox) -> None:
    entries = [owed(process="dead", commit=commit, sequence=sequence) for commit in (3, 1) for sequence in (2, 1)]
    await outbox.insert([*entries, owed(process="alive", commit=1)])
    assert await outbox.claim("dead", "heir", "c") == 4
    assert await outbox.claim("dead", "other", "d") == 0
    assert await outbox.owners() == {"alive", "heir"}
    first = await outbox.claimed("c", None, 3)
    assert [(one.commit, one.sequence) for one in first] == [(1, 1), (1, 2), (3, 1)]
    rest = await outbox.claimed("c", position(first[-1]), 3)
    assert [(one.commit, one.sequence) for one in rest] == [(3, 2)]
    assert await outbox.claimed("c", position(rest[-1]), 3) == []


async def test_of_two_that_take_over_at_once_each_notification_goes_to_one(outbox: Outbox) -> None:
    entries = [owed(process="dead") for _ in range(40)]
    await outbox.insert(entries)
    counts = await asyncio.gather(*(outbox.claim("dead", heir, f"of {heir}") for heir in "ab"))
    claimed = [one for heir in "ab" for one in await outbox.claimed(f"of {heir}", None, 100)]
    assert sum(counts) == len(claimed) == 40
    assert sorted(one.id for one in claimed) == sorted(one.id for one in entries)


async def test_a_process_is_alive_until_its_lease_runs_out_or_it_leaves(mongo: Mongo) -> None:
    processes = Processes(mongo, lease=0.5)
    await processes.prepare()
    await processes.beat("a", {"host": "h", "pid": 1})
    await processes.beat("b")
    assert await processes.alive() == {"a", "b"}
    await processes.leave("b")
    assert await processes.alive() == {"a"}

    async def nobody_is_alive() -> bool:
        return not await processes.alive()

    await until(nobody_is_alive)
    await processes.beat("a")
    assert await processes.alive() == {"a"}


async def test_one_living_process_inherits_and_another_only_when_it_dies(mongo: Mongo) -> None:
    processes = Processes(mongo)
    alive = {"a", "b"}
    won = await asyncio.gather(*(processes.inherit("dead", one, alive) for one in alive))
    assert sorted(won) == [False, True]
    heir, other = ("a", "b") if await processes.inherit("dead", "a", alive) else ("b", "a")
    assert not await processes.inherit("dead", other, alive)
    assert await processes.inherit("dead", other, alive - {heir})
    await processes.beat("dead")
    assert await processes.inherit("dead", heir, alive)


async def test_a_subscription_is_kept_per_tenant_edited_by_version_and_deleted(
    subscriptions: SubscriptionStore,
) -> None:
    kept = await subscriptions.insert("", "urn:s:1", {"q": "a"}, EARLIER)
    await subscriptions.insert("city", "urn:s:1", {"q": "b"}, EARLIER)
    with pytest.raises(AlreadyExists):
        await subscriptions.insert("", "urn:s:1", {"q": "c"}, NOW)
    assert await subscriptions.get("", "urn:s:1") == kept
    edited = await subscriptions.replace("", "urn:s:1", {"q": "d"}, version=1, now=NOW)
    assert edited is not None
    assert (edited["version"], edited["definition"], edited["modifiedAt"]) == (2, {"q": "d"}, NOW)
    assert await subscriptions.replace("", "urn:s:1", {"q": "e"}, version=1, now=NOW) is None
    assert await subscriptions.delete("", "urn:s:1")
    assert not await subscriptions.delete("", "urn:s:1")
    assert [one["_id"]["tenant"] async for one in subscriptions.all()] == ["city"]


async def test_subscriptions_are_listed_in_pages_in_the_order_of_their_creation(
    subscriptions: SubscriptionStore,
) -> None:
    for number in (3, 1, 2):
        await subscriptions.insert("", f"urn:s:{number}", {}, f"2026-01-0{number}T00:00:00Z")
    await subscriptions.insert("city", "urn:s:0", {}, EARLIER)
    assert [one["_id"]["id"] for one in await subscriptions.list("", limit=2)] == ["urn:s:1", "urn:s:2"]
    assert [one["_id"]["id"] for one in await subscriptions.list("", limit=2, offset=2)] == ["urn:s:3"]
    assert await subscriptions.list("", limit=0) == []
    assert await subscriptions.count("") == 3


async def test_deliveries_add_up_and_an_edit_keeps_them(subscriptions: SubscriptionStore) -> None:
    await subscriptions.insert("", "urn:s:1", {}, EARLIER)
    await subscriptions.add_deliveries({("", "urn:s:1"): Deliveries(2, 1, NOW, NOW, EARLIER)})
    await subscriptions.replace("", "urn:s:1", {"q": "a"}, version=1, now=NOW)
    await subscriptions.add_deliveries(
        {("", "urn:s:1"): Deliveries(1, 0, EARLIER, None, None), ("", "urn:s:gone"): Deliveries(1)}
    )
    kept = await subscriptions.get("", "urn:s:1")
    assert kept is not None
    assert kept["delivery"] == {
        "timesSent": 3, "timesFailed": 1, "lastNotification": NOW, "lastSuccess": NOW, "lastFailure": EARLIER,
        "givenUp": 0, "failuresInRow": 0,
    }  # fmt: skip
    assert await subscriptions.count("") == 1, "counting does not create subscriptions"


async def test_failures_in_a_row_go_on_until_a_success(subscriptions: SubscriptionStore) -> None:
    await subscriptions.insert("", "urn:s:1", {}, EARLIER)

    async def after(**counted: Any) -> tuple[int, int, str]:
        await subscriptions.add_deliveries({("", "urn:s:1"): Deliveries(**counted)})
        kept = await subscriptions.get("", "urn:s:1")
        assert kept is not None
        delivery = kept["delivery"]
        return delivery["failuresInRow"], delivery["givenUp"], delivery["lastError"]

    assert await after(failed=2, in_row=2, last_error="one") == (2, 0, "one")
    assert await after(failed=1, in_row=1, given_up=1, last_error="two") == (3, 1, "two")
    assert await after(sent=2, failed=1, in_row=1, last_success=NOW, last_error="three") == (1, 1, "three")
    assert await after(sent=1, last_success=NOW) == (0, 1, "three")


async def test_what_is_owed_is_told_by_subscription(outbox: Outbox) -> None:
    await outbox.insert([owed(created_at=5.0), owed(created_at=3.0), owed(subscription_id="urn:s:2", created_at=4.0)])
    await outbox.insert([owed(tenant="city", created_at=1.0)])
    assert await outbox.backlogs("") == {"urn:s:1": Backlog(2, 3.0), "urn:s:2": Backlog(1, 4.0)}
    assert await outbox.backlogs("nobody") == {}


async def test_under_throttling_one_notification_has_the_turn_whoever_asks(subscriptions: SubscriptionStore) -> None:
    await subscriptions.insert("", "urn:s:1", {}, EARLIER)
    ids = [f"urn:n:{number}" for number in range(8)]
    turns = await asyncio.gather(*(subscriptions.take_turn("", "urn:s:1", one, 0.5) for one in ids))
    [winner] = {turn.holder for turn in turns}
    assert winner in ids
    assert all(0 < turn.wait <= 0.5 for turn in turns), "all learn how long to wait"
    again = await subscriptions.take_turn("", "urn:s:1", winner, 0.5)
    assert (again.holder, again.wait) == (winner, 0.5), "a repetition keeps its turn, and begins it anew"
    other = next(one for one in ids if one != winner)

    async def has_turn() -> bool:
        return (await subscriptions.take_turn("", "urn:s:1", other, 0.5)).holder == other

    assert not await has_turn()
    await until(has_turn)
    assert (await subscriptions.take_turn("", "urn:s:gone", other, 0.5)).holder != other


async def test_edits_are_followed_and_counting_is_no_edit(subscriptions: SubscriptionStore) -> None:
    async with subscriptions.edits() as edits:
        await subscriptions.insert("city", "urn:s:1", {"q": "a"}, EARLIER)
        await subscriptions.add_deliveries({("city", "urn:s:1"): Deliveries(1, 0, NOW, NOW, None)})
        await subscriptions.take_turn("city", "urn:s:1", "urn:n:1", 1)
        async with asyncio.timeout(10):
            assert await _until_q(edits, "a") == "a"
            await subscriptions.replace("city", "urn:s:1", {"q": "b"}, version=1, now=NOW)
            assert await _until_q(edits, "b") == "b"
            await subscriptions.add_deliveries({("city", "urn:s:1"): Deliveries(1, 0, NOW, NOW, None)})
            await subscriptions.delete("city", "urn:s:1")
            assert await _until_q(edits, None) is None


async def _until_q(edits: AsyncIterator[SubscriptionEdit], wanted: str | None) -> str | None:
    """Read edits, of which some come twice, until the q is the wanted one (None: deleted)."""
    while True:
        edit = await anext(edits)
        assert (edit.tenant, edit.subscription_id) == ("city", "urn:s:1")
        q = None if edit.document is None else edit.document["definition"]["q"]
        if q == wanted:
            return q
