"""From what a group did to its entities to the statements that store it.

Every statement carries the version that the entity had when it was read: a statement whose entity changed meanwhile
changes nothing. The version of an update stands in an array filter, so that MongoDB finds the entity by its id alone,
which spares its query planner (docs/adr/0004). Every written entity shows, under `writers`, the number of the last
commit of each process that wrote to it: that is how a commit whose answer was lost is told from one that never
happened. They stand in the order of their last commits, and the oldest leave when there are too many.
"""

import time
from collections.abc import Iterable
from typing import Any

from broker.ngsild.changes import changed_attributes
from broker.ngsild.expiry import MARK
from broker.ngsild.model import LOCATION, Entity
from broker.ngsild.shapes import difference
from broker.storage.documents import as_document, location_copy
from broker.storage.entities import WRITERS_KEPT, Writes


def add_statement(
    writes: Writes,
    stored: Entity | None,
    after: Entity | None,
    process: str,
    commit: int,
    touched: tuple[str, ...] | None = None,
) -> Entity | None:
    """Add the statement that turns `stored` into `after`; return the entity as it will be stored.

    `stored` is the entity as it was read, None if there was none; both are None or the same object if nothing changed,
    which must not be passed here. `touched` is what `changed_attributes` tells of the two, where that is known already.
    """
    if touched is None:
        touched = changed_attributes(stored, after)
    shapes = difference(stored, after, touched)
    if shapes is not None:
        writes.differences[(stored or after or {})["_id"]] = shapes
    if after is None:
        assert stored is not None
        writes.deletes.append({"q": {"_id": stored["_id"], "state.version": stored["version"]}, "limit": 1})
        writes.deleted.append(stored["_id"])
        return None
    if stored is None:
        # A version never repeats, even when an entity is deleted and created again: caches elsewhere rely on that.
        new = {**after, "version": time.time_ns() // 1000, "writers": {process: commit}}
        writes.inserts.append(new)
        writes.inserted.append(new["_id"])
        writes.transient |= _is_transient(new)
        return new
    version = stored["version"] + 1
    same_writer = next(reversed(stored["writers"]), None) == process
    writers = {**stored["writers"], process: commit} if same_writer else _writers(stored["writers"], process, commit)
    new = {**after, "version": version, "writers": writers}
    mine = {f"state.$[s].writers.{process}": commit} if same_writer else {"state.$[s].writers": writers}
    writes.updates.append(_update(stored, new, touched, mine))
    writes.updated.append(stored["_id"])
    writes.transient |= _is_transient(new)
    return new


def _is_transient(entity: Entity) -> bool:
    return MARK in entity or "expiresAt" in entity


def _writers(stored: dict[str, int], process: str, commit: int) -> dict[str, int]:
    others = [(name, number) for name, number in stored.items() if name != process]
    return dict([*others[-WRITERS_KEPT + 1 :], (process, commit)])


def _update(stored: Entity, new: Entity, touched: Iterable[str], assign_writers: dict[str, Any]) -> dict[str, Any]:
    if stored["createdAt"] != new["createdAt"] or stored.get("expiresAt") != new.get("expiresAt"):
        return {"q": {"_id": stored["_id"], "state.version": stored["version"]}, "u": as_document(new)}
    assign: dict[str, Any] = {
        "state.$[s].version": new["version"],
        "state.$[s].modifiedAt": new["modifiedAt"],
        **assign_writers,
    }
    remove: dict[str, str] = {}
    old_attributes, new_attributes = stored["attributes"], new["attributes"]
    for key in touched:
        if key in new_attributes:
            assign[f"state.$[s].attributes.{key}"] = new_attributes[key]
        else:
            remove[f"state.$[s].attributes.{key}"] = ""
    if old_attributes.get(LOCATION) is not new_attributes.get(LOCATION):
        location = location_copy(new)
        if location is None:
            remove["state.$[s].location"] = ""
        else:
            assign["state.$[s].location"] = location
    for name in ("types", "scopes", MARK):
        if name not in new:
            if name in stored:
                remove[f"state.$[s].{name}"] = ""
        elif stored.get(name) is not new[name]:
            assign[f"state.$[s].{name}"] = new[name]
    return {
        "q": {"_id": stored["_id"]},
        "u": {"$set": assign, "$unset": remove} if remove else {"$set": assign},
        "arrayFilters": [{"s.version": stored["version"]}],
    }
