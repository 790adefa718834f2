"""Checking entities of files: read as the broker reads requests, checked as the broker checks changes."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from broker.commands.datamodels_models import KnownModels, UsableModel
from broker.jsonld.combining import client_elements, combine
from broker.jsonld.context import Context
from broker.jsonld.core import CORE_CONTEXT_URL
from broker.jsonld.documents import FOREVER, Document
from broker.jsonld.folder import ContextFolders
from broker.jsonld.processing import combined_terms
from broker.ngsild.errors import BadRequestData, LdContextNotAvailable, NgsiLdError
from broker.ngsild.fragments import read_entity
from broker.ngsild.model import VALUE_MEMBERS, Entity
from broker.ngsild.mutations import CreateEntity
from broker.ngsild.timestamps import now_text
from broker.validation.violations import Violation

UNREADABLE = "NGSI-LD"
"""The rule that an entity breaks which the broker could not even read."""

_SUBJECT = re.compile(r"dataModel\.[^/]+")
_HOLD_VALUES = frozenset(VALUE_MEMBERS.values())


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation, with the entity and the name of the type by whose data model it is one."""

    entity: str
    type: str
    violation: Violation


@dataclass(slots=True)
class Notes:
    """What else is to be said: the types without a data model, and the @contexts that are not known here."""

    entities: int = 0
    unchecked: Counter[str] = field(default_factory=Counter)
    contexts: Counter[str] = field(default_factory=Counter)


class FileChecker:
    """Checks entities, one after the other.

    An entity's names are read by its @context, if that is among those in `folders`; else by `context`, where one is
    given; else as the data model of its type calls them. `type_iri` names the data model for all entities, whatever
    their types are; None: for each type of theirs the one that there is.
    """

    def __init__(
        self, models: KnownModels, folders: Sequence[Path], *, context: Any = None, type_iri: str | None = None
    ) -> None:
        self._models = models
        self._folders = ContextFolders(folders)
        self._contexts: dict[bytes, Context | None] = {}
        self._given = None if context is None else self._required(context)
        self._forced = None if type_iri is None else models.get(type_iri)
        self._now = now_text()
        self.notes = Notes()

    def check(self, document: Mapping[str, Any]) -> list[Finding]:
        """What is wrong with one entity: normalised, concise or simplified."""
        self.notes.entities += 1
        name = str(document.get("id", document.get("@id", "")))
        findings: list[Finding] = []
        try:
            for entity, models in self._readings(document):
                for usable in models:
                    found = usable.model.violations(entity)
                    findings.extend(Finding(name, usable.model.name, violation) for violation in found)
        except NgsiLdError as error:
            refused = Violation(error.pointer or "", "", UNREADABLE, "unreadable", error.detail, "")
            return [Finding(name, ", ".join(_types(document)), refused)]
        if any(finding.violation.advisory for finding in findings) and _is_simplified(document):
            return [finding for finding in findings if not finding.violation.advisory]
        return findings

    def _readings(self, document: Mapping[str, Any]) -> Iterator[tuple[Entity, list[UsableModel]]]:
        """The entity in stored form, with the data models to check it against.

        There are several where its @context is not known, and each of its types has names of its own.
        """
        source = document.get("@context")
        context = self._known(source) or self._given
        forced = self._forced
        if forced is not None:
            yield self._read(document, context or forced.context), [forced]
        elif context is not None:
            entity = self._read(document, context)
            yield entity, self._of_types(entity, context)
        else:
            usable = self._by_name(document, source)
            for one in usable:
                yield self._read(document, one.context), [one]
            if not usable:
                self._read(document, self._core())

    def _read(self, document: Mapping[str, Any], context: Context) -> Entity:
        return CreateEntity(read_entity(document, context))(None, self._now)[0]

    def _of_types(self, entity: Entity, context: Context) -> list[UsableModel]:
        found = {context.compact(iri): self._models.get(iri) for iri in entity["types"]}
        self.notes.unchecked.update(name for name, usable in found.items() if usable is None)
        return [usable for usable in found.values() if usable is not None]

    def _by_name(self, document: Mapping[str, Any], source: Any) -> list[UsableModel]:
        """The data models that have the names of the types, in the subject whose @context is named, if it is one."""
        subject = _SUBJECT.search(str(source))
        if subject is None:
            self.notes.contexts[_shown(source)] += 1
        found = []
        for name in _types(document):
            known = self._models.named(name, subject[0] if subject else "")
            usable = self._models.get(known[0].iri) if len(known) == 1 else None
            if usable is None:
                self.notes.unchecked[name if len(known) < 2 else f"{name} (in {len(known)} subjects)"] += 1
            else:
                found.append(usable)
        return found

    def _core(self) -> Context:
        context = self._known(CORE_CONTEXT_URL)
        assert context is not None
        return context

    def _known(self, source: Any) -> Context | None:
        """The @context that an entity names, if all of it is known here; None where it names none."""
        if source is None:
            return None
        key = orjson.dumps(source)
        if key not in self._contexts:
            try:
                self._contexts[key] = self._required(source)
            except LdContextNotAvailable:
                self._contexts[key] = None
        return self._contexts[key]

    def _required(self, source: Any) -> Context:
        combination = asyncio.run(combine(client_elements(source), self._load))
        return Context(combined_terms(combination.parts), CORE_CONTEXT_URL, None)

    async def _load(self, url: str) -> Document:
        document = self._folders.get(url)
        if document is None:
            raise LdContextNotAvailable(f"The @context {url} is not known here.")
        return Document(url, orjson.dumps(document), FOREVER)


def read_context(file: Path) -> Any:
    """The @context in a file; BadRequestData where there is none."""
    try:
        document = orjson.loads(file.read_bytes())
    except ValueError as error:
        raise BadRequestData(f"{file} is no JSON: {error}.") from error
    if not isinstance(document, dict) or "@context" not in document:
        raise BadRequestData(f'{file} holds no @context: expected an object with an "@context" member.')
    return document["@context"]


def _types(document: Mapping[str, Any]) -> list[str]:
    types = document.get("type", document.get("@type"))
    return [name for name in (types if isinstance(types, list) else [types]) if isinstance(name, str)]


def _is_simplified(document: Mapping[str, Any]) -> bool:
    """Whether an entity is in the simplified form, which cannot say when a value was observed."""
    return not any(
        _is_instance(item)
        for name, value in document.items()
        if name != "@context"
        for item in (value if isinstance(value, list) else [value])
    )


def _is_instance(item: Any) -> bool:
    return isinstance(item, dict) and (item.get("type") in VALUE_MEMBERS or not _HOLD_VALUES.isdisjoint(item))


def _shown(source: Any) -> str:
    return "" if source is None else source if isinstance(source, str) else orjson.dumps(source).decode()[:200]
