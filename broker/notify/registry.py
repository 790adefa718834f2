"""All subscriptions in memory, compiled: kept in step with the database by its change stream.

A change that this process makes itself is applied at once (`apply`, `forget`), before the client has its answer; those
of other processes arrive within milliseconds. When the stream breaks, everything is read again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog

from broker.ngsild.errors import NgsiLdError
from broker.notify.matching import ConditionIndex
from broker.notify.subscription import Subscription, Version
from broker.storage.subscriptions import Document, SubscriptionEdit

log = structlog.get_logger(__name__)

Compiler = Callable[[Document], Awaitable[Subscription]]
"""Makes a subscription of its document; raises NgsiLdError when it cannot, as for an @context that is out of reach."""

Outdated = Callable[[Sequence[Subscription]], Awaitable[list[Subscription]]]
"""Finds those subscriptions that would be compiled to something else by now."""

_YIELD_EVERY = 100
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0


def version_of(document: Document) -> Version:
    """Which state of a subscription a document is: one that was deleted and created anew is later than any before."""
    return document["createdAt"], document["version"]


class SubscriptionSource(Protocol):
    """Where the subscriptions are kept."""

    def all(self) -> AsyncIterator[Document]:
        """The subscriptions of all tenants."""

    async def get(self, tenant: str, subscription_id: str) -> Document | None:
        """The document of one subscription, or None."""

    def edits(self) -> AbstractAsyncContextManager[AsyncIterator[SubscriptionEdit]]:
        """Follow edits from the moment the context is entered."""


class Registry:
    """Compiled subscriptions by tenant. `matching` holds those that can fire, by tenant; no entry: none can.

    `periodic` holds those that are told at intervals, by tenant and id, active or not; they never fire.
    """

    def __init__(self, source: SubscriptionSource, compiler: Compiler, outdated: Outdated | None = None) -> None:
        self._source = source
        self._compile = compiler
        self._outdated = outdated
        self._known: dict[tuple[str, str], Subscription] = {}
        self._broken: dict[tuple[str, str], Document] = {}
        self._following: asyncio.Task[None] | None = None
        self.matching: dict[str, ConditionIndex[Subscription]] = {}
        self.periodic: dict[tuple[str, str], Subscription] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, tenant: str, subscription_id: str) -> Subscription | None:
        """A subscription as this process knows it."""
        return self._known.get((tenant, subscription_id))

    async def fetch(self, tenant: str, subscription_id: str) -> Subscription | None:
        """A subscription as the database has it now, None if it does not exist. NgsiLdError if it cannot be told."""
        document = await self._source.get(tenant, subscription_id)
        if document is None:
            self.forget(tenant, subscription_id)
            return None
        self.put(await self._compile(document))
        return self.get(tenant, subscription_id)

    async def start(self) -> None:
        """Load all subscriptions and follow their edits from then on. Raises Unavailable if they cannot be read."""
        loaded = asyncio.get_running_loop().create_future()
        self._following = asyncio.create_task(self._follow(loaded))
        try:
            await loaded
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Follow no longer."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            self._following = None

    async def apply(self, document: Document) -> None:
        """Take over a subscription as it is in the database, unless a later version is known already.

        One that cannot be compiled is kept aside and tried again, so that it fires as soon as it can.
        """
        name = document["_id"]["tenant"], document["_id"]["id"]
        known = self._known.get(name)
        if known is not None and known.version >= version_of(document):
            return
        try:
            subscription = await self._compile(document)
        except NgsiLdError as error:
            log.error("subscription cannot be used", tenant=name[0], subscription=name[1], reason=error.detail)
            self._broken[name] = document
            return
        self.put(subscription)

    def put(self, subscription: Subscription) -> None:
        """Take over a compiled subscription, unless a later version is known already."""
        name = subscription.tenant, subscription.id
        known = self._known.get(name)
        if known is not None and known.version >= subscription.version:
            return
        self._take_in(name, subscription)

    async def renew(self) -> None:
        """Compile anew those whose @contexts are others by now; those that cannot be compiled stay as they are."""
        if self._outdated is None:
            return
        for subscription in await self._outdated(list(self._known.values())):
            name = subscription.tenant, subscription.id
            document = await self._source.get(*name)
            if document is None:
                continue
            try:
                renewed = await self._compile(document)
            except NgsiLdError as error:
                log.error("subscription keeps its @context", tenant=name[0], subscription=name[1], reason=error.detail)
                continue
            known = self._known.get(name)
            if known is not None and known.version <= renewed.version:
                self._take_in(name, renewed)

    def _take_in(self, name: tuple[str, str], subscription: Subscription) -> None:
        known = self._known.get(name)
        self._broken.pop(name, None)
        if known is not None:
            if known.throttle and subscription.throttle and known.throttle.seconds == subscription.throttle.seconds:
                subscription.throttle = known.throttle
            self._unlist(known)
        self._known[name] = subscription
        if subscription.periodic is not None:
            self.periodic[name] = subscription
        elif subscription.active:
            index = self.matching.get(subscription.tenant)
            if index is None:
                index = self.matching[subscription.tenant] = ConditionIndex()
            index.add(subscription)

    def forget(self, tenant: str, subscription_id: str) -> None:
        """Drop a subscription that was deleted."""
        self._broken.pop((tenant, subscription_id), None)
        known = self._known.pop((tenant, subscription_id), None)
        if known is not None:
            self._unlist(known)

    async def retry_broken(self) -> None:
        """Try again to compile those that could not be compiled."""
        for document in list(self._broken.values()):
            await self.apply(document)

    def _unlist(self, subscription: Subscription) -> None:
        if subscription.periodic is not None:
            self.periodic.pop((subscription.tenant, subscription.id), None)
            return
        index = self.matching.get(subscription.tenant)
        if index is not None and subscription.active:
            index.remove(subscription)
            if not index:
                del self.matching[subscription.tenant]

    async def _follow(self, loaded: asyncio.Future[None]) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                async with self._source.edits() as edits:
                    await self._load()
                    pause = _FIRST_PAUSE
                    if not loaded.done():
                        loaded.set_result(None)
                    async for edit in edits:
                        await self._take(edit)
            except Exception as error:
                if not loaded.done():
                    loaded.set_exception(error)
                    return
                if isinstance(error, NgsiLdError):
                    log.warning("following subscriptions was interrupted", reason=error.detail)
                else:
                    log.exception("following subscriptions failed")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _load(self) -> None:
        seen: set[tuple[str, str]] = set()
        earlier = set(self._known) | set(self._broken)
        async for document in self._source.all():
            seen.add((document["_id"]["tenant"], document["_id"]["id"]))
            await self.apply(document)
            if len(seen) % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
        for tenant, subscription_id in earlier - seen:
            self.forget(tenant, subscription_id)

    async def _take(self, edit: SubscriptionEdit) -> None:
        if edit.document is not None:
            await self.apply(edit.document)
            return
        name = edit.tenant, edit.subscription_id
        known = self._known.get(name)
        if known is None and name not in self._broken:
            return
        # It may have been made since somebody looked, by this process even: to forget it would cost notifications.
        document = await self._source.get(*name)
        if document is not None:
            await self.apply(document)
        elif self._known.get(name) is known:
            self.forget(*name)
