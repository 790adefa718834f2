"""What a client sends comes back: over random entities of all attribute types, in all three representations."""

import copy
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.ngsild.fragments import read_entity
from broker.ngsild.model import VALUE_MEMBERS, Entity
from broker.ngsild.mutations import CreateEntity
from broker.ngsild.representations import Format, render_entity
from tests.unit.ngsild.samples import EARLIER, core
from tests.unit.ngsild.strategies import TIMESTAMPS, entities

_WRAPPED = {"LanguageProperty": "languageMap", "VocabProperty": "vocab", "JsonProperty": "json"}
_SYSTEM = {"createdAt", "modifiedAt"}


def create(document: dict[str, Any]) -> Entity:
    created, _ = CreateEntity(read_entity(document, core()))(None, EARLIER)
    return created


def simplified(raw: Any) -> Any:
    """The simplified form of a normalised attribute, as clause 4.5.4 describes it."""
    if isinstance(raw, list) or "datasetId" in raw:
        instances = raw if isinstance(raw, list) else [raw]
        return {"dataset": {one.get("datasetId", "@none"): _simplified_instance(one) for one in instances}}
    return _simplified_instance(raw)


def _simplified_instance(raw: dict[str, Any]) -> Any:
    kind = raw["type"]
    value = raw[VALUE_MEMBERS[kind]]
    if kind == "ListRelationship":
        return [item["object"] for item in value]
    return {_WRAPPED[kind]: value} if kind in _WRAPPED else value


def exactly(value: Any) -> Any:
    """`value` in a shape in which 1, 1.0 and true differ, and the order of members does not matter."""
    if isinstance(value, dict):
        return {name: exactly(item) for name, item in value.items()}
    if isinstance(value, list):
        return [exactly(item) for item in value]
    return type(value).__name__, repr(value)


@settings(max_examples=120)
@given(entities())
def test_the_normalised_form_comes_back_equal(document: dict[str, Any]) -> None:
    sent = copy.deepcopy(document)
    stored = create(document)
    assert exactly(document) == exactly(sent)
    assert exactly(render_entity(stored, core())) == exactly(sent)


@settings(max_examples=120)
@given(entities())
def test_the_concise_form_is_read_as_the_same_entity(document: dict[str, Any]) -> None:
    stored = create(document)
    concise = render_entity(stored, core(), Format.CONCISE)
    assert exactly(create(concise)) == exactly(stored)


@given(entities())
def test_the_simplified_form_has_the_values(document: dict[str, Any]) -> None:
    found = render_entity(create(document), core(), Format.SIMPLIFIED)
    head = {name: document[name] for name in ("id", "type", "scope") if name in document}
    attributes = {name: simplified(raw) for name, raw in document.items() if name not in head}
    assert exactly(found) == exactly({**head, **attributes})


@given(entities())
def test_the_stored_form_survives_its_json_text(document: dict[str, Any]) -> None:
    stored = create(document)
    assert exactly(orjson.loads(orjson.dumps(stored))) == exactly(stored)


@given(entities(), TIMESTAMPS)
def test_with_system_attributes_an_entity_is_read_as_the_same_again(document: dict[str, Any], expiry: str) -> None:
    stored = create({**document, "expiresAt": expiry})
    for form in (Format.NORMALIZED, Format.CONCISE):
        assert exactly(create(render_entity(stored, core(), form, sys_attrs=True))) == exactly(stored)


@given(entities(), st.data())
def test_the_order_of_members_does_not_matter(document: dict[str, Any], data: st.DataObject) -> None:
    shuffled = dict(data.draw(st.permutations(list(document.items()))))
    assert exactly(create(shuffled)) == exactly(create(document))
