"""What a change replaced (showChanges, clauses 5.2.14.1 and 5.8.6): the earlier values, beside the present ones."""

from broker.ngsild.languages import LanguageRange, in_language
from broker.ngsild.model import VALUE_MEMBERS, Attributes, Entity, Instance
from broker.notify.matching import same


def with_previous(before: Entity, after: Entity) -> Entity:
    """`after`, in which every instance that differs from the one before has its value in a member "previous".

    Sub-attributes, too. What came into being has none, nor has what changed its type: an attribute shows only such
    members as its type has.
    """
    return {**after, "attributes": _attributes(before["attributes"], after["attributes"])}


def in_one_language(entity: Entity, ranges: tuple[LanguageRange, ...]) -> Entity:
    """The entity with its LanguageProperties in the language that a filter prefers (clause 4.15)."""
    attributes = {key: [in_language(one, ranges) for one in every] for key, every in entity["attributes"].items()}
    return {**entity, "attributes": attributes}


def _attributes(before: Attributes, after: Attributes) -> Attributes:
    shown: Attributes = {}
    for key, instances in after.items():
        earlier = before.get(key)
        if earlier is None or earlier is instances:
            shown[key] = instances
            continue
        by_dataset = {one.get("datasetId"): one for one in earlier}
        shown[key] = [_instance(by_dataset.get(one.get("datasetId")), one) for one in instances]
    return shown


def _instance(before: Instance | None, after: Instance) -> Instance:
    if before is None or before["type"] != after["type"] or same(before, after):
        return after
    shown = {**after, "previous": before[VALUE_MEMBERS[before["type"]]]}
    if "attributes" in before and "attributes" in after:
        shown["attributes"] = _attributes(before["attributes"], after["attributes"])
    return shown
