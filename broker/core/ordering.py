"""The first entities of an order (clause 4.23), found by looking at all of them, batch by batch.

At any time no more is kept than the places that were asked for, and as many again or a few thousand.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from operator import itemgetter
from typing import Protocol

from broker.core.paging import Place, Position, Side
from broker.ngsild.collations import Collation
from broker.ngsild.model import Entity
from broker.ngsild.ordering import Kind, Ordering, SortValue

_Key = tuple[tuple[tuple[int, float], ...], str]
_NO_VALUE = (Kind.NULL, Kind.ABSENT)
_SORTED_AT_ONCE = 5_000
_BY_NUMBER = (Kind.DISTANCE, Kind.NUMBER, Kind.BOOLEAN)


class Collates(Protocol):
    """What sorting texts needs."""

    async def check(self, collation: Collation) -> None:
        """BadRequestData if the collation does not exist."""

    async def ranks(self, texts: Collection[str], collation: Collation) -> dict[str, int]:
        """The place of each text among them; equal ones have the same."""


async def first_places(
    batches: AsyncIterator[list[Entity]], ordering: Ordering, collator: Collates, position: Position | None, most: int
) -> list[Place]:
    """The first `most` places of an order on one side of `position`; backwards from it, if that is the side.

    Entities are given as they are without what has expired. Where two have the same values the id decides.
    """
    found: dict[str, Place] = {}
    waiting = 0
    async for batch in batches:
        for entity in batch:
            found[entity["_id"]] = Place(entity["_id"], ordering.values(entity))
        waiting += len(batch)
        if waiting >= max(_SORTED_AT_ONCE, most):
            found = await _first(found, ordering, collator, position, most)
            waiting = 0
    return list((await _first(found, ordering, collator, position, most)).values())


async def _first(
    found: dict[str, Place], ordering: Ordering, collator: Collates, position: Position | None, most: int
) -> dict[str, Place]:
    places = list(found.values())
    border = [Place(position.entity_id, position.values)] if position is not None else []
    keys = await _keys([*places, *border], ordering, collator)
    keyed = list(zip(keys, places, strict=False))
    if position is not None:
        keyed = [one for one in keyed if _beside(one[0], keys[-1], position.side)]
    keyed.sort(key=itemgetter(0), reverse=position is not None and position.side.backwards)
    return {place.entity_id: place for _, place in keyed[:most]}


async def _keys(places: Sequence[Place], ordering: Ordering, collator: Collates) -> list[_Key]:
    """Keys that sort as the places do, among these places."""
    columns = [
        await _column([place.values[number] for place in places], ordering, collator, descending=term.descending)
        for number, term in enumerate(ordering.terms)
    ]
    return [(row, place.entity_id) for row, place in zip(zip(*columns, strict=True), places, strict=True)]


async def _column(
    values: Sequence[SortValue], ordering: Ordering, collator: Collates, *, descending: bool
) -> list[tuple[int, float]]:
    texts: dict[int, set[str]] = {}
    for kind, value in values:
        if kind not in _BY_NUMBER and kind not in _NO_VALUE:
            texts.setdefault(kind, set()).add(value)
    ranks: dict[int, dict[str, int]] = {}
    for kind, some in texts.items():
        if kind == Kind.TEXT:
            ranks[kind] = await collator.ranks(some, ordering.collation) if len(some) > 1 else dict.fromkeys(some, 0)
        else:
            ranks[kind] = {text: rank for rank, text in enumerate(sorted(some))}
    sign = -1 if descending else 1
    return [
        (kind, 0 if kind in _NO_VALUE else sign * (ranks[kind][value] if kind in ranks else value))
        for kind, value in values
    ]


def _beside(key: _Key, border: _Key, side: Side) -> bool:
    if side is Side.AFTER:
        return key > border
    if side is Side.FROM:
        return key >= border
    return key < border if side is Side.BEFORE else key <= border
