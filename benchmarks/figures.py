"""From the log of a load to figures: throughput, latency percentiles, failures."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

from benchmarks.jobs import Log

ACKNOWLEDGED = frozenset({200, 201, 204})
"""The status codes that count as success. 207 does not: a part of such a request failed."""

CLIENT_CPU_LIMIT = 0.8
"""Above this share of a core the load generator may be what limits the rate: nothing is concluded."""


_STEP = 0.25


@dataclass(frozen=True)
class Moment:
    """A quarter of a second of a round, from `second` on: the rate of acknowledged requests, and their latencies."""

    second: float
    requests_per_second: float
    latency_p50: float
    latency_p90: float
    latency_p99: float


@dataclass(frozen=True)
class Figures:
    """One round of one target. Latencies in seconds, CPU in cores by process, memory in bytes by process."""

    requests_per_second: float
    entities_per_second: float
    latency_p50: float
    latency_p90: float
    latency_p99: float
    latency_max: float
    failed: int
    statuses: dict[str, int]
    cpu: dict[str, float]
    memory: dict[str, int]
    course: tuple[Moment, ...] = ()
    """How the round went, moment by moment."""
    seconds: float = 0.0
    """How long it was measured."""

    @property
    def conclusive(self) -> bool:
        """Whether the load generator had CPU to spare, so that the target was what limited the rate."""
        return self.cpu["client"] <= CLIENT_CPU_LIMIT


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the `ordered` values that at least `share` (0 to 1) of them do not exceed; 0.0 of none."""
    if not ordered:
        return 0.0
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def measure(log: Log, entities_per_request: int) -> Figures:
    """The figures of the requests that were answered inside the log's measured window."""
    duration = log.ended - log.started
    latencies: list[float] = []
    steps: list[list[float]] = [[] for _ in range(max(1, round(duration / _STEP)))]
    statuses: dict[str, int] = {}
    for sent, answered, status in zip(log.sent, log.answered, log.statuses, strict=True):
        if answered and not log.started <= answered < log.ended:
            continue
        if status in ACKNOWLEDGED:
            latencies.append(answered - sent)
            steps[int((answered - log.started) / duration * len(steps))].append(answered - sent)
        name = str(status) if status else "no answer"
        statuses[name] = statuses.get(name, 0) + 1
    latencies.sort()
    rate = len(latencies) / duration
    width = duration / len(steps)
    return Figures(
        requests_per_second=rate,
        entities_per_second=rate * entities_per_request,
        latency_p50=percentile(latencies, 0.5),
        latency_p90=percentile(latencies, 0.9),
        latency_p99=percentile(latencies, 0.99),
        latency_max=latencies[-1] if latencies else 0.0,
        failed=sum(statuses.values()) - len(latencies),
        statuses=dict(sorted(statuses.items())),
        cpu={name: seconds / duration for name, seconds in log.cpu_seconds.items()},
        memory=dict(log.memory),
        course=tuple(_moment(number * width, width, sorted(step)) for number, step in enumerate(steps)),
        seconds=duration,
    )


def _moment(second: float, width: float, ordered: Sequence[float]) -> Moment:
    percentiles = (percentile(ordered, share) for share in (0.5, 0.9, 0.99))
    return Moment(second, len(ordered) / width, *percentiles)


def middle(rounds: Sequence[Figures]) -> Figures:
    """The median of several rounds, figure by figure; failures and status codes are summed."""
    statuses: dict[str, int] = {}
    for one in rounds:
        for status, count in one.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    return Figures(
        requests_per_second=median(one.requests_per_second for one in rounds),
        entities_per_second=median(one.entities_per_second for one in rounds),
        latency_p50=median(one.latency_p50 for one in rounds),
        latency_p90=median(one.latency_p90 for one in rounds),
        latency_p99=median(one.latency_p99 for one in rounds),
        latency_max=max(one.latency_max for one in rounds),
        failed=sum(one.failed for one in rounds),
        statuses=dict(sorted(statuses.items())),
        cpu={name: median(one.cpu[name] for one in rounds) for name in rounds[0].cpu},
        memory={name: max(one.memory[name] for one in rounds) for name in rounds[0].memory},
    )
