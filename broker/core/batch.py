"""Batch operations: many entities in one request, each with its own outcome (clauses 5.5.11, 5.6.7 to 5.6.10)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from broker.core.entities import CreatesTenants
from broker.ngsild.errors import NgsiLdError, NonexistentTenant, Unavailable
from broker.ngsild.fragments import Fragment
from broker.ngsild.mutations import AppendAttributes, CreateEntity, DeleteEntity, Mutation, UpsertEntity

Element = Fragment | tuple[str, NgsiLdError]
"""An entity of a batch, or what was found instead: the id as far as it is known, and the error."""


class CommitsMany(Protocol):
    """What batches need of the committer."""

    async def submit_many(self, tenant: str, mutations: Sequence[tuple[str, Mutation]], size: int = 0) -> list[Any]:
        """Commit several mutations in order; for each its outcome, or its NgsiLdError as a value."""


@dataclass(slots=True)
class BatchResult:
    """What became of a batch (clause 5.2.16): ids in the order of the request. `created` is part of `success`."""

    success: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    errors: list[tuple[str, NgsiLdError]] = field(default_factory=list)


class BatchOperations:
    """The use cases for arrays of entities."""

    def __init__(self, committer: CommitsMany, tenants: CreatesTenants) -> None:
        self._committer = committer
        self._tenants = tenants

    async def create(self, tenant: str, elements: Sequence[Element], size: int = 0) -> BatchResult:
        """Clause 5.6.7."""
        await self._tenants.ensure(tenant)
        return await self._run(tenant, elements, CreateEntity, size)

    async def upsert(self, tenant: str, elements: Sequence[Element], *, update: bool, size: int = 0) -> BatchResult:
        """Clause 5.6.8: `update` existing entities, or else replace them."""
        await self._tenants.ensure(tenant)
        return await self._run(tenant, elements, lambda fragment: UpsertEntity(fragment, update), size)

    async def update(self, tenant: str, elements: Sequence[Element], *, overwrite: bool, size: int = 0) -> BatchResult:
        """Clause 5.6.9."""

        def mutation(fragment: Fragment) -> Mutation:
            return AppendAttributes(fragment.entity_id or "", fragment, overwrite)

        return await self._run(tenant, elements, mutation, size)

    async def delete(self, tenant: str, ids: Sequence[str | tuple[str, NgsiLdError]]) -> BatchResult:
        """Clause 5.6.10."""
        elements = [Fragment(one, None, None, None, {}) if isinstance(one, str) else one for one in ids]
        return await self._run(tenant, elements, lambda fragment: DeleteEntity(fragment.entity_id or ""), 0)

    async def _run(
        self, tenant: str, elements: Sequence[Element], mutation: Callable[[Fragment], Mutation], size: int
    ) -> BatchResult:
        result = BatchResult()
        mutations: list[tuple[str, Mutation]] = []
        for element in elements:
            if isinstance(element, Fragment):
                assert element.entity_id is not None
                mutations.append((element.entity_id, mutation(element)))
        committed = await self._committer.submit_many(tenant, mutations, size) if mutations else []
        _raise_common_failure(committed)
        outcomes = iter(committed)
        for element in elements:
            if not isinstance(element, Fragment):
                result.errors.append(element)
                continue
            entity_id = element.entity_id or ""
            outcome = next(outcomes)
            if isinstance(outcome, NgsiLdError):
                result.errors.append((entity_id, outcome))
            else:
                result.success.append(entity_id)
                if outcome is True:
                    result.created.append(entity_id)
        return result


def _raise_common_failure(outcomes: list[Any]) -> None:
    """Raise what is no matter of single entities: a tenant that does not exist, a storage that was lost for all."""
    if outcomes and (
        isinstance(outcomes[0], NonexistentTenant) or all(isinstance(outcome, Unavailable) for outcome in outcomes)
    ):
        raise outcomes[0]
