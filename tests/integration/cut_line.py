"""A TCP line to MongoDB that breaks in the middle of a command, as networks do."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from enum import Enum, auto

from pymongo.uri_parser import parse_uri

UPDATE_OF_ENTITIES = b"\x02update\0" + struct.pack("<i", 9) + b"entities\0"
INSERT_OF_ENTITIES = b"\x02insert\0" + struct.pack("<i", 9) + b"entities\0"


class Cut(Enum):
    """Where the line breaks."""

    BEFORE = auto()
    """The command never arrives."""
    AFTER = auto()
    """The command is executed, its answer gets lost."""
    LATE = auto()
    """The client sees the line break, and a little later the command is executed all the same."""


class CutLine:
    """Forwards connections from `uri` to MongoDB. `cut` breaks the line once, at the next command of a kind."""

    def __init__(self, mongo_uri: str, delay: float) -> None:
        self._target: tuple[str, int] = parse_uri(mongo_uri)["nodelist"][0]
        self._delay = delay
        self._armed: tuple[bytes, Cut] | None = None
        self.port = 0
        self.cuts = 0
        self.executed_late = asyncio.Event()

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    def cut(self, command: bytes, how: Cut) -> None:
        """Break the line at the next message that holds `command`."""
        self._armed = (command, how)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        answers = asyncio.create_task(_pipe(there_reader, writer))
        try:
            while True:
                message = await _message(reader)
                if self._armed is None or self._armed[0] not in message:
                    there_writer.write(message)
                    continue
                (_, how), self._armed = self._armed, None
                self.cuts += 1
                answers.cancel()
                if how is Cut.AFTER:
                    there_writer.write(message)
                    await _message(there_reader)
                writer.transport.abort()
                if how is Cut.LATE:
                    await asyncio.sleep(self._delay)
                    there_writer.write(message)
                    await _message(there_reader)
                    self.executed_late.set()
                return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            answers.cancel()
            writer.transport.abort()
            there_writer.transport.abort()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One message of MongoDB's wire protocol: it begins with its length."""
    head = await reader.readexactly(4)
    return head + await reader.readexactly(struct.unpack("<i", head)[0] - 4)


@contextlib.asynccontextmanager
async def cut_line(mongo_uri: str, delay: float = 0.0) -> AsyncIterator[CutLine]:
    """A line to MongoDB that works until it is cut; `delay` in seconds is how late a late command arrives."""
    line = CutLine(mongo_uri, delay)
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(line.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
