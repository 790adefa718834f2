"""The IRIs of the names that a model uses: what a client that writes with the subject's @context sends.

A name that the @context does not know expands into the default vocabulary, as it does for every client, so that is the
IRI under which it arrives (clause 5.5.7). The type is the exception: where the @context has no term for it, its IRI is
the one that the Smart Data Models give it.

A subject that comes without an @context is named by their convention: `https://smartdatamodels.org/NAME` for what the
subjects share, `https://smartdatamodels.org/SUBJECT/NAME` for the rest, the core's own terms excepted. A model outside
of any subject has the names of the core @context, and the default vocabulary.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from broker.jsonld.context import Context
from broker.jsonld.processing import Part, Term, combined_terms
from broker.ngsild.errors import BadRequestData
from broker.validation.definitions import DataModelError
from broker.validation.importing.documents import CONTEXT, Documents, published_paths
from broker.validation.importing.references import Canonical

VOCABULARY = "https://smartdatamodels.org/"
_CORE = "https://uri.etsi.org/ngsi-ld/"
_NESTED = 8


class Names:
    """How one subject names things; `file` is the path of its @context, "" if it has none."""

    def __init__(self, subject: str, file: str, terms: Mapping[str, Term]) -> None:
        self.subject = subject
        self.file = file
        self._terms = terms
        self._context = Context(terms, file, None)

    def type_iri(self, name: str) -> str:
        """The IRI of a type."""
        if self.knows(name) or not self.subject:
            try:
                return self._context.expand(name)
            except BadRequestData:
                pass
        return f"{VOCABULARY}{self.subject}/{quote(name)}" if self.subject else VOCABULARY + quote(name)

    def knows(self, name: str) -> bool:
        """Whether there is a term for `name`."""
        return name in self._terms

    def terms(self, name: str, canonical: Canonical) -> dict[str, str]:
        """The IRI of each name that the type `name` and its schemas use; without those that no attribute can have."""
        found = {name: self.type_iri(name)}
        for value in canonical.names | {value for value in canonical.values if self.knows(value)}:
            if value not in found:
                iri = self._iri(value, shared=value in canonical.shared)
                if iri is not None:
                    found[value] = iri
        return dict(sorted(found.items()))

    def _iri(self, name: str, *, shared: bool) -> str | None:
        try:
            expanded = self._context.expand(name)
        except BadRequestData:
            return None
        if self.knows(name) or self.file or not self.subject:
            return expanded
        return VOCABULARY + name if shared else f"{VOCABULARY}{self.subject}/{name}"


def read_names(documents: Documents, subject: str, name: str) -> Names:
    """How the subject of the model `name` names things; DataModelError where its @context cannot be used."""
    folder = f"{subject}/" if subject else ""
    file = next((path for path in (folder + CONTEXT, f"{folder}{name}/{CONTEXT}") if path in documents), "")
    parts: list[Part] = []
    if file:
        document = documents.get(file)
        if not isinstance(document, dict) or "@context" not in document:
            raise DataModelError(f'{file} holds no JSON-LD @context: expected an object with an "@context" member.')
        parts = _parts(documents, document["@context"], file, 0)
    try:
        return Names(subject, file, combined_terms(parts))
    except BadRequestData as error:
        raise DataModelError(f"{file} cannot be used: {error.detail}") from error


def _parts(documents: Documents, content: Any, file: str, depth: int) -> list[Part]:
    if isinstance(content, dict):
        return [Part(content, file)]
    if isinstance(content, list) and depth < _NESTED:
        return [part for item in content for part in _parts(documents, item, file, depth + 1)]
    if isinstance(content, str):
        if content.startswith(_CORE):
            return []
        found = next((path for path in published_paths(content) if path in documents), None)
        if found is None:
            raise DataModelError(f"{file} refers to the @context {content}, which is not in the source.")
        document = documents.get(found)
        if depth < _NESTED and isinstance(document, dict) and "@context" in document:
            return _parts(documents, document["@context"], found, depth + 1)
    raise DataModelError(f'{file} holds no JSON-LD @context: expected "@context" to be an object or an array of them.')
