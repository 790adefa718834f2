"""What goes on with snapshots beside the requests: filling them, taking over from the dead, clearing up (clause 5.16).

A snapshot is filled by the process that was asked for it. Should that process die, another one begins anew. Every
process looks for what the dead have left behind and for what has expired; what two find at once, only one of them does.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import orjson
import structlog

from broker.background import Background, pause
from broker.core.queries import EntityQuery, Filter
from broker.core.snapshot_documents import overall_status
from broker.core.snapshot_notices import SnapshotNotifier
from broker.jsonld.context import Context
from broker.ngsild.content import read_content, snapshot_content
from broker.ngsild.errors import InternalError, NgsiLdError, Unavailable
from broker.ngsild.model import Entity
from broker.ngsild.timestamps import now_text
from broker.storage.processes import Coroner, KnowsAlive
from broker.storage.snapshot_parts import EVERYTHING, Part
from broker.storage.snapshots import Document

log = structlog.get_logger(__name__)

_ROUND = 2.0
_PAUSE = 1.0
_AT_ONCE = 2
"""Snapshots that one process fills at once."""

_GRACE = 600.0
"""Seconds after which nothing can be under way any more that would bring a dropped content back."""


class KeepsSnapshots(Protocol):
    """Where snapshots are kept: `storage/snapshots.py` says what each does."""

    async def delete(self, document: Document) -> bool:
        """Delete one; whether it was there still."""

    async def take_over(self, document: Document, process: str, content: str) -> bool:
        """Whether `process` has the job of a snapshot from now on."""

    async def find(self, key: Mapping[str, str]) -> Document | None:
        """One snapshot, expired or not."""

    async def finish(self, document: Document, content: str, ended: Mapping[str, Any]) -> bool:
        """End a job; False if somebody else has it now."""

    async def jobs(self) -> Sequence[Document]:
        """The snapshots that are being prepared."""

    async def expired(self, now: str) -> Sequence[Document]:
        """The snapshots that have expired."""

    async def contents(self) -> set[str]:
        """The names of all contents in use."""

    async def note_uses(self, uses: Mapping[tuple[str, str], str]) -> None:
        """Write down when snapshots were used last."""


class MakesContents(Protocol):
    """The contents of snapshots: `storage/snapshot_contents.py` says what each does."""

    async def make(self, source: str, content: str, token: str) -> None:
        """Make an empty content."""

    def reading(self) -> AbstractAsyncContextManager[Any]:
        """The present instant."""

    async def copy(
        self,
        source: str,
        content: str,
        instant: Any,
        condition: Filter,
        decide: Callable[[Entity], bool] | None = None,
        part: Part = EVERYTHING,
    ) -> bool:
        """Copy entities; whether there are any."""

    async def complete(self, content: str) -> None:
        """Make ready for use what was filled."""

    async def drop(self, content: str) -> None:
        """Drop a content."""

    async def sweep(self, in_use: Callable[[], Awaitable[Collection[str]]], grace: float) -> None:
        """Drop the contents that are not in use."""


class Selects(Protocol):
    """What is needed of queries."""

    async def selection(self, tenant: str, query: EntityQuery) -> tuple[Filter, Callable[[Entity], bool] | None]:
        """A filter for all that a query selects, and what has the last word."""


class ResolvesContexts(Protocol):
    """Finds the Context of a query."""

    async def resolve(self, source: Any, tenant: str = "") -> Context:
        """The Context for the value of an "@context" that a tenant gave."""


class DropsSubscriptions(Protocol):
    """The subscriptions on the contents of snapshots."""

    async def delete_all(self, tenant: str) -> None:
        """Delete all of a content."""


CompileQuery = Callable[[dict[str, Any], Context, str], tuple[EntityQuery, Part]]


class SnapshotWork(Background):
    """The work of the process `process`."""

    def __init__(
        self,
        *,
        process: str,
        store: KeepsSnapshots,
        contents: MakesContents,
        notifier: SnapshotNotifier,
        queries: Selects,
        contexts: ResolvesContexts,
        compile_query: CompileQuery,
        processes: KnowsAlive,
        subscriptions: DropsSubscriptions,
    ) -> None:
        self.process = process
        self._store = store
        self._contents = contents
        self._notifier = notifier
        self._queries = queries
        self._contexts = contexts
        self._compile_query = compile_query
        self._subscriptions = subscriptions
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._jobs: set[asyncio.Task[None]] = set()
        self._coroner = Coroner(process, processes)
        self._uses: dict[tuple[str, str], str] = {}

    def start(self) -> None:
        """Begin to do the rounds."""
        self._notifier.start()
        super().start()

    async def stop(self) -> None:
        """Break off; what is being filled is for other processes, or the next start."""
        await super().stop()
        for task in self._jobs:
            task.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        await self._notifier.stop()

    def start_job(self, document: Document) -> None:
        """Fill a snapshot whose job this process has."""
        task = asyncio.create_task(self._work_on(document))
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    def used(self, tenant: str, snapshot_id: str) -> None:
        """Remember that an operation is executed on a snapshot now."""
        self._uses[(tenant, snapshot_id)] = now_text()

    async def note_uses(self) -> None:
        """Write down what was remembered."""
        uses, self._uses = self._uses, {}
        await self._store.note_uses(uses)

    async def remove(self, document: Document) -> None:
        """Delete a snapshot with all that belongs to it, and say so to who wants to know."""
        ended = {**document, "expiresAt": min(document["expiresAt"], now_text())}
        notice = await self._notifier.announce(ended, deleted=True)
        if not await self._store.delete(document):
            await self._notifier.withdraw(notice)
            return
        self._notifier.wake()
        content = document.get("content")
        if content is not None:
            await self._subscriptions.delete_all(content)
            if content not in await self._store.contents():  # a clone may be under way
                await self._contents.drop(content)

    async def look(self) -> None:
        """One round: take over, remove what has expired, drop what is left over. NgsiLdError if the storage is lost."""
        await self.note_uses()
        for document in await self._store.expired(now_text()):
            await self.remove(document)
        await self._take_over()
        await self._contents.sweep(self._store.contents, _GRACE)

    async def _take_over(self) -> None:
        jobs = await self._store.jobs()
        if not jobs:
            self._coroner.forget()
            return
        verdict = await self._coroner.judge({document["job"]["process"] for document in jobs})
        if verdict is None:
            return
        for document in jobs:
            if document["job"]["process"] in verdict.dead:
                await self._restart(document)

    async def _restart(self, document: Document) -> None:
        key = document["_id"]
        content = snapshot_content(key["tenant"], key["id"], secrets.token_hex(8))
        if await self._store.take_over(document, self.process, content):
            log.info("taking over a snapshot from a dead process", snapshot=key["id"], tenant=key["tenant"])
            self.start_job({**document, "job": {**document["job"], "process": self.process, "content": content}})

    async def _run(self) -> None:
        while True:
            await pause(_ROUND)
            try:
                await self.look()
            except NgsiLdError as error:
                log.warning("snapshots wait for the storage", reason=error.detail)
            except Exception:
                log.exception("looking after snapshots failed")

    async def _work_on(self, document: Document) -> None:
        async with self._slots:
            while True:
                try:
                    await self._finish(document, *await self._fill(document))
                    return
                except Unavailable as error:
                    log.warning("a snapshot waits for the storage", snapshot=document["_id"], reason=error.detail)
                    await asyncio.sleep(_PAUSE)

    async def _fill(self, document: Document) -> tuple[str, list[dict[str, Any]]]:
        """Fill the content of a job from nothing; the status of the snapshot, and the details of its queries."""
        job = document["job"]
        queries = orjson.loads(document["definition"]["queries"])
        try:
            if "source" in job:
                await self._clone(document)
                status, details = "success", document.get("details", [])
            else:
                details = await self._copy(document, queries)
                status = overall_status([one["resultStatus"] for one in details])
            await self._contents.complete(job["content"])
        except Unavailable:
            raise
        except Exception as error:
            failure = (
                error
                if isinstance(error, NgsiLdError)
                else InternalError("The snapshot could not be prepared; the log of the broker has the cause.")
            )
            if await self._store.find(document["_id"]) is not None:  # else its content was dropped meanwhile
                log.exception("a snapshot could not be prepared", snapshot=document["_id"])
            return "failure", [_failed(failure)] * len(queries)
        return status, details

    async def _begin(self, document: Document) -> str:
        """Make an empty content; the name of the one to copy from."""
        job = document["job"]
        source: str = job.get("source", document["_id"]["tenant"])
        await self._contents.drop(job["content"])  # what an earlier attempt left
        await self._contents.make(source, job["content"], read_content(job["content"]).token)
        return source

    async def _clone(self, document: Document) -> None:
        source = await self._begin(document)
        async with self._contents.reading() as instant:
            await self._contents.copy(source, document["job"]["content"], instant, {})

    async def _copy(self, document: Document, queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Copy what the queries select; the details of each.

        One that MongoDB fails to execute ends the reading: the others are then executed anew, without it.
        """
        failed: dict[int, dict[str, Any]] = {}
        while True:
            await self._begin(document)
            try:
                async with self._contents.reading() as instant:
                    return [
                        failed.get(index) or await self._execute(document, query, index, instant)
                        for index, query in enumerate(queries)
                    ]
            except _NotExecutedError as error:
                failed[error.index] = error.details

    async def _execute(self, document: Document, written: dict[str, Any], index: int, instant: Any) -> dict[str, Any]:
        """Execute one query; its ExecutionResultDetails (clause 5.2.42)."""
        tenant, content = document["_id"]["tenant"], document["job"]["content"]
        try:
            context = await self._contexts.resolve(orjson.loads(document["definition"]["context"]), tenant)
            query, part = self._compile_query(written, context, f"/snapshotQueries/{index}")
            condition, decide = await self._queries.selection(tenant, query)
        except Unavailable:
            raise
        except NgsiLdError as error:
            return _failed(error)
        try:
            found = await self._contents.copy(tenant, content, instant, condition, decide, part)
        except Unavailable:
            raise
        except NgsiLdError as error:
            raise _NotExecutedError(index, _failed(error)) from error
        return {"resultStatus": "success" if found else "empty"}

    async def _finish(self, document: Document, status: str, details: list[dict[str, Any]]) -> None:
        content = document["job"]["content"]
        present = await self._store.find(document["_id"])
        if present is None or present.get("job", {}).get("content") != content:
            await self._contents.drop(content)
            return
        ended = {"status": status, "details": details, "modifiedAt": now_text()}
        notice = await self._notifier.announce({**present, **ended, "version": present["version"] + 1})
        if await self._store.finish(document, content, ended):
            self._notifier.wake()
        else:  # it was deleted, or somebody else has the job now
            await self._notifier.withdraw(notice)
            await self._contents.drop(content)


class _NotExecutedError(Exception):
    """MongoDB could not execute the query with the number `index`; `details` say why."""

    def __init__(self, index: int, details: dict[str, Any]) -> None:
        self.index = index
        self.details = details


def _failed(error: NgsiLdError) -> dict[str, Any]:
    return {"resultStatus": "failure", "problemDetails": error.problem()}
