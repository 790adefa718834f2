"""Tenants (clauses 4.14, 5.5.10): each has a database of its own; it comes into being with its first write."""

import asyncio
import contextlib
import hashlib
import re
from typing import Any

import structlog
from pymongo import ASCENDING, GEOSPHERE, IndexModel, WriteConcern
from pymongo.errors import DuplicateKeyError, OperationFailure

from broker.ngsild.content import is_snapshot, read_content
from broker.ngsild.errors import BadRequestData, NonexistentTenant, ResourceNotFound
from broker.ngsild.expiry import MARK
from broker.storage.client import DURABLE, Mongo, said, storage_errors

log = structlog.get_logger(__name__)

DEFAULT_TENANT = ""
_PLAIN_NAME = re.compile(r"[a-z0-9_\-]{1,40}")
_LONGEST_DATABASE_NAME = 63
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,256}")

_SMALL_PAGES = {"wiredTiger": {"configString": "leaf_page_max=8KB"}}
"""How MongoDB keeps entities: an update costs it the page that the entity is on, whatever else is there
(docs/adr/0016)."""

_NAMESPACE_EXISTS = 48

ENTITY_INDEXES = [
    IndexModel([("state.types", ASCENDING), ("_id", ASCENDING)], name="types"),
    IndexModel([("state.location", GEOSPHERE), ("state.types", ASCENDING)], name="location"),
    IndexModel([("state.expires", ASCENDING)], name="expires", sparse=True),
    IndexModel([(f"state.{MARK}", ASCENDING)], name=MARK, sparse=True),
]


class Tenants:
    """Which tenants exist, and the name of each one's database. Remembers what it has seen."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._collection = mongo.control["tenants"]
        self._known: dict[str, str] = {}
        self._transient: set[str] = set()
        self._creating = asyncio.Lock()

    async def open(self) -> None:
        """Load the known tenants; make sure that the default tenant exists."""
        with storage_errors():
            async for document in self._collection.find():
                self._known[document["_id"]] = document["database"]
        await self.ensure(DEFAULT_TENANT)

    async def database(self, tenant: str) -> Any:
        """The database of an existing tenant; NonexistentTenant if it has never been written to."""
        name = self._known.get(tenant)
        if name is None:
            document = None
            if _can_exist(tenant) or is_snapshot(tenant):
                with storage_errors():
                    document = await self._collection.find_one({"_id": tenant})
            if document is None:
                if is_snapshot(tenant):
                    raise ResourceNotFound(f"The snapshot {read_content(tenant).snapshot_id} does not exist any more.")
                raise NonexistentTenant(
                    f"The tenant {tenant!r:.80} does not exist: it comes into being with its first write."
                )
            name = self._known[tenant] = document["database"]
        return self._mongo.database(name)

    async def ensure(self, tenant: str) -> None:
        """Create the tenant if it does not exist. BadRequestData for a name that no HTTP header can carry."""
        if tenant in self._known:
            return
        if is_snapshot(tenant):
            await self.database(tenant)
            return
        if not _can_exist(tenant):
            raise BadRequestData(f"{tenant!r:.80} cannot name a tenant: expected 1 to 256 printable ASCII characters.")
        async with self._creating:
            if tenant in self._known:
                return
            name = self._database_name(tenant)
            with storage_errors():
                await _create_entities(self._mongo.database(name))
                with contextlib.suppress(DuplicateKeyError):
                    await self._collection.with_options(write_concern=WriteConcern(**DURABLE)).insert_one(
                        {"_id": tenant, "database": name}
                    )
            self._known[tenant] = name

    async def mark_transient(self, tenant: str) -> None:
        """Remember that something in an existing tenant expires, before it is stored: sweepers look into such only."""
        if tenant in self._transient:
            return
        with storage_errors():
            await self._collection.with_options(write_concern=WriteConcern(**DURABLE)).update_one(
                {"_id": tenant}, {"$set": {"transient": True}}
            )
        self._transient.add(tenant)

    async def transient(self) -> list[str]:
        """The tenants in which something may expire."""
        with storage_errors():
            cursor = self._collection.find({"transient": True}, {"_id": 1})
            return [document["_id"] for document in await cursor.to_list(None)]

    def _database_name(self, tenant: str) -> str:
        if tenant == DEFAULT_TENANT:
            return self._mongo.name
        name = f"{self._mongo.name}-{tenant}"
        if _PLAIN_NAME.fullmatch(tenant) and len(name.encode()) <= _LONGEST_DATABASE_NAME:
            return name
        # "+" occurs in no plain name: nobody can choose a name that leads to another tenant's database.
        return f"{self._mongo.name}+{hashlib.sha256(tenant.encode()).hexdigest()[:32]}"


async def _create_entities(database: Any) -> None:
    """Make sure that there is the collection of entities, with its indexes."""
    try:
        await database.create_collection("entities", storageEngine=_SMALL_PAGES, check_exists=False)
    except OperationFailure as error:
        # Other engines do not know these options, nor may everybody give them: then it is as MongoDB makes it.
        if error.code != _NAMESPACE_EXISTS:
            log.warning("MongoDB keeps entities on pages of its own choice", reason=said(error))
    await database["entities"].create_indexes(ENTITY_INDEXES)


def _can_exist(tenant: str) -> bool:
    return tenant == DEFAULT_TENANT or _PRINTABLE.fullmatch(tenant) is not None
