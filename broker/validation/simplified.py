"""From the stored form of an entity to the simplified (key-values) form that data models describe.

The schema binds its names to attribute keys once (`Binding`), so that a conversion is one dictionary look-up per
attribute. It does not go through `ngsild.representations`, because it differs from what clients are shown: typed
JSON-LD values are unwrapped, each string of a LanguageProperty stands for itself, and only what the schema can see is
converted.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from broker.jsonld.context import Context
from broker.ngsild.model import Entity, Instance, decode_key

_AS_THEY_ARE = (str, int, float, bool)


class Variant(NamedTuple):
    """Another value of an attribute, to be checked in the place of the first: one per further datasetId or language."""

    name: str
    value: Any
    dataset: str | None


class Binding:
    """How one data model reads stored entities.

    `type_name` is the type as the schema calls it; `names` maps attribute keys to the schema's names; `arrays` are the
    names for which the schema allows nothing but arrays: a single relationship is given to it as an array of one.
    `context` is the model's own, which shortens other names and vocabulary values. `unbound` says whether attributes
    that the schema does not name matter to it (as with additionalProperties); they are left out otherwise.
    """

    def __init__(
        self,
        type_name: str,
        names: Mapping[str, str],
        arrays: frozenset[str],
        context: Context,
        *,
        unbound: bool,
    ) -> None:
        self.type_name = type_name
        self._names = dict(names)
        self._arrays = arrays
        self._context = context
        self._unbound = unbound

    def name_of(self, key: str) -> str:
        """The schema's name of an attribute key; the compacted IRI where the schema has none."""
        return self._names.get(key) or self._context.compact(decode_key(key))

    def simplify(self, entity: Entity) -> tuple[dict[str, Any], list[Variant]]:
        """The entity in simplified form with the first value of every attribute, and the further values."""
        document: dict[str, Any] = {"id": entity["_id"], "type": self.type_name}
        variants: list[Variant] = []
        names = self._names
        for key, instances in entity["attributes"].items():
            name = names.get(key)
            if name is None:
                if not self._unbound:
                    continue
                name = self._context.compact(decode_key(key))
            instance = instances[0]
            if instance["type"] == "Property":
                value = instance["value"]
                document[name] = value if type(value) in _AS_THEY_ARE else plain(value)
            else:
                values = self._values(instance, name)
                if values:
                    document[name] = values[0]
                    dataset = instance.get("datasetId")
                    variants.extend(Variant(name, value, dataset) for value in values[1:])
            if len(instances) > 1:
                for other in instances[1:]:
                    dataset = other.get("datasetId")
                    variants.extend(Variant(name, value, dataset) for value in self._values(other, name))
        return document, variants

    def _values(self, instance: Instance, name: str) -> list[Any]:
        match instance["type"]:
            case "Property" | "GeoProperty":
                return [plain(instance["value"])]
            case "Relationship":
                target = instance["object"]
                return [[target] if name in self._arrays and type(target) is not list else target]
            case "LanguageProperty":
                return [text for texts in instance["languageMap"].values() for text in _listed(texts)]
            case "VocabProperty":
                vocab = instance["vocab"]
                compact = self._context.compact_vocab
                return [[compact(iri) for iri in vocab] if type(vocab) is list else compact(vocab)]
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
