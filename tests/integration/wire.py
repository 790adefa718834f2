"""HTTP on the wire: exact bytes out, whatever comes back in. For requests that no client library would send."""

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.problems import assert_problem_body

Headers = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response. `headers` is case-insensitive; `body` is what came, not decoded."""

    status: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self, status: int, type: str) -> dict[str, Any]:  # noqa: A002
        """The body, asserted to be the problem `type`."""
        assert self.status == status, f"{self.status} {self.body!r}"
        assert self.headers["Content-Type"] == "application/json"
        body: dict[str, Any] = self.json()
        assert_problem_body(body, status, type)
        return body


def encode(method: str, target: str, headers: Headers = (), body: bytes | None = None) -> bytes:
    """A request as its bytes, with Host, and with Content-Length where there is a body and none is given."""
    given = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    names = {name.lower() for name, _ in given}
    if "host" not in names:
        given.insert(0, ("Host", "broker"))
    if body is not None and names.isdisjoint({"content-length", "transfer-encoding"}):
        given.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given), "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + (body or b"")


def exchange(port: int, data: bytes, *, method: str = "GET", timeout: float = 15) -> Answer | None:
    """Send `data` on a connection of its own and read one response.

    None if the broker closed without one, or still waits for the rest of the request after `timeout` seconds.
    """
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        # The broker may answer before it read everything, and close: its answer is still there.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        return _read(connection, method)


def request(port: int, method: str, target: str, headers: Headers = (), body: bytes | None = None) -> Answer:
    """One request with headers as given, and its answer."""
    answer = exchange(port, encode(method, target, headers, body), method=method)
    assert answer is not None, f"no answer to {method} {target!r:.300}"
    return answer


def _read(connection: socket.socket, method: str) -> Answer | None:
    response = http.client.HTTPResponse(connection, method=method)
    try:
        response.begin()
        return Answer(response.status, response.headers, response.read())
    except (http.client.BadStatusLine, ConnectionResetError, TimeoutError):
        return None
    finally:
        response.close()


class Wire:
    """A connection for several requests: bytes out, answers in."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        self.send = connection.sendall

    def receive(self, method: str = "GET") -> Answer:
        """The next answer; `method` is that of its request."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        status, _, lines = head.decode().partition("\r\n")
        headers = dict(line.split(": ", 1) for line in lines.split("\r\n"))
        length = 0 if method == "HEAD" else int(headers.get("Content-Length", 0))
        while len(self._buffer) < length:
            self._more()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Answer(int(status.split()[1]), headers, body)

    def _more(self) -> None:
        data = self._connection.recv(65536)
        assert data, f"closed behind {self._buffer!r}"
        self._buffer += data


@contextlib.contextmanager
def connected(port: int) -> Iterator[Wire]:
    """A connection to the broker, closed at the end."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Wire(connection)
