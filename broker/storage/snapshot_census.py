"""The census of a snapshot's content: what is in it came all at once, and is counted once (docs/adr/0008)."""

from collections import defaultdict
from inspect import isawaitable
from typing import Any

from pymongo import WriteConcern

from broker.storage.census import COLLECTION, ENTITIES, WRITERS
from broker.storage.census_counts import add_shape
from broker.storage.client import DURABLE, Mongo, storage_errors

_KINDS = {"$map": {"input": {"$objectToArray": "$state.attributes"}, "as": "one", "in": ["$$one.k", "$$one.v.type"]}}
_ALIKE: list[dict[str, Any]] = [
    {"$project": {"state": {"$first": "$state"}}},
    {"$group": {"_id": {"types": "$state.types", "kinds": _KINDS}, "entities": {"$sum": 1}}},
]


async def count_content(mongo: Mongo, content: str, database: Any) -> None:
    """Make the census of a content to which nobody writes yet. Unavailable if the storage is lost."""
    numbers: dict[str, defaultdict[str, int]] = {}
    with storage_errors():
        opening: Any = database[ENTITIES].aggregate(_ALIKE, allowDiskUse=True)
        cursor = await opening if isawaitable(opening) else opening  # Motor has the cursor at once
        async for alike in cursor:
            types = tuple(alike["_id"]["types"])
            shape = types, frozenset((key, tuple(sorted(kinds))) for key, kinds in alike["_id"]["kinds"])
            for name in set(types):
                add_shape(numbers.setdefault(name, defaultdict(int)), name, shape, alike["entities"])
        census = database[COLLECTION]
        await census.delete_many({})
        if numbers:
            await census.insert_many([_document(name, counts) for name, counts in numbers.items()])
        counting = mongo.control[WRITERS].with_options(write_concern=WriteConcern(**DURABLE))
        await counting.update_one({"_id": content}, {"$set": {"counted": True}}, upsert=True)


async def forget_count(mongo: Mongo, content: str) -> None:
    """Forget that a content was counted. Unavailable if the storage is lost."""
    with storage_errors():
        await mongo.control[WRITERS].delete_one({"_id": content})


def _document(name: str, counts: dict[str, int]) -> dict[str, Any]:
    attributes: dict[str, dict[str, int]] = {}
    for path, number in counts.items():
        member, _, rest = path.partition(".")
        if member == "attributes":
            key, _, kind = rest.rpartition(".")
            attributes.setdefault(key, {})[kind] = number
    return {"_id": name, "entities": counts["entities"], "attributes": attributes}
