"""Outgoing requests, against real servers on 127.0.0.1."""

import asyncio
import gzip
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from broker.local import free_port
from broker.outbound import InvalidAnswer, JsonAnswer, Outbound, OutboundError, OutboundPolicy, OutboundRefused
from tests.integration.servers import Site


def localhost(site: Site, path: str) -> str:
    """The URL of a page by the name of this machine."""
    return site.url.replace("127.0.0.1", "localhost") + path


async def get(outbound: Outbound, url: str, **limits: Any) -> JsonAnswer:
    return await outbound.get_json(url, **{"max_bytes": 10_000, "timeout": 5.0, "max_redirects": 3, **limits})


async def test_json_comes_decoded_with_its_headers_and_its_url(site: Site, outbound: Outbound):
    site.page("/b", text='\ufeff{"a": 1}', content_type="application/ld+json", headers={"Cache-Control": "max-age=9"})
    url = site.page("/a", status=302, headers={"Location": "b"})

    document, headers, final = await get(outbound, url)

    assert document == {"a": 1}
    assert headers["cache-control"] == "max-age=9"
    assert final == site.url + "/b"
    assert site.requests[0].headers["Accept"].startswith("application/ld+json, application/json")


@pytest.mark.parametrize("body", [b"", b"<html>", b"{'a': 1}", b'{"a": NaN}', b"\xff"])
async def test_what_is_not_json_is_an_invalid_answer(site: Site, outbound: Outbound, body: bytes):
    with pytest.raises(InvalidAnswer):
        await get(outbound, site.page("/", body=body, content_type="application/json"))


@pytest.mark.parametrize("status", [201, 204, 304, 400, 404, 500])
async def test_a_status_other_than_200_is_an_error(site: Site, outbound: Outbound, status: int):
    with pytest.raises(OutboundError, match=f"it answered {status}"):
        await get(outbound, site.page("/", status=status))


async def test_an_answer_that_announces_too_many_bytes_is_not_read(site: Site, outbound: Outbound):
    with pytest.raises(OutboundError, match="more than 100 bytes"):
        await get(outbound, site.page("/", body=b" " * 101), max_bytes=100)


async def test_an_answer_that_grows_too_large_is_given_up(site: Site, outbound: Outbound):
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 1_000)

    site.pages["/"] = endless

    with pytest.raises(OutboundError, match="more than 10000 bytes"):
        await get(outbound, site.url + "/")


async def test_bytes_count_after_decompression(site: Site, outbound: Outbound):
    body = gzip.compress(b"[" + b"1," * 50_000 + b"1]")
    assert len(body) < 10_000

    with pytest.raises(OutboundError, match="more than 10000 bytes"):
        await get(outbound, site.page("/", body=body, headers={"Content-Encoding": "gzip"}))


async def test_time_covers_all_redirects_together(site: Site, outbound: Outbound):
    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(0.15)
        return web.Response(status=302, headers={"Location": "/"})

    site.pages["/"] = slow

    with pytest.raises(OutboundError, match=r"no complete answer within 0\.3 s"):
        await get(outbound, site.url + "/", timeout=0.3, max_redirects=10)


async def test_only_so_many_redirects_are_followed(site: Site, outbound: Outbound):
    for number in range(4):
        site.page(f"/{number}", status=307, headers={"Location": f"/{number + 1}"})
    site.page("/4", text="{}", content_type="application/json")

    assert (await get(outbound, site.url + "/1")).document == {}
    with pytest.raises(OutboundError, match="more than 3 redirects"):
        await get(outbound, site.url + "/0")


async def test_a_redirect_without_a_target_is_an_error(site: Site, outbound: Outbound):
    with pytest.raises(OutboundError, match="without saying where to go"):
        await get(outbound, site.page("/", status=302))


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/latest", "file:///etc/passwd", "//169.254.169.254/", "http://2852039166/"]
)
async def test_a_redirect_is_checked_like_a_first_request(site: Site, outbound: Outbound, target: str):
    with pytest.raises(OutboundError) as error:
        await get(outbound, site.page("/", status=302, headers={"Location": target}))

    assert "not allowed" in str(error.value) or "usual form" in str(error.value) or "absolute" in str(error.value)
    assert len(site.requests) == 1


async def test_the_address_is_checked_to_which_a_name_resolves(site: Site):
    outbound = Outbound(OutboundPolicy(deny=["127.0.0.0/8", "::1/128"]))
    await outbound.start()
    site.page("/", text="{}", content_type="application/json")

    with pytest.raises(OutboundRefused, match="not allowed"):
        await get(outbound, localhost(site, "/"))
    with pytest.raises(OutboundRefused, match="not allowed"):
        await outbound.connect("localhost", URL(site.url).port)
    assert site.requests == []
    await outbound.close()


async def test_a_host_that_is_allowed_is_reached_inside_a_denied_network(site: Site):
    outbound = Outbound(OutboundPolicy(allow=["localhost"], deny=["0.0.0.0/0", "::/0"]))
    await outbound.start()
    site.page("/", text="{}", content_type="application/json")

    assert (await get(outbound, localhost(site, "/"))).document == {}
    await outbound.close()


async def test_credentials_in_a_url_do_not_follow_a_redirect_to_another_host(site: Site, outbound: Outbound):
    site.page("/b", text="{}", content_type="application/json")
    site.page("/a", status=302, headers={"Location": localhost(site, "/b").replace("//", "//user:word@")})

    await get(outbound, site.url.replace("//", "//me:secret@") + "/a")

    assert ["Authorization" in request.headers for request in site.requests] == [True, False]


async def test_a_page_may_name_its_json_ld_in_a_link(site: Site, outbound: Outbound):
    site.page("/c.jsonld", text='{"@context": {}}', content_type="application/ld+json")
    url = site.page(
        "/",
        text="<html>",
        content_type="text/html",
        headers={"Link": '<c.jsonld>; rel="alternate"; type="application/ld+json"'},
    )

    answer = await get(outbound, url)

    assert answer.document == {"@context": {}}
    assert answer.url == site.url + "/c.jsonld"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://does-not-exist.invalid/", "http://exa mple/", "http://a:99999/"]
)
async def test_what_cannot_be_reached_is_an_error(outbound: Outbound, url: str):
    with pytest.raises(OutboundError):
        await get(outbound, url)


async def test_a_connection_for_another_protocol_is_checked_too(site: Site, outbound: Outbound):
    port = URL(site.url).port
    with await outbound.connect("localhost", port) as connection:
        assert connection.getpeername()[1] == port
    with pytest.raises(OutboundRefused):
        await outbound.connect("169.254.169.254", 80)
    with pytest.raises(OutboundError, match="cannot be resolved"):
        await outbound.connect("does-not-exist.invalid", 80)
    with pytest.raises(OutboundError, match="cannot be connected to"):
        await outbound.connect("127.0.0.1", free_port())


async def test_nothing_is_sent_before_the_start_and_after_the_close():
    outbound = Outbound(OutboundPolicy())
    with pytest.raises(OutboundError, match="not started"):
        await get(outbound, "http://127.0.0.1/")
    await outbound.start()
    await outbound.close()
    await outbound.close()
    with pytest.raises(OutboundError, match="not started"):
        await get(outbound, "http://127.0.0.1/")
