"""The sockets that a broker listens on: bound by its supervisor, which hands them to the workers.

A socket outlives the worker that accepts from it: connections that wait in its queue are there for the next one.
`Listeners` are for clients, `Doors` for the other workers.
"""

import contextlib
import ctypes
import errno
import socket
import struct
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

_OWN_SOCKETS = sys.platform == "linux"
"""Whether the kernel spreads connections over sockets that share a port. Elsewhere all workers share one."""

_SO_ATTACH_FILTER = 26
_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)  # a program for the kernel's packet filter: return 0
_ABSENT = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class ListenError(Exception):
    """The broker cannot listen at its address; the text says why and what to do."""


class Listeners:
    """Opens the sockets of workers, at all addresses of `host`; `port` 0 takes any free port."""

    def __init__(self, host: str, port: int, *, own_sockets: bool = _OWN_SOCKETS) -> None:
        self._host = host
        self.port = port
        self._own_sockets = own_sockets
        self._shared: list[socket.socket] = []

    def open(self) -> list[socket.socket]:
        """Sockets for one worker, bound but not listening yet. The first ones decide on the port.

        Raises ListenError; also where another program listens there: SO_REUSEPORT alone would let two brokers share a
        port by mistake, each getting half of the requests.
        """
        if self._shared:
            return [one.dup() for one in self._shared]
        try:
            addresses = socket.getaddrinfo(
                self._host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
            )
        except OSError as error:
            raise ListenError(
                f"--host is {self._host!r}, which is no address here ({error.strerror or error})."
            ) from error
        found = self._bind_all(dict.fromkeys((family, address) for family, _, _, _, address in addresses))
        if not self._own_sockets:
            self._shared = [one.dup() for one in found]
        return found

    def close(self) -> None:
        """Leave the sockets to those who were given them."""
        for one in self._shared:
            one.close()
        self._shared = []

    def _bind_all(self, addresses: Iterable[tuple[socket.AddressFamily, tuple[Any, ...]]]) -> list[socket.socket]:
        found: list[socket.socket] = []
        absent: OSError | None = None
        try:
            for family, address in addresses:
                try:
                    found.append(self._bind(family, (address[0], self.port, *address[2:])))
                except OSError as error:
                    if error.errno not in _ABSENT:
                        raise
                    absent = error
            if not found and absent is not None:
                raise absent
        except OSError as error:
            for one in found:
                one.close()
            raise ListenError(self._why_not(error)) from error
        return found

    def _bind(self, family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if self._own_sockets:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind(address)
        except BaseException:
            bound.close()
            raise
        self.port = bound.getsockname()[1]
        return bound

    def probe(self) -> None:
        """Raise ListenError where another program listens at the address, even one that would share its port."""
        probe = Listeners(self._host, self.port, own_sockets=False)
        for one in probe.open():
            one.close()
        probe.close()

    def _why_not(self, error: OSError) -> str:
        if error.errno == errno.EADDRINUSE:
            return (
                f"Port {self.port} of {self._host} is in use; stop the program that listens there, "
                "or give another port with --port."
            )
        return f"The broker cannot listen at {self._host}:{self.port} ({error.strerror}); see --host and --port."


class Doors:
    """The sockets at which workers reach each other, in a folder that nobody but this user may enter."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def open(self, index: int) -> socket.socket:
        """The socket of the worker at the place `index`, bound but not listening yet. OSError where that cannot be."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="vela-")
        path = Path(self._folder.name, str(index))
        path.unlink(missing_ok=True)
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            door.bind(str(path))
        except BaseException:
            door.close()
            raise
        return door

    def close(self) -> None:
        """Remove the folder."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def door_of(own: socket.socket, index: int) -> str:
    """Where the door of the place `index` is, seen from one's own."""
    return str(Path(own.getsockname()).with_name(str(index)))


def refuse_further(sockets: Sequence[socket.socket]) -> None:
    """Let no further connection into the queues of these sockets, so that they can be emptied and closed for good.

    Closing a listening socket resets the connections in its queue; between its last `accept` and its end there would
    always be time for one more. Linux lets a socket drop what it is sent; elsewhere that time remains.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(_DROP_ALL, len(_DROP_ALL))
    option = struct.pack("HP", 1, ctypes.addressof(program))
    for one in sockets:
        with contextlib.suppress(OSError):  # a kernel without packet filters
            one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)


def accept_waiting(listening: socket.socket) -> Iterator[socket.socket]:
    """Accept the connections in the queue of a listening socket that does not block, one after the other.

    OSError where the system has no room for a further one.
    """
    while True:
        try:
            connection = listening.accept()[0]
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionAbortedError:
            continue
        yield connection
