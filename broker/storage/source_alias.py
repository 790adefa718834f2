"""The name that a broker goes by among others, if it was given none: made up once, the same for all its processes."""

import secrets

from pymongo import ReturnDocument, WriteConcern

from broker.storage.client import DURABLE, Mongo, storage_errors

_ID = "alias"


async def kept_alias(mongo: Mongo) -> str:
    """The alias that the database keeps; the first process to ask makes it up. Unavailable when storage is lost."""
    collection = mongo.control["identity"].with_options(write_concern=WriteConcern(**DURABLE))
    proposal = f"vela-{secrets.token_hex(8)}"
    with storage_errors():
        kept = await collection.find_one_and_update(
            {"_id": _ID}, {"$setOnInsert": {"alias": proposal}}, upsert=True, return_document=ReturnDocument.AFTER
        )
    alias: str = kept["alias"]
    return alias
