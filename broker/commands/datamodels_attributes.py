"""What a data model expects of each attribute, for people to read: the table of `vela datamodels show`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jsonschema_rs import Draft202012, ReferencingError, Registry, Resolver
from rich.table import Table

from broker.commands.tables import table
from broker.validation.units import OBSERVED, UNITS, described_units

_CHOICES = 8
_LOWEST = {"minimum": "at least {}", "exclusiveMinimum": "more than {}"}
_HIGHEST = {"maximum": "at most {}", "exclusiveMaximum": "less than {}"}
_ROOT = "urn:vela:datamodels:shown"
_TEXTS = {"string": "text"}


@dataclass(slots=True)
class DescribedAttribute:
    """One attribute: its JSON types and formats, limits and choices, units, and what the model says about it."""

    name: str
    required: bool = False
    kinds: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    observed: bool = False
    description: str = ""

    def take(self, schema: Mapping[str, Any], *, inside: str = "") -> None:
        """Add what one schema says that applies to the value, or (`inside` is "array of ") to each of its items."""
        declared = schema.get("type", [])
        kinds = [_TEXTS.get(kind, str(kind)) for kind in ([declared] if isinstance(declared, str) else declared)]
        if isinstance(schema.get("format"), str):
            kinds = [schema["format"]]
        _extend(self.kinds, [inside + kind for kind in kinds])
        for words in (_LOWEST, _HIGHEST):
            _extend(self.limits, [text.format(schema[keyword]) for keyword, text in words.items() if keyword in schema])
        options = [schema["const"]] if "const" in schema else schema.get("enum", [])
        if options:
            more = len(options) - _CHOICES
            shown = ", ".join(map(str, options[:_CHOICES])) + (f" or {more} others" if more > 0 else "")
            _extend(self.limits, [shown])
        if inside:
            return
        _extend(self.units, schema.get(UNITS, []))
        self.observed = self.observed or schema.get(OBSERVED) is True
        if not self.description and isinstance(schema.get("description"), str):
            self.description = schema["description"]


def described(definition: Mapping[str, Any]) -> list[DescribedAttribute]:
    """The attributes of a data model, given as the document of its definition; required ones first.

    Empty where the schema cannot be read: that is why it is in quarantine.
    """
    schema = definition["schema"]
    uri = schema.get("$id", _ROOT)
    found: dict[str, DescribedAttribute] = {}
    required: set[str] = set()
    try:
        registry = Registry([(uri, schema), *definition.get("resources", {}).items()], draft=Draft202012)
        for part in _in_place(_Part(schema, registry.resolver(uri), True)):
            if part.sure:
                required.update(part.schema.get("required", ()))
            for name, member in part.schema.get("properties", {}).items():
                if name not in ("id", "type"):
                    _describe(found.setdefault(name, DescribedAttribute(name)), part.below(member))
    except (ReferencingError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []
    for one in found.values():
        one.required = one.name in required
        one.units = one.units or sorted(described_units(one.description))
    return sorted(found.values(), key=lambda one: (not one.required, one.name))


def attribute_table(attributes: list[DescribedAttribute]) -> Table:
    """The attributes as a table."""
    shown = table("Attribute", "Required", "Type", "Range or values", "Unit", "Description")
    for one in attributes:
        units = ", ".join(one.units) + (" with observedAt" if one.observed else "")
        row = ("yes" if one.required else "", " or ".join(one.kinds), ", ".join(one.limits), units.strip())
        shown.add_row(one.name, *row, one.description)
    return shown


class _Part(NamedTuple):
    """A schema, what its references are relative to, and whether it is surely one that a valid instance keeps."""

    schema: Mapping[str, Any]
    resolver: Resolver
    sure: bool

    def below(self, schema: Any, *, sure: bool = True) -> "_Part":
        return _Part(schema if isinstance(schema, dict) else {}, self.resolver, self.sure and sure)


def _in_place(part: _Part) -> Iterator[_Part]:
    """The schema, and all that apply to the same instance through references and applicators."""
    yield part
    if isinstance(part.schema.get("$ref"), str):
        target = part.resolver.lookup(part.schema["$ref"])
        found = target.contents if isinstance(target.contents, dict) else {}
        yield from _in_place(_Part(found, target.resolver, part.sure))
    for keyword in ("allOf", "anyOf", "oneOf"):
        for branch in part.schema.get(keyword, ()):
            yield from _in_place(part.below(branch, sure=keyword == "allOf"))
    for keyword in ("then", "else"):
        if keyword in part.schema:
            yield from _in_place(part.below(part.schema[keyword], sure=False))


def _describe(attribute: DescribedAttribute, member: _Part) -> None:
    for part in _in_place(member):
        attribute.take(part.schema)
        if "items" in part.schema:
            for item in _in_place(part.below(part.schema["items"])):
                attribute.take(item.schema, inside="array of ")
    if "array" in attribute.kinds and any(kind.startswith("array of ") for kind in attribute.kinds):
        attribute.kinds.remove("array")


def _extend(known: list[str], more: list[str]) -> None:
    known.extend(one for one in more if one not in known)
