"""A run as the Markdown page docs/performance.md."""

from collections.abc import Sequence

from benchmarks.figures import CLIENT_CPU_LIMIT
from benchmarks.report import TEXT_COLUMNS, remarks, tables
from benchmarks.results import RunResult

_PAGE = """\
# Performance

Made on {date} by `python -m benchmarks --write docs/performance.md`. Do not edit this page: run that again.

Client, broker and database share the machine below, and its speed drifts: compare the ratios, not the rates. A ratio is
the rate of the broker by that of the ceiling: the most that the same machine reaches without a broker, measured in
turn with it. benchmarks/README.md says how.

{titles}

## Results

Medians of {rounds} rounds of {seconds} s each, over {entities} entities; "max ms" is the highest of all rounds.

{rates}

## Who used the processor

In cores. Where the client, which is the load generator, uses more than {limit:.0%} of a core, nothing is concluded.

{cpu}

## What was read back

{remarks}

## The machine

{machine}
"""


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a Markdown page."""
    rules = ["---" if column in TEXT_COLUMNS else "--:" for column in columns]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [columns, rules, *rows])


def as_markdown(run: RunResult) -> str:
    """The whole page."""
    rates, cpu = tables(run.scenarios, markdown_table)
    titles = {result.name: f"- **{result.name}**: {result.title}." for result in run.scenarios}
    said = [f"- {line.strip()}" for result in run.scenarios for line in remarks(result)]
    machine = [f"- {name}: {value}" for name, value in run.machine.items()]
    return _PAGE.format(
        date=run.date,
        titles="\n".join(titles.values()),
        rates=rates,
        limit=CLIENT_CPU_LIMIT,
        cpu=cpu,
        remarks="\n".join(said) or "No scenario wrote anything.",
        machine="\n".join(machine),
        **run.options,
    )
