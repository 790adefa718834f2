from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from broker.ngsild.changes import Change
from broker.ngsild.errors import TooComplexQuery
from broker.ngsild.model import Entity
from broker.notify.matching import (
    ATTRIBUTE_CREATED,
    ATTRIBUTE_DELETED,
    ATTRIBUTE_UPDATED,
    ENTITY_CREATED,
    ENTITY_DELETED,
    TRIGGERS,
    Condition,
    ConditionIndex,
    Events,
    Selector,
    same,
)
from broker.notify.subscription import Subscription
from tests.unit.notify.samples import changed, entity, prop, subscription, updated

BEFORE = entity(a=1, b=2)
DATASET = "urn:d:1"


def fires(condition: Condition, change: Change) -> bool:
    return subscription(condition).fires(change, Events(change))


def triggered(*names: str, **members: Any) -> Condition:
    bits = 0
    for name in names:
        bits |= TRIGGERS[name]
    return Condition(triggers=bits, **members)


CREATION = changed(None, BEFORE)
DELETION = changed(BEFORE, None)
UPDATE = updated(BEFORE, a=3)
ADDITION = updated(BEFORE, c=3)
REMOVAL = updated(BEFORE, a=None)


@pytest.mark.parametrize(
    ("trigger", "heard"),
    [
        ("entityCreated", [CREATION]),
        ("entityDeleted", [DELETION]),
        ("attributeCreated", [CREATION, ADDITION]),
        ("attributeUpdated", [UPDATE]),
        ("attributeDeleted", [DELETION, REMOVAL]),
        ("entityUpdated", [CREATION, DELETION, UPDATE, ADDITION, REMOVAL]),
    ],
)
def test_each_trigger_hears_its_kind_of_change(trigger: str, heard: Sequence[Change]) -> None:
    everything = [CREATION, DELETION, UPDATE, ADDITION, REMOVAL]
    assert [change for change in everything if fires(triggered(trigger), change)] == [
        change for change in everything if change in heard
    ]


def test_by_default_creations_and_updates_of_attributes_are_heard_but_no_deletions() -> None:
    assert [fires(Condition(), change) for change in (CREATION, UPDATE, ADDITION, REMOVAL, DELETION)] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_only_watched_attributes_count() -> None:
    watched = Condition(watched=frozenset({"urn:b"}))
    assert not fires(watched, UPDATE)
    assert fires(watched, updated(BEFORE, b=3))
    assert fires(watched, CREATION)


def test_an_entity_without_a_watched_attribute_is_not_heard_of_even_when_it_is_created_or_deleted() -> None:
    watched = triggered("entityCreated", "entityDeleted", watched=frozenset({"urn:z"}))
    assert not fires(watched, CREATION)
    assert not fires(watched, DELETION)


def test_an_attribute_that_is_written_with_the_value_it_has_did_not_change() -> None:
    again = updated(BEFORE, a=[prop(1) | {"modifiedAt": "2026-02-01T00:00:00Z"}])
    assert not fires(Condition(), again)


def test_a_new_timestamp_of_an_observation_is_a_change() -> None:
    assert fires(Condition(), updated(BEFORE, a=[prop(1, observedAt="2026-02-01T00:00:00Z")]))


def test_a_changed_sub_attribute_changes_its_attribute() -> None:
    before = entity(a=[prop(1, attributes={"urn:accuracy": [prop(5)]})])
    assert fires(Condition(), updated(before, a=[prop(1, attributes={"urn:accuracy": [prop(6)]})]))
    assert not fires(Condition(), updated(before, a=[prop(1, attributes={"urn:accuracy": [prop(5)]})]))


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (0, False), ({"x": 1}, {"x": True}), ([1], [1, 1])])
def test_values_that_differ_in_json_differ(one: Any, other: Any) -> None:
    assert not same(prop(one), prop(other))


def test_an_instance_with_another_dataset_is_created_and_deleted_on_its_own() -> None:
    before = entity(a=[prop(1)])
    both = [before["attributes"]["urn:a"][0], prop(2, datasetId=DATASET)]
    added = updated(before, a=both)
    assert fires(triggered("attributeCreated"), added)
    assert not fires(triggered("attributeUpdated", "attributeDeleted"), added)
    assert added.after is not None
    removed = updated(added.after, a=both[:1])
    assert fires(triggered("attributeDeleted"), removed)
    assert not fires(triggered("attributeCreated", "attributeUpdated"), removed)


def test_entities_are_selected_by_type_id_and_pattern() -> None:
    def selects(**members: Any) -> bool:
        return Selector(**members).selects(BEFORE)

    conjunction = (frozenset({"urn:T", "urn:U"}),)
    assert selects(types=(frozenset({"urn:X"}), frozenset({"urn:T"})))
    assert not selects(types=conjunction)
    assert Selector(types=conjunction).selects(entity(types=["urn:U", "urn:T"]))
    assert selects(ids=frozenset({"urn:e:1"}))
    assert not selects(ids=frozenset({"urn:e:1"}), types=(frozenset({"urn:X"}),))
    assert selects(pattern=lambda text: text.endswith(":1"))
    assert not selects(pattern=lambda _: None)
    assert selects(ids=frozenset({"urn:e:1"}), pattern=lambda _: None), "an id takes precedence over a pattern"


def test_predicates_see_the_entity_after_the_change_and_before_a_deletion() -> None:
    large = Condition(triggers=31, predicates=(lambda one: one["attributes"]["urn:a"][0]["value"] > 2,))
    assert fires(large, updated(BEFORE, a=3))
    assert not fires(large, CREATION)
    assert fires(large, changed(entity(a=9), None))


def test_a_subscription_that_takes_too_long_to_compare_does_not_fire_and_refuses_no_update() -> None:
    def too_long(_entity: Entity) -> bool:
        raise TooComplexQuery("The pattern takes too long.")

    with capture_logs() as logged:
        assert not fires(Condition(triggers=31, predicates=(too_long,)), CREATION)
        assert not fires(Condition((Selector(pattern=too_long),), triggers=31), CREATION)
    assert [one["reason"] for one in logged] == ["The pattern takes too long."] * 2


def test_an_expired_subscription_does_not_fire() -> None:
    one = subscription(expires=0)
    assert not one.fires(UPDATE, Events(UPDATE))


TYPES = st.sampled_from(["urn:T", "urn:U", "urn:V"])
IDS = st.sampled_from(["urn:e:1", "urn:e:2", "urn:f:1"])
NAMES = st.sampled_from(["a", "b", "c"])
SELECTORS = st.builds(
    Selector,
    types=st.none() | st.lists(st.frozensets(TYPES, min_size=1), min_size=1, max_size=2).map(tuple),
    ids=st.none() | st.frozensets(IDS, min_size=1),
    pattern=st.none() | st.sampled_from(["e", "1"]).map(lambda part: lambda text: part in text),
)
CONDITIONS = st.builds(
    Condition,
    selectors=st.lists(SELECTORS, max_size=2).map(tuple),
    watched=st.none() | st.frozensets(NAMES.map("urn:{}".format), min_size=1),
    triggers=st.integers(1, 31),
    predicates=st.just(()),
)
ATTRIBUTES = st.dictionaries(NAMES, st.integers(0, 2))
ENTITIES = st.builds(
    lambda entity_id, types, attributes: entity(entity_id, types, **attributes),
    IDS, st.lists(TYPES, min_size=1, unique=True), ATTRIBUTES,
)  # fmt: skip


@st.composite
def changes(draw: st.DrawFn) -> Change:
    one = draw(ENTITIES)
    kind = draw(st.sampled_from(["create", "delete", "update"]))
    if kind == "create":
        return changed(None, one)
    if kind == "delete":
        return changed(one, None)
    after = {**one, "attributes": dict(one["attributes"])}
    for name, value in draw(st.dictionaries(NAMES, st.none() | st.integers(0, 2))).items():
        if value is None:
            after["attributes"].pop(f"urn:{name}", None)
        else:
            after["attributes"][f"urn:{name}"] = [prop(value)]
    return changed(one, after)


@given(st.lists(CONDITIONS, max_size=12), st.lists(st.booleans(), min_size=12, max_size=12), changes())
def test_the_index_finds_exactly_those_that_fire(conditions: list[Condition], kept: list[bool], change: Change) -> None:
    index: ConditionIndex[Subscription] = ConditionIndex()
    subscriptions = [subscription(condition) for condition in conditions]
    for one in subscriptions:
        index.add(one)
    for one, stays in zip(subscriptions, kept, strict=False):
        if not stays:
            index.remove(one)
    events = Events(change)
    remaining = [one for one, stays in zip(subscriptions, kept, strict=False) if stays]
    found = [one for one in index.candidates(change) if one.fires(change, events)]
    assert len(found) == len(set(found))
    assert set(found) == {one for one in remaining if one.fires(change, events)}
    assert bool(index) == bool(remaining)


def test_ten_thousand_others_are_not_looked_at() -> None:
    index: ConditionIndex[Subscription] = ConditionIndex()
    for number in range(10_000):
        selectors = [
            Selector(types=(frozenset({f"urn:T{number}"}),)),
            Selector(types=(frozenset({"urn:T"}),), ids=frozenset({f"urn:e:{number + 10}"})),
        ]
        index.add(subscription(Condition(selectors=(selectors[number % 2],))))
        index.add(
            subscription(
                Condition(selectors=(Selector(types=(frozenset({"urn:T"}),)),), watched=frozenset({f"urn:x{number}"}))
            )
        )
    assert list(index.candidates(UPDATE)) == []


def test_the_bits_of_the_triggers_are_distinct() -> None:
    bits = [ATTRIBUTE_CREATED, ATTRIBUTE_UPDATED, ATTRIBUTE_DELETED, ENTITY_CREATED, ENTITY_DELETED]
    assert sum(bits) == 31
