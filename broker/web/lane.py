"""The lane: requests that come whole and plain, past aiohttp's machinery for those that do not.

Nearly all requests arrive in one piece, with the same few headers each time. aiohttp treats them like uploads of
unknown length: a stream, two tasks and a dozen objects for each (docs/adr/0012). Here the lines between the request
line and the body are read once and remembered, and an answer is written in one piece. Whatever is not plain goes on to
aiohttp, as it came: other versions of HTTP, bodies in pieces or packed, what has to be answered before its body, names
and values of headers that need a second look.
"""

import re
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, NamedTuple

from aiohttp import hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy

from broker.web.negotiation import SNAPSHOT, TENANT
from broker.web.replies import AsItStands

_REQUEST_LINE = re.compile(rb"([A-Z]+) (/[\x21-\x7e]*) HTTP/1\.1")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\x20-\x7e\t]*?)[ \t]*")
_END = b"\r\n\r\n"
_LONGEST_LINE = 8190
_MOST_HEADERS = 128
_REMEMBERED = 1024
_LONGEST_REMEMBERED = 2048
_NOT_PLAIN = frozenset(
    {"connection", "content-encoding", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Headers by which a request is more than its head and its body. "Connection: keep-alive" is plain all the same."""


class Head:
    """What the header lines of a plain request say. `length` is its Content-Length, None where it has none.

    `known` is for those who read the headers to keep what they made of them: the same lines come again and again.
    """

    __slots__ = ("headers", "known", "length", "snapshot", "tenant")

    def __init__(self, headers: "CIMultiDictProxy[str]", length: int | None) -> None:
        self.headers = headers
        self.length = length
        self.tenant = headers.get(TENANT)
        self.snapshot = headers.get(SNAPSHOT)
        self.known: dict[object, Any] = {}


class WholeRequest:
    """A plain request, complete. To an endpoint it is what aiohttp's request is, with its body at hand."""

    __slots__ = ("body", "head", "method", "raw_path")

    def __init__(self, method: str, raw_path: str, head: Head, body: bytes) -> None:
        self.method = method
        self.raw_path = raw_path
        self.head = head
        self.body = body

    @property
    def headers(self) -> "CIMultiDictProxy[str]":
        """Its headers."""
        return self.head.headers

    @property
    def content_length(self) -> int | None:
        """The length of its body, None where it has none."""
        return self.head.length


Request = web.BaseRequest | WholeRequest
"""A request, as aiohttp or the lane hands it over."""


class Read(NamedTuple):
    """What a piece of data is that begins with a request.

    `request` is set where it is one plain request and nothing else. `missing` is how many bytes of a plain one's body
    are yet to come; -1 where that cannot be told.
    """

    request: WholeRequest | None
    missing: int


_UNKNOWN = Read(None, -1)


class Lane:
    """Reads plain requests. One for all connections, as they share what is remembered of their heads."""

    def __init__(self, longest_target: int) -> None:
        self._longest_target = longest_target
        self._heads: dict[bytes, Head | None] = {}

    def read(self, data: bytes) -> Read:
        """What `data` is, which begins where a request begins."""
        end = data.find(_END)
        start = data.find(b"\r\n")
        if end < 0 or start > self._longest_target:
            return _UNKNOWN
        line = _REQUEST_LINE.fullmatch(data, 0, start)
        if line is None:
            return _UNKNOWN
        lines = data[start + 2 : end] if start < end else b""
        head = self._heads.get(lines, _ABSENT)
        if head is _ABSENT:
            head = self._remember(lines)
        if head is None:
            return _UNKNOWN
        missing = end + len(_END) + (head.length or 0) - len(data)
        if missing:
            return Read(None, missing) if missing > 0 else _UNKNOWN
        method, target = line.groups()
        return Read(WholeRequest(method.decode(), target.decode(), head, data[end + len(_END) :]), 0)

    def _remember(self, lines: bytes) -> Head | None:
        head = read_head(lines)
        if len(lines) <= _LONGEST_REMEMBERED:
            if len(self._heads) >= _REMEMBERED:
                del self._heads[next(iter(self._heads))]
            self._heads[lines] = head
        return head


_ABSENT = Head(CIMultiDictProxy(CIMultiDict()), None)


def read_head(lines: bytes) -> Head | None:
    """What header lines say, without the request line before them; None where they are not plain."""
    headers: CIMultiDict[str] = CIMultiDict()
    for line in lines.split(b"\r\n") if lines else ():
        match = _HEADER.fullmatch(line)
        if match is None or len(line) > _LONGEST_LINE or len(headers) >= _MOST_HEADERS:
            return None
        name, value = (part.decode("ascii") for part in match.groups())
        lowered = name.lower()
        if lowered in _NOT_PLAIN and (lowered, value.lower()) != ("connection", "keep-alive"):
            return None
        if lowered in {"content-length", "host"} and name in headers:
            return None
        headers.add(name, value)
    length = headers.get(hdrs.CONTENT_LENGTH)
    if hdrs.HOST not in headers or (length is not None and not (length.isdigit() and len(length) < 16)):
        return None
    return Head(CIMultiDictProxy(headers), None if length is None else int(length))


def answer_bytes(response: web.Response, *, bodiless: bool = False) -> bytes:
    """All of an answer as it is sent; `bodiless` leaves out the body that a HEAD request does not want.

    Its body is there as bytes. Raises ValueError where a header would not be one.
    """
    if not bodiless and isinstance(response, AsItStands):
        text = response.as_it_stands()
        if text:
            return text
    content = response.body or b""
    if not isinstance(content, bytes | bytearray):
        raise TypeError(f"The body of the answer is {type(content).__name__}: expected bytes.")
    lines = [status_line(response)]
    headers = response.headers
    for name, value in headers.items():
        if "\r" in value or "\n" in value or "\0" in value:
            raise ValueError(f"The header {name} of an answer holds a line break.")
        lines.append(f"{name}: {value}")
    if hdrs.CONTENT_LENGTH not in headers and response.status not in (204, 304):
        lines.append(f"Content-Length: {len(content)}")
    if hdrs.DATE not in headers:
        lines.append(f"Date: {formatdate(time.time(), usegmt=True)}")
    head = "\r\n".join((*lines, "", "")).encode()
    return head if bodiless or not content else head + content


def status_line(response: web.Response) -> str:
    """The first line of an answer."""
    try:
        phrase = HTTPStatus(response.status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {response.status} {phrase}"
