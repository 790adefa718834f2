"""The subscriptions of the contests, and what becomes of their notifications."""

import asyncio
import pickle
from dataclasses import replace
from time import monotonic
from typing import Any

import aiohttp

from benchmarks.figures import ACKNOWLEDGED, percentile
from benchmarks.jobs import Log
from benchmarks.population import ENTITY_TYPE, MEASURED
from benchmarks.receiver import Received
from benchmarks.results import Told

_OTHER_ATTRIBUTES = 200
_DELIVERY_SECONDS = 120.0


def unmatched(index: int) -> dict[str, Any]:
    """A subscription that no update of the load fires: to other attributes of the type, or to other types."""
    type_name = ENTITY_TYPE if index % 2 == 0 else f"Other{index % 50}"
    return subscription(type_name, f"other{index % _OTHER_ATTRIBUTES}", f"http://127.0.0.1:9/{index % 1_000}")


def subscription(type_name: str, attribute: str, uri: str) -> dict[str, Any]:
    """A subscription to one attribute of the entities of one type."""
    return {
        "type": "Subscription",
        "entities": [{"type": type_name}],
        "watchedAttributes": [attribute],
        "notification": {"attributes": [attribute], "endpoint": {"uri": uri, "accept": "application/json"}},
    }


def fired(uri: str) -> dict[str, Any]:
    """The subscription that every update of the load fires."""
    return subscription(ENTITY_TYPE, MEASURED[0], uri)


def told(log: Log, received: Received, drained: float) -> Told:
    """What became of the notifications that the acknowledged updates of `log` owe."""
    first: dict[int, float] = {}
    for sequence, moment in zip(received.sequences, received.moments, strict=True):
        first.setdefault(sequence, moment)
    owed = {
        log.first_sequence + number: log.answered[number]
        for number, status in enumerate(log.statuses)
        if status in ACKNOWLEDGED
    }
    delays = sorted(first[one] - moment for one, moment in owed.items() if one in first and moment >= log.started)
    return Told(
        owed=len(owed),
        missing=len(owed.keys() - first.keys()),
        duplicates=len(received.sequences) - len(first),
        drained=drained,
        delay_p50=percentile(delays, 0.5),
        delay_p99=percentile(delays, 0.99),
    )


class ReceiverApi:
    """The receiver of the notifications (`receiver.py`), by its URL."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    @property
    def endpoint(self) -> str:
        """Where the notifications go."""
        return f"{self._url}/notify"

    async def told(self, log: Log, rate: float | None = None) -> Told:
        """Wait until all that the load owes is there, at most two minutes, then see what came."""
        ended = monotonic()
        owed = sum(status in ACKNOWLEDGED for status in log.statuses)
        while int(await self._ask("/count")) < owed and monotonic() - ended < _DELIVERY_SECONDS:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        drained = monotonic() - ended
        received = Received(*pickle.loads(await self._ask("/received")))
        return replace(told(log, received, drained), rate=rate)

    async def _ask(self, path: str) -> bytes:
        async with self._session.get(self._url + path) as answer:
            return await answer.read()
