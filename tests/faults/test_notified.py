"""kill -9 of the primary of a three-node replica set, of the broker, of the endpoint: every change is notified.

A round kills each of them once, in random order at random moments, while clients keep changing entities and the
endpoint is behind them: there is always something that is committed and not delivered. VELA_FAULT_ROUNDS scales the
number of rounds (`make faults` kills 51 times), VELA_FAULT_SEED repeats the moments of a run.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from math import ceil
from pathlib import Path

import aiohttp
import pytest

from broker.local import LocalBroker, free_port
from broker.settings import Settings
from tests.faults import endpoint_process
from tests.faults.harness import Note, client_of, create, eventually, patch, soon, subscribe
from tests.faults.replica_set import ReplicaSet

ROUNDS = ceil(int(os.environ.get("VELA_FAULT_ROUNDS") or 1) * 17 / 20)
CLIENTS = 16
BETWEEN_KILLS = 150
RECOVERY_SECONDS = 40.0
DELIVERY_SECONDS = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class EndpointProcess:
    """The endpoint: a process that can be killed and started again on the same port, and its record."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "received.jsonl"
        self._file.touch()
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}/notify"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, endpoint_process.__file__, str(self._port), str(self._file)], start_new_session=True
        )

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def told(self) -> list[tuple[str, int]]:
        """What was received, in the order of arrival: entity id and value."""
        text = self._file.read_bytes()
        lines = text[: text.rfind(b"\n") + 1].splitlines()
        return [(entity_id, value) for entity_id, value, _ in map(json.loads, lines)]


class Clients:
    """Clients that change one entity each, the value growing by one; what fails is tried again until it succeeds."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self._client = client
        self._stopping = False
        self.entity_ids = [f"urn:ngsi-ld:T:{number}" for number in range(CLIENTS)]
        self.acknowledged: set[tuple[str, int]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for entity_id in self.entity_ids:
                group.create_task(self._change(entity_id))
            try:
                yield
            finally:
                self._stopping = True

    async def more(self, changes: int) -> None:
        """Wait for so many further acknowledgements."""
        goal = len(self.acknowledged) + changes
        await soon(lambda: len(self.acknowledged) >= goal, RECOVERY_SECONDS, f"{changes} further changes acknowledged")

    async def _change(self, entity_id: str) -> None:
        value = 1
        while not self._stopping:
            try:
                status = await patch(self._client, entity_id, n=value)
            except (aiohttp.ClientError, TimeoutError):
                status = 0
            if status == 204:
                self.acknowledged.add((entity_id, value))
                value += 1
            else:
                assert status in (0, 503), f"{entity_id} n={value} was answered with {status}"
                await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def replica_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaSet]:
    members = ReplicaSet(tmp_path_factory.mktemp("replica-set"))
    try:
        members.start()
        yield members
    finally:
        members.stop()


@pytest.mark.parametrize("number", range(1, ROUNDS + 1))
async def test_every_acknowledged_change_is_notified_whoever_is_killed(
    number: int, replica_set: ReplicaSet, fault_seed: int, tmp_path: Path, note: Note
) -> None:
    chance = random.Random(f"{fault_seed}/notified/{number}")
    endpoint = EndpointProcess(tmp_path)
    local = LocalBroker(
        Settings(
            host="127.0.0.1", port=free_port(), mongo_uri=replica_set.uri, database=f"faults{number}",
            log_format="json", notification_queue=20, notification_backoff=0.1, notification_retries=1_000,
            drain_timeout=3.0, workers=1,
        ),
        tmp_path / "broker.log",
    )  # fmt: skip

    def kill_broker() -> None:
        local.kill()
        local.start()

    def kill_endpoint() -> None:
        endpoint.kill()
        endpoint.start()

    def kill_primary() -> None:
        replica_set.kill_primary()
        replica_set.wait_until_whole()

    kills: dict[str, Callable[[], None]] = {
        "primary": kill_primary,
        "broker": kill_broker,
        "endpoint": kill_endpoint,
    }
    kinds = chance.sample(sorted(kills), len(kills))
    backlogs: dict[str, int] = {}
    await asyncio.to_thread(replica_set.wait_until_whole)
    await asyncio.to_thread(local.start)
    endpoint.start()
    try:
        async with client_of(local) as client:
            clients = Clients(client)
            await create(client, clients.entity_ids, n={"type": "Property", "value": 0})
            await subscribe(client, endpoint.url)
            async with clients.running():
                for kind in kinds:
                    await clients.more(chance.randrange(BETWEEN_KILLS // 2, BETWEEN_KILLS))
                    await asyncio.sleep(chance.uniform(0, 0.02))  # not always right after an acknowledgement
                    backlogs[kind] = len(clients.acknowledged - set(endpoint.told))
                    await asyncio.to_thread(kills[kind])
                await clients.more(BETWEEN_KILLS)
            owed = clients.acknowledged
            settled = await asyncio.to_thread(
                eventually, lambda: owed <= set(endpoint.told), DELIVERY_SECONDS, "all changes notified", 0.1
            )
    finally:
        told = endpoint.told
        endpoint.kill()
        await asyncio.to_thread(local.stop)
    counts = Counter(told)
    note(
        f"notified, round {number}",
        acknowledged=len(owed),
        missing=len(owed - counts.keys()),
        duplicates=counts.total() - len(counts),
        owed_at_the_kill="/".join(f"{kind} {backlog}" for kind, backlog in backlogs.items()),
        settled=f"{settled:.1f} s",
    )
    assert any(backlogs.values()), "nothing was owed at any kill: the round proves nothing"
