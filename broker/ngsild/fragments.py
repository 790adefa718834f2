"""Reading entities: a JSON document of a request becomes a `Fragment` (clauses 4.5.1, 5.2.4, 5.4).

A fragment holds what the client said, expanded and checked, with nothing of the broker's own: no timestamps, no
version. `mutations.py` applies it to an entity.
"""

from dataclasses import dataclass
from typing import Any

from broker.ngsild.attribute_values import located
from broker.ngsild.attributes import (
    INSTANCE_DEPTH,
    Nulls,
    Terms,
    is_attribute_type,
    is_deletion,
    read_attributes,
    read_instance,
    read_members,
)
from broker.ngsild.errors import BadRequestData
from broker.ngsild.geometry import looks_like_geometry
from broker.ngsild.model import NGSI_LD_NULL, VALUE_MEMBERS, Attributes, Instance
from broker.ngsild.names import ENTITY_MEMBERS, SYSTEM_MEMBERS, check_uri, read_scopes
from broker.ngsild.timestamps import parse_timestamp

_NOT_ATTRIBUTES_OF_ENTITY = ENTITY_MEMBERS | SYSTEM_MEMBERS | {"expiresAt"}


@dataclass(slots=True)
class Fragment:
    """An entity, or a part of one, as a client sent it.

    `types` are IRIs; `scopes` is `[NGSI_LD_NULL]` where the scope is to be deleted; `expires_at` is a timestamp text or
    NGSI_LD_NULL. Members that the client did not send are None.
    """

    entity_id: str | None
    types: list[str] | None
    scopes: list[str] | None
    expires_at: str | None
    attributes: Attributes


def read_entity(document: Any, terms: Terms, *, pointer: str = "") -> Fragment:
    """A whole entity, with id and type (clause 5.2.4)."""
    fragment = read_fragment(document, terms, pointer=pointer)
    if fragment.entity_id is None:
        raise BadRequestData("The entity has no id: every entity needs a URI as its id.", pointer=f"{pointer}/id")
    if fragment.types is None:
        raise BadRequestData("The entity has no type: every entity needs at least one.", pointer=f"{pointer}/type")
    return fragment


def read_fragment(document: Any, terms: Terms, *, pointer: str = "", nulls: Nulls = Nulls.REFUSED) -> Fragment:
    """An entity or an entity fragment (clause 5.4): id and type may be missing."""
    if type(document) is not dict:
        raise BadRequestData("Expected a JSON object that represents an entity.", pointer=pointer)
    entity_id = document.get("id", document.get("@id"))
    types = document.get("type", document.get("@type"))
    if "@id" in document or "@type" in document:
        _check_keywords(document, pointer)
    scopes = document.get("scope")
    expires_at = document.get("expiresAt")
    if (expires_at is not None or "expiresAt" in document) and not (nulls and expires_at == NGSI_LD_NULL):
        expires_at = parse_timestamp(expires_at, pointer=f"{pointer}/expiresAt")
    return Fragment(
        check_uri(entity_id, "entity id", f"{pointer}/id") if entity_id is not None or "id" in document else None,
        _read_types(types, terms, f"{pointer}/type") if types is not None or "type" in document else None,
        read_scopes(scopes, f"{pointer}/scope", allow_null=bool(nulls))
        if scopes is not None or "scope" in document
        else None,
        expires_at,
        read_attributes(document, terms, skip=_NOT_ATTRIBUTES_OF_ENTITY, pointer=pointer, nulls=nulls),
    )


@dataclass(slots=True)
class AttributeFragment:
    """Part of one attribute instance: what a partial update changes (clause 5.6.4).

    `kind` is the attribute type that the client stated, or None. `changes` holds members of the stored form; a member
    whose value is NGSI_LD_NULL is to be removed; sub-attributes are under "attributes" as in an instance. Where the
    value is an NGSI-LD Null `changes` is a deletion (`is_deletion`): the whole instance is to go.
    """

    kind: str | None
    dataset_id: str | None
    changes: Instance


def read_attribute_fragment(document: Any, terms: Terms, key: str = "") -> AttributeFragment:
    """The body of a partial update of the attribute `key` (clause 5.6.4).

    BadRequestData if it is no object or states what is no attribute type.
    """
    if type(document) is not dict or not document:
        raise BadRequestData("Expected a JSON object with the members of the attribute that change.", pointer="")
    stated = document.get("type", document.get("@type"))
    if ("type" in document or stated is not None) and not is_attribute_type(stated):
        raise BadRequestData(
            f"{stated!r:.80} is not an attribute type: expected one of {', '.join(VALUE_MEMBERS)}.", pointer="/type"
        )
    kind = stated or _guess_kind(document)
    changes: Instance = {}
    member = VALUE_MEMBERS[kind]
    if member in document:
        instance = read_instance({"type": kind, member: document[member]}, terms, key=key, nulls=Nulls.MEMBERS)
        if is_deletion(instance):
            changes["deleted"] = True
        else:
            changes[member] = instance[member]
    read_members(document, kind, changes, terms, key=key, depth=INSTANCE_DEPTH, pointer="", nulls=Nulls.MEMBERS)
    return AttributeFragment(stated, changes.pop("datasetId", None), changes)


def read_replacement(document: Any, terms: Terms, key: str = "") -> Instance:
    """The body of Replace Attribute for the attribute `key`: one instance, an object (clauses 5.4, 5.6.19)."""
    if type(document) is not dict:
        raise BadRequestData("Expected a JSON object that represents one instance of the attribute.", pointer="")
    return read_instance(document, terms, key=key)


def _guess_kind(document: dict[str, Any]) -> str:
    for kind, member in VALUE_MEMBERS.items():
        if member in document and kind != "GeoProperty":
            return "GeoProperty" if member == "value" and looks_like_geometry(document["value"]) else kind
    return "Relationship" if "objectType" in document else "Property"


def _check_keywords(document: dict[str, Any], pointer: str) -> None:
    """BadRequestData where a JSON-LD keyword stands beside the term that means the same: which one is meant?"""
    for name in ("id", "type"):
        if name in document and f"@{name}" in document:
            raise BadRequestData(
                f"The entity has both {name!r} and '@{name}': give one of them.", pointer=f"{pointer}/@{name}"
            )


def _read_types(value: Any, terms: Terms, pointer: str) -> list[str]:
    names = value if isinstance(value, list) else [value]
    if not names:
        raise BadRequestData("The type is an empty array: every entity needs at least one type.", pointer=pointer)
    types = []
    for name in names:
        if not isinstance(name, str) or not name or name == NGSI_LD_NULL:
            raise BadRequestData(f"{name!r:.80} is not an entity type: expected a name or an IRI.", pointer=pointer)
        types.append(located(terms.expand, name, pointer))
    return types if len(types) == 1 else list(dict.fromkeys(types))
