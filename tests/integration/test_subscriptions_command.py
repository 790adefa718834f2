"""`vela subscriptions` against a running broker: who is subscribed, and how delivery goes."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from broker.commands.subscriptions import subscriptions_command
from tests.conftest import RunningBroker
from tests.faults.harness import metric, soon

API = "/ngsi-ld/v1"
BROKER_SETTINGS = {"notification_backoff": 60.0, "notification_queue": 2, "notification_backlog": 3}
ENTITY = {"id": "urn:ngsi-ld:T:1", "type": "T"}


async def vela(broker: RunningBroker, *arguments: str) -> Result:
    return await asyncio.to_thread(
        CliRunner().invoke, subscriptions_command, ["--broker", broker.url, *arguments], color=False
    )


async def listed(broker: RunningBroker, tenant: str, *arguments: str) -> dict[str, Any]:
    result = await vela(broker, "--tenant", tenant, "--json", *arguments)
    assert result.exit_code == 0, result.output
    return {one["id"].rpartition(":")[2]: one for one in json.loads(result.output)}


@pytest.fixture
async def endpoint() -> AsyncIterator[str]:
    """The URL of an endpoint: /ok answers 200, everything else 503."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=200 if request.path == "/ok" else 503)

    app = web.Application()
    app.router.add_post("/{path}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def subscribe(broker: RunningBroker, tenant: str, name: str, uri: str, **members: Any) -> None:
    body = {
        "id": f"urn:ngsi-ld:Subscription:{name}",
        "type": "Subscription",
        "entities": [{"type": "T"}],
        "notification": {"endpoint": {"uri": uri}},
        **members,
    }
    async with broker.client.post(f"{API}/subscriptions", json=body, headers={"NGSILD-Tenant": tenant}) as answer:
        assert answer.status == 201, await answer.text()


async def upsert(broker: RunningBroker, tenant: str, value: int) -> None:
    body = [{**ENTITY, "n": {"type": "Property", "value": value}}]
    url = f"{API}/entityOperations/upsert"
    async with broker.client.post(url, json=body, headers={"NGSILD-Tenant": tenant}) as answer:
        assert answer.status in (201, 204), await answer.text()


async def test_each_subscription_is_shown_with_its_health_its_backlog_and_its_last_error(
    broker: RunningBroker, tenant: str, endpoint: str
) -> None:
    await subscribe(broker, tenant, "well", f"{endpoint}/ok", subscriptionName="The well one")
    await subscribe(broker, tenant, "ill", f"{endpoint}/down")
    await subscribe(broker, tenant, "idle", f"{endpoint}/ok", isActive=False)

    await upsert(broker, tenant, 1)

    async def told() -> bool:
        found = await listed(broker, tenant)
        return (found["well"]["health"], found["ill"]["health"], found["well"]["backlog"]) == ("ok", "failing", 0)

    await soon(told, 10, "one was delivered, one failed")
    found = await listed(broker, tenant)
    well, ill, idle = found["well"], found["ill"], found["idle"]
    assert (well["subscriptionName"], well["timesSent"], well["timesFailed"]) == ("The well one", 1, 0)
    assert "lastSuccess" in well
    assert "oldestSeconds" not in well
    assert (ill["failuresInRow"], ill["backlog"], ill["endpoint"]) == (1, 1, f"{endpoint}/down")
    assert "503" in ill["lastError"]
    assert 0 <= ill["oldestSeconds"] < 60
    assert (idle["status"], idle["health"]) == ("paused", "unused")

    table = (await vela(broker, "--tenant", tenant)).output
    assert all(text in table for text in ("urn:ngsi-ld:Subscription:well", "failing", "503", "paused")), table
    assert set(await listed(broker, tenant, "--trouble")) == {"ill"}


async def test_what_has_no_room_to_wait_is_given_up_and_said(broker: RunningBroker, tenant: str, endpoint: str) -> None:
    await subscribe(broker, tenant, "full", f"{endpoint}/full")
    for value in range(8):
        await upsert(broker, tenant, value)

    async def lost() -> bool:
        return (await listed(broker, tenant))["full"]["givenUp"] == 3

    await soon(lost, 10, "of eight two wait in memory, three in the outbox, the rest is given up")

    async def settled() -> bool:
        return (await listed(broker, tenant))["full"]["backlog"] == 5

    await soon(settled, 10, "what was given up has left the outbox")
    assert "too much waits" in (await listed(broker, tenant))["full"]["lastError"]
    path = f"{API}/subscriptions/urn:ngsi-ld:Subscription:full"
    async with broker.client.get(path, headers={"NGSILD-Tenant": tenant}) as answer:
        notification = (await answer.json())["notification"]
    assert (notification["status"], notification["timesFailed"]) == ("failed", 4)
    assert await metric(broker.client, "vela_endpoint_backlog") >= 5
    assert await metric(broker.client, "vela_endpoint_notifications_failed_total") >= 1


async def test_a_tenant_that_does_not_exist_is_said(broker: RunningBroker) -> None:
    result = await vela(broker, "--tenant", "nobody")
    assert (result.exit_code, "does not exist" in result.stderr) == (1, True), result.stderr
