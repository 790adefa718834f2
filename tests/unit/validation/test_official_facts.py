"""Our schemas beside the official ones (Smart Data Models) of the same types: they hold the same facts.

What differs on purpose stands in differences/<subject>.json with its reason:

    {"<Type>": {"<JSON pointer in the entity> <what differs>": "<why>"}, "context.jsonld": {"<term> iri": "<why>"}}

What can differ: `missing` (the attribute is not in our schema), `type`, `enum`, `range` (a limit of a number, a text or
an array), `format`, `pattern`, `required`, `units` (the official description names a unit), `$ref` (the reference of
the official schema leads nowhere), `iri`, and for an official example `example.json <pointer> <keyword>`, what our
schema finds wrong in it. In all pointers, "*" stands for the items of an array.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path as File
from typing import Any

import pytest
from jsonschema_rs import Draft202012, Draft202012Validator, Registry, ValidationError

from broker.bundled import bundled
from tests.unit.jsonld.oracle import shared_data
from tests.unit.validation.facts import Facts, Path, facts_of

MODELS = bundled("datamodels")
SCHEMAS = sorted(MODELS.glob("dataModel.*/*/schema.json"))
SUBJECTS = sorted(MODELS.glob("dataModel.*"))
DIFFERENCES = File(__file__).parent / "differences"
EXAMPLES = ("example.json", "example.jsonld")
_SUBJECT = re.compile(r"(dataModel\.\w+)/(?:(?:blob/|raw/)?(?:master|main)/)?(.+\.json)$")
_GEOMETRIES = {"Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon"}
_UNIT = re.compile(r"Units:\s*'\s*\w")


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda file: f"{file.parent.parent.name}-{file.parent.name}")
def test_a_data_model_says_what_the_official_one_says_but_for_the_listed_differences(schema: File) -> None:
    subject, name = schema.parent.parent.name, schema.parent.name
    official = _official(subject, f"{name}/schema.json")
    theirs = facts_of(read(official), official.relative_to(_models()).as_posix(), _follow_official)
    ours = facts_of(read(schema), schema.relative_to(MODELS).as_posix(), _follow_ours)
    assert ours[("type",)].choices == {name}
    found = {*_differences(theirs, ours), *_faults_of_examples(schema, official.parent / "examples")}
    _are_listed(found, subject, name)


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda folder: folder.name)
def test_a_context_gives_the_official_terms_their_official_iris_but_for_the_listed_differences(subject: File) -> None:
    official = read(_official(subject.name, "context.jsonld"))["@context"]
    ours = read(subject / "context.jsonld")["@context"]
    found = {f"{term} iri" for term in official if _iri(term, official) != _iri(term, ours)}
    _are_listed(found, subject.name, "context.jsonld")


@pytest.mark.parametrize("file", sorted(DIFFERENCES.glob("*.json")), ids=lambda file: file.stem)
def test_a_listed_difference_is_of_a_data_model_that_exists_and_has_a_reason(file: File) -> None:
    for name, listed in read(file).items():
        assert (MODELS / file.stem / name).exists(), name
        for difference, reason in listed.items():
            assert len(reason) > 10, f"{name} {difference}"


def _are_listed(found: set[str], subject: str, name: str) -> None:
    listed = set(_listed(subject).get(name, {}))
    assert not found - listed, "not listed: " + ", ".join(sorted(found - listed))
    assert not listed - found, "listed, but there is no such difference: " + ", ".join(sorted(listed - found))


def _differences(theirs: dict[Path, Facts], ours: dict[Path, Facts]) -> Iterator[str]:
    shapes = [path for path, facts in theirs.items() if facts.choices & _GEOMETRIES and path[-1] == "type"]
    for path, facts in theirs.items():
        pointer = "".join("/" + step for step in path) or "/"
        if facts.dangling:
            yield f"{pointer} $ref"
        if path == ("type",) or any(_inside_geometry(path, shape) for shape in shapes):
            continue
        own = ours.get(path)
        if own is None:
            # Of a member that is missing as a whole, the members are not listed.
            if path[:-1] in ours:
                yield f"{pointer} missing"
            continue
        yield from (f"{pointer} {what}" for what in _disagreements(facts, own))


def _inside_geometry(path: Path, shape: Path) -> bool:
    """Whether it is a part of a GeoJSON geometry, whose shape ours prescribe closer; its types are compared."""
    return path[: len(shape) - 1] == shape[:-1] and path != shape and len(path) >= len(shape)


def _disagreements(theirs: Facts, ours: Facts) -> Iterator[str]:
    relationship = any(text.strip().startswith("Relationship") for text in theirs.descriptions)
    several = {"array"} if relationship or theirs.formats == {"uri"} else set()
    if theirs.types and ours.types not in (theirs.types, theirs.types | several):
        yield "type"
    if not theirs.choices <= ours.choices or (ours.choices and not theirs.choices):
        yield "enum"
    if theirs.ranges != ours.ranges:
        yield "range"
    if theirs.formats != ours.formats:
        yield "format"
    if bool(theirs.patterns) != bool(ours.patterns):
        yield "pattern"
    if theirs.required != ours.required:
        yield "required"
    if any(_UNIT.search(text) for text in theirs.descriptions) and not ours.units:
        yield "units"


def _faults_of_examples(schema: File, folder: File) -> Iterator[str]:
    """What our schema finds wrong in the official examples in key-values form."""
    common = read(MODELS / "common-schema.json")
    registry = Registry([(common["$id"], common)], draft=Draft202012)
    validator = Draft202012Validator(read(schema), registry=registry, validate_formats=True, offline=True)
    for name in EXAMPLES:
        if (folder / name).is_file():
            for error in validator.iter_errors(read(folder / name)):
                yield f"{name} {_place(error)} {error.kind.name}"


def _place(error: ValidationError) -> str:
    path = [*error.instance_path, *([error.kind.value] if error.kind.name == "required" else [])]
    return "".join("/*" if isinstance(step, int) else f"/{step}" for step in path) or "/"


def _iri(term: str, context: dict[str, Any]) -> Any:
    definition = context.get(term)
    if isinstance(definition, dict):
        return {**definition, "@id": _whole(definition.get("@id"), context)}
    return _whole(definition, context)


def _whole(iri: Any, context: dict[str, Any]) -> Any:
    if isinstance(iri, str) and ":" in iri and not iri.partition(":")[2].startswith("//"):
        prefix, _, rest = iri.partition(":")
        base = context.get(prefix)
        return base + rest if isinstance(base, str) else iri
    return iri


def _models() -> File:
    return shared_data() / "smart-data-models"


def _official(subject: str, path: str) -> File:
    file = _models() / subject / path
    if not file.is_file():
        pytest.skip(f"{subject}/{path} is not among the official models at hand")
    return file


def _follow_official(reference: str, document: str) -> tuple[Any, str]:
    address, _, pointer = reference.partition("#")
    place = document
    if address.endswith("/common-schema.json"):
        place = "common-schema.json"
    elif address:
        match = _SUBJECT.search(address)
        place = f"{match[1]}/{match[2]}" if match else address
    if not (_models() / place).is_file():
        raise KeyError(reference)
    return _at(read(_models() / place), pointer), place


def _follow_ours(reference: str, document: str) -> tuple[Any, str]:
    address, _, pointer = reference.partition("#")
    if address:
        assert address == "urn:vela:datamodels:common", f"{document} refers to {address}"
        document = "common-schema.json"
    return _at(read(MODELS / document), pointer), document


def _at(document: Any, pointer: str) -> Any:
    for step in pointer.split("/")[1:]:
        document = document[step.replace("~1", "/").replace("~0", "~")]
    return document


@cache
def read(file: File) -> Any:
    return json.loads(file.read_bytes())


@cache
def _listed(subject: str) -> dict[str, dict[str, str]]:
    file = DIFFERENCES / f"{subject}.json"
    return read(file) if file.is_file() else {}
