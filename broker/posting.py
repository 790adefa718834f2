"""POST requests to the endpoints of subscribers: little else than what a notification needs of HTTP/1.1.

A general client takes several times as long over a notification (docs/adr/0010): this one writes head and body at once,
lets llhttp read the answer, keeps of it the status, and uses the connection again. Addresses are checked where a
connection is opened, by the policy of `outbound.py`. Redirects are not followed: the headers are for one host alone.
"""

import asyncio
import base64
import re
import ssl
from collections import deque
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, cast

import httptools
from yarl import URL

from broker.outbound import Outbound, OutboundError, OutboundRefused

_READ_OF_ANSWERS = 64 * 1024
_TIME_TO_DRAIN = 1.0
_KEPT_ALIVE = 15.0
_MOST_IDLE = 500
_WRITTEN_AT_ONCE = 16 * 1024
_UNFIT = re.compile(r"[\0\r\n]")


class _Origin(NamedTuple):
    """Where connections go. `tls` says which certificates are trusted; None is a connection in the clear."""

    host: str
    port: int
    tls: ssl.SSLContext | None


class _Place(NamedTuple):
    """What a URL says. `headers` are those of every request to it, unless the subscription has its own."""

    url: URL
    host: str
    port: int
    headers: tuple[tuple[str, str], ...]


class Poster:
    """The HTTP client of notifications: at most `per_host` connections at a time to one host and port."""

    def __init__(self, outbound: Outbound, *, per_host: int = 100) -> None:
        self._outbound = outbound
        self._allowed = lru_cache(maxsize=4096)(self._check)
        self._per_host = per_host
        self._idle: dict[_Origin, deque[_Connection]] = {}
        self._kept: dict[_Connection, _Origin] = {}
        self._room: dict[_Origin, _Room] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        timeout: float,  # noqa: ASYNC109 - every endpoint has its own
        tls: ssl.SSLContext | None = None,
    ) -> int:
        """POST `body` and return the status of the answer, whose body is dropped.

        `tls` says which certificates are trusted, if not those of the system. Raises OutboundRefused where the URL, a
        header or the policy does not let it be sent, and OutboundError if no answer comes within `timeout` seconds.
        """
        place = self._allowed(url)
        trust = (tls or _system_trust()) if place.url.scheme == "https" else None
        origin = _Origin(place.host, place.port, trust)
        head = _head(place, tuple(headers.items()))
        request = b"%bContent-Length: %d\r\n\r\n" % (head, len(body)), body
        room = self._room.get(origin)
        if room is None:
            room = self._room[origin] = _Room(self._per_host)
        room.users += 1
        try:
            await room.enter(timeout)
            try:
                async with asyncio.timeout(timeout) as deadline:
                    return await self._exchange(origin, request, deadline)
            finally:
                room.leave()
        except TimeoutError as error:
            raise OutboundError(f"there was no answer within {timeout:g} s") from error
        except OSError as error:  # ssl.SSLError is one
            raise OutboundError(f"the request failed ({type(error).__name__}: {error})") from error
        finally:
            room.users -= 1
            if not room.users:
                del self._room[origin]

    async def close(self) -> None:
        """Close the connections that idle; those in use are closed by whoever uses them."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in list(self._kept):
            self._forget(connection)

    def _check(self, url: str) -> _Place:
        place = _read(url)
        self._outbound.policy.check_url(place.url)
        return place

    async def _exchange(self, origin: _Origin, request: tuple[bytes, bytes], deadline: asyncio.Timeout) -> int:
        connection = self._take(origin)
        if connection is not None:
            try:
                return await self._ask(connection, origin, request, deadline)
            except _Unanswered:
                pass  # it was closed by the server while it idled, which is no failure: once more on a new one
        connection = await self._connect(origin)
        try:
            return await self._ask(connection, origin, request, deadline)
        except _Unanswered as error:
            raise OutboundError("it closed the connection without an answer") from error

    async def _ask(
        self, connection: "_Connection", origin: _Origin, request: tuple[bytes, bytes], deadline: asyncio.Timeout
    ) -> int:
        try:
            status = await connection.ask(*request)
            if not connection.complete:
                deadline.reschedule(None)
                await connection.drained(_TIME_TO_DRAIN)
        except BaseException:
            connection.close()
            raise
        self._keep(connection, origin)
        return status

    async def _connect(self, origin: _Origin) -> "_Connection":
        if self._closed:
            raise OutboundError("Vela is stopping")
        connected = await self._outbound.connect(origin.host, origin.port)
        name = origin.host if origin.tls is not None else None
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                _Connection, sock=connected, ssl=origin.tls, server_hostname=name
            )
        except BaseException:
            connected.close()
            raise
        return connection

    def _take(self, origin: _Origin) -> "_Connection | None":
        idle = self._idle.get(origin)
        while idle:
            connection = idle[-1]
            self._release(connection)
            if connection.reusable:
                return connection
            connection.close()
        return None

    def _keep(self, connection: "_Connection", origin: _Origin) -> None:
        if self._closed or not connection.reusable or len(self._kept) >= _MOST_IDLE:
            connection.close()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.setdefault(origin, deque()).append(connection)
        self._kept[connection] = origin
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(_KEPT_ALIVE, self._sweep)

    def _sweep(self) -> None:
        """Close what has idled long enough: `_kept` has the longest idle first."""
        self._sweeping = None
        loop = asyncio.get_running_loop()
        for connection in list(self._kept):
            remaining = connection.idle_since + _KEPT_ALIVE - loop.time()
            if remaining > 0 and connection.reusable:
                self._sweeping = loop.call_later(remaining, self._sweep)
                return
            self._forget(connection)

    def _forget(self, connection: "_Connection") -> None:
        self._release(connection)
        connection.close()

    def _release(self, connection: "_Connection") -> None:
        origin = self._kept.pop(connection)
        idle = self._idle[origin]
        if idle[-1] is connection:
            idle.pop()
        else:
            idle.remove(connection)
        if not idle:
            del self._idle[origin]


class _Room:
    """The connections to one host and port that may be in use; kept as long as there are `users`."""

    __slots__ = ("_connections", "_most", "leave", "users")

    def __init__(self, most: int) -> None:
        self._most = most
        self._connections = asyncio.Semaphore(most)
        self.leave = self._connections.release
        self.users = 0

    async def enter(self, seconds: float) -> None:
        """Wait for a connection to be free: not to be counted as a wait for the answer."""
        if not self._connections.locked():
            await self._connections.acquire()
            return
        try:
            async with asyncio.timeout(seconds):
                await self._connections.acquire()
        except TimeoutError:
            raise OutboundError(f"its host has all of {self._most} connections in use since {seconds:g} s") from None


class _Unanswered(Exception):
    """The connection was closed before anything of an answer came."""


class _Connection(asyncio.Protocol):
    """One connection; one request at a time. Also what llhttp calls while it reads an answer.

    `complete`: the answer has come to its end. `reusable`: the next request may be sent.
    """

    idle_since = 0.0

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._status: asyncio.Future[int] | None = None
        self._end: asyncio.Future[None] | None = None
        self._size = 0
        self.complete = False
        self.reusable = True

    def ask(self, head: bytes, body: bytes) -> "asyncio.Future[int]":
        """Send a request; its answer's status. _Unanswered where the connection is lost before any of it came."""
        self._status = status = self._loop.create_future()
        self._size = 0
        self.complete = False
        transport = self._transport
        assert transport is not None
        if len(body) <= _WRITTEN_AT_ONCE:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        return status

    async def drained(self, seconds: float) -> None:
        """Wait for the end of the answer, at most so long; the connection is of no use where it does not come."""
        self._end = self._loop.create_future()
        await asyncio.wait([self._end], timeout=seconds)
        if not self.complete:
            self.reusable = False

    def close(self) -> None:
        """Close it, without waiting for what is still to be sent."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        begun = self._size > 0
        self._fail(OutboundError("it closed the connection within its answer") if begun else _Unanswered())

    def data_received(self, data: bytes) -> None:
        """Called by the event loop: bytes of an answer, or of something that nobody asked for."""
        if self.complete or self._status is None:
            self.close()
            return
        self._size += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(OutboundError(f"its answer is not HTTP ({type(error).__name__}: {error})"))
            self.close()
            return
        if self._size > _READ_OF_ANSWERS and not self.complete:
            self._fail(OutboundError("its answer is too large"))
            self.close()

    def on_headers_complete(self) -> None:
        """Called by llhttp."""
        status = self._parser.get_status_code()
        if status >= 200 and self._status is not None and not self._status.done():
            self._status.set_result(status)

    def on_message_complete(self) -> None:
        """Called by llhttp; also at the end of a 100 Continue, on which the answer itself follows."""
        if self._status is not None and self._status.done():
            self.complete = True
            self.reusable = self.reusable and self._parser.should_keep_alive()
            if self._end is not None and not self._end.done():
                self._end.set_result(None)

    def _fail(self, error: Exception) -> None:
        self.reusable = False
        if self._status is not None and not self._status.done():
            self._status.set_exception(error)
        if self._end is not None and not self._end.done():
            self._end.set_result(None)


def _read(url: str) -> _Place:
    try:
        parsed = URL(url)
        port = parsed.port or 0
    except (ValueError, TypeError) as error:
        raise OutboundRefused("it is no URL") from error
    host = parsed.raw_host or ""
    shown = f"[{host}]" if ":" in host else host
    headers = [
        ("Host", shown if parsed.is_default_port() else f"{shown}:{port}"),
        ("User-Agent", "Vela"),
        ("Accept", "*/*"),
    ]
    if parsed.raw_user is not None:
        credentials = f"{parsed.user}:{parsed.password or ''}".encode()
        headers.append(("Authorization", f"Basic {base64.b64encode(credentials).decode()}"))
    return _Place(parsed, host, port, tuple(headers))


@lru_cache(maxsize=4096)
def _head(place: _Place, headers: tuple[tuple[str, str], ...]) -> bytes:
    """A request up to its length, which is the last header."""
    own = {name.lower() for name, _ in headers}
    lines = [f"POST {place.url.raw_path_qs} HTTP/1.1"]
    for name, value in (*(one for one in place.headers if one[0].lower() not in own), *headers):
        if _UNFIT.search(f"{name}{value}"):
            raise OutboundRefused(f"the header {name!r} has a line break or NUL in it")
        lines.append(f"{name}: {value}")
    return "\r\n".join((*lines, "")).encode()


@lru_cache(maxsize=1)
def _system_trust() -> ssl.SSLContext:
    return ssl.create_default_context()
