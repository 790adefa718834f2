"""MQTT brokers on this machine: amqtt, a real one that speaks MQTT 3.1.1, and a scripted one that speaks MQTT 5."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt

from broker.local import free_port

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, PING, PONG, DISCONNECT = 1, 2, 3, 4, 5, 6, 7, 12, 13, 14

_AMQTT = Path(__file__).with_name("mqtt_process.py")


@contextlib.asynccontextmanager
async def amqtt(
    port: int | None = None, *, passwords: Path | None = None, certificate: tuple[Path, Path] | None = None
) -> AsyncIterator[int]:
    """A broker on 127.0.0.1, killed in the end; its port.

    With `passwords` only those users may come in; `certificate` makes it TLS.
    """
    port = port or free_port()
    listener: dict[str, Any] = {"type": "tcp", "bind": f"127.0.0.1:{port}"}
    if certificate is not None:
        listener |= {"ssl": True, "certfile": str(certificate[0]), "keyfile": str(certificate[1])}
    if passwords is None:
        authentication: dict[str, Any] = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    else:
        authentication = {"amqtt.plugins.authentication.FileAuthPlugin": {"password_file": str(passwords)}}
    configuration = json.dumps({"listeners": {"default": listener}, "plugins": authentication})
    process = await asyncio.create_subprocess_exec(sys.executable, str(_AMQTT), configuration)
    try:
        async with asyncio.timeout(20):
            while not await _listens(port):
                assert process.returncode is None, "amqtt ended"
                await asyncio.sleep(0.02)
        yield port
    finally:
        process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def subscribed(port: int, topic: str, **options: Any) -> AsyncIterator[asyncio.Queue[aiomqtt.Message]]:
    """The messages that arrive at a topic."""
    arrived: asyncio.Queue[aiomqtt.Message] = asyncio.Queue()

    async def listen(client: aiomqtt.Client) -> None:
        async for message in client.messages:
            arrived.put_nowait(message)

    async with aiomqtt.Client("127.0.0.1", port, **options) as client:
        await client.subscribe(topic, qos=2)
        listening = asyncio.create_task(listen(client))
        yield arrived
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


@dataclass
class Packet:
    """One packet of a client: its type, its flags, and what follows."""

    kind: int
    flags: int
    body: bytes


@dataclass
class ScriptedServer:
    """Speaks enough MQTT 5 to take messages, and misbehaves as told.

    `acknowledgement` is the reason code of PUBACK and PUBREC, None for silence; `welcome` that of CONNACK, with
    `properties`; `farewell` that of DISCONNECT as the answer to a message. `published` are the packets that came,
    `completed` counts PUBREL, `connections` is how many there were, `open` how many there are.
    """

    port: int = 0
    welcome: int | None = 0
    properties: bytes = b""
    acknowledgement: int | None = 0
    hang_up_on_publish: bool = False
    farewell: int | None = None
    published: list[Packet] = field(default_factory=list)
    completed: int = 0
    connections: int = 0
    open: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                packet = await _read(reader)
                if not self._answer(packet, writer):
                    return
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    def _answer(self, packet: Packet, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        if packet.kind == CONNECT:
            if self.welcome is not None:
                writer.write(_packet(CONNACK, bytes([0, self.welcome, len(self.properties)]) + self.properties))
            return not self.welcome
        if packet.kind == PUBLISH:
            self.published.append(packet)
            if self.farewell is not None:
                writer.write(_packet(DISCONNECT, bytes([self.farewell, 0])))
                return False
            qos = packet.flags >> 1 & 3
            if qos and self.acknowledgement is not None:
                kind = PUBACK if qos == 1 else PUBREC
                writer.write(_packet(kind, _packet_id(packet) + bytes([self.acknowledgement, 0])))
            return not self.hang_up_on_publish
        if packet.kind == PUBREL:
            self.completed += 1
            writer.write(_packet(PUBCOMP, packet.body[:2]))
        if packet.kind == PING:
            writer.write(_packet(PONG, b""))
        return packet.kind != DISCONNECT


@contextlib.asynccontextmanager
async def scripted(**behaviour: Any) -> AsyncIterator[ScriptedServer]:
    """A scripted server on 127.0.0.1."""
    scripted_server = ScriptedServer(**behaviour)
    server = await asyncio.start_server(scripted_server.serve, "127.0.0.1", 0)
    scripted_server.port = server.sockets[0].getsockname()[1]
    async with server:
        yield scripted_server


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return True


async def _read(reader: asyncio.StreamReader) -> Packet:
    head = (await reader.readexactly(1))[0]
    length, shift = 0, 0
    while True:
        digit = (await reader.readexactly(1))[0]
        length |= (digit & 127) << shift
        shift += 7
        if digit < 128:
            return Packet(head >> 4, head & 15, await reader.readexactly(length))


def _packet(kind: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes([kind << 4, len(body)]) + body


def _packet_id(publish: Packet) -> bytes:
    topic_length = int.from_bytes(publish.body[:2])
    return publish.body[2 + topic_length : 4 + topic_length]
