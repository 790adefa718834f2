"""Whether a broker kept what it acknowledged: the read-back after a scenario that writes.

Each write carries a sequence number of its own as the value. After the load the value of an entity must be that of a
write which was not yet over when the last acknowledged write of that entity was sent: either the last one, or one that
ran beside it (which of the two applied last, no client can tell). A value older than that means that an acknowledged
write was lost, and so does an acknowledged creation without its entity.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from benchmarks.api import BrokerApi
from benchmarks.figures import ACKNOWLEDGED
from benchmarks.jobs import Log
from benchmarks.population import Population
from benchmarks.prepared import written_entities
from benchmarks.scenarios import Operation

_MOST_CREATED = 20_000
_MOST_FINDINGS = 5
_SEED = 4711


@dataclass(frozen=True)
class Verdict:
    """What the read-back of one target found. `findings` names the first losses, in words."""

    acknowledged: int
    checked: int
    lost: int
    findings: tuple[str, ...]

    def plus(self, other: "Verdict | None") -> "Verdict":
        """Both together."""
        if other is None:
            return self
        return Verdict(
            self.acknowledged + other.acknowledged,
            self.checked + other.checked,
            self.lost + other.lost,
            (self.findings + other.findings)[:_MOST_FINDINGS],
        )


@dataclass(frozen=True)
class Write:
    """One request of a load: when it was sent and answered (0.0: never), and its status code (0: no answer)."""

    sequence: int
    sent: float
    answered: float
    status: int
    entities: tuple[int, ...]

    @property
    def acknowledged(self) -> bool:
        """Whether the broker answered that it did all of it."""
        return self.status in ACKNOWLEDGED

    @property
    def refused(self) -> bool:
        """Whether the broker answered that the request is wrong, so that nothing of it may be stored."""
        return 400 <= self.status < 500


class History:
    """All writes of one target during one scenario. Beside each log stand the entities that its requests write."""

    def __init__(self, logs: Sequence[tuple[Log, Sequence[tuple[int, ...]]]]) -> None:
        self._logs = logs
        self.acknowledged = 0
        self.last: dict[int, Write] = {}
        """By entity index: of its acknowledged writes, the one that was sent last."""
        for log, entities in logs:
            for number in range(len(log.sent)):
                write = _write(log, entities, number)
                if write.acknowledged and write.entities:
                    self.acknowledged += 1
                    for index in write.entities:
                        if index not in self.last or self.last[index].sent < write.sent:
                            self.last[index] = write

    def write(self, sequence: object) -> Write | None:
        """The write with this sequence number; None where this scenario sent none such."""
        for log, entities in self._logs:
            if isinstance(sequence, int | float) and 0 <= (number := sequence - log.first_sequence) < len(log.sent):
                return _write(log, entities, int(number))
        return None

    def created(self) -> list[int]:
        """The sequence numbers of all acknowledged writes."""
        return [
            log.first_sequence + number
            for log, _ in self._logs
            for number, status in enumerate(log.statuses)
            if status in ACKNOWLEDGED
        ]

    def finding(self, index: int, value: object) -> str | None:
        """What is wrong with `value` in the entity with this index; None where nothing is."""
        last = self.last[index]
        found = self.write(value)
        if found is None or index not in found.entities:
            return f"holds {value!r}, which no request wrote, instead of {last.sequence}"
        if found.refused:
            return f"holds {value!r} of a request that was refused with {found.status}"
        if found.acknowledged and found.answered <= last.sent:
            return f"holds {value!r}, acknowledged before {last.sequence} was sent, which was acknowledged too"
        return None


def _write(log: Log, entities: Sequence[tuple[int, ...]], number: int) -> Write:
    return Write(
        log.first_sequence + number,
        log.sent[number],
        log.answered[number],
        log.statuses[number],
        entities[number % len(entities)],
    )


async def verify(api: BrokerApi, operation: Operation, population: Population, logs: Sequence[Log]) -> Verdict:
    """Read back what the operation wrote: all entities of updates, up to 20,000 of those created."""
    history = History([(log, written_entities(operation, population.size, log.first_sequence)) for log in logs])
    if operation.body == "new entity":
        created = history.created()
        sample = Random(_SEED).sample(created, min(len(created), _MOST_CREATED))
        wanted = {population.new_entity_id(sequence): sequence for sequence in sample}
        entities = await api.values(list(wanted))
        findings = [
            (entity_id, "does not hold what was created" if entity_id in entities else "does not exist")
            for entity_id, sequence in wanted.items()
            if any(_value(entities, entity_id, name) != sequence for name in operation.changes)
        ]
    else:
        indexes = {population.entity_id(index): index for index in history.last}
        wanted = indexes
        entities = await api.values(list(indexes))
        findings = [
            (entity_id, f"{name} {finding}")
            for entity_id, index in indexes.items()
            for name in operation.changes
            if (finding := history.finding(index, _value(entities, entity_id, name)))
        ]
    return Verdict(
        acknowledged=history.acknowledged,
        checked=len(wanted),
        lost=len({entity_id for entity_id, _ in findings}),
        findings=tuple(f"{entity_id}: {text}" for entity_id, text in findings[:_MOST_FINDINGS]),
    )


def _value(entities: dict[str, dict[str, Any]], entity_id: str, name: str) -> Any:
    return entities.get(entity_id, {}).get(name)
