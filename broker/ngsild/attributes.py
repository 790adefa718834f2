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

from typing import Any

from broker.ngsild.attribute_values import (
    RELATIONSHIPS,
    Nulls,
    Terms,
    read_text,
    read_type_names,
    read_unit_code,
    read_value,
    read_value_type,
)
from broker.ngsild.errors import BadRequestData
from broker.ngsild.geometry import looks_like_geometry, read_geometry
from broker.ngsild.measurements import read_measurement
from broker.ngsild.model import NGSI_LD_NULL, VALUE_MEMBERS, Attributes, Instance, decode_key
from broker.ngsild.names import (
    GEO_KEYS,
    NOT_ATTRIBUTE_KEYS,
    NOT_ATTRIBUTES,
    PROOF_KEY,
    SPECIAL_KEYS,
    SYSTEM_MEMBERS,
    check_uri,
)
from broker.ngsild.timestamps import parse_timestamp
from broker.ngsild.values import MAX_DEPTH, encode_value

__all__ = [
    "INSTANCE_DEPTH",
    "REMOVABLE",
    "Nulls",
    "Terms",
    "is_attribute_type",
    "is_deletion",
    "read_attribute",
    "read_attributes",
    "read_instance",
    "read_members",
    "read_value",
]

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
_OUTPUT_MEMBERS = {
    "Property": {"instanceId", "previousValue"},
    "GeoProperty": {"instanceId", "previousValue"},
    "LanguageProperty": {"instanceId", "previousLanguageMap"},
    "VocabProperty": {"instanceId", "previousVocab"},
    "JsonProperty": {"instanceId", "previousJson"},
    "ListProperty": {"instanceId", "previousValueList"},
    "Relationship": {"instanceId", "previousObject", "entity"},
    "ListRelationship": {"instanceId", "previousObjectList", "entityList"},
}
"""What only answers hold; ignored when a client sends it back (tables 5.2.5-2 to 5.2.38-2)."""
_SEALED = frozenset({"entityIdSealed", "entityTypeSealed"})
REMOVABLE = ("observedAt", "unitCode", "expiresAt", "valueType", "objectType")
"""Members of an instance that an NGSI-LD Null removes."""

_MISSING = object()


def is_deletion(instance: Instance) -> bool:
    """Whether a fragment's instance is an NGSI-LD Null: it deletes the instance with its datasetId."""
    return "deleted" in instance


def read_attribute(
    name: str,
    raw: Any,
    terms: Terms,
    *,
    key: str = "",
    depth: int = INSTANCE_DEPTH,
    pointer: str = "",
    nulls: Nulls = Nulls.REFUSED,
) -> list[Instance]:
    """All instances of the attribute `name`, whose member in the request is `raw` at `pointer`.

    `key` is its attribute key, `nulls` says where NGSI-LD Nulls are deletions (clauses 5.5.8, 5.5.12). BadRequestData
    for anything that is not an attribute of clause 4.5, and for two instances with the same datasetId.
    """
    if type(raw) is dict:
        dataset = raw.get("dataset") if len(raw) == 1 else None
        if type(dataset) is not dict or not dataset:
            return [read_instance(raw, terms, key=key, depth=depth, pointer=pointer, nulls=nulls)]
        instances = []
        pointers = [f"{pointer}/dataset/{_escape(dataset_id)}" for dataset_id in dataset]
        for at, (dataset_id, item) in zip(pointers, dataset.items(), strict=True):
            instance = read_instance(item, terms, key=key, depth=depth, pointer=at, nulls=nulls)
            if dataset_id != "@none":
                instance["datasetId"] = check_uri(dataset_id, "datasetId", at)
            instances.append(instance)
    elif type(raw) is list and raw and any(_is_instance(item) for item in raw):
        pointers = [f"{pointer}/{index}" for index in range(len(raw))]
        instances = [
            read_instance(item, terms, key=key, depth=depth, pointer=at, nulls=nulls)
            for at, item in zip(pointers, raw, strict=True)
        ]
    else:
        return [read_instance(raw, terms, key=key, depth=depth, pointer=pointer, nulls=nulls)]
    _check_datasets(name, instances, pointers)
    if key == PROOF_KEY and len(instances) > 1:
        raise BadRequestData("An attribute has one ngsildproof at most (table 5.2.5-1).", pointer=pointers[1])
    return instances


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
        if name in NOT_ATTRIBUTES:
            raise BadRequestData(
                f"{name!r} is a reserved name and cannot be an attribute.", pointer=f"{pointer}/{_escape(name)}"
            )
        try:
            key = terms.key(name)
        except BadRequestData as error:
            raise BadRequestData(error.detail, pointer=f"{pointer}/{_escape(name)}") from None
        measurement = read_measurement(raw) if type(raw) is dict else None
        if measurement is not None and key not in SPECIAL_KEYS and key not in attributes:
            attributes[key] = [measurement]
            continue
        at = f"{pointer}/{_escape(name)}"
        if key in NOT_ATTRIBUTE_KEYS:
            raise BadRequestData(f"{name!r} is the IRI of a reserved name and cannot be an attribute.", pointer=at)
        if key in attributes:
            raise BadRequestData(
                f"The attribute {name!r} occurs twice under different names of the same IRI.", pointer=at
            )
        attributes[key] = read_attribute(name, raw, terms, key=key, depth=depth, pointer=at, nulls=nulls)
    return attributes


def read_instance(
    raw: Any,
    terms: Terms,
    *,
    key: str = "",
    depth: int = INSTANCE_DEPTH,
    pointer: str = "",
    nulls: Nulls = Nulls.REFUSED,
) -> Instance:
    """One instance in the stored form, without system timestamps. `key` is the attribute key, where it is known."""
    instance = _read_instance(raw, terms, key, depth, pointer, nulls)
    if key in SPECIAL_KEYS and not is_deletion(instance):
        member = VALUE_MEMBERS[instance["type"]]
        at = f"{pointer}/{member}" if type(raw) is dict and member in raw else pointer
        check_definition(key, instance, depth, at)
    return instance


def check_definition(key: str, instance: Instance, depth: int, pointer: str) -> None:
    """BadRequestData where the specification says more of the attribute `key` than `instance` fulfils.

    The places of an entity are GeoProperties (clause 4.7.1). Published data has them as Properties, too: they are kept
    as they are if they hold a geometry. A proof is a Property with an object (clause 4.5.2.2).
    """
    kind = instance["type"]
    if key in GEO_KEYS and depth == INSTANCE_DEPTH:
        if kind != "GeoProperty" and not (kind == "Property" and looks_like_geometry(instance["value"])):
            raise BadRequestData(
                f"{decode_key(key)} is a GeoProperty (clause 4.7.1): expected a GeoJSON geometry, found a {kind}.",
                pointer=pointer,
            )
    elif key == PROOF_KEY and (kind != "Property" or type(instance["value"]) is not dict):
        raise BadRequestData(
            "ngsildproof is a Property whose value is an object, the proof (clause 4.5.2.2).", pointer=pointer
        )


def _read_instance(raw: Any, terms: Terms, key: str, depth: int, pointer: str, nulls: Nulls) -> Instance:
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
        read_members(raw, kind, instance, terms, key=key, depth=depth, pointer=pointer, nulls=nulls)
    return instance


def read_members(
    raw: dict[str, Any],
    kind: str,
    instance: Instance,
    terms: Terms,
    *,
    key: str = "",
    depth: int,
    pointer: str,
    nulls: Nulls,
) -> None:
    """Read all members of `raw` but type and value into `instance`: metadata and sub-attributes.

    `key` is the attribute key, where it is known: a proof has members of its own.
    """
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
            instance["unitCode"] = read_unit_code(kind, value, at)
        elif name == "valueType" and kind not in RELATIONSHIPS:
            instance["valueType"] = read_value_type(kind, value, terms, at)
        elif name == "objectType" and kind in RELATIONSHIPS:
            instance["objectType"] = read_type_names(value, "objectType", terms, at)
        elif name in _SEALED and key == PROOF_KEY:
            instance[name] = (
                read_text(value, name, at) if name == "entityIdSealed" else read_type_names(value, name, terms, at)
            )
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


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
