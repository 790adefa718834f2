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
