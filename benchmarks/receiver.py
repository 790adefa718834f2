"""An endpoint that takes notifications at little cost, and notes when each one came: a process of its own.

`python -m benchmarks.receiver --port PORT`. A notification is told by the value of its attribute, the sequence number
of the update that caused it. GET /count answers how many came; GET /received all of them, the members of `Received`
pickled, and forgets them. Times are those of the monotonic clock, which all processes of a machine share.
"""

import argparse
import asyncio
import gc
import pickle
from array import array
from dataclasses import dataclass, field
from time import monotonic
from typing import cast

import orjson
import uvloop

_ACCEPTED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass
class Received:
    """What came, in the order of arrival: the sequence numbers, and when."""

    sequences: "array[int]" = field(default_factory=lambda: array("q"))
    moments: "array[float]" = field(default_factory=lambda: array("d"))


class Receiver:
    """What all connections note."""

    def __init__(self, attribute: str) -> None:
        self._attribute = attribute
        self._received = Received()

    def take(self, body: bytes) -> None:
        """Note a notification."""
        now = monotonic()
        for entity in orjson.loads(body)["data"]:
            self._received.sequences.append(entity[self._attribute]["value"])
            self._received.moments.append(now)

    def answer(self, path: bytes) -> bytes:
        """The answer to a GET."""
        received = self._received
        if path == b"/count":
            return b"%d" % len(received.sequences)
        self._received = Received()
        return pickle.dumps((received.sequences, received.moments))


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop: bytes of requests."""
        buffer = self._buffer + data if self._buffer else data
        while (end := buffer.find(_END)) >= 0:
            head = buffer[:end]
            stop = end + len(_END) + _content_length(head)
            if len(buffer) < stop:
                break
            self._respond(head, buffer[end + len(_END) : stop])
            buffer = buffer[stop:]
        self._buffer = buffer

    def _respond(self, head: bytes, body: bytes) -> None:
        assert self._transport is not None
        if head.startswith(b"POST "):
            self._receiver.take(body)
            self._transport.write(_ACCEPTED)
            return
        content = self._receiver.answer(head.split(b" ", 2)[1])
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))


def _content_length(head: bytes) -> int:
    lowered = head.lower()
    start = lowered.find(_LENGTH)
    if start < 0:
        return 0
    start += len(_LENGTH)
    end = lowered.find(b"\r\n", start)
    return int(lowered[start : end if end >= 0 else len(lowered)])


async def _serve(port: int, attribute: str) -> None:
    receiver = Receiver(attribute)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(receiver), "127.0.0.1", port)
    gc.freeze()
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.receiver")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--attribute", default="temperature")
    options = parser.parse_args()
    uvloop.run(_serve(options.port, options.attribute))
