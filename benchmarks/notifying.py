"""What subscriptions cost the update path, and how soon and how surely they are told: `python -m benchmarks.notifying`.

Three Vela workers over one MongoDB take turns under the same load, updates of two attributes of one entity:

    plain       without subscriptions: the rate that the others are measured by
    crowded     with very many subscriptions of which none matches
    notifying   with one subscription that every update fires, over HTTP to a receiver that counts

Then `notifying` gets half the rate that it reached, paced, and the time from each acknowledgement to the receipt of its
notification is taken. Ends with 1 where a notification of an acknowledged update is missing.
"""

import argparse
import asyncio
import pickle
import secrets
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import aiohttp
import orjson
import uvloop

from benchmarks.api import BrokerApi
from benchmarks.contest import Contestant, finish, table, turns
from benchmarks.errors import BenchmarkError
from benchmarks.figures import ACKNOWLEDGED, Figures, measure, percentile
from benchmarks.jobs import Log, Timing
from benchmarks.machine import describe
from benchmarks.population import ENTITY_TYPE, MEASURED, Population
from benchmarks.processes import free_port, python_server
from benchmarks.receiver import Received
from benchmarks.scenarios import ENTITIES, Operation
from benchmarks.targets import Target, database, vela

UPDATE = Operation("PATCH", ENTITIES + "/{id}/attrs", "attributes", changes=MEASURED)
SUBSCRIPTIONS = "/ngsi-ld/v1/subscriptions"
PLAIN, CROWDED, NOTIFYING = "plain", "crowded", "notifying"
_AT_ONCE = 16
_OTHER_ATTRIBUTES = 200
_DELIVERY_SECONDS = 120.0


@dataclass(frozen=True)
class Told:
    """What became of the notifications of one load; times in seconds, negative where one came before its answer."""

    owed: int
    missing: int
    duplicates: int
    drained: float
    delay_p50: float
    delay_p99: float


@dataclass(frozen=True)
class NotifyingRun:
    """A whole run: the figures by server, round by round, and the notifications of each load that owes some."""

    date: str
    machine: dict[str, str]
    options: dict[str, str]
    rounds: dict[str, list[Figures]]
    told: list[Told]
    paced_rate: float
    paced: Told

    @property
    def missing(self) -> int:
        """Notifications of acknowledged updates that did not come."""
        return sum(one.missing for one in (*self.told, self.paced))


def told(log: Log, received: Received, drained: float) -> Told:
    """What became of the notifications that the acknowledged updates of `log` owe."""
    first: dict[int, float] = {}
    for sequence, moment in zip(received.sequences, received.moments, strict=True):
        first.setdefault(sequence, moment)
    owed = {
        log.first_sequence + number: log.answered[number]
        for number, status in enumerate(log.statuses)
        if status in ACKNOWLEDGED
    }
    delays = sorted(first[one] - moment for one, moment in owed.items() if one in first and moment >= log.started)
    return Told(
        owed=len(owed),
        missing=len(owed.keys() - first.keys()),
        duplicates=len(received.sequences) - len(first),
        drained=drained,
        delay_p50=percentile(delays, 0.5),
        delay_p99=percentile(delays, 0.99),
    )


def unmatched(index: int) -> dict[str, Any]:
    """A subscription that no update of the load fires: to other attributes of the type, or to other types."""
    type_name = ENTITY_TYPE if index % 2 == 0 else f"Other{index % 50}"
    return _subscription(type_name, f"other{index % _OTHER_ATTRIBUTES}", f"http://127.0.0.1:9/{index % 1_000}")


def _subscription(type_name: str, attribute: str, uri: str) -> dict[str, Any]:
    return {
        "type": "Subscription",
        "entities": [{"type": type_name}],
        "watchedAttributes": [attribute],
        "notification": {"attributes": [attribute], "endpoint": {"uri": uri, "accept": "application/json"}},
    }


class _Bench:
    """The processes of a run, and what they are asked for."""

    def __init__(self, options: argparse.Namespace, session: aiohttp.ClientSession, receiver: str) -> None:
        self._options = options
        self._session = session
        self._receiver = receiver
        self._timing = Timing(warm_up=options.warm_up, seconds=options.seconds)

    async def prepare(self, contestants: dict[str, Contestant], population: Population) -> None:
        """Create the entities and the subscriptions."""
        for name, contestant in contestants.items():
            api = BrokerApi(name, contestant.target.url, self._session)
            await api.wait_until_ready()
            await api.create(population)
        fired = _subscription(ENTITY_TYPE, MEASURED[0], f"{self._receiver}/notify")
        await self._subscribe(contestants[NOTIFYING].target, [fired])
        crowd = [unmatched(index) for index in range(self._options.subscriptions)]
        await self._subscribe(contestants[CROWDED].target, crowd)

    async def measure(self, contestants: dict[str, Contestant]) -> NotifyingRun:
        """All rounds, in the opposite order every other time, then the paced load."""
        rounds: dict[str, list[Figures]] = {name: [] for name in contestants}
        notified: list[Told] = []
        for name in turns(list(contestants), self._options.rounds):
            log = await contestants[name].run(self._timing)
            rounds[name].append(measure(log, 1))
            if name == NOTIFYING:
                notified.append(await self._told(log))
        rate = median(one.requests_per_second for one in rounds[NOTIFYING]) / 2
        paced = await self._told(await contestants[NOTIFYING].run(self._timing, rate))
        given = {name: str(getattr(self._options, name)) for name in ("seconds", "rounds", "entities", "subscriptions")}
        return NotifyingRun(datetime.now(UTC).date().isoformat(), {}, given, rounds, notified, rate, paced)

    async def _subscribe(self, target: Target, subscriptions: Sequence[dict[str, Any]]) -> None:
        waiting = iter(subscriptions)

        async def create() -> None:
            for one in waiting:
                async with self._session.post(target.url + SUBSCRIPTIONS, json=one) as answer:
                    if answer.status != 201:
                        raise BenchmarkError(f"{target.name} answers {answer.status}: {await answer.text()}")

        await asyncio.gather(*(create() for _ in range(_AT_ONCE)))

    async def _told(self, log: Log) -> Told:
        """Wait until nothing more comes, at most two minutes, then see what came."""
        ended = monotonic()
        owed = sum(status in ACKNOWLEDGED for status in log.statuses)
        while int(await self._ask("/count")) < owed and monotonic() - ended < _DELIVERY_SECONDS:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        drained = monotonic() - ended
        received: Received = pickle.loads(await self._ask("/received"))
        return told(log, received, drained)

    async def _ask(self, path: str) -> bytes:
        async with self._session.get(self._receiver + path) as answer:
            return await answer.read()


def report(run: NotifyingRun) -> str:
    """The run as a table, and what is to be said about the notifications."""
    lines = [table(run.rounds, PLAIN), ""]
    lines += [
        f"{NOTIFYING}, round {number}: {one.owed:,} owed, {one.missing:,} missing, {one.duplicates:,} duplicates; "
        f"the last came {one.drained:.1f} s after the load."
        for number, one in enumerate(run.told, 1)
    ]
    paced = run.paced
    lines.append(
        f"{NOTIFYING} at {run.paced_rate:,.0f} updates/s: {paced.owed:,} owed, {paced.missing:,} missing, "
        f"{paced.duplicates:,} duplicates; from acknowledgement to receipt p50 {1000 * paced.delay_p50:.1f} ms, "
        f"p99 {1000 * paced.delay_p99:.1f} ms."
    )
    return "\n".join(lines)


async def _run(options: argparse.Namespace, targets: dict[str, Target], receiver: str) -> NotifyingRun:
    population = Population(secrets.token_hex(3), options.entities)
    contestants = {name: Contestant(one, population, UPDATE, options.connections) for name, one in targets.items()}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        bench = _Bench(options, session, receiver)
        await bench.prepare(contestants, population)
        return await bench.measure(contestants)


def run(options: argparse.Namespace) -> NotifyingRun:
    """Start everything, measure, and end everything. BenchmarkError where that cannot be."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vela-benchmarks-")))
        mongo = stack.enter_context(database(options.mongo_uri, folder))
        targets = {}
        for name in (PLAIN, CROWDED, NOTIFYING):
            (folder / name).mkdir()
            targets[name] = stack.enter_context(vela(mongo, folder / name))
        port = free_port()
        stack.enter_context(python_server(["benchmarks.receiver", "--port", str(port)], port, folder / "receiver.log"))
        measured = uvloop.run(_run(options, targets, f"http://127.0.0.1:{port}"))
        measured.machine.update(describe(mongo.version))
        return measured


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; ends the process with a message where they cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.notifying",
        description="Measure what subscriptions cost the update path, and how soon notifications come.",
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a round (default: 5)")
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds before each round (default: 1)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds for each server (default: 3)")
    parser.add_argument("--connections", type=int, default=64, help="connections at a time (default: 64)")
    parser.add_argument("--entities", type=int, default=10_000, help="entities to work on (default: 10000)")
    parser.add_argument(
        "--subscriptions", type=int, default=10_000, help="subscriptions of which none matches (default: 10000)"
    )
    parser.add_argument("--mongo-uri", help="the MongoDB replica set to use instead of a private one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code of the process."""
    options = parse(arguments)

    def measure_all() -> bool:
        result = run(options)
        print(report(result))
        if options.json:
            options.json.write_bytes(orjson.dumps(asdict(result), option=orjson.OPT_INDENT_2))
        return not result.missing

    return finish(measure_all)


if __name__ == "__main__":
    sys.exit(main())
