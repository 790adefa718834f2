"""From an HTTP request to a typed `Call`, from an outcome or an error to a response: the one place for both.

A handler is `async def name(call: Call) -> web.Response`. What it may rely on is declared where its route is
(`routes.py`): which URL parameters there are, whether there is a body, which media types the answer has.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NamedTuple, cast

import structlog
from aiohttp import hdrs, web
from multidict import MultiMapping

from broker.jsonld.context import Context
from broker.ngsild.content import is_snapshot
from broker.ngsild.errors import (
    BadRequestData,
    InternalError,
    InvalidRequest,
    LengthRequired,
    NgsiLdError,
    Overloaded,
    PayloadTooLarge,
)
from broker.ngsild.names import check_uri
from broker.telemetry import Metrics
from broker.web.compression import answer_coding, pack, request_coding, unpack
from broker.web.json_body import parse_json
from broker.web.lane import Request, WholeRequest
from broker.web.negotiation import (
    ENTITY_MAP,
    GEO_JSON,
    JSON,
    JSON_LD,
    SNAPSHOT,
    TENANT,
    body_media_type,
    context_link,
    negotiate,
    refuse_geojson_only,
)
from broker.web.parameters import Query, query_items
from broker.web.preferences import NO_PREFERENCES, Preferences, read_preferences
from broker.web.replies import SERVER, AsItStands, problem
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
    what the route's parser made of the URL parameters, not to be changed: requests share it. `body` is the JSON value
    of the body without its "@context". `path` holds the variable parts of the path, decoded. `media_type` is that of
    the answer. `size` is the body's length in bytes; `linked_data` tells that it came as application/ld+json. `url` is
    the path and query as they were sent. `preferences` are those of the Prefer header, where the operation lets the
    client choose between media types. `host` is the Host header: how the client reached this broker. `entity_map` is
    the header NGSILD-EntityMap, where a client may choose between media types. For an operation on a snapshot `tenant`
    is the name of its content (`ngsild/content.py`).
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
    preferences: Preferences
    host: str
    entity_map: str | None = None


class _Asked(NamedTuple):
    """What the headers of a request ask for, see `Call`; `link` is the URL of the @context in its Link header."""

    media_type: str
    preferences: Preferences
    link: str | None
    linked_data: bool
    host: str
    entity_map: str | None


_REMEMBERED = 256
_LONGEST_REMEMBERED = 512
"""Queries of URLs whose parameters an endpoint remembers, and their length."""

Handler = Callable[[Call], Awaitable[web.Response]]
ReadParameters = Callable[[Query, Services], Any]


class Endpoint:
    """One operation of the HTTP binding: `handle` is what the dispatcher calls."""

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
        merge_patch: bool = False,
        on_snapshots: bool = True,
    ) -> None:
        self._handler = handler
        self._services = services
        self._read_parameters = parameters
        self._body = body
        self._answers = answers
        self._reads_map = bool(answers) or method == "DELETE"
        self._on_snapshots = on_snapshots
        self._merge_patch = merge_patch or method == "PATCH"
        self._max_body_bytes = services.settings.max_body_bytes
        self._compress_bytes = services.settings.compress_bytes if method == "GET" or answers else 0
        self._no_parameters: Any = parameters(Query(()), services)
        self._remembered: dict[str, Any] = {}
        self._observe = metrics.requests.row(method, route).observe

    async def handle(self, request: Request, path: dict[str, str]) -> web.Response:
        """Serve one request. Every error becomes a problem here."""
        started = time.perf_counter()
        if isinstance(request, WholeRequest):
            tenant, snapshot = request.head.tenant, request.head.snapshot
        else:
            tenant, snapshot = request.headers.get(TENANT), request.headers.get(SNAPSHOT)
        try:
            call = await self._read(request, path, tenant, snapshot)
            response = await self._handler(call)
            if call.preferences is not NO_PREFERENCES:
                _apply_preferences(call, response)
        except NgsiLdError as error:
            if isinstance(error, Overloaded):
                await asyncio.sleep(error.PAUSE)
            response = problem(error)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("request failed", method=request.method, path=request.raw_path)
            response = problem(InternalError("The request failed unexpectedly; the log of the broker has the cause."))
        if tenant is not None:
            response.headers[TENANT] = tenant  # clause 6.3.14, errors included
        if snapshot is not None:
            response.headers[SNAPSHOT] = snapshot  # clause 6.3.22
        if not isinstance(response, AsItStands):
            response.headers[hdrs.SERVER] = SERVER
        if self._compress_bytes:
            body = response.body
            if isinstance(body, bytes) and len(body) >= self._compress_bytes:
                await _compress(request, response, body)
        self._observe(response.status, time.perf_counter() - started)
        return response

    async def _read(self, request: Request, path: dict[str, str], tenant: str | None, snapshot: str | None) -> Call:
        asked = self._asked(request, tenant)
        parameters = self._parameters(request.raw_path) if "?" in request.raw_path else self._no_parameters
        body: Any = None
        source: Any = asked.link
        size = 0
        if self._body is not Body.NONE:
            text = self._body_at_hand(request) or await self._receive_body(request)
            size = len(text)
            body = parse_json(text)
            if self._body is Body.ONE:
                source = _take_context(body, asked.link, asked.linked_data)
            elif self._body is Body.MANY and asked.linked_data and asked.link is not None:
                raise _mixed_contexts()
        if source is None:
            context = self._services.contexts.core
        else:
            contexts = self._services.contexts
            context = contexts.peek(source, tenant or "") or await contexts.resolve(source, tenant or "")
        content = tenant or ""
        if snapshot is not None:
            content = await self._content(content, request.headers.getall(SNAPSHOT))
        return Call(
            self._services,
            content,
            context,
            parameters,
            body,
            path,
            asked.media_type,
            size,
            asked.linked_data,
            request.raw_path,
            asked.preferences,
            asked.host,
            asked.entity_map,
        )

    def _asked(self, request: Request, tenant: str | None) -> "_Asked":
        """What the headers ask for. Those of the lane are read once."""
        if not isinstance(request, WholeRequest):
            return self._read_headers(request.headers, tenant)
        known = request.head.known
        asked: _Asked | None = known.get(self)
        if asked is None:
            asked = known[self] = self._read_headers(request.headers, tenant)
        return asked

    def _read_headers(self, headers: "MultiMapping[str]", tenant: str | None) -> "_Asked":
        if tenant:
            _check_tenant(tenant, headers.getall(TENANT))
        media_type = JSON
        preferences = NO_PREFERENCES
        if self._answers:
            media_type = negotiate(",".join(headers.getall(hdrs.ACCEPT, ())), self._answers)
            if "Prefer" in headers:
                preferences = read_preferences(",".join(headers.getall("Prefer")))
        else:
            accept = headers.get(hdrs.ACCEPT)
            if accept is not None:
                refuse_geojson_only(accept)
        link = headers.get(hdrs.LINK)
        if link is not None:
            link = context_link(",".join(headers.getall(hdrs.LINK)))
        linked_data = False
        if self._body is not Body.NONE:
            linked_data = body_media_type(headers.get(hdrs.CONTENT_TYPE, ""), self._merge_patch) == JSON_LD
        entity_map = headers.get(ENTITY_MAP) if self._reads_map else None
        return _Asked(media_type, preferences, link, linked_data, headers.get(hdrs.HOST, ""), entity_map)

    async def _content(self, tenant: str, snapshots: list[str]) -> str:
        """The content of the snapshot that the request is about (clause 6.3.22)."""
        if not self._on_snapshots:
            raise BadRequestData(f"This operation is not one on a snapshot: leave {SNAPSHOT} out.")
        if len(snapshots) > 1:
            raise BadRequestData(f"The header {SNAPSHOT} occurs more than once: which snapshot is meant?")
        return await self._services.snapshots.content(tenant, check_uri(snapshots[0], f"header {SNAPSHOT}"))

    def _parameters(self, target: str) -> Any:
        """What the URL parameters of a request target say. Clients repeat themselves: the latest are remembered."""
        text = target.partition("?")[2]
        parameters = self._remembered.get(text)
        if parameters is None:
            parameters = self._read_parameters(Query(query_items(target)), self._services)
            if len(text) <= _LONGEST_REMEMBERED and "cursor=" not in text:  # a page is asked for once
                if len(self._remembered) >= _REMEMBERED:
                    del self._remembered[next(iter(self._remembered))]
                self._remembered[text] = parameters
        return parameters

    def _body_at_hand(self, request: Request) -> bytes:
        """The body, if it came in one piece with the head and is as it was sent; else nothing."""
        length = request.content_length
        if length is None:
            raise LengthRequired("The request has no Content-Length.")
        if length > self._max_body_bytes:
            raise PayloadTooLarge(
                f"The request body is too large: it has {length} bytes, the limit here is {self._max_body_bytes}."
            )
        if isinstance(request, WholeRequest):
            return request.body
        if not request.content.is_eof() or hdrs.CONTENT_ENCODING in request.headers:
            return b""
        return request.content.read_nowait()

    async def _receive_body(self, request: Request) -> bytes:
        """The body, once all of it has come, unpacked."""
        if isinstance(request, WholeRequest):
            raise _empty_body()
        coding = request_coding(",".join(request.headers.getall(hdrs.CONTENT_ENCODING, ())))
        if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cast("Any", request.writer).output_size = 0
        try:
            text = await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise PayloadTooLarge(f"The request body is too large: {error.text}") from None
        except (web.RequestPayloadError, ConnectionError, ValueError) as error:  # a client that goes away
            raise InvalidRequest(f"The request body could not be read: {error}") from None
        if coding is not None and text:
            text = await unpack(text, coding, self._max_body_bytes)
        if not text:
            raise _empty_body()
        return text


def _empty_body() -> InvalidRequest:
    return InvalidRequest("The request body is empty: the operation needs a JSON document.")


async def _compress(request: Request, response: web.Response, body: bytes) -> None:
    """Pack a large body, if the client accepts that."""
    response.headers.add(hdrs.VARY, hdrs.ACCEPT_ENCODING)
    coding = answer_coding(",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, ())))
    if coding is not None:
        response.body = await pack(body, coding)
        response.headers[hdrs.CONTENT_ENCODING] = coding


def _check_tenant(tenant: str, given: list[str]) -> None:
    if is_snapshot(tenant):
        raise BadRequestData(f"The header {TENANT} is {tenant!r:.80}, which cannot name a tenant.")
    if len(given) > 1:
        raise BadRequestData(f"The header {TENANT} occurs more than once: which tenant is meant?")
    try:
        tenant.encode()
    except UnicodeEncodeError:
        raise BadRequestData(f"The header {TENANT} is {tenant!r:.80}, which is not UTF-8.") from None


def _apply_preferences(call: Call, response: web.Response) -> None:
    applied = call.preferences.applied(geojson=call.media_type == GEO_JSON)
    if applied:
        response.headers["Preference-Applied"] = applied


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


def _mixed_contexts() -> BadRequestData:
    return BadRequestData(
        "The @context is given both in the body (application/ld+json) and in a Link header: expected one of them."
    )
