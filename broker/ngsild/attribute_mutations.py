"""What operations on one attribute do to an entity (clauses 5.6.4, 5.6.5, 5.6.19): mutations as in `mutations.py`."""

from dataclasses import dataclass

from broker.ngsild.attribute_values import RELATIONSHIPS, WITH_UNITS, check_language_value_type
from broker.ngsild.attributes import is_deletion
from broker.ngsild.errors import BadRequestData, ResourceNotFound
from broker.ngsild.fragments import AttributeFragment
from broker.ngsild.geometry import looks_like_geometry
from broker.ngsild.model import NGSI_LD_NULL, VALUE_MEMBERS, Entity, Instance, decode_key
from broker.ngsild.mutations import existing, stamped, type_matches, write_instances

_OWNERS = {"unitCode": WITH_UNITS, "valueType": frozenset(VALUE_MEMBERS) - RELATIONSHIPS, "objectType": RELATIONSHIPS}
"""The types of attributes that may have a member."""


@dataclass(slots=True, frozen=True)
class PartialUpdate:
    """Clause 5.6.4: change members of one attribute instance, or delete it by an NGSI-LD Null. Outcome: None."""

    entity_id: str
    key: str
    fragment: AttributeFragment
    selector: type_matches | None = None

    def __call__(self, before: Entity | None, now: str) -> tuple[Entity, None]:
        entity = existing(before, self.entity_id, self.selector)
        instances, index = _locate(entity, self.key, self.fragment.dataset_id)
        changed = _partially_updated(instances[index], self.fragment, now)
        kept = [] if changed is None else [changed]
        return _with_attribute(entity, self.key, [*instances[:index], *kept, *instances[index + 1 :]], now), None


@dataclass(slots=True, frozen=True)
class ReplaceAttribute:
    """Clause 5.6.19: replace one attribute instance. Outcome: None."""

    entity_id: str
    key: str
    instance: Instance
    selector: type_matches | None = None

    def __call__(self, before: Entity | None, now: str) -> tuple[Entity, None]:
        entity = existing(before, self.entity_id, self.selector)
        instances, index = _locate(entity, self.key, self.instance.get("datasetId"))
        changed = stamped(self.instance, now, instances[index])
        return _with_attribute(entity, self.key, [*instances[:index], changed, *instances[index + 1 :]], now), None


@dataclass(slots=True, frozen=True)
class DeleteAttribute:
    """Clause 5.6.5. `key` None stands for the scope. Outcome: None."""

    entity_id: str
    key: str | None
    dataset_id: str | None = None
    delete_all: bool = False
    selector: type_matches | None = None

    def __call__(self, before: Entity | None, now: str) -> tuple[Entity, None]:
        entity = existing(before, self.entity_id, self.selector)
        if self.key is None:
            if "scopes" not in entity:
                raise ResourceNotFound(f"The entity {self.entity_id} has no scope.")
            return {name: value for name, value in entity.items() if name != "scopes"} | {"modifiedAt": now}, None
        if self.delete_all:
            if self.key not in entity["attributes"]:
                raise _no_attribute(self.entity_id, self.key, None)
            return _with_attribute(entity, self.key, [], now), None
        instances, index = _locate(entity, self.key, self.dataset_id)
        return _with_attribute(entity, self.key, [*instances[:index], *instances[index + 1 :]], now), None


def _partially_updated(current: Instance, fragment: AttributeFragment, now: str) -> Instance | None:
    """The instance after a partial update; None if the update deletes it."""
    member = VALUE_MEMBERS[current["type"]]
    if fragment.kind is not None and fragment.kind != current["type"]:
        raise BadRequestData(
            f"The attribute is a {current['type']}, not a {fragment.kind}: a partial update cannot change its type.",
            pointer="/type",
        )
    if is_deletion(fragment.changes):
        return None
    for name in fragment.changes:
        if name != member and name in VALUE_MEMBERS.values():
            raise BadRequestData(
                f"The attribute is a {current['type']}: its value is in {member!r}, not in {name!r}.",
                pointer=f"/{name}",
            )
    if current["type"] == "GeoProperty" and not looks_like_geometry(fragment.changes.get("value", current["value"])):
        raise BadRequestData("The attribute is a GeoProperty: its value must be a GeoJSON geometry.", pointer="/value")
    if current["type"] == "LanguageProperty" and fragment.changes.get("valueType", NGSI_LD_NULL) != NGSI_LD_NULL:
        check_language_value_type(fragment.changes["valueType"], "/valueType")
    for name, owners in _OWNERS.items():
        if name in fragment.changes and current["type"] not in owners:
            raise BadRequestData(f"A {current['type']} has no {name}: leave it out.", pointer=f"/{name}")
    new = dict(current)
    for name, value in fragment.changes.items():
        if name == "attributes":
            children = dict(current.get("attributes", {}))
            for key, incoming in value.items():
                write_instances(children, key, incoming, now, overwrite=True)
            new["attributes"] = children
        elif value == NGSI_LD_NULL and name != member:
            new.pop(name, None)
        else:
            new[name] = value
    if not new.get("attributes", True):
        del new["attributes"]
    new["modifiedAt"] = now
    return new


def _locate(entity: Entity, key: str, dataset_id: str | None) -> tuple[list[Instance], int]:
    instances = entity["attributes"].get(key, [])
    for index, instance in enumerate(instances):
        if instance.get("datasetId") == dataset_id:
            return instances, index
    raise _no_attribute(entity["_id"], key, dataset_id)


def _no_attribute(entity_id: str, key: str, dataset_id: str | None) -> ResourceNotFound:
    named = f" with the datasetId {dataset_id}" if dataset_id else ""
    return ResourceNotFound(f"The entity {entity_id} has no attribute {decode_key(key)}{named}.")


def _with_attribute(entity: Entity, key: str, instances: list[Instance], now: str) -> Entity:
    attributes = dict(entity["attributes"])
    if instances:
        attributes[key] = instances
    else:
        del attributes[key]
    return {**entity, "attributes": attributes, "modifiedAt": now}
