"""The HTTP server: aiohttp's low-level one, with a dispatcher of our own in front of the endpoints.

aiohttp's Application resolves a path by trying one pattern after the other, and wraps each request for middlewares,
sub-applications and signals. A bare request costs about a quarter less without all that: here a path is split once, and
each part is one dictionary look-up.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import unquote

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage, StreamWriter
from aiohttp.payload import Payload
from aiohttp.streams import StreamReader

from broker.ngsild.errors import (
    BadRequestData,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NgsiLdError,
    ResourceNotFound,
)
from broker.web.cors import Cors
from broker.web.lane import Lane, Request, WholeRequest, answer_bytes, status_line
from broker.web.negotiation import TENANT
from broker.web.replies import SERVER, problem

_LONGEST_TARGET = 32 * 1024
"""Bytes of a request line: long lists of ids are asked for, and an encoded id may need twelve bytes a letter."""

_MOST_HELD = 256 * 1024
"""Bytes of requests that may wait behind one that is being served, on the same connection."""

_PATIENCE_SECONDS = 1.0
"""How long a connection that is to end waits for a further request, so as to answer that it does; and then for the end
of the client."""

Handle = Callable[[Request, dict[str, str]], Awaitable[web.Response]]


class Dispatcher:
    """Finds the endpoint of a request. What no route matches is answered like all errors: 404, or 405 with Allow."""

    def __init__(self, cors: Cors | None = None) -> None:
        self._root = _Node()
        self._cors = cors

    def add(self, method: str, path: str, handle: Handle) -> None:
        """Serve `method` on `path`, whose {variables} are one segment each, with and without a slash at the end."""
        node = self._root
        for segment in path.strip("/").split("/"):
            if segment.startswith("{"):
                if node.variable is None:
                    node.variable = _Node(segment.strip("{}"))
                node = node.variable
            else:
                node = node.fixed.setdefault(segment, _Node())
        node.methods[method] = handle
        if method == "GET":
            node.methods.setdefault("HEAD", handle)

    def __call__(self, request: Request) -> Awaitable[web.Response]:
        """Serve one request. Not a coroutine itself: that would be one more on each update."""
        served = self._find(request)
        return served if self._cors is None else _with_cors(self._cors, request, served)

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

    __slots__ = ("fixed", "methods", "name", "variable")

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.fixed: dict[str, _Node] = {}
        self.variable: _Node | None = None
        self.methods: dict[str, Handle] = {}


async def _with_cors(cors: Cors, request: Request, served: Awaitable[web.Response]) -> web.Response:
    response = await served
    cors.add_headers(request, response)
    return response


async def _answer(request: Request, response: web.Response) -> web.Response:
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
    """aiohttp's server for one dispatcher. Bodies beyond `max_body_bytes` are not read; malformed HTTP is a problem."""

    def __init__(self, dispatcher: Dispatcher, *, max_body_bytes: int) -> None:
        super().__init__(
            dispatcher,
            request_factory=self._make,
            access_log=None,
            auto_decompress=False,
            max_line_size=_LONGEST_TARGET,
        )
        self._max_body_bytes = max_body_bytes
        self.dispatcher = dispatcher
        self.lane = Lane(_LONGEST_TARGET)
        self.connected = 0
        self.draining = False
        self._deserted = asyncio.Event()

    async def drain(self, seconds: float) -> None:
        """Answer what was sent, and end all connections; those that are busy after so many seconds are cut off.

        Clients of connections in use are told in an answer that it is the last one, so that they do not send on. One
        that is silent for a second is ended without.
        """
        self.draining = True
        deadline = self._loop.time() + seconds
        await self._until_deserted(min(_PATIENCE_SECONDS, seconds))
        for connection in self.connections:
            cast("_Connection", connection).end_if_idle()
        await self._until_deserted(deadline - self._loop.time())
        await self.shutdown(0.01)

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

    def __call__(self) -> web.RequestHandler:
        """The protocol of one connection."""
        return _Connection(self, loop=self._loop, **self._kwargs)

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


class _Connection(web.RequestHandler):
    """One connection. Plain requests take the lane, others are aiohttp's.

    What aiohttp itself refuses is answered in the shape of all errors.

    `_missing` is how many bytes of a body aiohttp has yet to get: only where that is 0 does a request begin with the
    next bytes. -1 is for not known: then all that follows is aiohttp's.
    """

    __slots__ = ("_held", "_lane", "_missing", "_served", "_server")

    def __init__(self, server: Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._lane = server.lane
        self._missing = 0
        self._served: asyncio.Task[None] | None = None
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        super().connection_made(transport)
        self._server.count(1)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by the event loop."""
        super().connection_lost(exc)
        self._server.count(-1)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._served is not None:
            self._hold(data)
            return
        missing = self._missing
        if not data:  # aiohttp asks itself for what its parser has kept
            pass
        elif not missing:
            request, missing = self._lane.read(data)
            if request is not None and self._idle:
                self._served = self._loop.create_task(self._serve(request))
                return
        elif missing > 0:
            missing = missing - len(data) if len(data) <= missing else -1
        self._missing = missing
        super().data_received(data)

    @property
    def _idle(self) -> bool:
        """Whether aiohttp has answered all that it got."""
        waiter = self._waiter
        waits = not waiter.done() if waiter is not None else not self._request_count
        return waits and not self._messages and not self._force_close

    async def _serve(self, request: WholeRequest) -> None:
        """Answer a request of the lane, then go on with what came meanwhile."""
        self._server.requests_count += 1
        self._request_in_progress = True
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        try:
            response = await self._server.dispatcher(request)
            last = self._server.draining and not self._held
            if last:
                response.headers[hdrs.CONNECTION] = "close"
            if self.transport is not None:
                if isinstance(response.body, Payload):
                    await self._stream(response, bodiless=request.method == "HEAD")
                else:
                    self.transport.write(answer_bytes(response, bodiless=request.method == "HEAD"))
                if self._paused:
                    await self._drain_helper()  # a client that does not read its answers gets no further ones
                if last:
                    self._end()
        except ConnectionError:
            pass  # it left without its answer
        except Exception as error:  # noqa: BLE001 - endpoints answer their errors themselves: this is a fault of ours
            self.log_exception("Error handling request", exc_info=error)
            self.force_close()
        finally:
            self._request_in_progress = False
            self._served = None
            if self._handler_waiter is not None and not self._handler_waiter.done():
                self._handler_waiter.set_result(None)
        if self._held:
            held, self._held = self._held, b""
            if self._buffer_paused:
                self._resume_reading_for_buffer()
            self.data_received(held)

    async def _stream(self, response: web.Response, *, bodiless: bool) -> None:
        """Write an answer whose body comes piece by piece."""
        body = response.body
        assert isinstance(body, Payload)
        response.headers[hdrs.TRANSFER_ENCODING] = "chunked"
        writer = StreamWriter(self, self._loop)
        writer.enable_chunking()
        await writer.write_headers(status_line(response), response.headers)
        if bodiless:
            writer.send_headers()
            return
        await body.write(writer)
        await writer.write_eof()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write an answer of aiohttp's."""
        last = self._server.draining and not self._messages
        if last:
            resp.headers[hdrs.CONNECTION] = "close"
            resp.force_close()
        written = await super().finish_response(request, resp, start_time)
        if last and request.content.is_eof():  # else aiohttp reads the rest of the body before it ends the connection
            self._end()
        return written

    def end_if_idle(self) -> None:
        """End the connection if it has no request to answer."""
        if self._served is None and self._idle:
            self._end()

    def _end(self) -> None:
        """Send no more, but read on until the client ends, too.

        What it sends meanwhile is thrown away: the kernel would answer it by a reset, which can overtake our answers.
        """
        transport, self.transport = self.transport, None
        self.close()
        self._missing, self._held = -1, b""
        if transport is not None and not transport.is_closing():
            transport.write_eof()
            self._loop.call_later(_PATIENCE_SECONDS, transport.close)

    def _hold(self, data: bytes) -> None:
        """Keep what comes behind a request that is not answered yet; a client that sends too much of it has to wait."""
        self._held += data
        if len(self._held) > _MOST_HELD and not self._buffer_paused:
            self._pause_reading_for_buffer()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to malformed HTTP; the connection is closed after it."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log_exception("Error handling request from %s", request.remote, exc_info=exc)
            response = problem(InternalError("The request failed unexpectedly; the log of the broker has the cause."))
        else:
            response = problem(InvalidRequest(f"The request is not valid HTTP: {message or exc}."))
        if cast("Any", request.writer).output_size > 0:
            raise ConnectionError("The answer has begun already, it cannot be replaced by an error.")
        response.headers[hdrs.SERVER] = SERVER
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what went wrong; not a body that could not be read to its end, which its client was told of."""
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)
