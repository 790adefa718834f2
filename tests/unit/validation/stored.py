"""Stored entities and data models for the tests of this folder."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from broker.bundled import bundled
from broker.ngsild.changes import Change
from broker.ngsild.model import DEFAULT_VOCABULARY, Attributes, Entity, Instance, encode_key
from broker.validation.compiling import compile_definition
from broker.validation.definitions import Definition
from broker.validation.importing.reading import read_models
from broker.validation.models import Model

NOW = "2026-01-31T12:00:00.000000Z"
LATER = "2026-01-31T12:00:01.000000Z"
CAR_PARK = "https://smartdatamodels.org/dataModel.Parking/OffStreetParking"

MODELS = bundled("datamodels")


def read_json(file: Path) -> Any:
    return json.loads(file.read_bytes())


@cache
def definitions() -> dict[str, Definition]:
    """The definitions that come with Vela, by type IRI."""
    tree = {file.relative_to(MODELS).as_posix(): file.read_bytes() for file in MODELS.rglob("*") if file.is_file()}
    return {definition.iri: definition for definition in read_models(tree, source="", version="")}


@cache
def shipped(iri: str = CAR_PARK) -> Model:
    """The data model of a type that comes with Vela."""
    return compile_definition(definitions()[iri])


def model(schema: dict[str, Any], *, zone_tolerant: bool = False, **members: Any) -> Model:
    """A data model of the type Thing with `schema`, and further members of its definition."""
    iri = DEFAULT_VOCABULARY + "Thing"
    return compile_definition(Definition(iri=iri, name="Thing", schema=schema, **members), zone_tolerant=zone_tolerant)


def key(name: str) -> str:
    """The attribute key of a name in the data model of car parks."""
    return shipped().key_of(name)


def prop(value: Any, **members: Any) -> Instance:
    return {"type": "Property", "value": value, "createdAt": NOW, "modifiedAt": NOW, **members}


def relationship(target: Any, **members: Any) -> Instance:
    return {"type": "Relationship", "object": target, "createdAt": NOW, "modifiedAt": NOW, **members}


def texts(**languages: Any) -> Instance:
    return {"type": "LanguageProperty", "languageMap": languages, "createdAt": NOW, "modifiedAt": NOW}


def stored(document: Mapping[str, Any], iri: str = CAR_PARK) -> Entity:
    """The stored form of a simplified entity, its names expanded as the data model of the type does.

    All are Properties that were observed, whatever the model would like them to be.
    """
    attributes: Attributes = {}
    for name, value in document.items():
        if name in ("id", "type", "@context"):
            continue
        attributes[shipped(iri).key_of(name)] = [prop(value, observedAt=NOW)]
    return entity(attributes, document["id"], [iri])


def entity(
    attributes: Attributes, entity_id: str = "urn:ngsi-ld:OffStreetParking:1", types: list[str] | None = None
) -> Entity:
    return {
        "_id": entity_id,
        "types": types or [CAR_PARK],
        "attributes": attributes,
        "createdAt": NOW,
        "modifiedAt": NOW,
        "version": 1,
        "writers": {},
    }


def thing(**values: Any) -> Entity:
    """An entity for `model`: each value as a Property, lists of instances as they are."""
    attributes = {
        encode_key(DEFAULT_VOCABULARY + name): value if isinstance(value, list) and _instances(value) else [prop(value)]
        for name, value in values.items()
    }
    return entity(attributes, "urn:ngsi-ld:Thing:1", [DEFAULT_VOCABULARY + "Thing"])


def change(after: Entity | None, before: Entity | None = None, tenant: str = "") -> Change:
    present = after if after is not None else before
    assert present is not None
    return Change(tenant, present["_id"], before, after, NOW if before is None else LATER)


def _instances(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(item, dict) and "createdAt" in item for item in value)
