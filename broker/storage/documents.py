"""The document of an entity in the `entities` collection, and entities that are not decoded before somebody needs them.

A document is `{"_id": the entity's URI, "state": [the rest]}`. The rest is the stored form of `ngsild/model.py` plus
two members that only indexes read: `location`, the geometries of the default geo-property as plain GeoJSON, and
`expires`, the expiry of the entity as a text that sorts by time. They are derived on the way in and dropped on the way
out. `state` is an array of one, so that an update can require a version of it in an array filter (docs/adr/0004).

`version` comes first in it, so that a reader finds it in the bytes: whoever has rendered that version already needs to
decode nothing (docs/adr/0006).
"""

from struct import Struct
from typing import Any

import bson
from bson.errors import BSONError

from broker.ngsild.expiry import MARK, visible
from broker.ngsild.geometry import index_copy
from broker.ngsild.model import LOCATION, Entity
from broker.ngsild.timestamps import sortable
from broker.storage.client import translate

_INDEX_ONLY = ("location", "expires")

_ID = b"\x02_id\x00"
_STATE = b"\x04state\x00"
_VERSION = b"\x12version\x00"
_STATE_TO_VERSION = len(_STATE) + 4 + len(b"\x030\x00") + 4
"""Bytes from the member `state` to its first element's first member: two names, and the lengths of array and object."""

_INT32, _INT64 = Struct("<i").unpack_from, Struct("<q").unpack_from


class StoredEntity:
    """An entity as it was read: `entity_id` and `version` at once, the rest decoded when it is asked for.

    An entity never has the same version twice (`commit/plan.py`), so that (id, version) stands for its content.
    """

    __slots__ = ("_entity", "_raw", "entity_id", "version")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._entity: Entity | None = None
        end = 13 + _INT32(raw, 9)[0]
        at = end + _STATE_TO_VERSION
        if raw.startswith(_VERSION, at) and raw.startswith(_STATE, end) and raw.startswith(_ID, 4):
            self.entity_id = raw[13 : end - 1].decode()
            self.version: int = _INT64(raw, at + len(_VERSION))[0]
        else:  # written before `version` came first, or a version of 32 bits
            entity = self.entity
            self.entity_id, self.version = entity["_id"], entity["version"]

    @property
    def entity(self) -> Entity:
        """The entity in its stored form, decoded once. What has expired may still be in it."""
        if self._entity is None:
            try:
                self._entity = as_entity(bson.decode(self._raw))
            except BSONError as error:
                raise translate(error) from error
        return self._entity

    @property
    def transient(self) -> bool:
        """Whether the entity expires, or a part of it: then its version alone does not tell what there is of it."""
        return MARK in self.entity or "expiresAt" in self.entity

    def visible(self, now: str) -> Entity | None:
        """What there is of it at the instant `now`, a text of the form of `now_text`; None if it has expired."""
        return visible(self.entity, now)


def as_document(entity: Entity) -> dict[str, Any]:
    """The entity with the members that indexes read."""
    state = {"version": entity["version"], **entity}
    del state["_id"]
    location = location_copy(entity)
    if location is not None:
        state["location"] = location
    if "expiresAt" in entity:
        state["expires"] = sortable(entity["expiresAt"])
    return {"_id": entity["_id"], "state": [state]}


def as_entity(document: dict[str, Any]) -> Entity:
    """The entity of a document: without the members that only indexes read."""
    state = document["state"][0]
    for name in _INDEX_ONLY:
        state.pop(name, None)
    return {"_id": document["_id"], **state}


def location_copy(entity: Entity) -> dict[str, Any] | None:
    """The default geo-property for the 2dsphere index (clause 4.7), or None: of several instances, all together."""
    instances = entity["attributes"].get(LOCATION)
    if instances is None:
        return None
    copies = [index_copy(one["value"]) for one in instances if one["type"] == "GeoProperty"]
    if len(copies) > 1:
        return {"type": "GeometryCollection", "geometries": copies}
    return copies[0] if copies else None
