"""Counting entity types anew when it is in doubt how many entities they have (docs/adr/0008).

That is so when a broker process was killed in the middle of a change of what entities consist of, when the storage was
lost in the middle of one, and for entities that are older than the census. Every process looks after its own doubts and
those of the dead.
"""

import time
import uuid
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Protocol

import structlog

from broker.background import Background, pause
from broker.ngsild.errors import NgsiLdError
from broker.storage.processes import Coroner, KnowsAlive
from broker.storage.recounts import Outcome, Recounting

log = structlog.get_logger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 600.0
_GRACE = 30.0


class Recountable(Protocol):
    """The census, as far as it can be recounted."""

    async def writers(self) -> dict[str, set[str]]:
        """The processes that may have left something to recount, by tenant."""

    async def forget(self, tenant: str, processes: Iterable[str]) -> None:
        """Remember no more that these processes wrote to the tenant."""

    async def doubtful(self, tenant: str, dead: AbstractSet[str], process: str) -> list[str]:
        """The types that `process` has to recount."""

    async def uncounted(self) -> list[str]:
        """The tenants whose census does not cover yet what was there before it."""

    async def begin(self, tenant: str, who: Recounting) -> bool:
        """Put all types of a tenant in doubt; False if another living process has done so."""

    async def covered(self, tenant: str) -> None:
        """Say that the census covers all entities of the tenant."""

    async def recount(self, tenant: str, name: str, token: str, who: Recounting) -> Outcome:
        """Count the entities of a type, and correct the census."""


class Doubts(Protocol):
    """What this process itself is in doubt of."""

    doubtful: set[str]


class Recounter(Background):
    """Looks for types in doubt again and again, and recounts them one at a time on behalf of `process`."""

    def __init__(
        self,
        process: str,
        store: Recountable,
        processes: KnowsAlive,
        own: Doubts,
        *,
        interval: float = 2.0,
        grace: float = _GRACE,
    ) -> None:
        self._process = process
        self._store = store
        self._own = own
        self._interval = interval
        self._grace = grace
        self._coroner = Coroner(process, processes)
        self._uncovered = True
        self._covering: set[str] = set()
        self._due: dict[tuple[str, str], float] = {}
        self._pauses: dict[tuple[str, str], float] = {}

    async def look(self) -> None:
        """Recount what is in doubt by now. Raises NgsiLdError if that cannot be known."""
        writers = await self._store.writers()
        verdict = await self._coroner.judge(set().union(*writers.values()))
        if verdict is None:
            return
        dead = verdict.dead
        who = Recounting(self._process, verdict.alive, dead, self._grace)
        if self._uncovered:
            await self._cover(who)
        for tenant in {*self._covering, *self._own.doubtful, *(one for one in writers if writers[one] & dead)}:
            self._own.doubtful.discard(tenant)
            try:
                settled = await self._settle(tenant, writers.get(tenant, set()) & dead, who)
            except NgsiLdError as error:
                log.warning("what is in doubt could not be looked for", tenant=tenant, reason=error.detail)
                settled = False
            if not settled:
                self._own.doubtful.add(tenant)

    async def _cover(self, who: Recounting) -> None:
        uncounted = await self._store.uncounted()
        for tenant in uncounted:
            if tenant not in self._covering and await self._store.begin(tenant, who):
                self._covering.add(tenant)
        self._uncovered = bool(uncounted)

    async def _settle(self, tenant: str, dead: set[str], who: Recounting) -> bool:
        """Whether nothing is left in doubt, as far as it is for this process to clear up."""
        names = await self._store.doubtful(tenant, who.dead, self._process)
        if not all([await self._recount(tenant, name, who) for name in names]):
            return False
        if dead:
            await self._store.forget(tenant, dead)
        if tenant in self._covering:
            await self._store.covered(tenant)
            self._covering.discard(tenant)
        return True

    async def _recount(self, tenant: str, name: str, who: Recounting) -> bool:
        """Whether no doubt is left."""
        which = tenant, name
        if self._due.get(which, 0.0) > time.monotonic():
            return False
        began = time.monotonic()
        try:
            outcome = await self._store.recount(tenant, name, f"{self._process}-{uuid.uuid4().hex}", who)
        except NgsiLdError as error:
            pause = self._pauses.get(which, _FIRST_PAUSE)
            self._pauses[which] = min(2 * pause, _LONGEST_PAUSE)
            self._due[which] = time.monotonic() + pause
            log.warning("an entity type could not be recounted", tenant=tenant, type=name, reason=error.detail)
            return False
        self._pauses.pop(which, None)
        self._due.pop(which, None)
        if outcome is Outcome.BUSY:
            return False
        seconds = round(time.monotonic() - began, 3)
        log.info("recounted the entities of a type", tenant=tenant, type=name, seconds=seconds)
        if outcome is Outcome.EARLY:
            self._due[which] = time.monotonic() + self._grace
        return outcome is Outcome.DONE

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except NgsiLdError as error:
                log.warning("what is in doubt could not be looked for", reason=error.detail)
            except Exception:
                log.exception("recounting failed")
            await pause(self._interval)
