"""What the tests of notifications are made of: entities, changes, subscriptions, and stand-ins for I/O."""

import asyncio
import inspect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from broker.ngsild.changes import Change
from broker.ngsild.model import Entity
from broker.notify.matching import Condition
from broker.notify.owed import Owed, Parcel, parcel_of
from broker.notify.rendering import JSON, Projection, notification_headers, notification_tail
from broker.notify.subscription import Subscription, Target
from broker.storage.subscriptions import Deliveries, Turn

NOW = "2026-01-31T12:00:00.000000Z"
EARLIER = "2026-01-31T11:00:00.000000Z"
URL = "http://receiver.example/notify"

_sequence = itertools.count(1)


class PlainContext:
    """An @context in which the IRI of a term is "urn:" and the term."""

    source = "http://example.org/context.jsonld"
    link: str | None = "http://example.org/context.jsonld"

    def compact(self, iri: str) -> str:
        return iri.removeprefix("urn:")

    def compact_vocab(self, iri: str) -> str:
        return iri.removeprefix("urn:")


def prop(value: Any, **members: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, "createdAt": EARLIER, "modifiedAt": EARLIER, **members}


def entity(entity_id: str = "urn:e:1", types: Sequence[str] = ("urn:T",), **attributes: Any) -> Entity:
    """An entity whose attribute keys are "urn:" and the names given; each value is a list of instances or a value."""
    return {
        "_id": entity_id,
        "types": list(types),
        "createdAt": EARLIER,
        "modifiedAt": EARLIER,
        "attributes": {
            f"urn:{name}": value if isinstance(value, list) else [prop(value)] for name, value in attributes.items()
        },
    }


def changed(before: Entity | None, after: Entity | None, tenant: str = "") -> Change:
    known = after or before
    assert known is not None
    return Change(tenant, known["_id"], before, after, NOW)


def updated(before: Entity, **attributes: Any) -> Change:
    """`before` with attributes set; None deletes one."""
    after = {**before, "attributes": dict(before["attributes"])}
    for name, value in attributes.items():
        if value is None:
            del after["attributes"][f"urn:{name}"]
        else:
            after["attributes"][f"urn:{name}"] = value if isinstance(value, list) else [prop(value)]
    return changed(before, after)


def subscription(
    condition: Condition | None = None,
    *,
    subscription_id: str = "urn:s:1",
    tenant: str = "",
    projection: Projection | None = None,
    url: str = URL,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> Subscription:
    projection = projection or Projection(PlainContext())
    values: dict[str, Any] = {"version": (EARLIER, 1), "active": True, **members}
    return Subscription(
        tenant=tenant,
        id=subscription_id,
        condition=condition or Condition(),
        projection=projection,
        target=Target(url, headers or notification_headers(tenant, JSON, PlainContext.link, {})),
        tail=notification_tail(projection),
        **values,
    )


def owed(entity_id: str = "urn:e:1", *, body: bytes = b"{}", **members: Any) -> Owed:
    sequence = next(_sequence)
    values: dict[str, Any] = {
        "id": Parcel(0).next_id(0),
        "tenant": "",
        "subscription_id": "urn:s:1",
        "process": "p",
        "commit": sequence,
        "sequence": sequence,
        "created_at": 2e9,
        **members,
    }
    return Owed(entity_id=entity_id, body=body, **values)


async def until(condition: Any, seconds: float = 5.0) -> None:
    """Wait until `condition()`, awaited if need be, is true; fail if that takes longer than `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            answer = condition()
            if await answer if inspect.isawaitable(answer) else answer:
                return
            await asyncio.sleep(0.002)


class MemoryEntities:
    """An entity store without a database."""

    def __init__(self, *entities: Entity) -> None:
        self.kept = {one["_id"]: one for one in entities}

    async def load(self, tenant: str, ids: Sequence[str]) -> dict[str, Entity]:
        return {one: self.kept[one] for one in ids if one in self.kept}


class MemoryOutbox:
    """An outbox without a database."""

    def __init__(self) -> None:
        self.kept: dict[str, Owed] = {}
        self.owner: dict[str, str] = {}
        self.claims: dict[str, str] = {}

    async def insert(self, owed: Sequence[Owed]) -> None:
        for one in owed:
            self.kept.setdefault(one.id, one)
            self.owner.setdefault(one.id, one.process)

    async def remove(self, ids: Iterable[str]) -> None:
        for one in ids:
            self.kept.pop(one, None)

    async def remove_parcels(self, keys: Sequence[str]) -> None:
        await self.remove([one for one in self.kept if parcel_of(one) in keys])

    async def read(self, ids: Sequence[str]) -> list[Owed]:
        return [self.kept[one] for one in ids if one in self.kept]

    async def owners(self) -> set[str]:
        return {self.owner[one] for one in self.kept}

    async def claim(self, dead: str, heir: str, claim: str) -> int:
        mine = [one for one in self.kept if self.owner[one] == dead]
        for one in mine:
            self.owner[one] = heir
            self.claims[one] = claim
        return len(mine)

    async def claimed(self, claim: str, after: tuple[str, int, int] | None, limit: int) -> list[Owed]:
        mine = [one for one in self.kept.values() if self.claims.get(one.id) == claim]
        mine.sort(key=lambda one: (one.process, one.commit, one.sequence))
        return [one for one in mine if after is None or (one.process, one.commit, one.sequence) > after][:limit]


class MemoryCounters:
    """Where counts end up, and turns are given, without a database."""

    def __init__(self) -> None:
        self.deliveries: dict[tuple[str, str], Deliveries] = {}
        self.turns: dict[str, str] = {}
        self.asked = 0

    async def add_deliveries(self, deliveries: dict[tuple[str, str], Deliveries]) -> None:
        for name, one in deliveries.items():
            total = self.deliveries.setdefault(name, Deliveries())
            total.sent += one.sent
            total.failed += one.failed
            total.last_success = one.last_success or total.last_success
            total.last_failure = one.last_failure or total.last_failure

    async def take_turn(self, tenant: str, subscription_id: str, notification_id: str, seconds: float) -> Turn:
        self.asked += 1
        return Turn(self.turns.setdefault(subscription_id, notification_id), seconds)
