"""The core @context, entities, and what else the tests of the language share."""

from functools import cache
from typing import Any

import pytest

from broker.jsonld.context import Context
from broker.jsonld.core import CORE_CONTEXT_URL
from broker.jsonld.processing import core_terms
from broker.ngsild.attributes import Nulls, read_attribute
from broker.ngsild.errors import BadRequestData
from broker.ngsild.fragments import Fragment, read_entity, read_fragment
from broker.ngsild.model import DEFAULT_VOCABULARY, NGSI_LD_NULL, Entity, Instance, encode_key
from broker.ngsild.mutations import CreateEntity

EARLIER = "2026-01-31T11:00:00.000000Z"
NOW = "2026-01-31T12:00:00.000000Z"
LATER = "2026-01-31T13:00:00.000000Z"
ID = "urn:ngsi-ld:Building:1"
DATASET = "urn:ngsi-ld:Dataset:1"
OTHER_DATASET = "urn:ngsi-ld:Dataset:2"
NULL = NGSI_LD_NULL
POINT = {"type": "Point", "coordinates": [9.7, 52.4]}


@cache
def core() -> Context:
    return Context(core_terms(), CORE_CONTEXT_URL, CORE_CONTEXT_URL)


def iri(name: str) -> str:
    """The IRI of a name that the core @context does not define."""
    return DEFAULT_VOCABULARY + name


def key(name: str) -> str:
    """The attribute key of a name that the core @context does not define."""
    return encode_key(iri(name))


def attribute(raw: Any, nulls: Nulls = Nulls.REFUSED) -> list[Instance]:
    """The stored instances of the attribute "a", whose member in the request is `raw`."""
    return read_attribute("a", raw, core(), pointer="/a", nulls=nulls)


def instance(raw: Any, nulls: Nulls = Nulls.REFUSED) -> Instance:
    """The only stored instance of the attribute "a"."""
    (only,) = attribute(raw, nulls)
    return only


def fragment(document: Any, nulls: Nulls = Nulls.MEMBERS) -> Fragment:
    return read_fragment(document, core(), nulls=nulls)


def entity(document: dict[str, Any] | None = None, now: str = EARLIER, **attributes: Any) -> Entity:
    """The stored form of a new entity with these members, its id and type given where they are missing."""
    whole = {"id": ID, "type": "Building", **(document or {}), **attributes}
    created, _ = CreateEntity(read_entity(whole, core()))(None, now)
    return created


def assert_refused(raw: Any, pointer: str, text: str = "", nulls: Nulls = Nulls.REFUSED) -> None:
    """Assert that the attribute "a" with the member `raw` is BadRequestData at `pointer`, its detail holding `text`."""
    with pytest.raises(BadRequestData) as caught:
        attribute(raw, nulls)
    assert caught.value.pointer == pointer, caught.value.detail
    assert text in caught.value.detail
