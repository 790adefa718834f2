"""Following what any process edits."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from broker.ngsild.errors import Unavailable
from broker.storage import edits as edits_module
from broker.storage.client import Mongo
from broker.storage.edits import Edits, Keys


@pytest.fixture(params=["pymongo", "motor"])
async def mongo(request: pytest.FixtureRequest, mongo_uri: str, database_name: str) -> AsyncIterator[Mongo]:
    if request.param == "motor":
        pytest.importorskip("motor")
    connected = await Mongo.connect(mongo_uri, driver_name=request.param, database=database_name)
    yield connected
    await connected.close()


@pytest.fixture
async def edits(mongo: Mongo) -> Edits:
    made = Edits(mongo.control)
    await made.prepare()
    return made


async def note(edits: Edits, collection: str, *keys: Any) -> None:
    async with edits.editing(collection, keys):
        pass


async def until(followed: AsyncIterator[Keys], *wanted: Any) -> list[Any]:
    """All that comes until everything wanted has come."""
    came: list[Any] = []
    async with asyncio.timeout(5):
        while not all(one in came for one in wanted):
            came += await anext(followed)
    return came


async def test_what_any_process_edits_comes_to_all_who_follow_that_collection(mongo: Mongo, edits: Edits) -> None:
    other = Edits(mongo.control)
    async with edits.following("a") as first, edits.following("a") as second, other.following("b") as third:
        await note(other, "a", {"tenant": "", "id": "urn:1"}, {"tenant": "city", "id": "urn:1"})
        await note(edits, "b", "urn:2")
        for followed in (first, second):
            await until(followed, {"tenant": "", "id": "urn:1"}, {"tenant": "city", "id": "urn:1"})
        assert set(await until(third, "urn:2")) == {"urn:2"}


async def test_each_edit_of_the_same_comes(edits: Edits) -> None:
    async with edits.following("a") as followed:
        for _ in range(3):
            await note(edits, "a", 1)
            await until(followed, 1)


async def test_what_was_edited_before_does_not_come(edits: Edits) -> None:
    await note(edits, "a", 1)
    async with edits.following("a") as followed:
        await note(edits, "a", 2)
        assert set(await until(followed, 2)) == {2}


async def test_an_edit_whose_process_dies_comes_again_later(edits: Edits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edits_module, "_LOOK_AGAIN", 0.6)
    dying = edits.editing("a", [1])
    await dying.__aenter__()
    async with edits.following("a") as followed:
        await until(followed, 1)
    async with edits.following("a") as followed:
        another = edits.editing("a", [2])
        await another.__aenter__()
        came = await until(followed, 2)
        assert came.count(2) == 1
        await until(followed, 2)


async def test_a_note_that_becomes_visible_late_is_not_missed(mongo: Mongo, edits: Edits) -> None:
    now = (await mongo.control.command("hello"))["localTime"]
    late = {"_id": {"of": "a", "key": "late"}, "at": now - timedelta(seconds=1), "open": False, "number": 1}
    async with edits.following("a") as followed:
        await note(edits, "a", "sooner")
        await until(followed, "sooner")
        await mongo.control["edits"].insert_one(late)
        assert await until(followed, "late") == ["late"]


async def test_a_follower_hears_that_the_storage_is_lost_and_may_come_back(
    edits: Edits, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(since: datetime) -> list[dict[str, Any]]:
        raise Unavailable("lost")

    async with edits.following("a") as followed:
        with monkeypatch.context() as patched:
            patched.setattr(edits, "_notes", lost)
            with pytest.raises(Unavailable):
                await until(followed, 1)
    async with edits.following("a") as followed:
        await note(edits, "a", 1)
        await until(followed, 1)


async def test_who_begins_to_follow_while_the_last_one_leaves_hears_of_everything(edits: Edits) -> None:
    first = edits.following("a")
    await first.__aenter__()
    leaving = asyncio.create_task(first.__aexit__(None, None, None))
    await asyncio.sleep(0)
    async with edits.following("a") as followed:
        await leaving
        await note(edits, "a", 1)
        await until(followed, 1)


async def test_an_edit_under_way_is_looked_at_by_who_began_to_follow_after_its_note(
    mongo: Mongo, edits: Edits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edits_module, "_OVERLAP", timedelta(seconds=0.2))
    monkeypatch.setattr(edits_module, "_LOOK_AGAIN", 2.0)
    now = (await mongo.control.command("hello"))["localTime"]
    begun = {"_id": {"of": "a", "key": 1}, "at": now - timedelta(seconds=1), "open": True, "number": 1}
    await mongo.control["edits"].insert_one(begun)
    async with edits.following("a") as followed:
        await until(followed, 1)


@pytest.mark.parametrize("leap", [-4, 4])
async def test_followers_have_to_read_everything_where_another_primary_has_another_clock(
    edits: Edits, monkeypatch: pytest.MonkeyPatch, leap: int
) -> None:
    read = edits_module._Clock.read

    async def leapt(database: Any) -> edits_module._Clock:
        clock = await read(database)
        return edits_module._Clock(clock.now + timedelta(seconds=leap))

    monkeypatch.setattr(edits_module, "_CLOCK_GOOD_FOR", 0.0)
    async with edits.following("a") as followed:
        await note(edits, "a", 1)
        await until(followed, 1)
        monkeypatch.setattr(edits_module._Clock, "read", leapt)
        with pytest.raises(Unavailable, match="leapt"):
            await until(followed, 2)
