"""Linked entities in q (clause 4.9): how deep a query follows Relationships, and where these lead.

Which entities meet a term in braces, only the database can tell: `core/linked.py` finds out, and notes it in the tree
(`Linked.ids`). What is left is about the entities alone.
"""

from collections.abc import Sequence
from typing import Any

from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import Entity, Instance
from broker.ngsild.query.tree import And, Linked, Node, Or


def link_depth(node: Node) -> int:
    """How many Relationships the deepest path of a query follows; 0 if it stays within the entity."""
    if isinstance(node, And | Or):
        return max(link_depth(term) for term in node.terms)
    return 1 + link_depth(node.term) if isinstance(node, Linked) else 0


def check_link_depth(node: Node, depth: int) -> None:
    """BadRequestData if a query follows more than `depth` Relationships, those that are retrieved (clause 5.7.2.4).

    Without linked entity retrieval the depth is 0.
    """
    found = link_depth(node)
    if found > depth:
        allowed = f"joinLevel is {depth}" if depth else "linked entities are not retrieved"
        raise BadRequestData(
            f"q is too deep: the Relationships that it follows in a row are {found}, and {allowed}: expected join=flat "
            f"or join=inline, with joinLevel={found} at least."
        )


def without_links(node: Node) -> Node | None:
    """What must hold of the entity itself for a query to hold; None if that is nothing."""
    if isinstance(node, Linked):
        return None
    if not isinstance(node, And | Or):
        return node
    terms = [without_links(term) for term in node.terms]
    needed = tuple(term for term in terms if term is not None)
    if isinstance(node, Or):
        return Or(needed) if len(needed) == len(terms) else None
    return And(needed) if needed else None


def targets(node: Linked, entity: Entity) -> list[str]:
    """The ids of the entities that the Relationship of a term leads to, from one entity."""
    holders: list[dict[str, Any]] = [entity]
    for name in node.path.names:
        holders = [instance for holder in holders for instance in holder.get("attributes", {}).get(name, ())]
    return [entity_id for instance in holders for entity_id in linked_ids(instance)]


def linked_ids(instance: Instance) -> Sequence[str]:
    """The entities that an instance leads to; none unless it is a Relationship or ListRelationship."""
    kind = instance["type"]
    if kind == "ListRelationship":
        found: list[str] = instance["objectList"]
        return found
    if kind != "Relationship":
        return ()
    objects: str | list[str] = instance["object"]
    return (objects,) if isinstance(objects, str) else objects
