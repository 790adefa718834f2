"""PyLD itself as the oracle: what JSON-LD makes of names under an @context, by real expansions and compactions.

Many names go into one document, as separate nodes or with separate values: PyLD takes as long for the @context of a
document as for hundreds of names.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pyld import jsonld

from broker.jsonld.core import CORE_CONTEXT_URL, core_document
from broker.ngsild.model import NGSI_LD_BASE

_MARKER = re.compile(r"marker:(\d+)")
_HAS_VOCAB = NGSI_LD_BASE + "hasVocab"
_OBJECT = {"@type": [NGSI_LD_BASE + "Property"], NGSI_LD_BASE + "hasValue": [{"@value": 1}]}
_ROOT = Path(__file__).parents[3]


def shared_data() -> Path:
    """The folder of real @contexts; skips the test where there is none."""
    folder = Path(os.environ.get("VELA_SHARED_DATA") or _ROOT.parent / "shared" / "data")
    if not (folder / "contexts" / "index.json").is_file():
        pytest.skip(f"no real @contexts in {folder}: set VELA_SHARED_DATA to the folder that has contexts/index.json")
    return folder


def unprotected_core() -> dict[str, Any]:
    """The core @context, as what a client's @context is read on top of."""
    core = core_document()["@context"]
    return {name: definition for name, definition in core.items() if name not in ("@protected", "ngsildproof")}


class PyLD:
    """JSON-LD's own answers under the @context `[*contexts, core]`; `documents` are those that URLs lead to."""

    def __init__(self, contexts: Sequence[Any], documents: Mapping[str, Any] | None = None) -> None:
        self._documents = {CORE_CONTEXT_URL: core_document(), **(documents or {})}
        self._context = [*contexts, CORE_CONTEXT_URL]
        self._options = {
            "processingMode": "json-ld-1.1",
            "documentLoader": self._load,
            # One resolver for all questions: it remembers what it processed.
            "contextResolver": jsonld.ContextResolver({}, self._load),
        }
        active = jsonld.JsonLdProcessor().process_context(
            jsonld.JsonLdProcessor().process_context(None, None, self._options), self._context, self._options
        )
        self.terms: dict[str, Any] = dict(active["mappings"])

    def _load(self, url: str, _: Any) -> dict[str, Any]:
        # The core's scoped @context, which names the inner members of one property.
        document = {"@context": {}} if url.startswith("https://w3id.org/security/") else self._documents[url]
        return {"contentType": "application/ld+json", "contextUrl": None, "documentUrl": url, "document": document}

    def expand_properties(self, names: Sequence[str]) -> dict[str, str | None]:
        """The IRI of each name as that of a property; None where JSON-LD drops the property."""
        document: dict[str, Any] = {"@context": self._context}
        for number, name in enumerate(names):
            document[name] = self._value_for(name, f"marker:{number}")
        expanded = jsonld.expand(document, self._options)
        found: dict[str, str | None] = dict.fromkeys(names)
        for iri, values in (expanded[0] if expanded else {}).items():
            for number in _MARKER.findall(json.dumps(values)):
                found[names[int(number)]] = iri
        return found

    def _value_for(self, name: str, marker: str) -> Any:
        container = (self.terms.get(name) or {}).get("@container", [])
        return {"en": marker} if "@language" in container or "@index" in container else marker

    def expand_types(self, names: Sequence[str]) -> dict[str, str | None]:
        """The IRI of each name as that of a type."""
        return self._expand_nodes(names, lambda name: {"type": name}, lambda node: node["@type"][0])

    def expand_vocab(self, values: Sequence[str]) -> dict[str, str | None]:
        """The IRI of each value of a VocabProperty."""
        return self._expand_nodes(values, lambda value: {"vocab": value}, lambda node: node[_HAS_VOCAB][0]["@id"])

    def _expand_nodes(self, names: Sequence[str], write: Any, read: Any) -> dict[str, str | None]:
        nodes = [{"id": f"marker:{number}", **write(name)} for number, name in enumerate(names)]
        found: dict[str, str | None] = dict.fromkeys(names)
        for node in jsonld.expand({"@context": self._context, "@graph": nodes}, self._options):
            try:
                found[names[_number(node["@id"])]] = read(node)
            except (KeyError, IndexError):
                continue
        return found

    def compact_properties(self, iris: Iterable[str]) -> dict[str, str]:
        """The name of each IRI as that of a property whose value is an NGSI-LD attribute, an object."""
        return self.compact_properties_of(dict.fromkeys(iris, _OBJECT))

    def compact_properties_of(self, values: Mapping[str, Any]) -> dict[str, str]:
        """The name of each IRI as that of a property with the given expanded value."""
        return self._compact_nodes(
            list(values), lambda iri: {iri: [values[iri]]}, lambda node: next(name for name in node if name != "id")
        )

    def compact_types(self, iris: Iterable[str]) -> dict[str, str]:
        """The name of each IRI as that of a type."""
        return self._compact_nodes(list(iris), lambda iri: {"@type": [iri]}, lambda node: node["type"])

    def compact_vocab(self, iris: Iterable[str]) -> dict[str, str]:
        """The text of each IRI as a value of a VocabProperty."""
        return self._compact_nodes(list(iris), lambda iri: {_HAS_VOCAB: [{"@id": iri}]}, lambda node: node["vocab"])

    def _compact_nodes(self, iris: list[str], write: Any, read: Any) -> dict[str, str]:
        nodes = [{"@id": f"marker:{number}", **write(iri)} for number, iri in enumerate(iris)]
        options = {**self._options, "skipExpansion": True, "graph": True}
        compacted = jsonld.compact(nodes, self._context, options)
        return {iris[_number(node["id"])]: read(node) for node in compacted["@graph"]}


def matching_value(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """An expanded value for which JSON-LD would choose a term that is defined like `mapping`."""
    container = mapping.get("@container", [])
    coercion = mapping.get("@type")
    value: dict[str, Any] = {"@value": "x"}
    if coercion == "@vocab":
        value = {"@id": NGSI_LD_BASE + "Property"}
    elif coercion == "@id":
        value = {"@id": "urn:x"}
    elif coercion is not None:
        value = {"@value": "x", "@type": coercion}
    if "@list" in container:
        return {"@list": [value]}
    if "@language" in container:
        return {"@value": "x", "@language": "en"}
    return value | ({"@index": "i"} if "@index" in container else {})


def _number(marker: str) -> int:
    match = _MARKER.search(marker)
    assert match is not None, marker
    return int(match[1])
