"""@contexts from a real server on 127.0.0.1, with the limits of a download."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.jsonld.contexts import CORE_CONTEXT_URL, Contexts, Limits
from broker.ngsild.errors import BadRequestData, LdContextNotAvailable
from broker.outbound import Outbound
from tests.integration.servers import Site

LIMITS = Limits(timeout=0.5, max_bytes=2_000, max_redirects=2)


@pytest.fixture
async def contexts(outbound: Outbound) -> AsyncIterator[Contexts]:
    contexts = Contexts(outbound, limits=LIMITS)
    yield contexts
    await contexts.close()


async def test_a_context_is_downloaded_once_under_concurrency(site: Site, contexts: Contexts):
    site.delay = 0.05
    url = site.publish("/a", {"@context": {"speed": "http://e.org/speed"}})

    sources = [url, [url, CORE_CONTEXT_URL], [url, {"name": "http://e.org/name"}]] * 30
    found = await asyncio.gather(*(contexts.resolve(source) for source in sources))

    assert site.asked == ["/a"]
    assert {context.expand("speed") for context in found} == {"http://e.org/speed"}


async def test_a_compound_context_is_downloaded_with_its_parts(site: Site, contexts: Contexts):
    site.publish("/v1/terms", {"@context": {"speed": "http://e.org/speed"}})
    url = site.publish("/v1/compound", {"@context": ["terms", CORE_CONTEXT_URL]})

    context = await contexts.resolve(url)

    assert context.expand("speed") == "http://e.org/speed"
    assert context.source == url
    assert site.asked == ["/v1/compound", "/v1/terms"]


async def test_a_redirect_leads_to_a_context_and_its_relative_parts(site: Site, contexts: Contexts):
    site.publish("/v1/b", {"@context": ["terms"]})
    site.publish("/v1/terms", {"@context": {"b": "http://e.org/b"}})
    url = site.page("/a", status=302, headers={"Location": "/v1/b"})

    assert (await contexts.resolve(url)).expand("b") == "http://e.org/b"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": 404}, "it answered 404"),
        ({"status": 500}, "it answered 500"),
        ({"text": json.dumps({"@context": {"a": "http://e.org/" + "a" * 2_000}})}, "more than 2000 bytes"),
    ],
)
async def test_a_context_that_cannot_be_retrieved_is_not_available(
    site: Site, contexts: Contexts, answer: dict[str, Any], reason: str
):
    with pytest.raises(LdContextNotAvailable, match=reason) as error:
        await contexts.resolve(site.page("/a", **answer))

    assert error.value.status == 504


async def test_too_many_redirects_make_a_context_not_available(site: Site, contexts: Contexts):
    for number in range(3):
        site.page(f"/{number}", status=302, headers={"Location": f"/{number + 1}"})
    site.publish("/3", {"@context": {}})

    await contexts.resolve(site.url + "/1")
    with pytest.raises(LdContextNotAvailable, match="more than 2 redirects"):
        await contexts.resolve(site.url + "/0")


async def test_a_slow_server_makes_a_context_not_available(site: Site, contexts: Contexts):
    site.delay = 5.0

    with pytest.raises(LdContextNotAvailable, match=r"within 0\.5 s"):
        await contexts.resolve(site.publish("/a", {"@context": {}}))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a", "http://169.254.169.254/a", "http://does-not-exist.invalid/a"])
async def test_an_unreachable_server_makes_a_context_not_available(contexts: Contexts, url: str):
    with pytest.raises(LdContextNotAvailable, match=url):
        await contexts.resolve(url)


@pytest.mark.parametrize("document", [b"<html>", [], {}, {"@context": 5}, {"@context": {"a": 5}}, {"@context": "a"}])
async def test_a_document_that_is_no_context_is_bad_request_data(site: Site, contexts: Contexts, document: Any):
    with pytest.raises(BadRequestData) as error:
        await contexts.resolve(site.publish("/a", document))

    assert error.value.status == 400


async def test_an_expired_context_is_downloaded_again(site: Site, outbound: Outbound):
    now = 1_800_000_000.0
    headers = {"Cache-Control": "max-age=60"}
    contexts = Contexts(outbound, limits=LIMITS, clock=lambda: now)
    url = site.publish("/a", {"@context": {"speed": "http://e.org/old"}}, headers)
    await contexts.resolve(url)
    site.publish("/a", {"@context": {"speed": "http://e.org/new"}}, headers)

    now += 59
    assert (await contexts.resolve(url)).expand("speed") == "http://e.org/old"
    now += 2
    assert (await contexts.resolve(url)).expand("speed") == "http://e.org/new"


async def test_a_server_that_hangs_delays_no_request_for_a_known_context_for_long(site: Site, outbound: Outbound):
    now = 1_800_000_000.0
    headers = {"Cache-Control": "max-age=60"}
    contexts = Contexts(outbound, limits=Limits(timeout=20.0), clock=lambda: now)
    url = site.publish("/a", {"@context": {"speed": "http://e.org/speed"}}, headers)
    await contexts.resolve(url)
    site.delay = 20.0
    now += 61

    async with asyncio.timeout(5):
        assert (await contexts.resolve(url)).expand("speed") == "http://e.org/speed"
        assert contexts.peek(url) is not None
    await contexts.close()


async def test_the_contexts_folder_comes_before_the_network(site: Site, outbound: Outbound, tmp_path: Path):
    url = site.publish("/a", {"@context": {"speed": "http://e.org/network"}})
    (tmp_path / "a.jsonld").write_text('{"@context": {"speed": "http://e.org/folder"}}')
    (tmp_path / "index.json").write_text(json.dumps({url: "a.jsonld"}))

    context = await Contexts(outbound, folders=[tmp_path], limits=LIMITS).resolve(url)

    assert context.expand("speed") == "http://e.org/folder"
    assert site.asked == []
