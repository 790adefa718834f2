"""What a client sends comes back: over random entities of all attribute types, in all three representations.

What an answer must hold is worked out by `tests/representations.py`, from the clauses and without Vela.
"""

import copy
from typing import Any

import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from broker.ngsild.fragments import read_entity
from broker.ngsild.model import Entity
from broker.ngsild.mutations import CreateEntity
from broker.ngsild.representations import Format, render_entity
from tests.representations import attributes_of, exactly, instances_of, read_as_instances, shown, without_timestamps
from tests.unit.ngsild.samples import EARLIER, core
from tests.unit.ngsild.strategies import entities, spelled


def create(document: dict[str, Any]) -> Entity:
    created, _ = CreateEntity(read_entity(document, core()))(None, EARLIER)
    return created


@settings(max_examples=120)
@given(entities())
def test_the_normalised_form_comes_back_equal(document: dict[str, Any]) -> None:
    sent = copy.deepcopy(document)
    stored = create(document)
    assert exactly(document) == exactly(sent)
    assert exactly(render_entity(stored, core())) == exactly(shown(sent, "normalized"))


@pytest.mark.parametrize("form", Format)
@given(entities())
def test_every_form_is_as_the_clauses_say(form: Format, document: dict[str, Any]) -> None:
    stored = create(document)
    assert exactly(render_entity(stored, core(), form)) == exactly(shown(document, form))
    with_system = render_entity(stored, core(), form, sys_attrs=True)
    assert exactly(without_timestamps(with_system, form)) == exactly(shown(document, form, system=True))


@settings(max_examples=120)
@given(entities(), st.data())
def test_however_an_entity_is_written_it_is_the_same(document: dict[str, Any], data: st.DataObject) -> None:
    other = data.draw(spelled(document))
    assert exactly(create(other)) == exactly(create(document))


@pytest.mark.parametrize("form", [Format.NORMALIZED, Format.CONCISE])
@given(entities())
def test_the_lossless_forms_are_read_as_the_same_entity(form: Format, document: dict[str, Any]) -> None:
    stored = create(document)
    assert exactly(create(render_entity(stored, core(), form, sys_attrs=True))) == exactly(stored)


@given(entities())
def test_the_simplified_form_comes_back_equal(document: dict[str, Any]) -> None:
    for raw in attributes_of(document).values():
        values = [one.get("value", one.get("valueList")) for one in instances_of(raw)]
        assume(not any(read_as_instances(value) for value in values))
    sent = shown(document, "simplified")
    assert exactly(render_entity(create(sent), core(), Format.SIMPLIFIED)) == exactly(sent)


@given(entities())
def test_the_stored_form_survives_its_json_text(document: dict[str, Any]) -> None:
    stored = create(document)
    assert exactly(orjson.loads(orjson.dumps(stored))) == exactly(stored)


@given(entities(), st.data())
def test_the_order_of_members_does_not_matter(document: dict[str, Any], data: st.DataObject) -> None:
    shuffled = dict(data.draw(st.permutations(list(document.items()))))
    assert exactly(create(shuffled)) == exactly(create(document))
