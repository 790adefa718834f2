"""Shapes: what an entity consists of, and how cheaply an update of values is told from a change of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ngsild.attributes import Nulls
from broker.ngsild.fragments import read_fragment
from broker.ngsild.model import Entity
from broker.ngsild.mutations import UpdateAttributes
from broker.ngsild.shapes import difference, shape_of
from tests.unit.ngsild.samples import core

KINDS = st.sampled_from(["Property", "Relationship", "GeoProperty"])
INSTANCES = st.lists(KINDS, min_size=1, max_size=3).map(lambda kinds: [{"type": kind, "value": 1} for kind in kinds])
ENTITIES = st.builds(
    lambda types, attributes: {"_id": "urn:e", "types": types, "attributes": attributes},
    st.lists(st.sampled_from("AB"), min_size=1, max_size=2, unique=True),
    st.dictionaries(st.sampled_from("xyz"), INSTANCES),
)


def entity(*types: str, **attributes: list[dict[str, Any]]) -> Entity:
    return {"_id": "urn:e", "types": list(types), "attributes": attributes}


PROPERTY, RELATIONSHIP = {"type": "Property", "value": 1}, {"type": "Relationship", "object": "urn:o"}
BEFORE = entity("A", x=[PROPERTY])


@pytest.mark.parametrize(
    "after",
    [
        entity("A", x=[{**PROPERTY, "value": 2}]),
        entity("A", x=[{**PROPERTY, "attributes": {"unit": [PROPERTY]}}]),
        {**BEFORE, "scopes": ["/S"]},
    ],
    ids=["value", "sub-attribute", "scope"],
)
def test_a_change_of_values_makes_no_difference(after: Entity) -> None:
    assert difference(BEFORE, after) is None


@pytest.mark.parametrize(
    "after",
    [
        None,
        entity("A"),
        entity("B", x=[PROPERTY]),
        entity("A", "B", x=[PROPERTY]),
        entity("A", y=[PROPERTY]),
        entity("A", x=[PROPERTY], y=[PROPERTY]),
        entity("A", x=[RELATIONSHIP]),
        entity("A", x=[PROPERTY, {**PROPERTY, "datasetId": "urn:d"}]),
    ],
    ids=["deletion", "no attribute", "type", "another type", "renamed", "added", "attribute type", "instance"],
)
def test_a_change_of_what_an_entity_consists_of_makes_one(after: Entity | None) -> None:
    assert difference(BEFORE, after) == (shape_of(BEFORE), None if after is None else shape_of(after))
    assert difference(after, BEFORE) == (None if after is None else shape_of(after), shape_of(BEFORE))


def test_the_order_of_attributes_and_instances_makes_none_but_the_first_type_does() -> None:
    both = [PROPERTY, {**RELATIONSHIP, "datasetId": "urn:d"}]

    assert difference(entity("A", x=both, y=both), entity("A", y=both, x=both[::-1])) is None
    assert difference(entity("A", "B"), entity("B", "A")) is not None


def test_what_an_update_of_a_value_leaves_alone_is_not_looked_at() -> None:
    class Unread(list[Any]):
        def __getitem__(self, _index: Any) -> Any:
            raise AssertionError("looked at")

    names = core().key("temperature"), core().key("other")
    before = entity("A", **{names[0]: [{**PROPERTY, "createdAt": "", "modifiedAt": ""}], names[1]: Unread([PROPERTY])})
    update = UpdateAttributes("urn:e", read_fragment({"temperature": 5}, core(), nulls=Nulls.MEMBERS))
    after, _ = update(before, "2026-01-31T12:00:00.000000Z")

    assert after is not before
    assert difference(before, after) is None


@given(ENTITIES, ENTITIES)
def test_there_is_a_difference_just_when_the_shapes_differ(before: Entity, after: Entity) -> None:
    assert (difference(before, after) is None) == (shape_of(before) == shape_of(after))
