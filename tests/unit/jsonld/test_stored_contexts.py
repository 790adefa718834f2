"""@contexts of the broker's own, and what happens when those that are kept change: the store is a dictionary here."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from broker.jsonld.contexts import Contexts
from broker.jsonld.identifiers import cached_local_id, implicit_local_id, local_id_in, new_local_id, own_path
from broker.ngsild.errors import BadRequestData, LdContextNotAvailable
from broker.outbound import JsonAnswer, OutboundError

SPEED = {"@context": {"speed": "http://e.org/speed"}}
URL = "https://e.org/a"


@dataclass
class Record:
    document: Any
    version: str = "1"
    owner: str = ""
    expires_at: datetime | None = None


class Kept:
    """A store; `asked` are the names that were looked for."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.asked: list[str] = []

    async def get(self, name: str) -> Record | None:
        self.asked.append(name)
        return self.records.get(name)

    async def put(self, url: str, document: Any, expires_at: datetime) -> str:
        version = str(int(self.records[url].version) + 1 if url in self.records else 1)
        self.records[url] = Record(document, version, expires_at=expires_at)
        return version

    async def note(self, url: str, document: Any) -> None:
        self.records.setdefault(url, Record(document))


class Web:
    def __init__(self, document: Any = None) -> None:
        self.document = document
        self.downloads: list[str] = []

    async def get_json(self, url: str, **_: Any) -> JsonAnswer:
        self.downloads.append(url)
        if self.document is None:
            raise OutboundError("it answered 404")
        return JsonAnswer(self.document, {}, url)


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def hosting(owner: str = "") -> tuple[Contexts, Kept, str]:
    kept, local_id = Kept(), new_local_id()
    kept.records[local_id] = Record(SPEED, owner=owner)
    return Contexts(Web(), kept), kept, local_id


@pytest.mark.parametrize("origin", ["http://localhost:1026", "https://gate.city.org/broker/a", "http://[::1]:80"])
async def test_an_own_context_is_found_whatever_its_url_calls_the_broker(origin: str):
    contexts, _, local_id = hosting()

    context = await contexts.resolve(origin + own_path(local_id))

    assert context.expand("speed") == "http://e.org/speed"
    assert context.link == origin + own_path(local_id)


@pytest.mark.parametrize(
    "url",
    [
        "http://b/ngsi-ld/v1/jsonldContexts/",
        "http://b/ngsi-ld/v1/jsonldContexts/a/b",
        "http://b/ngsi-ld/v1/entities/a",
        "ftp://b/ngsi-ld/v1/jsonldContexts/a",
        "/ngsi-ld/v1/jsonldContexts/a",
        "http://b/x?u=/ngsi-ld/v1/jsonldContexts/a",
    ],
)
def test_other_urls_are_those_of_no_stored_context(url: str):
    assert local_id_in(url) is None


def test_the_local_identifier_is_decoded():
    assert local_id_in("http://b/ngsi-ld/v1/jsonldContexts/urn%3Aa") == "urn:a"


def test_equal_content_has_one_implicit_identifier_in_each_tenant():
    assert implicit_local_id("", [{"a": 1, "b": 2}]) == implicit_local_id("", [{"b": 2, "a": 1}])
    different = {
        implicit_local_id("", ["a", "b"]), implicit_local_id("", ["b", "a"]), implicit_local_id("t", ["a", "b"]),
        cached_local_id("a"), cached_local_id("b"), new_local_id(), new_local_id(),
    }  # fmt: skip
    assert len(different) == 7


async def test_an_own_context_is_of_use_to_its_tenant_alone():
    contexts, _, local_id = hosting("city")
    url = "http://b" + own_path(local_id)
    context = await contexts.resolve([url, {"x": "http://e.org/x"}], "city")

    assert contexts.peek([url, {"x": "http://e.org/x"}], "city") is context
    for tenant in ("", "harbour"):
        assert contexts.peek([url, {"x": "http://e.org/x"}], tenant) is None
        with pytest.raises(LdContextNotAvailable):
            await contexts.resolve([url, {"x": "http://e.org/x"}], tenant)


async def test_an_own_context_of_the_default_tenant_is_of_use_to_all():
    contexts, _, local_id = hosting()

    assert (await contexts.resolve("http://b" + own_path(local_id), "city")).expand("speed") == "http://e.org/speed"


async def test_a_deleted_context_is_gone_from_memory():
    contexts, kept, local_id = hosting()
    url = "http://b" + own_path(local_id)
    await contexts.resolve([url, {"x": "http://e.org/x"}])
    del kept.records[local_id]

    contexts.forget(local_id)

    assert contexts.peek([url, {"x": "http://e.org/x"}]) is None
    with pytest.raises(LdContextNotAvailable):
        await contexts.resolve([url, {"x": "http://e.org/x"}])


async def test_a_context_deleted_while_it_is_read_is_not_kept():
    contexts, kept, local_id = hosting()
    url = "http://b" + own_path(local_id)
    found = kept.get

    async def deleted_meanwhile(name: str) -> Record | None:
        record = await found(name)
        kept.records.pop(local_id, None)
        contexts.forget(local_id)
        return record

    kept.get = deleted_meanwhile  # type: ignore[method-assign]
    await contexts.resolve(url)

    assert contexts.peek(url) is None
    with pytest.raises(LdContextNotAvailable):
        await contexts.resolve(url)


async def test_a_newer_version_is_read_from_the_store_and_the_own_version_is_not():
    web, kept = Web(SPEED), Kept()
    contexts = Contexts(web, kept)
    before = await contexts.resolve(URL)
    kept.asked.clear()

    contexts.forget(URL, kept.records[URL].version)
    assert contexts.peek(URL) is before
    contexts.forget(URL, "another version of the same")
    assert contexts.peek(URL) is None
    assert await contexts.resolve(URL) is before, "the terms are the same"
    kept.records[URL].document = {"@context": {"speed": "http://e.org/new"}}
    contexts.forget(URL, "yet another")
    assert (await contexts.resolve(URL)).expand("speed") == "http://e.org/new"
    assert (kept.asked, web.downloads) == ([URL, URL], [URL])


async def test_after_a_gap_everything_is_looked_up_again():
    contexts, kept, local_id = hosting()
    url = "http://b" + own_path(local_id)
    await contexts.resolve(url)

    contexts.forget_all()

    assert contexts.peek(url) is None
    await contexts.resolve(url)
    assert kept.asked == [local_id, local_id]


async def test_reloading_takes_the_new_document_at_once():
    web, kept = Web(SPEED), Kept()
    contexts = Contexts(web, kept)
    await contexts.resolve(URL)
    web.document = {"@context": {"speed": "http://e.org/new"}}

    await contexts.reload(URL)

    assert (await contexts.resolve(URL)).expand("speed") == "http://e.org/new"
    assert kept.records[URL].document == web.document
    assert len(web.downloads) == 2


@pytest.mark.parametrize(
    "document", [None, {"no": "context"}, {"@context": 5}, {"@context": {"a": 5}}, {"@context": URL}]
)
async def test_a_reload_that_fails_changes_nothing(document: Any):
    web, kept = Web(SPEED), Kept()
    contexts = Contexts(web, kept)
    before = await contexts.resolve(URL)
    web.document = document

    with pytest.raises(LdContextNotAvailable):
        await contexts.reload(URL)

    assert contexts.peek(URL) is before
    assert kept.records[URL].document == SPEED


async def test_uses_are_counted_for_every_document_and_taken_once():
    clock, kept = Clock(), Kept()
    kept.records["https://e.org/b"] = Record({"@context": {"b": "http://e.org/b"}})
    kept.records[URL] = Record({"@context": ["https://e.org/b", {"a": "http://e.org/a"}]})
    contexts = Contexts(Web(), kept, clock=clock)
    await contexts.resolve(URL)
    clock.now += 5
    contexts.peek(URL)
    contexts.peek(None)
    contexts.count("urn:x")

    usage = contexts.take_usage()
    assert usage == {URL: (2, clock.now), "https://e.org/b": (2, clock.now), "urn:x": (1, clock.now)}
    assert contexts.take_usage() == {}

    contexts.return_usage(usage)
    contexts.peek(URL)
    assert contexts.take_usage()[URL] == (3, clock.now)


async def test_the_uses_of_a_context_that_left_the_memory_are_not_lost():
    kept = Kept()
    kept.records[URL] = Record(SPEED)
    contexts = Contexts(Web(), kept, capacity=1)
    await contexts.resolve(URL)
    await contexts.resolve({"x": "http://e.org/x"})

    assert contexts.take_usage()[URL].hits == 1


async def test_the_uses_of_a_deleted_context_are_forgotten():
    contexts, _, local_id = hosting()
    await contexts.resolve("http://b" + own_path(local_id))

    contexts.forget(local_id)

    assert contexts.take_usage() == {}


@pytest.mark.parametrize("context", [5, True, [URL, 7], {"a": 5}, "relative", ["/ngsi-ld/v1/jsonldContexts/x"]])
async def test_a_check_refuses_what_could_not_be_used_without_a_download(context: Any):
    web = Web()
    with pytest.raises(BadRequestData):
        await Contexts(web).check("in the body", context)
    assert web.downloads == []


async def test_a_check_needs_what_the_context_refers_to():
    with pytest.raises(LdContextNotAvailable):
        await Contexts(Web()).check("in the body", [URL])
    await Contexts(Web(SPEED)).check(
        "in the body", [URL, None, {"x": {"@id": "http://e.org/x", "@context": {"y": "z"}}}]
    )
