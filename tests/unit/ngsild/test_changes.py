"""Mutations leave what they are given as it was and share what they do not change; a Change tells what did change."""

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.ngsild.attribute_mutations import DeleteAttribute, PartialUpdate, ReplaceAttribute
from broker.ngsild.attributes import Nulls, read_instance
from broker.ngsild.changes import Change
from broker.ngsild.errors import NgsiLdError
from broker.ngsild.fragments import read_attribute_fragment, read_entity, read_fragment
from broker.ngsild.model import Entity
from broker.ngsild.mutations import (
    AppendAttributes,
    CreateEntity,
    DeleteEntity,
    Mutation,
    ReplaceEntity,
    UpdateAttributes,
    UpsertEntity,
)
from tests.unit.ngsild.samples import EARLIER, ID, NOW, NULL, core, entity
from tests.unit.ngsild.strategies import NAMES, SCOPES, TYPES, URIS, attributes, entities, instances

FRAGMENTS = st.tuples(
    st.dictionaries(NAMES, st.one_of(attributes(1), st.just(NULL)), max_size=3),
    st.fixed_dictionaries({}, optional={"type": TYPES, "scope": st.one_of(SCOPES, st.just(NULL))}),
).map(lambda parts: {**parts[0], **parts[1]})
ATTRIBUTE_KEYS = NAMES.map(lambda name: core().key(name))


def _update(document: dict[str, Any], overwrite: bool) -> Mutation:
    fragment = read_fragment(document, core(), nulls=Nulls.MEMBERS)
    return AppendAttributes(ID, fragment, False) if not overwrite else UpdateAttributes(ID, fragment)


def _upsert(document: dict[str, Any], update: bool) -> Mutation:
    return UpsertEntity(read_entity(document, core()), update)


MUTATIONS: st.SearchStrategy[Mutation] = st.one_of(
    st.builds(_update, FRAGMENTS, st.booleans()),
    st.builds(_upsert, entities(), st.booleans()),
    entities().map(lambda document: ReplaceEntity(ID, read_fragment(document, core()))),
    st.builds(
        lambda key, document: PartialUpdate(ID, key, read_attribute_fragment(document, core())),
        ATTRIBUTE_KEYS,
        instances(1),
    ),
    st.builds(lambda key, raw: ReplaceAttribute(ID, key, read_instance(raw, core())), ATTRIBUTE_KEYS, instances(1)),
    st.builds(DeleteAttribute, st.just(ID), ATTRIBUTE_KEYS, st.one_of(st.none(), URIS), st.booleans()),
    st.just(DeleteEntity(ID)),
)


def brute_force(before: Entity | None, after: Entity | None) -> set[str]:
    """The attributes that differ in any way, times of modification included."""
    old = before["attributes"] if before is not None else {}
    new = after["attributes"] if after is not None else {}
    return {key for key in {*old, *new} if repr(old.get(key)) != repr(new.get(key))}


def change(before: Entity | None, after: Entity | None) -> Change:
    return Change("", ID, before, after, NOW)


@settings(max_examples=120)
@given(entities(), MUTATIONS)
def test_a_mutation_modifies_nothing_and_its_change_tells_what_it_changed(
    document: dict[str, Any], mutation: Mutation
) -> None:
    before, _ = CreateEntity(read_entity(document, core()))(None, EARLIER)
    kept, kept_mutation = copy.deepcopy(before), copy.deepcopy(mutation)
    try:
        after, _outcome = mutation(before, NOW)
    except NgsiLdError:
        after = before
    assert repr(before) == repr(kept)
    assert repr(mutation) == repr(kept_mutation)
    found = change(before, after).attributes
    assert len(found) == len(set(found))
    assert set(found) == brute_force(before, after)


@given(entities(), st.lists(MUTATIONS, max_size=4))
def test_a_mutation_gives_the_same_result_each_time(document: dict[str, Any], mutations: list[Mutation]) -> None:
    def run() -> Entity | None:
        current: Entity | None
        current, _ = CreateEntity(read_entity(document, core()))(None, EARLIER)
        for mutation in mutations:
            try:
                current, _outcome = mutation(current, NOW)
            except NgsiLdError:
                continue
        return current

    assert repr(run()) == repr(run())


def test_a_creation_and_a_deletion_change_all_attributes() -> None:
    stored = entity(a=1, b=2)
    keys = set(stored["attributes"])
    assert set(change(None, stored).attributes) == keys
    assert set(change(stored, None).attributes) == keys
    assert change(None, None).attributes == ()
    assert change(stored, stored).attributes == ()


def test_a_change_of_the_scope_alone_changes_no_attribute() -> None:
    before = entity(a=1, scope="/a")
    after, _ = DeleteAttribute(ID, None)(before, NOW)
    assert change(before, after).attributes == ()
