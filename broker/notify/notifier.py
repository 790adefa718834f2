"""The notifier of one process: matches changes, and sees to it that what they owe is delivered.

`match` and `release` are called on the update path: they do not wait, and cost next to nothing where nobody listens.
Everything else happens in tasks of its own. Order is kept per entity and endpoint for the changes that one process
commits; changes of one entity that two processes commit at the same time reach the endpoint on two ways.
"""

import asyncio
import contextlib
import os
import platform
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import structlog

from broker.ngsild.changes import Change
from broker.ngsild.errors import NgsiLdError
from broker.notify.counters import Counters, CounterStore
from broker.notify.courier import Completes, NotificationCourier, Sends
from broker.notify.drafts import write_draft
from broker.notify.endpoint_set import EndpointSet
from broker.notify.endpoints import DeliveryLimits
from broker.notify.matching import Events
from broker.notify.owed import Owed, Parcel
from broker.notify.registry import Registry
from broker.notify.rendering import Projection
from broker.notify.settling import Forgets, Settlement
from broker.notify.subscription import Subscription, endpoint_name
from broker.notify.takeover import KnowsProcesses, Landed, OwedByOthers, Takeover
from broker.notify.throttling import GivesTurns
from broker.storage.outbox import fits
from broker.telemetry import Metrics

log = structlog.get_logger(__name__)

_NOTHING: list[Owed] = []
_AFTER_FAILURE = 1.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a notifier does its rounds, in seconds.

    `settle`: adding to the subscriptions' counters, and taking what was delivered out of the outbox; `beat`: a sign of
    life, several in the time of a lease; `look`: for dead processes; `tidy`: idle endpoints, and subscriptions that
    could not be used.
    `grace` is how old what never landed must be to be dropped in a takeover.
    """

    settle: float = 0.1
    beat: float = 1.0
    look: float = 2.0
    tidy: float = 5.0
    grace: float = 30.0


class CountsAndTurns(CounterStore, GivesTurns, Protocol):
    """What the subscription store offers to delivery."""


class Processes(KnowsProcesses, Protocol):
    """Signs of life."""

    async def beat(self, process: str, about: dict[str, Any] | None = None) -> None:
        """Say that `process` is alive."""

    async def leave(self, process: str) -> None:
        """Forget `process`, which ends."""


class KeepsOwed(OwedByOthers, Forgets, Protocol):
    """What the outbox offers to delivery."""


class Notifier:
    """`process` is the id of this broker process, the one under which the committer numbers its commits."""

    def __init__(
        self,
        *,
        process: str,
        registry: Registry,
        store: CountsAndTurns,
        outbox: KeepsOwed,
        processes: Processes,
        landed: Landed,
        sender: Sends,
        completer: Completes,
        metrics: Metrics,
        limits: DeliveryLimits | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.process = process
        self._registry = registry
        self._matching = registry.matching
        self._processes = processes
        self._limits = limits or DeliveryLimits()
        self._pace = pace or Pace()
        self._counters = Counters(store)
        self._settlement = Settlement(self._counters, outbox)
        self._courier = NotificationCourier(
            sender=sender,
            completer=completer,
            subscriptions=registry,
            turns=store,
            counters=self._counters,
            metrics=metrics,
            limits=self._limits,
            finished=self._settlement.finished,
        )
        self._takeover = Takeover(
            heir=process, processes=processes, outbox=outbox, landed=landed, offer=self._offer, grace=self._pace.grace
        )
        self._endpoints = EndpointSet(self._courier, outbox, self._limits)
        self._sequence = count(1)
        self._tasks: list[asyncio.Task[None]] = []

    def match(self, change: Change, parcel: Parcel) -> list[Owed]:
        """The notifications that `change` owes (clause 5.8.6), of the `parcel` of this attempt to commit it.

        The list may be shared: it is not to be modified.
        """
        index = self._matching.get(change.tenant)
        if index is None:
            return _NOTHING
        candidates = index.candidates(change)
        if not candidates:
            return _NOTHING
        events = Events(change)
        firing = [one for one in candidates if self._fires(one, change, events)]
        return self._owe(firing, change, parcel) if firing else _NOTHING

    def release(self, owed: Sequence[Owed]) -> None:
        """Deliver these: their changes have landed. Never waits; what has no room is read from the outbox later.

        Of a parcel it is all that is left in the outbox.
        """
        self._settlement.released(owed)
        for one in owed:
            self._offer(one)

    async def start(self) -> None:
        """Load the subscriptions and start delivering, first what dead processes left. Raises Unavailable."""
        about = {"host": platform.node(), "pid": os.getpid()}
        await self._processes.beat(self.process, about)
        await self._registry.start()
        rounds: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (self._pace.beat, lambda: self._processes.beat(self.process, about)),
            (self._pace.look, self._takeover.look),
            (self._pace.settle, self._settlement.settle),
            (self._pace.tidy, self._tidy),
        ]
        self._tasks = [asyncio.create_task(self._every(seconds, action)) for seconds, action in rounds]

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109 - how long to drain, not a deadline for the caller
        """Deliver what can be delivered within `timeout` seconds; the rest stays in the outbox for other processes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await asyncio.gather(*(endpoint.drain() for endpoint in self._endpoints))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._takeover.stop()
        await asyncio.gather(*(endpoint.close() for endpoint in self._endpoints))
        await self._registry.stop()
        with contextlib.suppress(NgsiLdError):
            await self._settlement.settle(everything=True)
            await self._processes.leave(self.process)

    async def flush(self) -> None:
        """Add what was counted so far to the subscriptions. Raises Unavailable."""
        await self._counters.flush()

    def failed(self, tenant: str, subscription_id: str, reason: str) -> None:
        """Count a notification that a subscription should have had, but that could not be made."""
        self._courier.failed(tenant, subscription_id, reason)

    @property
    def backlog(self) -> int:
        """How many notifications this process has yet to deliver."""
        return self._endpoints.backlog

    def waiting(self) -> Iterator[tuple[str, int, float]]:
        """By endpoint, named by its host and port: how much this process has yet to deliver, and since when."""
        for key, number, oldest in self._endpoints.waiting():
            yield endpoint_name(key), number, oldest

    def _fires(self, subscription: Subscription, change: Change, events: Events) -> bool:
        if subscription.throttle is not None and subscription.throttle.resting:
            return False
        try:
            return subscription.fires(change, events)
        except Exception:
            # Whoever updates an entity must not suffer from somebody's subscription.
            log.exception("subscription failed to match", subscription=subscription.id, entity=change.entity_id)
            return False

    def _owe(self, firing: list[Subscription], change: Change, parcel: Parcel) -> list[Owed]:
        owed: list[Owed] = []
        rendered: dict[tuple[Projection, frozenset[str] | None], bytes] = {}
        draft = b""
        created_at = time.time()
        for subscription in firing:
            if subscription.deferred:
                body = draft = draft or write_draft(change)
                notification_id = parcel.next_id(len(body))
            else:
                view = subscription.projection, None if change.after is not None else subscription.gone
                entity = rendered.get(view)
                if entity is None:
                    entity = rendered[view] = view[0].render(change, view[1])
                notification_id = parcel.next_id(len(entity))
                body = subscription.body(notification_id, change.now, entity)
            one = Owed(
                id=notification_id,
                tenant=change.tenant,
                subscription_id=subscription.id,
                entity_id=change.entity_id,
                process=self.process,
                commit=parcel.commit,
                sequence=next(self._sequence),
                body=body,
                created_at=created_at,
                draft=subscription.deferred,
            )
            if fits(one.body):
                owed.append(one)
            else:
                # It never comes into the outbox: to settle it would count it among those of its parcel that do.
                reason = f"its {len(one.body)} bytes are more than the outbox can keep"
                self._courier.failed(one.tenant, one.subscription_id, reason)
        return owed

    def _offer(self, owed: Owed) -> None:
        subscription = self._registry.get(owed.tenant, owed.subscription_id)
        key = "" if subscription is None else subscription.target.endpoint
        if not self._endpoints.offer(key, owed):
            self._courier.lose(owed, "too much waits for its endpoint already")

    async def _tidy(self) -> None:
        self._endpoints.tidy()
        await self._registry.retry_broken()
        await self._registry.renew()

    async def _every(self, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await action()
            except NgsiLdError as error:
                log.warning("notifier waits for the storage", reason=error.detail)
                await asyncio.sleep(_AFTER_FAILURE)
            except Exception:
                log.exception("notifier failed to do its rounds")
                await asyncio.sleep(_AFTER_FAILURE)
            await asyncio.sleep(seconds)
