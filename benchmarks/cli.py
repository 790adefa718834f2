"""The command line of the suite."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from benchmarks.errors import BenchmarkError
from benchmarks.jobs import Timing
from benchmarks.machine import describe
from benchmarks.page import as_markdown
from benchmarks.report import as_json, remarks, tables
from benchmarks.results import RunResult, ScenarioResult
from benchmarks.runner import Plan, open_run
from benchmarks.scenarios import SCENARIOS, scenario_names
from benchmarks.targets import Database, Target, database, given_target, vela

LARGEST_BATCH = max(scenario.operation.entities for scenario in SCENARIOS)
LOST, CANNOT_RUN, INTERRUPTED = 1, 2, 130


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; ends the process with a message where they cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure an NGSI-LD broker beside the most that this machine could do. Without --target it starts "
        "one Vela worker over a private MongoDB. Ends with 1 where an acknowledged write was lost.",
    )
    parser.add_argument(
        "--scenario", action="append", choices=scenario_names(), help="run this one (may be repeated; default: all)"
    )
    parser.add_argument("--seconds", type=_positive_number, default=5.0, help="length of a round (default: 5)")
    parser.add_argument("--warm-up", type=_positive_number, default=1.0, help="seconds before each round (default: 1)")
    parser.add_argument("--rounds", type=_positive_integer, default=3, help="rounds for each server (default: 3)")
    parser.add_argument(
        "--connections",
        type=_positive_integer,
        action="append",
        help="connections at a time (may be repeated; default: what each scenario names)",
    )
    parser.add_argument("--entities", type=_entities, default=10_000, help="entities to work on (default: 10000)")
    parser.add_argument(
        "--target",
        type=_target,
        action="append",
        metavar="NAME=URL",
        help="a running broker, as http://HOST:PORT (may be repeated: they take turns)",
    )
    parser.add_argument("--mongo-uri", help="the MongoDB replica set to use instead of a private one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write a Markdown page, such as docs/performance.md")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite; the exit code of the process."""
    options = parse(arguments)
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vela-benchmarks-")))
            plan = _plan(options)
            mongo = None
            targets: list[Target] = options.target
            if plan.needs_database or not targets:
                mongo = stack.enter_context(database(options.mongo_uri, folder))
                targets = targets or [stack.enter_context(vela(mongo, folder))]
            run = uvloop.run(_measure(plan, targets, mongo, folder, clean=bool(options.target)))
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return CANNOT_RUN
    except KeyboardInterrupt:
        return INTERRUPTED
    if options.json:
        options.json.write_bytes(as_json(run))
    if options.write:
        options.write.write_text(as_markdown(run))
    return LOST if run.lost else 0


def _plan(options: argparse.Namespace) -> Plan:
    wanted = options.scenario or scenario_names()
    return Plan(
        scenarios=tuple(scenario for scenario in SCENARIOS if scenario.name in wanted),
        connections=tuple(options.connections or ()),
        timing=Timing(warm_up=options.warm_up, seconds=options.seconds),
        rounds=options.rounds,
        entities=options.entities,
    )


async def _measure(
    plan: Plan, targets: Sequence[Target], mongo: Database | None, folder: Path, *, clean: bool
) -> RunResult:
    results: list[ScenarioResult] = []
    print(f"creating {plan.entities:,} entities in {', '.join(target.name for target in targets)}", flush=True)
    async with open_run(plan, targets, mongo, folder, clean=clean) as run:
        async for result in run.scenarios():
            results.append(result)
            print("\n\n".join([f"\n{result.title}", *tables([result]), "\n".join(remarks(result))]), flush=True)
    if len(results) > 1:
        print("\n\n".join(["\nAll scenarios", *tables(results)]))
    return RunResult(
        date=datetime.now(UTC).date().isoformat(),
        machine=describe(mongo.version if mongo else None),
        options={
            "seconds": f"{plan.timing.seconds:g}",
            "warm_up": f"{plan.timing.warm_up:g}",
            "rounds": str(plan.rounds),
            "entities": f"{plan.entities:,}",
        },
        scenarios=tuple(results),
    )


def _positive_number(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _positive_integer(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def _entities(text: str) -> int:
    value = _positive_integer(text)
    if value < LARGEST_BATCH:
        raise argparse.ArgumentTypeError(f"{text} is less than {LARGEST_BATCH}, the entities of the largest batch")
    return value


def _target(text: str) -> Target:
    try:
        return given_target(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
