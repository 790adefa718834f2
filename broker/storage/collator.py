"""Texts in the order of a collation (clause 4.23.3): MongoDB has ICU, and sorts what it is handed.

A collation of a whole query would change what its filter selects, and no index could serve it. So entities are found
first, in the usual way, and only the texts that they are sorted by are compared here.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pymongo.errors import OperationFailure

from broker.ngsild.collations import Collation
from broker.ngsild.errors import BadRequestData, TooComplexQuery
from broker.storage.client import Mongo, storage_errors

_ROOT_LANGUAGE = "en"
"""A language without rules of its own: what MongoDB calls it where ICU says root."""

_USUAL = {("zh", "pinyin"), ("sv", "reformed")}
"""The order that a language has anyway is no variant of it."""

_MEMBERS = {
    "ks": "strength",
    "kc": "caseLevel",
    "kf": "caseFirst",
    "kn": "numericOrdering",
    "ka": "alternate",
    "kv": "maxVariable",
    "kb": "backwards",
    "kk": "normalization",
}
_NO_SUCH_COLLATION = frozenset({2, 9, 96})
"""BadValue, FailedToParse, OperationFailed: what MongoDB says of a collation that it does not have."""

_MOST_REMEMBERED = 256
_MOST_BYTES = 12 * 1024**2
"""All texts that are compared at once: MongoDB takes 16 MB."""


class Collator:
    """Compares texts as collations have it. Unavailable if MongoDB does not answer."""

    def __init__(self, mongo: Mongo) -> None:
        # Any collection will do that has a document: it stands for one row, as in "select … from dual".
        self._one = mongo.control["tenants"]
        self._known: dict[Collation, Mapping[str, Any]] = {}

    async def check(self, collation: Collation) -> None:
        """BadRequestData if MongoDB does not have the collation."""
        await self._mongodb_collation(collation)

    async def ranks(self, texts: Collection[str], collation: Collation) -> dict[str, int]:
        """The place of each text among them; equal ones have the same.

        BadRequestData as `check`; TooComplexQuery for more texts than can be compared at once.
        """
        known = await self._mongodb_collation(collation)
        if sum(len(text.encode()) + 16 for text in texts) > _MOST_BYTES:
            raise TooComplexQuery("Too many long texts would have to be sorted at once: ask for fewer entities.")
        with storage_errors():
            groups = await self._sorted(list(texts), known)
        return {text: rank for rank, group in enumerate(groups) for text in group}

    async def _sorted(self, texts: list[str], collation: Mapping[str, Any]) -> list[list[str]]:
        pipeline = [
            {"$limit": 1},
            {"$project": {"_id": 0, "text": {"$literal": texts}}},
            {"$unwind": "$text"},
            {"$group": {"_id": "$text", "equal": {"$push": "$text"}}},
            {"$sort": {"_id": 1}},
        ]
        cursor = self._one.aggregate(pipeline, collation=collation, allowDiskUse=True)
        if not hasattr(cursor, "to_list"):
            cursor = await cursor  # PyMongo's asyncio API hands out a cursor in the future, Motor at once
        return [group["equal"] for group in await cursor.to_list(None)]

    async def _mongodb_collation(self, collation: Collation) -> Mapping[str, Any]:
        found = self._known.get(collation)
        if found is not None:
            return found
        for candidate in _candidates(collation):
            if await self._has(candidate):
                if len(self._known) >= _MOST_REMEMBERED:
                    self._known.clear()
                self._known[collation] = candidate
                return candidate
        raise BadRequestData(
            f"collation is {collation.tag!r}, which MongoDB's ICU does not have: expected a language that it sorts by, "
            "such as de or sv, one of the variants of that language, or und."
        )

    async def _has(self, collation: Mapping[str, Any]) -> bool:
        with storage_errors():
            try:
                await self._sorted([""], collation)
            except OperationFailure as error:
                if error.code in _NO_SUCH_COLLATION:
                    return False
                raise
        return True


def _candidates(collation: Collation) -> Iterator[dict[str, Any]]:
    """What MongoDB may call it: it knows a region or a script only where that makes a difference."""
    settings = dict(collation.settings)
    variant = settings.pop("co", "standard")
    if variant == "standard" or (collation.language, variant) in _USUAL:
        variant = ""
    language = _ROOT_LANGUAGE if collation.language == "und" else collation.language
    script, region = collation.script, collation.region
    names = ((language, script, region), (language, script), (language, region), (language,))
    for name in dict.fromkeys("_".join(filter(None, parts)) for parts in names):
        locale = f"{name}@collation={variant}" if variant else name
        yield {"locale": locale, **{_MEMBERS[key]: value for key, value in settings.items()}}
