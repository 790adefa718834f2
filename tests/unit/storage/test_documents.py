"""Documents of entities: what can be told of them without decoding, and that the rest is as it was."""

from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ngsild.fragments import read_entity
from broker.ngsild.model import Entity
from broker.ngsild.mutations import CreateEntity
from broker.ngsild.timestamps import now_text
from broker.storage.documents import StoredEntity, as_document, as_entity
from tests.unit.ngsild.samples import EARLIER, ID, NOW, core, entity
from tests.unit.ngsild.strategies import entities

VERSION = 1_763_000_000_000_000
PAST, FUTURE = "2001-01-01T00:00:00Z", "2199-01-01T00:00:00Z"


def versioned(one: Entity, version: int = VERSION) -> Entity:
    return {**one, "version": version, "writers": {"p": 1}}


def stored(one: Entity) -> StoredEntity:
    return StoredEntity(bson.encode(as_document(one)))


@given(document=entities(), version=st.integers(2**31, 2**62))
def test_id_and_version_are_known_before_the_rest_is_decoded(document: dict[str, Any], version: int) -> None:
    created, _ = CreateEntity(read_entity(document, core()))(None, EARLIER)
    one = versioned(created, version)
    found = stored(one)
    assert (found.entity_id, found.version) == (one["_id"], version)
    assert found._entity is None
    assert repr(found.entity) == repr(as_entity(as_document(one)))


@pytest.mark.parametrize("version", [1, 2**31 - 1])
def test_a_version_of_32_bits_is_known_too(version: int) -> None:
    assert stored(versioned(entity(a=1), version)).version == version


def test_a_document_with_its_members_in_another_order_is_understood() -> None:
    document = as_document(versioned(entity(a=1)))
    state = document["state"][0]
    late = {"_id": ID, "state": [{**{name: state[name] for name in state if name != "version"}, "version": VERSION}]}
    found = StoredEntity(bson.encode(late))
    assert (found.entity_id, found.version) == (ID, VERSION)


def test_text_of_a_client_that_looks_like_a_version_is_none() -> None:
    trap = {"\x12version": 7, "state": "\x12version"}
    assert stored(versioned(entity(a={"type": "JsonProperty", "json": trap}))).version == VERSION


@pytest.mark.parametrize(
    ("members", "transient"),
    [({"a": 1}, False), ({"a": 1, "expiresAt": FUTURE}, True)],
)
def test_what_expires_is_transient(members: dict[str, Any], transient: bool) -> None:
    assert stored(versioned(entity(members))).transient is transient


def test_an_entity_whose_attributes_carry_the_mark_is_transient() -> None:
    assert stored({**versioned(entity(a=1)), "attributesExpire": now_text()}).transient


def test_what_has_expired_is_not_visible() -> None:
    assert stored(versioned(entity(a=1, expiresAt=PAST))).visible(NOW) is None
    alive = stored(versioned(entity(a=1, expiresAt=FUTURE)))
    assert alive.visible(NOW) is alive.entity
