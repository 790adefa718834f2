"""The outline of a schema: the members of the entity that it speaks of, and whether it judges them one by one.

JSON Schema applies several schemas to one instance: through references, `allOf` and its kin, conditions. The outline
follows them all, without an entity at hand.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote

from jsonschema_rs import Resolver

from broker.validation.simplified import NO_ATTRIBUTES
from broker.validation.units import OBSERVED, UNITS, Units, described_units, read_observed, read_units
from broker.validation.violations import write_pointer

_LISTS = ("allOf", "anyOf", "oneOf")
_BRANCHES = ("if", "then", "else", "not")
_TYING = frozenset(
    {
        *("anyOf", "oneOf", "not", "if", "dependentRequired", "dependentSchemas", "const", "enum"),
        *("minProperties", "maxProperties", "propertyNames", "patternProperties"),
        *("additionalProperties", "unevaluatedProperties", "$dynamicRef"),
    }
)
"""Keywords by which a schema judges several members of an object together, or members that it does not name."""
_IDLE: tuple[Any, ...] = (True, {})
"""Values with which additionalProperties and its kin ask for nothing."""
_CLOSING = _TYING - {"anyOf", "oneOf", "not", "if", "dependentRequired", "dependentSchemas"}
"""Those for which members matter that nothing names."""


class Part(NamedTuple):
    """A schema that applies to an instance: its place URI#POINTER, and what its references are relative to.

    `addressed` says whether the place leads to it when it is used as a reference.
    """

    schema: dict[str, Any] | bool
    place: str
    resolver: Resolver
    addressed: bool

    def inside(self, *steps: str) -> "Part | None":
        """The schema below, if there is one."""
        found: Any = self.schema
        for step in steps:
            found = found[int(step) if isinstance(found, list) else step]
        if not isinstance(found, dict | bool):
            return None
        own = isinstance(found, dict) and "$id" in found
        return Part(found, self.place + write_pointer(steps), self.resolver, self.addressed and not own)


@dataclass(slots=True)
class Asked:
    """What a schema asks of one attribute."""

    name: str
    places: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    required: bool = False
    units: Units | None = None
    described: Units | None = None
    observed: str | None = None


@dataclass(slots=True)
class Outline:
    """The attributes that a schema names; `separable` and `unbound` as `models.Rules` has them."""

    asked: dict[str, Asked] = field(default_factory=dict)
    separable: bool = True
    unbound: bool = False

    def of(self, name: str) -> Asked:
        return self.asked.setdefault(name, Asked(name))


def outline(schema: dict[str, Any], uri: str, resolver: Resolver) -> Outline:
    """The outline of a schema, the address of which is `uri`; ValueError where it cannot be made.

    The schema must be valid and without dangling references.
    """
    found = Outline()
    for part in in_place(Part(schema, f"{uri}#", resolver, True)):
        if isinstance(part.schema, bool):
            found.separable = found.separable and part.schema
            continue
        _survey(part.schema, found)
        for name in part.schema.get("properties", {}):
            if name in NO_ATTRIBUTES:
                continue
            inside = part.inside("properties", name)
            if inside is not None:
                found.separable = found.separable and inside.addressed
                _ask(found.of(name), inside)
    return found


def in_place(part: Part) -> Iterator[Part]:
    """The part and all that applies to the same instance through references and applicators, each once."""
    waiting, seen = deque([part]), {part.place}
    while waiting:
        part = waiting.popleft()
        yield part
        if isinstance(part.schema, dict):
            below = [one for one in _applied(part, part.schema) if one is not None and one.place not in seen]
            seen.update(one.place for one in below)
            waiting.extendleft(reversed(below))


def _applied(part: Part, schema: dict[str, Any]) -> Iterator[Part | None]:
    for keyword in ("$ref", "$dynamicRef"):
        if isinstance(schema.get(keyword), str):
            yield _target(part, schema[keyword])
    for keyword in _LISTS:
        for index in range(len(schema.get(keyword, ()))):
            yield part.inside(keyword, str(index))
    for keyword in _BRANCHES:
        if keyword in schema:
            yield part.inside(keyword)
    for name in schema.get("dependentSchemas", ()):
        yield part.inside("dependentSchemas", name)


def _target(part: Part, reference: str) -> Part:
    resolved = part.resolver.lookup(reference)
    contents: Any = resolved.contents
    base, _, fragment = reference.partition("#")
    own = isinstance(contents, dict) and "$id" in contents
    addressed = not fragment or (fragment.startswith("/") and not own)
    return Part(contents, f"{base or part.resolver.base_uri}#{unquote(fragment)}", resolved.resolver, addressed)


def _survey(schema: dict[str, Any], found: Outline) -> None:
    """What the keywords of an object schema mean for the entity as a whole."""
    tying = {keyword for keyword in _TYING.intersection(schema) if schema[keyword] not in _IDLE}
    kinds = schema.get("type", "object")
    if tying or "object" not in ([kinds] if isinstance(kinds, str) else kinds):
        found.separable = False
    if not tying.isdisjoint(_CLOSING):
        found.unbound = True
    for name in schema.get("required", ()):
        if name not in NO_ATTRIBUTES:
            found.of(name).required = True
    for name, others in schema.get("dependentRequired", {}).items():
        for one in (name, *others):
            if one not in NO_ATTRIBUTES:
                found.of(one)


def _ask(asked: Asked, member: Part) -> None:
    asked.places.append(member.place)
    for part in in_place(member):
        schema = part.schema
        if isinstance(schema, bool):
            continue
        declared = schema.get("type", [])
        asked.kinds.update([declared] if isinstance(declared, str) else declared)
        if UNITS in schema and asked.units is None:
            place = f"{part.place}/{UNITS}"
            asked.units = Units(read_units(schema[UNITS], place), place)
        if OBSERVED in schema:
            place = f"{part.place}/{OBSERVED}"
            asked.observed = place if read_observed(schema[OBSERVED], place) else asked.observed
        description = schema.get("description")
        if asked.described is None and isinstance(description, str) and (codes := described_units(description)):
            asked.described = Units(codes, f"{part.place}/description")
