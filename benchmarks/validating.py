"""What checking against data models costs single-attribute updates: `python -m benchmarks.validating`.

Two Vela workers over one MongoDB take turns under the same load, updates of one attribute of one entity:

    unchecked   validation is off
    checked     the type of the entities has a data model of forty attributes, which is enforced

Ends with 1 where a valid update was refused.
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop

from benchmarks.api import BrokerApi
from benchmarks.contest import Contestant, finish, table, turns
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figures, measure
from benchmarks.jobs import Timing
from benchmarks.machine import describe
from benchmarks.population import ENTITY_TYPE, INITIAL_VALUE, MEASURED, Population
from benchmarks.scenarios import ENTITIES, Operation
from benchmarks.targets import Target, database, vela
from broker.ngsild.model import DEFAULT_VOCABULARY

UPDATE = Operation("PATCH", ENTITIES + "/{id}/attrs", "attributes", changes=MEASURED[:1])
UNCHECKED, CHECKED = "unchecked", "checked"

_TYPE_IRI = DEFAULT_VOCABULARY + ENTITY_TYPE
_SCHEMA_URI = "urn:vela:datamodels:benchmark"
_OTHERS = 34


@dataclass(frozen=True)
class ValidatingRun:
    """A whole run: the figures by server, round by round."""

    date: str
    machine: dict[str, str]
    options: dict[str, str]
    rounds: dict[str, list[Figures]]

    @property
    def refused(self) -> int:
        """Updates that were not acknowledged."""
        return sum(one.failed for rounds in self.rounds.values() for one in rounds)


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


async def _enforce(target: Target, session: aiohttp.ClientSession) -> None:
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


async def _run(options: argparse.Namespace, targets: dict[str, Target]) -> dict[str, list[Figures]]:
    population = Population(secrets.token_hex(3), options.entities)
    timing = Timing(warm_up=options.warm_up, seconds=options.seconds)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        await _enforce(targets[CHECKED], session)
        await asyncio.gather(*(_prepare(name, target, population, session) for name, target in targets.items()))
    contestants = {
        name: Contestant(target, population, UPDATE, options.connections) for name, target in targets.items()
    }
    rounds: dict[str, list[Figures]] = {name: [] for name in contestants}
    for name in turns(list(contestants), options.rounds):
        rounds[name].append(measure(await contestants[name].run(timing), 1))
    return rounds


async def _prepare(name: str, target: Target, population: Population, session: aiohttp.ClientSession) -> None:
    api = BrokerApi(name, target.url, session)
    await api.wait_until_ready()
    await api.create(population)


def run(options: argparse.Namespace) -> ValidatingRun:
    """Start everything, measure, and end everything. BenchmarkError where that cannot be."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vela-benchmarks-")))
        mongo = stack.enter_context(database(options.mongo_uri, folder))
        targets = {}
        for name, policy in ((UNCHECKED, "off"), (CHECKED, "warn")):
            (folder / name).mkdir()
            targets[name] = stack.enter_context(vela(mongo, folder / name, options=["--validation-default", policy]))
        rounds = uvloop.run(_run(options, targets))
        given = {name: str(getattr(options, name)) for name in ("seconds", "rounds", "entities", "connections")}
        return ValidatingRun(datetime.now(UTC).date().isoformat(), describe(mongo.version), given, rounds)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; ends the process with a message where they cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.validating",
        description="Measure what checking against data models costs updates of one attribute.",
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a round (default: 5)")
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds before each round (default: 1)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds for each server (default: 5)")
    parser.add_argument("--connections", type=int, default=64, help="connections at a time (default: 64)")
    parser.add_argument("--entities", type=int, default=10_000, help="entities to work on (default: 10000)")
    parser.add_argument("--mongo-uri", help="the MongoDB replica set to use instead of a private one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code of the process."""
    options = parse(arguments)

    def measure_all() -> bool:
        result = run(options)
        print(table(result.rounds, UNCHECKED))
        if options.json:
            options.json.write_bytes(orjson.dumps(asdict(result), option=orjson.OPT_INDENT_2))
        return not result.refused

    return finish(measure_all)


if __name__ == "__main__":
    sys.exit(main())
