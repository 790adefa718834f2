"""Taking the connections of clients from the sockets that a worker was given.

The servers of the event loop take one connection in a turn (libuv since 1.45). A turn of a busy worker serves many
requests, so that whoever comes anew would wait for one turn for each who came before (docs/adr/0019).
"""

import asyncio
import itertools
import socket
from collections.abc import Callable, Sequence

import structlog

from broker.listening import accept_waiting

_BACKLOG = 4096
"""Connections that may wait in the queue of a socket, as they do while a worker is started again.

Linux has no more than that by default. What finds the queue full is sent again and again, and loses seconds.
"""

_IN_A_TURN = 100
"""Connections that are taken from a socket before requests have their turn again."""

_PAUSE = 1.0
"""Seconds until the next try after the system had no room for a further connection."""

log = structlog.get_logger("vela")


class Acceptor:
    """Listens on sockets from its creation on; the protocols that `make` makes serve the connections."""

    def __init__(self, sockets: Sequence[socket.socket], make: Callable[[], asyncio.Protocol]) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = sockets
        self._make = make
        self._connecting: set[asyncio.Task[None]] = set()
        self._finished = False
        for one in sockets:
            one.setblocking(False)
            one.listen(_BACKLOG)
            self._listen(one)

    async def finish(self) -> None:
        """Take what waits, and leave the sockets. Returns when all connections have their protocols."""
        self._finished = True
        for one in self._sockets:
            self._loop.remove_reader(one)
            self._take_from(one)
            one.close()
        await asyncio.gather(*self._connecting)

    def _listen(self, listening: socket.socket) -> None:
        if not self._finished:
            self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        if not self._take_from(listening, _IN_A_TURN):
            self._loop.remove_reader(listening)
            self._loop.call_later(_PAUSE, self._listen, listening)

    def _take_from(self, listening: socket.socket, most: int | None = None) -> bool:
        """Take what waits, `most` of it at most; False if the system had no room for it."""
        try:
            for connection in itertools.islice(accept_waiting(listening), most):
                task = self._loop.create_task(self._connect(connection))
                self._connecting.add(task)
                task.add_done_callback(self._connecting.discard)
        except OSError as error:
            log.error(
                "no further connection can be accepted: look at the limit of open files (ulimit -n)",
                reason=error.strerror,
            )
            return False
        return True

    async def _connect(self, connection: socket.socket) -> None:
        try:
            connection.setblocking(False)
            await self._loop.connect_accepted_socket(self._make, connection)
        except OSError as error:  # whoever it was is gone already
            log.info("a connection ended before it began", reason=error.strerror)
            connection.close()
