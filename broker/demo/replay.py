"""The replay: agents that send their share of the readings, and the wait for what the broker owes."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from broker.demo import payloads
from broker.demo.client import BrokerClient, BrokerError
from broker.demo.display import Display
from broker.demo.ledger import Ledger
from broker.demo.record import Record
from broker.demo.recording import CarPark, Reading, shares

_FAILURES_SHOWN = 5


class Replay:
    """One replay: what was sent and what came back goes to the ledger, the record and the display."""

    def __init__(
        self, client: BrokerClient, car_parks: Sequence[CarPark], *, ledger: Ledger, record: Record, display: Display
    ) -> None:
        self._client = client
        self._car_parks = {car_park.entity_id: car_park for car_park in car_parks}
        self._ledger = ledger
        self._record = record
        self._display = display
        self._arrival = asyncio.Event()
        self.failures: list[str] = []
        self.failed = 0

    def receive(self, entity: dict[str, Any], observed_at: datetime) -> None:
        """Take a notified entity; one that is not of this recording is somebody else's."""
        car_park = self._car_parks.get(entity.get("id", ""))
        if car_park is None:
            return
        self._ledger.receive(car_park.entity_id, observed_at)
        self._arrival.set()
        self._record.notified(car_park.entity_id, observed_at)
        free = payloads.member(entity, "availableSpotNumber")["value"]
        self._display.notified(
            f"{observed_at:%H:%M} {car_park.city}, {car_park.name}: {free} of {car_park.capacity} spaces free"
        )

    async def send(self, readings: list[Reading], *, agents: int, speed: float) -> float:
        """Send the readings, those of each car park in their order; the time it took in seconds.

        `speed` is how many seconds of the recording pass in a second, 0 for no wait at all.
        """
        began = time.perf_counter()
        start = min((reading.at for reading in readings), default=None)

        def due(reading: Reading) -> float:
            return 0.0 if start is None or speed <= 0 else began + (reading.at - start).total_seconds() / speed

        async with asyncio.TaskGroup() as group:
            for share in shares(readings, agents):
                group.create_task(self._agent(share, due))
        return time.perf_counter() - began

    async def settle(self, patience: float) -> None:
        """Wait until every owed notification arrived, or none has arrived for `patience` seconds."""
        while self._ledger.missing:
            self._arrival.clear()
            try:
                await asyncio.wait_for(self._arrival.wait(), patience)
            except TimeoutError:
                return

    async def _agent(self, share: list[Reading], due: Callable[[Reading], float]) -> None:
        for reading in share:
            wait = due(reading) - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            sent = time.perf_counter()
            try:
                await self._client.patch(reading.car_park.entity_id, payloads.update(reading))
            except BrokerError as error:
                self.failed += 1
                if len(self.failures) < _FAILURES_SHOWN:
                    self.failures.append(str(error))
                continue
            latency = time.perf_counter() - sent
            self._ledger.acknowledge(reading, latency)
            self._record.acknowledged(reading, latency)
            self._display.advance()
