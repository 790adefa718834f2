"""join, joinLevel, containedBy: what they ask for, and which values make no sense."""

import pytest

from broker.ngsild.errors import BadRequestData, NgsiLdError, TooComplexQuery
from broker.ngsild.linking import JoinForm, Joining
from broker.web.parameters import Presentation, Query, read_presentation


def presentation(**values: str) -> Presentation:
    return read_presentation(Query(values.items()), set())


@pytest.mark.parametrize(
    ("values", "joining"),
    [
        ({}, None),
        ({"join": "@none"}, None),
        ({"join": "@none", "joinLevel": "2", "containedBy": "urn:a:b"}, None),
        ({"joinLevel": "2"}, None),
        ({"join": "flat"}, Joining(JoinForm.FLAT)),
        ({"join": "inline", "joinLevel": "10"}, Joining(JoinForm.INLINE, 10)),
        (
            {"join": "inline", "containedBy": "urn:a:b,urn:a:c"},
            Joining(JoinForm.INLINE, 1, frozenset({"urn:a:b", "urn:a:c"})),
        ),
    ],
)
def test_linked_entities_are_retrieved_as_the_parameters_say(values: dict[str, str], joining: Joining | None) -> None:
    assert presentation(**values).joining == joining


@pytest.mark.parametrize(
    ("values", "error", "said"),
    [
        ({"join": "nested"}, BadRequestData, "expected one of @none, inline, flat"),
        ({"join": "flat", "joinLevel": "0"}, BadRequestData, "joinLevel is 0"),
        ({"join": "flat", "joinLevel": "-1"}, BadRequestData, "expected a whole number"),
        ({"join": "flat", "joinLevel": "two"}, BadRequestData, "expected a whole number"),
        ({"join": "flat", "joinLevel": "11"}, TooComplexQuery, "at most 10"),
        ({"join": "flat", "containedBy": "Paris"}, BadRequestData, "containedBy"),
        ({"pick": "a{b}"}, BadRequestData, "pick is too deep"),
        ({"omit": "a{b}", "join": "@none"}, BadRequestData, "omit is too deep"),
        ({"pick": "a{b{c}}", "join": "flat"}, BadRequestData, "joinLevel=2 at least"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, str], error: type[NgsiLdError], said: str) -> None:
    with pytest.raises(error, match=said):
        presentation(**values)


def test_a_projection_goes_as_deep_as_linked_entities_are_retrieved() -> None:
    assert presentation(pick="a{b{c}}", join="inline", joinLevel="2").pick.depth == 2


def test_what_is_picked_can_be_omitted_inside_of_linked_entities() -> None:
    assert presentation(pick="a", omit="a{b}", join="inline").omit.depth == 1
    with pytest.raises(BadRequestData, match="both name 'a'"):
        presentation(pick="a{b}", omit="a", join="inline")
