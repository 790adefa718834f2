"""Who is subscribed, and how delivery to them goes: what operators see beyond what clause 5.2.12 shows."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from broker.core.subscription_documents import status
from broker.ngsild.timestamps import now_text
from broker.storage.outbox import Backlog
from broker.storage.subscriptions import Document
from broker.telemetry import redact

_NONE = Backlog(0, 0.0)
_BACKLOGS_STAY = 60.0


class ListsSubscriptions(Protocol):
    """Where subscriptions are kept."""

    async def list(self, tenant: str, *, limit: int, offset: int = 0) -> Sequence[Document]:
        """A page in the order of creation."""

    async def count(self, tenant: str) -> int:
        """How many there are."""


class CountsDeliveries(Protocol):
    """What was delivered and is not yet in the database."""

    async def flush(self) -> None:
        """Bring the database up to date."""


class KnowsTenants(Protocol):
    """Which tenants exist."""

    async def database(self, tenant: str) -> Any:
        """NonexistentTenant if the tenant does not exist."""


class KnowsBacklogs(Protocol):
    """What is owed."""

    async def backlogs(self, tenant: str) -> dict[str, Backlog]:
        """By subscription id."""


@dataclass(slots=True, frozen=True)
class Subscriber:
    """A subscription and how delivery goes. Times are texts, None where there is none yet; `oldest_seconds` is an age.

    `status` is that of clause 5.2.12. `health` is "unused" before the first attempt, "failing" if the latest attempt
    failed, else "ok". `times_sent` counts attempts, `given_up` notifications that are not tried any more.
    """

    id: str
    name: str | None
    endpoint: str
    status: str
    health: str
    times_sent: int
    times_failed: int
    failures_in_row: int
    given_up: int
    last_success: str | None
    last_failure: str | None
    last_error: str | None
    backlog: int
    oldest_seconds: float | None


class Subscribers:
    """The use case of `vela subscriptions`. Methods raise Unavailable when storage is lost."""

    def __init__(
        self, store: ListsSubscriptions, deliveries: CountsDeliveries, tenants: KnowsTenants, outbox: KnowsBacklogs
    ) -> None:
        self._store = store
        self._deliveries = deliveries
        self._tenants = tenants
        self._outbox = outbox
        self._backlogs: dict[str, tuple[float, dict[str, Backlog]]] = {}

    async def list(
        self, tenant: str, *, limit: int, offset: int, count: bool
    ) -> tuple[Sequence[Subscriber], int | None]:
        """A page in the order of creation, and how many there are in all if asked for; NonexistentTenant.

        What is owed is looked up for the first page; the next ones show what was owed then, for up to a minute.
        """
        await self._tenants.database(tenant)
        await self._deliveries.flush()
        owed = await self._owed(tenant, fresh=offset == 0)
        total = await self._store.count(tenant) if count else None
        documents = await self._store.list(tenant, limit=limit, offset=offset)
        now = now_text()
        return [_subscriber(one, owed.get(one["_id"]["id"], _NONE), now) for one in documents], total

    async def _owed(self, tenant: str, *, fresh: bool) -> Mapping[str, Backlog]:
        now = time.monotonic()
        self._backlogs = {name: one for name, one in self._backlogs.items() if now - one[0] < _BACKLOGS_STAY}
        if fresh or tenant not in self._backlogs:
            self._backlogs[tenant] = now, await self._outbox.backlogs(tenant)
        return self._backlogs[tenant][1]


def _subscriber(document: Document, owed: Backlog, now: str) -> Subscriber:
    definition = document["definition"]
    delivery = document.get("delivery", {})
    in_row = delivery.get("failuresInRow", 0)
    error = delivery.get("lastError")
    return Subscriber(
        id=document["_id"]["id"],
        name=definition.get("subscriptionName"),
        endpoint=redact(definition["notification"]["endpoint"]["uri"]),
        status=status(definition, now),
        health="failing" if in_row else "ok" if "lastSuccess" in delivery else "unused",
        times_sent=delivery.get("timesSent", 0),
        times_failed=delivery.get("timesFailed", 0),
        failures_in_row=in_row,
        given_up=delivery.get("givenUp", 0),
        last_success=delivery.get("lastSuccess"),
        last_failure=delivery.get("lastFailure"),
        last_error=None if error is None else redact(error),
        backlog=owed.notifications,
        oldest_seconds=max(0.0, time.time() - owed.oldest) if owed.notifications else None,
    )
