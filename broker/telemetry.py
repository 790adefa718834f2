"""What a running broker tells its operators: structured logs and Prometheus metrics.

Logs: one event per line on standard error, for people (`console`) or machines (`json`), through structlog; what
libraries log through the standard library comes out in the same form. Secrets in connection strings are masked.

Metrics: one `Metrics` per app, with a registry of its own. A labelled child is looked up once and kept by its user:
`labels(…)` costs a lock and a dictionary look-up, the child's `inc()` does not.
"""

import logging
import re
import sys
from bisect import bisect_left
from collections.abc import Iterator, MutableMapping
from itertools import accumulate
from typing import Any, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

EXPOSITION_CONTENT_TYPE = CONTENT_TYPE_LATEST
"""The Content-Type of `Metrics.exposition`."""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
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


class Metrics:
    """The metrics of one broker process. Names and labels are part of the operators' interface (docs/metrics.md)."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = RequestStatistics()
        registry.register(self.requests)
        self.commit_groups = Counter("vela_commit_groups", "Groups of updates committed.", registry=registry)
        self.group_size = Histogram(
            "vela_commit_group_size", "Updates in one committed group.", buckets=SIZES, registry=registry
        )
        self.mutations = Counter("vela_mutations", "Updates committed.", registry=registry)
        self.version_conflicts = Counter(
            "vela_version_conflicts", "Entity writes repeated because another process wrote first.", registry=registry
        )
        self.commit_queue = Gauge("vela_commit_queue_length", "Updates waiting for their group.", registry=registry)
        self.notifications_sent = Counter("vela_notifications_sent", "Notifications delivered.", registry=registry)
        self.notifications_failed = Counter(
            "vela_notifications_failed", "Attempts to deliver a notification that failed.", registry=registry
        )
        self.notifications_dropped = Counter(
            "vela_notifications_dropped", "Notifications given up after their maximum age.", registry=registry
        )
        self.notification_backlog = Gauge(
            "vela_notification_backlog", "Notifications owed by this process and not yet delivered.", registry=registry
        )
        self.schema_violations = Counter(
            "vela_schema_violations", "Updates that break the schema of their type.", ("type",), registry=registry
        )

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format (`EXPOSITION_CONTENT_TYPE`)."""
        return generate_latest(self.registry)
