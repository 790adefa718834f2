"""What was delivered: counted in memory, and added to the subscriptions in batches (clause 5.2.14.2)."""

from typing import Protocol

from broker.storage.subscriptions import Deliveries


class CounterStore(Protocol):
    """Where the counts end up."""

    async def add_deliveries(self, deliveries: dict[tuple[str, str], Deliveries]) -> None:
        """Add to the counters of the subscriptions, by (tenant, id)."""


class Counters:
    """Counts of one process since the last `flush`."""

    def __init__(self, store: CounterStore) -> None:
        self._store = store
        self._pending: dict[tuple[str, str], Deliveries] = {}

    def __bool__(self) -> bool:
        return bool(self._pending)

    def attempted(self, tenant: str, subscription_id: str, now: str) -> None:
        """A notification is being sent."""
        pending = self._of(tenant, subscription_id)
        pending.sent += 1
        pending.last_notification = now

    def succeeded(self, tenant: str, subscription_id: str, now: str) -> None:
        """The endpoint accepted it."""
        self._of(tenant, subscription_id).last_success = now

    def failed(self, tenant: str, subscription_id: str, now: str) -> None:
        """The endpoint refused it, or did not answer."""
        pending = self._of(tenant, subscription_id)
        pending.failed += 1
        pending.last_failure = now

    async def flush(self) -> None:
        """Add the counts to the subscriptions. If storage is lost they are kept for the next time and it raises."""
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
    later.sent += earlier.sent
    later.failed += earlier.failed
    later.last_notification = later.last_notification or earlier.last_notification
    later.last_success = later.last_success or earlier.last_success
    later.last_failure = later.last_failure or earlier.last_failure
