"""How often @contexts are used, counted in memory (clause 5.13.3.5): no request waits for a count to be written."""

from typing import NamedTuple


class Usage(NamedTuple):
    """Uses of one record: how many, and the time of the latest one in seconds since 1970."""

    hits: int
    last: float


class UsageCounts:
    """Uses by record of the store, since they were last taken."""

    def __init__(self) -> None:
        self._counts: dict[str, Usage] = {}

    def add(self, record: str, usage: Usage) -> None:
        """Count uses of a record."""
        before = self._counts.get(record, Usage(0, 0.0))
        self._counts[record] = Usage(before.hits + usage.hits, max(before.last, usage.last))

    def drop(self, record: str) -> None:
        """Forget what was counted for a record."""
        self._counts.pop(record, None)

    def take(self) -> dict[str, Usage]:
        """All counts; they start anew."""
        taken, self._counts = self._counts, {}
        return taken
