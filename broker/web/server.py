"""The HTTP server: aiohttp's low-level one, with a dispatcher of our own in front of the endpoints.

aiohttp's Application resolves a path by trying one pattern after the other, and wraps each request for middlewares,
sub-applications and signals. A bare request costs about a quarter less without all that: here a path is split once, and
each part is one dictionary look-up.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import unquote

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
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
from broker.web.negotiation import TENANT
from broker.web.replies import SERVER, problem

_LONGEST_TARGET = 32 * 1024
"""Bytes of a request line: long lists of ids are asked for, and an encoded id may need twelve bytes a letter."""

Handle = Callable[[web.BaseRequest, dict[str, str]], Awaitable[web.Response]]


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

    def __call__(self, request: web.BaseRequest) -> Awaitable[web.Response]:
        """Serve one request. Not a coroutine itself: that would be one more on each update."""
        served = self._find(request)
        return served if self._cors is None else _with_cors(self._cors, request, served)

    def _find(self, request: web.BaseRequest) -> Awaitable[web.Response]:
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


async def _with_cors(cors: Cors, request: web.BaseRequest, served: Awaitable[web.Response]) -> web.Response:
    response = await served
    cors.add_headers(request, response)
    return response


async def _answer(request: web.BaseRequest, response: web.Response) -> web.Response:
    """An answer that no endpoint gives, with what all answers have in common."""
    response.headers[hdrs.SERVER] = SERVER
    tenant = request.headers.get(TENANT)
    if tenant is not None:
        response.headers[TENANT] = tenant
    return response


def _refusal(request: web.BaseRequest, error: NgsiLdError) -> Awaitable[web.Response]:
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
    """One connection; what aiohttp itself refuses is answered in the shape of all errors."""

    __slots__ = ()

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
