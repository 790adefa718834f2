"""HTTP servers that the broker under test calls: one that serves @contexts, one that receives notifications."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web


@dataclass(slots=True)
class ContextServer:
    """Serves JSON documents at the paths they are given, as application/ld+json; counts what it was asked."""

    url: str = ""
    documents: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def add(self, path: str, document: Any) -> str:
        """Serve `document` at `path` from now on; its URL."""
        self.documents[path] = document
        return self.url + path

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if request.path not in self.documents:
            return web.Response(status=404)
        document = self.documents[request.path]
        body = document if isinstance(document, bytes) else orjson.dumps(document)
        return web.Response(body=body, content_type="application/ld+json")


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
async def serving(server: ContextServer | Receiver) -> AsyncIterator[None]:
    """Serve on a free port of this machine; `server.url` is set."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield
    finally:
        await runner.cleanup()
