"""Watching for queries that look at much more than they find.

MongoDB tells that only when it runs a query again to explain it. So that is done for slow queries, in the background,
one at a time and seldom; what it finds is counted, and logged with the advice of `vela explain`.
"""

import asyncio
import time
from typing import Protocol

import structlog

from broker.core.explaining import Explanation
from broker.core.paging import PageRequest, QueryResult
from broker.core.queries import EntityQuery
from broker.ngsild.errors import NgsiLdError
from broker.ngsild.model import decode_key
from broker.ngsild.query.tree import attributes_in

log = structlog.get_logger(__name__)

_LONGEST = 10.0


class AnswersQueries(Protocol):
    """What is watched."""

    async def query(self, tenant: str, query: EntityQuery, request: PageRequest) -> QueryResult:
        """One page of a query."""


class Explains(Protocol):
    """What the watch needs of the explanations."""

    async def explain(self, tenant: str, query: EntityQuery, request: PageRequest, *, seconds: float) -> Explanation:
        """Explain one page of a query."""


class Counts(Protocol):
    """A counter of the metrics."""

    def inc(self) -> None:
        """Count one more."""


class WatchedQueries:
    """Answers queries, and looks into those that took longer than `threshold` seconds (0: into none).

    One in `interval` seconds is looked into at most. `slow` counts all of them, `scanning` those found to scan.
    """

    def __init__(
        self,
        queries: AnswersQueries,
        explanations: Explains,
        *,
        threshold: float,
        interval: float,
        slow: Counts,
        scanning: Counts,
    ) -> None:
        self._queries = queries
        self._explanations = explanations
        self._threshold = threshold or float("inf")
        self._interval = interval
        self._slow = slow
        self._scanning = scanning
        self._next = 0.0
        self._task: asyncio.Task[None] | None = None

    async def query(self, tenant: str, query: EntityQuery, request: PageRequest) -> QueryResult:
        """One page of a query."""
        started = time.perf_counter()
        result = await self._queries.query(tenant, query, request)
        seconds = time.perf_counter() - started
        if seconds > self._threshold:
            self._note(tenant, query, request, seconds)
        return result

    async def stop(self) -> None:
        """Give up what is being looked into."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _note(self, tenant: str, query: EntityQuery, request: PageRequest, seconds: float) -> None:
        self._slow.inc()
        now = time.monotonic()
        if now >= self._next and self._task is None:
            self._next = now + self._interval
            self._task = asyncio.create_task(self._look_into(tenant, query, request, seconds))

    async def _look_into(self, tenant: str, query: EntityQuery, request: PageRequest, seconds: float) -> None:
        about = {"tenant": tenant, "query": _described(query), "seconds": round(seconds, 3)}
        try:
            found = await self._explanations.explain(tenant, query, request, seconds=_LONGEST)
        except NgsiLdError as error:
            log.info("a slow query could not be explained", reason=error.detail, **about)
            return
        finally:
            self._task = None
        if found.scans:
            self._scanning.inc()
            log.warning(
                "a query looks at much more than it finds",
                examined=found.plan.examined,
                returned=found.plan.returned,
                advice=[one.said(str) for one in found.advice],
                **about,
            )


def _described(query: EntityQuery) -> str:
    """Which query it was: what it is about, without the values, which are the clients' own."""
    parts = []
    if query.types is not None:
        parts.append("type=" + "|".join(";".join(names) for names in query.types.alternatives))
    named = {*query.attributes, *(attributes_in(query.q) if query.q is not None else ())}
    if named:
        parts.append("attributes=" + ",".join(sorted(decode_key(key) for key in named)))
    if query.geo is not None:
        parts.append(f"georel={query.geo.relation} of {decode_key(query.geo.attribute)}")
    return " ".join(parts)
