"""Lines between the workers of one broker: messages over UNIX sockets, pickled, each packet with its length ahead.

Pickle runs what it is sent. So the sockets stand in a folder that only the user of the broker may enter
(`broker/listening.py`), and nothing that a client sends is ever unpickled: only what Vela made of it is pickled.
"""

import asyncio
import pickle
from abc import abstractmethod
from struct import Struct
from typing import Any, cast

import structlog

log = structlog.get_logger(__name__)

_LENGTH = Struct(">I")

Message = Any


class Line(asyncio.Protocol):
    """One end of a line. Messages that are sent in one turn of the event loop travel together."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        self._missing = 0
        self._gathered: list[Message] = []
        self._ending = False
        self._ended = False
        self._finished = False

    @abstractmethod
    def received(self, message: Message) -> None:
        """A message has come."""

    @abstractmethod
    def finished(self) -> None:
        """No more messages will come."""

    def send(self, message: Message) -> None:
        """Send a message; to nobody where the line is lost."""
        if not self._gathered:
            self._loop.call_soon(self._flush)
        self._gathered.append(message)

    def end(self) -> None:
        """Send nothing more after what was sent until now. Messages still come until the other end does the same."""
        if not self._ending:
            self._ending = True
            self._loop.call_soon(self._flush)

    def abort(self) -> None:
        """End the line at once, in both directions."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The line is there."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take in what has come; a packet may come in parts, and several at once."""
        if self._parts:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data, self._parts = b"".join(self._parts), []
        start, end = 0, len(data)
        stop = _LENGTH.size
        while end - start >= _LENGTH.size:
            stop = start + _LENGTH.size + _LENGTH.unpack_from(data, start)[0]
            if stop > end:
                break
            for message in pickle.loads(data[start + _LENGTH.size : stop]):  # noqa: S301 - see above
                self.received(message)
            start, stop = stop, stop + _LENGTH.size
        if start < end:
            self._parts, self._missing = [data[start:]], stop - end

    def eof_received(self) -> bool:
        """The other end sends nothing more; this one may."""
        self._finish()
        self._loop.call_soon(self._flush)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The line is gone."""
        self._transport = None
        self._finish()

    def _finish(self) -> None:
        if not self._finished:
            self._finished = True
            self.finished()

    def _flush(self) -> None:
        messages, self._gathered = self._gathered, []
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if messages:
            try:
                packet = pickle.dumps(messages, pickle.HIGHEST_PROTOCOL)
            except Exception:
                log.exception("a message to another worker cannot be sent")
                transport.abort()  # at once, so that nobody waits for it
                return
            transport.write(_LENGTH.pack(len(packet)) + packet)
        if self._ending and self._finished:
            transport.close()
        elif self._ending and not self._ended:
            self._ended = True
            transport.write_eof()
