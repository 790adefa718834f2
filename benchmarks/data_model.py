"""The data model of the benchmark entities: what a Vela checks their updates against in the contest "validation"."""

from typing import Any

import aiohttp

from benchmarks.errors import BenchmarkError
from benchmarks.population import ENTITY_TYPE, INITIAL_VALUE, MEASURED
from benchmarks.scenarios import ENTITIES
from benchmarks.targets import Target
from broker.ngsild.model import DEFAULT_VOCABULARY

_TYPE_IRI = DEFAULT_VOCABULARY + ENTITY_TYPE
_SCHEMA_URI = "urn:vela:datamodels:benchmark"
_OTHERS = 34


def data_model() -> dict[str, Any]:
    """A data model of the entities, such as a city's: numbers with ranges, texts, enumerations, instants, places."""
    kinds: list[dict[str, Any]] = [
        {"type": "number", "minimum": -100, "maximum": 100},
        {"type": "string", "minLength": 1},
        {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"enum": [f"kind{n}" for n in range(30)]}},
        {"type": "string", "format": "date-time"},
        {"anyOf": [{"type": "string", "format": "uri"}, {"type": "array", "items": {"type": "string"}}]},
    ]
    measured = {"type": "number", "minimum": 0, "maximum": 100 * INITIAL_VALUE, "x-vela-units": ["CEL"]}
    properties: dict[str, Any] = {
        "type": {"const": ENTITY_TYPE},
        **dict.fromkeys(MEASURED, measured),
        "batteryLevel": {"type": "number", "minimum": 0, "maximum": 1},
        "firmware": {"type": "string"},
        "room": {"type": "string", "format": "uri"},
        "location": {"type": "object", "required": ["type", "coordinates"]},
        **{f"other{number}": kinds[number % len(kinds)] for number in range(_OTHERS)},
    }
    attributes = [name for name in properties if name != "type"]
    terms = {name: DEFAULT_VOCABULARY + name for name in attributes}
    terms["location"] = "https://uri.etsi.org/ngsi-ld/location"
    return {
        "iri": _TYPE_IRI,
        "name": ENTITY_TYPE,
        "schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": _SCHEMA_URI,
            "type": "object",
            "required": ["id", "type", "location", *MEASURED],
            "properties": properties,
        },
        "terms": terms,
    }


async def enforce(target: Target, session: aiohttp.ClientSession) -> None:
    """Give a Vela the data model, and see that it refuses what breaks it. Raises BenchmarkError where that fails."""
    definitions = {"definitions": [data_model()]}
    for method, path, body in (
        ("POST", "/datamodels/models", definitions),
        ("PUT", "/datamodels/policies", {"type": _TYPE_IRI, "policy": "enforce"}),
    ):
        async with session.request(method, target.url + path, json=body) as answer:
            if answer.status >= 300:
                raise BenchmarkError(f"{target.name} answers {answer.status}: {await answer.text()}")
    wrong = {"id": f"urn:ngsi-ld:{ENTITY_TYPE}:wrong", "type": ENTITY_TYPE, MEASURED[0]: -1}
    async with session.post(target.url + ENTITIES, json=wrong) as answer:
        if answer.status != 400:
            raise BenchmarkError(f"{target.name} answers {answer.status} to an entity that breaks its data model")
