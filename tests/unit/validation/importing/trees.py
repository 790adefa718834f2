"""Small sources of data models, as files by path."""

import json
from typing import Any

COMMON_ADDRESS = "https://smart-data-models.github.io/data-models/common-schema.json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
LICENCE = "# Creative Commons Attribution 4.0 International Public License\n\nText."


def schema(**members: Any) -> dict[str, Any]:
    """A schema of the type Thing."""
    return {"$schema": DIALECT, "type": "object", "properties": {"type": {"enum": ["Thing"]}}, **members}


def tree(**files: Any) -> dict[str, bytes]:
    """The files of a subject with one type, Thing; `files` adds others or replaces them, None takes them away.

    The names of files are the keys of `PATHS`.
    """
    usual: dict[str, Any] = {
        "common": {"$id": COMMON_ADDRESS, "definitions": {"name": {"properties": {"name": {"type": "string"}}}}},
        "context": {"@context": {"Thing": subject_iri("Thing"), "size": subject_iri("size")}},
        "thing": schema(),
        "licence": LICENCE,
    }
    return {PATHS[key]: content(value) for key, value in {**usual, **files}.items() if value is not None}


PATHS = {
    "common": "common-schema.json",
    "context": "dataModel.Test/context.jsonld",
    "thing": "dataModel.Test/Thing/schema.json",
    "other": "dataModel.Test/Other/schema.json",
    "shared": "dataModel.Test/test-schema.json",
    "notes": "dataModel.Test/Thing/notes.yaml",
    "licence": "dataModel.Test/Thing/LICENSE.md",
    "subject_licence": "dataModel.Test/LICENSE.md",
}


def subject_iri(name: str) -> str:
    return f"https://smartdatamodels.org/dataModel.Test/{name}"


def content(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()
