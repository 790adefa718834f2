"""The subscriber: a small HTTP server that takes notifications."""

import asyncio
import socket
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from broker.demo.payloads import member

Receive = Callable[[dict[str, Any], datetime], None]
"""Called with each notified entity and the instant that it is about."""

PATH = "/notify"


class Receiver:
    """Listens on a free port of `address` and hands each notified entity to `receive`."""

    def __init__(self, address: str, receive: Receive) -> None:
        self._address = address
        self._receive = receive
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        """Start to listen; `url` is known afterwards."""
        app = web.Application()
        app.router.add_post(PATH, self._notified)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        listener = socket.create_server((self._address, 0))
        await web.SockSite(self._runner, listener).start()
        self.url = f"http://{self._address}:{listener.getsockname()[1]}{PATH}"

    async def stop(self) -> None:
        """Stop to listen."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _notified(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            entities = body["data"] if isinstance(body["data"], list) else [body["data"]]
            told = [(entity, observed_at(entity)) for entity in entities]
        except (ValueError, KeyError, TypeError):
            return web.Response(status=400, text="This is no notification of car parks.")
        for entity, instant in told:
            self._receive(entity, instant)
        return web.Response()


def observed_at(entity: dict[str, Any]) -> datetime:
    """The instant of the reading that a notified entity shows; KeyError, TypeError or ValueError if it shows none."""
    return datetime.fromisoformat(member(entity, "availableSpotNumber")["observedAt"])


async def address_for(broker_url: str) -> str:
    """The address of this host that the broker can reach: the loopback one for a broker on this host."""
    parts = urlsplit(broker_url)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=(parts.hostname or "127.0.0.1", parts.port or 80), family=socket.AF_INET
    )
    try:
        address: str = transport.get_extra_info("sockname")[0]
        return address
    finally:
        transport.close()
