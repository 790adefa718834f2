"""The result of a run, and the ratios that are concluded from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from benchmarks.figures import CLIENT_CPU_LIMIT, Figures, middle
from benchmarks.verification import Verdict


@dataclass(frozen=True)
class Measured:
    """One contestant of a scenario: its figures round by round, and what reading back its writes found."""

    name: str
    rounds: tuple[Figures, ...]
    verdict: Verdict | None = None

    @property
    def middle(self) -> Figures:
        """The median of the rounds."""
        return middle(self.rounds)


@dataclass(frozen=True)
class ScenarioResult:
    """One scenario over one number of connections: the ceiling, and each target beside it."""

    name: str
    title: str
    connections: int
    ceiling: Measured
    targets: tuple[Measured, ...]

    def ratios(self, target: Measured) -> list[float]:
        """The target's entities/s by those of the ceiling, round by round."""
        return [
            own.entities_per_second / best.entities_per_second
            for own, best in zip(target.rounds, self.ceiling.rounds, strict=True)
        ]

    def ratio(self, target: Measured) -> float | None:
        """The median of the ratios; None where nothing can be concluded (see `doubt`)."""
        return None if self.doubt(target) else median(self.ratios(target))

    def doubt(self, target: Measured) -> str | None:
        """Why no ratio is concluded for the target; None where one is."""
        for measured in (self.ceiling, target):
            figures = measured.middle
            if not figures.requests_per_second:
                return f"{measured.name} acknowledged nothing"
            if not figures.conclusive:
                used = figures.cpu["client"]
                return (
                    f"the load generator used {used:.0%} of a core against {measured.name}, more than "
                    f"{CLIENT_CPU_LIMIT:.0%}: it may have been the limit"
                )
        return None

    @property
    def lost(self) -> int:
        """Entities that lost an acknowledged write, over all targets."""
        return sum(target.verdict.lost for target in self.targets if target.verdict)


@dataclass(frozen=True)
class RunResult:
    """A whole run. `machine` and `options` describe it in words, by name."""

    date: str
    machine: Mapping[str, str]
    options: Mapping[str, str]
    scenarios: tuple[ScenarioResult, ...]

    @property
    def lost(self) -> int:
        """Entities that lost an acknowledged write, over all scenarios."""
        return sum(scenario.lost for scenario in self.scenarios)
