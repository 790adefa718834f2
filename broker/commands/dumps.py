"""Files of entities, read one entity after the other: they may be larger than the memory.

A file holds JSON objects, one after the other (JSON Lines are such a file, a single entity is another), or arrays of
them, as a query answers. It may be compressed with gzip.
"""

import gzip
import io
import json
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

STANDARD_INPUT = "-"

_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20
_LARGEST = 1 << 28
"""Characters of one entity; what is longer is none that a broker would take."""
_NEAR_THE_END = 16
"""A fault so near to the end of what was read may only mean that the rest is missing."""


_OUTSIDE, _OPENED, _BEHIND, _BETWEEN = range(4)
"""Where it is: in no array, at the beginning of one, behind an entity in one, behind a comma in one."""
_STEPS = {
    (_OUTSIDE, "["): _OPENED,
    (_OPENED, "]"): _OUTSIDE,
    (_BEHIND, "]"): _OUTSIDE,
    (_BEHIND, ","): _BETWEEN,
}


class UnreadableFile(Exception):
    """A file holds no JSON, or other JSON than entities; the text says where, and what is wrong."""


def read_entities(path: str, progress: Callable[[int], None]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each entity of a file (STANDARD_INPUT: of standard input), with the line in which it begins.

    `progress` is told how many bytes of the file were read so far. UnreadableFile when something else comes: the
    entities that stand before it have been given by then.
    """
    scanner = _Scanner()
    try:
        with _opened(path) as file:
            plain = file.peek(len(_GZIP))[: len(_GZIP)] != _GZIP
            unpacked = file if plain else cast("BinaryIO", gzip.GzipFile(fileobj=file))
            with io.TextIOWrapper(unpacked, encoding="utf-8-sig", newline="\n") as text:

                def read(size: int) -> str:
                    found = text.read(size)
                    if path != STANDARD_INPUT:
                        progress(file.tell())
                    return found

                yield from scanner.objects(read)
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"it is no UTF-8 text ({error.reason}), after line {scanner.line}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableFile(f"it cannot be read ({error}), after line {scanner.line}") from error


def size_of(path: str) -> int:
    """The bytes of a file; 0 where they are not known."""
    try:
        return 0 if path == STANDARD_INPUT else Path(path).stat().st_size
    except OSError:
        return 0


@contextmanager
def _opened(path: str) -> Iterator[io.BufferedReader]:
    if path == STANDARD_INPUT:
        yield io.BufferedReader(cast("io.RawIOBase", sys.stdin.buffer))
        return
    with Path(path).open("rb") as file:
        yield file


class _Scanner:
    """Finds the objects in a text that is read piece by piece."""

    def __init__(self) -> None:
        self._buffer = ""
        self._position = 0
        self._lines = 1
        self._counted = 0
        self._ended = False
        self._decoder = json.JSONDecoder(object_pairs_hook=_unrepeated, parse_constant=_no_constant)

    @property
    def line(self) -> int:
        """The line at which it is, from 1 on."""
        self._lines += self._buffer.count("\n", self._counted, self._position)
        self._counted = self._position
        return self._lines

    def objects(self, read: Callable[[int], str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each object, with its line; `read` returns so many characters, fewer only at the end."""
        state = _OUTSIDE
        while True:
            char = self._next(read)
            if not char and state == _OUTSIDE:
                return
            if char == "{" and state != _BEHIND:
                line = self.line
                yield line, self._object(read)
                state = _OUTSIDE if state == _OUTSIDE else _BEHIND
                continue
            following = _STEPS.get((state, char))
            if following is None:
                found = f"{self._buffer[self._position :][:40]!r} stands" if char else "the file ends"
                expected = "a comma or a closing bracket" if state == _BEHIND else "an entity, a JSON object"
                raise UnreadableFile(f"{found} in line {self.line}, where {expected} is expected")
            state = following
            self._position += 1

    def _next(self, read: Callable[[int], str]) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            buffer, end = self._buffer, len(self._buffer)
            while self._position < end and buffer[self._position] in " \t\r\n":
                self._position += 1
            if self._position < end:
                return buffer[self._position]
            if not self._more(read):
                return ""

    def _object(self, read: Callable[[int], str]) -> dict[str, Any]:
        while True:
            try:
                found, self._position = self._decoder.raw_decode(self._buffer, self._position)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self._buffer) - _NEAR_THE_END
                if not cut or len(self._buffer) - self._position > _LARGEST or not self._more(read):
                    line = self.line + self._buffer.count("\n", self._position, error.pos)
                    raise UnreadableFile(f"it is no JSON: {error.msg}, in line {line}") from error
            except (ValueError, RecursionError) as error:
                reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
                raise UnreadableFile(f"the entity in line {self.line} cannot be read: {reason}") from error
            else:
                return cast("dict[str, Any]", found)

    def _more(self, read: Callable[[int], str]) -> bool:
        """Read on, as much again as there is of an object; False at the end."""
        self._lines = self.line
        rest = self._buffer[self._position :]
        more = "" if self._ended else read(max(_CHUNK, len(rest)))
        self._ended = not more
        self._buffer, self._position, self._counted = rest + more, 0, 0
        return bool(more)


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object; ValueError where a member occurs twice: a broker refuses it, as it cannot know which one is meant."""
    found = dict(pairs)
    if len(found) != len(pairs):
        name = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise ValueError(f"the member {name!r} occurs more than once in the same object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
