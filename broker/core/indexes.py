"""Declaring indexes for queries: what `vela index` does. They are built in the background, by MongoDB."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import structlog

from broker.ngsild.errors import AlreadyExists, BadRequestData, NgsiLdError, ResourceNotFound, Unavailable
from broker.ngsild.model import LOCATION, decode_key
from broker.ngsild.names import GEO_KEYS
from broker.ngsild.query.grammar import parse_q
from broker.ngsild.query.tree import Exists, ExpandsNames, Path, expand
from broker.storage.client import said
from broker.storage.indexes import BuiltIndex, DeclaredIndex, IndexDeclaration, IndexKind

log = structlog.get_logger(__name__)

_AT_ONCE = 1.0
"""Seconds that a request waits for a build: small ones are ready when it is answered."""

_PAUSE = 5.0
_MEMBER_NAMES = {"scopes": "scope"}


class KeepsIndexes(Protocol):
    """Where declarations and indexes are."""

    async def declare(self, tenant: str, declaration: IndexDeclaration) -> bool:
        """Keep a declaration; whether it is new."""

    async def forget(self, tenant: str, index_id: str) -> bool:
        """Remove a declaration; whether there was one."""

    async def note(self, tenant: str, index_id: str, failure: str | None) -> None:
        """Remember why an index could not be made."""

    async def declared(self, tenant: str | None = None) -> Sequence[DeclaredIndex]:
        """The declarations of one tenant, or of all."""

    async def build(self, tenant: str, declaration: IndexDeclaration) -> None:
        """Make the index."""

    async def drop(self, tenant: str, index_id: str) -> None:
        """Remove the index."""

    async def built(self, tenant: str) -> Mapping[str, BuiltIndex]:
        """The indexes that there are, by name."""


class IndexState(StrEnum):
    """What became of a declaration. `WAITING`: no broker has begun to build it, or MongoDB does not answer."""

    READY = "ready"
    BUILDING = "building"
    FAILED = "failed"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class IndexReport:
    """A declared index: its state, its size in bytes, and why it could not be built, if so."""

    declaration: IndexDeclaration
    state: IndexState
    size: int
    failure: str | None


def read_declaration(type_name: str, attribute: str, kind: IndexKind | None, context: ExpandsNames) -> IndexDeclaration:
    """The declaration for a type and a path as `q` has them, or an IRI; without a kind, the one that fits.

    BadRequestData where the path is none, or an index would be of no use.
    """
    path = _read_path(attribute, context)
    is_geo = path.names[:1] and path.names[0] in GEO_KEYS
    if kind is None:
        kind = IndexKind.GEO if is_geo else IndexKind.VALUE
    if kind is IndexKind.VALUE and is_geo and len(path.names) == 1 and path.member is None:
        raise BadRequestData(
            f"{attribute!r:.80} holds geometries, which are not compared: expected kind geo.", pointer="/kind"
        )
    if kind is IndexKind.GEO:
        if path.names == (LOCATION,):
            raise BadRequestData(
                f"{attribute!r:.80} is the default geo-property, which has an index always: nothing is to be done.",
                pointer="/attribute",
            )
        if len(path.names) != 1 or path.member is not None or path.inside:
            raise BadRequestData(
                f"{attribute!r:.80} is no attribute of the entity itself: expected one, as geo-queries take no other.",
                pointer="/attribute",
            )
    return IndexDeclaration(context.expand(type_name), path, kind)


def _read_path(text: str, context: ExpandsNames) -> Path:
    if ":" in text:
        return Path((context.key(text),))
    try:
        node = parse_q(text)
        if isinstance(node, Exists) and not node.negated:
            found = expand(node, context)
            assert isinstance(found, Exists)
            return found.path
    except BadRequestData as error:
        raise BadRequestData(f"The attribute cannot be indexed: {error.detail}", pointer="/attribute") from None
    raise BadRequestData(
        f"{text!r:.80} is no path to an attribute: expected one such as speed, speed.observedAt or address[city].",
        pointer="/attribute",
    )


def shown_path(path: Path, compact: Callable[[str], str]) -> str:
    """A path as a client writes it in `q`; `compact` makes of an IRI the name that the client knows."""
    names = [compact(decode_key(key)) for key in path.names]
    member = [_MEMBER_NAMES.get(path.member, path.member)] if path.member is not None else []
    inside = f"[{'.'.join(decode_key(key) for key in path.inside)}]" if path.inside else ""
    return ".".join((*names, *member)) + inside


class IndexOperations:
    """Declaring, listing and removing indexes. `start` sees to it that all that are declared are there."""

    def __init__(self, store: KeepsIndexes) -> None:
        self._store = store
        self._builds: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._starting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Build in the background what is declared and not there: after a restore of a backup, or a lost broker."""
        self._starting = asyncio.create_task(self._build_all())

    async def stop(self) -> None:
        """Watch builds no more; MongoDB goes on with them."""
        tasks = [*self._builds.values(), *([self._starting] if self._starting is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def add(self, tenant: str, declaration: IndexDeclaration) -> IndexReport:
        """Declare an index, begin to build it, and wait a moment for it.

        AlreadyExists if it is declared, unless its build has failed: then it is tried again. NonexistentTenant.
        """
        await self._store.built(tenant)  # the tenant exists
        if not await self._store.declare(tenant, declaration):
            if (await self.report(tenant, declaration.id)).state in (IndexState.READY, IndexState.BUILDING):
                raise AlreadyExists("This index is declared already: `vela index list` shows it.")
            await self._store.note(tenant, declaration.id, None)
        await asyncio.wait([self._begin(tenant, declaration)], timeout=_AT_ONCE)
        return await self.report(tenant, declaration.id)

    async def list(self, tenant: str) -> list[IndexReport]:
        """All declared indexes of a tenant."""
        built = await self._store.built(tenant)
        return [_report(one, built) for one in await self._store.declared(tenant)]

    async def report(self, tenant: str, index_id: str) -> IndexReport:
        """One of them; ResourceNotFound if there is none."""
        for found in await self.list(tenant):
            if found.declaration.id == index_id:
                return found
        raise ResourceNotFound(f"The index {index_id!r:.80} does not exist: `vela index list` shows those that do.")

    async def remove(self, tenant: str, index_id: str) -> None:
        """Take a declaration back and drop its index; ResourceNotFound if there is none."""
        await self.report(tenant, index_id)
        await self._store.forget(tenant, index_id)
        build = self._builds.get((tenant, index_id))
        if build is not None:
            build.cancel()
        await self._store.drop(tenant, index_id)

    def _begin(self, tenant: str, declaration: IndexDeclaration) -> asyncio.Task[None]:
        key = tenant, declaration.id
        task = self._builds.get(key)
        if task is None:
            task = self._builds[key] = asyncio.create_task(self._build(tenant, declaration))
            task.add_done_callback(lambda _task: self._builds.pop(key, None))
        return task

    async def _build(self, tenant: str, declaration: IndexDeclaration) -> None:
        while True:
            try:
                await self._store.build(tenant, declaration)
                await self._store.note(tenant, declaration.id, None)
            except Unavailable:
                await asyncio.sleep(_PAUSE)
            except NgsiLdError as error:
                reason = f"{said(error.__cause__)}." if error.__cause__ is not None else error.detail
                log.warning("an index could not be built", tenant=tenant, index=declaration.id, reason=reason)
                with contextlib.suppress(NgsiLdError):  # the next start tries again
                    await self._store.note(tenant, declaration.id, reason)
                return
            else:
                return

    async def _build_all(self) -> None:
        while True:
            try:
                for one in await self._store.declared():
                    self._begin(one.tenant, one.declaration)
            except NgsiLdError as error:
                log.warning("declared indexes could not be looked for", reason=error.detail)
                await asyncio.sleep(_PAUSE)
            else:
                return


def _report(declared: DeclaredIndex, built: Mapping[str, BuiltIndex]) -> IndexReport:
    found = built.get(declared.declaration.id)
    if found is not None:
        state = IndexState.BUILDING if found.building else IndexState.READY
        return IndexReport(declared.declaration, state, found.size, None)
    state = IndexState.WAITING if declared.failure is None else IndexState.FAILED
    return IndexReport(declared.declaration, state, 0, declared.failure)
