"""`python -m benchmarks.growth`: what a query costs, against the number of entities there are.

It stores the entities straight into a MongoDB, size by size, and asks one Vela worker over it. benchmarks/README.md
says what is measured, `growth_queries.py` is the list.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import Any

import orjson

from benchmarks.crowd import CROWD_TYPE, store
from benchmarks.errors import BenchmarkError, exit_code
from benchmarks.figures import percentile
from benchmarks.growth_queries import EXPORT, EXPORT_NAME, GROWTH_QUERIES, INDEXED, GrowthQuery, growth_names
from benchmarks.growth_results import COLUMNS, Cost, GrowthRun, as_json, as_markdown, rows, verdicts
from benchmarks.machine import describe
from benchmarks.plot import as_svg
from benchmarks.processes import resident_bytes
from benchmarks.report import text_table
from benchmarks.scenarios import ENTITIES
from benchmarks.targets import Target, database, vela, vela_database

SIZES = (1_000, 10_000, 100_000, 1_000_000)

_WARM_UP = 20
_SEED = 4711
_TIMEOUT = 120.0
_NEXT = re.compile(r'<([^<>]*)>;\s*rel="next"')
_MB = 1_000_000


class Asker:
    """One connection to a broker, one request at a time."""

    def __init__(self, target: Target) -> None:
        self._connection = HTTPConnection(target.host, target.port, timeout=_TIMEOUT)

    def ask(self, method: str, path: str, body: object = None) -> tuple[float, bytes, str | None]:
        """The milliseconds until all of the answer was there, its body, and the path of the next page.

        Raises BenchmarkError for an answer that is no success.
        """
        content = None if body is None else orjson.dumps(body)
        headers = {"Accept": "application/json"} | ({} if body is None else {"Content-Type": "application/json"})
        started = perf_counter()
        try:
            self._connection.request(method, path, content, headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException) as error:
            raise BenchmarkError(f"the broker does not answer {method} {path}: {error!r}") from error
        spent = (perf_counter() - started) * 1000
        if not 200 <= answer.status < 300:
            raise BenchmarkError(f"the broker answers {answer.status} to {method} {path}: {text[:500]!r}")
        following = next((found[1] for link in answer.msg.get_all("Link", ()) if (found := _NEXT.search(link))), None)
        return spent, text, following

    def get(self, path: str) -> Any:
        """The JSON value that a GET answers."""
        return orjson.loads(self.ask("GET", path)[1])


def prepare(asker: Asker) -> None:
    """Create the first entity through the broker, which makes its census trust itself, and declare the indexes."""
    asker.ask("POST", ENTITIES, {"id": "urn:ngsi-ld:Growth:first", "type": "GrowthFirst"})
    for attribute in INDEXED:
        asker.ask("POST", "/indexes", {"type": CROWD_TYPE, "attribute": attribute})


def measure(asker: Asker, query: GrowthQuery, size: int, requests: int) -> Cost:
    """Ask one query with random values, again and again."""
    random = Random(f"{_SEED} {query.name} {size}")
    for _ in range(_WARM_UP):
        asker.ask("GET", query.path(random, size))
    path = query.path(random, size)
    found = asker.get(path)
    examined = None
    if query.explained:
        explained = asker.get("/explain?" + path.partition("?")[2])
        examined = max(explained["keysExamined"], explained["documentsExamined"])
        if explained["scans"]:
            raise BenchmarkError(f"{query.name} looks at {examined:,} of {size:,} entities: {explained['advice']}")
    spent = sorted(asker.ask("GET", query.path(random, size))[0] for _ in range(requests))
    count = len(found) if isinstance(found, list) else len(found.get("typeList", (1,)))
    return Cost(query.name, size, requests, *_medians(spent), count, examined)


def export(asker: Asker, target: Target, size: int) -> Cost:
    """Read all entities of the type, page by page, by the links of the broker."""
    server = [target.watched["server"]]
    before = resident_bytes(server)
    spent: list[float] = []
    ids: set[str] = set()
    total = 0
    path: str | None = EXPORT
    while path is not None:
        milliseconds, text, path = asker.ask("GET", path)
        spent.append(milliseconds)
        page = [entity["id"] for entity in orjson.loads(text)]
        total += len(page)
        ids.update(page)
    if len(ids) != total:
        raise BenchmarkError(f"the export of {size:,} entities showed some twice: {total:,} for {len(ids):,}")
    tenth = max(1, len(spent) // 10)
    grown = (resident_bytes(server) - before) / _MB
    first, last = median(spent[:tenth]), median(spent[-tenth - 1 : -1] or spent[-1:])
    return Cost(EXPORT_NAME, size, len(spent), *_medians(sorted(spent)), total // len(spent), None, first, last, grown)


def _medians(ordered: Sequence[float]) -> tuple[float, float, float]:
    return percentile(ordered, 0.5), percentile(ordered, 0.9), percentile(ordered, 0.99)


def run(options: argparse.Namespace) -> GrowthRun:
    """The whole run."""
    wanted = options.query or growth_names()
    costs: list[Cost] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vela-growth-")))
        mongo = stack.enter_context(database(options.mongo_uri, folder))
        name = stack.enter_context(vela_database(mongo))
        target = stack.enter_context(vela(mongo, folder, name))
        asker = Asker(target)
        prepare(asker)
        stored = 0
        for size in sorted(set(options.sizes)):
            started = perf_counter()
            store(mongo.uri, name, stored, size)
            print(
                f"\n{size:,} entities, {size - stored:,} of them stored in {perf_counter() - started:.0f} s", flush=True
            )
            stored = size
            at_size = [
                measure(asker, query, size, options.requests) for query in GROWTH_QUERIES if query.name in wanted
            ]
            if EXPORT_NAME in wanted:
                at_size.append(export(asker, target, size))
            print(text_table(COLUMNS, rows(at_size)), flush=True)
            costs += at_size
        return GrowthRun(
            date=datetime.now(UTC).date().isoformat(),
            machine=describe(mongo.version),
            options={"requests": f"{options.requests:,}"},
            costs=tuple(costs),
        )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; ends the process with a message where they cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description="Measure what queries cost against the number of entities, on one Vela worker.",
    )
    parser.add_argument(
        "--sizes", type=_sizes, default=SIZES, help="numbers of entities, separated by commas (default: 10^3 to 10^6)"
    )
    parser.add_argument("--query", action="append", choices=growth_names(), help="only this one (may be repeated)")
    parser.add_argument("--requests", type=int, default=300, help="requests of a kind at each size (default: 300)")
    parser.add_argument("--mongo-uri", help="the MongoDB replica set to use instead of a private one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file")
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FILE",
        help="write a Markdown page, such as docs/growth.md, and its plot beside it",
    )
    return parser.parse_args(arguments)


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(part) for part in text.split(","))
    if min(sizes) < 100:
        raise argparse.ArgumentTypeError(f"{text} has a number below 100, the entities that a query is to choose from")
    return sizes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code of the process."""
    options = parse(arguments)

    def measure_all() -> bool:
        result = run(options)
        print("\n" + "\n".join(verdicts(result)))
        if options.json:
            options.json.write_bytes(as_json(result))
        if options.write:
            plot = options.write.with_suffix(".svg")
            lines = {name: [(cost.size, cost.median_ms) for cost in result.of(name)] for name in result.names}
            plot.write_text(as_svg("Cost of a query", "entities", "milliseconds (median)", lines))
            options.write.write_text(as_markdown(result, plot.name))
        return True

    return exit_code(measure_all)


if __name__ == "__main__":
    sys.exit(main())
