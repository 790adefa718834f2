"""What a worker takes, with as much in the database and in its caches as a city has.

VELA_TEST_MEMORY_ENTITIES=1000000 asks for the whole of it (some minutes, 2 GB on disk): a million entities stored,
50,000 of them in the cache of commits, 10,000 subscriptions. Without it a two-hundredth is tried.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.crowd import crowd_id, crowd_type, store
from benchmarks.processes import resident_bytes
from broker.local import LocalBroker
from tests.faults.harness import API, Note, client_of, pid_of

WHOLE = 1_000_000
ENTITIES = int(os.environ.get("VELA_TEST_MEMORY_ENTITIES") or WHOLE // 200)
CACHED = max(1, ENTITIES // 20)
SUBSCRIPTIONS = max(1, ENTITIES // 100)
MB = 1_000_000
FIXED, GROWING = 125 * MB, 25 * MB
"""What may be taken: whatever there is, and in proportion for a million entities. Together 150 MB."""


@pytest.mark.skipif(sys.platform != "linux", reason="the resident memory is read from /proc")
@pytest.mark.timeout(900)
async def test_a_worker_with_many_entities_and_subscriptions_stays_small(
    start_broker: Callable[..., LocalBroker], mongo_uri: str, note: Note
) -> None:
    local = await asyncio.to_thread(start_broker, workers=1)
    worker = worker_of(local)
    resident = {"started": resident_bytes([worker])}
    async with client_of(local) as client:
        async with client.post(f"{API}/entities", json={"id": "urn:ngsi-ld:First:1", "type": "First"}) as answer:
            assert answer.status == 201, await answer.text()
        await asyncio.to_thread(store, mongo_uri, local.settings.database, 0, ENTITIES)

        async def subscribe(number: int) -> None:
            async with client.post(f"{API}/subscriptions", json=subscription(number)) as answer:
                assert answer.status == 201, await answer.text()

        for start in range(0, SUBSCRIPTIONS, 50):
            await asyncio.gather(*map(subscribe, range(start, min(start + 50, SUBSCRIPTIONS))))
        resident["subscribed"] = resident_bytes([worker])

        updated = range(0, ENTITIES, ENTITIES // CACHED)
        for start in range(0, len(updated), 100):
            batch = [update(index) for index in updated[start : start + 100]]
            async with client.post(f"{API}/entityOperations/update", json=batch) as answer:
                assert answer.status == 204, await answer.text()
        resident["cached"] = resident_bytes([worker])

        async def patch(index: int) -> None:
            path = f"{API}/entities/{crowd_id(index)}/attrs"
            async with client.patch(path, json={"temperature": {"type": "Property", "value": -1}}) as answer:
                assert answer.status == 204, await answer.text()

        for start in range(0, len(updated), 50):
            await asyncio.gather(*map(patch, updated[start : start + 50]))
        resident["updated"] = resident_bytes([worker])

    note(
        f"memory of a worker with {ENTITIES:,} entities, {len(updated):,} cached, {SUBSCRIPTIONS:,} subscriptions",
        **{name: f"{taken / MB:.0f} MB" for name, taken in resident.items()},
    )
    assert max(resident.values()) < FIXED + GROWING * ENTITIES / WHOLE


def worker_of(local: LocalBroker) -> int:
    """The process id of the only worker of a broker."""
    pid = pid_of(local)
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def subscription(number: int) -> dict[str, object]:
    """A subscription to one entity of its own, with a condition, told at an endpoint of its own."""
    return {
        "type": "Subscription",
        "entities": [{"type": f"Other{number % 50}", "id": f"urn:ngsi-ld:Other:{number}"}],
        "watchedAttributes": ["temperature"],
        "q": "temperature>30",
        "notification": {
            "attributes": ["temperature", "serial"],
            "endpoint": {"uri": f"http://127.0.0.1:9/{number}", "accept": "application/json"},
        },
    }


def update(index: int) -> dict[str, object]:
    """An update of two attributes of an entity of the crowd."""
    values = {"temperature": index + 1, "batteryLevel": 0.5}
    attributes = {name: {"type": "Property", "value": value} for name, value in values.items()}
    return {"id": crowd_id(index), "type": crowd_type(index), **attributes}
