"""Periodic notifications (timeInterval, clause 5.8.6): each made once, by whichever process sees first that it is due.

MongoDB keeps when each is due (`storage/periods.py`): one indexed query finds what is due for all subscriptions, and a
claim gives it to one process. That finds the entities, places the notification in the outbox, and only then has the
next one planned: should it die before, another process does it again when the claim has run out, under the same id, so
that a receiver can tell the repetition. From the outbox on it is a notification as any other.

The instants of a subscription lie on a grid: one is an interval after the one before, however late that was made. Of
those that were missed while nobody was there, one is made. As long as a notification of the subscription has not been
delivered no further one is made: for an endpoint that is away, one waits. Where nothing matches, none is made.
"""

import asyncio
import contextlib
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import structlog

from broker.background import Background, pause
from broker.ngsild.errors import NgsiLdError, Unavailable
from broker.ngsild.model import Entity
from broker.ngsild.timestamps import now_text
from broker.notify.owed import OF_NO_COMMIT, Owed
from broker.notify.subscription import Periodic, Subscription
from broker.storage.outbox import LARGEST_BODY
from broker.storage.periods import Document, Period, milliseconds

log = structlog.get_logger(__name__)

LOOK = 0.25
"""Seconds between two looks at what is due: a notification is made so much later than it is due, at most."""

_AT_ONCE = 16
"""Notifications that one process makes at the same time."""

_LEASE = 5.0
_PATIENCE = 2.0
_LARGEST_PART = LARGEST_BODY // 2
"""Bytes of entities in one notification: where there are more they come in several."""

_NAMES = uuid.UUID("5b7a4fd6-9c0e-4f0e-8d53-2f6c1d9a7e44")


class Schedule(Protocol):
    """What is due: `storage/periods.py` says what each does."""

    async def claim(self, most: int, lease: float) -> list[Period]:
        """What is due, for the caller alone."""

    async def renew(self, period: Period, lease: float) -> bool:
        """Hold a claim for longer; False if it is lost."""

    async def move_on(self, period: Period, to: int | None, told: str | None) -> None:
        """Plan the next one."""


class UsesSubscriptions(Protocol):
    """The compiled subscriptions of this process."""

    @property
    def periodic(self) -> Mapping[tuple[str, str], Subscription]:
        """Those that are periodic."""

    async def apply(self, document: Document) -> None:
        """Take over a subscription as it is stored."""

    def get(self, tenant: str, subscription_id: str) -> Subscription | None:
        """A subscription as this process knows it."""


class FindsEntities(Protocol):
    """Where the entities are found."""

    def pages(self, tenant: str, periodic: Periodic) -> AsyncIterator[Sequence[Entity]]:
        """All entities that match at present, in pages."""


class RendersEntities(Protocol):
    """How they are rendered."""

    async def render_all(self, entities: Sequence[Entity], subscription: Subscription) -> bytes:
        """Entities as JSON with commas between them."""


class KeepsNotifications(Protocol):
    """The outbox."""

    async def keep(self, owed: Sequence[Owed]) -> None:
        """Place notifications; placing the same again is no error."""

    async def waits(self, notification_id: str) -> bool:
        """Whether a notification has yet to be delivered."""


class Delivers(Protocol):
    """The notifier."""

    @property
    def process(self) -> str:
        """The id of this process."""

    def release(self, owed: Sequence[Owed]) -> None:
        """Deliver what is in the outbox."""

    def failed(self, tenant: str, subscription_id: str, reason: str) -> None:
        """Count a notification that could not be made."""


class PeriodicNotifications(Background):
    """Makes what is due, again and again, until it is stopped."""

    def __init__(
        self,
        *,
        schedule: Schedule,
        subscriptions: UsesSubscriptions,
        entities: FindsEntities,
        renderer: RendersEntities,
        outbox: KeepsNotifications,
        notifier: Delivers,
        lease: float = _LEASE,
    ) -> None:
        self._schedule = schedule
        self._subscriptions = subscriptions
        self._entities = entities
        self._renderer = renderer
        self._outbox = outbox
        self._notifier = notifier
        self._lease = lease
        self._sequence = itertools.count(1)
        self._making: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Look no more, and soon break off what is being made: it stays due."""
        await super().stop()
        making = list(self._making)
        if making:
            await asyncio.wait(making, timeout=_PATIENCE)
        for task in making:
            task.cancel()
        await asyncio.gather(*making, return_exceptions=True)

    async def look(self) -> bool:
        """Begin to make what is due; whether more may be. Raises Unavailable."""
        free = _AT_ONCE - len(self._making)
        if not free or not self._subscriptions.periodic:
            return False
        claimed = await self._schedule.claim(free, self._lease)
        for period in claimed:
            task = asyncio.create_task(self._make(period))
            self._making.add(task)
            task.add_done_callback(self._making.discard)
        return len(claimed) == free

    async def made(self) -> None:
        """Wait until nothing is being made."""
        while self._making:
            await asyncio.wait(self._making)

    async def _run(self) -> None:
        while True:
            try:
                if await self.look():
                    await asyncio.wait(self._making, return_when=asyncio.FIRST_COMPLETED)
                    continue
            except NgsiLdError as error:
                log.warning("periodic notifications wait for the storage", reason=error.detail)
            except Exception:
                log.exception("looking for periodic notifications failed")
            await pause(LOOK)

    async def _make(self, period: Period) -> None:
        name = period.document["_id"]
        tenant, subscription_id = name["tenant"], name["id"]
        try:
            await self._subscriptions.apply(period.document)
            subscription = self._subscriptions.get(tenant, subscription_id)
            if subscription is None or not subscription.active or subscription.periodic is None:
                return  # it is due no more, or cannot be used at the moment: then it is found again
            if subscription.expired(now_text()):
                await self._schedule.move_on(period, None, None)
                return
            to = next_instant(period.at, milliseconds(subscription.periodic.seconds), period.now)
            if period.told is not None and await self._outbox.waits(period.told):
                await self._schedule.move_on(period, to, None)
                return
            await self._tell(period, subscription, subscription.periodic, to)
        except Unavailable as error:
            log.warning("periodic notification waits", subscription=subscription_id, reason=error.detail)
        except Exception:
            log.exception("making a periodic notification failed", tenant=tenant, subscription=subscription_id)

    async def _tell(self, period: Period, subscription: Subscription, periodic: Periodic, to: int) -> None:
        ready: Owed | None = None
        lost = asyncio.create_task(self._hold(period))
        try:
            async for part in self._parts(period, subscription, periodic):
                if lost.done():
                    log.warning("periodic notification left to another process", subscription=subscription.id)
                    return
                if ready is not None:
                    self._notifier.release([ready])
                await self._outbox.keep([part])
                ready = part
        except Unavailable:
            raise
        except NgsiLdError as error:  # the same would happen at once again: better luck at the next instant
            self._notifier.failed(subscription.tenant, subscription.id, error.detail)
        finally:
            lost.cancel()
        await self._schedule.move_on(period, to, None if ready is None else ready.id)
        if ready is not None:
            self._notifier.release([ready])

    async def _hold(self, period: Period) -> None:
        """Renew a claim, however long the search takes; return when another process has it, or nobody is to."""
        while True:
            await asyncio.sleep(self._lease / 3)
            with contextlib.suppress(NgsiLdError):
                if not await self._schedule.renew(period, self._lease):
                    return

    async def _parts(self, period: Period, subscription: Subscription, periodic: Periodic) -> AsyncIterator[Owed]:
        """The notification, in several parts where it is too large for one; nothing where no entity matches."""
        now, number = now_text(), itertools.count()
        rendered: list[bytes] = []
        async for page in self._entities.pages(subscription.tenant, periodic):
            for more in await self._render(page, subscription) if page else ():
                if rendered and sum(map(len, rendered)) + len(more) > _LARGEST_PART:
                    yield self._owed(period, subscription, next(number), now, rendered)
                    rendered = []
                rendered.append(more)
        if rendered:
            yield self._owed(period, subscription, next(number), now, rendered)

    async def _render(self, entities: Sequence[Entity], subscription: Subscription) -> list[bytes]:
        """The entities as JSON with commas between them, divided so that each piece fits into one notification."""
        rendered = await self._renderer.render_all(entities, subscription)
        if len(rendered) <= _LARGEST_PART or len(entities) == 1:
            return [rendered]
        half = len(entities) // 2
        return [*await self._render(entities[:half], subscription), *await self._render(entities[half:], subscription)]

    def _owed(
        self, period: Period, subscription: Subscription, number: int, now: str, rendered: Sequence[bytes]
    ) -> Owed:
        notification_id = periodic_id(subscription, period.at, number)
        return Owed(
            id=notification_id,
            tenant=subscription.tenant,
            subscription_id=subscription.id,
            entity_id=subscription.id,  # what is sent in order: the notifications of one subscription
            process=self._notifier.process,
            commit=OF_NO_COMMIT,
            sequence=next(self._sequence),
            body=subscription.body(notification_id, now, b",".join(rendered)),
            created_at=time.time(),
        )


def next_instant(at: int, interval: int, now: int) -> int:
    """The first instant of the grid around `at` that lies after `now`, and not before the next; milliseconds."""
    return at + interval * max(1, (now - at) // interval + 1)


def periodic_id(subscription: Subscription, at: int, number: int) -> str:
    """The URN of a part of the notification that is owed for an instant: the same whoever makes it."""
    name = "\n".join((subscription.tenant, subscription.id, subscription.version[0], str(at), str(number)))
    return f"urn:ngsi-ld:Notification:{uuid.uuid5(_NAMES, name)}"
