"""Rendering: the stored form of an entity becomes one of the three representations (clauses 4.5.1 to 4.5.4, 4.15).

Normalised and concise are lossless; simplified keeps values only. Names are compacted with the @context of the request.
"""

from collections.abc import Collection
from enum import StrEnum
from typing import Any, Protocol

from broker.ngsild.geometry import looks_like_geometry
from broker.ngsild.model import VALUE_MEMBERS, Entity, Instance, decode_key
from broker.ngsild.values import decode_value

_METADATA = ("unitCode", "observedAt", "datasetId")
_SYSTEM = ("createdAt", "modifiedAt", "expiresAt")
_READ_AS_INSTANCE = frozenset({"type", "@type", "dataset", *VALUE_MEMBERS.values()})
_WRAPPED_WHEN_SIMPLIFIED = {"LanguageProperty": "languageMap", "VocabProperty": "vocab", "JsonProperty": "json"}


class Format(StrEnum):
    """The representations of clause 6.3.7."""

    NORMALIZED = "normalized"
    CONCISE = "concise"
    SIMPLIFIED = "simplified"


class Compactor(Protocol):
    """What rendering needs of an @context."""

    def compact(self, iri: str) -> str:
        """The term for an IRI."""


def render_entity(
    entity: Entity,
    context: Compactor,
    format: Format = Format.NORMALIZED,  # noqa: A002 - the specification's name
    *,
    sys_attrs: bool = False,
    pick: Collection[str] | None = None,
    omit: Collection[str] = (),
    datasets: Collection[str] | None = None,
    lang: str | None = None,
) -> dict[str, Any]:
    """The entity as a JSON object without "@context".

    `pick` and `omit` hold attribute keys and the names "id", "type" and "scope"; `datasets` holds datasetIds, "@none"
    for the default instance; `lang` is a natural language filter of clause 4.15.
    """
    document: dict[str, Any] = {}
    if (pick is None or "id" in pick) and "id" not in omit:
        document["id"] = entity["_id"]
    if (pick is None or "type" in pick) and "type" not in omit:
        types = entity["types"]
        document["type"] = context.compact(types[0]) if len(types) == 1 else [context.compact(name) for name in types]
    if "scopes" in entity and (pick is None or "scope" in pick) and "scope" not in omit:
        scopes = entity["scopes"]
        document["scope"] = scopes[0] if len(scopes) == 1 else scopes
    if sys_attrs:
        for name in _SYSTEM:
            if name in entity:
                document[name] = entity[name]
    ranges = parse_language_ranges(lang) if lang is not None else None
    for key, every in entity["attributes"].items():
        if (pick is not None and key not in pick) or key in omit:
            continue
        instances = every
        if datasets is not None:
            instances = [one for one in every if one.get("datasetId", "@none") in datasets]
            if not instances:
                continue
        if ranges is not None:
            instances = [in_language(one, ranges) for one in instances]
        document[context.compact(decode_key(key))] = render_attribute(instances, context, format, sys_attrs)
    return document


def render_attribute(instances: list[Instance], context: Compactor, format: Format, sys_attrs: bool) -> Any:  # noqa: A002
    """All instances of one attribute: one JSON value, or an array (an object under "dataset" when simplified)."""
    if format is Format.NORMALIZED:
        if len(instances) == 1:
            return _normalized(instances[0], context, sys_attrs)
        return [_normalized(instance, context, sys_attrs) for instance in instances]
    if format is Format.SIMPLIFIED:
        if len(instances) == 1 and "datasetId" not in instances[0]:
            return simplified_value(instances[0], context)
        return {"dataset": {one.get("datasetId", "@none"): simplified_value(one, context) for one in instances}}
    if len(instances) == 1:
        return _concise(instances[0], context, sys_attrs, bare=True)
    return [_concise(instance, context, sys_attrs, bare=False) for instance in instances]


def simplified_value(instance: Instance, context: Compactor) -> Any:
    """The value of an instance as the simplified representation shows it (clause 4.5.4)."""
    kind = instance["type"]
    value = instance[VALUE_MEMBERS[kind]]
    wrapper = _WRAPPED_WHEN_SIMPLIFIED.get(kind)
    if wrapper is None:
        return decode_value(value)
    return {wrapper: _rendered_value(kind, value, context)}


def _rendered_value(kind: str, value: Any, context: Compactor) -> Any:
    if kind == "VocabProperty":
        return [context.compact(item) for item in value] if isinstance(value, list) else context.compact(value)
    return decode_value(value)


def _normalized(instance: Instance, context: Compactor, sys_attrs: bool) -> dict[str, Any]:
    kind = instance["type"]
    member = VALUE_MEMBERS[kind]
    value = instance[member]
    document = {"type": kind}
    if kind == "ListRelationship":
        document[member] = [{"object": item} for item in value]
    elif type(value) in (dict, list) or kind == "VocabProperty":
        document[member] = _rendered_value(kind, value, context)
    else:
        document[member] = value
    if len(instance) > 4:
        _render_members(instance, document, context, Format.NORMALIZED, sys_attrs)
    if sys_attrs:
        _render_system(instance, document)
    return document


def _concise(instance: Instance, context: Compactor, sys_attrs: bool, *, bare: bool) -> Any:
    kind = instance["type"]
    member = VALUE_MEMBERS[kind]
    document: dict[str, Any] = {member: _rendered_value(kind, instance[member], context)}
    if kind in ("GeoProperty", "Property") and (kind == "GeoProperty") != looks_like_geometry(document[member]):
        document = {"type": kind, **document}
    if len(instance) > 4:
        _render_members(instance, document, context, Format.CONCISE, sys_attrs)
    if sys_attrs:
        _render_system(instance, document)
    if bare and len(document) == 1 and member == "value" and _reads_back_as_value(document["value"], kind):
        return document["value"]
    return document


def _reads_back_as_value(value: Any, kind: str) -> bool:
    """Whether a value that stands alone would be read as the same Property or GeoProperty again."""
    if kind == "GeoProperty":
        return True
    if isinstance(value, dict):
        return value.keys().isdisjoint(_READ_AS_INSTANCE)
    if isinstance(value, list):
        return not any(isinstance(item, dict) for item in value)
    return True


def _render_members(
    instance: Instance,
    document: dict[str, Any],
    context: Compactor,
    format: Format,  # noqa: A002
    sys_attrs: bool,
) -> None:
    for name in _METADATA:
        if name in instance:
            document[name] = instance[name]
    if "valueType" in instance:
        document["valueType"] = context.compact(instance["valueType"])
    if "objectType" in instance:
        types = instance["objectType"]
        document["objectType"] = (
            [context.compact(name) for name in types] if isinstance(types, list) else context.compact(types)
        )
    if "lang" in instance:
        document["lang"] = instance["lang"]
    for key, children in instance.get("attributes", {}).items():
        document[context.compact(decode_key(key))] = render_attribute(children, context, format, sys_attrs)


def _render_system(instance: Instance, document: dict[str, Any]) -> None:
    for name in _SYSTEM:
        if name in instance:
            document[name] = instance[name]


def parse_language_ranges(text: str) -> list[str]:
    """The language ranges of a `lang` filter, the preferred first (RFC 3282)."""
    ranges = []
    for position, part in enumerate(text.split(",")):
        tag, _, parameters = part.strip().partition(";")
        name, _, weight = parameters.strip().partition("=")
        try:
            quality = float(weight) if name.strip() == "q" else 1.0
        except ValueError:
            quality = 1.0
        ranges.append((-quality, position, tag.strip()))
    return [tag for _, _, tag in sorted(ranges)]


def in_language(instance: Instance, ranges: list[str]) -> Instance:
    """A LanguageProperty reduced to one language, as a Property with the member `lang`; others as they are."""
    if instance["type"] != "LanguageProperty":
        return instance
    texts = instance["languageMap"]
    tag = _choose_language(texts, ranges)
    reduced = {name: value for name, value in instance.items() if name != "languageMap"}
    return {**reduced, "type": "Property", "value": texts[tag], "lang": tag}


def _choose_language(texts: dict[str, Any], ranges: list[str]) -> str:
    by_lower = {tag.lower(): tag for tag in texts}
    for wanted in ranges:
        prefix = wanted.lower()
        if prefix in by_lower:
            return by_lower[prefix]
        for lower, tag in by_lower.items():
            if lower.startswith(prefix + "-"):
                return tag
    return "@none" if "@none" in texts else next(iter(texts))
