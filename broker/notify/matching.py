"""Whether a change makes a subscription fire (clause 5.8.6), and the index that finds the subscriptions worth asking.

A subscription is asked only if one of its entity selectors can select the entity and one of its watched attributes
changed. The index answers that with dictionary look-ups: by entity id, else by entity type, else by nothing; then by
watched attribute. What it finds is then asked in full, the cheapest question first.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import structlog

from broker.ngsild.changes import Change
from broker.ngsild.errors import TooComplexQuery
from broker.ngsild.model import Attributes, Entity, Instance

log = structlog.get_logger(__name__)

ATTRIBUTE_CREATED, ATTRIBUTE_UPDATED, ATTRIBUTE_DELETED, ENTITY_CREATED, ENTITY_DELETED = 1, 2, 4, 8, 16

TRIGGERS = {
    "attributeCreated": ATTRIBUTE_CREATED,
    "attributeUpdated": ATTRIBUTE_UPDATED,
    "attributeDeleted": ATTRIBUTE_DELETED,
    "entityUpdated": ATTRIBUTE_CREATED | ATTRIBUTE_UPDATED | ATTRIBUTE_DELETED,
    "entityCreated": ENTITY_CREATED,
    "entityDeleted": ENTITY_DELETED,
}
"""The notification triggers of clause 5.2.12 as bits."""

_SYSTEM_MEMBERS = ("modifiedAt", "createdAt")

Predicate = Callable[[Entity], bool]


@dataclass(slots=True, frozen=True)
class Selector:
    """An entity selector (clause 5.2.33): all of its conditions must hold; None is no condition.

    `types` is a disjunction of conjunctions of type IRIs. `ids` takes precedence over `pattern`, a search in the id.
    """

    types: tuple[frozenset[str], ...] | None = None
    ids: frozenset[str] | None = None
    pattern: Callable[[str], object] | None = None

    def selects(self, entity: Entity) -> bool:
        """Whether the entity is one of those selected."""
        if self.ids is not None:
            if entity["_id"] not in self.ids:
                return False
        elif self.pattern is not None and not self.pattern(entity["_id"]):
            return False
        return self.types is None or any(conjunction.issubset(entity["types"]) for conjunction in self.types)

    @property
    def index_keys(self) -> Iterator[tuple[str, str]]:
        """Where the index lists this selector: every entity that it selects has one of these keys."""
        if self.ids is not None:
            yield from (("id", one) for one in self.ids)
        elif self.types is not None:
            yield from {("type", min(conjunction)) for conjunction in self.types}
        else:
            yield "any", ""


@dataclass(slots=True, frozen=True)
class Condition:
    """When a subscription fires. `watched` holds attribute keys; None watches all. `predicates`: q, geoQ, scopeQ."""

    selectors: tuple[Selector, ...] = ()
    watched: frozenset[str] | None = None
    triggers: int = ATTRIBUTE_CREATED | ATTRIBUTE_UPDATED
    predicates: tuple[Predicate, ...] = ()

    @property
    def index_keys(self) -> set[tuple[str, str]]:
        """Where the index lists this condition."""
        if not self.selectors:
            return {("any", "")}
        return {key for selector in self.selectors for key in selector.index_keys}

    def holds(self, change: Change, events: "Events") -> bool:
        """Whether `change` fulfils the condition; `events` are those of the change."""
        if not self.triggers & events.of(self.watched):
            return False
        entity: Any = change.after if change.after is not None else change.before
        try:
            if self.selectors and not any(selector.selects(entity) for selector in self.selectors):
                return False
            return all(predicate(entity) for predicate in self.predicates)
        except TooComplexQuery as error:  # that of a subscriber is no reason to refuse the update of somebody else
            log.warning("a subscription was not compared", entity=entity["_id"], reason=error.detail)
            return False


class Events:
    """What happened in one change, as trigger bits: worked out once for all subscriptions that ask."""

    __slots__ = ("_all", "_by_attribute", "entity")

    def __init__(self, change: Change) -> None:
        self.entity = ENTITY_CREATED if change.before is None else ENTITY_DELETED if change.after is None else 0
        self._by_attribute = _attribute_events(change)
        self._all = self.entity
        for bits in self._by_attribute.values():
            self._all |= bits

    def of(self, watched: frozenset[str] | None) -> int:
        """The bits that concern the watched attributes, with those of the entity if any of them is concerned."""
        if watched is None:
            return self._all
        bits = 0
        for key, of_attribute in self._by_attribute.items():
            if key in watched:
                bits |= of_attribute | self.entity
        return bits


class Conditional(Protocol):
    """Something with a condition; compared and hashed by identity."""

    @property
    def condition(self) -> Condition:
        """When it fires."""


T = TypeVar("T", bound=Conditional)


class _Bucket(Generic[T]):
    """The entries under one id or type: those that watch all attributes, and the others by watched attribute."""

    __slots__ = ("all", "by_attribute")

    def __init__(self) -> None:
        self.all: dict[T, None] = {}
        self.by_attribute: dict[str, dict[T, None]] = {}

    def add(self, entry: T) -> None:
        if entry.condition.watched is None:
            self.all[entry] = None
            return
        for key in entry.condition.watched:
            self.by_attribute.setdefault(key, {})[entry] = None

    def remove(self, entry: T) -> None:
        self.all.pop(entry, None)
        for key in entry.condition.watched or ():
            entries = self.by_attribute.get(key)
            if entries is not None:
                entries.pop(entry, None)
                if not entries:
                    del self.by_attribute[key]

    def __bool__(self) -> bool:
        return bool(self.all or self.by_attribute)


class ConditionIndex(Generic[T]):
    """Finds the entries whose condition a change may fulfil: all that do, and few that do not."""

    __slots__ = ("_any", "_by_id", "_by_type")

    def __init__(self) -> None:
        self._by_id: dict[str, _Bucket[T] | T] = {}  # the entry itself where it is the only one, as it mostly is
        self._by_type: dict[str, _Bucket[T]] = {}
        self._any: dict[str, _Bucket[T]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_type or self._by_id or self._any)

    def add(self, entry: T) -> None:
        """List an entry."""
        for kind, key in entry.condition.index_keys:
            if kind == "id":
                self._add_to_id(key, entry)
                continue
            buckets = self._buckets(kind)
            bucket = buckets.get(key)
            if bucket is None:
                bucket = buckets[key] = _Bucket()
            bucket.add(entry)

    def _add_to_id(self, key: str, entry: T) -> None:
        listed = self._by_id.setdefault(key, entry)
        if isinstance(listed, _Bucket):
            listed.add(entry)
        elif listed is not entry:
            bucket = self._by_id[key] = _Bucket()
            bucket.add(listed)
            bucket.add(entry)

    def remove(self, entry: T) -> None:
        """Take an entry off the list."""
        for kind, key in entry.condition.index_keys:
            buckets: dict[str, Any] = self._by_id if kind == "id" else self._buckets(kind)
            listed = buckets.get(key)
            if isinstance(listed, _Bucket):
                listed.remove(entry)
                if not listed:
                    del buckets[key]
            elif listed is entry:
                del buckets[key]

    def candidates(self, change: Change) -> Iterable[T]:
        """The entries worth asking whether they fire for `change`."""
        entity: Any = change.after if change.after is not None else change.before
        buckets = [bucket for name in entity["types"] if (bucket := self._by_type.get(name)) is not None]
        found: dict[T, None] = {}
        if self._by_id and (by_id := self._by_id.get(change.entity_id)) is not None:
            if isinstance(by_id, _Bucket):
                buckets.append(by_id)
            else:
                found[by_id] = None
        if self._any:
            buckets.append(self._any[""])
        if not buckets:
            return found
        changed = change.attributes
        for bucket in buckets:
            found.update(bucket.all)
            if bucket.by_attribute:
                for key in changed:
                    entries = bucket.by_attribute.get(key)
                    if entries is not None:
                        found.update(entries)
        return found

    def _buckets(self, kind: str) -> dict[str, _Bucket[T]]:
        return self._by_type if kind == "type" else self._any


def _attribute_events(change: Change) -> dict[str, int]:
    if change.before is None:
        return dict.fromkeys(change.attributes, ATTRIBUTE_CREATED)
    if change.after is None:
        return dict.fromkeys(change.attributes, ATTRIBUTE_DELETED)
    old: Attributes = change.before["attributes"]
    new: Attributes = change.after["attributes"]
    events: dict[str, int] = {}
    for key in change.attributes:
        before, after = old.get(key), new.get(key)
        if before is None:
            events[key] = ATTRIBUTE_CREATED
        elif after is None:
            events[key] = ATTRIBUTE_DELETED
        else:
            bits = _instance_events(before, after)
            if bits:
                events[key] = bits
    return events


def _instance_events(before: list[Instance], after: list[Instance]) -> int:
    if len(before) == 1 and len(after) == 1 and before[0].get("datasetId") == after[0].get("datasetId"):
        return 0 if same(before[0], after[0]) else ATTRIBUTE_UPDATED
    old = {one.get("datasetId"): one for one in before}
    new = {one.get("datasetId"): one for one in after}
    bits = 0
    if new.keys() - old.keys():
        bits |= ATTRIBUTE_CREATED
    if old.keys() - new.keys():
        bits |= ATTRIBUTE_DELETED
    if any(not same(one, new[dataset_id]) for dataset_id, one in old.items() if dataset_id in new):
        bits |= ATTRIBUTE_UPDATED
    return bits


def same(one: Any, other: Any) -> bool:
    """Whether two instances, or parts of them, tell the same: equal but for the timestamps that the broker sets.

    1, 1.0 and true are three different values, as they are in JSON.
    """
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is dict:
        names = [name for name in one if name not in _SYSTEM_MEMBERS]
        if len(names) != sum(1 for name in other if name not in _SYSTEM_MEMBERS):
            return False
        return all(name in other and same(one[name], other[name]) for name in names)
    if kind is list:
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)
