"""Transient entities and attributes (clause 4.22): what has expired counts as absent, stored still or not.

An entity, an attribute instance and a sub-attribute may have an `expiresAt`, from which on they do not exist. So that
nobody has to look through the attributes of entities of which none expires, an entity carries a mark,
`attributesExpire`: the earliest expiry of all its attribute instances and sub-attributes, as a text of the form of
`now_text`, which sorts by time. It is absent where none expires. The committer keeps it right (`marked`).
"""

from collections.abc import Iterable
from operator import is_

from broker.ngsild.changes import changed_attributes
from broker.ngsild.model import Attributes, Entity, Instance
from broker.ngsild.timestamps import sortable

MARK = "attributesExpire"


def visible(entity: Entity | None, now: str) -> Entity | None:
    """What there is of a stored entity at the instant `now`, a text of the form of `now_text`.

    None if it has expired or does not exist; the same object if nothing of it has expired; else a new one, without what
    has, that shares all other parts. Its modifiedAt is as it was: that something expired is no modification.
    """
    if entity is None or ("expiresAt" in entity and sortable(entity["expiresAt"]) <= now):
        return None
    if MARK not in entity or entity[MARK] > now:
        return entity
    kept = {name: value for name, value in entity.items() if name != MARK}
    kept["attributes"] = _unexpired(entity["attributes"], now)
    return marked(None, kept)


def marked(before: Entity | None, after: Entity, touched: Iterable[str] | None = None) -> Entity:
    """`after` with the right mark; the same object if it has that already.

    `before` is the entity, itself rightly marked, that `after` was made of. Only the attributes in which the two differ
    are looked at: `touched` has their keys, where they are known already.
    """
    if before is None or MARK not in before:
        attributes = after["attributes"]
        for key in changed_attributes(before, after) if touched is None else touched:
            if key in attributes and _expires(attributes[key]):
                break
        else:
            return after
    earliest = _earliest(after["attributes"])
    if earliest == after.get(MARK):
        return after
    new = {name: value for name, value in after.items() if name != MARK}
    if earliest is not None:
        new[MARK] = earliest
    return new


def _expires(instances: list[Instance]) -> bool:
    for instance in instances:
        if "expiresAt" in instance:
            return True
        if "attributes" in instance and any(map(_expires, instance["attributes"].values())):
            return True
    return False


def _earliest(attributes: Attributes) -> str | None:
    found: list[str] = []
    for instances in attributes.values():
        for instance in instances:
            if "expiresAt" in instance:
                found.append(sortable(instance["expiresAt"]))
            inside = _earliest(instance["attributes"]) if "attributes" in instance else None
            if inside is not None:
                found.append(inside)
    return min(found, default=None)


def _unexpired(attributes: Attributes, now: str) -> Attributes:
    """The attributes without what has expired; what holds nothing expired is the same object as before."""
    kept: Attributes = {}
    for key, instances in attributes.items():
        left = [one for instance in instances if (one := _unexpired_instance(instance, now)) is not None]
        if left:
            unchanged = len(left) == len(instances) and all(map(is_, left, instances))
            kept[key] = instances if unchanged else left
    return kept


def _unexpired_instance(instance: Instance, now: str) -> Instance | None:
    if "expiresAt" in instance and sortable(instance["expiresAt"]) <= now:
        return None
    if "attributes" not in instance:
        return instance
    old = instance["attributes"]
    inside = _unexpired(old, now)
    if len(inside) == len(old) and all(inside[key] is old[key] for key in old):
        return instance
    left = {name: value for name, value in instance.items() if name != "attributes"}
    if inside:
        left["attributes"] = inside
    return left
