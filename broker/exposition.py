"""The metrics of several processes as one: what each of them counted at a moment, added up, in Prometheus' text format.

Counters and histograms are added, those of workers that have ended included. Gauges are added, too, over the workers
that are there, but for those of `LARGEST`. What concerns one worker has a label of its own, `worker`.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric

Sample = tuple[str, dict[str, str], float]
Family = tuple[str, str, str, list[Sample]]
Snapshot = list[Family]
"""What one process counted: name, kind, help and samples (name, labels, value) of each metric. JSON can carry it."""

LARGEST = frozenset({"vela_data_models", "vela_data_models_quarantined", "vela_endpoint_oldest_seconds"})
"""Gauges that tell the same in all workers, or the worst of something: the largest value counts."""

_ADDED = frozenset({"counter", "histogram"})


def snapshot(registry: CollectorRegistry) -> Snapshot:
    """What `registry` holds now, without the times at which its metrics were made."""
    return [
        (
            metric.name,
            metric.type,
            metric.documentation,
            [(one.name, one.labels, one.value) for one in metric.samples if not one.name.endswith("_created")],
        )
        for metric in registry.collect()
    ]


class _Sum:
    """One metric of several processes."""

    def __init__(self, name: str, kind: str, help_: str) -> None:
        self._metric = name, help_, kind
        self._combine = max if name in LARGEST else _add
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def take(self, samples: Iterable[Sample]) -> None:
        values, combine = self._values, self._combine
        for name, labels, value in samples:
            key = name, tuple(labels.items())
            known = values.get(key)
            values[key] = value if known is None else combine(known, value)

    def samples(self) -> Iterator[Sample]:
        return ((name, dict(labels), value) for (name, labels), value in self._values.items())

    def metric(self) -> Metric:
        made = Metric(*self._metric)
        for name, labels, value in self.samples():
            made.add_sample(name, labels, value)
        return made


def _add(one: float, other: float) -> float:
    return one + other


def _added(snapshots: Iterable[Snapshot]) -> dict[str, _Sum]:
    sums: dict[str, _Sum] = {}
    for one in snapshots:
        for name, kind, help_, samples in one:
            metric = sums.get(name)
            if metric is None:
                metric = sums[name] = _Sum(name, kind, help_)
            metric.take(samples)
    return sums


class Merger:
    """Adds up the snapshots of processes, and keeps what those counted that have ended."""

    def __init__(self) -> None:
        self._ended: Snapshot = []

    def end(self, last: Snapshot) -> None:
        """Keep the last snapshot of a process: what it counted for good, not what it held."""
        lasting = [family for family in last if family[1] in _ADDED]
        heads = {name: (kind, help_) for name, kind, help_, _ in (*self._ended, *lasting)}
        sums = _added((self._ended, lasting))
        self._ended = [(name, *heads[name], list(one.samples())) for name, one in sums.items()]

    def text(self, living: Iterable[Snapshot]) -> bytes:
        """The metrics of all processes together, those that live having counted this."""
        sums = _added((*living, self._ended))
        return generate_latest(_Collected([one.metric() for one in sums.values()]))


class _Collected(CollectorRegistry):
    """Metrics as they are."""

    def __init__(self, metrics: list[Metric]) -> None:
        super().__init__()
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)
