"""Declared indexes: the `indexes` collection of declarations, and the indexes of MongoDB that are made of them.

An index is for one type and one path of `q`: a partial index, because no index of MongoDB can hold two arrays of a
document side by side, and types and instances are both arrays. Under the path it is a wildcard index over the members
that may hold a value: it serves attributes of every type, holds no entries for members that are not there, and is not
written to when nothing but a timestamp changes. `q_filter` and `geo_filter` write the conditions
that these indexes serve, the type beside them as `types_filter` writes a single one.

A geo index holds GeoProperties only. Its condition on the type of an attribute is one on some instance: the writing of
an attribute that has instances of both kinds is refused as long as there is such an index.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pymongo import ASCENDING, GEOSPHERE, IndexModel, WriteConcern
from pymongo.errors import DuplicateKeyError, OperationFailure

from broker.ngsild.query.tree import Path
from broker.storage.client import DURABLE, Mongo, storage_errors
from broker.storage.tenants import Tenants

COLLECTION = "entities"

_WITH_PATHS = ("value", "json", "languageMap")
_WITHOUT_PATHS = ("valueList", "vocab", "object", "objectList", "type")
"""`type` tells LanguageProperties apart: texts in any language cannot be asked of an index."""

_GONE = {26, 27}
"""What dropping answers where there is no such collection or index."""


class IndexKind(StrEnum):
    """What an index serves: comparisons in `q`, or geo-queries."""

    VALUE = "value"
    GEO = "geo"


@dataclass(frozen=True, slots=True)
class IndexDeclaration:
    """An index for the entities of a type (an IRI), on an expanded path of `q`."""

    type: str
    path: Path
    kind: IndexKind

    @property
    def id(self) -> str:
        """The name of the index in MongoDB, the same wherever the same is declared."""
        path = self.path
        text = "\n".join((self.type, *path.names, "", path.member or "", *path.inside, "", self.kind))
        return f"declared-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def serves(self, other: "IndexDeclaration") -> bool:
        """Whether this index serves whatever the other one would: it is the same, or one of the whole value."""
        mine, path = self.path, other.path
        if (self.type, self.kind, mine.names, mine.member) != (other.type, other.kind, path.names, path.member):
            return False
        return mine.inside == path.inside or (mine.member is None and mine.inside == path.inside[: len(mine.inside)])

    def model(self) -> IndexModel:
        """The index of MongoDB."""
        if self.kind is IndexKind.GEO:
            attribute = f"state.attributes.{self.path.names[0]}"
            return IndexModel(
                [(f"{attribute}.value", GEOSPHERE)],
                name=self.id,
                partialFilterExpression={"state.types": self.type, f"{attribute}.type": "GeoProperty"},
            )
        return IndexModel(
            [("$**", ASCENDING)],
            name=self.id,
            partialFilterExpression={"state.types": self.type},
            wildcardProjection=dict.fromkeys(_fields(self.path), 1),
        )


def _fields(path: Path) -> list[str]:
    holder = ".attributes.".join(("state", *path.names))
    if path.member is not None:
        return [f"{holder}.{path.member}"]
    if path.inside:
        return [".".join((holder, member, *path.inside)) for member in _WITH_PATHS]
    return [f"{holder}.{member}" for member in (*_WITH_PATHS, *_WITHOUT_PATHS)]


@dataclass(frozen=True, slots=True)
class DeclaredIndex:
    """A declaration as it is kept; `failure` is why the index could not be made, if so."""

    tenant: str
    declaration: IndexDeclaration
    failure: str | None


@dataclass(frozen=True, slots=True)
class BuiltIndex:
    """An index as MongoDB has it: its size in bytes, and whether it is still being built."""

    size: int
    building: bool


class IndexStore:
    """Declarations of all tenants, and their indexes."""

    def __init__(self, mongo: Mongo, tenants: Tenants) -> None:
        self._collection = mongo.control["indexes"]
        self._durable = self._collection.with_options(write_concern=WriteConcern(**DURABLE))
        self._tenants = tenants

    async def declare(self, tenant: str, declaration: IndexDeclaration) -> bool:
        """Keep a declaration; whether it is a new one."""
        path = declaration.path
        document = {
            "_id": {"tenant": tenant, "id": declaration.id},
            "type": declaration.type,
            "names": list(path.names),
            "member": path.member,
            "inside": list(path.inside),
            "kind": declaration.kind.value,
        }
        with storage_errors():
            try:
                await self._durable.insert_one(document)
            except DuplicateKeyError:
                return False
        return True

    async def forget(self, tenant: str, index_id: str) -> bool:
        """Remove a declaration; whether there was one."""
        with storage_errors():
            answer = await self._durable.delete_one({"_id": {"tenant": tenant, "id": index_id}})
            return bool(answer.deleted_count)

    async def note(self, tenant: str, index_id: str, failure: str | None) -> None:
        """Remember why an index could not be made, or (None) that it could."""
        change = {"$unset": {"failure": ""}} if failure is None else {"$set": {"failure": failure}}
        with storage_errors():
            await self._durable.update_one({"_id": {"tenant": tenant, "id": index_id}}, change)

    async def declared(self, tenant: str | None = None) -> list[DeclaredIndex]:
        """The declarations of one tenant, or of all."""
        with storage_errors():
            cursor = self._collection.find({} if tenant is None else {"_id.tenant": tenant}).sort("type", 1)
            return [_read(document) for document in await cursor.to_list(None)]

    async def build(self, tenant: str, declaration: IndexDeclaration) -> None:
        """Have MongoDB make the index, unless it is there; returns when it is. The entities stay usable meanwhile."""
        database = await self._tenants.database(tenant)
        with storage_errors():
            await database[COLLECTION].create_indexes([declaration.model()])

    async def drop(self, tenant: str, index_id: str) -> None:
        """Remove an index from MongoDB, if it is there; one that is being built is given up."""
        database = await self._tenants.database(tenant)
        with storage_errors():
            try:
                await database[COLLECTION].drop_index(index_id)
            except OperationFailure as error:
                if error.code not in _GONE:
                    raise

    async def built(self, tenant: str) -> Mapping[str, BuiltIndex]:
        """The indexes of a tenant's entities, by name."""
        database = await self._tenants.database(tenant)
        with storage_errors():
            found = await database.command("collStats", COLLECTION)
        building = set(found.get("indexBuilds", ()))
        sizes = {**dict.fromkeys(building, 0), **found.get("indexSizes", {})}
        return {name: BuiltIndex(int(size), name in building) for name, size in sizes.items()}


def _read(document: Mapping[str, Any]) -> DeclaredIndex:
    path = Path(tuple(document["names"]), document["member"], tuple(document["inside"]))
    declaration = IndexDeclaration(document["type"], path, IndexKind(document["kind"]))
    return DeclaredIndex(document["_id"]["tenant"], declaration, document.get("failure"))
