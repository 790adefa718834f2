"""Pages of entities with one command, and as little of the driver as that takes.

A cursor of the driver costs half as much again in the processor's time as a plain command, and RawBSONDocument spares
the decoding (docs/adr/0006). What a command lacks is added here: it is sent a second time if the connection was lost,
as the driver does with a cursor, and what does not fit into one answer (16 MB) is read with a cursor after all.
"""

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any, NamedTuple

from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument
from pymongo.errors import ServerSelectionTimeoutError

from broker.ngsild.errors import NgsiLdError, Unavailable
from broker.storage.client import storage_errors
from broker.storage.documents import StoredEntity

_INT32 = Struct("<i").unpack_from
_FIRST_BATCH = b"\x04firstBatch\x00"
_NO_MORE = b"\x12id\x00" + bytes(8)
_MARK = b"\x10page\x00"
"""The last member of what is found for several pages together: the number of the page, an int32."""


class Page(NamedTuple):
    """Which entities are asked for, in the order of their ids (`direction` -1: backwards), from the `skip`-th on.

    `condition` is the filter, encoded; `hint` is the name of the index to use.
    """

    condition: bytes
    limit: int
    skip: int
    direction: int
    hint: str | None


async def find(
    collection: Any,
    condition: Mapping[str, Any],
    *,
    limit: int,
    skip: int = 0,
    sort: dict[str, Any] | None = None,
    hint: str | None = None,
) -> list[StoredEntity]:
    """At most `limit` (one or more) entities that fulfil a filter, as the primary has them.

    `sort` maps fields to 1 or -1; `hint` is the name of the index to use. Unavailable if the storage does not answer.
    """
    # A batch of just `limit`: what MongoDB has sorted, it would keep a cursor open for, as if there were more.
    command: dict[str, Any] = {"find": collection.name, "filter": condition, "limit": limit, "batchSize": limit + 1}
    if sort is not None:
        command["sort"] = sort
    if skip:
        command["skip"] = skip
    if hint is not None:
        command["hint"] = hint
    found = await _found(collection, command)
    if found is None:
        return await _find_in_batches(collection, condition, limit, skip, sort, hint)
    return [StoredEntity(raw) for raw in found]


async def find_page(collection: Any, page: Page) -> list[StoredEntity]:
    """One page. Raises as `find`."""
    condition = RawBSONDocument(page.condition)
    sort = {"_id": page.direction}
    return await find(collection, condition, limit=page.limit, skip=page.skip, sort=sort, hint=page.hint)


async def find_pages(collection: Any, pages: Sequence[Page]) -> list[list[StoredEntity]]:
    """Several pages, with one command; each by itself if MongoDB cannot answer them together. Raises as `find`.

    MongoDB reads them one after the other, without the hints: for pages that it finds at once.
    """
    if len(pages) > 1:
        first, *others = (_stages(number, page) for number, page in enumerate(pages))
        union = [{"$unionWith": {"coll": collection.name, "pipeline": stages}} for stages in others]
        most = sum(page.limit for page in pages)
        command = {"aggregate": collection.name, "pipeline": [*first, *union], "cursor": {"batchSize": most + 1}}
        try:
            together = await _found(collection, command)
        except Unavailable:
            raise
        except NgsiLdError:  # whose fault it is comes out when each is asked for
            together = None
        if together is not None:
            found: list[list[StoredEntity]] = [[] for _ in pages]
            for raw in together:
                found[_number(raw)].append(StoredEntity(raw))
            return found
    return [await find_page(collection, page) for page in pages]


def _stages(number: int, page: Page) -> list[dict[str, Any]]:
    skipped = [{"$skip": page.skip}] if page.skip else []
    return [
        {"$match": RawBSONDocument(page.condition)},
        {"$sort": {"_id": page.direction}},
        *skipped,
        {"$limit": page.limit},
        {"$addFields": {"page": number}},
    ]


def _number(raw: bytes) -> int:
    at = len(raw) - 5
    if not raw.startswith(_MARK, at - len(_MARK)):
        raise ValueError("MongoDB answered a document without the number of its page as the last member")
    number: int = _INT32(raw, at)[0]
    return number


async def _found(collection: Any, command: dict[str, Any]) -> list[bytes] | None:
    """The documents that a command finds; None if they do not fit into one answer."""
    try:
        cursor = await _answer(collection.database, command)
    except Unavailable as error:
        if isinstance(error.__cause__, ServerSelectionTimeoutError):  # the driver has waited for one already
            raise
        cursor = await _answer(collection.database, command)
    documents, left = _documents(bytes(cursor.raw))
    if left:
        await _answer(collection.database, {"killCursors": collection.name, "cursors": [left]})
        return None
    return documents


def _documents(cursor: bytes) -> tuple[list[bytes], int]:
    """What a cursor {"firstBatch": […], "id": …} holds: documents, and the number by which more can be read, or 0."""
    if not cursor.startswith(_FIRST_BATCH, 4):
        decoded = RawBSONDocument(cursor)
        return [bytes(document.raw) for document in decoded["firstBatch"]], decoded["id"]
    found = []
    at = 4 + len(_FIRST_BATCH)
    end = at + _INT32(cursor, at)[0] - 1
    at += 4
    while at < end:  # an element: its type, its number as a text that ends with a zero, the document
        at = cursor.index(0, at + 1) + 1
        after = at + _INT32(cursor, at)[0]
        found.append(cursor[at:after])
        at = after
    return found, RawBSONDocument(cursor)["id"] if not cursor.startswith(_NO_MORE, end + 1) else 0


async def _answer(database: Any, command: dict[str, Any]) -> Any:
    with storage_errors():
        answer = await database.command(command, codec_options=DEFAULT_RAW_BSON_OPTIONS)
        return answer.get("cursor")


async def _find_in_batches(
    collection: Any,
    condition: Mapping[str, Any],
    limit: int,
    skip: int,
    sort: dict[str, Any] | None,
    hint: str | None,
) -> list[StoredEntity]:
    raw = collection.with_options(codec_options=DEFAULT_RAW_BSON_OPTIONS)
    order = list(sort.items()) if sort is not None else None
    with storage_errors():
        cursor = raw.find(condition, skip=skip, limit=limit, sort=order, hint=hint)
        return [StoredEntity(bytes(document.raw)) async for document in cursor]
