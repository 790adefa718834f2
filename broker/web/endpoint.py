"""From an HTTP request to a typed `Call`, from an outcome or an error to a response: the one place for both.

A handler is `async def name(call: Call) -> web.Response`. What it may rely on is declared where its route is
(`routes.py`): which URL parameters there are, whether there is a body, which media types the answer has.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, cast

import structlog
from aiohttp import hdrs, web

from broker.jsonld.context import Context
from broker.ngsild.errors import (
    BadRequestData,
    InternalError,
    InvalidRequest,
    LengthRequired,
    NgsiLdError,
    PayloadTooLarge,
)
from broker.telemetry import Metrics
from broker.web.json_body import parse_json
from broker.web.negotiation import JSON, JSON_LD, TENANT, body_media_type, context_link, negotiate
from broker.web.parameters import Query
from broker.web.replies import problem
from broker.web.services import Services

log = structlog.get_logger(__name__)


class Body(Enum):
    """What an operation reads from the request body, and where its @context is (clause 6.3.5)."""

    NONE = auto()
    """No body; a Link header may name the @context."""
    ONE = auto()
    """One JSON object; application/ld+json carries its @context inside."""
    MANY = auto()
    """An array of objects; in application/ld+json each carries its own @context. `call.context` is for the others."""
    OPAQUE = auto()
    """Any JSON value, to which no @context applies."""


@dataclass(slots=True)
class Call:
    """One request, parsed.

    `tenant` is "" for the default tenant. `context` expands and compacts the names of this request. `parameters` is
    what the route's parser made of the URL parameters, `body` the JSON value of the body without its "@context". `path`
    holds the variable parts of the path, decoded. `media_type` is that of the answer. `size` is the body's length in
    bytes; `linked_data` tells that it came as application/ld+json. `url` is the path and query as they were sent.
    """

    services: Services
    tenant: str
    context: Context
    parameters: Any
    body: Any
    path: Mapping[str, str]
    media_type: str
    size: int
    linked_data: bool
    url: str


Handler = Callable[[Call], Awaitable[web.Response]]
ReadParameters = Callable[[Query, Services], Any]


class Endpoint:
    """One operation of the HTTP binding: `handle` is what aiohttp calls."""

    def __init__(
        self,
        handler: Handler,
        services: Services,
        metrics: Metrics,
        *,
        route: str,
        method: str,
        parameters: ReadParameters,
        body: Body = Body.NONE,
        answers: tuple[str, ...] = (),
    ) -> None:
        self._handler = handler
        self._services = services
        self._read_parameters = parameters
        self._body = body
        self._answers = answers
        self._no_parameters: Any = parameters(Query(()), services)
        self._observe = metrics.requests.row(method, route).observe

    async def handle(self, request: web.BaseRequest, path: dict[str, str]) -> web.Response:
        """Serve one request. Every error becomes a problem here."""
        started = time.perf_counter()
        try:
            response = await self._handler(await self._read(request, path))
        except NgsiLdError as error:
            response = problem(error)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("request failed", method=request.method, path=request.path)
            response = problem(InternalError("The request failed unexpectedly; the log of the broker has the cause."))
        self._observe(response.status, time.perf_counter() - started)
        return response

    async def _read(self, request: web.BaseRequest, path: dict[str, str]) -> Call:
        headers = request.headers
        media_type = negotiate(headers.get(hdrs.ACCEPT, ""), self._answers) if self._answers else JSON
        if "?" in request.raw_path:
            parameters = self._read_parameters(Query(request.query.items()), self._services)
        else:
            parameters = self._no_parameters
        link = headers.get(hdrs.LINK)
        if link is not None:
            link = context_link(",".join(headers.getall(hdrs.LINK)))
        body: Any = None
        source: Any = link
        size = 0
        linked_data = False
        if self._body is not Body.NONE:
            linked_data = body_media_type(headers.get(hdrs.CONTENT_TYPE, "")) == JSON_LD
            text = await _read_body(request)
            size = len(text)
            body = parse_json(text)
            if self._body is Body.ONE:
                source = _take_context(body, link, linked_data)
            elif self._body is Body.MANY and linked_data and link is not None and _carries_contexts(body):
                raise _mixed_contexts()
        if source is None:
            context = self._services.contexts.core
        else:
            context = self._services.contexts.peek(source) or await self._services.contexts.resolve(source)
        return Call(
            self._services,
            headers.get(TENANT, ""),
            context,
            parameters,
            body,
            path,
            media_type,
            size,
            linked_data,
            request.raw_path,
        )


async def _read_body(request: web.BaseRequest) -> bytes:
    if request.content_length is None:
        raise LengthRequired("The request has no Content-Length.")
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        cast("Any", request.writer).output_size = 0
    try:
        text = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise PayloadTooLarge(f"The request body is too large: {error.text}") from None
    except (web.RequestPayloadError, ConnectionError, ValueError) as error:  # a client that goes away is none of ours
        raise InvalidRequest(f"The request body could not be read: {error}") from None
    if not text:
        raise InvalidRequest("The request body is empty: the operation needs a JSON document.")
    return text


def _take_context(body: Any, link: str | None, linked_data: bool) -> Any:
    """The @context of a body that is one object, which is removed from it (clause 6.3.5)."""
    inside = body.pop("@context", None) if isinstance(body, dict) else None
    if not linked_data:
        if inside is not None:
            raise BadRequestData(
                "The body has an @context although its Content-Type is application/json: send it as "
                "application/ld+json, or give the @context in a Link header.",
                pointer="/@context",
            )
        return link
    if link is not None:
        raise _mixed_contexts()
    if inside is None:
        raise BadRequestData(
            "The Content-Type is application/ld+json but the body has no @context: add one, or send application/json.",
            pointer="/@context",
        )
    return inside


def _carries_contexts(body: Any) -> bool:
    return isinstance(body, list) and any(isinstance(item, dict) and "@context" in item for item in body)


def _mixed_contexts() -> BadRequestData:
    return BadRequestData(
        "The @context is given both in the body (application/ld+json) and in a Link header: expected one of them."
    )
