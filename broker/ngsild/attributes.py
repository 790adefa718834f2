"""Reading attributes: normalised, concise and simplified input becomes the stored form (clauses 4.5.2 to 4.5.24).

One function reads all three forms, because concise input contains simplified input. What decides is the shape:

    an object whose `type` is an attribute type           an instance, normalised
    an object with one of the members that hold values    an instance, its type inferred from that member
    {"dataset": {…}}                                      several instances, simplified (clause 4.5.4)
    an array of such objects                              several instances, told apart by datasetId (clause 4.5.5)
    a GeoJSON geometry                                    a GeoProperty
    anything else                                         the value of a Property

An NGSI-LD Null, where the operation allows one, becomes an instance with the member `deleted` (`is_deletion`): it
exists in fragments only, never in storage.
"""

from enum import IntEnum
from typing import Any, Protocol

from broker.ngsild.errors import BadRequestData
from broker.ngsild.geometry import looks_like_geometry, read_geometry
from broker.ngsild.measurements import read_measurement
from broker.ngsild.model import NGSI_LD_NULL, VALUE_MEMBERS, Attributes, Instance
from broker.ngsild.names import NOT_ATTRIBUTE_KEYS, NOT_ATTRIBUTES, SYSTEM_MEMBERS, check_language_tag, check_uri
from broker.ngsild.timestamps import parse_timestamp
from broker.ngsild.values import MAX_DEPTH, encode_value

INSTANCE_DEPTH = 4
"""Nesting level of an instance in a stored entity: entity, attributes, list, instance."""

_DEPTH_OF_VALUE = 2
"""Levels that every instance may need below its own: a languageMap with an array of texts."""

_TYPES_BY_MEMBER = {
    "value": "Property",
    "object": "Relationship",
    "languageMap": "LanguageProperty",
    "vocab": "VocabProperty",
    "json": "JsonProperty",
    "valueList": "ListProperty",
    "objectList": "ListRelationship",
}
RELATIONSHIPS = frozenset({"Relationship", "ListRelationship"})
WITH_UNITS = frozenset({"Property", "GeoProperty", "ListProperty"})
_OUTPUT_MEMBERS = {
    "Property": {"previousValue"},
    "GeoProperty": {"previousValue"},
    "LanguageProperty": {"previousLanguageMap"},
    "VocabProperty": {"previousVocab"},
    "JsonProperty": {"previousJson"},
    "ListProperty": {"previousValueList"},
    "Relationship": {"previousObject", "entity"},
    "ListRelationship": {"previousObjectList", "entityList"},
}
REMOVABLE = ("observedAt", "unitCode", "expiresAt", "valueType", "objectType")
"""Members of an instance that an NGSI-LD Null removes."""

_MISSING = object()


class Nulls(IntEnum):
    """Where an NGSI-LD Null may stand (clause 5.5.4)."""

    REFUSED = 0
    """Nowhere."""
    MEMBERS = 1
    """In place of an attribute or of one of its members: operations that update."""
    DEEP = 2
    """Also inside JSON values: operations that merge."""


class Terms(Protocol):
    """What reading needs of an @context."""

    def key(self, term: str) -> str:
        """The attribute key of a term."""

    def expand(self, term: str) -> str:
        """The IRI of a type or attribute name."""

    def expand_vocab(self, value: str) -> str:
        """The IRI of a vocabulary term."""


def is_deletion(instance: Instance) -> bool:
    """Whether a fragment's instance is an NGSI-LD Null: it deletes the instance with its datasetId."""
    return "deleted" in instance


def read_attribute(
    name: str, raw: Any, terms: Terms, *, depth: int = INSTANCE_DEPTH, pointer: str = "", nulls: Nulls = Nulls.REFUSED
) -> list[Instance]:
    """All instances of the attribute `name`, whose member in the request is `raw` at `pointer`.

    `nulls` says where NGSI-LD Nulls are deletions (clauses 5.5.8, 5.5.12). BadRequestData for anything that is not an
    attribute of clause 4.5, and for two instances with the same datasetId.
    """
    if type(raw) is dict:
        dataset = raw.get("dataset") if len(raw) == 1 else None
        if type(dataset) is dict and dataset:
            return _read_dataset(name, dataset, terms, depth, pointer, nulls)
        return [read_instance(raw, terms, depth=depth, pointer=pointer, nulls=nulls)]
    if type(raw) is list and raw and any(_is_instance(item) for item in raw):
        instances = [
            read_instance(item, terms, depth=depth, pointer=f"{pointer}/{index}", nulls=nulls)
            for index, item in enumerate(raw)
        ]
        _check_datasets(name, instances, [f"{pointer}/{index}" for index in range(len(raw))])
        return instances
    return [read_instance(raw, terms, depth=depth, pointer=pointer, nulls=nulls)]


def read_attributes(
    members: dict[str, Any],
    terms: Terms,
    *,
    skip: frozenset[str] = frozenset(),
    depth: int = INSTANCE_DEPTH,
    pointer: str = "",
    nulls: Nulls = Nulls.REFUSED,
) -> Attributes:
    """The attributes among `members`, by attribute key; `skip` names the members that are none."""
    if depth + _DEPTH_OF_VALUE > MAX_DEPTH:
        raise BadRequestData(
            f"The sub-attributes are nested deeper than Vela can keep ({MAX_DEPTH} levels of the stored entity); "
            "flatten them.",
            pointer=pointer,
        )
    attributes: Attributes = {}
    for name, raw in members.items():
        if name in skip:
            continue
        reserved = name in NOT_ATTRIBUTES
        key = terms.key(name) if not reserved else ""
        measurement = read_measurement(raw) if type(raw) is dict else None
        if measurement is not None and key and key not in NOT_ATTRIBUTE_KEYS and key not in attributes:
            attributes[key] = [measurement]
            continue
        at = f"{pointer}/{_escape(name)}"
        if reserved:
            raise BadRequestData(f"{name!r} is a reserved name and cannot be an attribute.", pointer=at)
        if key in NOT_ATTRIBUTE_KEYS:
            raise BadRequestData(f"{name!r} is the IRI of a reserved name and cannot be an attribute.", pointer=at)
        if key in attributes:
            raise BadRequestData(
                f"The attribute {name!r} occurs twice under different names of the same IRI.", pointer=at
            )
        attributes[key] = read_attribute(name, raw, terms, depth=depth, pointer=at, nulls=nulls)
    return attributes


def read_instance(
    raw: Any, terms: Terms, *, depth: int = INSTANCE_DEPTH, pointer: str = "", nulls: Nulls = Nulls.REFUSED
) -> Instance:
    """One instance in the stored form, without system timestamps."""
    if type(raw) is not dict:
        return _read_plain(raw, depth, pointer, nulls)
    kind = raw.get("type", _MISSING)
    if kind not in VALUE_MEMBERS if isinstance(kind, str) else True:
        keyword = raw.get("@type") if kind is _MISSING else None
        kind = keyword if is_attribute_type(keyword) else _infer_type(raw, pointer)
        if kind is None:
            return _read_plain(raw, depth, pointer, nulls)
    member = VALUE_MEMBERS[kind]
    value = raw.get(member, _MISSING)
    if value is _MISSING:
        raise BadRequestData(f"The {kind} has no {member!r}: every {kind} needs one.", pointer=pointer)
    if _is_null(kind, value):
        return _deletion(kind, raw, pointer, nulls)
    instance: Instance = {"type": kind, member: read_value(kind, value, terms, depth + 1, f"{pointer}/{member}", nulls)}
    if len(raw) > 2 or "type" not in raw:
        read_members(raw, kind, instance, terms, depth=depth, pointer=pointer, nulls=nulls)
    return instance


def read_members(
    raw: dict[str, Any], kind: str, instance: Instance, terms: Terms, *, depth: int, pointer: str, nulls: Nulls
) -> None:
    """Read all members of `raw` but type and value into `instance`: metadata and sub-attributes."""
    member = VALUE_MEMBERS[kind]
    children: dict[str, Any] = {}
    for name, value in raw.items():
        if name in ("type", member) or name in SYSTEM_MEMBERS:
            continue
        at = f"{pointer}/{name}"
        if value == NGSI_LD_NULL and nulls and name in REMOVABLE:
            instance[name] = NGSI_LD_NULL
        elif name in ("observedAt", "expiresAt"):
            instance[name] = parse_timestamp(value, pointer=at)
        elif name == "datasetId":
            if value != "@none":
                instance["datasetId"] = check_uri(value, "datasetId", at)
        elif name == "unitCode":
            instance["unitCode"] = _read_unit_code(kind, value, at)
        elif name == "valueType" and kind not in RELATIONSHIPS:
            instance["valueType"] = terms.expand_vocab(_text(value, "valueType", at))
        elif name == "objectType" and kind in RELATIONSHIPS:
            instance["objectType"] = _read_object_type(value, terms, at)
        elif name in NOT_ATTRIBUTES:
            _check_reserved(name, kind, raw, at)
        else:
            children[name] = value
    if children:
        instance["attributes"] = read_attributes(children, terms, depth=depth + 3, pointer=pointer, nulls=nulls)


def _check_reserved(name: str, kind: str, raw: dict[str, Any], pointer: str) -> None:
    """BadRequestData unless the reserved name may stand in an attribute: "@type" for "type", and what answers have."""
    if name == "@type":
        if "type" in raw:
            raise BadRequestData("The attribute has both 'type' and '@type': give one of them.", pointer=pointer)
    elif name not in _OUTPUT_MEMBERS[kind]:
        raise BadRequestData(f"A {kind} cannot have the member {name!r}.", pointer=pointer)


def read_value(kind: str, value: Any, terms: Terms, depth: int, pointer: str, nulls: Nulls) -> Any:
    """The stored form of the value of an attribute of type `kind`."""
    if value is None and kind != "JsonProperty":
        raise BadRequestData(
            f'null is no value in NGSI-LD; to delete something, send "{NGSI_LD_NULL}" in an update or merge.',
            pointer=pointer,
        )
    if kind == "Property":
        return encode_value(value, depth, pointer, allow_null=nulls is Nulls.DEEP)
    if kind == "GeoProperty":
        return encode_value(read_geometry(value, pointer), depth, pointer)
    if kind == "Relationship":
        return _read_objects(value, pointer)
    if kind == "LanguageProperty":
        return _read_language_map(value, pointer, nulls)
    if kind == "VocabProperty":
        return _read_vocab(value, terms, pointer)
    if kind == "JsonProperty":
        return encode_value(value, depth, pointer, allow_null=nulls is Nulls.DEEP)
    if not isinstance(value, list):
        raise BadRequestData(f"The {VALUE_MEMBERS[kind]} of a {kind} must be an array.", pointer=pointer)
    if kind == "ListProperty":
        return [encode_value(item, depth + 1, f"{pointer}/{index}") for index, item in enumerate(value)]
    return [_read_list_object(item, f"{pointer}/{index}") for index, item in enumerate(value)]


def _read_plain(raw: Any, depth: int, pointer: str, nulls: Nulls) -> Instance:
    """The concise form without members of its own: the value alone."""
    if raw == NGSI_LD_NULL and nulls:
        return {"type": "Property", "deleted": True}
    if looks_like_geometry(raw):
        return {"type": "GeoProperty", "value": encode_value(read_geometry(raw, pointer), depth + 1, pointer)}
    if raw is None:
        raise BadRequestData(
            f'null is no value in NGSI-LD; to delete an attribute, send "{NGSI_LD_NULL}" in an update or merge.',
            pointer=pointer,
        )
    return {"type": "Property", "value": encode_value(raw, depth + 1, pointer, allow_null=nulls is Nulls.DEEP)}


def _read_dataset(
    name: str, dataset: dict[str, Any], terms: Terms, depth: int, pointer: str, nulls: Nulls
) -> list[Instance]:
    instances = []
    for dataset_id, raw in dataset.items():
        at = f"{pointer}/dataset/{_escape(dataset_id)}"
        instance = read_instance(raw, terms, depth=depth, pointer=at, nulls=nulls)
        if dataset_id != "@none":
            instance["datasetId"] = check_uri(dataset_id, "datasetId", at)
        instances.append(instance)
    _check_datasets(name, instances, [f"{pointer}/dataset/{_escape(dataset_id)}" for dataset_id in dataset])
    return instances


def _check_datasets(name: str, instances: list[Instance], pointers: list[str]) -> None:
    seen = set()
    for instance, pointer in zip(instances, pointers, strict=True):
        dataset_id = instance.get("datasetId")
        if dataset_id in seen:
            named = f"the datasetId {dataset_id}" if dataset_id else "no datasetId"
            raise BadRequestData(
                f"Two instances of the attribute {name!r} have {named}: each datasetId may occur once.",
                pointer=pointer,
            )
        seen.add(dataset_id)


def is_attribute_type(value: Any) -> bool:
    """Whether `value` is the name of one of the attribute types of clause 4.5."""
    return isinstance(value, str) and value in VALUE_MEMBERS


def _is_instance(item: Any) -> bool:
    return isinstance(item, dict) and (
        is_attribute_type(item.get("type")) or any(name in _TYPES_BY_MEMBER for name in item)
    )


def _infer_type(raw: dict[str, Any], pointer: str) -> str | None:
    """The type of a concise instance by the member that holds its value; None if `raw` is a value itself."""
    members = [name for name in _TYPES_BY_MEMBER if name in raw]
    if len(members) > 1:
        raise BadRequestData(
            f"The attribute holds both {members[0]!r} and {members[1]!r}: an attribute has one value.", pointer=pointer
        )
    if not members:
        return None
    if "type" in raw:
        raise BadRequestData(
            f"{raw['type']!r} is not an attribute type: expected one of {', '.join(VALUE_MEMBERS)}.",
            pointer=f"{pointer}/type",
        )
    if members == ["value"] and looks_like_geometry(raw["value"]):
        return "GeoProperty"
    return _TYPES_BY_MEMBER[members[0]]


def _is_null(kind: str, value: Any) -> bool:
    if type(value) is str:
        return value == NGSI_LD_NULL
    if kind == "LanguageProperty":
        return bool(value == {"@none": NGSI_LD_NULL})
    return type(value) is list and value in ([NGSI_LD_NULL], [{"object": NGSI_LD_NULL}]) and kind.startswith("List")


def _deletion(kind: str, raw: dict[str, Any], pointer: str, nulls: Nulls) -> Instance:
    if not nulls:
        raise BadRequestData(
            f'"{NGSI_LD_NULL}" deletes an attribute and is allowed only in operations that update or merge.',
            pointer=f"{pointer}/{VALUE_MEMBERS[kind]}",
        )
    instance: Instance = {"type": kind, "deleted": True}
    if raw.get("datasetId", "@none") != "@none":
        instance["datasetId"] = check_uri(raw["datasetId"], "datasetId", f"{pointer}/datasetId")
    return instance


def _read_unit_code(kind: str, value: Any, pointer: str) -> str:
    if kind not in WITH_UNITS:
        raise BadRequestData(f"A {kind} has no unit: leave unitCode out.", pointer=pointer)
    return _text(value, "unitCode", pointer)


def _read_object_type(value: Any, terms: Terms, pointer: str) -> str | list[str]:
    if isinstance(value, list) and value:
        return [terms.expand(_text(item, "objectType", pointer)) for item in value]
    return terms.expand(_text(value, "objectType", pointer))


def _read_objects(value: Any, pointer: str) -> str | list[str]:
    if isinstance(value, list):
        if not value:
            raise BadRequestData(
                "The object of a Relationship is an empty array: give at least one URI.", pointer=pointer
            )
        return [check_uri(item, "object of the Relationship", f"{pointer}/{index}") for index, item in enumerate(value)]
    return check_uri(value, "object of the Relationship", pointer)


def _read_list_object(item: Any, pointer: str) -> str:
    if isinstance(item, dict) and set(item) == {"object"}:
        item = item["object"]
    return check_uri(item, "object of the ListRelationship", pointer)


def _read_language_map(value: Any, pointer: str, nulls: Nulls) -> dict[str, str | list[str]]:
    if not isinstance(value, dict) or not value:
        raise BadRequestData('A languageMap is an object such as {"en": "tower", "fr": "tour"}.', pointer=pointer)
    for tag, text in value.items():
        check_language_tag(tag, pointer)
        if NGSI_LD_NULL in (text if isinstance(text, list) else [text]) and nulls is not Nulls.DEEP:
            raise BadRequestData(f'"{NGSI_LD_NULL}" is no text of a languageMap.', pointer=f"{pointer}/{tag}")
        if not isinstance(text, str) and not (isinstance(text, list) and all(isinstance(item, str) for item in text)):
            raise BadRequestData(
                "A languageMap maps each tag to a text or an array of texts.", pointer=f"{pointer}/{tag}"
            )
    return value


def _read_vocab(value: Any, terms: Terms, pointer: str) -> str | list[str]:
    if isinstance(value, list) and value:
        return [terms.expand_vocab(_text(item, "vocab", pointer)) for item in value]
    return terms.expand_vocab(_text(value, "vocab", pointer))


def _text(value: Any, what: str, pointer: str) -> str:
    if isinstance(value, str) and value and value != NGSI_LD_NULL:
        return value
    raise BadRequestData(f"The {what} {value!r:.80} is not a text: expected a non-empty string.", pointer=pointer)


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
