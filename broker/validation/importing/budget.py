"""How much a source of data models may hold: far more than all published ones, far less than what does harm."""

from typing import Protocol

from broker.validation.definitions import DataModelError

MEGABYTE = 1 << 20
LARGEST_FILE = 8 * MEGABYTE
LARGEST_TREE = 256 * MEGABYTE
LARGEST_UNPACKED = 2_048 * MEGABYTE
LARGEST_DOWNLOAD = 512 * MEGABYTE
MOST_FILES = 500_000


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Budget:
    """What is left of the limits while a source is read; DataModelError, with the `name` of the source, past them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._files = MOST_FILES
        self._kept = LARGEST_TREE
        self._unpacked = LARGEST_UNPACKED

    def count(self, path: str) -> None:
        """One more file, wanted or not."""
        self._files -= 1
        if self._files < 0:
            raise self._exceeded(f"has more than {MOST_FILES:,} files (at {path!r:.200})")

    def read(self, file: _Readable, path: str) -> bytes:
        """The content of a file that is wanted."""
        content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise self._exceeded(f"has a file of more than {LARGEST_FILE // MEGABYTE} MB ({path!r:.200})")
        self._kept -= len(content)
        if self._kept < 0:
            raise self._exceeded(f"has more than {LARGEST_TREE // MEGABYTE} MB of schemas")
        return content

    def unpack(self, size: int) -> None:
        """So many more bytes of an archive, unpacked."""
        self._unpacked -= size
        if self._unpacked < 0:
            raise self._exceeded(f"unpacks to more than {LARGEST_UNPACKED // MEGABYTE} MB")

    def _exceeded(self, what: str) -> DataModelError:
        return DataModelError(f"{self.name} is refused: it {what}.")
