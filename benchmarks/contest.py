"""Several brokers under the same load in turns: how one fares against another, round by round."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figures
from benchmarks.jobs import HttpJob, Log, Timing, run_job
from benchmarks.population import INITIAL_VALUE, Population
from benchmarks.report import text_table
from benchmarks.scenarios import Operation
from benchmarks.targets import Target

COLUMNS = ("server", "updates/s", "ratio", "lowest-highest", "p50 ms", "p99 ms", "failed", "client CPU", "server CPU")
FAILED, CANNOT_RUN, INTERRUPTED = 1, 2, 130


class Contestant:
    """One worker with all that it is burdened with, under load."""

    def __init__(self, target: Target, population: Population, operation: Operation, connections: int) -> None:
        self.target = target
        self._population = population
        self._operation = operation
        self._connections = connections
        self._next_sequence = INITIAL_VALUE + 1

    async def run(self, timing: Timing, rate: float = 0.0) -> Log:
        """One load; `rate` is in requests/s, 0 for as many as are answered."""
        log = await run_job(
            "benchmarks.load_generator",
            HttpJob(
                host=self.target.host,
                port=self.target.port,
                operation=self._operation,
                population=self._population,
                connections=self._connections,
                timing=timing,
                first_sequence=self._next_sequence,
                watched=dict(self.target.watched),
                rate=rate,
            ),
        )
        self._next_sequence += len(log.sent)
        return log


Rounds = Mapping[str, Sequence[Figures]]
"""The figures by contestant, round by round."""


def turns(names: Sequence[str], rounds: int) -> Iterator[str]:
    """Whose turn it is, all rounds through: in the opposite order every other time."""
    for number in range(rounds):
        yield from names if number % 2 == 0 else reversed(names)


def ratios(rounds: Rounds, name: str, reference: str) -> list[float]:
    """The rates of a contestant by those of the reference, round by round."""
    pairs = zip(rounds[name], rounds[reference], strict=True)
    return [own.requests_per_second / other.requests_per_second for own, other in pairs]


def table(rounds: Rounds, reference: str) -> str:
    """The contestants as a text table: medians over the rounds, and how far their ratios lie apart."""
    rows = []
    for name, figures in rounds.items():
        compared = ratios(rounds, name, reference)
        latencies = (median(one.latency_p50 for one in figures), median(one.latency_p99 for one in figures))
        rows.append(
            [
                *(name, f"{median(one.requests_per_second for one in figures):,.0f}", f"{median(compared):.2f}"),
                *(f"{min(compared):.2f}-{max(compared):.2f}", *(f"{1000 * seconds:.1f}" for seconds in latencies)),
                f"{sum(one.failed for one in figures)}",
                *(f"{median(one.cpu.get(who, 0.0) for one in figures):.2f}" for who in ("client", "server")),
            ]
        )
    return text_table(COLUMNS, rows)


def finish(measure: Callable[[], bool]) -> int:
    """Run a benchmark that tells whether all went right; the exit code of its process."""
    try:
        return 0 if measure() else FAILED
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return CANNOT_RUN
    except KeyboardInterrupt:
        return INTERRUPTED
