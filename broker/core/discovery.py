"""Which entity types and attributes there are (clauses 5.7.5 to 5.7.11), by the census that writes keep.

Types and attributes are IRIs here, in no order: they are sorted by their names in the @context of the request.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from broker.ngsild.errors import ResourceNotFound
from broker.ngsild.model import decode_key, encode_key
from broker.storage.census_counts import TypeCount


class ReadsCensus(Protocol):
    """What discovery needs of the census."""

    async def types(self, tenant: str) -> Sequence[str]:
        """The types of which there are entities."""

    async def counts(self, tenant: str) -> Sequence[TypeCount]:
        """What is known of all types of which there are entities."""

    async def count(self, tenant: str, name: str) -> TypeCount | None:
        """What is known of one type."""

    async def counts_with(self, tenant: str, key: str) -> Sequence[TypeCount]:
        """What is known of an attribute in all types whose entities have it."""


@dataclass(slots=True)
class TypeInfo:
    """An entity type: how many entities there are, and the attribute types by the IRI of each of their attributes."""

    iri: str
    entities: int
    attributes: dict[str, set[str]]


@dataclass(slots=True)
class AttributeInfo:
    """An attribute: how many instances there are, of which attribute types, in entities of which types."""

    iri: str
    instances: int = 0
    kinds: set[str] = field(default_factory=set)
    types: set[str] = field(default_factory=set)


class Discovery:
    """The use cases of discovery. NonexistentTenant for a tenant that does not exist."""

    def __init__(self, census: ReadsCensus) -> None:
        self._census = census

    async def type_names(self, tenant: str) -> Sequence[str]:
        """Clause 5.7.5: the IRIs of the entity types of which there are entities."""
        return await self._census.types(tenant)

    async def types(self, tenant: str) -> list[TypeInfo]:
        """Clause 5.7.6."""
        return [_type_info(counted) for counted in await self._census.counts(tenant)]

    async def type(self, tenant: str, iri: str) -> TypeInfo:
        """Clause 5.7.7. ResourceNotFound if there are no entities of the type."""
        counted = await self._census.count(tenant, iri)
        if counted is None:
            raise ResourceNotFound(f"There are no entities of the type {iri:.300}: it does not exist here.")
        return _type_info(counted)

    async def attributes(self, tenant: str) -> list[AttributeInfo]:
        """Clauses 5.7.8 and 5.7.9."""
        return _attribute_infos(await self._census.counts(tenant))

    async def attribute(self, tenant: str, iri: str) -> AttributeInfo:
        """Clause 5.7.10. ResourceNotFound if no entity has the attribute."""
        found = _attribute_infos(await self._census.counts_with(tenant, encode_key(iri)))
        if not found:
            raise ResourceNotFound(f"No entity has the attribute {iri:.300}: it does not exist here.")
        return found[0]


def _type_info(counted: TypeCount) -> TypeInfo:
    attributes = {decode_key(key): set(kinds) for key, kinds in counted.attributes.items()}
    return TypeInfo(counted.type, counted.entities, attributes)


def _attribute_infos(counts: Sequence[TypeCount]) -> list[AttributeInfo]:
    found: dict[str, AttributeInfo] = {}
    for counted in counts:
        for key, kinds in counted.attributes.items():
            info = found.get(key)
            if info is None:
                info = found[key] = AttributeInfo(decode_key(key))
            info.instances += sum(kinds.values()) - counted.elsewhere.get(key, 0)
            info.kinds.update(kinds)
            info.types.add(counted.type)
    return list(found.values())
