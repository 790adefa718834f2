"""Subscriptions with MQTT and TLS endpoints (clauses 5.2.15, 5.8.6, 7.2), against a real broker."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
import trustme

from broker.local import free_port
from tests.conftest import RunningBroker
from tests.integration.api import ENTITIES, JSON_LD, SUBSCRIPTIONS, create, new_type, until
from tests.integration.mqtt_servers import amqtt, subscribed
from tests.integration.servers import tls_endpoint
from tests.problems import assert_problem

TOPIC = "city/notifications"
V311 = {"key": "MQTT-Version", "value": "mqtt3.1.1"}
QOS_1 = {"key": "MQTT-QoS", "value": "1"}
CITY = {"key": "TLS-CA-File", "value": "city.pem"}
SECRET = "s3cret-w0rd"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with city.pem, a CA, and with the certificate and key of a server called localhost."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "city.pem"))
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "server.key"))
    return folder


@pytest.fixture(scope="module")
def broker_settings(certificates: Path) -> dict[str, Any]:
    return {"notification_ca_dir": certificates, "notification_backoff": 0.05}


async def subscribe(broker: RunningBroker, kind: str, uri: str, **endpoint: Any) -> str:
    """Create a subscription; its path."""
    body = {
        "type": "Subscription",
        "entities": [{"type": kind}],
        "notification": {"endpoint": {"uri": uri, "notifierInfo": [V311], **endpoint}},
    }
    async with broker.client.post(SUBSCRIPTIONS, json=body) as response:
        assert response.status == 201, await response.text()
        return response.headers["Location"]


async def change(broker: RunningBroker, entity_id: str, value: int) -> None:
    async with broker.client.patch(f"{ENTITIES}/{entity_id}/attrs", json={"n": value}) as response:
        assert response.status == 204, await response.text()


async def notification_of(broker: RunningBroker, path: str) -> dict[str, Any]:
    async with broker.client.get(path) as response:
        shown: dict[str, Any] = (await response.json())["notification"]
        return shown


async def until_status(broker: RunningBroker, path: str, status: str) -> None:
    async def has_it() -> bool:
        return (await notification_of(broker, path)).get("status") == status

    await until(has_it)


async def next_message(arrived: asyncio.Queue[Any]) -> dict[str, Any]:
    message: dict[str, Any] = orjson.loads((await asyncio.wait_for(arrived.get(), 10)).payload)
    return message


@pytest.mark.parametrize("qos", ["0", "1", "2"])
async def test_a_change_is_told_over_mqtt_with_metadata_and_body(broker: RunningBroker, qos: str) -> None:
    kind = new_type()
    entity_id = await create(broker, type=kind, n=1)
    async with amqtt() as port, subscribed(port, f"{TOPIC}/#") as arrived:
        uri = f"mqtt://127.0.0.1:{port}/{TOPIC}/air%20quality"
        told = [{"key": "test-key", "value": "test value"}]
        chosen = [V311, {"key": "MQTT-QoS", "value": qos}]
        path = await subscribe(broker, kind, uri, notifierInfo=chosen, receiverInfo=told)
        await change(broker, entity_id, 2)
        message = await next_message(arrived)
        assert message.keys() == {"metadata", "body"}
        assert message["metadata"]["Content-Type"] == "application/json"
        assert "json-ld#context" in message["metadata"]["Link"]
        assert message["metadata"]["test-key"] == "test value"
        assert message["body"]["type"] == "Notification"
        assert message["body"]["subscriptionId"] == path.rpartition("/")[2]
        assert message["body"]["data"][0]["n"]["value"] == 2
        await until_status(broker, path, "ok")
    shown = await notification_of(broker, path)
    assert shown["timesSent"] == 1
    assert "timesFailed" not in shown
    assert shown["endpoint"]["uri"] == uri


async def test_json_ld_over_mqtt_has_its_context_in_the_body(broker: RunningBroker) -> None:
    kind = new_type()
    entity_id = await create(broker, type=kind, n=1)
    async with amqtt() as port, subscribed(port, TOPIC) as arrived:
        await subscribe(broker, kind, f"mqtt://127.0.0.1:{port}/{TOPIC}", accept=JSON_LD)
        await change(broker, entity_id, 2)
        message = await next_message(arrived)
    assert message["metadata"] == {"Content-Type": JSON_LD}
    assert message["body"]["@context"]


async def test_what_an_mqtt_broker_missed_is_told_when_it_is_back_and_no_password_is_logged(
    broker: RunningBroker,
) -> None:
    kind, port = new_type(), free_port()
    entity_id = await create(broker, type=kind, n=1)
    uri = f"mqtt://user:{SECRET}@127.0.0.1:{port}/{TOPIC}"
    path = await subscribe(broker, kind, uri, notifierInfo=[V311, QOS_1])
    for value in (2, 3):
        await change(broker, entity_id, value)
    await until_status(broker, path, "failed")
    async with amqtt(port) as _, subscribed(port, TOPIC) as arrived:
        values = [(await next_message(arrived))["body"]["data"][0]["n"]["value"] for _ in range(2)]
        assert values == [2, 3]
        await until_status(broker, path, "ok")
    logged = broker.local.log_file.read_text()
    assert f"***@127.0.0.1:{port}" in logged
    assert SECRET not in logged


async def test_an_mqtts_endpoint_shows_a_certificate_of_the_ca_that_its_subscription_names(
    broker: RunningBroker, certificates: Path
) -> None:
    kind = new_type()
    entity_id = await create(broker, type=kind, n=1)
    async with amqtt(certificate=(certificates / "server.pem", certificates / "server.key")) as port:
        uri = f"mqtts://localhost:{port}/{TOPIC}"
        trusted = await subscribe(broker, kind, uri, notifierInfo=[V311, QOS_1, CITY])
        untrusted = await subscribe(broker, kind, uri)
        await change(broker, entity_id, 2)
        await until_status(broker, trusted, "ok")
        await until_status(broker, untrusted, "failed")


async def test_an_https_endpoint_shows_a_certificate_of_the_ca_that_its_subscription_names(
    broker: RunningBroker, certificates: Path
) -> None:
    kind = new_type()
    entity_id = await create(broker, type=kind, n=1)
    with tls_endpoint(certificates / "server.pem", certificates / "server.key") as (url, arrived):
        trusted = await subscribe(broker, kind, url + "/trusted", notifierInfo=[CITY])
        untrusted = await subscribe(broker, kind, url + "/untrusted")
        await change(broker, entity_id, 2)
        await until_status(broker, trusted, "ok")
        await until_status(broker, untrusted, "failed")
    [(path, body)] = arrived
    assert path == "/trusted"
    assert body["data"][0]["n"]["value"] == 2


@pytest.mark.parametrize("name", ["absent.pem", "../city.pem", "server.key"])
async def test_a_ca_file_that_cannot_be_used_is_refused(broker: RunningBroker, name: str) -> None:
    endpoint = {"uri": "https://localhost/", "notifierInfo": [{**CITY, "value": name}]}
    body = {"type": "Subscription", "entities": [{"type": "T"}], "notification": {"endpoint": endpoint}}
    async with broker.client.post(SUBSCRIPTIONS, json=body) as response:
        problem = await assert_problem(response, 400, "BadRequestData")
    assert problem["errors"][0]["pointer"] == "/notification/endpoint/notifierInfo"
