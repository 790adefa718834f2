"""HTTP servers that the broker under test calls: a site with pages, and one that receives notifications."""

import asyncio
import contextlib
import http.server
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

_LARGEST_BODY = 16 * 1024 * 1024

Page = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Site:
    """Answers each path with its page, others with 404; `requests` are those that came.

    `delay` is how many seconds every answer takes.
    """

    url: str = ""
    delay: float = 0.0
    pages: dict[str, Page] = field(default_factory=dict)
    requests: list[Asked] = field(default_factory=list)

    @property
    def asked(self) -> list[str]:
        """The paths of the requests."""
        return [request.path for request in self.requests]

    def page(self, path: str, **answer: Any) -> str:
        """Answer `path` from now on with what web.Response makes of `answer`; its URL."""

        async def respond(_: web.Request) -> web.Response:
            return web.Response(**answer)

        self.pages[path] = respond
        return self.url + path

    def publish(self, path: str, document: Any, headers: dict[str, str] | None = None) -> str:
        """Serve a JSON document, or the bytes of one, as application/ld+json at `path` from now on; its URL."""
        body = document if isinstance(document, bytes) else orjson.dumps(document)
        return self.page(path, body=body, content_type="application/ld+json", headers=headers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(Asked(request.path, dict(request.headers), await request.read()))
        await asyncio.sleep(self.delay)
        page = self.pages.get(request.path)
        return web.Response(status=404) if page is None else await page(request)


@dataclass(slots=True)
class Received:
    """One notification as it arrived."""

    path: str
    headers: Any
    body: Any


@dataclass(slots=True)
class Receiver:
    """An endpoint for notifications at any path below `url`."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.Response:
        self.received.append(Received(request.path, request.headers.copy(), orjson.loads(await request.read())))
        self._arrived.set()
        return web.Response(status=200)

    async def wait(self, count: int = 1, path: str = "", seconds: float = 10) -> list[Received]:
        """The notifications at `path`, as soon as there are so many."""
        async with asyncio.timeout(seconds):
            while len(found := [one for one in self.received if one.path.startswith(path)]) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return found


@contextlib.asynccontextmanager
async def serving(server: Site | Receiver) -> AsyncIterator[None]:
    """Serve on a free port of this machine; `server.url` is set."""
    app = web.Application(client_max_size=_LARGEST_BODY)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def tls_endpoint(certificate: Path, key: Path) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """An endpoint for notifications over TLS: its URL, and (path, body) of what came.

    It is a thread, so that a handshake that its client breaks off leaves nothing open in the event loop of a test.
    """
    arrived: list[tuple[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            arrived.append((self.path, orjson.loads(body)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
            pass

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"https://localhost:{server.server_port}", arrived
        finally:
            server.shutdown()
            thread.join()
