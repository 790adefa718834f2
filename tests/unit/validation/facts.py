"""What a schema says about each member, wherever in the schema it says so: to compare one schema with another."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str, ...]
"""The names that lead to a member; "*" stands for the items of an array, "**" for members without a name."""
Follow = Callable[[str, str], tuple[Any, str]]
"""From a reference and the document that it stands in to the schema and the document that it leads to; KeyError."""

_RANGES = (
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
)
_EMPTY = {("minItems", 0), ("minLength", 0), ("uniqueItems", False)}
_ALIKE = {"iri": "uri", "idn-email": "email"}
_TYPE_NAMES = {
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}


@dataclass
class Facts:
    """Of one member: what its schemas say about it, all branches of anyOf and its kin together."""

    types: set[str] = field(default_factory=set)
    choices: set[Any] = field(default_factory=set)
    ranges: set[tuple[str, Any]] = field(default_factory=set)
    formats: set[str] = field(default_factory=set)
    patterns: set[str] = field(default_factory=set)
    required: set[str] = field(default_factory=set)
    units: set[str] = field(default_factory=set)
    descriptions: list[str] = field(default_factory=list)
    dangling: set[str] = field(default_factory=set)


def facts_of(schema: Any, document: str, follow: Follow) -> dict[Path, Facts]:
    """The facts of every member of `schema`, which stands in `document`."""
    found: dict[Path, Facts] = {}
    _gather(schema, document, (), found, follow, frozenset())
    for facts in found.values():
        facts.ranges -= {("minimum", limit) for name, limit in facts.ranges if name == "exclusiveMinimum"}
        facts.ranges -= _EMPTY
    return found


def _gather(
    schema: Any, document: str, path: Path, found: dict[Path, Facts], follow: Follow, seen: frozenset[tuple[Path, str]]
) -> None:
    if not isinstance(schema, dict):
        return
    facts = found.setdefault(path, Facts())
    _note(schema, facts)
    reference = schema.get("$ref")
    if isinstance(reference, str) and (path, reference) not in seen:
        try:
            target, place = follow(reference, document)
        except KeyError:
            facts.dangling.add(reference)
        else:
            _gather(target, place, path, found, follow, seen | {(path, reference)})
    for part, below in _parts(schema):
        _gather(part, document, (*path, *below), found, follow, seen)


def _parts(schema: dict[str, Any]) -> Iterator[tuple[Any, Path]]:
    for keyword in ("allOf", "anyOf", "oneOf"):
        for branch in schema.get(keyword, []):
            yield branch, ()
    for keyword in ("then", "else"):
        yield schema.get(keyword), ()
    # A condition on the kind of a value names one of its kinds.
    condition = schema.get("if")
    yield ({"type": condition["type"]} if isinstance(condition, dict) and "type" in condition else None), ()
    properties = schema.get("properties")
    for name, member in properties.items() if isinstance(properties, dict) else ():
        yield member, (name,)
    items = schema.get("items")
    for item in [*(items if isinstance(items, list) else [items]), *schema.get("prefixItems", [])]:
        yield item, ("*",)
    yield schema.get("additionalProperties"), ("**",)


def _note(schema: dict[str, Any], facts: Facts) -> None:
    declared = schema.get("type", [])
    facts.types.update([declared] if isinstance(declared, str) else declared)
    choices = [schema["const"]] if "const" in schema else schema.get("enum", [])
    if not declared:
        facts.types.update(_TYPE_NAMES[type(choice)] for choice in choices)
    facts.choices.update(choice for choice in choices if not isinstance(choice, list | dict))
    for keyword in _RANGES:
        if keyword not in schema:
            continue
        if keyword.startswith("exclusive") and isinstance(schema[keyword], bool):
            # The way of draft 4: true makes the limit beside it exclusive.
            if schema[keyword]:
                facts.ranges.add((keyword, schema["m" + keyword.removeprefix("exclusiveM")]))
            continue
        facts.ranges.add((keyword, schema[keyword]))
    if "format" in schema:
        facts.formats.add(_ALIKE.get(schema["format"], schema["format"]))
    if "pattern" in schema:
        facts.patterns.add(schema["pattern"])
    if isinstance(schema.get("required"), list):
        facts.required.update(schema["required"])
    facts.units.update(schema.get("x-vela-units", []))
    if isinstance(schema.get("description"), str):
        facts.descriptions.append(schema["description"])
