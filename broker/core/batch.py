"""Batch operations: many entities in one request, each with its own outcome (5.5.11, 5.6.7 to 5.6.10, 5.6.20)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from broker.core.entities import CreatesTenants
from broker.ngsild.errors import AlreadyExists, NgsiLdError, NonexistentTenant, ResourceNotFound, Unavailable
from broker.ngsild.fragments import Fragment
from broker.ngsild.merge_fragments import MergeFragment
from broker.ngsild.merging import MergeEntity
from broker.ngsild.mutations import AppendAttributes, CreateEntity, DeleteEntity, Mutation, UpdateResult, UpsertEntity

Unusable = tuple[str, NgsiLdError]
"""What stands in a batch and is none of its elements: the id as far as it is known, and the error."""
Element = Fragment | Unusable
MergeElement = MergeFragment | Unusable


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
        return await self._run(tenant, _identified(elements, CreateEntity), size)

    async def upsert(self, tenant: str, elements: Sequence[Element], *, update: bool, size: int = 0) -> BatchResult:
        """Clause 5.6.8: `update` existing entities, or else replace them."""
        await self._tenants.ensure(tenant)
        return await self._run(tenant, _identified(elements, lambda fragment: UpsertEntity(fragment, update)), size)

    async def update(self, tenant: str, elements: Sequence[Element], *, overwrite: bool, size: int = 0) -> BatchResult:
        """Clause 5.6.9."""

        def mutation(fragment: Fragment) -> Mutation:
            return AppendAttributes(_id_of(fragment), fragment, overwrite)

        return await self._run(tenant, _identified(elements, mutation), size)

    async def merge(self, tenant: str, elements: Sequence[MergeElement], size: int = 0) -> BatchResult:
        """Clause 5.6.20."""
        steps = [
            element if isinstance(element, tuple) else _Step(_id_of(element), MergeEntity(_id_of(element), element))
            for element in elements
        ]
        return await self._run(tenant, steps, size)

    async def delete(self, tenant: str, ids: Sequence[str | Unusable], size: int = 0) -> BatchResult:
        """Clause 5.6.10."""
        steps = [one if isinstance(one, tuple) else _Step(one, DeleteEntity(one)) for one in ids]
        return await self._run(tenant, steps, size)

    async def _run(self, tenant: str, steps: "Sequence[_Step | Unusable]", size: int) -> BatchResult:
        result = BatchResult()
        mutations = [(step.entity_id, step.mutation) for step in steps if isinstance(step, _Step)]
        committed = await self._committer.submit_many(tenant, mutations, size) if mutations else []
        _raise_common_failure(committed)
        outcomes = iter(committed)
        for step in steps:
            if isinstance(step, tuple):
                result.errors.append(step)
                continue
            outcome = next(outcomes)
            if isinstance(outcome, UpdateResult) and outcome.not_updated:
                outcome = _incomplete(step, outcome)
            if isinstance(outcome, NgsiLdError):
                result.errors.append((step.entity_id, outcome))
            else:
                result.success.append(step.entity_id)
                if outcome is True:
                    result.created.append(step.entity_id)
        return result


@dataclass(slots=True)
class _Step:
    """One element of a batch that can be tried."""

    entity_id: str
    mutation: Mutation


def _identified(elements: Sequence[Element], mutation: Callable[[Fragment], Mutation]) -> list[_Step | Unusable]:
    return [
        element if isinstance(element, tuple) else _Step(_id_of(element), mutation(element)) for element in elements
    ]


def _id_of(fragment: Fragment | MergeFragment) -> str:
    assert fragment.entity_id is not None
    return fragment.entity_id


def _incomplete(step: _Step, result: UpdateResult) -> NgsiLdError:
    """The error of an entity of which something was not written (clause 5.6.9.4); the rest of it was."""
    reasons = " ".join(f"{name}: {reason}" for name, reason in result.not_updated)
    detail = f"Not everything of the entity {step.entity_id} was written. {reasons}"
    if isinstance(step.mutation, AppendAttributes) and not step.mutation.overwrite:
        return AlreadyExists(detail)
    return ResourceNotFound(detail)


def _raise_common_failure(outcomes: list[Any]) -> None:
    """Raise what is no matter of single entities: a tenant that does not exist, a storage that was lost for all."""
    if outcomes and (
        isinstance(outcomes[0], NonexistentTenant) or all(isinstance(outcome, Unavailable) for outcome in outcomes)
    ):
        raise outcomes[0]
