"""Who takes turns: a server under HTTP load, or the database under raw commands."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from benchmarks.jobs import HttpJob, Log, MongoJob, Timing, run_job
from benchmarks.population import INITIAL_VALUE, Population
from benchmarks.scenarios import Operation, RawUpdates
from benchmarks.targets import Database, Target

T = TypeVar("T")


def turns(contestants: Sequence[T], rounds: int) -> Iterator[T]:
    """Whose turn it is, all rounds through: in the opposite order every other time, as a machine's speed drifts."""
    for number in range(rounds):
        yield from contestants if number % 2 == 0 else reversed(contestants)


class HttpContestant:
    """A server under load: a target, or the bare server."""

    def __init__(self, target: Target, population: Population) -> None:
        self.name = target.name
        self.target = target
        self.population = population
        self._next_sequence = INITIAL_VALUE + 1

    async def run(
        self,
        operation: Operation,
        connections: int,
        timing: Timing,
        pages: tuple[str, ...] = (),
        rate: float = 0.0,
    ) -> Log:
        """One load; `rate` is in requests/s, 0 for as many as are answered."""
        log = await run_job(
            "benchmarks.load_generator",
            HttpJob(
                host=self.target.host,
                port=self.target.port,
                operation=operation,
                population=self.population,
                connections=connections,
                timing=timing,
                first_sequence=self._next_sequence,
                watched=dict(self.target.watched),
                pages=pages,
                rate=rate,
            ),
        )
        self._next_sequence += len(log.sent)
        return log

    def entities(self, operation: Operation) -> int:
        """How many entities a request is about."""
        return operation.entities


class RawContestant:
    """The database under load from pre-encoded commands."""

    def __init__(self, ceiling: RawUpdates, mongo: Database, database: str, population: Population) -> None:
        self._statements = min(ceiling.statements, population.size)
        self.name = f"{ceiling.title} ({self._statements} a command)"
        self._in_flight = ceiling.in_flight
        self._mongo = mongo
        self._database = database
        self._population = population

    async def run(self, operation: Operation, _connections: int, timing: Timing, _pages: tuple[str, ...] = ()) -> Log:
        """One load. It has no connections of clients: how many the brokers have does not concern it."""
        return await run_job(
            "benchmarks.raw_updates",
            MongoJob(
                mongo_uri=self._mongo.uri,
                database=self._database,
                population=self._population,
                changes=operation.changes,
                statements=self._statements,
                in_flight=self._in_flight,
                timing=timing,
                watched=self._mongo.watched,
            ),
        )

    def entities(self, _operation: Operation) -> int:
        """How many entities a command is about."""
        return self._statements


Contestant = HttpContestant | RawContestant
