"""Finding the Context of a request: keys, the core, nesting, bounds, freshness. Downloads come from a dictionary."""

import asyncio
from typing import Any

import pytest

from broker.jsonld import contexts as module
from broker.jsonld.combining import MAX_DEPTH, MAX_DOCUMENTS, MAX_ELEMENTS, MAX_TERMS
from broker.jsonld.contexts import CORE_CONTEXT_URL, Contexts
from broker.jsonld.processing import combined_terms
from broker.ngsild.errors import BadRequestData, LdContextNotAvailable
from broker.ngsild.model import NGSI_LD_BASE
from broker.outbound import InvalidAnswer, JsonAnswer, OutboundError

CORE_URLS = [
    f"{scheme}://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context{version}.jsonld"
    for scheme in ("http", "https")
    for version in ("", "-v1.3", "-v1.6", "-v1.9", "-v1.10", "-v1.3.1")
]
A, B = "https://e.org/a", "https://e.org/b"


class Web:
    """Documents by URL, and the downloads that were made of them. An exception is raised instead."""

    def __init__(self, **documents: Any) -> None:
        self.documents = {f"https://e.org/{name}": document for name, document in documents.items()}
        self.headers: dict[str, str] = {}
        self.downloads: list[str] = []
        self.moved: dict[str, str] = {}

    async def get_json(self, url: str, **_: Any) -> JsonAnswer:
        self.downloads.append(url)
        await asyncio.sleep(0)
        document = self.documents.get(url, OutboundError("it answered 404"))
        if isinstance(document, Exception):
            raise document
        return JsonAnswer(document, self.headers, self.moved.get(url, url))


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def term(name: str, iri: str) -> dict[str, Any]:
    return {"@context": {name: iri}}


@pytest.mark.parametrize("url", CORE_URLS)
async def test_every_published_core_url_is_the_core(url: str):
    contexts = Contexts(Web())

    for source in (url, [url], [[url], url], {"@context": url}, [None, url]):
        assert contexts.peek(source) is contexts.core
        assert await contexts.resolve(source) is contexts.core


@pytest.mark.parametrize("source", [None, [], [None], [[]]])
async def test_no_context_is_the_core(source: Any):
    contexts = Contexts(Web())

    assert contexts.peek(source) is contexts.core
    assert await contexts.resolve(source) is contexts.core
    assert contexts.core.source == contexts.core.link == CORE_CONTEXT_URL


@pytest.mark.parametrize("name", ["ngsi-ld-core-context-non-existing.jsonld", "ngsi-ld-core-context-v1.jsonld"])
async def test_other_documents_beside_the_core_are_not_the_core(name: str):
    with pytest.raises(LdContextNotAvailable):
        await Contexts(Web()).resolve(f"https://uri.etsi.org/ngsi-ld/v1/{name}")


async def test_a_context_of_one_url_has_a_link():
    contexts = Contexts(Web(a=term("speed", "http://e.org/speed")))

    context = await contexts.resolve(A)

    assert context.expand("speed") == "http://e.org/speed"
    assert (context.source, context.link, context.served) == ([A, CORE_CONTEXT_URL], A, "link")
    for source in (A, [A], [A, CORE_CONTEXT_URL], [CORE_CONTEXT_URL, A], {"@context": [A]}):
        assert contexts.peek(source) is context


async def test_a_context_of_several_parts_is_served_in_the_body():
    contexts = Contexts(Web(a=term("speed", "http://e.org/speed")))
    inline = {"name": "http://e.org/name"}

    context = await contexts.resolve([[A, CORE_CONTEXT_URL], inline])

    assert context.expand("name") == "http://e.org/name"
    assert context.expand("speed") == "http://e.org/speed"
    assert (context.source, context.link, context.served) == ([A, inline, CORE_CONTEXT_URL], None, "body")


async def test_an_inline_context_is_remembered_by_its_content():
    contexts = Contexts(Web())
    context = await contexts.resolve({"a": "http://e.org/a", "b": "http://e.org/b"})

    assert contexts.peek({"b": "http://e.org/b", "a": "http://e.org/a"}) is context
    assert contexts.peek([CORE_CONTEXT_URL, {"b": "http://e.org/b", "a": "http://e.org/a"}]) is context
    assert contexts.peek({"b": "http://e.org/b"}) is None


async def test_the_last_definition_wins_but_never_against_the_core():
    contexts = Contexts(Web(a=term("speed", "http://a.org/speed"), b=term("location", "http://b.org/location")))

    assert (await contexts.resolve([A, {"speed": "http://i.org/speed"}])).expand("speed") == "http://i.org/speed"
    assert (await contexts.resolve([{"speed": "http://i.org/speed"}, A])).expand("speed") == "http://a.org/speed"
    assert (await contexts.resolve([CORE_CONTEXT_URL, B])).expand("location") == NGSI_LD_BASE + "location"


async def test_a_null_forgets_what_stands_before_it():
    context = await Contexts(Web()).resolve([{"a": "http://e.org/a"}, None, {"b": "http://e.org/b"}])

    assert context.expand("a") != "http://e.org/a"
    assert context.source == [{"b": "http://e.org/b"}, CORE_CONTEXT_URL]


async def test_relative_urls_are_resolved_against_the_document_that_holds_them():
    web = Web(a={"@context": ["other/c", "/b"]}, b=term("b", "http://e.org/b"))
    web.moved[A] = "https://cdn.org/v1/a"
    web.documents["https://cdn.org/v1/other/c"] = term("c", "http://e.org/c")
    web.documents["https://cdn.org/b"] = web.documents[B]

    context = await Contexts(web).resolve(A)

    assert context.expand("c") == "http://e.org/c"
    assert context.expand("b") == "http://e.org/b"


async def test_an_import_is_loaded_and_may_be_overridden():
    web = Web(a=term("x", "http://a.org/x"), b={"@context": {"@import": "a", "y": "http://b.org/y"}})
    web.documents[A]["@context"]["y"] = "http://a.org/y"

    context = await Contexts(web).resolve(B)

    assert (context.expand("x"), context.expand("y")) == ("http://a.org/x", "http://b.org/y")


async def test_a_document_may_stand_in_two_places():
    web = Web(a={"@context": ["b", "b"]}, b=term("b", "http://e.org/b"))

    assert (await Contexts(web).resolve([A, B])).expand("b") == "http://e.org/b"
    assert sorted(web.downloads) == [A, B]


@pytest.mark.parametrize(
    ("documents", "reason"),
    [
        ({"a": {"@context": "a"}}, "contains itself"),
        ({"a": {"@context": ["b"]}, "b": {"@context": ["a"]}}, "contains itself"),
        ({"a": {"@context": {"@import": "b"}}, "b": {"@context": {"@import": "a"}}}, "cannot be imported"),
        ({"a": {"@context": {"@import": 5}}}, "no URL"),
        ({"a": {"@context": 5}}, "expected a URL"),
        ({"a": {"@context": {"x": 5}}}, "not valid JSON-LD"),
        ({"a": {"context": {}}}, "no @context"),
        ({"a": []}, "no @context"),
        ({"a": InvalidAnswer("its answer is not JSON")}, "not JSON"),
        ({"a": {"@context": [{}] * (MAX_ELEMENTS + 1)}}, "elements"),
        ({"a": {"@context": {f"t{number}": "http://e.org/" for number in range(MAX_TERMS + 1)}}}, "terms"),
        ({"a": {"@context": [f"x{number}" for number in range(MAX_DOCUMENTS)]}}, "one too many"),
    ],
)
async def test_a_document_that_is_no_usable_context_is_refused(documents: dict[str, Any], reason: str):
    web = Web(**documents)
    web.documents |= {f"https://e.org/x{number}": {"@context": {}} for number in range(MAX_DOCUMENTS)}

    with pytest.raises(BadRequestData, match=reason):
        await Contexts(web).resolve(A)


async def test_documents_inside_each_other_have_a_bound():
    chain = {f"x{number}": {"@context": f"x{number + 1}"} for number in range(MAX_DEPTH + 1)}

    with pytest.raises(BadRequestData, match="one too many"):
        await Contexts(Web(**chain)).resolve("https://e.org/x0")


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"@id": value}
    return {"a": value}


@pytest.mark.parametrize("source", [5, True, "relative", "", "urn:a:b", [5], {"a": 10**30}, nested(500), "http://[::1"])
async def test_what_is_no_context_is_refused(source: Any):
    contexts = Contexts(Web())

    assert contexts.peek(source) is None
    with pytest.raises(BadRequestData):
        await contexts.resolve(source)


async def test_an_unreachable_context_is_tried_again_after_some_seconds():
    web, clock = Web(), Clock()
    contexts = Contexts(web, clock=clock)

    for _ in range(3):
        with pytest.raises(LdContextNotAvailable, match=A):
            await contexts.resolve(A)
    assert web.downloads == [A]

    clock.now += 6
    web.documents[A] = term("speed", "http://e.org/speed")
    assert (await contexts.resolve(A)).expand("speed") == "http://e.org/speed"


async def test_one_download_serves_all_who_wait_for_it():
    web = Web(a=term("speed", "http://e.org/speed"))
    contexts = Contexts(web)

    found = await asyncio.gather(*(contexts.resolve(source) for source in [A, [A], [A, {}]] * 50))

    assert web.downloads == [A]
    assert len(set(found)) == 2


async def test_a_large_context_is_processed_once_for_all_who_wait_for_it(monkeypatch: pytest.MonkeyPatch):
    processed = []

    def counted(parts: Any) -> Any:
        processed.append(parts)
        return combined_terms(parts)

    monkeypatch.setattr(module, "combined_terms", counted)
    contexts = Contexts(Web())
    source = {f"t{number}": f"http://e.org/{number}" for number in range(600)}

    found = await asyncio.gather(*(contexts.resolve(source) for _ in range(10)))

    assert len(set(found)) == len(processed) == 1


async def test_a_client_that_goes_away_does_not_end_the_download_for_others():
    contexts = Contexts(Web(a=term("speed", "http://e.org/speed")))
    first, second = (asyncio.create_task(contexts.resolve(A)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()

    assert (await second).expand("speed") == "http://e.org/speed"


async def test_a_context_is_asked_for_again_when_its_time_is_over():
    web, clock = Web(a=term("speed", "http://e.org/old")), Clock()
    web.headers = {"Cache-Control": "max-age=100"}
    contexts = Contexts(web, clock=clock)
    before = await contexts.resolve(A)

    clock.now += 99
    assert contexts.peek(A) is before
    clock.now += 2
    assert contexts.peek(A) is None
    assert await contexts.resolve(A) is before, "the document is the same"
    clock.now += 101
    web.documents[A] = term("speed", "http://e.org/new")
    assert (await contexts.resolve(A)).expand("speed") == "http://e.org/new"
    assert web.downloads == [A] * 3


async def test_a_stale_context_serves_on_while_its_server_is_down():
    web, clock = Web(a=term("speed", "http://e.org/speed")), Clock()
    contexts = Contexts(web, clock=clock)
    before = await contexts.resolve(A)
    del web.documents[A]

    clock.now += 2 * 86_400
    assert await contexts.resolve(A) is before
    assert contexts.peek(A) is before, "no request asks again for a while"
    clock.now += 61
    assert contexts.peek(A) is None
    assert await contexts.resolve(A) is before


async def test_only_so_many_contexts_are_kept_the_latest_used_ones():
    contexts = Contexts(Web(), capacity=3)
    sources = [{"a": f"http://e.org/{number}"} for number in range(4)]
    for source in sources[:3]:
        await contexts.resolve(source)
    contexts.peek(sources[0])
    await contexts.resolve(sources[3])

    assert [contexts.peek(source) is not None for source in sources] == [True, False, True, True]


async def test_fewer_contexts_are_kept_where_they_are_large(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_HELD_TERMS", 15)
    contexts = Contexts(Web())
    sources = [{f"t{number}": f"http://e.org/{which}" for number in range(6)} for which in range(3)]
    for source in sources:
        await contexts.resolve(source)

    assert [contexts.peek(source) is not None for source in sources] == [False, True, True]


async def test_a_large_context_does_not_stop_the_event_loop():
    contexts = Contexts(Web())
    source = {f"t{number}": f"http://e.org/{number}" for number in range(5_000)}
    resolving = asyncio.create_task(contexts.resolve(source))

    turns = 0
    while not resolving.done():
        await asyncio.sleep(0.001)
        turns += 1

    assert turns > 3
    assert (await resolving).expand("t4999") == "http://e.org/4999"


async def test_closing_ends_the_downloads_under_way():
    class Endless:
        async def get_json(self, url: str, **_: Any) -> JsonAnswer:
            await asyncio.Event().wait()
            raise AssertionError(url)

    contexts = Contexts(Endless())
    waiting = asyncio.create_task(contexts.resolve(A))
    await asyncio.sleep(0.01)

    await contexts.close()

    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_an_answer_shows_the_core_once_where_the_document_of_the_client_ends_with_it():
    contexts = Contexts(Web(a={"@context": [B, CORE_CONTEXT_URL]}, b=term("speed", "http://b.org/speed")))

    assert (await contexts.resolve(A)).source == A
    assert (await contexts.resolve([B, A])).source == [B, A]
    assert (await contexts.resolve([A, {"x": "http://i.org/x"}])).source == [
        A,
        {"x": "http://i.org/x"},
        CORE_CONTEXT_URL,
    ]
    assert (await contexts.resolve(B)).source == [B, CORE_CONTEXT_URL]
