"""The command line of the suite."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from benchmarks.contest import Pace, run_on_target, run_on_velas
from benchmarks.contests import CONTESTS, Contest, contest_names
from benchmarks.errors import exit_code
from benchmarks.jobs import Timing
from benchmarks.machine import describe
from benchmarks.page import write_page, write_pictures
from benchmarks.pictures import pictures
from benchmarks.report import as_json, between_table, contest_text, scenario_text, tables
from benchmarks.results import Comparison, ContestResult, RunResult
from benchmarks.runner import Plan, open_run
from benchmarks.scenarios import SCENARIOS, Scenario, scenario_names
from benchmarks.targets import Database, Target, database, given_target, vela, vela_database

_MOST = 1_000_000


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; ends the process with a message where they cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure an NGSI-LD broker beside the most that this machine could do. Without --target it starts "
        "Vela workers over a private MongoDB. Without --scenario, --contest and --everything all scenarios run. Ends "
        "with 1 where an acknowledged write or a notification was lost, or a right update refused.",
    )
    parser.add_argument(
        "--scenario", action="append", choices=scenario_names(), default=[], help="run this one (may be repeated)"
    )
    parser.add_argument(
        "--contest", action="append", choices=contest_names(), default=[], help="run this one (may be repeated)"
    )
    parser.add_argument("--everything", action="store_true", help="run all scenarios and all contests")
    parser.add_argument("--seconds", type=_positive_number, default=4.0, help="length of a round (default: 4)")
    parser.add_argument("--warm-up", type=_positive_number, default=1.0, help="seconds before each round (default: 1)")
    parser.add_argument("--rounds", type=_positive_integer, default=3, help="rounds for each server (default: 3)")
    parser.add_argument(
        "--connections",
        type=_positive_integer,
        action="append",
        help="connections at a time (may be repeated, contests take the first; default: what each scenario names)",
    )
    parser.add_argument(
        "--entities", type=_positive_integer, default=10_000, help="entities to work on (default: 10000)"
    )
    parser.add_argument(
        "--most",
        type=_positive_integer,
        default=_MOST,
        help="leave out of the contests those with more subscriptions or entities than this",
    )
    parser.add_argument(
        "--target",
        type=_target,
        action="append",
        default=[],
        metavar="NAME=URL",
        help="a running broker, as http://HOST:PORT (may be repeated: they take turns)",
    )
    parser.add_argument("--mongo-uri", help="the MongoDB replica set to use instead of a private one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="write a Markdown page, such as docs/performance.md, and its plots"
    )
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write all plots as SVG into this folder")
    options = parser.parse_args(arguments)
    largest = max((scenario.operation.entities for scenario in _scenarios(options)), default=1)
    if options.entities < largest:
        parser.error(f"--entities {options.entities} is less than {largest}, the entities of the largest request")
    if options.target and (unfit := [one.name for one in CONTESTS if one.name in options.contest and one.only_vela]):
        parser.error(f"--contest {unfit[0]} needs Velas that it starts itself: leave --target out")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite; the exit code of the process."""
    options = parse(arguments)
    given = " ".join(sys.argv[1:] if arguments is None else arguments)
    return exit_code(lambda: _run(options, f"python -m benchmarks {given}".rstrip()))


def _run(options: argparse.Namespace, command: str) -> bool:
    """Whether all went right."""
    machine = describe(None)
    scenarios = _run_scenarios(options, machine) if _scenarios(options) else ()
    contests = tuple(result for contest in _contests(options) for result in _run_contest(options, contest, machine))
    run = RunResult(
        date=datetime.now(UTC).date().isoformat(),
        command=command,
        machine=machine,
        options={
            "seconds": f"{options.seconds:g}",
            "warm_up": f"{options.warm_up:g}",
            "rounds": str(options.rounds),
            "entities": f"{options.entities:,}",
        },
        scenarios=scenarios,
        contests=contests,
    )
    if options.json:
        options.json.write_bytes(as_json(run))
    if options.write:
        write_page(run, options.write)
    if options.plots:
        write_pictures(pictures(run), options.plots)
    return not run.failed


def _scenarios(options: argparse.Namespace) -> tuple[Scenario, ...]:
    if options.everything or not (options.scenario or options.contest):
        return SCENARIOS
    return tuple(scenario for scenario in SCENARIOS if scenario.name in options.scenario)


def _contests(options: argparse.Namespace) -> list[Contest]:
    """Those that are asked for; of everything, those that the targets allow."""
    if not options.everything:
        return [contest for contest in CONTESTS if contest.name in options.contest]
    return [contest for contest in CONTESTS if not (options.target and contest.only_vela)]


def _run_scenarios(options: argparse.Namespace, machine: dict[str, str]) -> tuple[Comparison, ...]:
    plan = Plan(
        scenarios=_scenarios(options),
        connections=tuple(options.connections or ()),
        timing=Timing(warm_up=options.warm_up, seconds=options.seconds),
        rounds=options.rounds,
        entities=options.entities,
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vela-benchmarks-")))
        mongo = None
        targets: list[Target] = options.target
        if plan.needs_database or not targets:
            mongo = stack.enter_context(database(options.mongo_uri, folder))
            machine["MongoDB"] = mongo.version
            if not targets:
                name = stack.enter_context(vela_database(mongo))
                targets = [stack.enter_context(vela(mongo, folder, name))]
        return uvloop.run(_measure(plan, targets, mongo, folder, clean=bool(options.target)))


async def _measure(
    plan: Plan, targets: Sequence[Target], mongo: Database | None, folder: Path, *, clean: bool
) -> tuple[Comparison, ...]:
    results: list[Comparison] = []
    print(f"creating {plan.entities:,} entities in {', '.join(target.name for target in targets)}", flush=True)
    async with open_run(plan, targets, mongo, folder, clean=clean) as run:
        async for result in run.scenarios():
            results.append(result)
            print(f"\n{scenario_text(result)}", flush=True)
    if len(results) > 1:
        parts = ["\nAll scenarios", *tables(results), between_table(results)]
        print("\n\n".join(part for part in parts if part), flush=True)
    return tuple(results)


def _run_contest(options: argparse.Namespace, contest: Contest, machine: dict[str, str]) -> list[ContestResult]:
    contest = contest.up_to(options.most)
    pace = Pace(
        timing=Timing(warm_up=options.warm_up, seconds=options.seconds),
        rounds=options.rounds,
        connections=options.connections[0] if options.connections else None,
        entities=options.entities,
    )
    print(f"\n{contest.title}: preparing {', '.join(server.name for server in contest.servers)}", flush=True)
    if options.target:
        results = [run_on_target(contest, pace, target) for target in options.target]
    else:
        results = [run_on_velas(contest, pace, options.mongo_uri, machine)]
    for result in results:
        print(f"\n{contest_text(result)}", flush=True)
    return results


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


def _target(text: str) -> Target:
    try:
        return given_target(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
