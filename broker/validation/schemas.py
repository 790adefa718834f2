"""The data models: read from a folder, compiled, and bound to the stored form of entities.

A folder of data models has the layout of the Smart Data Models:

    common-schema.json                          parts that the schemas share
    dataModel.<Subject>/context.jsonld          the @context of the subject
    dataModel.<Subject>/<Type>/schema.json      the schema of the type, for the simplified form, draft 2020-12
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012, Draft202012Validator, Registry, Resolver, ValidationError

from broker.jsonld.context import Context
from broker.jsonld.processing import Part, combined_terms
from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import Entity
from broker.validation.comparisons import Comparison, read_comparisons
from broker.validation.simplified import Binding, Variant
from broker.validation.violations import Violation, from_comparison, from_error

COMMON = "common-schema.json"
"""The file of the parts that the schemas of a folder share."""

_APPLICATORS = ("allOf", "anyOf", "oneOf")
_BRANCHES = ("then", "else", "not")
_CLOSING = frozenset(
    {
        *("additionalProperties", "unevaluatedProperties", "patternProperties"),
        *("propertyNames", "minProperties", "maxProperties"),
    }
)
"""Keywords by which a schema looks at members that it does not name."""


class DataModelError(Exception):
    """A data model cannot be used; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Model:
    """One compiled data model.

    `name` is the type as the schema calls it, `iri` its expanded form, `file` the schema's path inside its folder.
    """

    name: str
    iri: str
    file: str
    _binding: Binding
    _validator: Draft202012Validator
    _comparisons: tuple[Comparison, ...]
    _files: Mapping[str, str]

    def violations(self, entity: Entity) -> list[Violation]:
        """Every rule that the stored entity breaks; empty if it keeps them all.

        The entity is checked with the first value of each attribute, then once more for each further value (datasetId,
        language) in the place of the first.
        """
        document, variants = self._binding.simplify(entity)
        found = [] if self._keeps(document) else self._explain(document, None)
        for variant in variants:
            found.extend(self._variant_violations(document, variant))
        return list(dict.fromkeys(found)) if len(found) > 1 else found

    def name_of(self, key: str) -> str:
        """The model's name of an attribute key."""
        return self._binding.name_of(key)

    def _keeps(self, document: dict[str, Any]) -> bool:
        for comparison in self._comparisons:
            if comparison.broken_by(document) is not None:
                return False
        return self._validator.is_valid(document)

    def _variant_violations(self, document: dict[str, Any], variant: Variant) -> Iterator[Violation]:
        replaced = {**document, variant.name: variant.value}
        if not self._keeps(replaced):
            touched = frozenset({variant.name})
            for violation in self._explain(replaced, variant.dataset):
                if violation.attribute and violation.concerns(touched):
                    yield violation

    def _explain(self, document: dict[str, Any], dataset: str | None) -> list[Violation]:
        found: list[Violation] = []
        for error in self._validator.iter_errors(document):
            found.extend(from_error(error, self._place(error), dataset))
        for index, comparison in enumerate(self._comparisons):
            numbers = comparison.broken_by(document)
            if numbers is not None:
                found.append(from_comparison(comparison, index, numbers, self.file, dataset))
        return found

    def _place(self, error: ValidationError) -> str:
        identifier, _, pointer = (error.absolute_keyword_location or "").partition("#")
        if identifier in self._files:
            return f"{self._files[identifier]}#{pointer}"
        return f"{self.file}#" + "".join(f"/{step}" for step in error.schema_path)


def load_models(folder: Path) -> dict[str, Model]:
    """The data models of a folder by type IRI; DataModelError where one cannot be read, compiled or bound."""
    shared = {COMMON: read_json(folder / COMMON)}
    models: dict[str, Model] = {}
    for subject in sorted(folder.glob("dataModel.*")):
        context = read_context(subject / "context.jsonld")
        for file in sorted(subject.glob("*/schema.json")):
            name, path = file.parent.name, file.relative_to(folder).as_posix()
            model = compile_model(name, read_json(file), path, context, shared)
            models[model.iri] = model
    return models


def read_context(file: Path) -> Context:
    """The @context of a subject; DataModelError where the file holds none."""
    document = read_json(file)
    if not isinstance(document, dict) or not isinstance(document.get("@context"), dict):
        raise DataModelError(f'{file} holds no JSON-LD @context: expected an object with an "@context" member.')
    url = f"https://smartdatamodels.org/{file.parent.name}/{file.name}"
    try:
        return Context(combined_terms([Part(document["@context"], url)]), url, url)
    except BadRequestData as error:
        raise DataModelError(f"{file} cannot be used: {error.detail}") from error


def compile_model(
    name: str,
    schema: dict[str, Any],
    file: str,
    context: Context,
    shared: Mapping[str, dict[str, Any]],
) -> Model:
    """The model of the type `name`, whose schema comes from `file`.

    `shared` are the schemas that it may refer to by their `$id`, by file. DataModelError where it cannot be compiled.
    """
    sources = {**shared, file: schema}
    try:
        registry = Registry([(source["$id"], source) for source in sources.values()], draft=Draft202012)
        validator = Draft202012Validator(schema, registry=registry, validate_formats=True, offline=True)
        comparisons = read_comparisons(schema)
        resolver = registry.resolver(schema["$id"])
        keywords, properties = _outline(schema, resolver)
    except KeyError as error:
        raise DataModelError(f"A schema that {file} needs has no {error.args[0]}.") from error
    except ValueError as error:
        raise DataModelError(f"{file} is no valid schema: {_fault(schema, error)}") from error
    attributes = {member: kinds for member, kinds in properties.items() if member not in ("id", "type")}
    binding = Binding(
        name,
        {context.key(member): member for member in attributes},
        frozenset(member for member, kinds in attributes.items() if kinds == {"array"}),
        context,
        unbound=not keywords.isdisjoint(_CLOSING),
    )
    files = {source["$id"]: path for path, source in sources.items()}
    return Model(name, context.expand(name), file, binding, validator, comparisons, files)


def _fault(schema: dict[str, Any], error: ValueError) -> str:
    """What is wrong with a schema and where, as jsonschema says it; else what jsonschema-rs said."""
    import jsonschema  # slow to import, and needed only here

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as fault:
        return f"{fault.message}, at #/{'/'.join(str(step) for step in fault.absolute_path)}"
    return str(error).splitlines()[0]


def _outline(schema: Any, resolver: Resolver) -> tuple[set[str], dict[str, set[str]]]:
    """The keywords that apply to the entity itself, and its members, each with the JSON types that its schemas name."""
    keywords: set[str] = set()
    properties: dict[str, set[str]] = {}
    for part, scope in _in_place(schema, resolver, frozenset()):
        keywords.update(part)
        for member, member_schema in part.get("properties", {}).items():
            kinds = properties.setdefault(member, set())
            for member_part, _ in _in_place(member_schema, scope, frozenset()):
                declared = member_part.get("type", [])
                kinds.update([declared] if isinstance(declared, str) else declared)
    return keywords, properties


def _in_place(schema: Any, resolver: Resolver, seen: frozenset[str]) -> Iterator[tuple[dict[str, Any], Resolver]]:
    """The object schema and all that applies to the same instance through references and applicators."""
    if not isinstance(schema, dict):
        return
    yield schema, resolver
    reference = schema.get("$ref")
    if isinstance(reference, str) and (key := f"{resolver.base_uri} {reference}") not in seen:
        target = resolver.lookup(reference)
        yield from _in_place(target.contents, target.resolver, seen | {key})
    for keyword in _APPLICATORS:
        for branch in schema.get(keyword, []):
            yield from _in_place(branch, resolver, seen)
    for keyword in _BRANCHES:
        yield from _in_place(schema.get(keyword), resolver, seen)


def read_json(file: Path) -> Any:
    """The JSON of a file; DataModelError where there is none."""
    try:
        return json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise DataModelError(f"{file} does not exist.") from error
    except ValueError as error:
        raise DataModelError(f"{file} is no JSON: {error}.") from error
