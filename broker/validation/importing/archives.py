"""Archives (.zip, .tar, .tar.gz), read in memory: nothing is unpacked to disk, and nothing past the limits is unpacked.

A path that leads out of the archive makes it suspicious as a whole, and it is refused. Links and special files are not
followed. What an archive says about its sizes is not believed: what is read is counted.
"""

import gzip
import io
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from typing import IO

from broker.validation.definitions import DataModelError
from broker.validation.importing.budget import Budget
from broker.validation.importing.layout import is_wanted

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ZIP = b"PK\x03\x04"
_GZIP = b"\x1f\x8b"
_TAR_MARK = slice(257, 262)
_UNREADABLE = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(EOFError, NotImplementedError, RuntimeError, ValueError, OSError),
)


def is_archive(content: bytes) -> bool:
    """Whether the bytes begin as an archive does."""
    return content.startswith((_ZIP, _GZIP)) or content[_TAR_MARK] == b"ustar"


def read_archive(content: bytes, name: str) -> tuple[dict[str, bytes], str]:
    """The files of an archive that may matter to data models, by path, and the commit that it shows ("": none known).

    `name` is for error texts. DataModelError where it is damaged, past a limit, or leads out of itself.
    """
    budget = Budget(name)
    try:
        return _zip(content, budget) if content.startswith(_ZIP) else _tar(content, budget)
    except _UNREADABLE as error:
        raise DataModelError(f"{name} cannot be read as an archive: {str(error) or type(error).__name__}.") from error


def _zip(content: bytes, budget: Budget) -> tuple[dict[str, bytes], str]:
    tree: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            path = _safe(entry.filename, budget)
            mode = entry.external_attr >> 16
            if not entry.is_dir() and (stat.S_ISREG(mode) or not stat.S_IFMT(mode)) and is_wanted(path):
                with archive.open(entry) as file:
                    tree[path] = budget.read(file, path)
        comment = archive.comment.decode(errors="replace")
    return tree, comment if _COMMIT.fullmatch(comment) else ""


def _tar(content: bytes, budget: Budget) -> tuple[dict[str, bytes], str]:
    tree: dict[str, bytes] = {}
    with _unpacked(content) as stream, tarfile.open(fileobj=_Counted(stream, budget), mode="r|") as archive:  # type: ignore[call-overload]
        for entry in archive:
            path = _safe(entry.name, budget)
            if entry.isreg() and is_wanted(path):
                file = archive.extractfile(entry)
                assert file is not None
                tree[path] = budget.read(file, path)
        comment = archive.pax_headers.get("comment", "")
    return tree, comment if _COMMIT.fullmatch(comment) else ""


def _unpacked(content: bytes) -> IO[bytes]:
    raw = io.BytesIO(content)
    return gzip.GzipFile(fileobj=raw) if content.startswith(_GZIP) else raw  # type: ignore[return-value]


class _Counted:
    """A stream of which no more can be read than the budget has: tar archives are unpacked whole, wanted or not."""

    def __init__(self, stream: IO[bytes], budget: Budget) -> None:
        self._stream = stream
        self._budget = budget

    def read(self, size: int) -> bytes:
        content = self._stream.read(size)
        self._budget.unpack(len(content))
        return content


def _safe(path: str, budget: Budget) -> str:
    """The path without a "./" before it; DataModelError if it leads out of the archive."""
    budget.count(path)
    steps = [step for step in path.replace("\\", "/").split("/") if step != "."]
    if path.startswith(("/", "\\")) or ".." in steps or ":" in steps[0] or "\0" in path:
        raise DataModelError(f"{budget.name} is refused: it holds the path {path!r:.200}, which leads out of it.")
    return "/".join(step for step in steps if step)
