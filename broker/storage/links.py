"""Where the Relationships of entities lead: asked of MongoDB for many entities at once, without reading them."""

from collections.abc import Sequence
from inspect import isawaitable
from typing import Any

from broker.storage.client import storage_errors
from broker.storage.entities import COLLECTION
from broker.storage.tenants import Tenants


class Links:
    """The targets of Relationships, of all tenants."""

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def targets(self, tenant: str, condition: dict[str, Any], names: Sequence[str], limit: int) -> list[str]:
        """At most `limit` distinct ids that the entities which fulfil a filter are linked to.

        `names` are the attribute keys on the way to the Relationship or ListRelationship: its own alone, unless it is
        one of another attribute. What has expired counts, too.
        """
        path = "$state." + ".".join(f"attributes.{name}" for name in names)
        # MongoDB gives an array for each array on the way: `state`, one for each name, and that of the targets.
        unwound = [{"$unwind": "$found"}] * (len(names) + 3)
        pipeline = [
            {"$match": condition},
            {"$project": {"_id": 0, "found": [f"{path}.object", f"{path}.objectList"]}},
            *unwound,
            {"$match": {"found": {"$type": "string"}}},
            {"$group": {"_id": "$found"}},
            {"$limit": limit},
        ]
        database = await self._tenants.database(tenant)
        with storage_errors():
            cursor: Any = database[COLLECTION].aggregate(pipeline, allowDiskUse=True)
            if isawaitable(cursor):  # Motor has the cursor at once
                cursor = await cursor
            return [document["_id"] async for document in cursor]
