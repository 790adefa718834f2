"""The suite runs against any broker by URL, and tells one that keeps what it acknowledges from one that does not."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from tests.conftest import RunningBroker

PROJECT = Path(__file__).parents[3]
SHORT = ("--seconds", "0.3", "--warm-up", "0.1", "--rounds", "1", "--connections", "4", "--entities", "200")


async def run_suite(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks", *SHORT, *arguments),
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


class MemoryBroker:
    """As much of NGSI-LD as patch2 needs, kept in memory; every `forgets`-th update is acknowledged and dropped."""

    def __init__(self, forgets: int = 0) -> None:
        self.entities: dict[str, dict[str, Any]] = {}
        self.forgets = forgets
        self.updates = 0

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_post("/ngsi-ld/v1/entityOperations/create", self.create)
        application.router.add_post("/ngsi-ld/v1/entityOperations/delete", self.delete)
        application.router.add_patch("/ngsi-ld/v1/entities/{id}/attrs", self.update)
        application.router.add_get("/ngsi-ld/v1/entities", self.query)
        application.router.add_get("/ngsi-ld/v1/entities/{id}", self.read)
        return application

    async def create(self, request: web.Request) -> web.Response:
        for entity in await request.json():
            self.entities[entity["id"]] = entity
        return web.json_response(list(self.entities), status=201)

    async def delete(self, request: web.Request) -> web.Response:
        for entity_id in await request.json():
            del self.entities[entity_id]
        return web.Response(status=204)

    async def update(self, request: web.Request) -> web.Response:
        changes = await request.json()
        self.updates += 1
        if not self.forgets or self.updates % self.forgets:
            self.entities[request.match_info["id"]].update(changes)
        return web.Response(status=204)

    async def query(self, request: web.Request) -> web.Response:
        ids = request.query.get("id", "").split(",")
        found = [self.entities[entity_id] for entity_id in ids if entity_id in self.entities]
        return web.json_response([{name: simplified(value) for name, value in entity.items()} for entity in found])

    async def read(self, request: web.Request) -> web.Response:
        return web.json_response(self.entities[request.match_info["id"]])


def simplified(member: Any) -> Any:
    return member.get("value", member.get("object")) if isinstance(member, dict) else member


@pytest.fixture
async def memory_broker() -> AsyncIterator[tuple[MemoryBroker, str]]:
    broker = MemoryBroker()
    runner = web.AppRunner(broker.application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield broker, f"memory=http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_broker_that_keeps_what_it_acknowledges_is_measured_and_left_as_it_was(
    memory_broker: tuple[MemoryBroker, str], tmp_path: Path
) -> None:
    broker, target = memory_broker
    figures = tmp_path / "run.json"
    status, output = await run_suite("--scenario", "patch2", "--target", target, "--json", str(figures))
    assert status == 0, output
    measured = orjson.loads(figures.read_bytes())["scenarios"][0]["targets"][0]
    assert measured["median"]["requests_per_second"] > 0
    assert measured["median"]["failed"] == 0
    assert measured["median"]["cpu"]["server"] > 0
    assert measured["verification"]["checked"] > 0
    assert "0 lost an acknowledged write" in output
    assert broker.entities == {}


async def test_a_broker_that_loses_acknowledged_updates_fails(memory_broker: tuple[MemoryBroker, str]) -> None:
    broker, target = memory_broker
    broker.forgets = 3
    status, output = await run_suite("--scenario", "patch2", "--target", target)
    assert status == 1
    assert "LOST: urn:ngsi-ld:BenchmarkSensor:" in output


async def test_a_target_that_is_no_broker_ends_with_a_message(unused_tcp_port: int) -> None:
    status, output = await run_suite("--scenario", "get", "--target", f"nobody=http://127.0.0.1:{unused_tcp_port}")
    assert status == 2
    assert "does not answer (ClientConnectorError" in output


async def test_every_kind_of_scenario_runs_against_a_running_vela(broker: RunningBroker, mongo_uri: str) -> None:
    kinds = ("upsert10", "partial", "mixed", "create", "list20pages", "query")
    scenarios = [part for kind in kinds for part in ("--scenario", kind)]
    status, output = await run_suite("--target", f"vela={broker.url}", "--mongo-uri", mongo_uri, *scenarios)
    assert status == 0, output
    assert "answered" not in output


async def test_velas_that_bear_different_burdens_take_turns(mongo_uri: str, tmp_path: Path) -> None:
    figures, page = tmp_path / "run.json", tmp_path / "page.md"
    status, output = await run_suite(
        *("--contest", "subscriptions", "--most", "100", "--mongo-uri", mongo_uri),
        *("--json", str(figures), "--write", str(page)),
    )
    assert status == 0, output
    (crowds,) = orjson.loads(figures.read_bytes())["contests"]
    measured = [crowds["reference"], *crowds["targets"]]
    assert [one["name"] for one in measured] == ["0 subscriptions", "100 subscriptions"]
    assert all(one["verification"]["checked"] > 0 for one in measured)
    assert "page/subscriptions-cost.svg" in page.read_text()
    assert (tmp_path / "page" / "subscriptions-cost.svg").is_file()


async def test_one_broker_bears_one_burden_after_the_other_and_is_left_as_it_was(
    broker: RunningBroker, tmp_path: Path
) -> None:
    figures = tmp_path / "run.json"
    status, output = await run_suite(
        *("--contest", "hot", "--contest", "notifying", "--target", f"vela={broker.url}", "--json", str(figures)),
    )
    assert status == 0, output
    hot, notifying = orjson.loads(figures.read_bytes())["contests"]
    assert hot["targets"][0]["verification"]["checked"] == 1
    (round_,), paced = notifying["told"][:1], notifying["told"][1]
    for told in (round_, paced):
        assert told["owed"] > 0
        assert told["missing"] == 0
    assert paced["owed"] < round_["owed"]
    for left in ("subscriptions", "entities?type=BenchmarkSensor"):
        async with broker.client.get(f"/ngsi-ld/v1/{left}") as answer:
            assert await answer.json() == []
