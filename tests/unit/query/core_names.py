"""Names as the core @context expands them, and stored forms written in short."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from broker.jsonld.context import Context
from broker.jsonld.core import CORE_CONTEXT_URL
from broker.jsonld.processing import core_terms
from broker.ngsild.model import VALUE_MEMBERS, Entity
from broker.ngsild.query.grammar import parse_q
from broker.ngsild.query.predicate import compile_predicate
from broker.ngsild.query.tree import And, Linked, Node, Or, expand

CORE = Context(core_terms(), CORE_CONTEXT_URL, CORE_CONTEXT_URL)


def read_q(text: str, expand_values: tuple[str, ...] = (), json_keys: tuple[str, ...] = ()) -> Node:
    return expand(parse_q(text), CORE, expand_values=expand_values, json_keys=json_keys)


def resolved(node: Node, entities: Iterable[Entity]) -> Node:
    """The tree with the ids of the linked entities that meet its terms, if `entities` are all that there are."""
    if isinstance(node, And | Or):
        return type(node)(tuple(resolved(term, entities) for term in node.terms))
    if not isinstance(node, Linked):
        return node
    meets = compile_predicate(resolved(node.term, entities))
    types = set(node.types)
    ids = frozenset(one["_id"] for one in entities if (not types or types & set(one["types"])) and meets(one))
    return replace(node, ids=ids)


def instance(value: Any, kind: str = "Property", **members: Any) -> dict[str, Any]:
    return {"type": kind, VALUE_MEMBERS[kind]: value, **members}


def entity(**attributes: Any) -> Entity:
    """An entity with attributes by short name: a value, an instance with its "type", or a list of these instances."""
    return {
        "_id": "urn:ngsi-ld:Test:1",
        "types": [CORE.expand("Test")],
        "createdAt": "2026-01-31T12:00:00.5Z",
        "modifiedAt": "2026-01-31T12:00:01Z",
        "attributes": sub_attributes(**attributes),
    }


def sub_attributes(**attributes: Any) -> dict[str, list[dict[str, Any]]]:
    return {CORE.key(name): _instances(value) for name, value in attributes.items()}


def _instances(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list) and value and all(_is_instance(one) for one in value):
        return value
    return [value if _is_instance(value) else instance(value)]


def _is_instance(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") in VALUE_MEMBERS
