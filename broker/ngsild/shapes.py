"""What an entity consists of, values left aside: what discovery tells of entities (clauses 5.7.5 to 5.7.10).

Most updates change values only: `difference` says so after a few look-ups.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from broker.ngsild.changes import changed_attributes
from broker.ngsild.model import Entity, Instance

Kinds = tuple[str, ...]
"""The attribute types of an attribute's instances, one for each instance, sorted."""

Shape = tuple[tuple[str, ...], frozenset[tuple[str, Kinds]]]
"""The types of an entity in their order, and its attribute keys with their kinds."""

Difference = tuple[Shape | None, Shape | None]
"""The shapes of an entity before and after a change; None where it does not exist."""


def shape_of(entity: Entity) -> Shape:
    """The shape of an entity."""
    return tuple(entity["types"]), frozenset([(key, _kinds(found)) for key, found in entity["attributes"].items()])


def difference(before: Entity | None, after: Entity | None, touched: Iterable[str] | None = None) -> Difference | None:
    """How the shape of an entity changed; None if it did not.

    `touched` has the keys of the attributes that changed, where they are known already.
    """
    if before is None or after is None:
        pair = (None if before is None else shape_of(before), None if after is None else shape_of(after))
        return None if pair == (None, None) else pair
    if _alike(before, after, changed_attributes(before, after) if touched is None else touched):
        return None
    changed = shape_of(before), shape_of(after)
    return changed if changed[0] != changed[1] else None


def _alike(before: Entity, after: Entity, touched: Iterable[str]) -> bool:
    """Whether the shapes are equal, told by looking at nothing but what changed."""
    old, new = before["attributes"], after["attributes"]
    if len(old) != len(new) or (before["types"] is not after["types"] and before["types"] != after["types"]):
        return False
    for key in touched:
        previous, instances = old.get(key), new.get(key)
        if previous is None or instances is None:
            return False
        if len(previous) == len(instances) == 1:
            if previous[0]["type"] != instances[0]["type"]:
                return False
        elif _kinds(previous) != _kinds(instances):
            return False
    return True


def _kinds(instances: Sequence[Instance]) -> Kinds:
    if len(instances) == 1:
        kind: Any = instances[0]["type"]
        return (kind,)
    return tuple(sorted([one["type"] for one in instances]))
