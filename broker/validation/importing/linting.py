"""What is wrong or doubtful in schemas of data models, for those who write or import them."""

import contextlib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from broker.validation.definitions import DataModelError, Definition
from broker.validation.importing.documents import (
    CANONICAL,
    COMMON,
    CONTEXT,
    SCHEMA,
    Documents,
    Steps,
    at,
    declared_types,
    is_model,
    published_paths,
    read_pointer,
    write_pointer,
)
from broker.validation.importing.naming import read_names
from broker.validation.importing.reading import read_models
from broker.validation.importing.references import DIALECT, subschemas

_LATER = {
    "definitions": "draft 2020-12 calls it $defs",
    "dependencies": "draft 2020-12 ignores it: dependentRequired and dependentSchemas took its place",
    "additionalItems": "draft 2020-12 ignores it: items took its place",
    "$recursiveRef": "draft 2020-12 ignores it: $dynamicRef took its place",
}
"""Keywords of older drafts, and what became of them."""
_IN_PLACE = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"})
"""Keywords whose schemas judge the same instance as the schema that they stand in."""
_PUBLISHED = "https://smart-data-models.github.io/"
_MOST_FAULTS = 20


class Level(StrEnum):
    """An `ERROR` keeps the model from being used; a `WARNING` does not."""

    ERROR = "error"
    WARNING = "warning"


class Finding(NamedTuple):
    """One finding: the file, the JSON pointer in it ("" for the file as a whole), and what is the matter there."""

    level: Level
    file: str
    pointer: str
    message: str

    @property
    def place(self) -> str:
        """File and pointer in one text."""
        return f"{self.file}#{self.pointer}" if self.pointer else self.file


def lint(tree: Mapping[str, bytes], only: str | None = None) -> list[Finding]:
    """What is wrong or doubtful in the data models of a source, by file, errors first; [] if nothing is.

    `tree` and `only` are as `reading.read_models` takes them; DataModelError where `only` selects nothing.
    """
    return sorted(set(_Linter(tree, only).findings()), key=lambda found: (found.file, found.level, found.pointer))


class _Linter:
    def __init__(self, tree: Mapping[str, bytes], only: str | None) -> None:
        self._documents = Documents(tree)
        self._definitions = read_models(tree, source="The source", version="", only=only)
        self._whole = only is None

    def findings(self) -> Iterator[Finding]:
        """All findings; one may come more than once."""
        files = {path for definition in self._definitions for path in definition.files.values()}
        for definition in self._definitions:
            yield from self._of_model(definition)
        for path in sorted(files | {definition.file for definition in self._definitions}):
            yield from self._of_document(path)
        if self._whole:
            yield from self._misplaced()

    def _of_model(self, definition: Definition) -> Iterator[Finding]:
        path = definition.file
        faults = list(self._faults(path))
        yield from faults
        if definition.problem and not faults:
            yield Finding(Level.ERROR, path, "", definition.problem)
        if not self._is_readable(path):
            return
        if not definition.licence:
            yield Finding(Level.WARNING, path, "", "It has no licence: expected a LICENSE.md beside the schema.")
        types = declared_types(definition.schema)
        if definition.name not in types:
            found = f'"type" has to be {" or ".join(types)}' if types else 'Nothing is said about "type"'
            yield Finding(Level.WARNING, path, "", f"{found}, but the folder is {definition.name}: expected just that.")
        yield from self._of_names(definition)

    def _is_readable(self, path: str) -> bool:
        try:
            return isinstance(self._documents.get(path), dict)
        except DataModelError:
            return False

    def _of_names(self, definition: Definition) -> Iterator[Finding]:
        try:
            names = read_names(self._documents, definition.subject, definition.name)
        except DataModelError:
            return  # that is the problem of the definition already
        if not names.file:
            place = f"{definition.subject}/{CONTEXT}" if definition.subject else CONTEXT
            message = f"There is no @context for its names: expected {place}."
            yield Finding(Level.WARNING, definition.file, "", message)
            return
        for name in (definition.name, *_attributes(definition)):
            if names.knows(name):
                continue
            iri = definition.terms.get(name)
            meaning = f"it stands for {iri}" if iri else "no attribute can have it"
            message = f"{names.file} has no term for {name!r}: {meaning}."
            yield Finding(Level.WARNING, definition.file, "", message)

    def _of_document(self, path: str) -> Iterator[Finding]:
        if not self._is_readable(path):
            return
        document = self._documents.get(path)
        if document.get("$schema") != DIALECT:
            message = f'"$schema" is {document.get("$schema")!r:.200}: it is read as {DIALECT} all the same.'
            yield Finding(Level.WARNING, path, "/$schema", message)
        yield from self._of_identifier(path, document.get("$id"))
        for steps, schema in _schemas(document, ()):
            for keyword, advice in _LATER.items():
                if keyword in schema and (keyword != "definitions" or not steps):
                    yield Finding(Level.WARNING, path, write_pointer((*steps, keyword)), f"{keyword}: {advice}.")
            reference = schema.get("$ref")
            if isinstance(reference, str) and published_paths(reference) and not reference.startswith(_PUBLISHED):
                message = f"It refers to {reference}: expected the address at {_PUBLISHED}."
                yield Finding(Level.WARNING, path, write_pointer((*steps, "$ref")), message)

    def _of_identifier(self, path: str, identifier: Any) -> Iterator[Finding]:
        if not isinstance(identifier, str) or not identifier:
            yield Finding(Level.WARNING, path, "", 'It has no "$id": expected the address at which it is published.')
            return
        if not identifier.startswith(CANONICAL) and path not in published_paths(identifier):
            home = "data-models/" if path == COMMON else ""
            message = f'"$id" is {identifier}, which is not its address: expected {_PUBLISHED}{home}{path}.'
            yield Finding(Level.WARNING, path, "/$id", message)
        others = [other for other in self._documents.claims().get(identifier.removesuffix("#"), []) if other != path]
        if others:
            message = f'"$id" is {identifier}, which is claimed by {", ".join(others)}, too.'
            yield Finding(Level.WARNING, path, "/$id", message)

    def _faults(self, path: str) -> Iterator[Finding]:
        """Where a schema breaks the rules for schemas, as jsonschema says it."""
        import jsonschema  # slow to import, and needed only here

        validator = jsonschema.Draft202012Validator(jsonschema.Draft202012Validator.META_SCHEMA)
        try:
            schema = self._documents.get(path)
            for number, error in enumerate(validator.iter_errors(schema)):
                if number == _MOST_FAULTS:
                    return
                message = f"{error.message:.300} (no valid schema of draft 2020-12)."
                yield Finding(Level.ERROR, path, write_pointer(tuple(error.absolute_path)), message)
        except (DataModelError, RecursionError):
            return  # that is the problem of the definition already

    def _misplaced(self) -> Iterator[Finding]:
        for path in self._documents.tree:
            if path.rpartition("/")[2] == SCHEMA and not is_model(path):
                message = f"It is not read: expected dataModel.SUBJECT/TYPE/{SCHEMA}."
                yield Finding(Level.WARNING, path, "", message)


def _attributes(definition: Definition) -> list[str]:
    """The names of the attributes that a model speaks of, wherever its schema does."""
    documents = {**definition.resources, str(definition.schema.get("$id")): definition.schema, "": definition.schema}
    names: set[str] = set()
    seen: set[str] = set()
    waiting: list[tuple[str, Any]] = [("", definition.schema)]
    while waiting:
        uri, schema = waiting.pop()
        if not isinstance(schema, dict):
            continue
        properties = schema.get("properties")
        names.update(properties if isinstance(properties, dict) else ())
        for keyword in _IN_PLACE & schema.keys():
            waiting.extend((uri, child) for _, child in subschemas(keyword, schema[keyword]))
        base, _, pointer = str(schema.get("$ref", "#")).partition("#")
        target = f"{base or uri}#{pointer}"
        if "$ref" in schema and target not in seen and (base or uri) in documents:
            seen.add(target)
            with contextlib.suppress(KeyError):  # a reference that leads nowhere is a finding of its own
                waiting.append((base or uri, at(documents[base or uri], read_pointer(pointer))))
    return sorted(names - {"id", "type"})


def _schemas(schema: Any, steps: Steps) -> Iterator[tuple[Steps, dict[str, Any]]]:
    """All schemas in a document, with their places."""
    if not isinstance(schema, dict):
        return
    yield steps, schema
    for keyword, value in schema.items():
        for step, child in subschemas(keyword, value):
            yield from _schemas(child, (*steps, keyword, *step))
