"""A schema for a type that has none, proposed from entities that there are.

It is a draft for people to correct: it says what all of these entities keep. So a proposal accepts each entity that it
was made of; a property test holds that.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from broker.jsonld.context import Context
from broker.jsonld.core import CORE_CONTEXT_URL
from broker.jsonld.processing import core_terms
from broker.ngsild.model import VALUE_MEMBERS
from broker.ngsild.names import ENTITY_MEMBERS, SYSTEM_MEMBERS
from broker.validation.seen_values import Schema, SeenValues

SUBJECT = "dataModel.Custom"
"""The subject of a proposal for a type whose IRI names none."""

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_PUBLISHED = "https://smartdatamodels.org/"
_NO_ATTRIBUTES = ENTITY_MEMBERS | SYSTEM_MEMBERS | {"expiresAt"}
_COORDINATES: Mapping[str, Schema] = {
    "Point": {"type": "array", "minItems": 2, "maxItems": 3, "items": {"type": "number"}},
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed data model: its `subject`, its schema.json and the context.jsonld of its names."""

    name: str
    subject: str
    schema: dict[str, Any]
    context: dict[str, Any]
    entities: int


@dataclass(slots=True)
class _Attribute:
    """What was seen of one attribute: in how many entities, in which forms, with which values."""

    entities: int = 0
    instances: int = 0
    observed: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    units: set[str] = field(default_factory=set)
    shapes: set[str] = field(default_factory=set)
    values: SeenValues = field(default_factory=SeenValues)
    targets: SeenValues = field(default_factory=SeenValues)
    alone: int = 0
    listed: int = 0

    def add(self, instance: Mapping[str, Any]) -> None:
        kind = instance.get("type", "Property")
        self.kinds[kind] += 1
        self.instances += 1
        self.observed += "observedAt" in instance
        if isinstance(instance.get("unitCode"), str):
            self.units.add(instance["unitCode"])
        value = plain(instance.get(VALUE_MEMBERS.get(kind, "value")))
        match kind:
            case "GeoProperty":
                self.shapes.add(value.get("type", "") if isinstance(value, dict) else "")
            case "Relationship" | "ListRelationship":
                self.listed += isinstance(value, list)
                self.alone += not isinstance(value, list)
                for target in value if isinstance(value, list) else [value]:
                    self.targets.add(target.get("object") if isinstance(target, dict) else target)
            case "LanguageProperty":
                for texts in value.values() if isinstance(value, dict) else ():
                    for text in texts if isinstance(texts, list) else [texts]:
                        self.values.add(text)
            case _:
                self.values.add(value)

    def schema(self, total: int, *, strict: bool) -> Schema:
        branches = [*self._geometry(), *self._references()]
        values = self.values.schema(strict=strict)
        branches += values.get("anyOf", [values]) if values else []
        schema: Schema = dict(branches[0]) if len(branches) == 1 else {"anyOf": branches} if branches else {}
        remark = "" if strict and self.values.range() is not None else self.values.remark()
        kinds = " or ".join(sorted(self.kinds))
        seen = f"Seen in {self.entities:,} of {total:,} entities" + (f", {remark}." if remark else ".")
        schema["description"] = f"{kinds}. {seen}"
        if self.units:
            schema["x-vela-units"] = sorted(self.units)
        if self.observed == self.instances:
            schema["x-vela-observed-at"] = True
        return schema

    def _geometry(self) -> list[Schema]:
        if not self.shapes:
            return []
        shape = next(iter(self.shapes)) if len(self.shapes) == 1 else ""
        members: dict[str, Schema] = {"type": {"enum": sorted(self.shapes)}}
        required = ["type"]
        if "GeometryCollection" not in self.shapes:
            members["coordinates"] = _COORDINATES.get(shape, {"type": "array"})
            required.append("coordinates")
        return [{"type": "object", "required": required, "properties": members}]

    def _references(self) -> list[Schema]:
        alone = [_reference(self.targets)] if self.alone else []
        return [*alone, {"type": "array", "items": _reference(self.targets)}] if self.listed else alone


def infer(
    type_name: str,
    entities: Iterable[Mapping[str, Any]],
    *,
    iri: str = "",
    names: Mapping[str, str] | None = None,
    subject: str = "",
    strict: bool = False,
) -> Proposal:
    """Propose a data model for the type from `entities`, in normalised form with names by the core @context.

    `iri` is the type's IRI, by default that of the default vocabulary; `names` are short names for the IRIs of
    attributes. `subject` is derived from the IRI unless given. With `strict` the range of the numbers that were seen,
    rounded outwards, is a rule; else the description tells it.
    """
    core = Context(core_terms(), CORE_CONTEXT_URL, None)
    iri = iri or core.expand(type_name)
    short = {found: name for found, name in (names or {}).items() if name != found}
    attributes: dict[str, _Attribute] = {}
    iris: dict[str, str] = {}
    total = 0
    identifiers = SeenValues()
    for entity in entities:
        total += 1
        identifiers.add(entity["id"])
        for member, value in entity.items():
            if member in _NO_ATTRIBUTES:
                continue
            expanded = core.expand(member)
            name = short.get(expanded, member)
            iris[name] = expanded
            attribute = attributes.setdefault(name, _Attribute())
            attribute.entities += 1
            for instance in value if isinstance(value, list) else [value]:
                attribute.add(instance)
    subject = subject or _subject(iri)
    members: dict[str, Schema] = {
        "id": {**_reference(identifiers), "description": "The identifier of the entity."},
        "type": {"const": type_name, "description": "The type of the entity."},
        **{name: attributes[name].schema(total, strict=strict) for name in sorted(attributes)},
    }
    always = sorted(name for name, attribute in attributes.items() if attribute.entities == total)
    schema = {
        "$schema": _DRAFT,
        "$id": f"urn:vela:datamodels:{subject}:{type_name}:schema",
        "title": type_name,
        "description": f"Proposed from {total:,} entities that were stored: to be read and corrected by people.",
        "type": "object",
        "required": ["id", "type", *always],
        "properties": members,
    }
    terms = {name: found for name, found in {type_name: iri, **iris}.items() if ":" not in name}
    context = {"@context": {"id": "@id", "type": "@type", **dict(sorted(terms.items()))}}
    return Proposal(type_name, subject, schema, context, total)


def plain(value: Any) -> Any:
    """A value as JSON Schema sees it: JSON-LD value objects unwrapped."""
    if isinstance(value, dict):
        if "@value" in value:
            return plain(value["@value"])
        return {name: plain(member) for name, member in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def _reference(targets: SeenValues) -> Schema:
    return {"type": "string", "format": "uri"} if "uri" in targets.formats else {"type": "string"}


def _subject(iri: str) -> str:
    subject, slash, _ = iri.removeprefix(_PUBLISHED).partition("/")
    return subject if iri.startswith(_PUBLISHED) and slash and subject.startswith("dataModel.") else SUBJECT
