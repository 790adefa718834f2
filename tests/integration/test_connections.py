"""Connections of clients that are too many, too slow, or that send too much at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import orjson
import pytest
from aiohttp import web

from broker.ngsild.errors import Overloaded
from broker.web import connection, server
from broker.web.lane import Request
from broker.web.load import Kind, Load
from broker.web.server import Dispatcher, Server
from tests.integration.wire import encode

HUGE = 8 * 2**20
WAITS = encode("GET", "/waits")
AT_ONCE = encode("GET", "/at-once")
ALIVE = encode("GET", "/alive")


class Queue:
    """Updates that wait for their commit."""

    queued = 0
    full = False

    def refusal(self) -> Overloaded | None:
        return Overloaded("full") if self.full else None

    def inc(self) -> None:
        """Count a refusal."""


class Scene:
    """A server with a few paths, in this process."""

    def __init__(self, most_connections: int, most_bytes: int) -> None:
        self.queue = Queue()
        self.released = asyncio.Event()
        dispatcher = Dispatcher()
        dispatcher.add("GET", "/at-once", self._at_once)
        dispatcher.add("GET", "/alive", self._at_once, Kind.VITAL)
        dispatcher.add("PATCH", "/commit", self._at_once, Kind.COMMIT)
        dispatcher.add("GET", "/waits", self._waits)
        dispatcher.add("POST", "/waits", self._waits)
        dispatcher.add("GET", "/huge", self._huge)
        load = Load(self.queue, self.queue, longest_wait=5, most_bytes=most_bytes)
        self.server = Server(dispatcher, load, max_body_bytes=2**20, most_connections=most_connections)

    async def _at_once(self, request: Request, variables: dict[str, str]) -> web.Response:
        return web.Response(body=b"{}")

    async def _waits(self, request: Request, variables: dict[str, str]) -> web.Response:
        if isinstance(request, web.BaseRequest):
            await request.read()
        await self.released.wait()
        return web.Response(body=b"{}")

    async def _huge(self, request: Request, variables: dict[str, str]) -> web.Response:
        return web.Response(body=bytes(HUGE))


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next answer."""
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status, _, lines = head.strip().partition("\r\n")
            headers = dict(line.split(": ", 1) for line in lines.split("\r\n"))
            return int(status.split()[1]), headers, await self.reader.readexactly(int(headers["Content-Length"]))

    async def ended(self) -> bool:
        """Whether the server ends the connection, sooner or later."""
        try:
            async with asyncio.timeout(3):
                return await self.reader.read() == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


Open = Callable[[], Awaitable[Client]]


@pytest.fixture
def bounds() -> dict[str, int]:
    return {"most_connections": 3, "most_bytes": 1_000}


@pytest.fixture
async def scene(bounds: dict[str, int]) -> AsyncIterator[Scene]:
    made = Scene(**bounds)
    yield made
    made.released.set()
    await made.server.drain(1)


@pytest.fixture
async def connect(scene: Scene) -> AsyncIterator[Open]:
    async with contextlib.AsyncExitStack() as stack:
        listening = await asyncio.get_running_loop().create_server(scene.server, "127.0.0.1", 0)
        stack.callback(listening.close)
        port = listening.sockets[0].getsockname()[1]

        async def opened() -> Client:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            return Client(reader, writer)

        yield opened


async def refused(client: Client) -> str:
    """The detail of the refusal that comes next, which has to say when to come again."""
    status, headers, body = await client.answer()
    assert status == 503, body
    assert int(headers["Retry-After"]) >= 1
    detail: str = orjson.loads(body)["detail"]
    return detail


async def test_a_connection_beyond_the_most_is_answered_and_ended(connect: Open) -> None:
    clients = [await connect() for _ in range(3)]
    for client in clients:
        client.send(AT_ONCE)
        assert (await client.answer())[0] == 200
    further = await connect()
    assert "3 connections are open already" in await refused(further)
    assert await further.ended()
    clients[0].writer.close()
    await asyncio.sleep(0.1)
    again = await connect()
    again.send(AT_ONCE)
    assert (await again.answer())[0] == 200


async def test_connections_that_nobody_uses_make_room(
    scene: Scene, connect: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_LONG_IDLE", 0.1)
    idle, busy = [await connect(), await connect()], await connect()
    for client in idle:
        client.send(AT_ONCE)
        assert (await client.answer())[0] == 200
    busy.send(WAITS)
    await asyncio.sleep(0.3)
    await refused(await connect())
    for client in idle:
        assert await client.ended()
        client.writer.close()
    await asyncio.sleep(0.1)
    further = await connect()
    further.send(AT_ONCE)
    assert (await further.answer())[0] == 200
    scene.released.set()
    assert (await busy.answer())[0] == 200


@pytest.mark.parametrize("pieces", [1, 2])
async def test_bytes_of_requests_under_way_are_bounded(scene: Scene, connect: Open, pieces: int) -> None:
    post = encode("POST", "/waits", {"Content-Type": "application/json"}, bytes(600))
    first, second, third = [await connect() for _ in range(3)]
    for client in (first, second):
        for start in range(0, len(post), -(-len(post) // pieces)):
            client.send(post[start : start + -(-len(post) // pieces)])
            await asyncio.sleep(0.05)
    third.send(AT_ONCE)
    assert "1200 bytes of requests are under way" in await refused(third)
    third.send(ALIVE)
    assert (await third.answer())[0] == 200, "whoever watches over the broker is answered"
    scene.released.set()
    assert [(await client.answer())[0] for client in (first, second)] == [200, 200]
    third.send(AT_ONCE)
    assert (await third.answer())[0] == 200


async def test_a_full_commit_queue_refuses_updates_without_looking_at_them(scene: Scene, connect: Open) -> None:
    patch = encode("PATCH", "/commit", {"Content-Type": "application/json"}, b"no JSON")
    client = await connect()
    scene.queue.full = True
    client.send(patch + AT_ONCE)
    assert await refused(client) == "full"
    assert (await client.answer())[0] == 200, "what came behind it is answered, too"
    scene.queue.full = False
    client.send(patch)
    assert (await client.answer())[0] == 200


async def test_a_client_that_leaves_off_within_a_request_loses_its_connection(
    scene: Scene, connect: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SILENCE", 1.0)
    monkeypatch.setattr(server, "_SWEEP_SECONDS", 0.1)
    scene.released.set()
    post = encode("POST", "/waits", {"Content-Type": "application/json"}, bytes(600))
    stalled, slow, idle = [await connect() for _ in range(3)]
    stalled.send(post[:-400])
    idle.send(AT_ONCE)
    assert (await idle.answer())[0] == 200
    for start in range(0, len(post), 100):
        slow.send(post[start : start + 100])
        await asyncio.sleep(0.2)
    assert (await slow.answer())[0] == 200
    assert await stalled.ended()
    idle.send(AT_ONCE)
    assert (await idle.answer())[0] == 200, "silence between two requests is no offence"


async def test_a_client_that_does_not_read_its_answer_loses_its_connection(
    scene: Scene, connect: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SILENCE", 0.5)
    monkeypatch.setattr(server, "_SWEEP_SECONDS", 0.1)
    client = await connect()
    client.writer.transport.pause_reading()
    client.send(encode("GET", "/huge"))
    await asyncio.sleep(0.3)
    assert scene.server.connected == 1
    async with asyncio.timeout(5):
        while scene.server.connected:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.05)


async def test_answers_that_nobody_reads_are_bounded(
    connect: Open, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.server.unread._most_bytes = HUGE  # one of them waits, but for what the kernel has taken
    clients = [await connect() for _ in range(3)]
    for client in clients:
        client.writer.transport.pause_reading()
        client.send(encode("GET", "/huge"))
        await asyncio.sleep(0.2)
    assert 1 <= scene.server.connected < 3
