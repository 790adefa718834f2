"""Operations on snapshots (clauses 5.16.1 to 5.16.5, 5.16.7), and finding the content of one (clause 5.5.15)."""

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import orjson

from broker.core.entity_maps import Lifetimes
from broker.core.snapshot_documents import (
    Definition,
    merged,
    read_changes,
    read_clone,
    read_snapshot,
    snapshot_filter,
)
from broker.core.snapshot_notices import SnapshotNotifier
from broker.core.snapshot_work import CompileQuery, SnapshotWork
from broker.jsonld.context import Context
from broker.ngsild.content import snapshot_content
from broker.ngsild.durations import parse_duration
from broker.ngsild.errors import Conflict, ResourceNotFound, Unavailable
from broker.ngsild.timestamps import now_text
from broker.storage.snapshots import Document

_ATTEMPTS = 20


class KeepsSnapshots(Protocol):
    """Where snapshots are kept: `storage/snapshots.py` says what each does."""

    async def insert(self, document: Document) -> None:
        """Keep a new one; AlreadyExists."""

    async def get(self, tenant: str, snapshot_id: str, now: str) -> Document | None:
        """One that has not expired, or None."""

    async def all(self, tenant: str, now: str) -> Sequence[Document]:
        """Those of a tenant that have not expired."""

    async def replace(self, document: Document) -> Document | None:
        """Change one if its version is the same still."""


class KnowsTenants(Protocol):
    """Which tenants exist."""

    async def database(self, tenant: str) -> Any:
        """NonexistentTenant if the tenant does not exist."""


@dataclass(frozen=True, slots=True)
class SnapshotLimits:
    """How long snapshots live, and how many a tenant may have."""

    lifetimes: Lifetimes
    most: int


class Snapshots:
    """The use cases."""

    def __init__(
        self,
        *,
        store: KeepsSnapshots,
        work: SnapshotWork,
        notifier: SnapshotNotifier,
        tenants: KnowsTenants,
        compile_query: CompileQuery,
        limits: SnapshotLimits,
    ) -> None:
        self._store = store
        self._work = work
        self._notifier = notifier
        self._tenants = tenants
        self._compile_query = compile_query
        self._limits = limits

    async def create(self, tenant: str, body: Any, context: Context) -> str:
        """Clause 5.16.1: the id of the new snapshot, which is being prepared. AlreadyExists, BadRequestData.

        Unavailable if the tenant has as many snapshots as it may, none of them less important.
        """
        snapshot_id, definition, queries = read_snapshot(body)
        for index, query in enumerate(queries):
            self._compile_query(query, context, f"/snapshotQueries/{index}")
        definition["queries"] = orjson.dumps(queries).decode()
        definition["context"] = orjson.dumps(context.source).decode()
        await self._tenants.database(tenant)
        document = await self._begin(tenant, snapshot_id, definition)
        self._work.start_job(document)
        new_id: str = document["_id"]["id"]
        return new_id

    async def clone(self, tenant: str, original_id: str, body: Any) -> str:
        """Clause 5.16.2: the id of the clone, which is being prepared. Raises as `create`, and ResourceNotFound."""
        snapshot_id, definition = read_clone(body)
        original = await self._complete(tenant, original_id)
        lineage = {name: original["definition"][name] for name in ("queries", "context")}
        clone = await self._begin(tenant, snapshot_id, {**definition, **lineage}, original)
        # From now on whoever deletes the original sees that its content is still needed; before, nobody did.
        if await self._store.get(tenant, original_id, now_text()) is None:
            await self._work.remove(clone)
            raise _missing(original_id)
        self._work.start_job(clone)
        clone_id: str = clone["_id"]["id"]
        return clone_id

    async def retrieve(self, tenant: str, snapshot_id: str) -> Document:
        """Clause 5.16.3: the stored snapshot."""
        await self._tenants.database(tenant)
        await self._work.note_uses()
        return await self._stored(tenant, snapshot_id)

    async def update(self, tenant: str, snapshot_id: str, body: Any) -> Document:
        """Clause 5.16.4: the snapshot as it is then."""
        changes = read_changes(body, snapshot_id)
        await self._tenants.database(tenant)
        for _ in range(_ATTEMPTS):
            document = await self._stored(tenant, snapshot_id)
            now = now_text()
            definition = merged(document["definition"], changes)
            changed = {**document, "definition": definition, "modifiedAt": now}
            if "snapshotLifetime" in changes:
                changed["expiresAt"] = self._expiry(definition, now)
            notice = await self._notifier.announce({**changed, "version": document["version"] + 1})
            updated = await self._store.replace(changed)
            if updated is not None:
                self._notifier.wake()
                return updated
            await self._notifier.withdraw(notice)
        raise Conflict(f"Others keep changing the snapshot {snapshot_id}; try again.")

    async def delete(self, tenant: str, snapshot_id: str) -> None:
        """Clause 5.16.5."""
        await self._tenants.database(tenant)
        await self._work.remove(await self._stored(tenant, snapshot_id))

    async def purge(self, tenant: str, text: str) -> None:
        """Clause 5.16.7: delete the snapshots that meet the query `text`. ResourceNotFound if there are none."""
        matches = snapshot_filter(text)
        await self._tenants.database(tenant)
        found = [document for document in await self._store.all(tenant, now_text()) if matches(document)]
        if not found:
            raise ResourceNotFound("No snapshot meets the query q: there is nothing to purge.")
        for document in found:
            await self._work.remove(document)

    async def content(self, tenant: str, snapshot_id: str) -> str:
        """The name of the content of a snapshot, on which an operation is to be executed (clause 6.3.22).

        ResourceNotFound if it does not exist, Unavailable while it is being prepared.
        """
        await self._tenants.database(tenant)
        document = await self._complete(tenant, snapshot_id)
        self._work.used(tenant, snapshot_id)
        content: str = document["content"]
        return content

    async def _begin(
        self, tenant: str, snapshot_id: str | None, definition: Definition, original: Document | None = None
    ) -> Document:
        """Keep a new snapshot whose job this process has, but has not started."""
        now = now_text()
        await self._make_room(tenant, definition["snapshotPriority"], now)
        snapshot_id = snapshot_id or f"urn:ngsi-ld:Snapshot:{uuid.uuid4()}"
        content = snapshot_content(tenant, snapshot_id, secrets.token_hex(8))
        document: Document = {
            "_id": {"tenant": tenant, "id": snapshot_id},
            "createdAt": now,
            "modifiedAt": now,
            "expiresAt": self._expiry(definition, now),
            "usedAt": now,
            "version": 1,
            "definition": definition,
            "status": "preparing",
            "job": {"process": self._work.process, "content": content},
        }
        if original is not None:
            document["job"]["source"] = original["content"]
            document["details"] = original["details"]
        await self._store.insert(document)
        return document

    async def _make_room(self, tenant: str, priority: int, now: str) -> None:
        """Clause 5.5.15: the least important snapshots make room for a new one."""
        present = sorted(
            await self._store.all(tenant, now),
            key=lambda document: (document["definition"]["snapshotPriority"], document["usedAt"]),
        )
        for document in present[: max(len(present) - self._limits.most + 1, 0)]:
            if document["definition"]["snapshotPriority"] > priority:
                raise Unavailable(
                    f"There are {len(present)} snapshots already, as many as allowed, and all of a higher "
                    "snapshotPriority: delete some, or wait for them to expire.",
                    retry_after=60,
                )
            await self._work.remove(document)

    def _expiry(self, definition: Definition, now: str) -> str:
        lifetimes = self._limits.lifetimes
        lifetime = timedelta(seconds=min(lifetimes.usual, lifetimes.longest))
        if "snapshotLifetime" in definition:
            lifetime = parse_duration(definition["snapshotLifetime"], "snapshotLifetime", longest=lifetimes.longest)
        expiry = datetime.fromisoformat(now).astimezone(UTC) + lifetime
        return expiry.isoformat(timespec="microseconds")[:-6] + "Z"

    async def _stored(self, tenant: str, snapshot_id: str) -> Document:
        document = await self._store.get(tenant, snapshot_id, now_text())
        if document is None:
            raise _missing(snapshot_id)
        return document

    async def _complete(self, tenant: str, snapshot_id: str) -> Document:
        await self._tenants.database(tenant)
        document = await self._stored(tenant, snapshot_id)
        if "content" not in document:
            raise Unavailable(f"The snapshot {snapshot_id} is still being prepared; try again.")
        return document


def _missing(snapshot_id: str) -> ResourceNotFound:
    return ResourceNotFound(f"The snapshot {snapshot_id} does not exist.")
