"""Rendering: the stored form of an entity becomes one of the three representations (clauses 4.5.1 to 4.5.4, 4.15).

Normalised and concise are lossless; simplified keeps values only. Names are compacted with the @context of the request.

An instance that is given with a member "previous", the value that it had before, shows it under the name for its type
(previousValue and its kin); no stored instance has one.
"""

from collections.abc import Collection
from enum import StrEnum
from typing import Any, Protocol

from broker.ngsild.geometry import looks_like_geometry
from broker.ngsild.languages import in_language, parse_language_ranges
from broker.ngsild.model import VALUE_MEMBERS, Entity, Instance, decode_key
from broker.ngsild.values import decode_value

_METADATA = ("unitCode", "observedAt", "datasetId", "entityIdSealed")
_TYPE_NAMES = ("objectType", "entityTypeSealed")
_SYSTEM = ("createdAt", "modifiedAt", "expiresAt")
_HOLD_VALUES = frozenset(VALUE_MEMBERS.values())
_READ_AS_INSTANCE = _HOLD_VALUES | {"type", "@type", "dataset"}
_PREVIOUS = {kind: f"previous{member[0].upper()}{member[1:]}" for kind, member in VALUE_MEMBERS.items()}
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
    for the default instance; `lang` is a natural language filter (clause 4.15): BadRequestData if it is malformed.
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


def previous_value(kind: str, value: Any, context: Compactor, format: Format) -> dict[str, Any]:  # noqa: A002
    """The member that shows which value an attribute of this type had before, normalised or concise."""
    if kind == "ListRelationship" and format is Format.NORMALIZED:
        return {_PREVIOUS[kind]: [{"object": item} for item in value]}
    return {_PREVIOUS[kind]: _rendered_value(kind, value, context)}


def shown_instances(shown: Any) -> list[Any]:
    """The instances in what `render_attribute` made, normalised or concise; a value that stood alone as an object."""
    if isinstance(shown, list) and any(_is_instance(item) for item in shown):
        return shown
    return [shown if _is_instance(shown) else {"value": shown}]


def _is_instance(shown: Any) -> bool:
    return isinstance(shown, dict) and not shown.keys().isdisjoint(_HOLD_VALUES)


def _reads_back_as_value(value: Any, kind: str) -> bool:
    """Whether a value that stands alone is read as that of a Property, or of a GeoProperty, again.

    An object with a `type`, or with a member that holds values, is an instance (clause 4.5.2.3); so is one in an array.
    A geometry has a type of its own.
    """
    if kind == "GeoProperty":
        return not _is_instance(value)
    items = value if isinstance(value, list) else [value]
    return all(item.keys().isdisjoint(_READ_AS_INSTANCE) for item in items if isinstance(item, dict))


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
    for name in _TYPE_NAMES:
        if name in instance:
            iris = instance[name]
            document[name] = [context.compact(iri) for iri in iris] if isinstance(iris, list) else context.compact(iris)
    if "lang" in instance:
        document["lang"] = instance["lang"]
    if "previous" in instance:
        document.update(previous_value(instance["type"], instance["previous"], context, format))
    for key, children in instance.get("attributes", {}).items():
        document[context.compact(decode_key(key))] = render_attribute(children, context, format, sys_attrs)


def _render_system(instance: Instance, document: dict[str, Any]) -> None:
    for name in _SYSTEM:
        if name in instance:
            document[name] = instance[name]
