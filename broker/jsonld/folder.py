"""Folders of @contexts that are known without a download: VELA_CONTEXTS_DIR, and what comes with Vela."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from broker.setting import SettingsError


class ContextFolders:
    """Folders, each with an `index.json` of {URL: file name} and the documents that it names; the first one wins.

    Everything is read once at construction, so that a mistake stops the start: SettingsError says which file is at
    fault. Afterwards a document is read when it is asked for.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._files: dict[str, Path] = {}
        for path in paths:
            index = _read_json(path / "index.json", "an object of {URL: file name}")
            if not isinstance(index, dict) or not all(isinstance(name, str) for name in index.values()):
                raise _unusable(path / "index.json", "it holds other JSON", "an object of {URL: file name}")
            for url, name in index.items():
                if url not in self._files:
                    self._files[url] = path / name
                    self.get(url)

    def __len__(self) -> int:
        return len(self._files)

    def get(self, url: str) -> Any | None:
        """The document of `url`, a JSON object with an "@context" member, or None if no folder has it."""
        file = self._files.get(url)
        if file is None:
            return None
        expected = f'the JSON-LD @context of {url}: an object with an "@context" member'
        document = _read_json(file, expected)
        if not isinstance(document, dict) or "@context" not in document:
            raise _unusable(file, "it holds other JSON", expected)
        return document


def _read_json(file: Path, expected: str) -> Any:
    try:
        return orjson.loads(file.read_bytes())
    except OSError as error:
        raise _unusable(file, f"it cannot be read ({error.strerror})", expected) from error
    except orjson.JSONDecodeError as error:
        raise _unusable(file, f"it is not JSON ({error})", expected) from error


def _unusable(file: Path, found: str, expected: str) -> SettingsError:
    return SettingsError(
        f"VELA_CONTEXTS_DIR: {file} cannot be used: {found}; expected {expected}. Correct the file, the index or the "
        "setting."
    )
