"""The few requests that the demo makes of a broker."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

_LD_JSON = {"Content-Type": "application/ld+json"}
_API = "/ngsi-ld/v1"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_SHOWN = 400


class BrokerError(Exception):
    """The broker refused a request, or did not answer; the text says which and what it said."""


class BrokerClient:
    """A client of the broker at `url`. Requests are retried for `patience` seconds through lost connections and 503.

    Every request of the demo may be repeated: it says again what is so.
    """

    def __init__(self, url: str, *, connections: int, patience: float) -> None:
        self.url = url.rstrip("/")
        self._patience = patience
        self._session = aiohttp.ClientSession(
            # Shorter than any server keeps an idle connection, so that none is used while the server closes it.
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=4),
            timeout=aiohttp.ClientTimeout(total=60),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def begin_anew(self, entities: Sequence[dict[str, Any]]) -> None:
        """Create the entities; those that exist lose what is left of an earlier replay.

        An update that repeats what is stored changes nothing, and so owes no notification.
        """
        await self._request("POST", "/entityOperations/upsert?options=replace", entities, (200, 201, 204))

    async def subscribe(self, subscription: dict[str, Any]) -> None:
        """Create a subscription; that it exists is fine, as an earlier attempt may have come through."""
        await self._request("POST", "/subscriptions", subscription, (201, 409))

    async def unsubscribe(self, subscription_id: str) -> None:
        """Delete a subscription."""
        await self._request("DELETE", f"/subscriptions/{quote(subscription_id, safe=':')}", None, (204, 404))

    async def patch(self, entity_id: str, body: bytes) -> None:
        """Update attributes of an entity."""
        await self._request("PATCH", f"/entities/{quote(entity_id, safe=':')}/attrs", body, (200, 204))

    async def violations(self) -> list[dict[str, Any]] | None:
        """What Vela found to break the data models; None where the broker does not offer it."""
        try:
            async with self._session.get(self.url + "/datamodels/violations") as answer:
                report = await answer.json() if answer.status == 200 else None
        except (aiohttp.ClientError, ValueError, TimeoutError):
            return None
        return report if isinstance(report, list) else None

    async def _request(self, method: str, path: str, body: Any, expected: tuple[int, ...]) -> None:
        deadline = time.monotonic() + self._patience
        data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        pause = _FIRST_PAUSE
        while True:
            try:
                async with self._session.request(
                    method, self.url + _API + path, data=data, headers=_LD_JSON if data else None
                ) as answer:
                    if answer.status in expected:
                        return
                    found = f"{answer.status} {_told(await answer.read())}"
                    passing = answer.status == 503
            except (aiohttp.ClientError, TimeoutError) as error:
                found = f"no answer ({type(error).__name__}: {error})"
                passing = True
            if not passing or time.monotonic() + pause > deadline:
                raise BrokerError(f"{method} {self.url}{_API}{path}: {found}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _told(body: bytes) -> str:
    """What an error answer says: its problem's detail where it has one."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    if isinstance(problem, dict) and isinstance(problem.get("detail"), str):
        return str(problem["detail"])[:_SHOWN]
    return body.decode(errors="replace")[:_SHOWN]
