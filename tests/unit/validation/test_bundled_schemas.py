"""The schemas that come with Vela keep the rules of their folder, which datamodels/README.md tells."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.bundled import bundled

MODELS = bundled("datamodels")
SCHEMAS = sorted(MODELS.glob("dataModel.*/*/schema.json"))
SUBJECTS = sorted(MODELS.glob("dataModel.*"))
COMMON = "urn:vela:datamodels:common"
_SHARED = json.loads((MODELS / "common-schema.json").read_bytes())["$defs"]
_CODE = re.compile(r"[A-Z0-9]{2,3}")


@pytest.mark.parametrize("file", SCHEMAS, ids=lambda file: f"{file.parent.parent.name}-{file.parent.name}")
def test_a_schema_has_its_own_identifier_and_refers_to_nothing_but_itself_and_the_shared_parts(file: Path) -> None:
    schema = json.loads(file.read_bytes())
    assert schema["$id"] == f"urn:vela:datamodels:{file.parent.parent.name}:{file.parent.name}"
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["properties"]["type"]["const"] == schema["title"] == file.parent.name
    for part in _parts(schema):
        if isinstance(reference := part.get("$ref"), str):
            address, _, pointer = reference.partition("#/$defs/")
            assert pointer in (_SHARED if address == COMMON else schema["$defs"] if not address else ()), reference


@pytest.mark.parametrize(
    "file", [*SCHEMAS, MODELS / "common-schema.json"], ids=lambda file: f"{file.parent.parent.name}-{file.parent.name}"
)
def test_units_are_codes_that_are_listed_once_and_measurements_are_marked_with_true(file: Path) -> None:
    for part in _parts(json.loads(file.read_bytes())):
        units = part.get("x-vela-units", ["C62"])
        assert units
        assert len(units) == len(set(units)), units
        assert all(_CODE.fullmatch(code) for code in units), units
        assert part.get("x-vela-observed-at", True) is True


@pytest.mark.parametrize("file", SCHEMAS, ids=lambda file: f"{file.parent.parent.name}-{file.parent.name}")
def test_every_attribute_of_a_schema_is_described(file: Path) -> None:
    schema = json.loads(file.read_bytes())
    inherited = {name for part in schema["allOf"] for name in _SHARED[part["$ref"].rpartition("/")[2]]["properties"]}
    for name, attribute in schema["properties"].items():
        assert attribute.get("description") or name in inherited, name


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda folder: folder.name)
def test_a_context_is_known_under_the_addresses_that_clients_use(subject: Path) -> None:
    index = json.loads((MODELS / "index.json").read_bytes())
    path = f"{subject.name}/context.jsonld"
    for address in (
        f"https://smartdatamodels.org/{path}",
        f"https://raw.githubusercontent.com/smart-data-models/{subject.name}/master/context.jsonld",
        f"https://smart-data-models.github.io/{path}",
    ):
        assert index[address] == path


def test_the_readme_lists_every_type_once_with_its_schema() -> None:
    text = (MODELS / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"\[`(\w+)`\]\((dataModel\.\w+)/(\w+)/schema\.json\)", text)
    assert sorted(listed) == sorted((file.parent.name, file.parent.parent.name, file.parent.name) for file in SCHEMAS)


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _parts(part)
