"""One attempt to deliver one notification: whether it may still be sent, the request, and what its answer means.

A notification counts as delivered when the endpoint answers 2xx. It is tried again when there is no answer, or one that
promises that a later attempt may succeed (5xx, 408, 425, 429). Any other answer is the receiver's refusal of this
notification: repeating it would hold up those behind it.
"""

import time
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from broker.ngsild.errors import NgsiLdError
from broker.ngsild.timestamps import now_text
from broker.notify.counters import Counters
from broker.notify.endpoints import DeliveryLimits, Outcome
from broker.notify.owed import Owed
from broker.notify.subscription import Subscription
from broker.outbound import OutboundError, OutboundRefused
from broker.telemetry import Metrics

log = structlog.get_logger(__name__)

_TRY_AGAIN = frozenset({408, 425, 429})
_FINISHED = Outcome(finished=True)
_ACCEPTED = Outcome(finished=True, accepted=True)
_LATER = Outcome(finished=False)


class Posts(Protocol):
    """Sends HTTP requests under the broker's policy."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> int:  # noqa: ASYNC109
        """The status of the answer; OutboundError if there is none."""


class FindsSubscriptions(Protocol):
    """Knows the subscriptions."""

    def get(self, tenant: str, subscription_id: str) -> Subscription | None:
        """A subscription as this process knows it."""

    async def fetch(self, tenant: str, subscription_id: str) -> Subscription | None:
        """A subscription as the database has it now; None if it does not exist."""


class GivesTurns(Protocol):
    """Decides throttling for all processes."""

    async def take_turn(self, tenant: str, subscription_id: str, notification_id: str, seconds: float) -> bool:
        """Whether the notification may be sent."""


class NotificationCourier:
    """Delivers notifications, counts, and reports by `finished` which ones are owed no more."""

    def __init__(
        self,
        *,
        outbound: Posts,
        subscriptions: FindsSubscriptions,
        turns: GivesTurns,
        counters: Counters,
        metrics: Metrics,
        limits: DeliveryLimits,
        finished: Callable[[str], None],
    ) -> None:
        self._outbound = outbound
        self._subscriptions = subscriptions
        self._turns = turns
        self._counters = counters
        self._metrics = metrics
        self._limits = limits
        self._finished = finished

    async def attempt(self, owed: Owed) -> Outcome:
        """Deliver a notification, or find out what to do with it."""
        try:
            subscription = self._subscriptions.get(owed.tenant, owed.subscription_id)
            if subscription is None:
                subscription = await self._subscriptions.fetch(owed.tenant, owed.subscription_id)
            obstacle = self._obstacle(owed, subscription)
            if subscription is None or obstacle is not None:
                return self._give_up(owed, obstacle or "the subscription was deleted")
            if subscription.throttling is not None and not await self._has_turn(subscription, owed):
                return self._finish(owed, _FINISHED)
        except NgsiLdError as error:
            log.warning("notification waits", notification=owed.id, reason=error.detail)
            return _LATER
        return await self._send(owed, subscription)

    def lose(self, owed: Owed, reason: str) -> None:
        """Give up a notification that cannot even wait: it counts as failed."""
        self._counters.failed(owed.tenant, owed.subscription_id, now_text())
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
            self._counters.failed(owed.tenant, owed.subscription_id, now)
            return f"it could not be delivered within {self._limits.max_age:g} s"
        return None

    async def _has_turn(self, subscription: Subscription, owed: Owed) -> bool:
        assert subscription.throttling is not None
        now = time.monotonic()
        if await self._turns.take_turn(subscription.tenant, subscription.id, owed.id, subscription.throttling):
            subscription.resting_until = now + subscription.throttling
            return True
        return False

    async def _send(self, owed: Owed, subscription: Subscription) -> Outcome:
        target = subscription.target
        self._counters.attempted(owed.tenant, owed.subscription_id, now_text())
        try:
            status = await self._outbound.post(
                target.url, owed.body, target.headers, target.timeout or self._limits.timeout
            )
        except OutboundRefused as error:
            return self._refused(owed, target.url, str(error))
        except OutboundError as error:
            return self._failed(owed, target.url, target.cooldown, str(error))
        if 200 <= status < 300:
            self._counters.succeeded(owed.tenant, owed.subscription_id, now_text())
            self._metrics.notifications_sent.inc()
            return self._finish(owed, _ACCEPTED)
        if status >= 500 or status in _TRY_AGAIN:
            return self._failed(owed, target.url, target.cooldown, f"it answered {status}")
        return self._refused(owed, target.url, f"it answered {status}")

    def _failed(self, owed: Owed, url: str, cooldown: float, reason: str) -> Outcome:
        self._count_failure(owed)
        log.info("notification to be tried again", endpoint=url, subscription=owed.subscription_id, reason=reason)
        return Outcome(finished=False, cooldown=cooldown)

    def _refused(self, owed: Owed, url: str, reason: str) -> Outcome:
        self._count_failure(owed)
        log.warning("notification refused by its endpoint", endpoint=url, notification=owed.id, reason=reason)
        self._metrics.notifications_dropped.inc()
        return self._finish(owed, _FINISHED)

    def _count_failure(self, owed: Owed) -> None:
        self._counters.failed(owed.tenant, owed.subscription_id, now_text())
        self._metrics.notifications_failed.inc()

    def _give_up(self, owed: Owed, reason: str) -> Outcome:
        log.warning(
            "notification given up",
            notification=owed.id,
            subscription=owed.subscription_id,
            tenant=owed.tenant,
            reason=reason,
        )
        self._metrics.notifications_dropped.inc()
        return self._finish(owed, _FINISHED)

    def _finish(self, owed: Owed, outcome: Outcome) -> Outcome:
        self._finished(owed.id)
        return outcome
