"""The HTTP server: aiohttp's low-level one, with a dispatcher of our own in front of the endpoints.

aiohttp's Application resolves a path by trying one pattern after the other, and wraps each request for middlewares,
sub-applications and signals. A bare request costs about a quarter less without all that: here a path is split once, and
each part is one dictionary look-up.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast
from urllib.parse import unquote

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader

from broker.ngsild.errors import (
    BadRequestData,
    InvalidRequest,
    MethodNotAllowed,
    NgsiLdError,
    Overloaded,
    ResourceNotFound,
)
from broker.web.connection import PATIENCE, Connection
from broker.web.cors import Cors
from broker.web.lane import Lane, Request
from broker.web.load import Kind, Load, Unread
from broker.web.negotiation import TENANT
from broker.web.replies import SERVER, problem

_LONGEST_TARGET = 32 * 1024
"""Bytes of a request line: long lists of ids are asked for, and an encoded id may need twelve bytes a letter."""

_MOST_UNREAD = 128 * 1024 * 1024
"""Bytes of answers that may wait for clients to read them."""

_SWEEP_SECONDS = 5.0
_LONG_IDLE = 5.0
"""Seconds without a request from which a connection may be ended to make room for another."""

Handle = Callable[[Request, dict[str, str]], Awaitable[web.Response]]


class Dispatcher:
    """Finds the endpoint of a request. What no route matches is answered like all errors: 404, or 405 with Allow."""

    def __init__(self, cors: Cors | None = None) -> None:
        self._root = _Node()
        self._cors = cors

    def add(self, method: str, path: str, handle: Handle, kind: Kind = Kind.WORK) -> None:
        """Serve `method` on `path`, whose {variables} are one segment each, with and without a slash at the end."""
        node = self._root
        for segment in path.strip("/").split("/"):
            if segment.startswith("{"):
                if node.variable is None:
                    node.variable = _Node(segment.strip("{}"))
                node = node.variable
            else:
                node = node.fixed.setdefault(segment, _Node())
        for served in (method, "HEAD") if method == "GET" else (method,):
            node.methods[served] = handle
            node.kinds[served] = kind

    def __call__(self, request: Request) -> Awaitable[web.Response]:
        """Serve one request. Not a coroutine itself: that would be one more on each update."""
        served = self._find(request)
        return served if self._cors is None else _with_cors(self._cors, request, served)

    def kind(self, request: Request) -> Kind:
        """What the request asks for. That of one that is refused anyhow is of no importance."""
        node = self._root
        for segment in request.raw_path.partition("?")[0].strip("/").split("/"):
            following = node.fixed.get(segment) or node.variable
            if following is None:
                return Kind.WORK
            node = following
        return node.kinds.get(request.method, Kind.WORK)

    def refused(self, request: Request, error: Overloaded) -> web.Response:
        """The answer to a request that is not served."""
        response = _dressed(request, problem(error))
        if self._cors is not None:
            self._cors.add_headers(request, response)
        return response

    def _find(self, request: Request) -> Awaitable[web.Response]:
        """What the endpoint of a request answers, or what is answered if there is none.

        The path is read as it was sent: a dot segment or an encoded slash is part of an id or a name, never a way
        through the tree.
        """
        target = request.raw_path
        if target[:1] != "/":
            if target == "*" and request.method == "OPTIONS":
                return _answer(request, web.Response(status=204))
            target = "/" + target.partition("://")[2].partition("/")[2]
        path = target.partition("?")[0]
        segments = path.removesuffix("/").split("/")
        if "%" in path or not path.isascii():
            try:
                path.encode()
                segments = [unquote(segment, errors="strict") for segment in segments]
            except UnicodeError:
                return _refusal(request, InvalidRequest(f"The path {path!r:.300} is not UTF-8 after percent-decoding."))
        node = self._root
        variables: dict[str, str] = {}
        for segment in segments[1:]:
            following = node.fixed.get(segment)
            if following is None:
                following = node.variable
                if following is None:
                    return _refusal(request, ResourceNotFound(f"The path {path!r:.300} does not exist."))
                if not segment:
                    return _refusal(
                        request, BadRequestData(f"The {following.name} in the path {path!r:.300} is empty.")
                    )
                variables[following.name] = segment
            node = following
        handle = node.methods.get(request.method)
        if handle is not None:
            return handle(request, variables)
        if not node.methods:
            return _refusal(request, ResourceNotFound(f"The path {path!r:.300} does not exist."))
        return _answer(request, _other_method(request.method, path, sorted(node.methods)))


class _Node:
    """A place in the tree of paths: what comes next, and the methods of the path that ends here."""

    __slots__ = ("fixed", "kinds", "methods", "name", "variable")

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.fixed: dict[str, _Node] = {}
        self.variable: _Node | None = None
        self.methods: dict[str, Handle] = {}
        self.kinds: dict[str, Kind] = {}


async def _with_cors(cors: Cors, request: Request, served: Awaitable[web.Response]) -> web.Response:
    response = await served
    cors.add_headers(request, response)
    return response


async def _answer(request: Request, response: web.Response) -> web.Response:
    return _dressed(request, response)


def _dressed(request: Request, response: web.Response) -> web.Response:
    """An answer that no endpoint gives, with what all answers have in common."""
    response.headers[hdrs.SERVER] = SERVER
    tenant = request.headers.get(TENANT)
    if tenant is not None:
        response.headers[TENANT] = tenant
    return response


def _refusal(request: Request, error: NgsiLdError) -> Awaitable[web.Response]:
    return _answer(request, problem(error))


def _other_method(method: str, path: str, allowed: list[str]) -> web.Response:
    methods = ", ".join([*allowed, "OPTIONS"])
    if method == "OPTIONS":
        return web.Response(status=204, headers={"Allow": methods})
    detail = f"The method {method} is not allowed on {path!r:.300}: expected one of {methods}."
    return problem(MethodNotAllowed(detail, headers={"Allow": methods}))


class Server(web.Server):
    """aiohttp's server for one dispatcher. Bodies beyond `max_body_bytes` are not read; malformed HTTP is a problem.

    Beyond `most_connections` a connection is answered 503 at once; what `load` refuses, with as little effort.
    """

    def __init__(self, dispatcher: Dispatcher, load: Load, *, max_body_bytes: int, most_connections: int) -> None:
        super().__init__(
            self._serve,
            request_factory=self._make,
            access_log=None,
            auto_decompress=False,
            max_line_size=_LONGEST_TARGET,
        )
        self._max_body_bytes = max_body_bytes
        self.dispatcher = dispatcher
        self.load = load
        self.lane = Lane(_LONGEST_TARGET)
        self.unread = Unread(_MOST_UNREAD)
        self.connected = 0
        self.turned_away = 0
        self.most_connections = most_connections
        self.draining = False
        self._deserted = asyncio.Event()
        self._sweeping: asyncio.TimerHandle | None = None
        self._made_room = 0.0

    async def drain(self, seconds: float) -> None:
        """Answer what was sent, and end all connections; those that are busy after so many seconds are cut off.

        Clients of connections in use are told in an answer that it is the last one, so that they do not send on. One
        that is silent for a second is ended without.
        """
        self.draining = True
        deadline = self._loop.time() + seconds
        await self._until_deserted(min(PATIENCE, seconds))
        for connection in self._open:
            connection.end_if_idle()
        await self._until_deserted(deadline - self._loop.time())
        await self.shutdown(0.01)
        if self._sweeping is not None:
            self._sweeping.cancel()

    async def _until_deserted(self, seconds: float) -> None:
        if self.connected and seconds > 0:
            self._deserted.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._deserted.wait(), seconds)

    def count(self, change: int) -> None:
        """A connection was made (1) or lost (-1)."""
        self.connected += change
        if not self.connected:
            self._deserted.set()
        elif self._sweeping is None:
            self._sweeping = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    def make_room(self) -> None:
        """End connections that nobody uses, at most once a second."""
        now = self._loop.time()
        if now - self._made_room > 1:
            self._made_room = now
            for connection in self._open:
                if connection.idle_for(now) > _LONG_IDLE:
                    connection.end_if_idle()

    def _sweep(self) -> None:
        """End the connections whose clients have left off in the middle of something."""
        self._sweeping = None
        now = self._loop.time()
        for connection in self._open:
            connection.end_if_stalled(now)
        if self.connected:
            self._sweeping = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    @property
    def _open(self) -> Iterable[Connection]:
        return cast("list[Connection]", self.connections)

    def __call__(self) -> web.RequestHandler:
        """The protocol of one connection."""
        return Connection(self, loop=self._loop, **self._kwargs)

    async def _serve(self, request: web.BaseRequest) -> web.Response:
        """Answer a request that did not take the lane."""
        load = self.load
        if load.high:
            error = load.refusal(self.dispatcher.kind(request))
            if error is not None:
                await asyncio.sleep(error.PAUSE)
                return self.dispatcher.refused(request, error)
        size = min(request.content_length or 0, self._max_body_bytes)
        load.began(size)
        try:
            return await self.dispatcher(request)
        finally:
            load.ended(size, self._loop.time())

    def _make(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: Any,
    ) -> web.BaseRequest:
        return web.BaseRequest(
            message, payload, protocol, writer, task, self._loop, client_max_size=self._max_body_bytes
        )
