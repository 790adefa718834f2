"""A run as the Markdown page docs/performance.md, with its plots in a folder beside it."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.contest_results import lines, told_lines, verdicts
from benchmarks.figures import CLIENT_CPU_LIMIT
from benchmarks.pictures import cost_file, latency_file, pictures, rate_file
from benchmarks.report import TEXT_COLUMNS, between_table, remarks, tables
from benchmarks.results import Comparison, ContestResult, RunResult

_HEAD = """\
# Performance

Made on {date} by `{command}`. Do not edit this page: run that again.

Clients, brokers and database share the machine below, and its speed drifts: compare the ratios, not the rates. What is
compared took turns, {rounds} rounds of {seconds} s each, and the figures are the medians of the rounds; "max ms" is the
highest of all. Unless it says otherwise, a round is about {entities} entities. The CPU tables are in cores, and in
microseconds for one request; where the client, which is the load generator, uses more than {limit:.0%} of a core,
nothing is concluded. [benchmarks/README.md](../benchmarks/README.md) says how to read it all.
"""

_SCENARIOS = """\
## Scenarios

A ratio is the rate of the broker by that of the ceiling: the most that the same machine reaches without a broker.

{titles}

{rates}
"""

_CONTEST = """\
## {title}

{about} Ratios are to the first line, over {connections} connections.

{rates}

{cpu}

{said}
"""


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a Markdown page."""
    rules = ["---" if column in TEXT_COLUMNS else "--:" for column in columns]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [columns, rules, *rows])


def write_page(run: RunResult, file: Path) -> None:
    """Write the page, and the plots that it shows into the folder beside it that has its name."""
    folder = file.with_suffix("")
    text = as_markdown(run, folder.name)
    file.write_text(text)
    write_pictures({name: svg for name, svg in pictures(run).items() if f"({folder.name}/{name})" in text}, folder)


def write_pictures(drawn: dict[str, str], folder: Path) -> None:
    """Write plots into a folder, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, svg in drawn.items():
        (folder / name).write_text(svg)


def as_markdown(run: RunResult, folder: str) -> str:
    """The whole page; `folder` is that of the plots."""
    parts = [_HEAD.format(date=run.date, command=run.command, limit=CLIENT_CPU_LIMIT, **run.options)]
    if run.scenarios:
        parts += _scenarios(run.scenarios, folder)
    parts += [_contest(contest, folder) for contest in run.contests]
    parts.append("## The machine\n\n" + _items([f"{name}: {value}" for name, value in run.machine.items()]))
    return "\n".join(parts)


def _scenarios(scenarios: Sequence[Comparison], folder: str) -> list[str]:
    rates, cpu = tables(scenarios, markdown_table)
    titles = {result.name: f"**{result.name}**: {result.title}." for result in scenarios}
    said = [line.strip() for result in scenarios for line in remarks(result)]
    between = between_table(scenarios, markdown_table)
    first = scenarios[0]
    return [
        _SCENARIOS.format(titles=_items(list(titles.values())).rstrip(), rates=rates),
        *([f"### The brokers beside each other\n\n{between}\n"] if between else []),
        f"### Who used the processor\n\n{cpu}\n",
        f"### {first.name}, as time went on\n",
        f"![{first.title}: requests/s]({folder}/{rate_file(first)})\n",
        f"![{first.title}: latency]({folder}/{latency_file(first)})\n",
        "### What was read back\n\n" + _items(said or ["No scenario wrote anything."]),
    ]


def _contest(contest: ContestResult, folder: str) -> str:
    comparison = contest.comparison
    rates, cpu = tables([comparison], markdown_table)
    said = [*verdicts(contest), *told_lines(contest), *(line.strip() for line in remarks(comparison))]
    text = _CONTEST.format(
        title=comparison.title,
        about=contest.about,
        connections=comparison.connections,
        rates=rates,
        cpu=cpu,
        said=_items(said).rstrip(),
    )
    if lines(contest):
        text += f"\n![The cost of an update against {contest.unit}]({folder}/{cost_file(contest)})\n"
    return text


def _items(lines_: Sequence[str]) -> str:
    return "".join(f"- {line}\n" for line in lines_)
