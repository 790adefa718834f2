"""More than the broker takes: the rest is refused with 503 and Retry-After, what was taken is kept, life goes on."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable

import aiohttp

from benchmarks.figures import measure, percentile
from benchmarks.jobs import HttpJob, Log, Timing, run_job
from benchmarks.population import INITIAL_VALUE, MEASURED, Population
from benchmarks.scenarios import Operation
from broker.local import LocalBroker
from tests.conftest import RunningBroker
from tests.faults.harness import API, Note, client_of, metric
from tests.problems import assert_problem

BROKER_SETTINGS = {"max_queue": 20, "groups_in_flight": 1, "group_max": 10}
REQUESTS = 600


async def create(client: aiohttp.ClientSession, entity_id: str) -> int:
    """Create an entity; a refusal has to be a problem that says when to come again."""
    entity = {"id": entity_id, "type": "T", "n": {"type": "Property", "value": entity_id}}
    async with client.post(f"{API}/entities", json=entity) as answer:
        if answer.status != 201:
            problem = await assert_problem(answer, 503, "InternalError")
            assert "overloaded" in problem["detail"]
        return answer.status


async def test_past_its_queue_the_broker_refuses_keeps_what_it_took_and_serves_right_after(
    broker: RunningBroker, note: Note
) -> None:
    names = [f"urn:ngsi-ld:T:flood{number}" for number in range(REQUESTS)]
    async with client_of(broker.local, connections=300) as client:
        statuses = await asyncio.gather(*(create(client, name) for name in names))
        began = time.monotonic()
        assert await create(client, "urn:ngsi-ld:T:after") == 201
        after = time.monotonic() - began
        acknowledged = {name for name, status in zip(names, statuses, strict=True) if status == 201}
        kept = await existing(client, names)
        note(
            "overload",
            requests=REQUESTS,
            acknowledged=len(acknowledged),
            lost=len(acknowledged - kept),
            refused=REQUESTS - len(acknowledged),
            next=f"{1000 * after:.0f} ms",
        )
        assert len(acknowledged) < REQUESTS, "the queue was never full: the test proves nothing"
        assert kept == acknowledged, "what was refused did not happen, what was acknowledged did"
        assert after < 1
        assert await metric(client, "vela_commit_queue_length") == 0


async def test_a_refused_update_succeeds_when_it_is_tried_again(broker: RunningBroker) -> None:
    async def until_taken(client: aiohttp.ClientSession, name: str) -> int:
        attempts = 1
        while await create(client, name) != 201:
            attempts += 1
            await asyncio.sleep(0.05)
        return attempts

    async with client_of(broker.local, connections=300) as client:
        names = [f"urn:ngsi-ld:T:again{number}" for number in range(300)]
        attempts = await asyncio.gather(*(until_taken(client, name) for name in names))

        assert max(attempts) > 1, "the queue was never full: the test proves nothing"
        assert await existing(client, names) == set(names)


class Flood:
    """Updates of many entities by one program that sends as fast as it gets answers, over so many connections."""

    def __init__(self, broker: LocalBroker, population: Population) -> None:
        self._broker = broker
        self._population = population
        self._next = INITIAL_VALUE + 1

    async def run(self, connections: int, seconds: float) -> Log:
        operation = Operation("PATCH", f"{API}/entities/{{id}}/attrs", "attributes", changes=MEASURED)
        log = await run_job(
            "benchmarks.load_generator",
            HttpJob(
                host="127.0.0.1",
                port=self._broker.settings.port,
                operation=operation,
                population=self._population,
                connections=connections,
                timing=Timing(warm_up=0.5, seconds=seconds),
                first_sequence=self._next,
                watched={},
            ),
        )
        self._next += len(log.sent)
        return log


async def test_under_many_times_its_capacity_a_broker_answers_in_time_stays_small_and_recovers_at_once(
    start_broker: Callable[..., LocalBroker], note: Note
) -> None:
    # So slow on purpose that one load generator asks for many times what can be committed.
    local = await asyncio.to_thread(start_broker, group_max=4, groups_in_flight=1, max_wait=0.1)
    seconds = float(os.environ.get("VELA_OVERLOAD_SECONDS") or 4)
    population = Population("overload", 500)
    async with client_of(local) as client:
        for start in range(0, population.size, 100):
            batch = [population.entity(index) for index in range(start, start + 100)]
            async with client.post(f"{API}/entityOperations/create", json=batch) as answer:
                assert answer.status == 201
        flood = Flood(local, population)
        before = rate_of(await flood.run(64, 2))
        small = await metric(client, "process_resident_memory_bytes")
        overload = await flood.run(3_000, seconds)
        grown = await metric(client, "process_resident_memory_bytes") - small
        after = rate_of(await flood.run(64, 2))
    statuses = Counter(overload.statuses)
    accepted = sorted(
        answered - sent
        for sent, answered, status in zip(overload.sent, overload.answered, overload.statuses, strict=True)
        if status == 204
    )
    note(
        f"{seconds:g} s of overload",
        capacity=f"{before:.0f}/s",
        asked=f"{len(overload.sent) / seconds / before:.1f} times that",
        accepted=f"{statuses[204] / seconds:.0f}/s",
        refused=statuses[503],
        p99_of_accepted=f"{1000 * percentile(accepted, 0.99):.0f} ms",
        memory=f"{grown / 2**20:+.0f} MiB",
        after=f"{after:.0f}/s",
    )
    assert set(statuses) <= {204, 503}
    assert statuses[503] > statuses[204], "there was no overload: the test proves nothing"
    assert percentile(accepted, 0.99) < 5
    assert grown < 64 * 2**20
    assert after > before / 2


def rate_of(log: Log) -> float:
    """Acknowledged updates a second."""
    return measure(log, 1).requests_per_second


async def existing(client: aiohttp.ClientSession, names: list[str]) -> set[str]:
    """Those of the entities that exist."""
    found: set[str] = set()
    for start in range(0, len(names), 100):
        some = names[start : start + 100]
        async with client.get(f"{API}/entities", params={"id": ",".join(some), "type": "T", "limit": "100"}) as answer:
            assert answer.status == 200, await answer.text()
            found |= {entity["id"] for entity in await answer.json()}
    return found
