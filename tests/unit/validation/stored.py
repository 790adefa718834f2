"""Stored entities and data models for the tests of this folder."""

from functools import cache
from typing import Any

from broker.bundled import bundled
from broker.jsonld.context import Context
from broker.jsonld.processing import Part, combined_terms
from broker.ngsild.changes import Change
from broker.ngsild.model import DEFAULT_VOCABULARY, Attributes, Entity, Instance, encode_key
from broker.validation.schemas import Model, compile_model, load_models, read_context

NOW = "2026-01-31T12:00:00.000000Z"
CAR_PARK = "https://smartdatamodels.org/dataModel.Parking/OffStreetParking"


MODELS = bundled("datamodels")


@cache
def parking() -> Context:
    return read_context(MODELS / "dataModel.Parking" / "context.jsonld")


@cache
def shipped() -> dict[str, Model]:
    return load_models(MODELS)


def context(**terms: str) -> Context:
    return Context(combined_terms([Part(terms)]), "", None)


def model(schema: dict[str, Any], name: str = "Thing") -> Model:
    """A data model of its own with `schema`; names expand into the default vocabulary."""
    return compile_model(name, {"$id": "urn:test:schema", **schema}, f"{name}/schema.json", context(), {})


def key(name: str) -> str:
    return parking().key(name)


def prop(value: Any, **members: Any) -> Instance:
    return {"type": "Property", "value": value, "createdAt": NOW, "modifiedAt": NOW, **members}


def relationship(target: Any) -> Instance:
    return {"type": "Relationship", "object": target, "createdAt": NOW, "modifiedAt": NOW}


def stored(document: dict[str, Any]) -> Entity:
    """The stored form of a simplified entity, its names expanded with the Parking @context."""
    attributes: Attributes = {}
    for name, value in document.items():
        if name in ("id", "type", "@context"):
            continue
        attributes[key(name)] = [relationship(value) if name.startswith("ref") else prop(value)]
    return entity(attributes, document["id"], [parking().expand(document["type"])])


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
    return Change(tenant, present["_id"], before, after, NOW)


def _instances(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(item, dict) and "createdAt" in item for item in value)
