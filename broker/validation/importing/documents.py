"""The JSON documents of a source, found by their path, by their published address, or by the "$id" that they claim."""

import posixpath
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import orjson

from broker.validation.definitions import DataModelError

Steps = tuple[str | int, ...]
"""The steps of a JSON pointer, unescaped; numbers lead into arrays."""

CANONICAL = "urn:vela:datamodels:"
COMMON = "common-schema.json"
"""The document of the parts that the models of all subjects share."""
CONTEXT = "context.jsonld"
SCHEMA = "schema.json"

_SUBJECT_PREFIX = "dataModel."
_ORGANISATION = "smart-data-models"
_HOME = "data-models"
_BRANCH = r"(?:refs/(?:heads|tags)/)?[^/]+"
_ADDRESSES = (
    re.compile(rf"{_ORGANISATION}\.github\.io/(?P<repository>[^/]+)/(?P<rest>.+)"),
    re.compile(rf"raw\.githubusercontent\.com/{_ORGANISATION}/(?P<repository>[^/]+)/{_BRANCH}/(?P<rest>.+)"),
    re.compile(rf"github\.com/{_ORGANISATION}/(?P<repository>[^/]+)/(?:blob|raw|tree)/{_BRANCH}/(?P<rest>.+)"),
    re.compile(r"smartdatamodels\.org/(?P<repository>dataModel\.[^/]+)/(?P<rest>.+)"),
    re.compile(r"fiware\.github\.io/(?P<repository>data-?[mM]odels)/(?P<rest>.+)"),
)
_BOM = b"\xef\xbb\xbf"


def canonical_uri(path: str) -> str:
    """The URI that stands for a document of a source: from its path, without ".json", with ":" for "/"."""
    return CANONICAL + quote(path.removesuffix(".json").replace("/", ":"), safe=":-._~!$&'()*+,;=@")


def published_paths(uri: str) -> tuple[str, ...]:
    """Where a source holds the document that the Smart Data Models publish at `uri`; empty for any other address."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return ()
    address = parts.netloc.lower() + parts.path
    for pattern in _ADDRESSES:
        found = pattern.fullmatch(address)
        if found is not None:
            rest = posixpath.normpath("/" + unquote(found["rest"])).lstrip("/")
            if found["repository"].lower().replace("-", "") == _HOME.replace("-", ""):
                return rest, f"{_HOME}/{rest}"
            return (f"{found['repository']}/{rest}",)
    return ()


class Documents:
    """The files of a source: `tree` has their bytes by path. Each is parsed when it is needed, once."""

    def __init__(self, tree: Mapping[str, bytes]) -> None:
        self.tree = tree
        self._parsed: dict[str, Any] = {}
        self._claims: dict[str, list[str]] | None = None

    def __contains__(self, path: str) -> bool:
        return path in self.tree

    def get(self, path: str) -> Any:
        """The JSON of the file at `path`; DataModelError where there is none, or it holds something else."""
        if path not in self._parsed:
            self._parsed[path] = self._parse(path)
        found = self._parsed[path]
        if isinstance(found, DataModelError):
            raise found
        return found

    def models(self, only: str | None = None) -> list[str]:
        """The paths of the schemas of models: `dataModel.SUBJECT/TYPE/schema.json`, or `TYPE/schema.json`.

        `only` selects a subject, with or without "dataModel.", a type, or SUBJECT/TYPE.
        """
        return sorted(path for path in self.tree if is_model(path) and (only is None or _is_selected(path, only)))

    def find(self, uri: str, reference: str, path: str) -> str | None:
        """The path of the document at `uri`, which `reference` in the document at `path` stands for; None for none.

        What is published at the address counts before what merely claims it as its "$id". DataModelError, the end of a
        sentence that begins with the reference, where several documents claim the address.
        """
        candidates = [*published_paths(uri)]
        if not urlsplit(reference).scheme and not reference.startswith("/"):
            candidates.append(posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(reference))))
        for candidate in candidates:
            if candidate in self.tree:
                return candidate
        claims = self.claims().get(uri, [])
        if len(claims) == 1:
            return claims[0]
        if claims:
            raise DataModelError(f'is claimed as "$id" by several documents: {", ".join(claims)}')
        return None

    def claims(self) -> Mapping[str, list[str]]:
        """The paths of the documents that have each URI as their "$id"."""
        if self._claims is None:
            self._claims = {}
            for path in sorted(self.tree):
                if path.endswith(".json"):
                    try:
                        document = self.get(path)
                    except DataModelError:
                        continue
                    claimed = document.get("$id") if isinstance(document, dict) else None
                    if isinstance(claimed, str) and claimed:
                        self._claims.setdefault(claimed.removesuffix("#"), []).append(path)
        return self._claims

    def _parse(self, path: str) -> Any:
        content = self.tree.get(path)
        if content is None:
            return DataModelError(f"{path} does not exist in the source.")
        try:
            return orjson.loads(content.removeprefix(_BOM))
        except orjson.JSONDecodeError as error:
            return DataModelError(f"{path} is no JSON: {error}.")


def is_model(path: str) -> bool:
    """Whether a model's schema is at `path`."""
    steps = path.split("/")
    return steps[-1] == SCHEMA and len(steps) == (3 if is_subject(steps[0]) else 2)


def is_subject(folder: str) -> bool:
    """Whether the name of a folder is that of a subject."""
    return folder.startswith(_SUBJECT_PREFIX) and folder != _SUBJECT_PREFIX


def split(path: str) -> tuple[str, str]:
    """The subject ("" for none) and the type of the model whose schema is at `path`."""
    folders = path.split("/")[:-1]
    return (folders[0], folders[-1]) if is_subject(folders[0]) else ("", folders[-1])


def _is_selected(path: str, only: str) -> bool:
    subject, name = split(path)
    short = subject.removeprefix(_SUBJECT_PREFIX)
    return only.strip("/") in (subject, short, name, f"{subject}/{name}", f"{short}/{name}")


def declared_types(schema: Any) -> list[str]:
    """The types that the member "type" of an entity may have, as far as the schema itself says; [] for any."""
    if not isinstance(schema, dict):
        return []
    properties = schema.get("properties")
    rule = properties.get("type") if isinstance(properties, dict) else None
    if isinstance(rule, dict):
        options = rule.get("enum") if isinstance(rule.get("enum"), list) else [rule.get("const")]
        types = [option for option in options or () if isinstance(option, str)]
        if types:
            return types
    parts = schema.get("allOf")
    found = (declared_types(part) for part in parts) if isinstance(parts, list) else iter(())
    return next((types for types in found if types), [])


def at(document: Any, steps: Steps) -> Any:
    """What stands at a place of a document; KeyError where there is nothing."""
    for step in steps:
        try:
            document = document[int(step)] if isinstance(document, list) else document[step]
        except (IndexError, TypeError, ValueError) as error:
            raise KeyError(step) from error
    return document


def read_pointer(fragment: str) -> Steps:
    """The steps of a JSON pointer in the fragment of a URI."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in unquote(fragment).split("/")[1:])


def write_pointer(steps: Steps) -> str:
    """The JSON pointer of a place, as text."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)
