"""More than the broker takes: the rest is refused with 503 and Retry-After, what was taken is kept, life goes on."""

import asyncio
import time

import aiohttp

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


async def existing(client: aiohttp.ClientSession, names: list[str]) -> set[str]:
    """Those of the entities that exist."""
    found: set[str] = set()
    for start in range(0, len(names), 100):
        some = names[start : start + 100]
        async with client.get(f"{API}/entities", params={"id": ",".join(some), "type": "T", "limit": "100"}) as answer:
            assert answer.status == 200, await answer.text()
            found |= {entity["id"] for entity in await answer.json()}
    return found
