"""What a data model is made of: its schema with all that it refers to, its names, and where it comes from.

A definition needs nothing beside itself to be compiled, so that one bad document spoils no other model. It is what an
import makes (`importing/`), what the database keeps (`storage/data_models.py`), and what is sent to a broker.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

_TEXTS = ("iri", "name", "subject", "file", "source", "version", "licence", "problem")
_OBJECTS = ("resources", "terms", "files")


class DataModelError(Exception):
    """A data model cannot be used; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One data model.

    `iri` is the type that it describes, expanded; `name` is the type as the schema calls it, `subject` the folder of
    its subject ("dataModel.Parking"; "" for a model of your own), `file` the schema's path in its source. `schema` is
    the JSON Schema, draft 2020-12, for the simplified form; it and `resources`, the documents that it needs, refer to
    each other by canonical URIs, which are the keys of `resources` and their "$id"; `files` has the path of each in the
    source. `terms` are the names that the schemas use, attributes and values of vocabularies, with their IRIs.
    `source`, `version` and `licence` tell where it comes from. `problem` says why it cannot be used: it is in
    quarantine; "" where it can.
    """

    iri: str
    name: str
    schema: Mapping[str, Any]
    subject: str = ""
    file: str = ""
    resources: Mapping[str, Any] = field(default_factory=dict)
    terms: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    version: str = ""
    licence: str = ""
    problem: str = ""

    def document(self) -> dict[str, Any]:
        """The definition as a JSON object, without the members that are empty."""
        members = {name: getattr(self, name) for name in (*_TEXTS, "schema", *_OBJECTS)}
        return {name: value for name, value in members.items() if value or name in ("iri", "name", "schema")}

    @property
    def digest(self) -> str:
        """Equal for definitions with equal content, wherever they come from."""
        content = [self.iri, self.name, self.schema, self.resources, self.terms, self.problem]
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def read_definition(document: Any) -> Definition:
    """The definition that `Definition.document` made; DataModelError where a member is missing or of another kind."""
    if not isinstance(document, dict):
        raise DataModelError("A data model is a JSON object.")
    for name, value in document.items():
        expected = str if name in _TEXTS else dict if name in (*_OBJECTS, "schema") else None
        if expected is None or not isinstance(value, expected):
            kind = {str: "a text", dict: "an object", None: "no member at all"}[expected]
            raise DataModelError(f"The member {name!r} of a data model cannot be read: expected {kind}.")
    for name in ("iri", "name", "schema"):
        if not document.get(name):
            raise DataModelError(f"A data model needs a member {name!r}.")
    for name, value in document.get("terms", {}).items():
        if not isinstance(value, str):
            raise DataModelError(f"The term {name!r} of a data model has no IRI: expected a text.")
    return Definition(**document)
