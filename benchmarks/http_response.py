"""The smallest HTTP/1.1 response parser that a closed-loop load generator needs (RFC 9112)."""

_HEAD_END = b"\r\n\r\n"


class ResponseParser:
    """Finds the end of one response after the other on a connection that carries one request at a time.

    It keeps the status code and skips the body, whether that is framed by Content-Length, chunked, or absent (204, 304
    and 1xx). `closing` tells whether the server announced with the last response that it closes the connection.
    """

    __slots__ = ("_buffer", "_chunked", "_missing", "_status", "closing")

    def __init__(self) -> None:
        self._buffer = b""
        self._missing = 0
        self._status = 0
        self._chunked = False
        self.closing = False

    def feed(self, data: bytes) -> int:
        """Take what arrived; the status code when that completes the response, else 0.

        Raises ValueError where the bytes are no response, or more than one.
        """
        if self._missing:
            return self._skip(len(data))
        if self._chunked:
            self._buffer += data
            return self._skip_chunks()
        if self._buffer:
            data = self._buffer + data
        return self._read_head(data)

    def _read_head(self, data: bytes) -> int:
        end = data.find(_HEAD_END)
        if end < 0:
            if not data.startswith(b"HTTP/1."[: len(data)]):
                raise ValueError(f"no HTTP response: it starts with {data[:40]!r}")
            self._buffer = data
            return 0
        self._buffer = b""
        status = int(data[9:12])
        head = data[:end].lower()
        body = data[end + len(_HEAD_END) :]
        if status < 200:
            return self._read_head(body)
        self._status = status
        self.closing = b"\r\nconnection: close" in head
        if status in (204, 304):
            self._missing = 0
        elif b"\r\ntransfer-encoding: chunked" in head:
            self._chunked = True
            self._buffer = body
            return self._skip_chunks()
        else:
            self._missing = _content_length(head)
        return self._skip(len(body))

    def _skip(self, length: int) -> int:
        self._missing -= length
        if self._missing > 0:
            return 0
        if self._missing < 0:
            raise ValueError(f"{-self._missing} bytes follow the end of the response")
        return self._status

    def _skip_chunks(self) -> int:
        buffer = self._buffer
        position = 0
        while (line_end := buffer.find(b"\r\n", position)) >= 0:
            size = int(buffer[position:line_end].partition(b";")[0], 16)
            chunk_end = line_end + 2 + size + 2
            if size == 0:
                trailer_end = buffer.find(_HEAD_END, line_end)
                if trailer_end < 0:
                    break
                if trailer_end + len(_HEAD_END) != len(buffer):
                    raise ValueError("bytes follow the last chunk of the response")
                self._buffer = b""
                self._chunked = False
                return self._status
            if chunk_end > len(buffer):
                break
            position = chunk_end
        self._buffer = buffer[position:]
        return 0


def _content_length(head: bytes) -> int:
    _, found, rest = head.partition(b"\r\ncontent-length:")
    if not found:
        raise ValueError("the response has a body without Content-Length and is not chunked: its end cannot be seen")
    return int(rest.partition(b"\r\n")[0])
