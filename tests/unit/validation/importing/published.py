"""The published models as they lie in the shared data, and `jsonschema` on the original documents as the oracle."""

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from broker.validation.definitions import Definition
from broker.validation.importing.reading import read_models
from broker.validation.importing.sources import open_source
from tests.unit.jsonld.oracle import shared_data
from tests.unit.validation.reference import format_checker

PUBLISHED_AT = (
    "https://smart-data-models.github.io/{0}/{1}",
    "https://raw.githubusercontent.com/smart-data-models/{0}/master/{1}",
)


def published_models() -> Path:
    """The folder of the published models; skips the test where there is none."""
    folder = shared_data() / "smart-data-models"
    if not folder.is_dir():
        pytest.skip(f"no published models in {folder}: set VELA_SHARED_DATA to the folder that has smart-data-models/")
    return folder


@cache
def imported() -> dict[str, Definition]:
    """The definitions that an import of the folder makes, by the path of the schema."""
    source = open_source(str(published_models()))
    return {one.file: one for one in read_models(source.tree, source=source.name, version=source.version)}


@cache
def originals() -> dict[str, Any]:
    """The schemas as they are published, by path."""
    folder = published_models()
    return {file.relative_to(folder).as_posix(): json.loads(file.read_bytes()) for file in folder.rglob("*schema.json")}


@cache
def oracle(path: str) -> Draft202012Validator:
    """`jsonschema` on the original schema at `path`; what it refers to is found at the published addresses."""
    return Draft202012Validator(originals()[path], registry=_registry(), format_checker=format_checker())


@cache
def _registry() -> Any:
    resources = []
    for path, schema in originals().items():
        repository, _, rest = path.rpartition("/") if path.count("/") == 0 else path.partition("/")
        for address in PUBLISHED_AT:
            uri = address.format(repository or "data-models", rest)
            resources.append((uri, DRAFT202012.create_resource(schema)))
    return Registry().with_resources(resources)


@dataclass(frozen=True)
class Example:
    """A published example: the file, the path of the schema that it is for, and what it holds."""

    file: Path
    model: str
    document: dict[str, Any]


@cache
def examples(pattern: str) -> tuple[Example, ...]:
    """The examples whose file name has the form `pattern`."""
    folder = published_models()
    return tuple(
        Example(file, (file.parents[1] / "schema.json").relative_to(folder).as_posix(), json.loads(file.read_bytes()))
        for file in sorted(folder.glob(f"dataModel.*/*/examples/{pattern}"))
    )


TEXTS = (
    *("", "x", "a b", "Straße", "\U0001f697", "urn:ngsi-ld:X:1", "urn:ngsi-ld:Straße:1", "https://example.org/x"),
    *("Point", "DE", "12:00:00Z", "1.2.3.4", "::1", "a@example.org", "https://example.org/%zz", "\u0663", "x" * 300),
    *(
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00",
        "2026-02-30T12:00:00Z",
        "2026-01-31T12:00:00.5+01:00",
        "2026-01-31",
    ),
)
ENDINGS = ("x", "1", " ", "Straße")
NUMBERS = (0, 1, -1, 5, 360, 2**40, -(2**63), 0.0, 1.0, 0.5, -0.5, 1e300, 100_000.5)


def mutated(document: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """The document with one to three changes anywhere in it."""
    changed = copy.deepcopy(document)
    for _ in range(chance.randint(1, 3)):
        places = list(_places(changed))
        if not places:
            break
        parent, step = chance.choice(places)
        match chance.choice(("replace", "replace", "replace", "delete", "wrap", "lengthen")):
            case "replace":
                parent[step] = _value(chance, 0)
            case "delete":
                del parent[step]
            case "wrap":
                parent[step] = [parent[step]]
            case _ if isinstance(parent[step], list):
                parent[step] = parent[step] * 2
            case _ if isinstance(parent[step], str):
                parent[step] += chance.choice(ENDINGS)
    return changed


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for step, child in value.items() if isinstance(value, dict) else enumerate(value):
        if step != "@context":
            yield value, step
            if isinstance(child, dict | list):
                yield from _places(child)


def _value(chance: random.Random, depth: int) -> Any:
    kinds = ("text", "text", "number", "number", "other", "empty", "list", "object")
    match chance.choice(kinds if depth < 2 else kinds[:-2]):
        case "text":
            return chance.choice(TEXTS)
        case "number":
            return chance.choice(NUMBERS)
        case "other":
            return chance.choice((True, False, None))
        case "empty":
            return chance.choice(([], {}))
        case "list":
            return [_value(chance, depth + 1) for _ in range(chance.randint(1, 2))]
        case _:
            names = chance.sample(("type", "coordinates", "addressCountry", "x"), 2)
            return {name: _value(chance, depth + 1) for name in names}
