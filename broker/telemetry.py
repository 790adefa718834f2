"""What a running broker tells its operators: structured logs and Prometheus metrics.

Logs: one event per line on standard error, for people (`console`) or machines (`json`), through structlog; what
libraries log through the standard library comes out in the same form. Secrets in connection strings are masked.

Metrics: one `Metrics` per process, with a registry of its own; `broker/exposition.py` adds up those of all workers. A
labelled child is looked up once and kept by its user: `labels(…)` costs a lock and a dictionary look-up, the child's
`inc()` does not.
"""

import logging
import os
import re
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from itertools import accumulate
from pathlib import Path
from typing import Any, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

EXPOSITION_CONTENT_TYPE = CONTENT_TYPE_LATEST
"""The Content-Type of metrics."""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MOST_ENDPOINTS = 100
"""Endpoints with metrics of their own."""

OTHER_ENDPOINTS = "other"

MOST_VIOLATIONS = 1_000
"""Kinds of violations with metrics of their own."""

OTHER_VIOLATIONS = "other"
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

_CREDENTIALS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/?#\s@]+(?:@[^/?#\s@]+)*@", re.IGNORECASE)
_TIMESTAMPER = structlog.processors.TimeStamper(fmt="iso", utc=True)

Event = MutableMapping[str, Any]


def redact(text: str) -> str:
    """`text` with the user name and password of every URL in it masked."""
    return _CREDENTIALS.sub(r"\g<scheme>***@", text) if "://" in text else text


def configure_logging(level: str, format_: str | None, stream: TextIO | None = None) -> None:
    """Set up logging for this process.

    `level` is the least severity shown (debug, info, warning, error). `format_` is console or json; None is console on
    a terminal, else json. `stream` is standard error unless given.
    """
    output = stream if stream is not None else sys.stderr
    on_terminal = output.isatty()
    as_text = format_ == "console" or (format_ is None and on_terminal)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _TIMESTAMPER,
        structlog.processors.StackInfoRenderer(),
    ]
    final: list[structlog.typing.Processor] = (
        [_mask, structlog.dev.ConsoleRenderer(colors=on_terminal, exception_formatter=structlog.dev.plain_traceback)]
        if as_text
        else [structlog.processors.format_exc_info, _mask, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for library in ("aiohttp.access", "pymongo", "asyncio"):
        logging.getLogger(library).setLevel(max(threshold, logging.WARNING))


def _mask(_logger: Any, _method: str, event: Event) -> Event:
    for key, value in event.items():
        if isinstance(value, str) and "://" in value:
            event[key] = redact(value)
    return event


class RequestRow:
    """The requests of one method and route, counted without locks: a worker serves them all in one thread."""

    __slots__ = ("buckets", "by_status", "method", "route", "seconds")

    def __init__(self, method: str, route: str) -> None:
        self.method = method
        self.route = route
        self.by_status: dict[int, int] = {}
        self.buckets = [0] * (len(SECONDS) + 1)
        self.seconds = 0.0

    def observe(self, status: int, seconds: float) -> None:
        """Count one request that was answered with `status` after `seconds`."""
        by_status = self.by_status
        by_status[status] = by_status.get(status, 0) + 1
        self.buckets[bisect_left(SECONDS, seconds)] += 1
        self.seconds += seconds


class RequestStatistics(Collector):
    """vela_requests_total and vela_request_seconds. prometheus-client's own take six times as long per request."""

    def __init__(self) -> None:
        self._rows: list[RequestRow] = []

    def row(self, method: str, route: str) -> RequestRow:
        """A new row, for the endpoint of `method` and `route`."""
        row = RequestRow(method, route)
        self._rows.append(row)
        return row

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads."""
        labels = ("method", "route")
        requests = CounterMetricFamily(
            "vela_requests", "Requests answered, by method, route and status.", labels=(*labels, "status")
        )
        seconds = HistogramMetricFamily(
            "vela_request_seconds", "Time from the request's head to the end of its answer.", labels=labels
        )
        bounds = [*(str(bound) for bound in SECONDS), "+Inf"]
        for row in self._rows:
            for status, times in sorted(row.by_status.items()):
                requests.add_metric((row.method, row.route, str(status)), times)
            if row.by_status:
                buckets = list(zip(bounds, accumulate(row.buckets), strict=True))
                seconds.add_metric((row.method, row.route), buckets, row.seconds)
        yield requests
        yield seconds


class CacheStatistics(Collector):
    """How often what was looked for in a cache was there (`hits`), and how often not (`misses`); counted as above."""

    def __init__(self, name: str, what: str) -> None:
        self._name = name
        self._what = what
        self.hits = 0
        self.misses = 0

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads."""
        yield CounterMetricFamily(f"{self._name}_hits", f"{self._what} that were at hand.", value=self.hits)
        yield CounterMetricFamily(f"{self._name}_misses", f"{self._what} that had to be made.", value=self.misses)


class EndpointRow:
    """What was delivered to one endpoint."""

    __slots__ = ("failed", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.failed = 0


class EndpointStatistics(Collector):
    """vela_endpoint_…: what became of the notifications, by host and port of their endpoint.

    The first `MOST_ENDPOINTS` that a process delivers to have a label of their own, all further ones share "other":
    endpoints are named by clients. `waiting` tells (endpoint, notifications, time of the oldest) of what is owed.
    """

    def __init__(self) -> None:
        self._rows: dict[str, EndpointRow] = {}
        self.waiting: Callable[[], Iterable[tuple[str, int, float]]] = tuple

    def row(self, endpoint: str) -> EndpointRow:
        """Where to count for an endpoint."""
        row = self._rows.get(endpoint)
        if row is None:
            if len(self._rows) >= MOST_ENDPOINTS:
                endpoint = OTHER_ENDPOINTS
            row = self._rows.setdefault(endpoint, EndpointRow())
        return row

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads."""
        labels = ("endpoint",)
        sent = CounterMetricFamily(
            "vela_endpoint_notifications_sent", "Notifications delivered, by endpoint.", labels=labels
        )
        failed = CounterMetricFamily(
            "vela_endpoint_notifications_failed", "Attempts to deliver that failed, by endpoint.", labels=labels
        )
        backlog = GaugeMetricFamily(
            "vela_endpoint_backlog", "Notifications owed and not yet delivered, by endpoint.", labels=labels
        )
        oldest = GaugeMetricFamily(
            "vela_endpoint_oldest_seconds", "Age of the oldest notification owed, by endpoint.", labels=labels
        )
        for endpoint, row in self._rows.items():
            sent.add_metric((endpoint,), row.sent)
            failed.add_metric((endpoint,), row.failed)
        now = time.time()
        for endpoint, (number, since) in self._owed().items():
            backlog.add_metric((endpoint,), number)
            oldest.add_metric((endpoint,), max(0.0, now - since))
        yield from (sent, failed, backlog, oldest)

    def _owed(self) -> dict[str, tuple[int, float]]:
        owed: dict[str, tuple[int, float]] = {}
        for endpoint, number, since in self.waiting():
            name = endpoint if endpoint in self._rows or len(self._rows) < MOST_ENDPOINTS else OTHER_ENDPOINTS
            self.row(endpoint)
            known, first = owed.get(name, (0, since))
            owed[name] = known + number, min(first, since)
        return owed


class ViolationStatistics(Collector):
    """vela_schema_violations_total. The first `MOST_VIOLATIONS` kinds are counted apart, all further ones together.

    A schema may judge attributes that it does not name, and those are named by clients.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, str, str], int] = {}

    def count(self, type_name: str, attribute: str, rule: str, policy: str) -> None:
        """Count one violation."""
        key = type_name, attribute, rule, policy
        if key not in self._counts and len(self._counts) >= MOST_VIOLATIONS:
            key = (OTHER_VIOLATIONS, "", "", policy)
        self._counts[key] = self._counts.get(key, 0) + 1

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads."""
        counter = CounterMetricFamily(
            "vela_schema_violations",
            "Rules of data models that were broken, by type, attribute, rule and policy (warn: accepted all the same).",
            labels=("type", "attribute", "rule", "policy"),
        )
        for key, times in self._counts.items():
            counter.add_metric(key, times)
        yield counter


class WorkerStatistics(Collector):
    """vela_worker_…: what one worker holds, with its number as the label `worker`."""

    def __init__(self, index: int) -> None:
        self._label = (str(index),)
        self.queued: Callable[[], int] = int
        self.connections: Callable[[], int] = int

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads. The memory is that of Linux; elsewhere nothing."""
        labels = ("worker",)
        memory = GaugeMetricFamily("vela_worker_resident_bytes", "Memory of a worker process.", labels=labels)
        queued = GaugeMetricFamily(
            "vela_worker_queue_length", "Updates waiting for their group, by worker.", labels=labels
        )
        connections = GaugeMetricFamily("vela_worker_connections", "Connections of clients, by worker.", labels=labels)
        resident = resident_bytes()
        if resident is not None:
            memory.add_metric(self._label, resident)
        queued.add_metric(self._label, self.queued())
        connections.add_metric(self._label, self.connections())
        yield from (memory, queued, connections)


def resident_bytes() -> int | None:
    """The resident memory of this process; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


class SupervisorMetrics:
    """What the supervisor of the workers counts."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.workers = Gauge("vela_workers", "Workers that serve.", registry=registry)
        self.deaths = Counter(
            "vela_worker_deaths", "Workers that ended by themselves and were started again.", registry=registry
        )
        self.rolls = Counter("vela_rolling_restarts", "Rolling restarts that replaced all workers.", registry=registry)
        self.failed_rolls = Counter(
            "vela_rolling_restarts_failed", "Rolling restarts that were given up.", registry=registry
        )


class Metrics:
    """The metrics of worker `index`. Names and labels are part of the operators' interface (docs/metrics.md)."""

    def __init__(self, index: int = 0) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = RequestStatistics()
        registry.register(self.requests)
        self.read_cache = CacheStatistics("vela_read_cache", "Renderings of entities for answers")
        registry.register(self.read_cache)
        self.refused = Counter(
            "vela_refused",
            "Requests answered 503 before they were looked into, because the worker had too much to do. No other "
            "metric counts them.",
            registry=registry,
        )
        self.commit_groups = Counter("vela_commit_groups", "Groups of updates committed.", registry=registry)
        self.group_size = Histogram(
            "vela_commit_group_size", "Updates in one committed group.", buckets=SIZES, registry=registry
        )
        self.mutations = Counter("vela_mutations", "Updates committed.", registry=registry)
        self.version_conflicts = Counter(
            "vela_version_conflicts", "Entity writes repeated because another process wrote first.", registry=registry
        )
        self.handed_over = Counter(
            "vela_mutations_handed_over",
            "Updates that the worker which was sent them handed to the one that owns their entity.",
            registry=registry,
        )
        self.commit_queue = Gauge("vela_commit_queue_length", "Updates waiting for their group.", registry=registry)
        self.notifications_sent = Counter("vela_notifications_sent", "Notifications delivered.", registry=registry)
        self.notifications_failed = Counter(
            "vela_notifications_failed", "Attempts to deliver a notification that failed.", registry=registry
        )
        self.notifications_dropped = Counter(
            "vela_notifications_dropped", "Notifications given up: refused, too old, or too many.", registry=registry
        )
        self.endpoints = EndpointStatistics()
        registry.register(self.endpoints)
        self.notification_backlog = Gauge(
            "vela_notification_backlog", "Notifications owed and not yet delivered.", registry=registry
        )
        self.slow_queries = Counter(
            "vela_slow_queries", "Queries that took longer than the setting slow_query.", registry=registry
        )
        self.scanning_queries = Counter(
            "vela_scanning_queries",
            "Slow queries that were looked into and found to look at much more than they find.",
            registry=registry,
        )
        self.schema_violations = ViolationStatistics()
        registry.register(self.schema_violations)
        self.models_usable = Gauge("vela_data_models", "Data models that can be used.", registry=registry)
        self.models_quarantined = Gauge(
            "vela_data_models_quarantined", "Data models that cannot be used and check nothing.", registry=registry
        )
        self.worker = WorkerStatistics(index)
        registry.register(self.worker)


class CommitMetrics:
    """What the committer counts, as Prometheus metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._groups = metrics.commit_groups
        self._size = metrics.group_size
        self._mutations = metrics.mutations
        self._conflicts = metrics.version_conflicts

    def group(self, mutations: int) -> None:
        """A group of so many mutations was committed."""
        self._groups.inc()
        self._size.observe(mutations)
        self._mutations.inc(mutations)

    def conflicts(self, entities: int) -> None:
        """So many entities lost their version race."""
        self._conflicts.inc(entities)
