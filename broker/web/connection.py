"""One connection of a client: plain requests take the lane, others are aiohttp's."""

import asyncio
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any, Protocol, cast

from aiohttp import hdrs, web
from aiohttp.http import StreamWriter
from aiohttp.payload import Payload

from broker.ngsild.errors import InternalError, InvalidRequest, Overloaded
from broker.web.lane import Lane, Request, WholeRequest, answer_bytes, status_line
from broker.web.load import Kind, Load, Unread
from broker.web.replies import SERVER, problem

_MOST_HELD = 256 * 1024
"""Bytes of requests that may wait behind one that is being served, on the same connection."""

PATIENCE = 1.0
"""Seconds for which a connection that is to end waits for a further request, so as to answer that it does; and then for
the end of the client."""

SILENCE = 60.0
"""Seconds for which a client may be silent within a request, or read nothing of an answer."""


class Answers(Protocol):
    """What finds the endpoint of a request."""

    def __call__(self, request: Request) -> Awaitable[web.Response]:
        """Serve one request."""

    def kind(self, request: Request) -> Kind:
        """What the request asks for."""

    def refused(self, request: Request, error: Overloaded) -> web.Response:
        """The answer to a request that is not served."""


class Serves(Protocol):
    """What the connections of a server share. `most_connections` of them are served.

    `connected` counts all that are open, `turned_away` those of them that were too many and are about to end.
    """

    lane: Lane
    load: Load
    unread: Unread
    requests_count: int
    draining: bool
    connected: int
    turned_away: int
    most_connections: int

    @property
    def dispatcher(self) -> Answers:
        """Where requests go."""

    def count(self, change: int) -> None:
        """A connection was made (1) or lost (-1)."""

    def make_room(self) -> None:
        """End connections that nobody uses."""


class Connection(web.RequestHandler):
    """One connection. Plain requests take the lane, others are aiohttp's.

    What aiohttp itself refuses is answered in the shape of all errors.

    `_missing` is how many bytes of a body aiohttp has yet to get: only where that is 0 does a request begin with the
    next bytes. -1 is for not known: then all that follows is aiohttp's.
    """

    __slots__ = ("_heard", "_held", "_lane", "_missing", "_served", "_server", "_turned_away", "_unsent")

    def __init__(self, server: Serves, **options: Any) -> None:
        super().__init__(cast("web.Server", server), **options)
        self._server = server
        self._lane = server.lane
        self._missing = 0
        self._served: asyncio.Task[None] | asyncio.TimerHandle | None = None
        self._held = b""
        self._heard = 0.0
        self._unsent = (0, 0.0)
        self._turned_away = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        super().connection_made(transport)
        server = self._server
        server.count(1)
        if server.connected - server.turned_away > server.most_connections:
            server.make_room()
            self._turn_away()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by the event loop."""
        super().connection_lost(exc)
        self._server.unread.remove(self)
        self._server.turned_away -= self._turned_away
        self._server.count(-1)

    def pause_writing(self) -> None:
        """Called by the event loop: more waits for the client than the kernel takes."""
        super().pause_writing()
        if self.transport is not None:
            self._server.unread.add(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Called by the event loop."""
        super().resume_writing()
        self._server.unread.remove(self)

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
                self._begin(request)
                return
        elif missing > 0:
            missing = missing - len(data) if len(data) <= missing else -1
        self._missing = missing
        self._heard = self._loop.time()
        super().data_received(data)

    def _begin(self, request: WholeRequest) -> None:
        """Serve a request of the lane; if there is too much to do, refuse it after a pause that costs no task."""
        load = self._server.load
        if load.high:
            error = load.refusal(self._server.dispatcher.kind(request))
            if error is not None:
                self._served = self._loop.call_later(error.PAUSE, self._refuse, request, error)
                return
        load.began(len(request.body))
        self._served = self._loop.create_task(self._serve(request))

    def _refuse(self, request: WholeRequest, error: Overloaded) -> None:
        self._served = None
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self.transport is not None:
            response = self._server.dispatcher.refused(request, error)
            last = self._server.draining and not self._held
            if last:
                response.headers[hdrs.CONNECTION] = "close"
            self.transport.write(answer_bytes(response, bodiless=request.method == "HEAD"))
            if last:
                self._end()
        self._go_on()

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
            self._server.load.ended(len(request.body), self._loop.time())
            self._request_in_progress = False
            self._served = None
            if self._handler_waiter is not None and not self._handler_waiter.done():
                self._handler_waiter.set_result(None)
        self._go_on()

    def _go_on(self) -> None:
        """Read what came behind the request that was answered."""
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

    def idle_for(self, now: float) -> float:
        """For how many seconds there was no request on the connection; 0 while there is any."""
        if self._served is not None or self._missing or not self._idle:
            return 0.0
        return now - (self._next_keepalive_close_time - self._keepalive_timeout)

    def end_if_stalled(self, now: float) -> None:
        """End the connection where its client has left off in the middle of a request, or of reading an answer.

        Where that cannot be told, silence between two requests that are not plain counts as well.
        """
        transport = self.transport
        if transport is None:
            return
        if self._paused:
            unsent, since = self._unsent
            left = transport.get_write_buffer_size()
            if left != unsent:
                self._unsent = left, now
            elif now - since > SILENCE:
                self.give_up()
        elif self._missing and now - self._heard > SILENCE and self._waits_for_client:
            self.force_close()

    @property
    def _waits_for_client(self) -> bool:
        if self._served is not None or self._reading_paused or self._buffer_paused:
            return False
        request = self._current_request
        return self._idle if request is None else not request.content.is_eof()

    def give_up(self) -> None:
        """End the connection at once."""
        if self.transport is not None:
            self.transport.abort()

    def _turn_away(self) -> None:
        """Refuse a connection beyond those that can be served."""
        if self.transport is not None:
            error = Overloaded(f"{self._server.most_connections} connections are open already; try again.")
            response = problem(error)
            response.headers[hdrs.SERVER] = SERVER
            response.headers[hdrs.CONNECTION] = "close"
            self.transport.write(answer_bytes(response))
            self._turned_away = True
            self._server.turned_away += 1
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
            self._loop.call_later(PATIENCE, transport.close)

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
