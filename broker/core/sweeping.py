"""Removing from storage what has expired (clause 4.22), a few seconds after nobody can see it any more.

Every worker sweeps, each at moments of its own: what two find at once, only one of them removes. A sweep is a mutation
that changes nothing: the committer takes what has expired out of every entity that it touches, and has its deletion
notified.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from broker.background import Background, pause
from broker.core.batch import CommitsMany
from broker.ngsild.errors import NgsiLdError
from broker.ngsild.model import Entity
from broker.ngsild.timestamps import now_text

log = structlog.get_logger(__name__)

_PAGE = 500


class FindsExpired(Protocol):
    """What a sweep needs of the entity store."""

    async def expired(self, tenant: str, now: str, limit: int) -> Sequence[str]:
        """The ids of entities of which something has expired."""


class KnowsTransience(Protocol):
    """What a sweep needs to know of the tenants."""

    async def transient(self) -> Sequence[str]:
        """The tenants in which something may expire."""


class Sweeper(Background):
    """Sweeps again and again; what expires is gone from storage after about `interval` seconds."""

    def __init__(
        self, committer: CommitsMany, store: FindsExpired, tenants: KnowsTransience, *, interval: float
    ) -> None:
        self._committer = committer
        self._store = store
        self._tenants = tenants
        self._interval = interval

    async def sweep(self) -> None:
        """Remove what has expired by now in all tenants. NgsiLdError if it is unknown which these are."""
        for tenant in await self._tenants.transient():
            try:
                await self._sweep_tenant(tenant)
            except NgsiLdError as error:
                log.warning("the next sweep tries again to remove what expired", tenant=tenant, reason=error.detail)

    async def _sweep_tenant(self, tenant: str) -> None:
        while True:
            ids = await self._store.expired(tenant, now_text(), _PAGE)
            outcomes = await self._committer.submit_many(tenant, [(entity_id, _touch) for entity_id in ids])
            for outcome in outcomes:
                if isinstance(outcome, NgsiLdError):
                    raise outcome
            if len(ids) < _PAGE:
                return

    async def _run(self) -> None:
        while True:
            await pause(self._interval)
            try:
                await self.sweep()
            except NgsiLdError as error:
                log.warning("what has expired could not be looked for", reason=error.detail)
            except Exception:
                log.exception("sweep failed")


def _touch(before: Entity | None, _now: str) -> tuple[Entity | None, Any]:
    return before, None
