"""Drafts: what the outbox keeps of a notification whose linked entities are looked up when it is delivered.

A draft is the change itself, in the stored form: of the entity before it only the attributes that it changed, as the
others are those of the entity after it.
"""

import orjson

from broker.ngsild.changes import Change


def write_draft(change: Change) -> bytes:
    """The draft for a change."""
    before = change.before
    if before is not None and change.after is not None:
        old = before["attributes"]
        before = {**before, "attributes": {key: old[key] for key in change.attributes if key in old}}
    return orjson.dumps({"before": before, "after": change.after, "now": change.now})


def read_draft(draft: bytes, tenant: str, entity_id: str) -> Change:
    """The change that `draft` was made of; what did not change is missing before."""
    members = orjson.loads(draft)
    return Change(tenant, entity_id, members["before"], members["after"], members["now"])
