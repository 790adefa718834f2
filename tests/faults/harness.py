"""What the fault tests share: waiting for conditions, a subscriber that can be slowed down, figures of a broker."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from broker.local import LocalBroker

API = "/ngsi-ld/v1"

Note = Callable[..., None]
"""What the fixture `note` is: `note(scenario, name=figure, …)` shows these figures at the end of the run."""


def eventually(condition: Callable[[], bool], seconds: float, what: str, every: float = 0.01) -> float:
    """Wait until `condition` holds, and return how many seconds that took; fail after `seconds`."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"after {seconds:g} s still not: {what}"
        time.sleep(every)
    return time.monotonic() - began


async def soon(condition: Callable[[], bool | Awaitable[bool]], seconds: float, what: str) -> float:
    """As `eventually`, for conditions of the event loop."""
    began = time.monotonic()
    while True:
        holds = condition()
        if isinstance(holds, Awaitable):
            holds = await holds
        if holds:
            return time.monotonic() - began
        assert time.monotonic() - began < seconds, f"after {seconds:g} s still not: {what}"
        await asyncio.sleep(0.01)


def pid_of(local: LocalBroker) -> int:
    """The process id of a broker that runs."""
    assert local.process is not None
    assert local.process.poll() is None
    return local.process.pid


def mongod_pid(data_dir: Path) -> int | None:
    """The process id of the private mongod of a data folder, as mongod itself notes it; None when it notes none."""
    try:
        return int((data_dir / "db" / "mongod.lock").read_text())
    except (OSError, ValueError):
        return None


async def metric(client: aiohttp.ClientSession, name: str) -> float:
    """The sum of a metric over its labels."""
    async with client.get("/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


@asynccontextmanager
async def client_of(local: LocalBroker, connections: int = 100) -> AsyncIterator[aiohttp.ClientSession]:
    """A session that takes paths of this broker."""
    connector = aiohttp.TCPConnector(limit=connections)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(base_url=local.url, connector=connector, timeout=timeout) as session:
        yield session


class Subscriber:
    """An endpoint for notifications: `told` counts what it was told, as (entity id, value of its attribute `n`).

    Each answer takes `delay` seconds, and none is given while the gate is closed. An answer that the broker does not
    live to see is a notification that was received all the same.
    """

    def __init__(self) -> None:
        self.told: Counter[tuple[str, Any]] = Counter()
        self.arrived = 0
        self.delay = 0.0
        self.gate = asyncio.Event()
        self.gate.set()
        self.url = ""

    @property
    def duplicates(self) -> int:
        """How many notifications told again what an earlier one had told."""
        return self.told.total() - len(self.told)

    async def handle(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        self.arrived += 1
        await self.gate.wait()
        await asyncio.sleep(self.delay)
        for entity in body["data"]:
            self.told[(entity["id"], entity["n"]["value"])] += 1
        return web.Response()


@asynccontextmanager
async def subscriber() -> AsyncIterator[Subscriber]:
    """A subscriber that listens on a free port."""
    endpoint = Subscriber()
    app = web.Application()
    app.router.add_post("/notify", endpoint.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/notify"
        yield endpoint
    finally:
        endpoint.gate.set()
        await runner.cleanup()


async def create(client: aiohttp.ClientSession, entity_ids: list[str], **attributes: Any) -> None:
    """Create entities of type T with these attributes."""
    entities = [{"id": one, "type": "T", **attributes} for one in entity_ids]
    async with client.post(f"{API}/entityOperations/create", json=entities) as answer:
        assert answer.status == 201, await answer.text()


async def subscribe(client: aiohttp.ClientSession, url: str) -> None:
    """Subscribe the endpoint to every change of the attribute `n` of entities of type T."""
    body = {
        "type": "Subscription",
        "entities": [{"type": "T"}],
        "watchedAttributes": ["n"],
        "notification": {"attributes": ["n"], "endpoint": {"uri": url, "accept": "application/json"}},
    }
    async with client.post(f"{API}/subscriptions", json=body) as answer:
        assert answer.status == 201, await answer.text()


async def patch(client: aiohttp.ClientSession, entity_id: str, **values: Any) -> int:
    """Set attributes of an entity; the status of the answer."""
    body = {name: {"type": "Property", "value": value} for name, value in values.items()}
    async with client.patch(f"{API}/entities/{entity_id}/attrs", json=body) as answer:
        await answer.read()
        return answer.status


async def values(client: aiohttp.ClientSession, entity_id: str) -> dict[str, Any]:
    """The values of an entity's attributes."""
    async with client.get(f"{API}/entities/{entity_id}", params={"options": "keyValues"}) as answer:
        assert answer.status == 200, await answer.text()
        found: dict[str, Any] = await answer.json()
    return {name: value for name, value in found.items() if name not in ("id", "type")}
