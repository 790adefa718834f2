"""The line between the supervisor and one worker: JSON objects, one a line, over a socket that the worker is born with.

A worker says {"ready": true} once it serves; {"metrics": snapshot, "collected": number} every second, and at its end;
{"scrape": number, "metrics": snapshot} when it is asked for the metrics of all. The supervisor says {"collect": number}
when it wants a snapshot at once, and {"scraped": number, "text": …} to answer a scrape.
"""

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from typing import Any

import orjson

Message = dict[str, Any]

_LONGEST_MESSAGE = 64 * 1024**2


class Channel:
    """One end of the line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> "Channel":
        """The line at whose end `end` is."""
        end.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=end, limit=_LONGEST_MESSAGE))

    def send(self, message: Message) -> None:
        """Send a message; to nobody where the other end is gone."""
        if not self._writer.is_closing():
            self._writer.write(orjson.dumps(message) + b"\n")

    async def receive(self) -> Message | None:
        """The next message; None when the other end is gone."""
        try:
            line = await self._reader.readline()
        except (ConnectionError, ValueError):
            return None
        message: Message | None = orjson.loads(line) if line.endswith(b"\n") else None
        return message

    async def close(self) -> None:
        """Send what is left, and end."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class WorkerError(Exception):
    """A worker cannot serve; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a worker process gets from its supervisor, the process `parent`: its place of `places`, file descriptors.

    `door` is where other workers reach it, -1 where they cannot.
    """

    parent: int
    index: int
    places: int
    channel: int
    door: int
    listening: tuple[int, ...]

    def text(self) -> str:
        """As an argument of the command line."""
        return ":".join(map(str, (self.parent, self.index, self.places, self.channel, self.door, *self.listening)))

    @classmethod
    def parse(cls, text: str) -> "Wiring":
        """What `text` made. ValueError for anything else."""
        parent, index, places, channel, door, *listening = map(int, text.split(":"))
        return cls(parent, index, places, channel, door, tuple(listening))
