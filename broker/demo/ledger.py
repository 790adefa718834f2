"""The ledger: what was acknowledged, what the broker therefore owes, and what it delivered."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from broker.demo.recording import Reading

NEARLY_FULL = 0.9
"""The occupancy above which a car park is reported: fewer than 10 % of its spaces are free."""

Key = tuple[str, datetime]
"""A notification says which state of a car park it is about: by entity and `observedAt`."""


def is_owed(reading: Reading) -> bool:
    """Whether the subscription `occupancy>0.9` owes a notification for the update that brings this reading."""
    return reading.occupancy is not None and reading.occupancy > NEARLY_FULL


@dataclass(slots=True)
class Ledger:
    """Acknowledged updates with their latencies in seconds, and the notifications that go with them."""

    latencies: list[float] = field(default_factory=list)
    owed: set[Key] = field(default_factory=set)
    received: Counter[Key] = field(default_factory=Counter)
    over_capacity: int = 0

    def acknowledge(self, reading: Reading, latency: float) -> None:
        """The broker acknowledged the update of a reading."""
        self.latencies.append(latency)
        self.over_capacity += reading.exceeds_capacity
        if is_owed(reading):
            self.owed.add((reading.car_park.entity_id, reading.at))

    def receive(self, entity_id: str, observed_at: datetime) -> None:
        """A notification about a car park arrived; it may be earlier than the acknowledgement."""
        self.received[(entity_id, observed_at)] += 1

    @property
    def acknowledged(self) -> int:
        """How many updates were acknowledged."""
        return len(self.latencies)

    @property
    def missing(self) -> set[Key]:
        """The notifications that are owed and did not arrive."""
        return self.owed - self.received.keys()

    @property
    def delivered(self) -> int:
        """How many of the owed notifications arrived at least once."""
        return len(self.owed) - len(self.missing)

    @property
    def duplicates(self) -> int:
        """How many notifications told again what an earlier one had told."""
        return self.received.total() - len(self.received)

    @property
    def unexpected(self) -> int:
        """How many different notifications arrived that no acknowledged update asks for."""
        return len(self.received.keys() - self.owed)

    def percentiles(self) -> tuple[float, float, float, float]:
        """The latencies p50, p95, p99 and the longest, in seconds (nearest rank); zeros where there are none."""
        ordered = sorted(self.latencies)
        if not ordered:
            return 0.0, 0.0, 0.0, 0.0
        ranks = (-(-len(ordered) * percent // 100) - 1 for percent in (50, 95, 99, 100))
        p50, p95, p99, longest = (ordered[max(rank, 0)] for rank in ranks)
        return p50, p95, p99, longest
