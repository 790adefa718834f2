"""Taking over what dead processes still owe, while running and at every start.

If one that has something in the outbox is found dead (`storage/processes.py`), one living process becomes its heir
(`Processes.inherit`) and marks all its notifications as its own in one step. A notification whose change never
landed was never owed: it is dropped, once it is old enough that its write cannot still be under way. The others are
delivered in the order of their commits.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import ParamSpec, Protocol, TypeVar

import structlog

from broker.ngsild.errors import NgsiLdError, NonexistentTenant
from broker.notify.owed import OF_NO_COMMIT, Owed
from broker.storage.outbox import Position, position
from broker.storage.processes import Coroner, KnowsAlive

log = structlog.get_logger(__name__)

_BATCH = 500
_PAUSE = 1.0
_P = ParamSpec("_P")
_T = TypeVar("_T")


class KnowsProcesses(KnowsAlive, Protocol):
    """Which processes are alive, and who takes over from the others."""

    async def inherit(self, dead: str, heir: str, alive: set[str]) -> bool:
        """Whether `heir` may take over what `dead` owed."""


class OwedByOthers(Protocol):
    """The outbox, as far as a takeover needs it."""

    async def owners(self) -> set[str]:
        """The processes that have something to deliver."""

    async def claim(self, dead: str, heir: str, claim: str) -> int:
        """Hand everything of `dead` to `heir`, marked with `claim`."""

    async def claimed(self, claim: str, after: Position | None, limit: int) -> list[Owed]:
        """The next notifications of a takeover in their order."""

    async def read(self, ids: Sequence[str]) -> list[Owed]:
        """Those of the notifications that are still owed."""

    async def remove(self, ids: Iterable[str]) -> None:
        """Forget notifications."""


Landed = Callable[[str, str, str, int], Awaitable[bool]]
"""`landed(tenant, entity_id, process, commit)`: whether the change of that commit was stored."""


class Takeover:
    """Finds dead processes and hands what they owed to `offer`, on behalf of the process `heir`.

    A notification whose change has not landed is dropped when it is `grace` seconds old.
    """

    def __init__(
        self,
        *,
        heir: str,
        processes: KnowsProcesses,
        outbox: OwedByOthers,
        landed: Landed,
        offer: Callable[[Owed], None],
        grace: float = 30.0,
    ) -> None:
        self._heir = heir
        self._processes = processes
        self._outbox = outbox
        self._landed = landed
        self._offer = offer
        self._grace = grace
        self._coroner = Coroner(heir, processes)
        self._inheriting: dict[str, asyncio.Task[None]] = {}

    async def look(self) -> None:
        """Look for dead processes once, and start to take over what they owed. Raises Unavailable."""
        owners = await self._outbox.owners()
        verdict = await self._coroner.judge(owners)
        if verdict is None:
            return
        for dead in sorted(verdict.dead):
            if dead not in self._inheriting and await self._processes.inherit(dead, self._heir, verdict.alive):
                task = asyncio.create_task(self._inherit(dead))
                self._inheriting[dead] = task
                task.add_done_callback(partial(self._inherited, dead))

    async def stop(self) -> None:
        """Break off what is under way: it stays owed."""
        tasks = list(self._inheriting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _inherited(self, dead: str, task: asyncio.Task[None]) -> None:
        self._inheriting.pop(dead, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("taking over notifications failed", process=dead, exc_info=error)

    async def _inherit(self, dead: str) -> None:
        claim = uuid.uuid4().hex
        found = await _patiently(self._outbox.claim, dead, self._heir, claim)
        log.info("taking over what a dead process owed", process=dead, parcels=found)
        after: Position | None = None
        waiting: list[str] = []
        while batch := await _patiently(self._outbox.claimed, claim, after, _BATCH):
            waiting += await self._sort(batch)
            after = position(batch[-1])
        while waiting:
            await asyncio.sleep(min(self._grace, _PAUSE))
            waiting = await self._sort(await _patiently(self._outbox.read, waiting))

    async def _sort(self, batch: Sequence[Owed]) -> list[str]:
        """Deliver what landed, drop what never will; the ids of those that may still land."""
        verdicts = await asyncio.gather(*(_patiently(self._has_landed, one) for one in batch))
        void: list[str] = []
        waiting: list[str] = []
        for owed, landed in zip(batch, verdicts, strict=True):
            if landed:
                self._offer(owed)
            elif time.time() - owed.created_at > self._grace:
                void.append(owed.id)
            else:
                waiting.append(owed.id)
        if void:
            log.info("dropping notifications of changes that never happened", notifications=len(void))
            await _patiently(self._outbox.remove, void)
        return waiting

    async def _has_landed(self, owed: Owed) -> bool:
        if owed.commit == OF_NO_COMMIT:
            return True
        try:
            return await self._landed(owed.tenant, owed.entity_id, owed.process, owed.commit)
        except NonexistentTenant:
            return False


async def _patiently(operation: Callable[_P, Awaitable[_T]], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    while True:
        try:
            return await operation(*args, **kwargs)
        except NgsiLdError as error:
            log.warning("taking over notifications waits for the storage", reason=error.detail)
        await asyncio.sleep(_PAUSE)
