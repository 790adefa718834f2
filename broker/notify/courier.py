"""One attempt to deliver one notification: whether it may still be sent, the sending, and what is counted."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from broker.ngsild.errors import NgsiLdError
from broker.ngsild.timestamps import now_text
from broker.notify.counters import Counters
from broker.notify.endpoints import DeliveryLimits, Outcome
from broker.notify.owed import Owed
from broker.notify.subscription import Subscription, Target, endpoint_name
from broker.notify.throttling import GivesTurns
from broker.outbound import OutboundError, OutboundRefused
from broker.telemetry import Metrics

log = structlog.get_logger(__name__)

_FINISHED = Outcome(finished=True)
_ACCEPTED = Outcome(finished=True, accepted=True)
_LATER = Outcome(finished=False)


class Sends(Protocol):
    """Sends notifications: `sending.py` says how."""

    async def send(self, target: Target, body: bytes, timeout: float) -> None:  # noqa: ASYNC109
        """Deliver; OutboundRefused if it will never be taken, OutboundError if another attempt may succeed."""


class Completes(Protocol):
    """Finishes drafts: `completing.py` says how."""

    async def complete(self, owed: Owed, subscription: Subscription) -> bytes | None:
        """The finished body; None if the subscription does not want the notification after all."""


class FindsSubscriptions(Protocol):
    """Knows the subscriptions."""

    def get(self, tenant: str, subscription_id: str) -> Subscription | None:
        """A subscription as this process knows it."""

    async def fetch(self, tenant: str, subscription_id: str) -> Subscription | None:
        """A subscription as the database has it now; None if it does not exist."""


class NotificationCourier:
    """Delivers notifications, counts, and reports by `finished` which ones are owed no more."""

    def __init__(
        self,
        *,
        sender: Sends,
        completer: Completes,
        subscriptions: FindsSubscriptions,
        turns: GivesTurns,
        counters: Counters,
        metrics: Metrics,
        limits: DeliveryLimits,
        finished: Callable[[str], None],
    ) -> None:
        self._sender = sender
        self._completer = completer
        self._subscriptions = subscriptions
        self._turns = turns
        self._counters = counters
        self._metrics = metrics
        self._limits = limits
        self._finished = finished
        self._room = asyncio.Semaphore(limits.connections)

    async def attempt(self, owed: Owed) -> Outcome:
        """Deliver a notification, or find out what to do with it."""
        try:
            subscription = self._subscriptions.get(owed.tenant, owed.subscription_id)
            if subscription is None:
                subscription = await self._subscriptions.fetch(owed.tenant, owed.subscription_id)
            obstacle = self._obstacle(owed, subscription)
            if subscription is None or obstacle is not None:
                return self._give_up(owed, obstacle or "the subscription was deleted")
            body = await self._completer.complete(owed, subscription) if owed.draft else owed.body
            if body is None:
                return self._finish(owed, _FINISHED)
            async with self._room:  # before its turn, and before its time runs: to wait here is no failure
                throttle = subscription.throttle
                if throttle and not await throttle.admits(self._turns, owed.tenant, owed.subscription_id, owed.id):
                    return self._finish(owed, _FINISHED)
                return await self._send(owed, body, subscription)
        except NgsiLdError as error:
            log.warning("notification waits", notification=owed.id, reason=error.detail)
            return _LATER

    def failed(self, tenant: str, subscription_id: str, reason: str) -> None:
        """Count a notification that could not even be made."""
        self._counters.failed(tenant, subscription_id, now_text(), reason)
        self._counters.gave_up(tenant, subscription_id)
        log.warning("notification not made", tenant=tenant, subscription=subscription_id, reason=reason)
        self._metrics.notifications_dropped.inc()

    def lose(self, owed: Owed, reason: str) -> None:
        """Give up a notification that cannot even wait: it counts as failed."""
        self._counters.failed(owed.tenant, owed.subscription_id, now_text(), reason)
        self._give_up(owed, reason)

    def _obstacle(self, owed: Owed, subscription: Subscription | None) -> str | None:
        if subscription is None:
            return None
        now = now_text()
        if not subscription.active:
            return "the subscription is paused"
        if subscription.expired(now):
            return "the subscription has expired"
        if time.time() - owed.created_at > self._limits.max_age:
            reason = f"it could not be delivered within {self._limits.max_age:g} s"
            self._counters.failed(owed.tenant, owed.subscription_id, now, reason)
            return reason
        return None

    async def _send(self, owed: Owed, body: bytes, subscription: Subscription) -> Outcome:
        target = subscription.target
        self._counters.attempted(owed.tenant, owed.subscription_id, now_text())
        try:
            await self._sender.send(target, body, self._limits.time_for(target.timeout))
        except OutboundRefused as error:
            return self._refused(owed, target, str(error))
        except OutboundError as error:
            return self._failed(owed, target, str(error))
        self._counters.succeeded(owed.tenant, owed.subscription_id, now_text())
        self._metrics.notifications_sent.inc()
        self._metrics.endpoints.row(endpoint_name(target.endpoint)).sent += 1
        return self._finish(owed, _ACCEPTED)

    def _failed(self, owed: Owed, target: Target, reason: str) -> Outcome:
        self._count_failure(owed, target, reason)
        log.info("notification to be tried again", endpoint=target.url, notification=owed.id, reason=reason)
        return Outcome(finished=False, cooldown=target.cooldown)

    def _refused(self, owed: Owed, target: Target, reason: str) -> Outcome:
        self._count_failure(owed, target, reason)
        log.warning("notification refused by its endpoint", endpoint=target.url, notification=owed.id, reason=reason)
        self._counters.gave_up(owed.tenant, owed.subscription_id)
        self._metrics.notifications_dropped.inc()
        return self._finish(owed, _FINISHED)

    def _count_failure(self, owed: Owed, target: Target, reason: str) -> None:
        self._counters.failed(owed.tenant, owed.subscription_id, now_text(), reason)
        self._metrics.notifications_failed.inc()
        self._metrics.endpoints.row(endpoint_name(target.endpoint)).failed += 1

    def _give_up(self, owed: Owed, reason: str) -> Outcome:
        log.warning(
            "notification given up",
            notification=owed.id,
            subscription=owed.subscription_id,
            tenant=owed.tenant,
            reason=reason,
        )
        self._counters.gave_up(owed.tenant, owed.subscription_id)
        self._metrics.notifications_dropped.inc()
        return self._finish(owed, _FINISHED)

    def _finish(self, owed: Owed, outcome: Outcome) -> Outcome:
        self._finished(owed.id)
        return outcome
