"""Earlier versions of the specification: an entity as a client of that version understands it (clause 4.3.6.8).

What came with a later version is left out, or becomes a plain Property or Relationship.
"""

import re
from typing import Any, Protocol

from broker.ngsild.model import VALUE_MEMBERS, Attributes, Entity, Instance

Version = tuple[int, int]
"""Major and minor number."""

EARLIEST: Version = (1, 0)
CURRENT: Version = (1, 9)
_SINGLE_VALUED: Version = (1, 3)
"""The first version with several types in an entity, and several instances of an attribute."""

_VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})")

_ENTITY_MEMBERS = {"expiresAt": (1, 9), "scopes": (1, 4)}
_METADATA = {
    "datasetId": (1, 3),
    "observedAt": (1, 3),
    "unitCode": (1, 3),
    "objectType": (1, 8),
    "valueType": (1, 9),
    "expiresAt": (1, 9),
}
_TYPES = {
    "LanguageProperty": ((1, 4), "Property"),
    "JsonProperty": ((1, 8), "Property"),
    "VocabProperty": ((1, 8), "Property"),
    "ListProperty": ((1, 8), "Property"),
    "ListRelationship": ((1, 8), "Relationship"),
}
"""The version that brought an attribute type, and the type that stands in for it before."""


class CompactsVocab(Protocol):
    """What conforming needs of an @context."""

    def compact_vocab(self, iri: str) -> str:
        """The text for an IRI that is a value."""


def parse_version(text: str) -> Version | None:
    """The version that `text` names, such as "1.5"; None if it names none."""
    found = _VERSION.fullmatch(text)
    return (int(found[1]), int(found[2])) if found else None


def nearest(version: Version) -> Version:
    """The version that Vela conforms to where `version` is asked for."""
    return min(max(version, EARLIEST), CURRENT)


def conform(entity: Entity, version: Version, context: CompactsVocab, *, languages: bool = True) -> Entity:
    """The entity in terms of `version`. Without `languages` LanguageProperties stay, for a language filter to come."""
    if version >= CURRENT:
        return entity
    conformed = {name: value for name, value in entity.items() if version >= _ENTITY_MEMBERS.get(name, EARLIEST)}
    if version < _SINGLE_VALUED:
        conformed["types"] = entity["types"][:1]
    conformed["attributes"] = _attributes(entity["attributes"], version, context, languages)
    return conformed


def _attributes(attributes: Attributes, version: Version, context: CompactsVocab, languages: bool) -> Attributes:
    return {
        key: [_instance(one, version, context, languages) for one in _instances(every, version)]
        for key, every in attributes.items()
    }


def _instances(every: list[Instance], version: Version) -> list[Instance]:
    if version >= _SINGLE_VALUED:
        return every
    return [next((one for one in every if "datasetId" not in one), every[0])]


def _instance(instance: Instance, version: Version, context: CompactsVocab, languages: bool) -> Instance:
    conformed = {name: value for name, value in instance.items() if version >= _METADATA.get(name, EARLIEST)}
    kind = instance["type"]
    since, substitute = _TYPES.get(kind, (EARLIEST, kind))
    if version < since and (languages or kind != "LanguageProperty"):
        value = conformed.pop(VALUE_MEMBERS[kind])
        conformed["type"] = substitute
        conformed[VALUE_MEMBERS[substitute]] = _compacted(value, context) if kind == "VocabProperty" else value
    if "attributes" in instance:
        conformed["attributes"] = _attributes(instance["attributes"], version, context, languages)
    return conformed


def _compacted(value: Any, context: CompactsVocab) -> Any:
    return [context.compact_vocab(item) for item in value] if isinstance(value, list) else context.compact_vocab(value)
