"""Publishing over MQTT: one connection per server and user, opened when needed and closed when idle.

There is no loop that reconnects: the next message opens the connection again, and how long that message waits is the
business of its endpoint (`endpoints.py`), which rests longer after each failure.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.notify.mqtt_address import MqttDestination, MqttServer
from broker.notify.trust import Trust, UntrustworthyError
from broker.outbound import OutboundError, OutboundRefused

if TYPE_CHECKING:
    from broker.notify.mqtt_connection import Connects, MqttConnection

_LOOKS_PER_IDLE_TIME = 4


@dataclass(slots=True, eq=False)
class _Link:
    """A connection, or one that is being opened; `users` wait for it or for something on it."""

    opening: "asyncio.Task[MqttConnection]"
    users: int = 0
    used_at: float = field(default_factory=time.monotonic)

    @property
    def settled(self) -> bool:
        return self.opening.done()

    @property
    def spoilt(self) -> bool:
        """Whether it could not be opened, or was lost since."""
        if not self.settled:
            return False
        failed = self.opening.cancelled() or self.opening.exception() is not None
        return failed or self.opening.result().lost is not None


class MqttPublisher:
    """The MQTT connections of the process, at most `connections`.

    `idle` is how long one may be of no use before it is closed, `timeout` how long each step of opening one may take,
    both in seconds.
    """

    def __init__(
        self, outbound: "Connects", trust: Trust, *, connections: int = 250, idle: float = 60.0, timeout: float = 5.0
    ) -> None:
        self._outbound = outbound
        self._trust = trust
        self._connections = connections
        self._idle = idle
        self._timeout = timeout
        self._links: dict[MqttServer, _Link] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._tidying: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._links)

    def start(self) -> None:
        """Begin to close what is idle."""
        self._tidying = asyncio.create_task(self._tidy())

    async def close(self) -> None:
        """Close all connections. May be called more than once."""
        if self._tidying is not None:
            self._tidying.cancel()
            await asyncio.gather(self._tidying, return_exceptions=True)
            self._tidying = None
        for server in list(self._links):
            self._drop(server)
        await asyncio.gather(*self._closing)

    async def publish(self, destination: MqttDestination, payload: bytes, timeout: float) -> None:  # noqa: ASYNC109
        """Publish one message; return when the server has it, as far as the QoS lets it say so.

        That is PUBACK for QoS 1, PUBCOMP for QoS 2, and for QoS 0 that the message was written to a connection.
        Raises OutboundRefused for what will never be taken, OutboundError for what may be tried again.
        """
        server = destination.server
        link = self._link(server)
        link.users += 1
        try:
            async with asyncio.timeout(timeout):
                connection = await asyncio.shield(link.opening)
                await connection.publish(destination.topic, payload, destination.qos)
        except TimeoutError as error:
            if link.settled:
                # What was not acknowledged would stay on this connection's books for good.
                self._drop(server, link)
            raise OutboundError(f"there was no acknowledgement within {timeout:g} s") from error
        except OutboundError as error:
            if not isinstance(error, OutboundRefused) and link.spoilt:
                self._drop(server, link)
            raise
        finally:
            link.users -= 1
            link.used_at = time.monotonic()

    def _link(self, server: MqttServer) -> _Link:
        link = self._links.get(server)
        if link is not None and not link.spoilt:
            return link
        if link is not None:
            self._drop(server)
        self._make_room()
        link = self._links[server] = _Link(asyncio.create_task(self._open(server)))
        return link

    async def _open(self, server: MqttServer) -> "MqttConnection":
        try:
            tls = self._trust.context(server.ca) if server.tls else None
        except UntrustworthyError as error:
            raise OutboundError(str(error)) from error
        from broker.notify.mqtt_connection import MqttConnection  # paho takes 3 MB: only who uses MQTT has it

        return await MqttConnection.open(server, self._outbound, tls, self._timeout)

    def _make_room(self) -> None:
        if len(self._links) < self._connections:
            return
        unused = [(link.used_at, server) for server, link in self._links.items() if not link.users and link.settled]
        if not unused:
            raise OutboundError(f"Vela holds as many MQTT connections as it may at once ({self._connections})")
        self._drop(min(unused, key=lambda one: one[0])[1])

    def _drop(self, server: MqttServer, only: _Link | None = None) -> None:
        link = self._links.get(server)
        if link is None or (only is not None and link is not only):
            return
        del self._links[server]
        closing = asyncio.create_task(_close(link))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(self._idle / _LOOKS_PER_IDLE_TIME)
            long_ago = time.monotonic() - self._idle
            for server, link in list(self._links.items()):
                if not link.users and link.settled and (link.spoilt or link.used_at < long_ago):
                    self._drop(server)


async def _close(link: _Link) -> None:
    try:
        connection = await link.opening
    except OutboundError:
        return
    await connection.close()
