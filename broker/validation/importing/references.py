"""From a schema that refers to others by address to one that carries with it what it needs.

A model is followed from its root, through every keyword that draft 2020-12 knows, over the references into other
documents. What is reached is copied, with canonical URIs in the place of addresses; the parts of other documents that
are not reached stay behind, so that their mistakes are nobody's. A place in a copy is the same as in its original.

The copies are read by the rules of draft 2020-12 whatever "$schema" says. That draft does not have "dependencies",
which some validators apply all the same: it stays behind, too. Patterns are written out (`patterns`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote, urldefrag, urljoin

from broker.validation.definitions import DataModelError
from broker.validation.importing.documents import (
    Documents,
    Steps,
    at,
    canonical_uri,
    published_paths,
    read_pointer,
    write_pointer,
)
from broker.validation.importing.patterns import written_out

DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""The draft that all data models claim, and by which they are read."""

ONE = frozenset(
    {
        *("additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then"),
        *("unevaluatedItems", "unevaluatedProperties"),
    }
)
"""Keywords whose value is a schema."""
SEVERAL = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
"""Keywords whose value is an array of schemas."""
NAMED = frozenset({"dependentSchemas", "patternProperties", "properties"})
"""Keywords whose value is an object of schemas."""
STORES = frozenset({"$defs", "definitions"})
"""Keywords under which a document keeps schemas for references."""

_LEFT_BEHIND = frozenset({"$id", "$schema", "$anchor", "dependencies"})
_METASCHEMAS = "https://json-schema.org/"
_IN_FRAGMENTS = "/~!$&'()*+,;=:@-._"


@dataclass(slots=True)
class Canonical:
    """A model's schema and the `resources` that it needs, by canonical URI; `files` has the path of each.

    `names` are the names of members that the schemas speak of, `shared` those that come from another document, `values`
    the texts that a member may have. `problems` are the references that lead nowhere, as sentences, `missing`
    the URIs of the documents that are not in the source.
    """

    schema: Any
    resources: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)
    values: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)


class _Base(NamedTuple):
    """What references are relative to: the URI and the place of the nearest resource ("$id") around them."""

    uri: str
    path: str
    steps: Steps


def subschemas(keyword: str, value: Any) -> Iterator[tuple[Steps, Any]]:
    """The schemas in the value of a keyword, each with its place there."""
    if keyword in ONE:
        yield (), value
    elif keyword in SEVERAL and isinstance(value, list):
        yield from (((index,), item) for index, item in enumerate(value))
    elif (keyword in NAMED or keyword in STORES) and isinstance(value, dict):
        yield from (((name,), item) for name, item in value.items())


def canonicalise(documents: Documents, path: str) -> Canonical:
    """The schema at `path` with all that it refers to. DataModelError where the file is no JSON."""
    return _Walk(documents, path).result()


class _Walk:
    def __init__(self, documents: Documents, path: str) -> None:
        self._documents = documents
        self._root = path
        self._waiting: list[tuple[str, Steps]] = [(path, ())]
        self._seen: set[tuple[str, Steps]] = set()
        self._entries: dict[str, list[Steps]] = {}
        self._left: set[tuple[str, Steps]] = set()
        self._rewritten: dict[str, dict[Steps, str]] = {}
        self._found = Canonical(None)

    def result(self) -> Canonical:
        while self._waiting:
            path, steps = self._waiting.pop()
            if (path, steps) not in self._seen:
                self._entries.setdefault(path, []).append(steps)
                self._visit(at(self._documents.get(path), steps), steps, self._base(path, steps))
        found = self._found
        for path, entries in self._entries.items():
            uri = canonical_uri(path)
            copy = self._assemble(path, entries)
            found.files[uri] = path
            if isinstance(copy, dict):
                copy = {"$schema": DIALECT, "$id": uri, **copy}
            if path == self._root:
                found.schema = copy
            else:
                found.resources[uri] = copy
        return found

    def _assemble(self, path: str, entries: list[Steps]) -> Any:
        """A copy of the parts of a document that were entered, each at its place."""
        document = self._documents.get(path)
        copy: Any = {}
        for steps in sorted(entries, key=len):
            part = self._copy(at(document, steps), path, steps)
            if not steps:
                copy = part
                continue
            parent, original = copy, document
            for step in steps[:-1]:
                original = original[step]
                parent = _put(parent, step, [] if isinstance(original, list) else {})
            _put(parent, steps[-1], part)
        for steps, text in self._rewritten.get(path, {}).items():
            at(copy, steps[:-1])[steps[-1]] = text
        return copy

    def _copy(self, value: Any, path: str, steps: Steps) -> Any:
        if isinstance(value, dict):
            return {
                key: self._copy(item, path, (*steps, key))
                for key, item in value.items()
                if (path, (*steps, key)) not in self._left
            }
        if isinstance(value, list):
            return [self._copy(item, path, (*steps, index)) for index, item in enumerate(value)]
        return value

    def _base(self, path: str, steps: Steps) -> _Base:
        document = self._documents.get(path)
        base = _Base(_identifier(document) or canonical_uri(path), path, ())
        for length in range(1, len(steps)):
            base = _inner(base, at(document, steps[:length]), steps[:length])
        return base

    def _visit(self, schema: Any, steps: Steps, base: _Base) -> None:
        if (base.path, steps) in self._seen or not isinstance(schema, dict):
            return
        self._seen.add((base.path, steps))
        if steps:
            base = _inner(base, schema, steps)
        self._note_names(schema, base.path)
        for keyword, value in schema.items():
            place = (*steps, keyword)
            if keyword in _LEFT_BEHIND or (keyword in STORES and base.path != self._root):
                self._left.add((base.path, place))
            elif keyword in ("$ref", "$dynamicRef") and isinstance(value, str):
                canonical = self._reference(value, base, steps, dynamic=keyword == "$dynamicRef")
                self._rewritten.setdefault(base.path, {})[place] = canonical
            elif keyword == "pattern" and isinstance(value, str):
                self._rewritten.setdefault(base.path, {})[place] = written_out(value)
            else:
                for step, child in subschemas(keyword, value):
                    self._visit(child, (*place, *step), base)

    def _note_names(self, schema: dict[str, Any], path: str) -> None:
        names = set(_names(schema))
        self._found.names |= names
        if path != self._root:
            self._found.shared |= names
        options = schema.get("enum")
        for value in [*(options if isinstance(options, list) else ()), schema.get("const")]:
            if isinstance(value, str):
                self._found.values.add(value)

    def _reference(self, reference: str, base: _Base, steps: Steps, *, dynamic: bool) -> str:
        """The canonical form of a reference; what it leads to waits to be copied."""
        try:
            target = self._locate(reference, base)
        except DataModelError as error:
            place = f"{base.path}#{write_pointer(steps)}"
            self._found.problems.append(f"{place} refers to {reference}, which {error}.")
            return reference
        if target is None:
            return reference
        path, found = target
        self._waiting.append((path, found))
        fragment = urldefrag(reference).fragment if dynamic else quote(write_pointer(found), safe=_IN_FRAGMENTS)
        return f"{'' if path == base.path else canonical_uri(path)}#{fragment}"

    def _locate(self, reference: str, base: _Base) -> tuple[str, Steps] | None:
        """The document and place that a reference leads to; None for a metaschema, which every validator has."""
        relative, fragment = urldefrag(reference)
        uri = urljoin(base.uri, relative) if relative else base.uri
        path, start = base.path, base.steps
        if uri != base.uri:
            if uri.startswith(_METASCHEMAS):
                return None
            found = self._documents.find(uri, relative, base.path)
            if found is None:
                self._found.missing.add(uri)
                expected = f" (expected at {places[0]})" if (places := published_paths(uri)) else ""
                raise DataModelError(f"is not in the source{expected}")
            path, start = found, ()
        document = self._documents.get(path)
        if fragment and not fragment.startswith("/"):
            anchor = next(_anchors(at(document, start), fragment, start), None)
            if anchor is None:
                raise DataModelError(f"does not exist: {path} has no anchor {fragment}")
            return path, anchor
        try:
            place = _exact(document, (*start, *read_pointer(fragment)))
        except KeyError:
            raise DataModelError(f"does not exist: {path} has nothing there") from None
        if not isinstance(at(document, place), dict | bool):
            raise DataModelError("is no schema: expected an object")
        return path, place


def _identifier(schema: Any) -> str:
    identifier = schema.get("$id") if isinstance(schema, dict) else None
    return urldefrag(identifier).url if isinstance(identifier, str) else ""


def _inner(base: _Base, schema: Any, steps: Steps) -> _Base:
    """The base inside of `schema`, which may be a resource of its own."""
    identifier = _identifier(schema)
    return _Base(urljoin(base.uri, identifier), base.path, steps) if identifier else base


def _exact(document: Any, steps: Steps) -> Steps:
    """The steps with numbers where they lead into arrays; KeyError where they lead nowhere."""
    exact: list[str | int] = []
    for step in steps:
        exact.append(int(step) if isinstance(document, list) and str(step).isdecimal() else step)
        document = at(document, (exact[-1],))
    return tuple(exact)


def _anchors(schema: Any, name: str, steps: Steps) -> Iterator[Steps]:
    """The places inside of a resource that have the anchor `name`."""
    if not isinstance(schema, dict):
        return
    if name in (schema.get("$anchor"), schema.get("$dynamicAnchor")):
        yield steps
    for keyword, value in schema.items():
        for step, child in subschemas(keyword, value):
            yield from _anchors(child, name, (*steps, keyword, *step))


def _names(schema: dict[str, Any]) -> Iterator[str]:
    """The names of members that a schema speaks of."""
    properties = schema.get("properties")
    if isinstance(properties, dict):
        yield from properties
    required = [schema.get("required")]
    dependent = schema.get("dependentRequired")
    if isinstance(dependent, dict):
        yield from dependent
        required.extend(dependent.values())
    for names in required:
        if isinstance(names, list):
            yield from (name for name in names if isinstance(name, str))


def _put(parent: Any, step: str | int, value: Any) -> Any:
    """What stands at a step of a document that is being assembled: `value`, unless something stood there before."""
    if isinstance(parent, list):
        parent.extend(True for _ in range(len(parent), int(step) + 1))
        if parent[int(step)] is True:
            parent[int(step)] = value
        return parent[int(step)]
    return parent.setdefault(step, value)
