"""From the files of a source to definitions of data models; what cannot be used comes out with its `problem`.

Each model is judged by itself, as `jsonschema` with draft 2020-12 judges it: its schema and what it needs are valid
schemas, every reference leads somewhere, and it compiles.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import jsonschema_rs

from broker.validation.compiling import compile_definition
from broker.validation.definitions import DataModelError, Definition
from broker.validation.importing.documents import Documents, canonical_uri, split, write_pointer
from broker.validation.importing.licences import read_licence
from broker.validation.importing.naming import Names, read_names
from broker.validation.importing.references import Canonical, canonicalise


def read_models(tree: Mapping[str, bytes], *, source: str, version: str, only: str | None = None) -> list[Definition]:
    """The data models of a source, sorted by their path.

    `tree` has the files by path, in the layout of the Smart Data Models (`sources.open_source` makes it); `source` and
    `version` say what it is. `only` selects a subject ("dataModel.Parking" or "Parking"), a type ("OffStreetParking"),
    or one type of one subject ("Parking/OffStreetParking"). DataModelError where that selects nothing; a document that
    cannot be used is no error, but a definition with a `problem`.
    """
    documents = Documents(tree)
    paths = documents.models(only)
    if only is not None and not paths:
        raise DataModelError(f"{source} has no data model {only!r}: {_offer(documents)}.")
    reader = _Reader(documents, source, version)
    return _without_twins([reader.read(path) for path in paths])


class _Reader:
    def __init__(self, documents: Documents, source: str, version: str) -> None:
        self._documents = documents
        self._source = source
        self._version = version
        self._names: dict[tuple[str, str], Names | DataModelError] = {}

    def read(self, path: str) -> Definition:
        """The definition of the model whose schema is at `path`."""
        subject, name = split(path)
        problem = ""
        try:
            names = self._names_of(subject, name)
        except DataModelError as error:
            names, problem = Names(subject, "", {}), str(error)
        try:
            canonical = canonicalise(self._documents, path)
        except DataModelError as error:
            canonical, problem = Canonical({"$id": canonical_uri(path)}), str(error)
        except RecursionError:
            canonical, problem = Canonical({"$id": canonical_uri(path)}), f"{path} is nested too deeply."
        if not isinstance(canonical.schema, dict):
            canonical.schema, problem = {"$id": canonical_uri(path)}, f"{path} is no schema: expected an object."
        definition = Definition(
            iri=names.type_iri(name),
            name=name,
            schema=canonical.schema,
            subject=subject,
            file=path,
            resources=canonical.resources,
            terms=names.terms(name, canonical),
            files=canonical.files,
            source=self._source,
            version=self._version or _schema_version(canonical.schema),
            licence=read_licence(self._documents, path, canonical.schema),
        )
        return replace(definition, problem=problem or _problem(definition, canonical))

    def _names_of(self, subject: str, name: str) -> Names:
        own = "" if subject else name
        if (subject, own) not in self._names:
            try:
                self._names[subject, own] = read_names(self._documents, subject, name)
            except DataModelError as error:
                self._names[subject, own] = error
        found = self._names[subject, own]
        if isinstance(found, DataModelError):
            raise found
        return found


def _problem(definition: Definition, canonical: Canonical) -> str:
    """Why the definition cannot be used; "" if it can."""
    if canonical.problems:
        return " ".join(canonical.problems[:3])
    for uri, document in (*definition.resources.items(), ("", definition.schema)):
        if not jsonschema_rs.meta.is_valid(document):
            return _fault(definition.files.get(uri, definition.file), document)
    try:
        compile_definition(definition)
    except DataModelError as error:
        return str(error)
    except RecursionError:
        return f"{definition.file} is nested too deeply."
    return ""


def _fault(file: str, schema: Any) -> str:
    """What makes a document no valid schema, as jsonschema says it, with its place."""
    import jsonschema  # slow to import, and needed only here

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        return f"{file}#{write_pointer(tuple(error.absolute_path))} is no valid schema: {error.message:.300}."
    return f"{file} is no valid schema of draft 2020-12."


def _schema_version(schema: Mapping[str, Any]) -> str:
    version = schema.get("$schemaVersion")
    return version if isinstance(version, str) else ""


def _offer(documents: Documents) -> str:
    paths = documents.models()
    names = sorted({subject or name for subject, name in map(split, paths)})
    shown = ", ".join(names[:10]) + (" …" if len(names) > 10 else "")
    return f"it has {len(paths)} models ({shown})" if paths else "it has none at all"


def _without_twins(definitions: Iterable[Definition]) -> list[Definition]:
    """Of the models with one IRI the first keeps it; the others go into quarantine under the one of their place."""
    found: list[Definition] = []
    owners: dict[str, str] = {}
    for definition in definitions:
        owner = owners.setdefault(definition.iri, definition.file)
        found.append(definition if owner == definition.file else _renamed(definition, owner, owners))
    return found


def _renamed(definition: Definition, owner: str, owners: dict[str, str]) -> Definition:
    problem = f"Its type is {definition.iri}, which is that of {owner}, too: the @context must tell them apart."
    iri = Names(definition.subject, "", {}).type_iri(definition.name)
    if owners.setdefault(iri, definition.file) != definition.file:
        iri = canonical_uri(definition.file)
    return replace(definition, iri=iri, problem=problem)
