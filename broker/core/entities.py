"""Operations on one entity and its attributes, and queries (clauses 5.6.1 to 5.6.6, 5.6.17 to 5.6.19, 5.7.1, 5.7.2)."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from broker.core.paging import PageRequest, QueryResult
from broker.core.queries import EntityQuery
from broker.ngsild.attribute_mutations import DeleteAttribute, PartialUpdate, ReplaceAttribute
from broker.ngsild.errors import BadRequestData, ResourceNotFound
from broker.ngsild.fragments import AttributeFragment, Fragment
from broker.ngsild.merge_fragments import MergeFragment
from broker.ngsild.merging import Common, MergeEntity
from broker.ngsild.model import Instance, decode_key
from broker.ngsild.mutations import (
    AppendAttributes,
    CreateEntity,
    DeleteEntity,
    Mutation,
    ReplaceEntity,
    UpdateAttributes,
    UpdateResult,
    existing,
    type_matches,
)
from broker.ngsild.timestamps import now_text
from broker.storage.documents import StoredEntity


class Commits(Protocol):
    """What writing needs."""

    def submit(self, tenant: str, entity_id: str, mutation: Mutation, size: int = 0) -> Awaitable[Any]:
        """Commit one mutation; its outcome, or its error raised."""


class ReadsById(Protocol):
    """What retrieval needs."""

    async def get(self, tenant: str, entity_id: str) -> StoredEntity | None:
        """One entity."""


class Queries(Protocol):
    """What queries need."""

    async def query(self, tenant: str, query: EntityQuery, request: PageRequest) -> QueryResult:
        """One page of what a query selects."""


class CreatesTenants(Protocol):
    """What creation needs."""

    async def ensure(self, tenant: str) -> None:
        """Create the tenant if it does not exist."""


@dataclass(slots=True)
class Target:
    """The entity that an operation is about: its id, and the type selection of the request."""

    tenant: str
    entity_id: str
    selector: type_matches | None = None
    size: int = 0


class EntityOperations:
    """The use cases for one entity."""

    def __init__(self, committer: Commits, queries: Queries, reads: ReadsById, tenants: CreatesTenants) -> None:
        self._committer = committer
        self._queries = queries
        self._reads = reads
        self._tenants = tenants

    async def create(self, tenant: str, fragment: Fragment, size: int = 0) -> str:
        """Clause 5.6.1: the id of the new entity. AlreadyExists if there is one."""
        assert fragment.entity_id is not None
        await self._tenants.ensure(tenant)
        await self._committer.submit(tenant, fragment.entity_id, CreateEntity(fragment), size)
        return fragment.entity_id

    async def replace(self, target: Target, fragment: Fragment) -> None:
        """Clause 5.6.18."""
        _same_id(target, fragment)
        await self._committer.submit(
            target.tenant, target.entity_id, ReplaceEntity(target.entity_id, fragment, target.selector), target.size
        )

    async def merge(self, target: Target, fragment: MergeFragment, common: Common) -> None:
        """Clause 5.6.17."""
        _same_id(target, fragment)
        mutation = MergeEntity(target.entity_id, fragment, common, target.selector)
        await self._committer.submit(target.tenant, target.entity_id, mutation, target.size)

    async def delete(self, target: Target) -> None:
        """Clause 5.6.6."""
        await self._committer.submit(
            target.tenant, target.entity_id, DeleteEntity(target.entity_id, target.selector), target.size
        )

    async def update_attributes(self, target: Target, fragment: Fragment) -> UpdateResult:
        """Clause 5.6.2."""
        _same_id(target, fragment)
        mutation = UpdateAttributes(target.entity_id, fragment, target.selector)
        result: UpdateResult = await self._committer.submit(target.tenant, target.entity_id, mutation, target.size)
        return result

    async def append_attributes(self, target: Target, fragment: Fragment, *, overwrite: bool) -> UpdateResult:
        """Clause 5.6.3."""
        _same_id(target, fragment)
        mutation = AppendAttributes(target.entity_id, fragment, overwrite, target.selector)
        result: UpdateResult = await self._committer.submit(target.tenant, target.entity_id, mutation, target.size)
        return result

    async def update_attribute(self, target: Target, key: str, fragment: AttributeFragment) -> None:
        """Clause 5.6.4."""
        await self._committer.submit(
            target.tenant,
            target.entity_id,
            PartialUpdate(target.entity_id, key, fragment, target.selector),
            target.size,
        )

    async def replace_attribute(self, target: Target, key: str, instance: Instance) -> None:
        """Clause 5.6.19."""
        await self._committer.submit(
            target.tenant,
            target.entity_id,
            ReplaceAttribute(target.entity_id, key, instance, target.selector),
            target.size,
        )

    async def delete_attribute(
        self, target: Target, key: str | None, *, dataset_id: str | None = None, delete_all: bool = False
    ) -> None:
        """Clause 5.6.5; `key` None stands for the scope."""
        mutation = DeleteAttribute(target.entity_id, key, dataset_id, delete_all, target.selector)
        await self._committer.submit(target.tenant, target.entity_id, mutation, target.size)

    async def retrieve(self, target: Target, required: Sequence[str] = ()) -> StoredEntity:
        """Clause 5.7.1: the entity. ResourceNotFound if it has none of the attribute keys `required`.

        It is decoded only where the request makes conditions. Otherwise it may have expired: who shows it finds out,
        by `StoredEntity.visible`.
        """
        stored = await self._reads.get(target.tenant, target.entity_id)
        if stored is None or target.selector is not None or required:
            seen = stored.visible(now_text()) if stored is not None else None
            entity = existing(seen, target.entity_id, target.selector)
            if required and not any(key in entity["attributes"] for key in required):
                names = ", ".join(decode_key(key) for key in required)
                raise ResourceNotFound(f"The entity {target.entity_id} has none of the attributes {names}.")
        assert stored is not None
        return stored

    async def query(self, tenant: str, query: EntityQuery, request: PageRequest) -> QueryResult:
        """Clause 5.7.2: one page of the entities that a query selects. Errors as those of `Querying.query`."""
        return await self._queries.query(tenant, query, request)


def _same_id(target: Target, fragment: Fragment | MergeFragment) -> None:
    if fragment.entity_id is not None and fragment.entity_id != target.entity_id:
        raise BadRequestData(
            f"The body is about {fragment.entity_id}, the path about {target.entity_id}: leave the id out of the body.",
            pointer="/id",
        )
