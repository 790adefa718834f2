"""Operations on one entity and its attributes, and queries (clauses 5.6.1 to 5.6.6, 5.6.18, 5.6.19, 5.7.1, 5.7.2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from broker.core.queries import EntityQuery
from broker.ngsild.errors import BadRequestData, ResourceNotFound
from broker.ngsild.fragments import AttributeFragment, Fragment
from broker.ngsild.model import Entity, Instance, decode_key
from broker.ngsild.mutations import (
    AppendAttributes,
    CreateEntity,
    DeleteAttribute,
    DeleteEntity,
    Mutation,
    PartialUpdate,
    ReplaceAttribute,
    ReplaceEntity,
    UpdateAttributes,
    UpdateResult,
    existing,
    type_matches,
)
from broker.ngsild.timestamps import microseconds, now_text


class Commits(Protocol):
    """What writing needs."""

    async def submit(self, tenant: str, entity_id: str, mutation: Mutation, size: int = 0) -> Any:
        """Commit one mutation; its outcome, or its error raised."""


class ReadsEntities(Protocol):
    """What reading needs."""

    async def get(self, tenant: str, entity_id: str) -> Entity | None:
        """One entity."""

    async def page(self, tenant: str, condition: dict[str, Any], skip: int, limit: int) -> list[Entity]:
        """Entities in a stable order."""

    async def count(self, tenant: str, condition: dict[str, Any]) -> int:
        """How many entities."""

    async def sift(
        self,
        tenant: str,
        condition: dict[str, Any],
        decide: Callable[[Entity], bool],
        skip: int,
        limit: int,
        *,
        count: bool,
    ) -> tuple[list[Entity], int | None]:
        """Entities in a stable order of which `decide` has to say yes, too, and their total if asked for."""


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

    def __init__(self, committer: Commits, store: ReadsEntities, tenants: CreatesTenants) -> None:
        self._committer = committer
        self._store = store
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

    async def retrieve(self, target: Target, required: Sequence[str] = ()) -> Entity:
        """Clause 5.7.1: the entity. ResourceNotFound if it has none of the attribute keys `required`."""
        entity = await self._store.get(target.tenant, target.entity_id)
        if entity is not None and not is_alive(entity, now_text()):
            entity = None
        entity = existing(entity, target.entity_id, target.selector)
        if required and not any(key in entity["attributes"] for key in required):
            names = ", ".join(decode_key(key) for key in required)
            raise ResourceNotFound(f"The entity {target.entity_id} has none of the attributes {names}.")
        return entity

    async def query(
        self, tenant: str, query: EntityQuery, *, skip: int, limit: int, count: bool
    ) -> tuple[list[Entity], int | None]:
        """Clause 5.7.2: one page of the entities that a query selects, and their total if asked for."""
        condition, decide = query.condition(), query.decision()
        if decide is not None:
            return await self._store.sift(tenant, condition, decide, skip, limit, count=count)
        total = await self._store.count(tenant, condition) if count else None
        return (await self._store.page(tenant, condition, skip, limit) if limit else []), total


def is_alive(entity: Entity, now: str) -> bool:
    """Whether the entity has not expired (clause 4.22)."""
    return "expiresAt" not in entity or microseconds(entity["expiresAt"]) > microseconds(now)


def _same_id(target: Target, fragment: Fragment) -> None:
    if fragment.entity_id is not None and fragment.entity_id != target.entity_id:
        raise BadRequestData(
            f"The body is about {fragment.entity_id}, the path about {target.entity_id}: leave the id out of the body.",
            pointer="/id",
        )
