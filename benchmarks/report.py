"""A run as tables on the terminal and as JSON."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from benchmarks.results import Measured, RunResult, ScenarioResult

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], str]

RATE_COLUMNS = (
    *("scenario", "connections", "server", "requests/s", "entities/s"),
    *("p50 ms", "p90 ms", "p99 ms", "max ms", "failed", "ratio", "lowest-highest"),
)
CPU_COLUMNS = ("scenario", "connections", "server", "client", "server CPU", "mongod", "others", "server MB")
TEXT_COLUMNS = frozenset({"scenario", "server"})
_WATCHED = ("client", "server", "mongod", "others")
_MB = 1_000_000
_IDLE = 0.2


def rate_rows(result: ScenarioResult) -> list[list[str]]:
    """Rows of RATE_COLUMNS: the ceiling, then each target with its ratio to it."""
    rows = [[*_rates(result, result.ceiling), "1.00", ""]]
    for target in result.targets:
        ratio = result.ratio(target)
        if ratio is None:
            rows.append([*_rates(result, target), "none", ""])
        else:
            ratios = result.ratios(target)
            rows.append([*_rates(result, target), f"{ratio:.2f}", f"{min(ratios):.2f}-{max(ratios):.2f}"])
    return rows


def _rates(result: ScenarioResult, measured: Measured) -> list[str]:
    figures = measured.middle
    latencies = (figures.latency_p50, figures.latency_p90, figures.latency_p99, figures.latency_max)
    return [
        *(result.name, str(result.connections), measured.name),
        *(f"{figures.requests_per_second:,.0f}", f"{figures.entities_per_second:,.0f}"),
        *(f"{seconds * 1000:.1f}" for seconds in latencies),
        f"{figures.failed}",
    ]


def cpu_rows(result: ScenarioResult) -> list[list[str]]:
    """Rows of CPU_COLUMNS: what each process used, in cores."""
    rows = []
    for measured in (result.ceiling, *result.targets):
        figures = measured.middle
        used = [f"{figures.cpu[name]:.2f}" if name in figures.cpu else "" for name in _WATCHED]
        memory = f"{figures.memory['server'] / _MB:.0f}" if "server" in figures.memory else ""
        rows.append([result.name, str(result.connections), measured.name, *used, memory])
    return rows


def remarks(result: ScenarioResult) -> list[str]:
    """What must be said beside the tables: a busy machine, no ratio, answers that failed, what the read-back found."""
    where = f"{result.name} over {result.connections} connections"
    others = max(measured.middle.cpu["others"] for measured in (result.ceiling, *result.targets))
    lines = [f"{where}: the machine was not idle, other processes used {others:.1f} cores."] if others > _IDLE else []
    for target in result.targets:
        if doubt := result.doubt(target):
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


def tables(results: Sequence[ScenarioResult], table: Table = text_table) -> tuple[str, str]:
    """The table of rates and the CPU table of several scenarios, as `table` writes them."""
    rates = table(RATE_COLUMNS, [row for result in results for row in rate_rows(result)])
    return rates, table(CPU_COLUMNS, [row for result in results for row in cpu_rows(result)])


def as_json(run: RunResult) -> bytes:
    """The whole run: every round, the medians, the ratios, the verdicts."""
    return orjson.dumps(
        {
            "date": run.date,
            "machine": dict(run.machine),
            "options": dict(run.options),
            "lost": run.lost,
            "scenarios": [_scenario_object(result) for result in run.scenarios],
        },
        option=orjson.OPT_INDENT_2,
    )


def _scenario_object(result: ScenarioResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "title": result.title,
        "connections": result.connections,
        "ceiling": _measured_object(result.ceiling),
        "targets": [
            {
                **_measured_object(target),
                "ratio": result.ratio(target),
                "ratios": None if result.doubt(target) else result.ratios(target),
                "doubt": result.doubt(target),
                "verification": target.verdict and dataclasses.asdict(target.verdict),
            }
            for target in result.targets
        ],
    }


def _measured_object(measured: Measured) -> dict[str, Any]:
    return {
        "name": measured.name,
        "median": dataclasses.asdict(measured.middle),
        "rounds": [dataclasses.asdict(figures) for figures in measured.rounds],
    }
