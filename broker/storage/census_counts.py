"""The numbers of the census, pure: how shapes of entities add up, and what a document of the census says.

`Counts` are the numbers that belong to one entity type, by their paths in its document:

    entities                       entities of the type
    attributes.<key>.<kind>        instances of an attribute in these entities, by attribute type
    attributes.<key>.elsewhere     those among them that another type counts too: of entities of which this type is not
                                   the first one
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from broker.ngsild.shapes import Difference, Kinds, Shape

Counts = dict[str, int]

_ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class TypeCount:
    """What the census knows of one entity type: `attributes` holds instances by attribute key and attribute type.

    `elsewhere` are instances by attribute key that another type counts too.
    """

    type: str
    entities: int
    attributes: dict[str, dict[str, int]]
    elsewhere: dict[str, int]


def type_count(document: Mapping[str, Any]) -> TypeCount:
    """What a document of the census says; attributes without instances are left out."""
    attributes: dict[str, dict[str, int]] = {}
    elsewhere: dict[str, int] = {}
    for key, numbers in document.get("attributes", {}).items():
        kinds = {kind: number for kind, number in numbers.items() if number > 0 and kind != _ELSEWHERE}
        if kinds:
            attributes[key] = kinds
            elsewhere[key] = numbers.get(_ELSEWHERE, 0)
    return TypeCount(document["_id"], document.get("entities", 0), attributes, elsewhere)


def counts_of(document: Mapping[str, Any]) -> Counts:
    """All numbers of a document of the census."""
    counts = {"entities": document.get("entities", 0)}
    for key, numbers in document.get("attributes", {}).items():
        for kind, number in numbers.items():
            counts[f"attributes.{key}.{kind}"] = number
    return counts


def increments(differences: Mapping[Difference, int]) -> dict[str, Counts]:
    """What these changes, each with how often it happened, add to the numbers of each type that they concern.

    A type whose numbers stay as they are has no increments, but is there.
    """
    found: dict[str, defaultdict[str, int]] = {}
    for (before, after), times in differences.items():
        for shape, sign in ((before, -times), (after, times)):
            if shape is not None:
                for name in set(shape[0]):
                    add_shape(found.setdefault(name, defaultdict(int)), name, shape, sign)
    return {name: {path: number for path, number in counts.items() if number} for name, counts in found.items()}


def add_shape(counts: defaultdict[str, int], type_name: str, shape: Shape, times: int) -> None:
    """Add so many entities of this shape to the numbers of one of its types."""
    types, attributes = shape
    add_entities(counts, attributes, times, first=types[0] == type_name)


def add_entities(
    counts: defaultdict[str, int], attributes: Iterable[tuple[str, Kinds]], times: int, *, first: bool
) -> None:
    """Add so many entities with these attributes to the numbers of a type, which is the `first` of theirs or not."""
    counts["entities"] += times
    for key, kinds in attributes:
        for kind in kinds:
            counts[f"attributes.{key}.{kind}"] += times
        if not first:
            counts[f"attributes.{key}.{_ELSEWHERE}"] += times * len(kinds)


def correction(found: Mapping[str, int], stated: Mapping[str, int]) -> Counts:
    """What has to be added to the `stated` numbers to make them those that were `found`."""
    return {path: missing for path in {*found, *stated} if (missing := found.get(path, 0) - stated.get(path, 0))}
