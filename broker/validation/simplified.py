"""From the stored form of attributes to the simplified (key-values) form that data models describe.

It does not go through `ngsild.representations`, because it differs from what clients are shown: typed JSON-LD values
are unwrapped, each string of a LanguageProperty stands for itself, and names are those of the data model whatever
@context the client uses.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from broker.ngsild.model import DEFAULT_VOCABULARY, Instance, decode_key, encode_key

AS_THEY_ARE = (str, int, float, bool)
"""Types of values that are the same in the simplified form. MongoDB's own class for 64-bit integers is not."""

NO_ATTRIBUTES = frozenset({"id", "type"})
"""Members of a simplified entity that are no attributes."""


class Terms:
    """The names that a data model uses, attributes and values of vocabularies, with their IRIs.

    A name that is not among `terms` is an IRI where it has a colon, else one of the default vocabulary. `preferred` are
    the names that win where several have the same IRI.
    """

    def __init__(self, terms: Mapping[str, str], preferred: Iterable[str] = ()) -> None:
        first = set(preferred)
        self._iris = {name: iri for name, iri in terms.items() if name not in NO_ATTRIBUTES}
        self._names: dict[str, str] = {}
        for name in sorted(self._iris, key=lambda name: (name not in first, len(name), name)):
            self._names.setdefault(self._iris[name], name)

    def key(self, name: str) -> str:
        """The attribute key of a name."""
        iri = self._iris.get(name)
        return encode_key(iri if iri is not None else name if ":" in name else DEFAULT_VOCABULARY + name)

    def name(self, iri: str) -> str:
        """The name that stands for an IRI; the IRI itself if there is none."""
        name = self._names.get(iri)
        if name is not None:
            return name
        suffix = iri.removeprefix(DEFAULT_VOCABULARY)
        if suffix in self._iris or suffix in NO_ATTRIBUTES or ":" in suffix:
            return iri
        return suffix or iri


class Variant(NamedTuple):
    """One value of an attribute: there is one per datasetId and, in a LanguageProperty, per text."""

    name: str
    value: Any
    dataset: str | None


def values_of(instance: Instance, terms: Terms, *, listed: bool) -> list[Any]:
    """The simplified values of an instance: one, but for a LanguageProperty, each text of which counts for itself.

    `listed` says that the data model takes nothing but arrays: a single relationship or term becomes an array of one.
    """
    match instance["type"]:
        case "Property" | "GeoProperty":
            return [plain(instance["value"])]
        case "Relationship":
            return [_listed(instance["object"]) if listed else instance["object"]]
        case "LanguageProperty":
            return [text for texts in instance["languageMap"].values() for text in _listed(texts)]
        case "VocabProperty":
            vocab = instance["vocab"]
            names = [terms.name(iri) for iri in _listed(vocab)]
            return [names if listed or isinstance(vocab, list) else names[0]]
        case "JsonProperty":
            return [plain(instance["json"])]
        case "ListProperty":
            return [plain(instance["valueList"])]
        case "ListRelationship":
            return [instance["objectList"]]
        case kind:
            raise ValueError(f"The attribute type {kind!r} does not exist.")


def plain(value: Any) -> Any:
    """A stored value as JSON: keys decoded, JSON-LD value objects (`{"@type": …, "@value": …}`) unwrapped.

    Integers beyond 32 bits come out of MongoDB as a class of their own, which the validator does not know.
    """
    kind = type(value)
    if kind is dict:
        if "@value" in value:
            return plain(value["@value"])
        return {decode_key(key): plain(item) for key, item in value.items()}
    if kind is list:
        return [plain(item) for item in value]
    return int(value) if kind is not bool and isinstance(value, int) else value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
