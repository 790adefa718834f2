"""Projections: the members to be shown, with those of linked entities in braces (clause 4.21)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ngsild.errors import BadRequestData, TooComplexQuery
from broker.ngsild.projections import Projection, parse_projection


def nested(**members: Projection | None) -> Projection:
    return Projection(members)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name", nested(name=None)),
        ("id,name|type", nested(id=None, name=None, type=None)),
        (" id , name ", nested(id=None, name=None)),
        ("at{name}", nested(at=nested(name=None))),
        ("id,at{name|owner{age}},x", nested(id=None, at=nested(name=None, owner=nested(age=None)), x=None)),
        ("at{a},at{b}", nested(at=nested(a=None, b=None))),
        ("at,at{b}", nested(at=nested(b=None))),
    ],
)
def test_names_stand_in_lists_and_those_of_linked_entities_in_braces(text: str, expected: Projection) -> None:
    assert parse_projection(text, "pick") == expected


def test_prefixed_names_and_iris_are_names() -> None:
    iri = "https://example.org/a.b#c"
    assert list(parse_projection(f"{iri},ex:name,a-b.c", "pick")) == [iri, "ex:name", "a-b.c"]


@pytest.mark.parametrize(
    ("text", "place", "found"),
    [
        ("id;name", 3, "';name'"), ("id,at{name", 11, "the end"), ("id,at{{name}", 7, "'{name}'"),
        ("id,,name", 4, "',name'"), ("at{,name}", 4, "',name}'"), ("at{}", 4, "'}'"), ("a}", 2, "'}'"),
        ("", 1, "the end"), ("name,", 6, "the end"), ("1a", 1, "'1a'"), ("a b", 3, "'b'"), ("a{b}c", 5, "'c'"),
    ],
)  # fmt: skip
def test_an_error_tells_the_place_and_what_was_found_there(text: str, place: int, found: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        parse_projection(text, "omit")
    assert caught.value.detail.startswith(f"omit is invalid at character {place}: found {found}, expected ")


def test_the_depth_is_the_number_of_relationships_in_a_row() -> None:
    projection = parse_projection("a,b{c{d},e},f{g}", "pick")
    assert projection.depth == 2
    projection.check_depth(2, "pick")
    with pytest.raises(BadRequestData, match="joinLevel=2"):
        projection.check_depth(1, "pick")
    with pytest.raises(BadRequestData, match="linked entities are not retrieved"):
        projection.check_depth(0, "pick")


def test_the_length_and_the_depth_are_bounded() -> None:
    with pytest.raises(TooComplexQuery):
        parse_projection("a{" * 30 + "b" + "}" * 30, "pick")
    with pytest.raises(TooComplexQuery):
        parse_projection(",".join(["name"] * 5_000), "pick")


@given(st.text("ab,|{} ;.", max_size=30))
def test_any_text_is_a_projection_or_bad_request_data(text: str) -> None:
    try:
        found = parse_projection(text, "pick")
    except BadRequestData:
        return
    assert found
    assert parse_projection(text.replace("|", ","), "pick") == found
