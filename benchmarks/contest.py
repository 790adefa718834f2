"""Running a contest: its servers are burdened, its entrants take turns, and each load is read back."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import aiohttp
import uvloop

from benchmarks.burdens import BurdenedBroker, burdened_vela
from benchmarks.contestants import turns
from benchmarks.contests import Contest, Entrant, Server
from benchmarks.figures import Figures, measure
from benchmarks.jobs import Log, Timing
from benchmarks.processes import free_port, python_server
from benchmarks.results import Comparison, ContestResult, Measured, Told
from benchmarks.subscriptions import ReceiverApi
from benchmarks.targets import Target, database
from benchmarks.verification import Verdict

_REQUEST_TIMEOUT = 60.0


@dataclass(frozen=True)
class Pace:
    """How long a contest goes, over how many connections (None: as it says), with how many entities (or as it says)."""

    timing: Timing
    rounds: int
    connections: int | None
    entities: int


@dataclass
class _Record:
    """What an entrant did so far."""

    rounds: list[Figures] = field(default_factory=list)
    verdict: Verdict | None = None


class _Ring:
    """One contest over its brokers, by the servers that they stand for."""

    def __init__(
        self, contest: Contest, pace: Pace, brokers: dict[Server, BurdenedBroker], receiver: ReceiverApi | None
    ) -> None:
        self._contest = contest
        self._pace = pace
        self._connections = pace.connections or contest.connections
        self._brokers = brokers
        self._receiver = receiver
        self._records = {entrant: _Record() for entrant in contest.entrants}
        self._told: list[Told] = []

    async def compete(self, stages: Sequence[Sequence[Server]]) -> ContestResult:
        """All rounds of the entrants on the servers of each stage; those of a stage stand beside each other."""
        for servers in stages:
            for server in servers:
                entities = server.entities or self._pace.entities
                endpoint = self._receiver.endpoint if self._receiver else None
                await self._brokers[server].bear(server, entities, endpoint)
            entrants = [entrant for entrant in self._contest.entrants if entrant.server in servers]
            for entrant in turns(entrants, self._pace.rounds):
                await self._load(entrant)
        for entrant in self._contest.entrants:
            if entrant.server.notified:
                reached = median(one.requests_per_second for one in self._records[entrant].rounds)
                await self._load(entrant, reached / 2)
        first, *others = self._contest.entrants
        return ContestResult(
            Comparison(
                self._contest.name,
                self._contest.title,
                self._connections,
                self._measured(first),
                tuple(self._measured(one) for one in others),
            ),
            self._contest.about,
            self._contest.unit,
            {one.name: one.size for one in self._contest.entrants if one.size is not None},
            tuple(self._told),
        )

    async def _load(self, entrant: Entrant, rate: float = 0.0) -> None:
        broker = self._brokers[entrant.server]
        log = await broker.contestant.run(entrant.operation, self._connections, self._pace.timing, rate=rate)
        record = self._records[entrant]
        if not rate:
            record.rounds.append(measure(log, entrant.operation.entities))
        await self._hear(entrant, log, rate)
        record.verdict = (await broker.verify(entrant.operation, log)).plus(record.verdict)

    async def _hear(self, entrant: Entrant, log: Log, rate: float) -> None:
        if self._receiver is not None and entrant.server.notified:
            self._told.append(await self._receiver.told(log, rate or None))

    def _measured(self, entrant: Entrant) -> Measured:
        record = self._records[entrant]
        return Measured(entrant.name, tuple(record.rounds), record.verdict)


def run_on_velas(contest: Contest, pace: Pace, mongo_uri: str | None, machine: dict[str, str]) -> ContestResult:
    """Run a contest between Velas that stand beside each other, over one MongoDB: a private one unless one is given.

    The version of MongoDB is added to the description of the `machine`.
    Raises BenchmarkError where it cannot go on.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vela-benchmarks-")))
        mongo = stack.enter_context(database(mongo_uri, folder))
        machine["MongoDB"] = mongo.version
        targets = {server: stack.enter_context(burdened_vela(mongo, folder, server)) for server in contest.servers}
        receiver = _receiver(contest, folder, stack)

        async def compete() -> ContestResult:
            async with _session() as session:
                brokers = {
                    server: BurdenedBroker(target, session, server.subscriptions) for server, target in targets.items()
                }
                api = ReceiverApi(receiver, session) if receiver else None
                return await _Ring(contest, pace, brokers, api).compete([contest.servers])

        return uvloop.run(compete())


def run_on_target(contest: Contest, pace: Pace, target: Target) -> ContestResult:
    """Run a contest on one broker that runs already: it bears one burden after the other, and is cleaned at the end.

    Raises BenchmarkError where it cannot go on.
    """
    contest = replace(contest, name=f"{contest.name}-{target.name}", title=f"{contest.title}: {target.name}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vela-benchmarks-")))
        receiver = _receiver(contest, folder, stack)

        async def compete() -> ContestResult:
            async with _session() as session:
                broker = BurdenedBroker(target, session)
                api = ReceiverApi(receiver, session) if receiver else None
                ring = _Ring(contest, pace, dict.fromkeys(contest.servers, broker), api)
                try:
                    return await ring.compete([[server] for server in contest.servers])
                finally:
                    await broker.clean()

        return uvloop.run(compete())


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_REQUEST_TIMEOUT))


def _receiver(contest: Contest, folder: Path, stack: ExitStack) -> str | None:
    if not any(server.notified for server in contest.servers):
        return None
    port = free_port()
    stack.enter_context(python_server(["benchmarks.receiver", "--port", str(port)], port, folder / "receiver.log"))
    return f"http://127.0.0.1:{port}"
