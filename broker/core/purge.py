"""Purge Entities (clause 5.6.21): delete, or strip of attributes, all entities that a query selects.

Entities are selected in pages of ids and changed through the committer, as any other change is: in its order, with its
notifications. Whether an entity still fulfils the query is decided again inside of its mutation, on the entity as it is
then: one that was changed meanwhile, and matches no longer, stays.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from broker.core.batch import BatchResult, CommitsMany
from broker.core.queries import EntityQuery
from broker.ngsild.errors import NgsiLdError, NonexistentTenant, Unavailable
from broker.ngsild.model import Entity
from broker.ngsild.timestamps import now_text

_PAGE = 500
_MOST_ERRORS = 1_000
_MOST_IDS = 10_000
"""Ids of purged entities that are kept for a result with errors: those of all would be too many for the memory."""


class SelectsIds(Protocol):
    """What a purge needs of the entity store."""

    async def ids(self, tenant: str, condition: dict[str, Any], after: str | None, limit: int) -> list[str]:
        """Ids of entities that fulfil a filter, in their order, from the one behind `after` on."""


@dataclass(frozen=True, slots=True)
class Reduction:
    """What is taken from the selected entities: attribute keys to `drop`, or else all but those to `keep`.

    `drop_scope` takes the scope, which only a `drop` can name.
    """

    drop: frozenset[str] | None = None
    keep: frozenset[str] | None = None
    drop_scope: bool = False

    def apply(self, entity: Entity, now: str) -> Entity:
        """The entity without what is taken; the same object if it has nothing of that."""
        attributes = {key: instances for key, instances in entity["attributes"].items() if not self._takes(key)}
        scope_goes = self.drop_scope and "scopes" in entity
        if len(attributes) == len(entity["attributes"]) and not scope_goes:
            return entity
        left = {name: value for name, value in entity.items() if name != "scopes" or not scope_goes}
        return {**left, "attributes": attributes, "modifiedAt": now}

    def _takes(self, key: str) -> bool:
        return key in self.drop if self.drop is not None else self.keep is not None and key not in self.keep


@dataclass(frozen=True, slots=True)
class PurgeEntity:
    """The mutation of one entity. Outcome: whether it was deleted or reduced; if it matches no longer it was not."""

    matches: Callable[[Entity], bool]
    reduction: Reduction | None

    def __call__(self, before: Entity | None, now: str) -> tuple[Entity | None, bool]:
        if before is None or not self.matches(before):
            return before, False
        after = self.reduction.apply(before, now) if self.reduction is not None else None
        return after, after is not before


class Purges:
    """The use case."""

    def __init__(self, committer: CommitsMany, store: SelectsIds) -> None:
        self._committer = committer
        self._store = store

    async def purge(
        self,
        tenant: str,
        query: EntityQuery,
        reduction: Reduction | None = None,
        among: AsyncGenerator[Sequence[str]] | None = None,
    ) -> BatchResult:
        """Delete the entities that `query` selects, or with `reduction` only a part of each.

        With `among`, which gives ids in parts, only those entities can be meant.

        Entities that could not be changed are among the errors of the result; past 1,000 of them the purge ends.
        Its `success` names the last 10,000 entities at most. Raises Unavailable if the storage is lost or the broker
        overloaded: what was purged until then stays purged, and the purge can be repeated.
        """
        query.check_width()
        mutation = PurgeEntity(query.predicate(), reduction)
        result = BatchResult()
        async with aclosing(among or self._candidates(tenant, query)) as parts:
            async for ids in parts:
                outcomes = await self._committer.submit_many(tenant, [(entity_id, mutation) for entity_id in ids])
                _add(result, ids, outcomes)
                if len(result.errors) >= _MOST_ERRORS:
                    break
        return result

    async def _candidates(self, tenant: str, query: EntityQuery) -> AsyncGenerator[Sequence[str]]:
        last: str | None = None
        while ids := await self._store.ids(tenant, query.candidates(now_text()), last, _PAGE):
            yield ids
            if len(ids) < _PAGE:
                return
            last = ids[-1]


def _add(result: BatchResult, ids: Sequence[str], outcomes: Sequence[Any]) -> None:
    for entity_id, outcome in zip(ids, outcomes, strict=True):
        if isinstance(outcome, NonexistentTenant | Unavailable):
            raise outcome
        if isinstance(outcome, NgsiLdError):
            result.errors.append((entity_id, outcome))
        elif outcome:
            result.success.append(entity_id)
    del result.success[:-_MOST_IDS]
