"""@contexts from a real server on 127.0.0.1, with the limits of a download."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from broker.jsonld.contexts import CORE_CONTEXT_URL, Contexts, Limits
from broker.ngsild.errors import BadRequestData, LdContextNotAvailable
from broker.outbound import Outbound, OutboundPolicy

LIMITS = Limits(timeout=0.5, max_bytes=2_000, max_redirects=2)


class Publisher:
    """A server of @contexts: `documents` by path; a number is a status, with "Location" the next path for a 302."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}
        self.headers: dict[str, str] = {}
        self.downloads: list[str] = []
        self.delay = 0.0
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        self.server = TestServer(application)

    async def _answer(self, request: web.Request) -> web.Response:
        self.downloads.append(request.path)
        await asyncio.sleep(self.delay)
        document = self.documents.get(request.path, 404)
        if isinstance(document, int):
            return web.Response(status=document, headers={"Location": request.path + "x"})
        text = document if isinstance(document, str) else json.dumps(document)
        return web.Response(text=text, content_type="application/ld+json", headers=self.headers)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.port}{path}"

    def publish(self, path: str, document: Any) -> str:
        self.documents[path] = document
        return self.url(path)


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    publisher = Publisher()
    async with publisher.server:
        yield publisher


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    outbound = Outbound(OutboundPolicy())
    await outbound.start()
    yield outbound
    await outbound.close()


@pytest.fixture
async def contexts(outbound: Outbound) -> AsyncIterator[Contexts]:
    contexts = Contexts(outbound, limits=LIMITS)
    yield contexts
    await contexts.close()


async def test_a_context_is_downloaded_once_under_concurrency(publisher: Publisher, contexts: Contexts):
    publisher.delay = 0.05
    url = publisher.publish("/a", {"@context": {"speed": "http://e.org/speed"}})

    sources = [url, [url, CORE_CONTEXT_URL], [url, {"name": "http://e.org/name"}]] * 30
    found = await asyncio.gather(*(contexts.resolve(source) for source in sources))

    assert publisher.downloads == ["/a"]
    assert {context.expand("speed") for context in found} == {"http://e.org/speed"}


async def test_a_compound_context_is_downloaded_with_its_parts(publisher: Publisher, contexts: Contexts):
    publisher.publish("/v1/terms", {"@context": {"speed": "http://e.org/speed"}})
    url = publisher.publish("/v1/compound", {"@context": ["terms", CORE_CONTEXT_URL]})

    context = await contexts.resolve(url)

    assert context.expand("speed") == "http://e.org/speed"
    assert context.source == url
    assert publisher.downloads == ["/v1/compound", "/v1/terms"]


async def test_a_redirect_leads_to_a_context_and_its_relative_parts(publisher: Publisher, contexts: Contexts):
    publisher.documents |= {"/a": 302, "/ax": {"@context": ["terms"]}, "/terms": {"@context": {"b": "http://e.org/b"}}}

    assert (await contexts.resolve(publisher.url("/a"))).expand("b") == "http://e.org/b"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (404, "it answered 404"),
        (500, "it answered 500"),
        (json.dumps({"@context": {"a": "http://e.org/" + "a" * 2_000}}), "more than 2000 bytes"),
    ],
)
async def test_a_context_that_cannot_be_retrieved_is_not_available(
    publisher: Publisher, contexts: Contexts, document: Any, reason: str
):
    with pytest.raises(LdContextNotAvailable, match=reason) as error:
        await contexts.resolve(publisher.publish("/a", document))

    assert error.value.status == 504


async def test_too_many_redirects_make_a_context_not_available(publisher: Publisher, contexts: Contexts):
    publisher.documents |= {"/a": 302, "/ax": 302, "/axx": 302, "/axxx": {"@context": {}}}

    await contexts.resolve(publisher.url("/ax"))
    with pytest.raises(LdContextNotAvailable, match="more than 2 redirects"):
        await contexts.resolve(publisher.url("/a"))


async def test_a_slow_server_makes_a_context_not_available(publisher: Publisher, contexts: Contexts):
    publisher.delay = 5.0

    with pytest.raises(LdContextNotAvailable, match=r"within 0\.5 s"):
        await contexts.resolve(publisher.publish("/a", {"@context": {}}))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a", "http://169.254.169.254/a", "http://does-not-exist.invalid/a"])
async def test_an_unreachable_server_makes_a_context_not_available(contexts: Contexts, url: str):
    with pytest.raises(LdContextNotAvailable, match=url):
        await contexts.resolve(url)


@pytest.mark.parametrize(
    "document", ["<html>", "[]", "{}", '{"@context": 5}', '{"@context": {"a": 5}}', '{"@context": "a"}']
)
async def test_a_document_that_is_no_context_is_bad_request_data(
    publisher: Publisher, contexts: Contexts, document: str
):
    with pytest.raises(BadRequestData) as error:
        await contexts.resolve(publisher.publish("/a", document))

    assert error.value.status == 400


async def test_an_expired_context_is_downloaded_again(publisher: Publisher, outbound: Outbound):
    now = 1_800_000_000.0
    publisher.headers = {"Cache-Control": "max-age=60"}
    contexts = Contexts(outbound, limits=LIMITS, clock=lambda: now)
    url = publisher.publish("/a", {"@context": {"speed": "http://e.org/old"}})
    await contexts.resolve(url)
    publisher.publish("/a", {"@context": {"speed": "http://e.org/new"}})

    now += 59
    assert (await contexts.resolve(url)).expand("speed") == "http://e.org/old"
    now += 2
    assert (await contexts.resolve(url)).expand("speed") == "http://e.org/new"


async def test_a_server_that_hangs_delays_no_request_for_a_known_context_for_long(
    publisher: Publisher, outbound: Outbound
):
    now = 1_800_000_000.0
    publisher.headers = {"Cache-Control": "max-age=60"}
    contexts = Contexts(outbound, limits=Limits(timeout=20.0), clock=lambda: now)
    url = publisher.publish("/a", {"@context": {"speed": "http://e.org/speed"}})
    await contexts.resolve(url)
    publisher.delay = 20.0
    now += 61

    async with asyncio.timeout(5):
        assert (await contexts.resolve(url)).expand("speed") == "http://e.org/speed"
        assert contexts.peek(url) is not None
    await contexts.close()


async def test_the_contexts_folder_comes_before_the_network(publisher: Publisher, outbound: Outbound, tmp_path: Path):
    url = publisher.publish("/a", {"@context": {"speed": "http://e.org/network"}})
    (tmp_path / "a.jsonld").write_text('{"@context": {"speed": "http://e.org/folder"}}')
    (tmp_path / "index.json").write_text(json.dumps({url: "a.jsonld"}))

    context = await Contexts(outbound, folders=[tmp_path], limits=LIMITS).resolve(url)

    assert context.expand("speed") == "http://e.org/folder"
    assert publisher.downloads == []
