"""Positions, cursors, and the links between pages (clauses 5.5.9, 6.3.10)."""

import asyncio
import base64
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.ordering import first_places
from broker.core.paging import (
    PageRequest,
    Place,
    Position,
    Side,
    neighbours,
    read_cursor,
    write_cursor,
)
from broker.ngsild.collations import Collation
from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import Entity
from broker.ngsild.ordering import Kind, Ordering, OrderTerm
from broker.ngsild.query.tree import Path

VALUES = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(lambda one: (int(Kind.NUMBER), one)),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda one: (int(Kind.NUMBER), one)),
    st.floats(0, 2e7).map(lambda one: (int(Kind.DISTANCE), one)),
    st.text(max_size=20).map(lambda one: (int(Kind.TEXT), one)),
    st.booleans().map(lambda one: (int(Kind.BOOLEAN), one)),
    st.sampled_from([(int(Kind.NULL), None), (int(Kind.ABSENT), None)]),
)
POSITIONS = st.builds(
    Position, st.sampled_from(Side), st.text(min_size=1, max_size=30), st.lists(VALUES, max_size=3).map(tuple)
)


@given(POSITIONS)
def test_a_cursor_is_a_position_as_text_that_a_url_can_hold(position: Position) -> None:
    cursor = write_cursor(position, b"query")
    assert read_cursor(cursor, b"query", len(position.values)) == position
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


@given(POSITIONS, st.data())
def test_a_cursor_that_was_changed_is_refused(position: Position, data: st.DataObject) -> None:
    cursor = write_cursor(position, b"query")
    at = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda one: one != cursor[at]))
    changed = cursor[:at] + other + cursor[at + 1 :]
    if at == len(cursor) - 1:
        return  # it may have bits that mean nothing
    with pytest.raises(BadRequestData, match="no place in the result"):
        read_cursor(changed, b"query", len(position.values))


def test_a_cursor_belongs_to_its_query_and_its_version() -> None:
    cursor = write_cursor(Position(Side.AFTER, "urn:a:1"), b"query")
    for text, query, terms in ((cursor, b"other", 0), (cursor, b"query", 1), (f"2{cursor[1:]}", b"query", 0)):
        with pytest.raises(BadRequestData, match="no place in the result"):
            read_cursor(text, query, terms)


@pytest.mark.parametrize("text", ["", ".", "1.", "1", "1.!!", "1.AAAA", "1." + "A" * 20_000, "1.\u00e4"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadRequestData):
        read_cursor(text, b"query", 0)


def test_a_cursor_of_somebody_who_knows_the_digest_is_checked_all_the_same() -> None:
    values: list[Any] = [((99, 1),), ((1, "x"),), ((2, 5),), ((5, 1),), ((1,),), ("x",), ((True, 1),)]
    for one in values:
        position = Position(Side.AFTER, "urn:a:1", one)
        with pytest.raises(BadRequestData):
            read_cursor(write_cursor(position, b"query"), b"query", 1)
    forged = base64.urlsafe_b64encode(b"x" * 40).decode().rstrip("=")
    with pytest.raises(BadRequestData):
        read_cursor(f"1.{forged}", b"query", 0)


A, B, C = Place("a"), Place("b"), Place("c")


def test_the_first_page_has_no_previous_one() -> None:
    assert neighbours(PageRequest(2), [A, B], more=True) == (B.at(Side.AFTER), None)
    assert neighbours(PageRequest(2), [A], more=False) == (None, None)


def test_a_later_page_has_a_previous_one_also_if_it_is_empty() -> None:
    behind = PageRequest(2, position=A.at(Side.AFTER))
    assert neighbours(behind, [B, C], more=True) == (C.at(Side.AFTER), B.at(Side.BEFORE))
    assert neighbours(behind, [], more=False) == (None, A.at(Side.UP_TO))


def test_a_page_that_was_read_backwards_leads_on_as_any_other() -> None:
    before = PageRequest(2, position=C.at(Side.BEFORE))
    assert neighbours(before, [A, B], more=True) == (B.at(Side.AFTER), A.at(Side.BEFORE))
    assert neighbours(before, [A, B], more=False) == (B.at(Side.AFTER), None)
    assert neighbours(before, [], more=False) == (C.at(Side.FROM), None)


def test_a_page_that_ended_before_its_time_goes_on_from_the_last_place_looked_at() -> None:
    assert neighbours(PageRequest(2), [A], more=True, seen=C) == (C.at(Side.AFTER), None)
    assert neighbours(PageRequest(2), [], more=True, seen=C) == (C.at(Side.AFTER), None)
    backwards = PageRequest(2, position=C.at(Side.BEFORE))
    assert neighbours(backwards, [], more=True, seen=A) == (C.at(Side.FROM), A.at(Side.BEFORE))


class CaseInsensitive:
    """A collation that everybody can check."""

    async def check(self, collation: Collation) -> None:
        pass

    async def ranks(self, texts: Collection[str], collation: Collation) -> dict[str, int]:
        folded = sorted({text.casefold() for text in texts})
        return {text: folded.index(text.casefold()) for text in texts}


WORTH = st.one_of(st.none(), st.integers(0, 3), st.sampled_from(["a", "A", "b", "B", "c"]), st.booleans())


def thing(number: int, values: tuple[object, object]) -> Entity:
    attributes = {
        key: [{"type": "Property", "value": value}]
        for key, value in zip("xy", values, strict=True)
        if value is not None
    }
    return {"_id": f"{number:03}", "attributes": attributes}


def sorting_key(ordering: Ordering, one: Entity) -> tuple[list[tuple[int, float]], str]:
    row: list[tuple[int, float]] = []
    for (kind, value), term in zip(ordering.values(one), ordering.terms, strict=True):
        number = ord(value.casefold()) if isinstance(value, str) else value or 0
        row.append((kind, -number if term.descending else number))
    return row, one["_id"]


@given(
    worth=st.lists(st.tuples(WORTH, WORTH), max_size=30),
    directions=st.tuples(st.booleans(), st.booleans()),
    limit=st.integers(1, 8),
    size=st.integers(1, 7),
)
def test_pages_of_any_order_forwards_and_backwards_make_up_the_sorted_list(
    worth: list[tuple[object, object]], directions: tuple[bool, bool], limit: int, size: int
) -> None:
    ordering = Ordering(tuple(OrderTerm(Path((key,)), down) for key, down in zip("xy", directions, strict=True)))
    entities = [thing(number, pair) for number, pair in enumerate(worth)]

    async def batches() -> AsyncIterator[list[Entity]]:
        for start in range(0, len(entities), size):
            yield entities[start : start + size]

    def page(position: Position | None) -> list[Place]:
        return asyncio.run(first_places(batches(), ordering, CaseInsensitive(), position, limit))

    expected = [one["_id"] for one in sorted(entities, key=lambda one: sorting_key(ordering, one))]
    found: list[Place] = []
    position: Position | None = None
    while places := page(position):
        found += places
        position = places[-1].at(Side.AFTER)
    assert [place.entity_id for place in found] == expected
    if found:
        back = [found[-1]]
        while places := page(back[-1].at(Side.BEFORE)):
            back += places
        assert [place.entity_id for place in reversed(back)] == expected
        assert page(found[0].at(Side.FROM)) == found[:limit]
        assert page(found[0].at(Side.UP_TO)) == [found[0]]
