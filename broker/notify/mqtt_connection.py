"""One connection to an MQTT broker: opened under the outbound policy, and honest about what became of each message.

aiomqtt does the protocol. What it leaves open is closed here: the socket comes from `Outbound`, which checks the
address and connects without a thread; a negative acknowledgement of MQTT 5 is an error; a lost connection ends every
wait at once; no socket survives an opening that failed. This reaches into aiomqtt and paho-mqtt: hence their narrow
ranges of versions in pyproject.toml.
"""

import asyncio
import contextlib
import math
import secrets
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Literal, Protocol, TypeVar

import aiomqtt
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from broker.notify.mqtt_address import MqttServer
from broker.outbound import OutboundError, OutboundRefused

_PROTOCOLS = {"mqtt5.0": aiomqtt.ProtocolVersion.V5, "mqtt3.1.1": aiomqtt.ProtocolVersion.V311}
_ERRORS = {
    0x80: "unspecified error",
    0x83: "implementation specific error",
    0x87: "not authorized",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x92: "packet identifier does not exist",
    0x95: "packet too large",
    0x97: "quota exceeded",
    0x99: "payload format invalid",
}
"""What the reason codes of negative acknowledgements mean (MQTT 5, table 2-6)."""

_TEMPORARY = frozenset({0x91, 0x97})
"""Those that promise better luck later."""

_FAULT_OF_THE_MESSAGE = frozenset({0x90, 0x95, 0x99, 0x9B})
"""Reasons to end a connection that lie in what was sent; the last one is a QoS that the server does not support."""

_TIME_TO_SAY_GOODBYE = 1.0

_T = TypeVar("_T")


class Connects(Protocol):
    """Opens TCP connections under the broker's policy."""

    async def connect(self, host: str, port: int) -> socket.socket:
        """A connected socket. OutboundError."""


class MqttConnection:
    """A connection to `server`, made by `open`. `lost` is why it cannot be used any more, None while it can."""

    def __init__(self, client: "_Client") -> None:
        self._client = client
        self._watching = asyncio.create_task(self._watch())
        self.lost: str | None = None

    @classmethod
    async def open(
        cls,
        server: MqttServer,
        outbound: Connects,
        tls: ssl.SSLContext | None,
        timeout: float,  # noqa: ASYNC109 - for each of the two steps
    ) -> "MqttConnection":
        """Connect and introduce ourselves. Must not be cancelled. OutboundRefused, OutboundError."""
        try:
            async with asyncio.timeout(timeout):
                connection = await outbound.connect(server.host, server.port)
                if tls is not None:
                    connection = await _secured(connection, server.host, tls)
        except TimeoutError as error:
            raise OutboundError(f"it cannot be connected to within {timeout:g} s") from error
        except OSError as error:
            raise OutboundError(f"no secure connection can be made ({_reason(error)})") from error
        client = _Client(connection, server, timeout)
        try:
            await client.__aenter__()
        except (aiomqtt.MqttError, ValueError) as error:
            client.abandon()
            raise OutboundError(f"it does not let Vela in ({_reason(error)})") from error
        return cls(client)

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        """Publish, and return when the server took the message over as `qos` demands.

        Raises OutboundRefused for what it will never take, OutboundError for what may be tried again.
        """
        self._client.check(payload, topic, qos)
        try:
            await self._client.publish(topic, payload, qos, timeout=math.inf)
        except _NotTakenError as error:
            text = f"it did not take the message ({error})"
            raise (OutboundRefused(text) if error.final else OutboundError(text)) from error
        except (aiomqtt.MqttError, ValueError) as error:
            raise OutboundError(f"the message could not be sent ({self.lost or _reason(error)})") from error

    async def close(self) -> None:
        """Say goodbye, and close the socket in any case."""
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        self._end("the connection was closed")
        with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
            async with asyncio.timeout(_TIME_TO_SAY_GOODBYE):
                await self._client.__aexit__(None, None, None)
        self._client.abandon()

    async def _watch(self) -> None:
        try:
            async for _ in self._client.messages:
                pass
        except aiomqtt.MqttError as error:
            cause = error.__cause__ or error
            code = getattr(getattr(cause, "rc", None), "value", None)
            self._end(f"the connection was lost: {_reason(cause)}", final=code in _FAULT_OF_THE_MESSAGE)

    def _end(self, reason: str, *, final: bool = False) -> None:
        self.lost = self.lost or reason
        self._client.end_waits(self.lost, final=final)


class _NotTakenError(aiomqtt.MqttError):
    """The server did not take a message over; it will not take it later either if `final`."""

    def __init__(self, reason: str, *, final: bool) -> None:
        super().__init__(reason)
        self.final = final


class _Client(aiomqtt.Client):
    def __init__(
        self,
        connection: socket.socket,
        server: MqttServer,
        timeout: float,
    ) -> None:
        super().__init__(
            server.host,
            server.port,
            username=server.username,
            password=server.password,
            identifier=f"vela-{secrets.token_hex(6)}",
            protocol=_PROTOCOLS[server.version],
            timeout=timeout,
            max_queued_incoming_messages=1,
        )
        self._connection = connection
        self._watch_acknowledgements()
        self._client._create_socket_connection = lambda: connection  # type: ignore[method-assign] # noqa: SLF001
        self._failures: dict[int, _NotTakenError] = {}
        self._largest: int | None = None
        self._best_qos = 2

    def check(self, payload: bytes, topic: str, qos: int) -> None:
        """OutboundRefused for a message that the server has said not to take: it would end the connection."""
        if self._largest is not None and len(payload) + len(topic.encode()) + 16 > self._largest:
            raise OutboundRefused(f"its MQTT broker takes at most {self._largest} bytes, and this has {len(payload)}")
        if qos > self._best_qos:
            raise OutboundRefused(f"its MQTT broker takes QoS {self._best_qos} at most, and {qos} is asked for")

    def end_waits(self, reason: str, *, final: bool) -> None:
        """Fail every publication that still waits. `final` blames the message, if there is only one."""
        final = final and len(self._pending_publishes) == 1
        for mid, confirmation in self._pending_publishes.items():
            self._failures.setdefault(mid, _NotTakenError(reason, final=final))
            confirmation.set()

    def abandon(self) -> None:
        """Close the socket, whatever state the client is in."""
        self._client._sock_close()  # noqa: SLF001
        self._connection.close()

    @contextlib.contextmanager
    def _pending_call(self, mid: int, value: _T, pending_dict: dict[int, _T]) -> Iterator[None]:
        try:
            with super()._pending_call(mid, value, pending_dict):
                yield
        finally:
            failure = self._failures.pop(mid, None)
        if failure is not None:
            raise failure

    def _watch_acknowledgements(self) -> None:
        """Look at PUBACK, PUBREC and PUBCOMP before paho does, which does not heed all their reason codes."""
        paho = self._client
        recorded, completed = paho._handle_pubrec, paho._handle_pubackcomp  # noqa: SLF001

        def on_pubrec() -> MQTTErrorCode:
            return recorded() if self._good() else MQTTErrorCode.MQTT_ERR_SUCCESS

        def on_puback_or_pubcomp(cmd: Literal["PUBACK", "PUBCOMP"]) -> MQTTErrorCode:
            return completed(cmd) if self._good() else MQTTErrorCode.MQTT_ERR_SUCCESS

        paho._handle_pubrec = on_pubrec  # type: ignore[method-assign] # noqa: SLF001
        paho._handle_pubackcomp = on_puback_or_pubcomp  # type: ignore[method-assign] # noqa: SLF001

    def _good(self) -> bool:
        """Whether the acknowledgement that has just come is a positive one; else its publication has failed."""
        packet = bytes(self._client._in_packet["packet"])  # noqa: SLF001
        code = packet[2] if len(packet) > 2 else 0  # absent for success, and in MQTT 3.1.1
        if code < 0x80:
            return True
        mid = int.from_bytes(packet[:2])
        if mid in self._pending_publishes:
            text = f"{_ERRORS.get(code, 'error')}, reason code {code:#x}"
            self._failures[mid] = _NotTakenError(text, final=code not in _TEMPORARY)
        if mid in self._client._out_messages:  # noqa: SLF001
            nothing = Properties(PacketTypes.PUBACK)  # type: ignore[no-untyped-call]
            self._client._do_on_publish(mid, ReasonCode(PacketTypes.PUBACK), nothing)  # noqa: SLF001
        return False

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None) -> None:
        self._largest = getattr(properties, "MaximumPacketSize", None)
        self._best_qos = getattr(properties, "MaximumQoS", 2)
        super()._on_connect(client, userdata, flags, reason_code, properties)


async def _secured(connection: socket.socket, host: str, tls: ssl.SSLContext) -> ssl.SSLSocket:
    """TLS over a connected socket, without a thread. OSError, as which ssl reports its errors."""
    secured = tls.wrap_socket(connection, server_hostname=host, do_handshake_on_connect=False)
    loop = asyncio.get_running_loop()
    try:
        while True:
            ready = asyncio.Event()
            try:
                secured.do_handshake()
            except ssl.SSLWantReadError:
                loop.add_reader(secured, ready.set)
            except ssl.SSLWantWriteError:
                loop.add_writer(secured, ready.set)
            else:
                return secured
            try:
                await ready.wait()
            finally:
                loop.remove_reader(secured)
                loop.remove_writer(secured)
    except BaseException:
        secured.close()
        raise


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
