"""Workers come and go under load: rolling restarts and ends without a lost request, deaths healed, one set of metrics.

The load is that of clients as they are: some keep their connection and send request after request on it, others take a
new connection for each. A client that is told in an answer that the connection ends takes another. What counts as lost:
a request that was sent on a connection the broker had not ended, and got no answer.
"""

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import pytest

from broker.local import LocalBroker, free_port, is_ready
from broker.storage.mongod import command_line

API = "/ngsi-ld/v1/entities"
BODY = b'{"n": {"type": "Property", "value": 1}}'

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def workers_of(pid: int) -> set[int]:
    """The process ids of the workers of a supervisor."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(child) for child in found if "worker" in command_line(int(child))}


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        holds = condition()
        if holds if isinstance(holds, bool) else await holds:
            return
        assert time.monotonic() < deadline, f"after {seconds:g} s still not: {what}"
        await asyncio.sleep(0.02)


class Serving:
    """`vela serve` with a file of variables, in a process of its own; what it logs is `events`."""

    def __init__(self, folder: Path, mongo_uri: str, database: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.variables = {
            "VELA_HOST": "127.0.0.1", "VELA_PORT": str(self.port), "VELA_MONGO_URI": mongo_uri,
            "VELA_DATABASE": database, "VELA_LOG_FORMAT": "json", "VELA_DRAIN_TIMEOUT": "5",
        }  # fmt: skip
        self.file = folder / "vela.env"
        self._log = folder / "broker.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def workers(self) -> set[int]:
        return workers_of(self.pid)

    def events(self, name: str) -> list[dict[str, object]]:
        """What was logged under this name."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def write(self, **variables: object) -> None:
        """Write the file of variables."""
        lines = [f"VELA_{name.upper()}={value}" for name, value in variables.items()]
        self.file.write_text("\n".join(lines))

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "broker", "serve", "--env-file", str(self.file)],
                env={**os.environ, **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while not is_ready("127.0.0.1", self.port):
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGTERM)
            self.process.wait(30)


@pytest.fixture
def serving(tmp_path: Path, mongo_uri: str, database_name: str) -> Iterator[Serving]:
    one = Serving(tmp_path, mongo_uri, database_name)
    yield one
    one.stop()


class Load:
    """Clients of one port: what they were answered, and what they lost."""

    def __init__(self, port: int, entities: int = 12, pause: float = 0.03) -> None:
        self._port = port
        self._entities = entities
        self._pause = pause
        self._ending = False
        self.answers: dict[int, int] = {}
        self.farewells = 0
        self.refused = 0
        self.lost: list[str] = []

    @property
    def answered(self) -> int:
        return sum(self.answers.values())

    async def send(self, entity: str, *, keep: bool, depth: int = 1) -> None:
        """Send updates of an entity until the load ends, `depth` behind one another, or the broker is gone."""
        request = (
            f"PATCH {API}/{entity}/attrs HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(BODY)}\r\n\r\n"
        ).encode() + BODY
        while not self._ending:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except ConnectionError:
                self.refused += 1
                return
            try:
                await self._use(reader, writer, request, keep=keep, depth=depth)
            finally:
                writer.close()
            await asyncio.sleep(self._pause)

    async def _use(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, *, keep: bool, depth: int
    ) -> None:
        while not self._ending:
            if reader.at_eof():
                return  # ended while no request was under way
            writer.write(request * depth)
            for position in range(depth):
                try:
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = re.search(rb"content-length: (\d+)", head.lower())
                    if length is not None:  # a refusal says why
                        await reader.readexactly(int(length[1]))
                except (asyncio.IncompleteReadError, ConnectionError) as error:
                    self.lost.append(
                        f"{'kept' if keep else 'new'} connection, request {position} of {depth}: {error!r}"
                    )
                    return
                status = int(head.split()[1])
                self.answers[status] = self.answers.get(status, 0) + 1
                if b"connection: close" in head.lower():
                    self.farewells += 1
                    return
            if not keep:
                return
            await asyncio.sleep(self._pause)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        """Send on 12 connections that are kept, 4 with requests behind one another, and 8 times on new ones."""
        async with asyncio.TaskGroup() as group:
            for number in range(24):
                entity = f"urn:ngsi-ld:T:{number % self._entities}"
                keep, depth = number >= 8, 5 if number >= 20 else 1
                group.create_task(self.send(entity, keep=keep, depth=depth))
            try:
                yield self
            finally:
                self._ending = True

    async def more(self, number: int) -> None:
        goal = self.answered + number
        await until(lambda: self.answered >= goal, f"{number} further answers")


async def create(url: str) -> None:
    entities = [{"id": f"urn:ngsi-ld:T:{number}", "type": "T", "n": 0} for number in range(12)]
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{url}/ngsi-ld/v1/entityOperations/create", json=entities) as answer,
    ):
        assert answer.status == 201, await answer.text()


async def counted(url: str, *names: str) -> dict[str, float]:
    """Sums of metrics over their labels, from a worker that the kernel chooses."""
    async with aiohttp.ClientSession() as client, client.get(f"{url}/metrics") as answer:
        assert answer.status == 200, await answer.text()
        lines = [line.rsplit(" ", 1) for line in (await answer.text()).splitlines() if not line.startswith("#")]
    return {name: sum(float(value) for key, value in lines if key.partition("{")[0] == name) for name in names}


async def begin(serving: Serving, workers: int) -> set[int]:
    """Have so many workers serve, and make the entities that are updated; the process ids of the workers."""
    serving.write(workers=workers)
    serving.start()
    await until(lambda: len(serving.events("ready")) == workers, "all workers serve")
    await create(serving.url)
    return serving.workers


async def test_a_rolling_restart_under_load_loses_nothing_and_takes_up_new_settings(serving: Serving) -> None:
    before = await begin(serving, 1)
    async with Load(serving.port).running() as load:
        await load.more(200)
        serving.write(workers=1, log_level="warning")
        serving.signal(signal.SIGHUP)
        await until(lambda: len(serving.workers) == 1 and not before & serving.workers, "it is replaced")
        await load.more(200)

    assert load.lost == []
    assert load.refused == 0
    assert set(load.answers) == {204}
    assert load.farewells > 0
    assert len(serving.events("ready")) == 1, "the new one has the new log level"
    figures = await counted(serving.url, "vela_mutations_total", "vela_workers", "vela_rolling_restarts_total")
    assert figures["vela_mutations_total"] == load.answered + 12, "what ended workers counted is in the sum"
    assert (figures["vela_workers"], figures["vela_rolling_restarts_total"]) == (1, 1)


async def test_a_rolling_restart_replaces_all_workers_changes_their_number_and_loses_nothing(serving: Serving) -> None:
    before = await begin(serving, 2)
    async with Load(serving.port).running() as load:
        for rolls, number in enumerate((3, 1), start=1):
            serving.write(workers=number)
            serving.signal(signal.SIGHUP)
            await until(lambda rolls=rolls: len(serving.events("rolling restart done")) == rolls, "done")
            await until(lambda number=number: len(serving.workers) == number, f"{number} workers")
            await load.more(100)

    assert not before & serving.workers
    assert (load.lost, load.refused, set(load.answers)) == ([], 0, {204})
    assert (await counted(serving.url, "vela_mutations_total"))["vela_mutations_total"] == load.answered + 12


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_end_of_the_broker_under_load_loses_nothing(serving: Serving, workers: int) -> None:
    await begin(serving, workers)
    async with Load(serving.port).running() as load:
        await load.more(300)
        serving.signal(signal.SIGTERM)
        assert serving.process is not None
        assert await asyncio.to_thread(serving.process.wait, 30) == 0

    assert load.lost == []
    assert set(load.answers) == {204}
    assert load.farewells > 0
    assert load.refused > 0


async def test_new_workers_that_cannot_serve_leave_the_old_ones_in_place(serving: Serving) -> None:
    before = await begin(serving, 2)
    async with Load(serving.port).running() as load:
        serving.write(workers=2, database="smart city")
        serving.signal(signal.SIGHUP)
        await until(lambda: len(serving.events("rolling restart")) == 1, "it begins")
        serving.write(workers="many")
        serving.signal(signal.SIGHUP)
        given_up = "rolling restart given up; the workers that are there go on"
        await until(lambda: len(serving.events(given_up)) == 2, "both are given up")
        await load.more(50)

    first, second = (str(event["reason"]) for event in serving.events(given_up))
    assert "The new worker 0 does not serve" in first
    assert "VELA_WORKERS is 'many'" in second
    assert serving.workers == before
    assert (load.lost, set(load.answers)) == ([], {204})


async def test_a_worker_that_is_killed_is_replaced_while_the_others_serve(
    start_broker: Callable[..., LocalBroker],
) -> None:
    local = start_broker(workers=2)
    assert local.process is not None
    supervisor = local.process.pid

    async def both_serve() -> bool:
        return (await counted(local.url, "vela_workers"))["vela_workers"] == 2

    await until(both_serve, "both workers serve")
    await create(local.url)
    victim = min(workers_of(supervisor))
    async with Load(local.settings.port).running() as load:
        await load.more(100)
        os.kill(victim, signal.SIGKILL)
        await until(lambda: victim not in workers_of(supervisor), "it is gone")
        await load.more(100)
        await until(both_serve, "both workers serve again")

    assert set(load.answers) <= {204, 503}
    failed = len(load.lost) + load.refused + load.answers.get(503, 0)
    assert failed <= 24, "what was under way at the one that was killed, and nothing else"
    assert (await counted(local.url, "vela_worker_deaths_total"))["vela_worker_deaths_total"] == 1


async def test_clients_of_a_single_worker_wait_while_it_is_started_again(
    start_broker: Callable[..., LocalBroker],
) -> None:
    local = start_broker(workers=1)
    assert local.process is not None
    (victim,) = workers_of(local.process.pid)

    os.kill(victim, signal.SIGKILL)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as client, client.get(f"{local.url}/version") as answer:
        assert answer.status == 200

    assert workers_of(local.process.pid).isdisjoint({victim})


async def test_whichever_worker_is_asked_the_metrics_are_those_of_all(
    start_broker: Callable[..., LocalBroker],
) -> None:
    local = start_broker(workers=2)
    assert local.process is not None
    await create(local.url)
    before = await counted(local.url, "vela_mutations_total")
    served: set[str] = set()
    done = 0
    while done < 40 or len(served) < 2:  # each on a connection of its own: the kernel deals them out
        assert done < 2_000, "the kernel gave everything to one worker: the test proves nothing"
        async with aiohttp.ClientSession() as client:
            path = f"{local.url}{API}/urn:ngsi-ld:T:{done % 12}/attrs"
            async with client.patch(path, data=BODY, headers={"Content-Type": "application/json"}) as answer:
                assert answer.status == 204
            done += 1
            async with client.get(f"{local.url}/metrics") as answer:
                text = await answer.text()
            served |= {
                line for line in text.splitlines() if line.startswith("vela_worker_connections") and "} 1.0" in line
            }
        found = (await counted(local.url, "vela_mutations_total"))["vela_mutations_total"]
        assert found == before["vela_mutations_total"] + done

    figures = await counted(local.url, "vela_worker_resident_bytes", "vela_commit_group_size_sum")
    assert figures["vela_worker_resident_bytes"] > 2 * 50 * 1024**2
    assert figures["vela_commit_group_size_sum"] == before["vela_mutations_total"] + done


async def test_races_with_another_broker_are_in_the_sum(start_broker: Callable[..., LocalBroker]) -> None:
    local = start_broker(workers=2)
    other = start_broker(workers=1, database=local.settings.database)
    await create(local.url)

    async def conflicts() -> bool:
        return (await counted(local.url, "vela_version_conflicts_total"))["vela_version_conflicts_total"] > 0

    async with Load(local.settings.port, entities=1, pause=0).running(), Load(other.settings.port, 1, 0).running():
        await until(conflicts, "two brokers want to change the same entity")


@contextmanager
def on_terminal(serving: Serving) -> Iterator[int]:
    """The broker as the foreground program of a terminal; the terminal's other end."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(
            sys.executable,
            [sys.executable, "-m", "broker", "serve", "--workers", "1"],
            {**os.environ, **serving.variables},
        )
    try:
        yield terminal
        deadline = time.monotonic() + 20
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            assert time.monotonic() < deadline, "the broker outlives its terminal"
            time.sleep(0.05)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


async def test_closing_the_terminal_ends_the_broker(serving: Serving) -> None:
    with on_terminal(serving) as terminal:
        await until(lambda: is_ready("127.0.0.1", serving.port), "ready")
        os.close(terminal)

    assert not is_ready("127.0.0.1", serving.port)
