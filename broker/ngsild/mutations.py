"""What the provision operations do to an entity: pure functions from (entity or None) to (entity or None, outcome).

Operations on one attribute stand in `attribute_mutations.py`, Merge Entity in `merging.py`.

A mutation is called with the entity as it is, None if it does not exist, and the timestamp of the change. It never
modifies the entity it is given: it returns a new one that shares all unchanged parts, which is how the committer and
the subscriptions see what changed. It may be called more than once, when another process changed the entity first.
Clauses 5.6.1 to 5.6.3, 5.6.6 to 5.6.10 and 5.6.18.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from broker.ngsild.attributes import REMOVABLE, is_deletion
from broker.ngsild.errors import AlreadyExists, BadRequestData, ResourceNotFound
from broker.ngsild.fragments import Fragment
from broker.ngsild.model import NGSI_LD_NULL, Attributes, Entity, Instance, decode_key, find

type_matches = Callable[[list[str]], bool]
Mutation = Callable[[Entity | None, str], tuple[Entity | None, Any]]

_NO_OVERWRITE = "It exists already and overwriting is not allowed."
_NO_SCOPE = "The entity has no scope that could be updated: append it with POST."
_BESIDE = ("types", "scopes", "expiresAt")
"""What an update can change beside attributes."""


@dataclass(slots=True)
class UpdateResult:
    """What an operation on several attributes did (clause 5.2.18): attribute IRIs, and why some stayed as they were.

    An attribute of which only some instances were written is in both lists.
    """

    updated: list[str] = field(default_factory=list)
    not_updated: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class CreateEntity:
    """Clause 5.6.1. Outcome: None."""

    fragment: Fragment

    def __call__(self, before: Entity | None, now: str) -> tuple[Entity, None]:
        if before is not None:
            raise AlreadyExists(f"The entity {before['_id']} exists already: use an update, or delete it first.")
        return _new_entity(self.fragment, now), None


@dataclass(slots=True)
class UpsertEntity:
    """Clause 5.6.8: create, or else replace or update. Outcome: True if created, False if replaced, UpdateResult."""

    fragment: Fragment
    update: bool

    def __call__(self, before: Entity | None, now: str) -> tuple[Entity, bool | UpdateResult]:
        if before is None:
            return _new_entity(self.fragment, now), True
        if self.update:
            return UpdateAttributes(before["_id"], self.fragment)(before, now)
        return _replacement(before, self.fragment, now), False


@dataclass(slots=True)
class ReplaceEntity:
    """Clause 5.6.18. Outcome: None."""

    entity_id: str
    fragment: Fragment
    selector: type_matches | None = None

    def __call__(self, before: Entity | None, now: str) -> tuple[Entity, None]:
        return _replacement(existing(before, self.entity_id, self.selector), self.fragment, now), None


@dataclass(slots=True)
class UpdateAttributes:
    """Clause 5.6.2 (PATCH attrs) and the update of a batch. Outcome: UpdateResult."""

    entity_id: str
    fragment: Fragment
    selector: type_matches | None = None

    def __call__(self, before: Entity | None, now: str) -> tuple[Entity, UpdateResult]:
        entity = existing(before, self.entity_id, self.selector)
        result = UpdateResult()
        ignore_scope = self.fragment.scopes is not None and "scopes" not in entity
        if ignore_scope:
            result.not_updated.append(("scope", _NO_SCOPE))
        return _apply(entity, self.fragment, now, result, ignore_scope=ignore_scope), result


@dataclass(slots=True)
class AppendAttributes:
    """Clause 5.6.3 (POST attrs). Outcome: UpdateResult."""

    entity_id: str
    fragment: Fragment
    overwrite: bool = True
    selector: type_matches | None = None

    def __call__(self, before: Entity | None, now: str) -> tuple[Entity, UpdateResult]:
        entity = existing(before, self.entity_id, self.selector)
        result = UpdateResult()
        return _apply(entity, self.fragment, now, result, overwrite=self.overwrite), result


@dataclass(slots=True)
class DeleteEntity:
    """Clause 5.6.6. Outcome: None."""

    entity_id: str
    selector: type_matches | None = None

    def __call__(self, before: Entity | None, now: str) -> tuple[None, None]:
        existing(before, self.entity_id, self.selector)
        return None, None


def existing(before: Entity | None, entity_id: str, selector: type_matches | None) -> Entity:
    """The entity; ResourceNotFound if it is absent or its types do not match the selector of the request."""
    if before is None:
        raise ResourceNotFound(f"The entity {entity_id} does not exist.")
    if selector is not None and not selector(before["types"]):
        raise ResourceNotFound(f"The entity {entity_id} exists, but not with the type that the request asks for.")
    return before


def stamped(instance: Instance, now: str, previous: Instance | None = None) -> Instance:
    """`instance` and its sub-attributes with system timestamps; what existed in `previous` keeps its createdAt.

    The instance replaces the previous one: a member or sub-attribute that is an NGSI-LD Null is left out.
    """
    if NGSI_LD_NULL in instance.values():
        new = {name: value for name, value in instance.items() if value != NGSI_LD_NULL or name not in REMOVABLE}
    else:
        new = instance.copy()
    new["createdAt"] = previous["createdAt"] if previous is not None else now
    new["modifiedAt"] = now
    children = new.pop("attributes", None)
    if children:
        older = previous.get("attributes", {}) if previous is not None else {}
        kept = {
            key: [
                stamped(child, now, find(older.get(key, ()), child.get("datasetId")))
                for child in family
                if not is_deletion(child)
            ]
            for key, family in children.items()
        }
        kept = {key: family for key, family in kept.items() if family}
        if kept:
            new["attributes"] = kept
    return new


def with_types(entity: Entity, types: list[str] | None) -> list[str]:
    """The types of the entity with those of a fragment added (clause 5.5.8)."""
    current: list[str] = entity["types"]
    if types is None or types == current or all(name in current for name in types):
        return current
    return current + [name for name in types if name not in current]


def write_instances(
    attributes: Attributes, key: str, incoming: list[Instance], now: str, overwrite: bool
) -> tuple[bool, str | None]:
    """Write the instances of a fragment into `attributes`: whether any was written, and why others were not."""
    current = attributes.get(key)
    if len(incoming) == 1 and not is_deletion(incoming[0]):
        [instance] = incoming  # what nearly all updates are about
        if current is None:
            attributes[key] = [stamped(instance, now)]
            return True, None
        if overwrite and len(current) == 1 and current[0].get("datasetId") == instance.get("datasetId"):
            attributes[key] = [stamped(instance, now, current[0])]
            return True, None
    instances = list(current or ())
    reason = None
    written = False
    for instance in incoming:
        dataset_id = instance.get("datasetId")
        index = next((i for i, old in enumerate(instances) if old.get("datasetId") == dataset_id), None)
        if is_deletion(instance):
            if index is None:
                reason = "The attribute instance to be deleted does not exist."
                continue
            del instances[index]
        elif index is None:
            instances.append(stamped(instance, now))
        elif overwrite:
            instances[index] = stamped(instance, now, instances[index])
        else:
            reason = _NO_OVERWRITE
            continue
        written = True
    if written:
        if instances:
            attributes[key] = instances
        else:
            del attributes[key]
    return written, reason


def _new_entity(fragment: Fragment, now: str) -> Entity:
    if (
        fragment.expires_at == NGSI_LD_NULL
        or fragment.scopes == [NGSI_LD_NULL]
        or any(is_deletion(instance) for instances in fragment.attributes.values() for instance in instances)
    ):
        raise BadRequestData(f'A new entity has nothing that "{NGSI_LD_NULL}" could delete: leave the member out.')
    entity: Entity = {
        "_id": fragment.entity_id,
        "types": fragment.types,
        "attributes": {
            key: [stamped(instance, now) for instance in instances] for key, instances in fragment.attributes.items()
        },
        "createdAt": now,
        "modifiedAt": now,
    }
    if fragment.scopes is not None:
        entity["scopes"] = fragment.scopes
    if fragment.expires_at is not None:
        entity["expiresAt"] = fragment.expires_at
    return entity


def _replacement(before: Entity, fragment: Fragment, now: str) -> Entity:
    entity = _new_entity(fragment, now)
    entity["_id"] = before["_id"]
    entity["createdAt"] = before["createdAt"]
    if fragment.types is None:
        entity["types"] = before["types"]
    return entity


def _apply(
    entity: Entity,
    fragment: Fragment,
    now: str,
    result: UpdateResult,
    *,
    overwrite: bool = True,
    ignore_scope: bool = False,
) -> Entity:
    """Partial update patch at the level of attributes (clause 5.5.8), or append without overwriting (5.6.3)."""
    attributes: Attributes = dict(entity["attributes"])
    for key, incoming in fragment.attributes.items():
        written, reason = write_instances(attributes, key, incoming, now, overwrite)
        if written:
            result.updated.append(decode_key(key))
        if reason is not None:
            result.not_updated.append((decode_key(key), reason))
    new = {**entity, "attributes": attributes, "modifiedAt": now}
    new["types"] = with_types(entity, fragment.types)
    if fragment.scopes is not None and not ignore_scope:
        _write_scopes(new, fragment.scopes, overwrite)
    if fragment.expires_at == NGSI_LD_NULL:
        new.pop("expiresAt", None)
    elif fragment.expires_at is not None:
        if overwrite or "expiresAt" not in entity:
            new["expiresAt"] = fragment.expires_at
        else:
            result.not_updated.append(("expiresAt", _NO_OVERWRITE))
    if result.not_updated and not result.updated and all(new.get(name) is entity.get(name) for name in _BESIDE):
        return entity
    return new


def _write_scopes(entity: Entity, scopes: list[str], overwrite: bool) -> None:
    if scopes == [NGSI_LD_NULL]:
        entity.pop("scopes", None)
    elif overwrite:
        entity["scopes"] = scopes
    else:
        current = entity.get("scopes", [])
        added = [scope for scope in scopes if scope not in current]
        if added:
            entity["scopes"] = current + added
