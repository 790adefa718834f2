"""Reading the fragment of a merge (clauses 5.4, 5.5.12, 5.6.17): `merging.py` applies it to an entity.

A merge goes deeper than an update: an attribute may come without its value, an NGSI-LD Null may stand at every level,
and what the client leaves open, above all the type of an attribute, is as the entity has it. That is why a fragment
keeps more than the stored form does: whether a type was stated, and the value as it was sent.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from broker.ngsild.attribute_values import Vocabulary
from broker.ngsild.attributes import (
    INSTANCE_DEPTH,
    Nulls,
    Terms,
    is_attribute_type,
    is_deletion,
    read_attributes,
    read_instance,
    read_members,
    read_value,
)
from broker.ngsild.errors import BadRequestData
from broker.ngsild.fragments import read_fragment
from broker.ngsild.geometry import looks_like_geometry
from broker.ngsild.model import NGSI_LD_NULL, VALUE_MEMBERS, Instance
from broker.ngsild.names import ENTITY_MEMBERS, NOT_ATTRIBUTES, SYSTEM_MEMBERS, check_uri


class Missing(Enum):
    """Stands for a value that the client did not send; null would be one. It is the same in every process."""

    MISSING = auto()


MISSING = Missing.MISSING

Patches = dict[str, list["InstancePatch"]]

_BESIDE_ATTRIBUTES = ENTITY_MEMBERS | SYSTEM_MEMBERS | {"expiresAt"}
_VALUES = frozenset(VALUE_MEMBERS.values())
_HEAD = _VALUES | {"type", "@type", "datasetId"}
_LEVELS_OF_ATTRIBUTE = 3
"""Nesting levels of the stored entity from an instance to its sub-attributes' instances."""

_WRAPPED = {"languageMap": "LanguageProperty", "json": "JsonProperty", "vocab": "VocabProperty"}
"""Attribute types that the simplified representation tells by a member of their own (clause 4.5.4)."""


@dataclass(slots=True)
class InstancePatch:
    """What a merge does to one instance of an attribute.

    `kind` is the type that the client stated, or else (`stated` is False) the one that a new attribute would have.
    `value` is the value read as one of `kind`, `raw` the same as it was sent; MISSING where there is none. A `bare`
    value came alone, without members around it. `members` are those of the stored form; NGSI_LD_NULL removes one.
    """

    kind: str
    pointer: str
    depth: int
    stated: bool = True
    bare: bool = False
    deleted: bool = False
    dataset_id: str | None = None
    value: Any = MISSING
    raw: Any = MISSING
    members: Instance = field(default_factory=dict)
    attributes: Patches = field(default_factory=dict)


@dataclass(slots=True)
class MergeFragment:
    """An entity fragment to be merged. `terms` expands what can be read only when the type of the target is known.

    To another process it goes without its @context, which may be large: with what that makes of its texts.
    """

    entity_id: str | None
    types: list[str] | None
    scopes: list[str] | None
    expires_at: str | None
    attributes: Patches
    terms: Vocabulary

    def __reduce__(self) -> tuple[Any, ...]:
        known = _expanded(_bare_texts(self.attributes), self.terms)
        return MergeFragment, (self.entity_id, self.types, self.scopes, self.expires_at, self.attributes, known)


@dataclass(slots=True, frozen=True)
class KnownTexts:
    """The part of a vocabulary that one fragment needs: texts with their IRIs, or with what is wrong with them."""

    found: dict[str, str | BadRequestData]

    def expand_vocab(self, value: str) -> str:
        """The IRI of a vocabulary term; BadRequestData where it cannot be expanded."""
        found = self.found[value]
        if isinstance(found, BadRequestData):
            raise found
        return found


def read_merge_fragment(document: Any, terms: Terms, *, pointer: str = "", simplified: bool = False) -> MergeFragment:
    """An entity fragment for Merge Entity, whose id and type may be missing; `simplified` as clause 4.5.4 has it.

    BadRequestData for what no entity could hold, whatever it is merged with.
    """
    head = document
    if type(document) is dict:
        head = {name: value for name, value in document.items() if name in _BESIDE_ATTRIBUTES}
    beside = read_fragment(head, terms, pointer=pointer, nulls=Nulls.DEEP)
    members = {name: value for name, value in document.items() if name not in _BESIDE_ATTRIBUTES}
    reader = _Reader(terms, simplified)
    return MergeFragment(
        beside.entity_id,
        beside.types,
        beside.scopes,
        beside.expires_at,
        reader.attributes(members, INSTANCE_DEPTH, pointer),
        terms,
    )


@dataclass(slots=True, frozen=True)
class _Reader:
    """Reads attributes and their sub-attributes; `simplified` holds for the attributes of the entity alone."""

    terms: Terms
    simplified: bool = False

    def attributes(self, members: dict[str, Any], depth: int, pointer: str) -> Patches:
        # The rules for names are those of all operations: reading placeholders under the names applies them.
        placeholders = dict.fromkeys(members, NGSI_LD_NULL)
        keys = read_attributes(placeholders, self.terms, depth=depth, pointer=pointer, nulls=Nulls.DEEP)
        return {
            key: self._attribute(key, name, raw, depth, f"{pointer}/{_escape(name)}")
            for key, (name, raw) in zip(keys, members.items(), strict=True)
        }

    def _attribute(self, key: str, name: str, raw: Any, depth: int, pointer: str) -> list[InstancePatch]:
        dataset = raw.get("dataset") if type(raw) is dict and len(raw) == 1 else None
        if type(dataset) is dict and dataset:
            patches = []
            for dataset_id, item in dataset.items():
                at = f"{pointer}/dataset/{_escape(dataset_id)}"
                patch = self._instance(key, item, depth, at)
                patch.dataset_id = None if dataset_id == "@none" else check_uri(dataset_id, "datasetId", at)
                patches.append(patch)
        elif type(raw) is list and not self.simplified and any(_is_instance(item) for item in raw):
            patches = [self._instance(key, item, depth, f"{pointer}/{index}") for index, item in enumerate(raw)]
        else:
            return [self._instance(key, raw, depth, pointer)]
        _check_datasets(name, patches)
        return patches

    def _instance(self, key: str, raw: Any, depth: int, pointer: str) -> InstancePatch:
        if type(raw) is not dict or (self.simplified and not (len(raw) == 1 and _WRAPPED.keys() & raw.keys())):
            return self._bare(raw, depth, pointer)
        kind: Any = raw.get("type", raw.get("@type"))
        stated = is_attribute_type(kind)
        if not stated and not _VALUES & raw.keys():
            return self._bare(raw, depth, pointer)
        if stated and VALUE_MEMBERS[kind] not in raw:
            patch = InstancePatch(kind, pointer, depth)
        else:
            head = {name: value for name, value in raw.items() if name in _HEAD}
            read = read_instance(head, self.terms, key=key, depth=depth, pointer=pointer, nulls=Nulls.DEEP)
            kind = read["type"]
            patch = InstancePatch(kind, pointer, depth, stated=stated, dataset_id=read.get("datasetId"))
            if is_deletion(read):
                patch.deleted = True
                return patch
            member = VALUE_MEMBERS[kind]
            patch.value, patch.raw = read[member], raw[member]
        beside = {name: value for name, value in raw.items() if name in NOT_ATTRIBUTES or name in SYSTEM_MEMBERS}
        read_members(beside, kind, patch.members, self.terms, key=key, depth=depth, pointer=pointer, nulls=Nulls.DEEP)
        patch.dataset_id = patch.members.pop("datasetId", None)
        children = {name: value for name, value in raw.items() if name not in beside}
        if children:
            patch.attributes = _Reader(self.terms).attributes(children, depth + _LEVELS_OF_ATTRIBUTE, pointer)
        return patch

    def _bare(self, raw: Any, depth: int, pointer: str) -> InstancePatch:
        """A value without members around it: of a Property or GeoProperty, unless the entity knows better."""
        kind = "GeoProperty" if looks_like_geometry(raw) else "Property"
        patch = InstancePatch(kind, pointer, depth, stated=False, bare=True, raw=raw)
        if raw in (NGSI_LD_NULL, [NGSI_LD_NULL]):
            patch.deleted = True
        else:
            patch.value = read_value(kind, raw, self.terms, depth + 1, pointer, Nulls.DEEP)
        return patch


def _is_instance(item: Any) -> bool:
    return type(item) is dict and (is_attribute_type(item.get("type")) or not _VALUES.isdisjoint(item))


def _check_datasets(name: str, patches: list[InstancePatch]) -> None:
    seen = set()
    for patch in patches:
        if patch.dataset_id in seen:
            named = f"the datasetId {patch.dataset_id}" if patch.dataset_id else "no datasetId"
            raise BadRequestData(
                f"Two instances of the attribute {name!r} have {named}: each datasetId may occur once.",
                pointer=patch.pointer,
            )
        seen.add(patch.dataset_id)


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _bare_texts(patches: Patches) -> Iterator[str]:
    """The texts that the entity may turn out to hold as those of a VocabProperty."""
    for family in patches.values():
        for patch in family:
            if patch.bare:
                texts = patch.raw if isinstance(patch.raw, list) else [patch.raw]
                yield from (text for text in texts if isinstance(text, str))
            yield from _bare_texts(patch.attributes)


def _expanded(texts: Iterator[str], terms: Vocabulary) -> KnownTexts:
    found: dict[str, str | BadRequestData] = {}
    for text in texts:
        try:
            found[text] = terms.expand_vocab(text)
        except BadRequestData as error:
            found[text] = error
    return KnownTexts(found)
