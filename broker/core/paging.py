"""Pages of a result that can be trusted (clauses 5.5.9, 6.3.10): a page begins where another one ended.

A position is a place in the order of the result: the sort values and the id of an entity, which need not exist any
more. The page behind it is found without counting what lies before, and no entity is shown twice or passed over because
others came or went meanwhile. A cursor is a position as text, for the links to the next and the previous page. It
belongs to its query: a digest of both tells whether it was changed, or is used with another query.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from broker.ngsild.errors import BadRequestData
from broker.ngsild.ordering import Kind, Ordering, SortValue
from broker.storage.documents import StoredEntity

_VERSION = "1"
_LONGEST_CURSOR = 16_384
_DIGEST = 9
_TYPES: dict[int, tuple[type, ...]] = {
    Kind.DISTANCE: (float, int),
    Kind.NUMBER: (int, float),
    Kind.BOOLEAN: (bool,),
    Kind.NULL: (type(None),),
    Kind.ABSENT: (type(None),),
}


class Side(StrEnum):
    """On which side of a position a page lies, and whether the entity at the position itself belongs to it."""

    AFTER = "gt"
    FROM = "gte"
    BEFORE = "lt"
    UP_TO = "lte"

    @property
    def backwards(self) -> bool:
        """Whether the page ends at the position."""
        return self in (Side.BEFORE, Side.UP_TO)

    @property
    def opposite(self) -> "Side":
        """The side on which everything lies that is not on this one."""
        return _OPPOSITE[self]


_OPPOSITE = {Side.AFTER: Side.UP_TO, Side.UP_TO: Side.AFTER, Side.BEFORE: Side.FROM, Side.FROM: Side.BEFORE}


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a result, and the side of it that is meant. `values` are empty in the order of ids."""

    side: Side
    entity_id: str
    values: tuple[SortValue, ...] = ()


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The part of a result that is asked for: `limit` entities on one side of `position`, else from the `offset`-th on.

    `ordering` None is the order of ids. `count`: tell how many entities there are in all.
    """

    limit: int
    offset: int = 0
    count: bool = False
    position: Position | None = None
    ordering: Ordering | None = None


@dataclass(slots=True)
class QueryResult:
    """One page. `next` and `previous` are the positions of the pages beside it, None where there is none.

    `total` is the number of entities in the whole result, if it was asked for. A page may hold fewer entities than its
    limit, or none, and still have a next one (clause 5.5.9.1).
    """

    entities: list[StoredEntity]
    total: int | None = None
    next: Position | None = None
    previous: Position | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where one entity stands in a result."""

    entity_id: str
    values: tuple[SortValue, ...] = ()

    def at(self, side: Side) -> Position:
        """The position beside it."""
        return Position(side, self.entity_id, self.values)


def neighbours(
    request: PageRequest, places: Sequence[Place], *, more: bool, seen: Place | None = None
) -> tuple[Position | None, Position | None]:
    """The positions of the next and the previous page of a page that shows `places`.

    `more` tells that there is more in the direction in which the page was read. `seen` is the last place that was
    looked at in that direction, where that is beyond what is shown.
    """
    here = request.position
    if here is not None and here.side.backwards:
        after = places[-1].at(Side.AFTER) if places else _turned(here)
        first = seen or (places[0] if places else None)
        return after, first.at(Side.BEFORE) if more and first is not None else None
    last = seen or (places[-1] if places else None)
    after_last = last.at(Side.AFTER) if more and last is not None else None
    if here is None and not request.offset:
        return after_last, None
    if places:
        return after_last, places[0].at(Side.BEFORE)
    return after_last, _turned(here) if here is not None else None


def _turned(position: Position) -> Position:
    return Position(position.side.opposite, position.entity_id, position.values)


def write_cursor(position: Position, query: bytes) -> str:
    """The cursor of a position in the result of a query; `query` is any text that is the same for the same query."""
    content = orjson.dumps([position.side, position.entity_id, position.values])
    return f"{_VERSION}.{base64.urlsafe_b64encode(_digest(content, query) + content).decode().rstrip('=')}"


def read_cursor(text: str, query: bytes, terms: int) -> Position:
    """The position of a cursor of this query, whose order has so many terms.

    BadRequestData if it was changed, comes from another query or another version of Vela.
    """
    version, _, encoded = text.partition(".")
    try:
        if version != _VERSION or len(encoded) > _LONGEST_CURSOR:
            raise ValueError(version)
        packed = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        digest, content = packed[:_DIGEST], packed[_DIGEST:]
        if digest != _digest(content, query):
            raise ValueError(digest)
        side, entity_id, values = orjson.loads(content)
        if not isinstance(entity_id, str) or len(values) != terms:
            raise ValueError(content)
        return Position(Side(side), entity_id, tuple(_read_value(value) for value in values))
    except (ValueError, TypeError, binascii.Error):
        raise BadRequestData(
            f"cursor is {text!r:.60}, which is no place in the result of this query: follow the links to the next and "
            "the previous page as they are, with the same parameters and the same @context, or leave the cursor out to "
            "begin at the start."
        ) from None


def _read_value(pair: Any) -> SortValue:
    kind, value = pair
    if type(kind) is not int or type(value) not in _TYPES.get(Kind(kind), (str,)):
        raise ValueError(pair)
    return (kind, value)


def _digest(content: bytes, query: bytes) -> bytes:
    return hashlib.blake2b(len(content).to_bytes(8, "big") + content + query, digest_size=_DIGEST).digest()
