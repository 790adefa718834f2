"""Operations on @contexts as resources: add, list, serve, delete and reload (clause 5.13), and those made implicitly.

Every tenant sees the cached @contexts, which are copies of public documents, and its own (clause 4.14). One that Vela
created implicitly is also served to requests that name no tenant: programs that follow its URL cannot name one.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import orjson

from broker.jsonld.core import CORE_CONTEXT_URL, is_core_url
from broker.jsonld.identifiers import implicit_local_id, local_id_in, new_local_id, own_path
from broker.jsonld.usage import Usage
from broker.ngsild.errors import (
    BadRequestData,
    InvalidRequest,
    NgsiLdError,
    OperationNotSupported,
    PayloadTooLarge,
    ResourceNotFound,
)
from broker.storage.contexts import CACHED, HOSTED, IMPLICIT, StoredContext

_KNOWN_IMPLICIT = 1_000
_NAME = "in the body"


class KeepsContexts(Protocol):
    """Where @contexts are kept."""

    async def find(self, *identifiers: str) -> StoredContext | None:
        """The one with one of these as its local identifier or URL, or None."""

    async def list(self, tenant: str, kind: str | None = None) -> Sequence[StoredContext]:
        """Those that a tenant sees, without their documents."""

    async def add(self, local_id: str, tenant: str, document: Any, kind: str = HOSTED) -> None:
        """Keep one of the broker's own, unless it is there already."""

    async def delete(self, record: str) -> bool:
        """Delete one; whether there was one."""

    async def add_usage(self, usage: Mapping[str, Usage]) -> None:
        """Add to the counters."""


class UsesContexts(Protocol):
    """The @contexts in use in this process."""

    async def check(self, name: str, context: Any, tenant: str = "") -> None:
        """Find out whether an @context can be used."""

    async def reload(self, url: str) -> None:
        """Get one anew, or raise LdContextNotAvailable."""

    def forget(self, record: str, version: str | None = None) -> None:
        """Look for a record in the store again."""

    def count(self, record: str) -> None:
        """Count one more use."""

    def forget_all(self) -> None:
        """Look for everything in the store again."""

    def take_usage(self) -> dict[str, Usage]:
        """How often each record was used since the last call."""

    def return_usage(self, usage: dict[str, Usage]) -> None:
        """Take back what could not be written down."""


class CreatesTenants(Protocol):
    """Tenants come into being with the first @context, as with the first entity."""

    async def ensure(self, tenant: str) -> None:
        """Create the tenant if it does not exist."""


class ContextOperations:
    """The use cases for stored @contexts. Those that clients add have at most `max_bytes` bytes as JSON."""

    def __init__(
        self, store: KeepsContexts, contexts: UsesContexts, tenants: CreatesTenants, *, max_bytes: int
    ) -> None:
        self._store = store
        self._contexts = contexts
        self._tenants = tenants
        self._max_bytes = max_bytes
        self._implicit: OrderedDict[str, None] = OrderedDict()

    async def add(self, tenant: str, body: Any) -> str:
        """Clause 5.13.2: the local identifier of the new @context. What stands beside "@context" is dropped.

        Raises BadRequestData if it is no @context that NGSI-LD admits, LdContextNotAvailable if it refers to one that
        cannot be had.
        """
        if not isinstance(body, dict) or "@context" not in body:
            raise InvalidRequest('The body is no @context: expected a JSON object with an "@context" member.')
        document = {"@context": body["@context"]}
        size = len(orjson.dumps(document))
        if size > self._max_bytes:
            raise PayloadTooLarge(f"The @context has {size} bytes: at most {self._max_bytes} are kept; split it up.")
        try:
            await self._contexts.check(_NAME, document["@context"], tenant)
        except NgsiLdError as error:
            error.pointer = "/@context"
            raise
        await self._tenants.ensure(tenant)
        local_id = new_local_id()
        await self._store.add(local_id, tenant, document)
        return local_id

    async def list(self, tenant: str, kind: str | None) -> Sequence[StoredContext]:
        """Clause 5.13.3: those that the tenant sees, of all kinds or of one; what this process counted is in them."""
        await self.flush()
        return await self._store.list(tenant, kind)

    async def serve(self, tenant: str, identifier: str) -> Any:
        """Clause 5.13.4 without details: the @context as a JSON document.

        Raises ResourceNotFound, and OperationNotSupported for a cached one.
        """
        stored = await self._store.find(*_names(identifier))
        linked = stored is not None and stored.kind == IMPLICIT and not tenant
        if stored is None or not (linked or _visible(stored, tenant)):
            raise _missing(identifier)
        if stored.kind == CACHED:
            raise OperationNotSupported(
                f"The @context {identifier} is a copy of one that others publish, which Vela uses but does not serve: "
                f"get it from {stored.record}, or ask for details=true."
            )
        self._contexts.count(stored.record)
        return stored.document

    async def details(self, tenant: str, identifier: str) -> StoredContext:
        """Clause 5.13.4 with details: what is known about the @context. ResourceNotFound."""
        await self.flush()
        stored = await self._stored(tenant, identifier)
        self._contexts.count(stored.record)
        return stored

    async def delete(self, tenant: str, identifier: str) -> None:
        """Clause 5.13.5 without reload. ResourceNotFound; BadRequestData for the core, which is part of Vela."""
        stored = await self._stored(tenant, identifier)
        if stored.record == CORE_CONTEXT_URL:
            raise BadRequestData("The core @context is part of NGSI-LD and cannot be deleted (clause 4.4).")
        if not await self._store.delete(stored.record):
            raise _missing(identifier)
        self.forget(stored.record)

    async def reload(self, tenant: str, identifier: str) -> None:
        """Clause 5.13.5 with reload: the cached copy is replaced by a new one. The core, which never changes, stays.

        Raises ResourceNotFound, BadRequestData if it is not a cached one, LdContextNotAvailable if there is no usable
        @context at its URL: the copy stays in use then.
        """
        stored = await self._stored(tenant, identifier)
        if stored.url is None:
            raise BadRequestData(
                f"The @context {identifier} is {stored.kind}: only a Cached one can be loaded again. Leave reload out "
                "to delete it."
            )
        if stored.record != CORE_CONTEXT_URL:
            await self._contexts.reload(stored.url)

    async def link(self, tenant: str, source: Any, origin: str) -> str:
        """The URL of an @context that no single URL stands for (clauses 5.8.1.4, 5.13.1, 6.3.6).

        `source` is the value of an "@context", which is stored once, however often it is asked for. `origin` is how
        clients reach this broker, such as "http://broker:1026".
        """
        local_id = implicit_local_id(tenant, source)
        if local_id not in self._implicit:
            await self._store.add(local_id, tenant, {"@context": source}, IMPLICIT)
            self._implicit[local_id] = None
            if len(self._implicit) > _KNOWN_IMPLICIT:
                self._implicit.popitem(last=False)
        return origin + own_path(local_id)

    def forget(self, record: str, version: str | None = None) -> None:
        """Take note that a record was changed, or deleted (`version` is None)."""
        self._contexts.forget(record, version)
        if version is None:
            self._implicit.pop(record, None)

    def forget_all(self) -> None:
        """Take note that any record may have been changed."""
        self._contexts.forget_all()
        self._implicit.clear()

    async def flush(self) -> None:
        """Write down how often this process used each @context. Raises Unavailable, and keeps the counts for later."""
        usage = self._contexts.take_usage()
        try:
            await self._store.add_usage(usage)
        except NgsiLdError:
            self._contexts.return_usage(usage)
            raise

    async def _stored(self, tenant: str, identifier: str) -> StoredContext:
        stored = await self._store.find(*_names(identifier))
        if stored is None or not _visible(stored, tenant):
            raise _missing(identifier)
        return stored


def render_details(stored: StoredContext, origin: str) -> dict[str, Any]:
    """What clients are told about an @context (clause 5.13.3.5). `origin` as in `ContextOperations.link`."""
    details: dict[str, Any] = {
        "URL": url_of(stored, origin),
        "localId": stored.local_id,
        "kind": stored.kind,
        "createdAt": _text(stored.created_at),
        "numberOfHits": stored.hits,
    }
    if stored.expires_at is not None:
        details["expiresAt"] = _text(stored.expires_at)
    if stored.last_usage is not None:
        details["lastUsage"] = _text(stored.last_usage)
    return details


def url_of(stored: StoredContext, origin: str) -> str:
    """Where the @context can be had: at the broker that `origin` names, or where it was downloaded."""
    return stored.url or origin + own_path(stored.local_id)


def _names(identifier: str) -> list[str]:
    """What an @context is kept under that a client calls `identifier`, which may be a URL of this broker."""
    if is_core_url(identifier):
        return [CORE_CONTEXT_URL]
    local_id = local_id_in(identifier)
    return [identifier] if local_id is None else [identifier, local_id]


def _visible(stored: StoredContext, tenant: str) -> bool:
    return stored.kind == CACHED or stored.tenant == tenant


def _missing(identifier: str) -> ResourceNotFound:
    return ResourceNotFound(f"The @context {identifier!r:.300} does not exist.")


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
