"""The representations of an entity (clauses 4.5.1 to 4.5.5, 4.7.3, 6.3.11), written for the tests from the clauses.

Everything starts from the normalised form that a test sent: `shown` is what an answer must hold in a representation,
`placeholder` an attribute of the same type with another value. Nothing here calls Vela: a mistake in Vela must not be
made here again.
"""

import json
import re
from typing import Any

Document = dict[str, Any]

NORMALIZED, CONCISE, SIMPLIFIED = "normalized", "concise", "simplified"
HEAD = frozenset({"id", "type", "scope", "expiresAt"})
GEOMETRIES = frozenset({"Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon"})
VALUE_OF = {
    "Property": "value",
    "GeoProperty": "value",
    "LanguageProperty": "languageMap",
    "VocabProperty": "vocab",
    "JsonProperty": "json",
    "ListProperty": "valueList",
    "Relationship": "object",
    "ListRelationship": "objectList",
}
PLAIN = frozenset(
    {
        *("type", "datasetId", "observedAt", "unitCode", "valueType", "objectType", "expiresAt"),
        *("entityIdSealed", "entityTypeSealed"),
    }
)
"""Members of an instance that are neither its value nor a sub-attribute."""

_OTHER_VALUE: Document = {
    "Property": "another value",
    "GeoProperty": {"type": "Point", "coordinates": [1, 2]},
    "LanguageProperty": {"en": "other", "x-other": ["other"]},
    "VocabProperty": "other",
    "JsonProperty": {"other": {"deep": [None]}},
    "ListProperty": ["other"],
    "Relationship": "urn:other:1",
    "ListRelationship": [{"object": "urn:other:1"}, {"object": "urn:other:2"}],
}
_SYSTEM_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")


def exactly(value: Any) -> Any:
    """`value` in a shape in which 1, 1.0 and true differ, -0.0 and 0.0 too; the order of members does not matter."""
    if isinstance(value, dict):
        return {name: exactly(item) for name, item in value.items()}
    if isinstance(value, list):
        return [exactly(item) for item in value]
    return type(value).__name__, repr(value)


def attributes_of(document: Document) -> Document:
    """The members of an entity that are attributes."""
    return {name: raw for name, raw in document.items() if name not in HEAD}


def instances_of(raw: Any) -> list[Document]:
    """The instances of a normalised attribute."""
    return raw if isinstance(raw, list) else [raw]


def shown(document: Document, form: str, *, system: bool = False) -> Document:
    """What an answer holds of a normalised entity, without the timestamps of the broker (`without_timestamps`).

    The times of expiry are system attributes, too: only `system` shows them (clause 6.3.11).
    """
    entity = {name: document[name] for name in HEAD & document.keys() if system or name != "expiresAt"}
    for name, raw in attributes_of(document).items():
        entity[name] = simplified(raw) if form == SIMPLIFIED else _attribute(raw, form, system)
    return entity


def _attribute(raw: Any, form: str, system: bool) -> Any:
    if isinstance(raw, list):
        return [_instance(one, form, system) for one in raw]
    one = _instance(raw, form, system)
    alone = form == CONCISE and not system and one.keys() == {"value"}
    return one["value"] if alone and not read_as_instances(one["value"]) else one


def _instance(raw: Document, form: str, system: bool) -> Document:
    kind, member = raw["type"], VALUE_OF[raw["type"]]
    one = {name: raw[name] for name in raw if name in PLAIN and (system or name != "expiresAt")}
    one[member] = raw[member]
    if form == CONCISE:
        if kind == "ListRelationship":
            one[member] = [item["object"] for item in raw[member]]
        if not (kind == "Property" and is_geometry(raw["value"])):
            del one["type"]
    for name in raw.keys() - PLAIN - {member}:
        one[name] = _attribute(raw[name], form, system)
    return one


def is_geometry(value: Any) -> bool:
    """Whether a Property's value looks like a geometry, so that a missing type would make a GeoProperty of it."""
    return (
        isinstance(value, dict)
        and "coordinates" in value
        and isinstance(value.get("type"), str)
        and value["type"] in GEOMETRIES
    )


def read_as_instances(value: Any) -> bool:
    """Whether a value that stands alone would be read as one instance or several, by the members of an object in it."""
    if is_geometry(value):
        return bool(value.keys() & VALUE_OF.values())
    telling = {"type", "@type", "dataset", *VALUE_OF.values()}
    return any(isinstance(item, dict) and item.keys() & telling for item in (value, *_items(value)))


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def simplified(raw: Any) -> Any:
    """The simplified form of a normalised attribute (clause 4.5.4)."""
    if isinstance(raw, list) or "datasetId" in raw:
        return {"dataset": {one.get("datasetId", "@none"): _simplified_instance(one) for one in instances_of(raw)}}
    return _simplified_instance(raw)


def _simplified_instance(raw: Document) -> Any:
    member = VALUE_OF[raw["type"]]
    if member == "objectList":
        return [item["object"] for item in raw[member]]
    return {member: raw[member]} if member in ("languageMap", "vocab", "json") else raw[member]


def without_timestamps(answer: Document, form: str) -> Document:
    """An answer with system attributes, without createdAt and modifiedAt, which it must hold at every level."""
    entity = _untimed(answer)
    if form == SIMPLIFIED:
        return entity
    return {name: value if name in HEAD else _untimed_attribute(value) for name, value in entity.items()}


def _untimed_attribute(value: Any) -> Any:
    if isinstance(value, list):
        return [_untimed_attribute(one) for one in value]
    kept = PLAIN | set(VALUE_OF.values())
    return {name: item if name in kept else _untimed_attribute(item) for name, item in _untimed(value).items()}


def _untimed(value: Document) -> Document:
    for name in ("createdAt", "modifiedAt"):
        assert _SYSTEM_TIME.fullmatch(value[name]), value[name]
    return {name: item for name, item in value.items() if name not in ("createdAt", "modifiedAt")}


def placeholder(raw: Any) -> Any:
    """An attribute with the same types and datasetIds, and other values."""
    if isinstance(raw, list):
        return [placeholder(one) for one in raw]
    other = {"type": raw["type"], VALUE_OF[raw["type"]]: _OTHER_VALUE[raw["type"]]}
    return {**other, "datasetId": raw["datasetId"]} if "datasetId" in raw else other


def geometry_as_text(geometry: Document) -> str:
    """A geometry as the JSON text that may stand for it (clause 4.7.2)."""
    return json.dumps(geometry)
