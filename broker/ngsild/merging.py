"""Merge Entity as a pure function (clauses 5.5.12, 5.6.17, 5.6.20).

What the fragment names is merged with what the entity has, to any depth: attributes instance by instance, instances
member by member, sub-attributes as attributes, and JSON values key by key as RFC 7396 does. An NGSI-LD Null removes
what it stands for; where nothing is there to be removed, nothing happens. Arrays, geometries and lists are values as a
whole: the new one takes the place of the old one.
"""

from dataclasses import dataclass
from typing import Any

from broker.ngsild.attribute_values import Nulls, Vocabulary, read_value
from broker.ngsild.attributes import check_definition
from broker.ngsild.errors import BadRequestData
from broker.ngsild.merge_fragments import MISSING, InstancePatch, MergeFragment, Patches
from broker.ngsild.model import NGSI_LD_NULL, VALUE_MEMBERS, Attributes, Entity, Instance
from broker.ngsild.mutations import existing, type_matches, with_types
from broker.ngsild.names import SPECIAL_KEYS

_WITH_KEYS = frozenset({"Property", "JsonProperty", "LanguageProperty"})
"""The attribute types whose values are merged key by key."""


@dataclass(slots=True, frozen=True)
class Common:
    """What a request says once for all attributes that it merges (6.5.3.4).

    `observed_at` renews the observedAt of attributes that have one and are given none; `lang` is the language of plain
    texts that are meant for a LanguageProperty.
    """

    observed_at: str | None = None
    lang: str | None = None


@dataclass(slots=True, frozen=True)
class MergeEntity:
    """Clause 5.6.17. Outcome: None. BadRequestData where an attribute would change its type."""

    entity_id: str
    fragment: MergeFragment
    common: Common = Common()
    selector: type_matches | None = None

    def __call__(self, before: Entity | None, now: str) -> tuple[Entity, None]:
        entity = existing(before, self.entity_id, self.selector)
        fragment = self.fragment
        merge = _Merge(fragment.terms, self.common, now)
        attributes = merge.attributes(entity["attributes"], fragment.attributes)
        new = {**entity, "attributes": attributes, "types": with_types(entity, fragment.types)}
        _set(new, "scopes", fragment.scopes, [NGSI_LD_NULL])
        _set(new, "expiresAt", fragment.expires_at, NGSI_LD_NULL)
        if len(new) == len(entity) and all(new.get(name) is value for name, value in entity.items()):
            return entity, None
        new["modifiedAt"] = now
        return new, None


def merge_value(target: Any, patch: Any) -> Any:
    """`patch` merged into a JSON value as RFC 7396 says, with the NGSI-LD Null in the role of null (clause 5.5.12).

    Neither argument is changed; parts that the patch does not reach are shared.
    """
    if type(patch) is not dict:
        return patch
    merged = dict(target) if type(target) is dict else {}
    for key, value in patch.items():
        if value == NGSI_LD_NULL:
            merged.pop(key, None)
        else:
            merged[key] = merge_value(merged.get(key), value)
    return merged


def _set(entity: Entity, name: str, value: Any, deletion: Any) -> None:
    if value == deletion:
        entity.pop(name, None)
    elif value is not None:
        entity[name] = value


@dataclass(slots=True, frozen=True)
class _Merge:
    terms: Vocabulary
    common: Common
    now: str

    def attributes(self, current: Attributes, patches: Patches) -> Attributes:
        """The attributes after the merge: `current` itself if nothing is merged."""
        merged: Attributes = dict(current)
        changed = False
        for key, family in patches.items():
            instances = self._instances(key, current.get(key, []), family)
            if instances is None:
                continue
            changed = True
            if instances:
                merged[key] = instances
            else:
                del merged[key]
        return merged if changed else current

    def _instances(self, key: str, current: list[Instance], family: list[InstancePatch]) -> list[Instance] | None:
        """The instances after the merge, an empty list if none is left; None if nothing happens."""
        instances = list(current)
        touched = False
        for patch in family:
            index = next((i for i, old in enumerate(instances) if old.get("datasetId") == patch.dataset_id), None)
            if index is None and patch.deleted:
                continue
            before = None if index is None else instances.pop(index)
            after = None if patch.deleted else self._new(patch) if before is None else self._merged(before, patch)
            if after is not None:
                if key in SPECIAL_KEYS:
                    check_definition(key, after, patch.depth, patch.pointer)
                instances.insert(len(instances) if index is None else index, after)
            touched = touched or before is not after
        return instances if touched else None

    def _new(self, patch: InstancePatch) -> Instance | None:
        """The instance that a patch makes where there was none; None if it only removes."""
        member = VALUE_MEMBERS[patch.kind]
        if patch.value is MISSING:
            raise BadRequestData(
                f"The {patch.kind} has no {member!r}: an attribute that the entity does not have yet needs one.",
                pointer=patch.pointer,
            )
        value = merge_value(None, patch.value)
        if value == {} and patch.kind == "LanguageProperty":
            return None
        new: Instance = {"type": patch.kind, member: value}
        if patch.dataset_id is not None:
            new["datasetId"] = patch.dataset_id
        new |= {name: given for name, given in patch.members.items() if given != NGSI_LD_NULL}
        children = self.attributes({}, patch.attributes)
        if children:
            new["attributes"] = children
        return new | {"createdAt": self.now, "modifiedAt": self.now}

    def _merged(self, current: Instance, patch: InstancePatch) -> Instance | None:
        """The instance after the merge; None if no text of a LanguageProperty is left."""
        kind = current["type"]
        new = dict(current)
        if patch.value is not MISSING or patch.kind != kind:
            member = VALUE_MEMBERS[kind]
            value = patch.value if patch.kind == kind else self._read_as(kind, patch)
            new[member] = merge_value(current[member], value) if kind in _WITH_KEYS else value
            if new[member] == {} and kind == "LanguageProperty":
                return None
        for name, given in patch.members.items():
            if given == NGSI_LD_NULL:
                new.pop(name, None)
            else:
                new[name] = given
        if self.common.observed_at is not None and "observedAt" in current and "observedAt" not in patch.members:
            new["observedAt"] = self.common.observed_at
        if patch.attributes:
            children = self.attributes(current.get("attributes", {}), patch.attributes)
            if children:
                new["attributes"] = children
            else:
                new.pop("attributes", None)
        new["modifiedAt"] = self.now
        return new

    def _read_as(self, kind: str, patch: InstancePatch) -> Any:
        """The value of a patch as the type `kind`, which the entity has, wants it. BadRequestData if it cannot be."""
        if kind == "LanguageProperty" and patch.kind == "Property" and _is_text(patch.raw):
            if self.common.lang is not None:
                return {self.common.lang: patch.raw}
            if patch.bare:
                raise BadRequestData(
                    "The attribute is a LanguageProperty, and the text does not say in which language it is: give the "
                    "URL parameter lang, or a languageMap.",
                    pointer=patch.pointer,
                )
        member = VALUE_MEMBERS[kind]
        if patch.stated or not (patch.bare or VALUE_MEMBERS[patch.kind] == member):
            raise BadRequestData(
                f"The attribute is a {kind}, not a {patch.kind}: a merge cannot change its type. Delete it first, or "
                "replace it.",
                pointer=f"{patch.pointer}/type" if patch.stated else patch.pointer,
            )
        pointer = patch.pointer if patch.bare else f"{patch.pointer}/{member}"
        return read_value(kind, patch.raw, self.terms, patch.depth + 1, pointer, Nulls.DEEP)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))
