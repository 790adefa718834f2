"""The result of a run, and the ratios that are concluded from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from benchmarks.figures import CLIENT_CPU_LIMIT, Figures, middle
from benchmarks.verification import Verdict


@dataclass(frozen=True)
class Measured:
    """One contestant: its figures round by round, and what reading back its writes found."""

    name: str
    rounds: tuple[Figures, ...]
    verdict: Verdict | None = None

    @property
    def middle(self) -> Figures:
        """The median of the rounds."""
        return middle(self.rounds)


@dataclass(frozen=True)
class Comparison:
    """Several that took turns: the reference, which is the ceiling of a scenario, and each target beside it."""

    name: str
    title: str
    connections: int
    reference: Measured
    targets: tuple[Measured, ...]

    @property
    def all(self) -> tuple[Measured, ...]:
        """The reference and the targets."""
        return (self.reference, *self.targets)

    def ratios(self, target: Measured, to: Measured | None = None) -> list[float]:
        """The target's entities/s by those of `to`, which is the reference unless given, round by round."""
        return [
            own.entities_per_second / other.entities_per_second
            for own, other in zip(target.rounds, (to or self.reference).rounds, strict=True)
        ]

    def ratio(self, target: Measured, to: Measured | None = None) -> float | None:
        """The median of the ratios; None where nothing can be concluded (see `doubt`)."""
        return None if self.doubt(target, to) else median(self.ratios(target, to))

    def doubt(self, target: Measured, to: Measured | None = None) -> str | None:
        """Why no ratio is concluded for the target; None where one is."""
        for measured in (to or self.reference, target):
            if not all(one.requests_per_second for one in measured.rounds):
                return f"{measured.name} acknowledged nothing"
            figures = measured.middle
            if not figures.conclusive:
                used = figures.cpu["client"]
                return (
                    f"the load generator used {used:.0%} of a core against {measured.name}, more than "
                    f"{CLIENT_CPU_LIMIT:.0%}: it may have been the limit"
                )
        return None

    @property
    def lost(self) -> int:
        """Entities that lost an acknowledged write, over all that were read back."""
        return sum(measured.verdict.lost for measured in self.all if measured.verdict)


@dataclass(frozen=True)
class Told:
    """What became of the notifications of one load; times in seconds, negative where one came before its answer.

    `rate` is that of the updates, in requests/s, where the load was paced.
    """

    owed: int
    missing: int
    duplicates: int
    drained: float
    delay_p50: float
    delay_p99: float
    rate: float | None = None


@dataclass(frozen=True)
class Size:
    """Where a contestant stands in the plot of a contest: on which line, at which number."""

    line: str
    number: int


@dataclass(frozen=True)
class ContestResult:
    """A contest: its comparison, and by the names of the contestants their sizes, where it is about such."""

    comparison: Comparison
    about: str
    unit: str
    sizes: Mapping[str, Size]
    told: tuple[Told, ...] = ()

    @property
    def missing(self) -> int:
        """Notifications of acknowledged updates that did not come."""
        return sum(one.missing for one in self.told)

    @property
    def refused(self) -> int:
        """Updates that were answered as wrong, which none of them is."""
        statuses = [one.statuses for measured in self.comparison.all for one in measured.rounds]
        return sum(count for one in statuses for status, count in one.items() if status.startswith("4"))


@dataclass(frozen=True)
class RunResult:
    """A whole run. `machine` and `options` describe it in words, by name."""

    date: str
    command: str
    machine: Mapping[str, str]
    options: Mapping[str, str]
    scenarios: tuple[Comparison, ...] = ()
    contests: tuple[ContestResult, ...] = ()

    @property
    def comparisons(self) -> list[Comparison]:
        """Those of all scenarios and contests."""
        return [*self.scenarios, *(contest.comparison for contest in self.contests)]

    @property
    def lost(self) -> int:
        """Entities that lost an acknowledged write, over the whole run."""
        return sum(comparison.lost for comparison in self.comparisons)

    @property
    def failed(self) -> bool:
        """Whether a broker broke its word: lost a write, owes a notification, or refused what is right."""
        return bool(self.lost or any(contest.missing or contest.refused for contest in self.contests))
