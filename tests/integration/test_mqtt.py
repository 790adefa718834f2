"""Publishing over MQTT, on real sockets: amqtt for MQTT 3.1.1, a scripted server for MQTT 5 and for what goes wrong."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from broker.local import free_port
from broker.notify.mqtt import MqttPublisher
from broker.notify.mqtt_address import MqttDestination, MqttServer
from broker.notify.trust import Trust
from broker.outbound import Outbound, OutboundError, OutboundPolicy, OutboundRefused
from tests.integration.mqtt_servers import amqtt, scripted, subscribed
from tests.unit.notify.samples import until

SECRET = "s3cret-w0rd"


@contextlib.asynccontextmanager
async def publishing(outbound: Outbound, trust: Trust | None = None, **limits: Any) -> AsyncIterator[MqttPublisher]:
    publisher = MqttPublisher(outbound, trust or Trust(), **{"connections": 10, "timeout": 2.0, **limits})
    publisher.start()
    try:
        yield publisher
    finally:
        await publisher.close()


@pytest.fixture
async def publisher(outbound: Outbound) -> AsyncIterator[MqttPublisher]:
    async with publishing(outbound) as one:
        yield one


def to(port: int, topic: str = "city/notifications", qos: int = 1, **members: object) -> MqttDestination:
    server = replace(MqttServer("127.0.0.1", port, version="mqtt3.1.1"), **members)
    return MqttDestination(server, topic, qos)


def to_v5(port: int, qos: int = 1, **members: object) -> MqttDestination:
    return to(port, qos=qos, version="mqtt5.0", **members)


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_message_arrives_with_each_quality_of_service(publisher: MqttPublisher, qos: int) -> None:
    async with amqtt() as port, subscribed(port, "city/notifications") as arrived:
        await publisher.publish(to(port, qos=qos), '{"größe":1}'.encode(), 5)
        message = await asyncio.wait_for(arrived.get(), 5)
    assert message.payload == '{"größe":1}'.encode()
    assert not message.retain


async def test_large_messages_arrive_whole(publisher: MqttPublisher) -> None:
    payload = bytes(range(256)) * 8_000
    async with amqtt() as port, subscribed(port, "city/notifications") as arrived:
        await publisher.publish(to(port, qos=2), payload, 10)
        assert (await asyncio.wait_for(arrived.get(), 10)).payload == payload


async def test_messages_at_once_share_one_connection(publisher: MqttPublisher) -> None:
    async with scripted() as server:
        await asyncio.gather(*(publisher.publish(to_v5(server.port), b"{}", 5) for _ in range(50)))
        assert len(server.published) == 50
        assert server.connections == 1


async def test_each_user_has_a_connection(publisher: MqttPublisher) -> None:
    async with scripted() as server:
        for username in (None, "a", "b"):
            await publisher.publish(to_v5(server.port, username=username), b"{}", 5)
        assert server.connections == 3


async def test_an_idle_connection_is_closed_and_opened_again_when_needed(outbound: Outbound) -> None:
    async with scripted() as server, publishing(outbound, idle=0.1) as publisher:
        await publisher.publish(to_v5(server.port), b"{}", 5)
        assert server.open == 1
        await until(lambda: server.open == 0)
        assert len(publisher) == 0
        await publisher.publish(to_v5(server.port), b"{}", 5)
        assert server.connections == 2


async def test_the_number_of_connections_is_bounded(outbound: Outbound) -> None:
    async with scripted() as server, publishing(outbound, connections=2) as publisher:
        for username in ("a", "b", "c"):
            await publisher.publish(to_v5(server.port, username=username), b"{}", 5)
        await until(lambda: server.open == 2)
        await publisher.publish(to_v5(server.port, username="c"), b"{}", 5)
        assert server.connections == 3, "the one that was used last stays"


async def test_connections_in_use_are_not_closed_for_others(outbound: Outbound) -> None:
    async with scripted(acknowledgement=None) as server, publishing(outbound, connections=1) as publisher:
        waiting = asyncio.create_task(publisher.publish(to_v5(server.port, username="a"), b"{}", 5))
        await until(lambda: server.published)
        with pytest.raises(OutboundError, match="as many MQTT connections"):
            await publisher.publish(to_v5(server.port, username="b"), b"{}", 5)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_server_that_comes_back_is_connected_to_again(publisher: MqttPublisher) -> None:
    async with amqtt() as port:
        await publisher.publish(to(port), b"1", 5)
    with pytest.raises(OutboundError):
        await publisher.publish(to(port), b"2", 1)
    async with amqtt(port), subscribed(port, "city/notifications") as arrived:
        await publisher.publish(to(port), b"3", 5)
        assert (await asyncio.wait_for(arrived.get(), 5)).payload == b"3"


async def test_user_and_password_are_shown_to_the_server_and_to_nobody_else(
    publisher: MqttPublisher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text(f"vela:{PasswordHash((Argon2Hasher(),)).hash(SECRET)}\n")
    async with amqtt(passwords=passwords) as port:
        await publisher.publish(to(port, username="vela", password=SECRET), b"{}", 5)
        wrong = to(port, username="vela", password=SECRET + "x")
        with pytest.raises(OutboundError, match="does not let Vela in") as caught:
            await publisher.publish(wrong, b"{}", 5)
    assert SECRET not in f"{caught.value!r} {wrong!r} {wrong.server} {caplog.text}"


@pytest.mark.parametrize(
    ("qos", "code", "error"),
    [
        (1, 0x10, None),
        (1, 0x87, OutboundRefused),
        (1, 0x95, OutboundRefused),
        (1, 0x97, OutboundError),
        (2, 0x00, None),
        (2, 0x87, OutboundRefused),
        (2, 0x97, OutboundError),
    ],
)
async def test_what_an_acknowledgement_of_mqtt_5_says_counts(
    publisher: MqttPublisher, qos: int, code: int, error: type[OutboundError] | None
) -> None:
    async with scripted(acknowledgement=code) as server:
        if error is None:
            await publisher.publish(to_v5(server.port, qos=qos), b"{}", 5)
        else:
            with pytest.raises(OutboundError) as caught:
                await publisher.publish(to_v5(server.port, qos=qos), b"{}", 5)
            assert type(caught.value) is error
        assert [packet.flags >> 1 & 3 for packet in server.published] == [qos]
        assert server.completed == (qos == 2 and error is None)
        await publisher.publish(to_v5(server.port, qos=0), b"{}", 5)
        assert server.connections == 1, "a refused message costs no connection"


async def test_without_an_acknowledgement_a_message_is_not_delivered(publisher: MqttPublisher) -> None:
    async with scripted(acknowledgement=None) as server:
        with pytest.raises(OutboundError, match=r"no acknowledgement within 0\.2 s"):
            await publisher.publish(to_v5(server.port), b"{}", 0.2)
        await until(lambda: server.open == 0)
        server.acknowledgement = 0
        await publisher.publish(to_v5(server.port), b"{}", 5)
        assert server.connections == 2


async def test_a_lost_connection_ends_the_wait_at_once(publisher: MqttPublisher) -> None:
    async with scripted(acknowledgement=None, hang_up_on_publish=True) as server:
        began = time.monotonic()
        with pytest.raises(OutboundError, match="lost"):
            await publisher.publish(to_v5(server.port), b"{}", 30)
        assert time.monotonic() - began < 5


async def test_a_message_that_the_server_ends_the_connection_for_is_refused(publisher: MqttPublisher) -> None:
    async with scripted(farewell=0x95) as server:
        with pytest.raises(OutboundRefused, match="too large"):
            await publisher.publish(to_v5(server.port), b"{}", 5)
        several = [publisher.publish(to_v5(server.port), b"{}", 5) for _ in range(3)]
        errors = await asyncio.gather(*several, return_exceptions=True)
        assert [type(error) for error in errors] == [OutboundError] * 3, "none of them is known to be the culprit"


@pytest.mark.parametrize("welcome", [None, 0x87])
async def test_a_server_that_does_not_let_us_in_keeps_no_socket(outbound: Outbound, welcome: int | None) -> None:
    async with scripted(welcome=welcome) as server, publishing(outbound, timeout=0.2) as publisher:
        with pytest.raises(OutboundError, match="does not let Vela in"):
            await publisher.publish(to_v5(server.port), b"{}", 5)
        await until(lambda: server.connections == 1 and server.open == 0)


async def test_what_the_server_said_it_would_not_take_is_refused_and_harms_nothing_else(
    publisher: MqttPublisher,
) -> None:
    async with scripted(properties=b"\x24\x01\x27\x00\x00\x01\x00") as server:  # QoS 1 and 256 bytes at most
        for destination, payload in ((to_v5(server.port, qos=2), b"{}"), (to_v5(server.port), b"x" * 300)):
            with pytest.raises(OutboundRefused, match="at most"):
                await publisher.publish(destination, payload, 5)
        await publisher.publish(to_v5(server.port), b"{}", 5)
        assert server.connections == len(server.published) == 1


async def test_a_server_that_is_not_there_is_an_error_that_says_so(publisher: MqttPublisher) -> None:
    with pytest.raises(OutboundError, match="cannot be connected to"):
        await publisher.publish(to(free_port()), b"{}", 5)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_denied_networks_are_denied_to_mqtt_too(host: str) -> None:
    outbound = Outbound(OutboundPolicy(deny=["127.0.0.0/8", "::1/128"]))
    async with scripted() as server, publishing(outbound) as publisher:
        with pytest.raises(OutboundRefused, match="not allowed"):
            await publisher.publish(to_v5(server.port, host=host), b"{}", 5)
        assert server.connections == 0


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "city.pem"))
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "server.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    return authority


async def test_tls_needs_a_certificate_of_a_trusted_authority_and_of_the_right_host(
    outbound: Outbound, authority: trustme.CA, tmp_path: Path
) -> None:
    trust = Trust(ca_folder=tmp_path)
    async with (
        amqtt(certificate=(tmp_path / "server.pem", tmp_path / "server.key")) as port,
        publishing(outbound, trust) as publisher,
    ):
        await publisher.publish(to(port, tls=True, host="localhost", ca="city.pem", qos=2), b"{}" * 50_000, 5)
        with pytest.raises(OutboundError, match="no secure connection"):
            await publisher.publish(to(port, tls=True, host="localhost"), b"{}", 5)
        with pytest.raises(OutboundError, match="no secure connection"):
            await publisher.publish(to(port, tls=True, ca="city.pem"), b"{}", 5)
    async with (
        amqtt(certificate=(tmp_path / "server.pem", tmp_path / "server.key")) as port,
        publishing(outbound, Trust(ca_file=tmp_path / "city.pem")) as publisher,
    ):
        await publisher.publish(to(port, tls=True, host="localhost"), b"{}", 5)


async def test_a_server_that_stalls_the_tls_handshake_is_left_in_time(outbound: Outbound) -> None:
    left = asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        left.set()
        writer.close()

    silent = await asyncio.start_server(stall, "127.0.0.1", 0)
    async with silent, publishing(outbound, timeout=0.2) as publisher:
        with pytest.raises(OutboundError, match=r"within 0\.2 s"):
            await publisher.publish(to_v5(silent.sockets[0].getsockname()[1], tls=True), b"{}", 5)
        await asyncio.wait_for(left.wait(), 5)
