"""Responses: the few shapes that answers of the API have."""

import time
from abc import abstractmethod
from collections.abc import Sequence
from email.utils import formatdate
from typing import Any

import orjson
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from broker.jsonld.context import Context
from broker.ngsild.errors import LengthRequired, NgsiLdError, UnsupportedMediaType
from broker.web.negotiation import JSON, JSON_LD, context_link_header

SERVER = "Vela"
"""The Server header: who answers, not with which version."""


class AsItStands(web.Response):
    """An answer that is written in one piece, head and all.

    aiohttp's way of putting an answer together takes several times as long. It becomes an ordinary response the moment
    somebody looks at its headers.
    """

    _keep_alive: bool | None = True
    _ordinary = False

    def __init__(self) -> None:
        pass  # what an ordinary response needs is made when it is needed

    @property
    def headers(self) -> "CIMultiDict[str]":
        """The headers, which may be added to."""
        if not self._ordinary:
            self._ordinary = True
            self._become_ordinary()
            self._keep_alive = None
            self._headers[hdrs.SERVER] = SERVER
        return self._headers

    @abstractmethod
    def _become_ordinary(self) -> None:
        """Call the constructor of web.Response."""

    @abstractmethod
    def _bytes(self) -> bytes:
        """All of the answer as it is sent; nothing if only an ordinary response can say it."""

    def as_it_stands(self) -> bytes:
        """All of the answer, to be sent over HTTP/1.1; nothing if it is an ordinary response by now."""
        return b"" if self._ordinary else self._bytes()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the answer."""
        text = b""
        if request.keep_alive and request.version == HttpVersion11 and request.method != "HEAD":
            text = self.as_it_stands()
        if not text:
            self.headers  # noqa: B018 - makes it an ordinary response
            return await super().prepare(request)
        writer = request.writer
        await writer.write(text)
        await writer.drain()
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """End the answer."""
        if self._ordinary:
            await super().write_eof(data)


class NoContent(AsItStands):
    """204 without a body, which most updates are answered with."""

    _status = 204

    def _become_ordinary(self) -> None:
        web.Response.__init__(self, status=204)

    def _bytes(self) -> bytes:
        return _HEADS.get("204 No Content") + b"\r\n"


class Document(AsItStands):
    """200 with a JSON document, which most reads are answered with; `headers` are those beside the usual ones."""

    _status = 200

    def __init__(self, body: bytes, media_type: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        self._body = body
        self._media_type = media_type
        self._more = headers

    def _become_ordinary(self) -> None:
        web.Response.__init__(self, body=self._body, content_type=self._media_type, headers=CIMultiDict(self._more))

    def _bytes(self) -> bytes:
        body = self._body
        assert isinstance(body, bytes)
        head = _HEADS.get("200 OK", self._media_type)
        if self._more:
            more = "".join([f"{name}: {value}\r\n" for name, value in self._more])
            # A line break inside of a value would begin a header of its own: an ordinary response refuses it.
            if not more.isascii() or more.count("\n") != len(self._more) or more.count("\r") != len(self._more):
                return b""
            head += more.encode()
        return b"".join((head, b"Content-Length: %d\r\n\r\n" % len(body), body))


class _Heads:
    """The heads of such answers, all but the length of their bodies: made once a second, for their date."""

    def __init__(self) -> None:
        self._second = 0
        self._made: dict[tuple[str, str], bytes] = {}

    def get(self, status: str, media_type: str = "") -> bytes:
        second = int(time.time())
        if second != self._second:
            self._made.clear()
            self._second = second
        key = status, media_type
        head = self._made.get(key)
        if head is None:
            lines = [f"HTTP/1.1 {status}", f"Date: {formatdate(second, usegmt=True)}", f"Server: {SERVER}"]
            if media_type:
                lines.append(f"Content-Type: {media_type}")
            head = self._made[key] = "".join(line + "\r\n" for line in lines).encode()
        return head


_HEADS = _Heads()


def no_content() -> web.Response:
    """204, without a body."""
    return NoContent()


def created(location: str) -> web.Response:
    """201 with the path of what was created."""
    return web.Response(status=201, headers={"Location": location})


def with_status(response: web.Response, status: int) -> web.Response:
    """The response with another status."""
    if response.status != status:
        response.headers  # noqa: B018 - makes it an ordinary response
        response.set_status(status)
    return response


def json_reply(payload: Any, status: int = 200) -> web.Response:
    """A JSON body to which no @context applies: batch results, problems, administration."""
    return web.Response(status=status, body=orjson.dumps(payload), content_type=JSON)


def linked_data(
    payload: dict[str, Any] | list[dict[str, Any]], context: Context, media_type: str, status: int = 200
) -> web.Response:
    """An element or a list of elements with its @context in the body or in the Link header (clause 6.3.6)."""
    headers: dict[str, str] = {}
    if media_type == JSON_LD:
        source = context.source
        if isinstance(payload, list):
            payload = [{"@context": source, **element} for element in payload]
        else:
            payload = {"@context": source, **payload}
    elif context.link is not None:
        headers["Link"] = context_link_header(context.link)
    return web.Response(status=status, body=orjson.dumps(payload), content_type=media_type, headers=headers)


def problem(error: NgsiLdError) -> web.Response:
    """The response for an error, in the shape of RFC 9457, always as application/json (clause 5.5.3).

    411 and 415 are bare, as clause 6.3.4 demands.
    """
    if isinstance(error, LengthRequired | UnsupportedMediaType):
        return web.Response(status=error.status, headers=error.headers or None)
    return web.Response(
        status=error.status, body=orjson.dumps(error.problem()), content_type=JSON, headers=error.headers or None
    )
