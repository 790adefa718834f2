"""Entities that fulfil a filter: pages of them, how many there are, and all of them in batches.

A filter may select candidates only, of which a function has the last word. Candidates are read in batches, and no more
of them than a request may look at.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS

from broker.ngsild.errors import TooComplexQuery
from broker.ngsild.expiry import MARK
from broker.ngsild.model import Entity
from broker.storage.client import storage_errors
from broker.storage.documents import StoredEntity, as_entity
from broker.storage.entities import COLLECTION
from broker.storage.finding import find
from broker.storage.reads import ExpiryReads, PageReads
from broker.storage.tenants import Tenants

Filter = dict[str, Any]
Bound = tuple[str, str]
"""Where a page begins or ends in the order of ids: "gt", "gte", "lt" or "lte", and an id. With the latter two the order
is the reverse."""

_BATCH = 500
_PLACING = ("types", "scopes", "createdAt", "modifiedAt", "expiresAt", MARK)


class EntitySelections:
    """Queries of all tenants. `most` is the number of candidates that one request may look at."""

    def __init__(self, tenants: Tenants, most: int) -> None:
        self._tenants = tenants
        self._pages = PageReads(tenants)
        self._expiries = ExpiryReads(tenants)
        self._most = most

    async def page(
        self,
        tenant: str,
        condition: Filter,
        *,
        bound: Bound | None,
        skip: int,
        limit: int,
        hint: str | None = None,
        prompt: bool = False,
    ) -> list[StoredEntity]:
        """At most `limit` entities in the order of their ids, from the `skip`-th on. `hint` names an index to use.

        `prompt` tells that MongoDB comes by them one after the other, and looks at no others.
        """
        condition, direction = _bounded(condition, bound)
        return await self._pages.page(
            tenant, condition, limit=limit, skip=skip, direction=direction, hint=hint, prompt=prompt
        )

    async def count(self, tenant: str, condition: Filter, hint: str | None = None) -> int:
        """How many entities fulfil a filter."""
        database = await self._tenants.database(tenant)
        options = {"hint": hint} if hint is not None else {}
        with storage_errors():
            found: int = await database[COLLECTION].count_documents(condition, **options)
            return found

    async def sift(
        self,
        tenant: str,
        condition: Filter,
        decide: Callable[[Entity], bool],
        *,
        bound: Bound | None,
        skip: int,
        limit: int,
    ) -> tuple[list[StoredEntity], str | None]:
        """As `page`, for candidates of which `decide` has the last word; and the id of the last one looked at, if more
        of them are left than one request may look at.

        TooComplexQuery if that happens before `skip` entities were found: such a page has no place to go on from.
        """
        database = await self._tenants.database(tenant)
        condition, direction = _bounded(condition, bound)
        raw = database[COLLECTION].with_options(codec_options=DEFAULT_RAW_BSON_OPTIONS)
        found: list[StoredEntity] = []
        looked_at = 0
        with storage_errors():
            cursor = raw.find(condition, limit=self._most + 1, batch_size=_BATCH).sort("_id", direction)
            last: StoredEntity | None = None
            async for document in cursor:
                if looked_at == self._most and last is not None:
                    if skip:
                        raise self._too_many()
                    return found, last.entity_id
                looked_at += 1
                last = StoredEntity(bytes(document.raw))
                if not decide(last.entity):
                    continue
                if skip:
                    skip -= 1
                    continue
                found.append(last)
                if len(found) == limit:
                    break
        return found, None

    async def count_decided(self, tenant: str, condition: Filter, decide: Callable[[Entity], bool]) -> int:
        """How many of the candidates there are that `decide` accepts. TooComplexQuery if there are too many."""
        found = 0
        async for batch in self.candidates(tenant, condition):
            found += sum(1 for entity in batch if decide(entity))
        return found

    async def candidates(
        self, tenant: str, condition: Filter, attributes: Sequence[str] | None = None
    ) -> AsyncIterator[list[Entity]]:
        """All candidates, in no order. `attributes` are the keys of those that are needed, None for all.

        TooComplexQuery if there are more than one request may look at.
        """
        database = await self._tenants.database(tenant)
        fields = None
        if attributes is not None:
            fields = {f"state.{name}": 1 for name in (*_PLACING, *(f"attributes.{key}" for key in attributes))}
        batch: list[Entity] = []
        seen = 0
        with storage_errors():
            async for document in database[COLLECTION].find(condition, fields, batch_size=_BATCH):
                seen += 1
                if seen > self._most:
                    raise self._too_many()
                entity = as_entity(document)
                entity.setdefault("attributes", {})
                batch.append(entity)
                if len(batch) == _BATCH:
                    yield batch
                    batch = []
        if batch:
            yield batch

    async def decided(self, tenant: str, condition: Filter, decide: Callable[[Entity], bool], limit: int) -> list[str]:
        """The ids of at most `limit` entities that fulfil a filter and of which `decide` says yes."""
        database = await self._tenants.database(tenant)
        found: list[str] = []
        with storage_errors():
            async for document in database[COLLECTION].find(condition):
                if decide(as_entity(document)):
                    found.append(document["_id"])
                    if len(found) == limit:
                        break
        return found

    async def any_partly_expired(self, tenant: str, now: str) -> bool:
        """Whether any entity may hold an attribute that has expired at the instant `now`: False is certain.

        It costs next to nothing: those who ask at the same time share the question.
        """
        return await self._expiries.any_partly_expired(tenant, now)

    async def named(self, tenant: str, ids: Sequence[str]) -> list[StoredEntity]:
        """Those of the entities that exist, in the order of `ids`."""
        if not ids:
            return []
        database = await self._tenants.database(tenant)
        found = await find(database[COLLECTION], {"_id": {"$in": list(ids)}}, limit=len(ids))
        by_id = {stored.entity_id: stored for stored in found}
        return [by_id[entity_id] for entity_id in ids if entity_id in by_id]

    def _too_many(self) -> TooComplexQuery:
        return TooComplexQuery(
            f"More than {self._most} entities would have to be looked at one by one, to sort them or to compare their "
            "geometry: narrow the query by type, id, q or georel."
        )


def _bounded(condition: Filter, bound: Bound | None) -> tuple[Filter, int]:
    if bound is None:
        return condition, 1
    operator, entity_id = bound
    both = [*condition["$and"]] if set(condition) == {"$and"} else [condition]
    return {"$and": [*both, {"_id": {f"${operator}": entity_id}}]}, -1 if operator in ("lt", "lte") else 1
