"""From the definition of a data model to a `Model` that checks entities."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from jsonschema_rs import Draft202012, Draft202012Validator, Registry, ValidationError

from broker.validation.comparisons import Comparison, read_comparisons
from broker.validation.definitions import DataModelError, Definition
from broker.validation.formats import own_formats
from broker.validation.models import Member, Model, Rules
from broker.validation.outline import Asked, outline
from broker.validation.simplified import NO_ATTRIBUTES, Terms
from broker.validation.units import Units
from broker.validation.violations import write_pointer

_NAMELESS = "urn:vela:datamodels:schema"
"""The URI of a schema that has none of its own."""

_MISSING = object()
_Documents = dict[str, Any]


def compile_definition(definition: Definition, *, zone_tolerant: bool = False) -> Model:
    """The model that checks by the schema of a definition, read as one of draft 2020-12 whatever it claims.

    DataModelError where it cannot be used, with the document and the place in it. `zone_tolerant` has date-times
    without a zone taken as UTC.
    """
    identifier = definition.schema.get("$id")
    uri = identifier if isinstance(identifier, str) and identifier else _NAMELESS
    file = definition.file or f"{definition.name}/schema.json"
    files = {**definition.files, uri: file}
    documents = {one: _identified(document, one) for one, document in definition.resources.items()}
    documents[uri] = _identified(definition.schema, uri)
    try:
        try:
            rules = _rules(definition, uri, documents, files, zone_tolerant=zone_tolerant)
        except ValueError as error:
            raise DataModelError(_fault(documents, uri, error)) from error
    except DataModelError as error:
        raise DataModelError(_named(str(error), files)) from error
    except RecursionError as error:
        raise DataModelError(f"{file} is nested too deeply.") from error
    return Model(definition.name, definition.iri, file, definition.subject, rules)


def _identified(document: Any, uri: str) -> Any:
    if not isinstance(document, dict):
        return document
    return {**{name: value for name, value in document.items() if name != "$schema"}, "$id": uri}


def _rules(
    definition: Definition, uri: str, documents: _Documents, files: Mapping[str, str], *, zone_tolerant: bool
) -> Rules:
    registry = Registry(documents.items(), draft=Draft202012)
    formats = own_formats(zone_tolerant=zone_tolerant)

    def validator(schema: Any) -> Draft202012Validator:
        return Draft202012Validator(schema, registry=registry, validate_formats=True, formats=formats, offline=True)

    schema = documents[uri]
    whole = validator(schema)
    comparisons = read_comparisons(schema, f"{uri}#")
    found = outline(schema, uri, registry.resolver(uri))
    for comparison in comparisons:
        for name in comparison.attributes - NO_ATTRIBUTES:
            found.of(name)
    terms = Terms(definition.terms, found.asked)
    members = _members(found.asked.values(), terms, validator if found.separable else None, files)
    _pair(members, comparisons)
    return Rules(whole, members, comparisons, terms, files, found.separable, found.unbound)


def _members(
    asked: Iterable[Asked],
    terms: Terms,
    validator: Callable[[Any], Draft202012Validator] | None,
    files: Mapping[str, str],
) -> tuple[Member, ...]:
    """The members, one per attribute key: where two names have one IRI, the required one counts, else the first."""
    members: dict[str, Member] = {}
    for one in sorted(asked, key=lambda one: not one.required):
        key = terms.key(one.name)
        if key in members:
            continue
        units = one.units or one.described
        members[key] = Member(
            name=one.name,
            key=key,
            is_valid=_anything if validator is None or not one.places else validator(_reference(one.places)).is_valid,
            required=one.required,
            listed=one.kinds == {"array"},
            units=None if units is None else Units(units.codes, _named(units.place, files)),
            observed=None if one.observed is None else _named(one.observed, files),
        )
    return tuple(members.values())


def _anything(_: Any) -> bool:
    return True


def _reference(places: list[str]) -> dict[str, Any]:
    """A schema that says what the schemas at the places say together."""
    references = []
    for place in places:
        uri, _, pointer = place.partition("#")
        references.append({"$ref": f"{uri}#{quote(pointer, safe=_UNQUOTED)}"})
    return references[0] if len(references) == 1 else {"allOf": references}


_UNQUOTED = "/~!$&'()*+,;=:@-._"


def _pair(members: tuple[Member, ...], comparisons: Iterable[Comparison]) -> None:
    by_name = {member.name: member for member in members}
    for comparison in comparisons:
        pair = [by_name[name] for name in comparison.attributes if name in by_name]
        for member in pair:
            member.comparisons += (comparison,)
            member.compared = tuple(dict.fromkeys([*member.compared, *pair]))


def _fault(documents: _Documents, root: str, error: ValueError) -> str:
    """What is wrong with the documents and where, as jsonschema says it; else what jsonschema-rs said."""
    import jsonschema  # slow to import, and needed only here

    for uri in (root, *documents):
        try:
            jsonschema.Draft202012Validator.check_schema(documents[uri])
        except jsonschema.SchemaError as fault:
            return f"{uri}#{write_pointer(fault.absolute_path)} is no valid schema: {fault.message}."
    for uri, document in documents.items():
        for place, reference in _references(document, f"{uri}#"):
            if not _leads_somewhere(reference, uri, documents):
                return f"{place} refers to {reference}, which does not exist."
    if isinstance(error, ValidationError):
        found = [uri for uri, one in documents.items() if _at(one, error.instance_path) == error.instance]
        return f"{(found or [root])[0]}#{write_pointer(error.instance_path)} cannot be used: {error.message}."
    return f"{root}# cannot be used: {str(error).splitlines()[0]}"


def _references(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield f"{place}/$ref", value["$ref"]
        for name, below in value.items():
            yield from _references(below, place + write_pointer([name]))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _references(below, f"{place}/{index}")


def _leads_somewhere(reference: str, uri: str, documents: _Documents) -> bool:
    base, _, fragment = reference.partition("#")
    if (base or uri) not in documents:
        return False
    if fragment and not fragment.startswith("/"):
        return True  # an anchor: not looked for
    steps = [step.replace("~1", "/").replace("~0", "~") for step in unquote(fragment).split("/")[1:]]
    return _at(documents[base or uri], steps) is not _MISSING


def _at(value: Any, steps: Iterable[str | int]) -> Any:
    for step in steps:
        try:
            value = value[int(step) if isinstance(value, list) else step]
        except (KeyError, IndexError, TypeError, ValueError):
            return _MISSING
    return value


def _named(text: str, files: Mapping[str, str]) -> str:
    """The text with the file of each document in the place of its URI."""
    for uri, file in files.items():
        text = text.replace(f"{uri}#", f"{file}#")
    return text
