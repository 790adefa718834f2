"""A run as tables on the terminal and as JSON."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from benchmarks.contest_results import told_lines, verdicts
from benchmarks.results import Comparison, ContestResult, Measured, RunResult

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], str]

RATE_COLUMNS = (
    *("scenario", "connections", "server", "requests/s", "entities/s"),
    *("p50 ms", "p90 ms", "p99 ms", "max ms", "failed", "ratio", "lowest-highest"),
)
CPU_COLUMNS = (
    *("scenario", "connections", "server", "client", "server CPU", "mongod", "others"),
    *("server µs", "mongod µs", "server MB"),
)
BETWEEN_COLUMNS = ("scenario", "connections", "server", "by the rate of", "ratio", "lowest-highest")
TEXT_COLUMNS = frozenset({"scenario", "server", "by the rate of"})
_WATCHED = ("client", "server", "mongod", "others")
_SPENT = ("server", "mongod")
_MB = 1_000_000
_IDLE = 0.2


def rate_rows(result: Comparison) -> list[list[str]]:
    """Rows of RATE_COLUMNS: the reference, then each target with its ratio to it."""
    compared = [[*_rates(result, target), *_ratio(result, target)] for target in result.targets]
    return [[*_rates(result, result.reference), "1.00", ""], *compared]


def between_rows(result: Comparison) -> list[list[str]]:
    """Rows of BETWEEN_COLUMNS: each further target beside the first one."""
    first, *others = result.targets or (result.reference,)
    where = (result.name, str(result.connections))
    return [[*where, other.name, first.name, *_ratio(result, other, first)] for other in others]


def _ratio(result: Comparison, target: Measured, to: Measured | None = None) -> tuple[str, str]:
    ratio = result.ratio(target, to)
    if ratio is None:
        return "none", ""
    ratios = result.ratios(target, to)
    return f"{ratio:.2f}", f"{min(ratios):.2f}-{max(ratios):.2f}"


def _rates(result: Comparison, measured: Measured) -> list[str]:
    figures = measured.middle
    latencies = (figures.latency_p50, figures.latency_p90, figures.latency_p99, figures.latency_max)
    return [
        *(result.name, str(result.connections), measured.name),
        *(f"{figures.requests_per_second:,.0f}", f"{figures.entities_per_second:,.0f}"),
        *(f"{seconds * 1000:.1f}" for seconds in latencies),
        f"{figures.failed}",
    ]


def cpu_rows(result: Comparison) -> list[list[str]]:
    """Rows of CPU_COLUMNS: what each process used, in cores, and microseconds of it for one request."""
    rows = []
    for measured in result.all:
        figures = measured.middle
        used = [f"{figures.cpu[name]:.2f}" if name in figures.cpu else "" for name in _WATCHED]
        rate = figures.requests_per_second
        spent = [f"{1e6 * figures.cpu[name] / rate:.0f}" if rate and name in figures.cpu else "" for name in _SPENT]
        memory = f"{figures.memory['server'] / _MB:.0f}" if "server" in figures.memory else ""
        rows.append([result.name, str(result.connections), measured.name, *used, *spent, memory])
    return rows


def remarks(result: Comparison) -> list[str]:
    """What must be said beside the tables: a busy machine, no ratio, answers that failed, what the read-back found."""
    where = f"{result.name} over {result.connections} connections"
    others = max(measured.middle.cpu["others"] for measured in result.all)
    lines = [f"{where}: the machine was not idle, other processes used {others:.1f} cores."] if others > _IDLE else []
    for target in result.all:
        if target is not result.reference and (doubt := result.doubt(target)):
            lines.append(f"{where}: no ratio is concluded for {target.name}: {doubt}.")
        if target.middle.failed:
            statuses = ", ".join(f"{count} x {status}" for status, count in target.middle.statuses.items())
            lines.append(f"{where}: {target.name} answered {statuses}.")
        if verdict := target.verdict:
            lines.append(
                f"{where}: {target.name} acknowledged {verdict.acknowledged:,} writes; "
                f"{verdict.checked:,} entities read back, {verdict.lost:,} lost an acknowledged write."
            )
            lines += [f"  LOST: {finding}" for finding in verdict.findings]
    return lines


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for the terminal."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if column in TEXT_COLUMNS else cell.rjust(width)
            for cell, width, column in zip(cells, widths, columns, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join(map(line, [columns, ["-" * width for width in widths], *rows]))


def tables(results: Sequence[Comparison], table: Table = text_table) -> tuple[str, str]:
    """The table of rates and the CPU table of several scenarios, as `table` writes them."""
    rates = table(RATE_COLUMNS, [row for result in results for row in rate_rows(result)])
    return rates, table(CPU_COLUMNS, [row for result in results for row in cpu_rows(result)])


def between_table(results: Sequence[Comparison], table: Table = text_table) -> str | None:
    """The table of the targets of scenarios beside each other; None where there is but one."""
    rows = [row for result in results for row in between_rows(result)]
    return table(BETWEEN_COLUMNS, rows) if rows else None


def scenario_text(result: Comparison) -> str:
    """A scenario for the terminal."""
    parts = [result.title, *tables([result]), between_table([result]), "\n".join(remarks(result))]
    return "\n\n".join(part for part in parts if part)


def contest_text(result: ContestResult) -> str:
    """A contest for the terminal."""
    lines = [*verdicts(result), *told_lines(result), *remarks(result.comparison)]
    return "\n\n".join([result.comparison.title, *tables([result.comparison]), "\n".join(lines)])


def as_json(run: RunResult) -> bytes:
    """The whole run: every round, the medians, the ratios, the verdicts."""
    return orjson.dumps(
        {
            "date": run.date,
            "command": run.command,
            "machine": dict(run.machine),
            "options": dict(run.options),
            "lost": run.lost,
            "failed": run.failed,
            "scenarios": [_comparison_object(result) for result in run.scenarios],
            "contests": [
                {
                    **_comparison_object(contest.comparison),
                    "verdicts": verdicts(contest),
                    "sizes": {name: dataclasses.asdict(size) for name, size in contest.sizes.items()},
                    "told": [dataclasses.asdict(told) for told in contest.told],
                    "refused": contest.refused,
                }
                for contest in run.contests
            ],
        },
        option=orjson.OPT_INDENT_2,
    )


def _comparison_object(result: Comparison) -> dict[str, Any]:
    return {
        "name": result.name,
        "title": result.title,
        "connections": result.connections,
        "reference": _measured_object(result.reference),
        "targets": [
            {
                **_measured_object(target),
                "ratio": result.ratio(target),
                "ratios": None if result.doubt(target) else result.ratios(target),
                "doubt": result.doubt(target),
            }
            for target in result.targets
        ],
    }


def _measured_object(measured: Measured) -> dict[str, Any]:
    return {
        "name": measured.name,
        "median": dataclasses.asdict(measured.middle),
        "rounds": [dataclasses.asdict(figures) for figures in measured.rounds],
        "verification": measured.verdict and dataclasses.asdict(measured.verdict),
    }
