"""The verdict of a data model equals that of the reference implementation, `jsonschema`, on mutated entities."""

import copy
from typing import Any

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.unit.validation.reference import format_checker
from tests.unit.validation.stored import MODELS, read_json, shipped, stored

MODEL = MODELS / "dataModel.Parking" / "OffStreetParking"
SCHEMA = read_json(MODEL / "schema.json")
COMMON = read_json(MODELS / "common-schema.json")
EXAMPLES = [read_json(file) for file in sorted((MODEL / "examples").glob("*valid-*.json"))]

REFERENCE = jsonschema.Draft202012Validator(
    SCHEMA,
    registry=Registry().with_resource(COMMON["$id"], DRAFT202012.create_resource(COMMON)),
    format_checker=format_checker(),
)

TEXTS = st.sampled_from(
    [
        *("", "x", "a b", "car", "public", "open", "urn:ngsi-ld:X:1", "https://example.org/x", "Point", "MultiPolygon"),
        *("2026-01-31T12:00:00Z", "2026-01-31T12:00:00", "2026-02-30T12:00:00Z", "2026-01-31T12:00:00.5+01:00"),
        *("2026-01-31", "x" * 300, "ü", "\U0001f697"),
    ]
)
SCALARS = st.one_of(
    TEXTS,
    st.booleans(),
    st.integers(-5, 5),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0.0, -0.0, 1.0, 0.5, 1.5, 605.0, 1e300, 100_000, 100_001, 100_000.5]),
)
VALUES = st.recursive(
    SCALARS | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["type", "x", "coordinates"]), inner),
    max_leaves=6,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in children:
        if path or step not in ("id", "type"):
            found.extend(paths(child, (*path, step)))
    return found


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(EXAMPLES)))
    for _ in range(draw(st.integers(0, 3))):
        options = paths(document)
        if not options:
            break
        path = draw(st.sampled_from(options))
        parent: Any = document
        for step in path[:-1]:
            parent = parent[step]
        action = draw(st.sampled_from(["replace", "replace", "delete", "wrap", "repeat"]))
        if action == "replace":
            parent[path[-1]] = draw(VALUES if len(path) > 1 else VALUES.filter(lambda value: value is not None))
        elif action == "delete":
            del parent[path[-1]]
        elif action == "wrap":
            parent[path[-1]] = [parent[path[-1]]]
        elif isinstance(parent[path[-1]], list):
            parent[path[-1]] = parent[path[-1]] * 2
    name = draw(st.none() | st.sampled_from(sorted(SCHEMA["properties"].keys() - {"type"})))
    if name is not None:
        document[name] = draw(VALUES.filter(lambda value: value is not None))
    return document


def compares(document: dict[str, Any]) -> bool:
    pairs = [
        ("availableSpotNumber", "totalSpotNumber"),
        ("occupiedSpotNumber", "totalSpotNumber"),
        ("extraSpotNumber", "totalSpotNumber"),
        ("lowestFloor", "highestFloor"),
    ]
    for names in pairs:
        left, right = (document.get(name) for name in names)
        if type(left) in (int, float) and type(right) in (int, float) and left > right:
            return False
    return True


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_the_verdict_is_that_of_the_reference_implementation(document: dict[str, Any]) -> None:
    found = [violation for violation in shipped().violations(stored(document)) if not violation.advisory]
    assert bool(found) != (REFERENCE.is_valid(document) and compares(document))


def test_our_schema_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator.check_schema(COMMON)
