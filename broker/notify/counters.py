"""What was delivered: counted in memory, and added to the subscriptions in batches (clause 5.2.14.2)."""

import asyncio
from typing import Protocol

from broker.storage.subscriptions import Deliveries

_LONGEST_REASON = 500


class CounterStore(Protocol):
    """Where the counts end up."""

    async def add_deliveries(self, deliveries: dict[tuple[str, str], Deliveries]) -> None:
        """Add to the counters of the subscriptions, by (tenant, id)."""


class Counters:
    """Counts of one process since the last `flush`."""

    def __init__(self, store: CounterStore) -> None:
        self._store = store
        self._pending: dict[tuple[str, str], Deliveries] = {}
        self._flushing = asyncio.Lock()

    def __bool__(self) -> bool:
        return bool(self._pending)

    def attempted(self, tenant: str, subscription_id: str, now: str) -> None:
        """A notification is being sent."""
        pending = self._of(tenant, subscription_id)
        pending.sent += 1
        pending.last_notification = now

    def succeeded(self, tenant: str, subscription_id: str, now: str) -> None:
        """The endpoint accepted it."""
        pending = self._of(tenant, subscription_id)
        pending.last_success = now
        pending.in_row = 0

    def failed(self, tenant: str, subscription_id: str, now: str, reason: str) -> None:
        """The endpoint refused it, or did not answer; `reason` tells operators why."""
        pending = self._of(tenant, subscription_id)
        pending.failed += 1
        pending.in_row += 1
        pending.last_failure = now
        pending.last_error = reason[:_LONGEST_REASON]

    def gave_up(self, tenant: str, subscription_id: str) -> None:
        """It is not tried any more."""
        self._of(tenant, subscription_id).given_up += 1

    async def flush(self) -> None:
        """Add to the subscriptions all that was counted before. Unavailable: it is kept for the next time."""
        async with self._flushing:  # what another flush is adding has to be there, too, when this one returns
            if not self._pending:
                return
            taken, self._pending = self._pending, {}
            try:
                await self._store.add_deliveries(taken)
            except BaseException:
                for (tenant, subscription_id), earlier in taken.items():
                    _merge(self._of(tenant, subscription_id), earlier)
                raise

    def _of(self, tenant: str, subscription_id: str) -> Deliveries:
        pending = self._pending.get((tenant, subscription_id))
        if pending is None:
            pending = self._pending[tenant, subscription_id] = Deliveries()
        return pending


def _merge(later: Deliveries, earlier: Deliveries) -> None:
    if later.last_success is None:
        later.in_row += earlier.in_row
    later.given_up += earlier.given_up
    later.last_error = later.last_error or earlier.last_error
    later.sent += earlier.sent
    later.failed += earlier.failed
    later.last_notification = later.last_notification or earlier.last_notification
    later.last_success = later.last_success or earlier.last_success
    later.last_failure = later.last_failure or earlier.last_failure
