"""The `violations` collection of the control database: which rules of data models were broken, how often, since when.

A document:

    _id         {tenant, type: IRI, attribute, rule, source}, all texts
    name        the type as its data model calls it
    count       how often
    first, last DateTime
    policy      what happened the last time: warn (accepted) or enforce (refused)
    sample      the last one, as a JSON object

Attributes and sources are named by clients, so the number of documents is bounded: what is new beyond
`VIOLATIONS_LIMIT` is counted in the document whose key is all empty. Processes look before they add, not at the same
moment, so that there may be a few more than that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pymongo import ASCENDING, DESCENDING, UpdateOne, WriteConcern

from broker.storage.client import Mongo, storage_errors

VIOLATIONS_LIMIT = 10_000
"""Kinds of violations that are counted apart."""

_COUNTED = WriteConcern(w=1)  # a count may be lost with a power failure


class ViolationKey(NamedTuple):
    """What is counted apart: `type` is an IRI, `source` who sent it, as far as the entity tells."""

    tenant: str
    type: str
    attribute: str
    rule: str
    source: str


OVERFLOW = ViolationKey("", "", "", "", "")
"""The key under which everything is counted that there is no room for."""


@dataclass(slots=True)
class ViolationCount:
    """So many violations of one kind; `first` and `last` are timestamps, `name` the type's, `sample` the last one."""

    count: int
    first: str
    last: str
    name: str
    policy: str
    sample: dict[str, Any]

    def add(self, later: "ViolationCount") -> None:
        """Count those of `later`, too."""
        self.count += later.count
        self.first = min(self.first, later.first)
        if later.last >= self.last:
            self.last, self.policy, self.sample = later.last, later.policy, later.sample


@dataclass(frozen=True, slots=True)
class ViolationSelection:
    """Which violations are meant; None: any. `type` is an IRI, or the name of a type."""

    tenant: str | None = None
    type: str | None = None
    attribute: str | None = None
    rule: str | None = None

    def filter(self) -> dict[str, Any]:
        """As a filter for MongoDB."""
        given = {"_id.tenant": self.tenant, "_id.attribute": self.attribute, "_id.rule": self.rule}
        wanted: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if self.type is not None:
            wanted["$or"] = [{"_id.type": self.type}, {"name": self.type}]
        return wanted


class ViolationStore:
    """Counting violations for all processes together. Every method raises Unavailable when storage is lost."""

    def __init__(self, mongo: Mongo, limit: int = VIOLATIONS_LIMIT) -> None:
        self._collection = mongo.control["violations"].with_options(write_concern=_COUNTED)
        self._limit = limit

    async def add(self, counts: Mapping[ViolationKey, ViolationCount]) -> None:
        """Add to what is counted already."""
        if not counts:
            return
        with storage_errors():
            keys = [key._asdict() for key in counts]
            known = {
                ViolationKey(**one["_id"]) async for one in self._collection.find({"_id": {"$in": keys}}, {"_id": 1})
            }
            room = self._limit - await self._collection.estimated_document_count()
            fitting = _fitting(counts, known, room)
            await self._collection.bulk_write(
                [UpdateOne({"_id": key._asdict()}, _increment(one), upsert=True) for key, one in fitting.items()],
                ordered=False,
            )

    async def list(self, selection: ViolationSelection, limit: int) -> Sequence[tuple[ViolationKey, ViolationCount]]:
        """Those that are meant, the most frequent first; `limit` of them at most."""
        order = [("count", DESCENDING), ("_id", ASCENDING)]
        with storage_errors():
            found = await self._collection.find(selection.filter(), limit=limit).sort(order).to_list(None)
        return [(ViolationKey(**one.pop("_id")), ViolationCount(**one)) for one in found]

    async def clear(self, selection: ViolationSelection) -> None:
        """Delete those that are meant."""
        with storage_errors():
            await self._collection.delete_many(selection.filter())


def _fitting(
    counts: Mapping[ViolationKey, ViolationCount], known: set[ViolationKey], room: int
) -> dict[ViolationKey, ViolationCount]:
    """The counts, where what is new and finds no room is counted together."""
    fitting: dict[ViolationKey, ViolationCount] = {}
    for key, one in counts.items():
        fits = key in known or key == OVERFLOW or room > 0
        if fits and key not in known and key != OVERFLOW:
            room -= 1
        add_count(fitting, key if fits else OVERFLOW, one)
    return fitting


def add_count(counts: dict[ViolationKey, ViolationCount], key: ViolationKey, one: ViolationCount) -> None:
    """Add `one` to what is counted under `key`; under `OVERFLOW` it is of no type."""
    known = counts.get(key)
    if known is None:
        counts[key] = replace(one, name="") if key == OVERFLOW else replace(one)
    else:
        known.add(one)


def _increment(one: ViolationCount) -> dict[str, Any]:
    return {
        "$inc": {"count": one.count},
        "$min": {"first": one.first},
        "$max": {"last": one.last},
        "$set": {"name": one.name, "policy": one.policy, "sample": one.sample},
    }
