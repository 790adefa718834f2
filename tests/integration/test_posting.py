"""POST requests of the notifier, against real servers on 127.0.0.1: aiohttp's, and one that says what it is told to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from yarl import URL

from broker.local import free_port
from broker.outbound import Outbound, OutboundError, OutboundPolicy, OutboundRefused
from broker.posting import Poster
from tests.integration.servers import Site

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Scripted:
    """Answers the n-th request with the n-th of `answers`, and hangs up after those in `hanging_up`."""

    def __init__(self, answers: list[bytes], hanging_up: set[int]) -> None:
        self.answers = answers
        self.hanging_up = hanging_up
        self.requests: list[bytes] = []
        self.connections = 0
        self.closed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                number = len(self.requests) - 1
                writer.write(self.answers[number])
                await writer.drain()
                if number in self.hanging_up:
                    break
        writer.close()
        self.closed.set()


@contextlib.asynccontextmanager
async def scripted(*answers: bytes, hanging_up: set[int] | None = None) -> AsyncIterator[tuple[str, Scripted]]:
    """A server's URL, and the server."""
    script = Scripted(list(answers), hanging_up or set())
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", script


@pytest.mark.parametrize("status", [200, 204, 302, 404, 503])
async def test_a_post_returns_the_status(site: Site, poster: Poster, status: int) -> None:
    url = site.page("/", status=status, headers={"Location": "/elsewhere"}, body=b"" if status == 204 else b"thanks")

    assert await poster.post(url, b"body", {"Content-Type": "application/json", "X-Key": "k"}, 5.0) == status

    [request] = site.requests
    assert (request.path, request.body) == ("/", b"body")
    assert (request.headers["Content-Type"], request.headers["X-Key"]) == ("application/json", "k")


async def test_a_large_body_is_posted_whole(site: Site, poster: Poster) -> None:
    body = bytes(range(256)) * 10_000

    assert await poster.post(site.page("/"), body, {"Content-Type": "application/json"}, 5.0) == 200

    [request] = site.requests
    assert request.body == body
    assert request.headers["Content-Length"] == str(len(body))


async def test_connections_are_used_again(site: Site, poster: Poster) -> None:
    peers = set()

    async def handler(request: web.Request) -> web.Response:
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(text="x" * 1_000)

    site.pages["/"] = handler

    for _ in range(5):
        await poster.post(site.url + "/", b"", {}, 5.0)

    assert len(peers) == 1


async def test_an_endless_answer_to_a_post_is_dropped(site: Site, poster: Poster) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=202)
        await response.prepare(request)
        while True:
            await response.write(b" " * 10_000)

    site.pages["/"] = endless

    assert await poster.post(site.url + "/", b"", {}, 5.0) == 202


async def test_a_post_that_gets_no_answer_in_time_is_an_error(site: Site, poster: Poster) -> None:
    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    site.pages["/"] = silent

    with pytest.raises(OutboundError, match=r"no answer within 0\.2 s"):
        await poster.post(site.url + "/", b"", {}, 0.2)


async def test_a_connection_that_the_server_closed_while_it_idled_is_no_failure(poster: Poster) -> None:
    async with scripted(OK, OK, hanging_up={0}) as (url, script):
        assert await poster.post(url, b"1", {}, 5.0) == 200
        await script.closed.wait()
        assert await poster.post(url, b"2", {}, 5.0) == 200
    assert [request[-1:] for request in script.requests] == [b"1", b"2"]
    assert script.connections == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "without an answer"),
        (b"HTTP/1.1 20", "within its answer"),
        (b"220 smtp.example ESMTP\r\n", "not HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "too large"),
    ],
)
async def test_what_is_no_answer_is_an_error(poster: Poster, answer: bytes, reason: str) -> None:
    async with scripted(answer, hanging_up={0}) as (url, _):
        with pytest.raises(OutboundError, match=reason):
            await poster.post(url, b"", {}, 5.0)


async def test_the_answer_follows_on_a_100_continue(poster: Poster) -> None:
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    async with scripted(answer, OK) as (url, script):
        assert await poster.post(url, b"", {}, 5.0) == 503
        assert await poster.post(url, b"", {}, 5.0) == 200
    assert script.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + OK,
    ],
)
async def test_a_connection_is_not_used_again_after_an_answer_that_forbids_it(poster: Poster, answer: bytes) -> None:
    async with scripted(answer, OK, hanging_up={0}) as (url, script):
        assert await poster.post(url, b"", {}, 5.0) == 200
        assert await poster.post(url, b"", {}, 5.0) == 200
    assert script.connections == 2


async def test_what_the_url_says_is_sent_and_the_subscription_has_the_last_word(poster: Poster) -> None:
    async with scripted(OK, OK) as (url, script):
        port = URL(url).port
        await poster.post(f"http://me:se%20cret@127.0.0.1:{port}/a b?c=d#e", b"{}", {"Content-Type": "x/y"}, 5.0)
        await poster.post(url, b"", {"authorization": "Bearer t", "Host": "city.example"}, 5.0)
    first, second = script.requests
    assert first.startswith(b"POST /a%20b?c=d HTTP/1.1\r\n")
    assert first.endswith(b"\r\nContent-Length: 2\r\n\r\n{}")
    assert {f"Host: 127.0.0.1:{port}".encode(), b"Authorization: Basic bWU6c2UgY3JldA==", b"Content-Type: x/y"} <= {
        *first.split(b"\r\n")
    }
    assert b"\r\nHost: city.example\r\n" in second
    assert second.lower().count(b"\r\nhost:") == second.lower().count(b"\r\nauthorization:") == 1


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("ftp://127.0.0.1/", {}),
        ("/notify", {}),
        ("http://a:99999/", {}),
        ("http://169.254.169.254/latest", {}),
        ("http://127.0.0.1/", {"X-Key": "a\r\nX-Other: b"}),
    ],
)
async def test_what_may_not_be_sent_is_refused(poster: Poster, url: str, headers: dict[str, str]) -> None:
    with pytest.raises(OutboundRefused):
        await poster.post(url, b"", headers, 5.0)


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "http://does-not-exist.invalid/"])
async def test_what_cannot_be_reached_is_an_error_worth_another_attempt(poster: Poster, url: str) -> None:
    with pytest.raises(OutboundError) as error:
        await poster.post(url.format(port=free_port()), b"", {}, 5.0)
    assert not isinstance(error.value, OutboundRefused)


async def test_a_name_that_resolves_to_a_denied_address_is_refused(site: Site) -> None:
    poster = Poster(Outbound(OutboundPolicy(deny=["127.0.0.0/8", "::1/128"])))
    with pytest.raises(OutboundRefused, match="not allowed"):
        await poster.post(site.url.replace("127.0.0.1", "localhost"), b"", {}, 5.0)
    assert site.requests == []


async def test_only_so_many_connections_go_to_one_server_at_a_time(site: Site, outbound: Outbound) -> None:
    poster, most, now = Poster(outbound, per_host=2), 0, 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return web.Response()

    site.pages["/"] = handler
    await asyncio.gather(*(poster.post(site.url + "/", b"", {}, 5.0) for _ in range(6)))
    assert most == 2
    await poster.close()


async def test_the_wait_for_a_connection_is_not_counted_as_one_for_the_answer(site: Site, outbound: Outbound) -> None:
    poster = Poster(outbound, per_host=1)

    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(0.3)
        return web.Response()

    site.pages["/"] = handler
    posts = [asyncio.create_task(poster.post(site.url + "/", b"", {}, 0.5)) for _ in range(3)]
    assert await posts[0] == await posts[1] == 200
    with pytest.raises(OutboundError, match="its host has all of 1 connections in use"):
        await posts[2]
    assert await poster.post(site.url + "/", b"", {}, 0.5) == 200
    await poster.close()


async def test_only_so_many_connections_idle_and_none_for_long(
    site: Site, poster: Poster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.posting._MOST_IDLE", 1)
    monkeypatch.setattr("broker.posting._KEPT_ALIVE", 0.05)
    site.page("/")
    port = URL(site.url).port
    for host in ("127.0.0.1", "localhost"):
        await poster.post(f"http://{host}:{port}/", b"", {}, 5.0)
    assert [origin.host for origin in poster._kept.values()] == ["127.0.0.1"]
    async with asyncio.timeout(5):
        while poster._kept:  # noqa: ASYNC110 - the sweep tells nobody
            await asyncio.sleep(0.01)
    assert not poster._idle


async def test_nothing_is_sent_after_the_close(poster: Poster) -> None:
    await poster.close()
    with pytest.raises(OutboundError, match="stopping"):
        await poster.post("http://127.0.0.1/", b"", {}, 5.0)
