"""Operations on subscriptions (clauses 5.8.1 to 5.8.5)."""

import uuid
from collections.abc import Sequence
from typing import Any, Protocol

import orjson

from broker.core.subscription_documents import Definition, Terms, merged, read_changes, read_subscription
from broker.ngsild.content import owner_of
from broker.ngsild.errors import BadRequestData, Conflict, ResourceNotFound
from broker.ngsild.timestamps import now_text
from broker.notify.registry import Compiler
from broker.notify.subscription import Subscription
from broker.notify.trust import Trust, UntrustworthyError
from broker.storage.subscriptions import Document

_ATTEMPTS = 20


class RequestContext(Terms, Protocol):
    """What the operations need of the @context of a request."""

    @property
    def source(self) -> Any:
        """What an answer shows as "@context"."""

    @property
    def link(self) -> str | None:
        """The one URL that stands for it, or None."""


class KeepsSubscriptions(Protocol):
    """Where subscriptions are kept."""

    async def insert(self, tenant: str, subscription_id: str, definition: Definition, now: str) -> Document:
        """Keep a new one; AlreadyExists."""

    async def get(self, tenant: str, subscription_id: str) -> Document | None:
        """One document, or None."""

    async def list(self, tenant: str, *, limit: int, offset: int = 0) -> Sequence[Document]:
        """A page in the order of creation."""

    async def count(self, tenant: str) -> int:
        """How many there are."""

    async def replace(
        self, tenant: str, subscription_id: str, definition: Definition, *, version: int, now: str
    ) -> Document | None:
        """Replace the definition if the version is still the same; None if it is not."""

    async def delete(self, tenant: str, subscription_id: str) -> bool:
        """Delete one; whether there was one."""


class UsesSubscriptions(Protocol):
    """The subscriptions in use in this process: told of each change before the client is."""

    async def apply(self, document: Document) -> None:
        """Take over a subscription as it is stored."""

    def forget(self, tenant: str, subscription_id: str) -> None:
        """Drop a deleted one."""


class CountsDeliveries(Protocol):
    """What was delivered and is not yet in the database."""

    async def flush(self) -> None:
        """Bring the database up to date."""


class CreatesTenants(Protocol):
    """Tenants come into being with the first subscription, as with the first entity."""

    async def ensure(self, tenant: str) -> None:
        """Create the tenant if it does not exist."""

    async def database(self, tenant: str) -> Any:
        """NonexistentTenant if the tenant does not exist."""


class LinksContexts(Protocol):
    """Makes @contexts that no single URL stands for available at one."""

    async def link(self, tenant: str, source: Any, origin: str) -> str:
        """The URL at this broker, which clients reach at `origin`."""


class Subscriptions:
    """The use cases for subscriptions. `compiler` finds out whether a subscription can be used at all.

    `trust` has the CA files that subscriptions may name; by default there are none.
    """

    def __init__(
        self,
        *,
        store: KeepsSubscriptions,
        registry: UsesSubscriptions,
        compiler: Compiler,
        deliveries: CountsDeliveries,
        tenants: CreatesTenants,
        contexts: LinksContexts,
        trust: Trust | None = None,
    ) -> None:
        self._store = store
        self._registry = registry
        self._compile = compiler
        self._deliveries = deliveries
        self._tenants = tenants
        self._contexts = contexts
        self._trust = trust or Trust()

    async def create(self, tenant: str, body: Any, context: RequestContext, origin: str) -> str:
        """Clause 5.8.1: the id of the new subscription. AlreadyExists if there is one with the id of the body.

        `origin` is how clients reach this broker, such as "http://broker:1026".
        """
        now = now_text()
        given_id, definition = read_subscription(body, context, now)
        subscription_id = given_id or f"urn:ngsi-ld:Subscription:{uuid.uuid4()}"
        definition["context"] = orjson.dumps(context.source).decode()
        _remember_query_context(definition, definition, context)
        await self._check(tenant, subscription_id, definition, now)
        await self._tenants.ensure(tenant)
        definition["contextLink"] = context.link or await self._contexts.link(owner_of(tenant), context.source, origin)
        document = await self._store.insert(tenant, subscription_id, definition, now)
        await self._registry.apply(document)
        return subscription_id

    async def update(self, tenant: str, subscription_id: str, body: Any, context: RequestContext) -> None:
        """Clause 5.8.2: replaces the members that the body gives, deletes those that it sets to null."""
        now = now_text()
        if isinstance(body, dict) and body.get("id", body.get("@id", subscription_id)) != subscription_id:
            raise BadRequestData("The id of a subscription cannot be changed: leave it out of the body.", pointer="/id")
        changes = read_changes(body, context, now)
        for _ in range(_ATTEMPTS):
            stored = await self._stored(tenant, subscription_id)
            definition = merged(stored["definition"], changes, now)
            _remember_query_context(definition, changes, context)
            await self._check(tenant, subscription_id, definition, now)
            document = await self._store.replace(
                tenant, subscription_id, definition, version=stored["version"], now=now
            )
            if document is not None:
                await self._registry.apply(document)
                return
        raise Conflict(f"Others keep changing the subscription {subscription_id}; try again.")

    async def retrieve(self, tenant: str, subscription_id: str) -> Document:
        """Clause 5.8.3: the stored document, its counters up to date as far as this process counts."""
        await self._deliveries.flush()
        return await self._stored(tenant, subscription_id)

    async def query(
        self, tenant: str, *, limit: int, offset: int, count: bool
    ) -> tuple[Sequence[Document], int | None]:
        """Clause 5.8.4: a page of stored documents, and how many there are in all if asked for."""
        await self._tenants.database(tenant)
        await self._deliveries.flush()
        total = await self._store.count(tenant) if count else None
        return await self._store.list(tenant, limit=limit, offset=offset), total

    async def delete(self, tenant: str, subscription_id: str) -> None:
        """Clause 5.8.5."""
        await self._tenants.database(tenant)
        if not await self._store.delete(tenant, subscription_id):
            raise _missing(subscription_id)
        self._registry.forget(tenant, subscription_id)

    async def _stored(self, tenant: str, subscription_id: str) -> Document:
        await self._tenants.database(tenant)
        document = await self._store.get(tenant, subscription_id)
        if document is None:
            raise _missing(subscription_id)
        return document

    async def _check(self, tenant: str, subscription_id: str, definition: Definition, now: str) -> Subscription:
        subscription = await self._compile(
            {
                "_id": {"tenant": tenant, "id": subscription_id},
                "createdAt": now,
                "version": 0,
                "definition": definition,
            }
        )
        if subscription.target.ca is not None:
            try:
                self._trust.context(subscription.target.ca)
            except UntrustworthyError as error:
                raise BadRequestData(str(error), pointer="/notification/endpoint/notifierInfo") from None
        return subscription


def _remember_query_context(definition: Definition, given: Definition, context: RequestContext) -> None:
    """Keep the @context in which the names of a new `q` are meant; forget it with its query."""
    if given.get("q") is not None:
        definition["qContext"] = orjson.dumps(context.source).decode()
    elif "q" not in definition:
        definition.pop("qContext", None)


def _missing(subscription_id: str) -> ResourceNotFound:
    return ResourceNotFound(f"The subscription {subscription_id} does not exist.")
