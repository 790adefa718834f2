"""@contexts in MongoDB: for other processes, and over restarts."""

import asyncio
import gc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.jsonld.contexts import Contexts
from broker.jsonld.core import CORE_CONTEXT_URL
from broker.jsonld.usage import Usage
from broker.ngsild.errors import Unavailable
from broker.outbound import JsonAnswer, OutboundError
from broker.storage.client import Mongo
from broker.storage.contexts import CACHED, HOSTED, IMPLICIT, ContextEdit, ContextStore
from broker.storage.edits import Edits

URL = "https://e.org/context.jsonld"
DOCUMENT: dict[str, Any] = {
    "@context": {"$a.b": "http://e.org/ab", "name": {"@id": "http://e.org/name", "@type": "@id"}, "ü": "http://e.org/ü"}
}
LATER = datetime(2100, 1, 2, 3, 4, 5, tzinfo=UTC)


class Web:
    def __init__(self, document: Any) -> None:
        self.document = document
        self.downloads = 0

    async def get_json(self, url: str, **_: Any) -> JsonAnswer:
        self.downloads += 1
        if self.document is None:
            raise OutboundError("it answered 404")
        return JsonAnswer(self.document, {"Cache-Control": "max-age=600"}, url)


@pytest.fixture(params=["pymongo", "motor"])
async def mongo(request: pytest.FixtureRequest, mongo_uri: str, database_name: str) -> AsyncIterator[Mongo]:
    if request.param == "motor":
        pytest.importorskip("motor")
    mongo = await Mongo.connect(mongo_uri, driver_name=request.param, database=database_name)
    yield mongo
    await mongo.close()


@pytest.fixture
async def store(mongo: Mongo) -> ContextStore:
    store = ContextStore(mongo.control, Edits(mongo.control))
    await store.prepare()
    return store


async def test_a_context_comes_back_as_it_was_put(store: ContextStore):
    assert await store.get(URL) is None

    await store.put(URL, DOCUMENT, LATER)

    found = await store.get(URL)
    assert found is not None
    assert (found.url, found.document, found.kind, found.expires_at) == (URL, DOCUMENT, CACHED, LATER)
    assert abs(found.created_at - datetime.now(UTC)) < timedelta(minutes=1)


async def test_a_later_download_takes_the_place_of_the_earlier_one(store: ContextStore, mongo: Mongo):
    await store.put(URL, DOCUMENT, LATER)
    await store.put(URL, {"@context": {}}, LATER + timedelta(days=1))

    found = await store.get(URL)
    assert found is not None
    assert (found.document, found.expires_at) == ({"@context": {}}, LATER + timedelta(days=1))
    assert await mongo.control["contexts"].count_documents({"_id": URL}) == 1


async def test_preparing_twice_is_fine(store: ContextStore, mongo: Mongo):
    await store.prepare()

    indexes = await mongo.control["contexts"].index_information()
    assert indexes["expired"]["expireAfterSeconds"] == 90 * 86_400


async def test_another_process_does_not_download_again(store: ContextStore):
    first, second = Web(DOCUMENT), Web(None)
    await Contexts(first, store).resolve(URL)

    context = await Contexts(second, store).resolve(URL)

    assert context.expand("name") == "http://e.org/name"
    assert (first.downloads, second.downloads) == (1, 0)


async def test_a_stale_context_of_the_database_serves_while_its_server_is_down(store: ContextStore):
    await store.put(URL, DOCUMENT, datetime.now(UTC) - timedelta(days=10))
    web = Web(None)

    context = await Contexts(web, store).resolve(URL)

    assert context.expand("name") == "http://e.org/name"
    assert web.downloads == 1


async def test_a_stale_context_of_the_database_is_refreshed(store: ContextStore):
    await store.put(URL, DOCUMENT, datetime.now(UTC) - timedelta(days=10))

    context = await Contexts(Web({"@context": {"name": "http://e.org/new"}}), store).resolve(URL)

    assert context.expand("name") == "http://e.org/new"
    found = await store.get(URL)
    assert found is not None
    assert found.expires_at > datetime.now(UTC)


async def test_what_needs_no_download_is_noted_once(store: ContextStore):
    await store.note(URL, DOCUMENT)
    await store.note(URL, {"@context": {}})

    found = await store.get(URL)
    assert found is not None
    assert (found.document, found.expires_at, found.hits) == (DOCUMENT, None, 0)


async def test_a_tenant_sees_its_own_and_the_cached_ones(store: ContextStore):
    await store.put(URL, DOCUMENT, LATER)
    await store.add("urn:a", "", DOCUMENT)
    await store.add("urn:b", "city", DOCUMENT, IMPLICIT)

    assert [one.record for one in await store.list("")] == [CORE_CONTEXT_URL, URL, "urn:a"]
    assert [one.record for one in await store.list("city")] == [CORE_CONTEXT_URL, URL, "urn:b"]
    assert [one.record for one in await store.list("city", IMPLICIT)] == ["urn:b"]
    assert [one.record for one in await store.list("city", HOSTED)] == []


async def test_a_context_is_found_by_either_name(store: ContextStore):
    await store.put(URL, DOCUMENT, LATER)
    by_url = await store.find(URL)
    assert by_url is not None

    assert await store.find("urn:other", by_url.local_id) == by_url
    assert await store.find("urn:other") is None


async def test_uses_add_up_and_survive_a_new_download(store: ContextStore):
    await store.put(URL, DOCUMENT, LATER)
    await store.add_usage({URL: Usage(2, 2_000_000_000.0), "urn:deleted": Usage(1, 1.0)})
    await store.add_usage({URL: Usage(3, 1_000_000_000.0)})
    await store.put(URL, {"@context": {}}, LATER)
    await store.add_usage({})

    found = await store.get(URL)
    assert found is not None
    assert (found.hits, found.last_usage) == (5, datetime.fromtimestamp(2_000_000_000, UTC))
    assert await store.find("urn:deleted") is None


async def test_new_versions_and_deletions_are_reported_and_uses_are_not(store: ContextStore):
    await store.put(URL, DOCUMENT, LATER)
    await store.add("urn:a", "", DOCUMENT)
    async with store.edits() as edits:
        await store.add_usage({URL: Usage(1, 1.0)})
        version = await store.put(URL, {"@context": {}}, LATER)
        assert await store.delete("urn:a")
        async with asyncio.timeout(10):
            wanted = {ContextEdit(URL, version), ContextEdit("urn:a", None)}
            async for edit in edits:  # one may come twice, and before it is made
                wanted.discard(edit)
                if not wanted:
                    break
    assert not await store.delete("urn:a")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_lost_storage_is_unavailable():
    mongo = Mongo(_client_of_nothing(), "nothing")
    store = ContextStore(mongo.control, Edits(mongo.control))

    for operation in (
        *(store.get(URL), store.find(URL), store.list(""), store.prepare(), store.note(URL, DOCUMENT)),
        *(store.put(URL, DOCUMENT, LATER), store.add("urn:a", "", DOCUMENT), store.delete(URL)),
        store.add_usage({URL: Usage(1, 1.0)}),
    ):
        with pytest.raises(Unavailable):
            await operation
    await mongo.close()
    # PyMongo leaves the socket of an attempt under way to the garbage collector: let it warn here, not in another test.
    del mongo, store, operation
    gc.collect()


async def test_a_context_that_cannot_be_stored_still_serves():
    class ReadOnly:
        async def get(self, url: str) -> None:
            await asyncio.sleep(0)

        async def put(self, url: str, document: Any, expires_at: datetime) -> str:
            raise Unavailable("The storage does not answer.")

        async def note(self, url: str, document: Any) -> None:
            raise Unavailable("The storage does not answer.")

    assert (await Contexts(Web(DOCUMENT), ReadOnly()).resolve(URL)).expand("name") == "http://e.org/name"


def _client_of_nothing() -> Any:
    from pymongo import AsyncMongoClient

    return AsyncMongoClient("mongodb://127.0.0.1:1/?directConnection=true", serverSelectionTimeoutMS=100)
