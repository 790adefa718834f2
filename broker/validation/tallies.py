"""Violations, counted: in memory as they occur, in the database about once a second, for all processes together."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from broker.background import Background, pause
from broker.ngsild.content import owner_of
from broker.ngsild.errors import NgsiLdError, Unavailable
from broker.ngsild.model import Entity
from broker.ngsild.timestamps import now_text
from broker.storage.violations import OVERFLOW, ViolationCount, ViolationKey, add_count
from broker.validation.policies import Policy
from broker.validation.violations import Violation

_log = structlog.get_logger("vela.validation")

TALLY_LIMIT = 10_000
"""Kinds of violations that one process counts apart between two flushes; what comes after is counted together."""

FLUSH_SECONDS = 1.0

_SOURCES = ("dataProvider", "source")
"""The attributes that tell where the data of an entity comes from, by their names in the data models."""

_LONGEST_SOURCE = 200


class KeepsCounts(Protocol):
    """Where the counts of all processes are kept."""

    async def add(self, counts: Mapping[ViolationKey, ViolationCount]) -> None:
        """Add to what is counted already."""


class MetersViolations(Protocol):
    """The metrics of this process."""

    def count(self, type_name: str, attribute: str, rule: str, policy: str, /) -> None:
        """Count one violation; must be cheap."""


class NamesAttributes(Protocol):
    """What is asked of a data model here."""

    @property
    def name(self) -> str:
        """The type as the model calls it."""

    @property
    def iri(self) -> str:
        """The type's IRI."""

    def name_of(self, key: str) -> str:
        """The model's name of an attribute key."""


@dataclass(slots=True)
class _Tally:
    count: int
    first: str
    last: str
    name: str
    policy: Policy
    entity_id: str
    violation: Violation

    def counted(self) -> ViolationCount:
        sample = {"entity": self.entity_id, **self.violation.problem()}
        return ViolationCount(self.count, self.first, self.last, self.name, self.policy.value, sample)


class Tallies(Background):
    """The violations of this process since the last `flush`."""

    def __init__(self, store: KeepsCounts, metrics: MetersViolations) -> None:
        self._store = store
        self._metrics = metrics
        self._pending: dict[ViolationKey, _Tally] = {}
        self._unsaved: dict[ViolationKey, ViolationCount] = {}
        self._logged: dict[ViolationKey, int] = {}
        self._flushing = asyncio.Lock()

    def count(self, tenant: str, entity: Entity, model: NamesAttributes, violation: Violation, policy: Policy) -> None:
        """One violation that `entity` as it would be has; what is advisory was accepted under any policy."""
        effect = Policy.WARN if violation.advisory else policy
        self._metrics.count(model.name, violation.attribute, violation.rule, effect)
        key = ViolationKey(owner_of(tenant), model.iri, violation.attribute, violation.rule, source_of(entity, model))
        self._add(key, model.name, entity["_id"], violation, effect)
        if effect is Policy.WARN and _worth_a_line(times := self._seen(key)):
            _log.warning(
                "schema violation accepted",
                tenant=key.tenant,
                type=model.name,
                entity=entity["_id"],
                source=key.source,
                detail=violation.detail,
                schema=violation.schema,
                count=times,
            )

    async def flush(self) -> None:
        """Add to the database all that was counted before.

        Raises NgsiLdError where it cannot be added. Unavailable: it is kept for the next time.
        """
        async with self._flushing:  # what another flush is adding has to be there, too, when this one returns
            pending, self._pending = self._pending, {}
            for key, tally in pending.items():
                self._save(key, tally.counted())
            if not self._unsaved:
                return
            try:
                await self._store.add(self._unsaved)
            except NgsiLdError as error:
                if not isinstance(error, Unavailable):
                    self._unsaved = {}  # it would be refused again, and everything that follows with it
                raise
            self._unsaved = {}

    async def stop(self) -> None:
        """Count what is left, and no more."""
        async with self._flushing:  # a flush that is under way is not to be cut off, and then repeated
            await super().stop()
        await self._try_to_flush()

    async def _run(self) -> None:
        while True:
            await pause(FLUSH_SECONDS)
            await self._try_to_flush()

    async def _try_to_flush(self) -> None:
        try:
            await self.flush()
        except NgsiLdError as error:
            _log.warning("violations were not counted in the database", reason=error.detail)

    def _add(self, key: ViolationKey, name: str, entity_id: str, violation: Violation, policy: Policy) -> None:
        pending = self._pending
        tally = pending.get(key)
        if tally is None and len(pending) >= TALLY_LIMIT:
            key, name = OVERFLOW, ""
            tally = pending.get(key)
        now = now_text()
        if tally is None:
            pending[key] = _Tally(1, now, now, name, policy, entity_id, violation)
            return
        tally.count += 1
        tally.last, tally.policy, tally.entity_id, tally.violation = now, policy, entity_id, violation

    def _save(self, key: ViolationKey, counted: ViolationCount) -> None:
        fits = key in self._unsaved or len(self._unsaved) < TALLY_LIMIT
        add_count(self._unsaved, key if fits else OVERFLOW, counted)

    def _seen(self, key: ViolationKey) -> int:
        """How often this process has met it; when it has met very many, that is forgotten."""
        times = self._logged.get(key, 0) + 1
        if times == 1 and len(self._logged) >= TALLY_LIMIT:
            self._logged.clear()
        self._logged[key] = times
        return times


def source_of(entity: Entity, model: NamesAttributes) -> str:
    """Where an entity's data comes from: the text of its dataProvider, else of its source; "" if it has neither."""
    found: dict[str, str] = {}
    for key, instances in entity["attributes"].items():
        if key.endswith(_SOURCES) and (name := model.name_of(key)) in _SOURCES:
            value: Any = instances[0].get("value")
            if isinstance(value, str):
                found[name] = value
    return next((found[name][:_LONGEST_SOURCE] for name in _SOURCES if name in found), "")


def _worth_a_line(count: int) -> bool:
    """The 1st, 10th, 100th, … violation of a kind is logged."""
    return str(count).rstrip("0") == "1"
