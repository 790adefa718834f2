"""What queries cost at each size of the collection, as a table, as JSON, and as a page."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from benchmarks.growth_queries import EXPORT_NAME, EXPORT_TITLE, GROWTH_QUERIES
from benchmarks.page import markdown_table

_FLAT = 3.0
"""A cost that grows by less, while the entities grow a thousandfold, counts as flat."""


@dataclass(frozen=True)
class Cost:
    """One query at one size: milliseconds, and per request what it found and (None: unknown) what MongoDB looked at.

    Of an export, `first_ms` and `last_ms` are medians over the first and the last tenth of its pages.
    """

    name: str
    size: int
    requests: int
    median_ms: float
    p90_ms: float
    p99_ms: float
    found: int
    examined: int | None = None
    first_ms: float | None = None
    last_ms: float | None = None
    grown_mb: float | None = None


@dataclass(frozen=True)
class GrowthRun:
    """A whole run. `machine` and `options` describe it in words, by name."""

    date: str
    machine: Mapping[str, str]
    options: Mapping[str, str]
    costs: tuple[Cost, ...]

    def of(self, name: str) -> list[Cost]:
        """The costs of one query, by size."""
        return sorted((cost for cost in self.costs if cost.name == name), key=lambda cost: cost.size)

    @property
    def names(self) -> list[str]:
        """The queries that were measured."""
        return list(dict.fromkeys(cost.name for cost in self.costs))


COLUMNS = ("query", "entities", "requests", "p50 ms", "p90 ms", "p99 ms", "found", "looked at")


def rows(costs: Sequence[Cost]) -> list[list[str]]:
    """Rows of COLUMNS."""
    return [
        [
            *(cost.name, f"{cost.size:,}", f"{cost.requests:,}"),
            *(f"{value:.1f}" for value in (cost.median_ms, cost.p90_ms, cost.p99_ms)),
            *(f"{cost.found:,}", "" if cost.examined is None else f"{cost.examined:,}"),
        ]
        for cost in costs
    ]


def verdicts(run: GrowthRun) -> list[str]:
    """What follows from the figures, in sentences: how each cost grew, and whether it is within its limit."""
    lines = []
    for name in run.names:
        costs = run.of(name)
        first, last = costs[0], costs[-1]
        if last.size > first.size:
            times = last.median_ms / first.median_ms
            word = "flat" if times < _FLAT else "NOT FLAT"
            lines.append(f"{name}: {times:.1f} times from {first.size:,} to {last.size:,} entities: {word}.")
        query = next((query for query in GROWTH_QUERIES if query.name == name and query.limit_ms is not None), None)
        measured = [cost for cost in costs if query is not None and cost.size == query.limit_size]
        if query is not None and query.limit_ms is not None and measured:
            spent, limit = measured[0].median_ms, query.limit_ms
            met = "met" if spent < limit else "MISSED"
            lines.append(f"{name}: {spent:.1f} ms over {query.limit_size:,} entities, limit {limit:g} ms: {met}.")
        if last.first_ms is not None and last.last_ms is not None and last.grown_mb is not None:
            lines.append(
                f"{name}: all {last.size:,} entities in {last.requests:,} pages, {last.first_ms:.1f} ms a page at the "
                f"beginning and {last.last_ms:.1f} ms at the end; the broker grew by {last.grown_mb:.0f} MB."
            )
    return lines


def as_json(run: GrowthRun) -> bytes:
    """Every figure."""
    return orjson.dumps(
        {
            "date": run.date,
            "machine": dict(run.machine),
            "options": dict(run.options),
            "costs": [dataclasses.asdict(cost) for cost in run.costs],
            "verdicts": verdicts(run),
        },
        option=orjson.OPT_INDENT_2,
    )


_PAGE = """\
# Queries and the size of the collection

Made on {date} by `python -m benchmarks.growth --write docs/growth.md`. Do not edit this page: run that again.

One worker, one connection, one request at a time: the time from sending a request to having all of its answer. Every
query finds as many entities however many there are. Both axes of the plot are logarithmic.

![Milliseconds per query against the number of entities]({plot})

{titles}

## What follows

{verdicts}

## Figures

"looked at" is what MongoDB examined for one such query: keys of indexes or entities, whichever are more.

{table}

## The machine

{machine}
"""


def as_markdown(run: GrowthRun, plot: str) -> str:
    """The whole page; `plot` is the name of the picture beside it."""
    titles = {query.name: query.title for query in GROWTH_QUERIES} | {EXPORT_NAME: EXPORT_TITLE}
    return _PAGE.format(
        date=run.date,
        plot=plot,
        titles="\n".join(f"- **{name}**: {titles[name]}." for name in run.names),
        verdicts="\n".join(f"- {line}" for line in verdicts(run)),
        table=markdown_table(COLUMNS, rows([cost for name in run.names for cost in run.of(name)])),
        machine="\n".join(f"- {name}: {value}" for name, value in run.machine.items()),
    )
