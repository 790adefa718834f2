"""Running scenarios: the ceiling and each target in turn, several rounds, then the read-back."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from benchmarks import raw_updates
from benchmarks.api import BrokerApi
from benchmarks.contestants import Contestant, HttpContestant, RawContestant, turns
from benchmarks.figures import ACKNOWLEDGED, measure
from benchmarks.jobs import Log, Timing
from benchmarks.population import ENTITY_TYPE, Population
from benchmarks.results import Comparison, Measured
from benchmarks.scenarios import ENTITIES, BareHttp, RawUpdates, Scenario
from benchmarks.targets import Database, Target, bare_aiohttp
from benchmarks.verification import Verdict, verify

_REQUEST_TIMEOUT = 60.0


@dataclass(frozen=True)
class Plan:
    """What to run, and how long."""

    scenarios: tuple[Scenario, ...]
    connections: tuple[int, ...]
    """Instead of the numbers of connections that the scenarios name; empty: those."""
    timing: Timing
    rounds: int
    entities: int

    @property
    def needs_database(self) -> bool:
        """Whether a ceiling is that of the database."""
        return any(isinstance(scenario.ceiling, RawUpdates) for scenario in self.scenarios)


@dataclass
class Run:
    """One run over some targets, whose entities exist already (see `open_run`)."""

    plan: Plan
    population: Population
    targets: Sequence[tuple[HttpContestant, BrokerApi]]
    bare: HttpContestant
    mongo: Database | None
    """Where the ceilings of the database are measured; None where the plan has none of them."""
    raw_database: str
    created: dict[str, list[str]] = field(default_factory=dict)
    """By target: the ids of the entities that create requests created."""

    async def scenarios(self) -> AsyncIterator[Comparison]:
        """Run the plan, scenario by scenario."""
        for scenario in self.plan.scenarios:
            for connections in self.plan.connections or scenario.connections:
                yield await self.scenario(scenario, connections)

    async def scenario(self, scenario: Scenario, connections: int) -> Comparison:
        """Run one scenario over one number of connections.

        Ceiling and targets take turns, in the opposite order every other round, because the machine's speed drifts.
        """
        ceiling = self._ceiling(scenario)
        contestants: list[Contestant] = [ceiling, *(contestant for contestant, _ in self.targets)]
        logs: dict[Contestant, list[Log]] = {contestant: [] for contestant in contestants}
        pages = [await self._pages(scenario, api) for _, api in self.targets]
        pages.insert(0, pages[0])  # the ceiling is asked for those of the first target
        for contestant, asked in turns(list(zip(contestants, pages, strict=True)), self.plan.rounds):
            logs[contestant].append(await contestant.run(scenario.operation, connections, self.plan.timing, asked))

        def measured(contestant: Contestant, verdict: Verdict | None) -> Measured:
            entities = contestant.entities(scenario.operation)
            return Measured(contestant.name, tuple(measure(log, entities) for log in logs[contestant]), verdict)

        return Comparison(
            scenario.name,
            scenario.title,
            connections,
            measured(ceiling, None),
            tuple(
                [
                    measured(contestant, await self._verify(scenario, contestant.name, api, logs[contestant]))
                    for contestant, api in self.targets
                ]
            ),
        )

    async def _pages(self, scenario: Scenario, api: BrokerApi) -> tuple[str, ...]:
        operation = scenario.operation
        if not operation.pages:
            return ()
        return tuple(await api.pages(operation.path.format(type=ENTITY_TYPE), operation.pages))

    def _ceiling(self, scenario: Scenario) -> Contestant:
        match scenario.ceiling:
            case BareHttp():
                return self.bare
            case RawUpdates() as raw:
                assert self.mongo is not None
                return RawContestant(raw, self.mongo, self.raw_database, self.population)

    async def clean(self) -> None:
        """Delete everything that the run created in its targets."""
        everything = [self.population.entity_id(index) for index in range(self.population.size)]
        for contestant, api in self.targets:
            await api.delete(everything + self.created.get(contestant.name, []))

    async def _verify(self, scenario: Scenario, name: str, api: BrokerApi, logs: Sequence[Log]) -> Verdict | None:
        operation = scenario.operation
        if not operation.changes:
            return None
        if operation.body == "new entity":
            created = self.created.setdefault(name, [])
            for log in logs:
                numbers = (n for n, status in enumerate(log.statuses) if status in ACKNOWLEDGED)
                created += (self.population.new_entity_id(log.first_sequence + n) for n in numbers)
        return await verify(api, operation, self.population, logs)


@asynccontextmanager
async def open_run(
    plan: Plan, targets: Sequence[Target], mongo: Database | None, folder: Path, *, clean: bool
) -> AsyncIterator[Run]:
    """A run whose entities exist in every target; with `clean` they are deleted again when the block ends."""
    population = Population(secrets.token_hex(3), plan.entities)
    async with AsyncExitStack() as stack:
        timeout = aiohttp.ClientTimeout(total=_REQUEST_TIMEOUT)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        apis = [BrokerApi(target.name, target.url, session) for target in targets]
        for api in apis:
            await api.wait_until_ready()
            await api.create(population)
        entity_bytes = await apis[0].answer_bytes(f"{ENTITIES}/{population.entity_id(0)}")
        list_bytes = await apis[0].answer_bytes(f"{ENTITIES}?type={ENTITY_TYPE}&limit=20")
        bare = stack.enter_context(bare_aiohttp(entity_bytes, list_bytes, folder))
        raw_database = f"benchmark_ceiling_{population.run}"
        if mongo is not None and plan.needs_database:
            stack.push_async_callback(raw_updates.drop, mongo.uri, raw_database)
            await raw_updates.fill(mongo.uri, raw_database, population)
        run = Run(
            plan,
            population,
            [(HttpContestant(target, population), api) for target, api in zip(targets, apis, strict=True)],
            HttpContestant(bare, population),
            mongo,
            raw_database,
        )
        if clean:
            stack.push_async_callback(run.clean)
        yield run
