"""What a worker tells its supervisor: that it serves, and what it counts, so that any worker can tell it of all."""

import asyncio
import contextlib
from collections.abc import Callable

from broker.background import Background
from broker.channel import Channel
from broker.exposition import Snapshot
from broker.ngsild.errors import Unavailable

REPORT_SECONDS = 1.0
"""How often a worker reports what it counted: as much is missing at most when it is killed."""

ANSWER_SECONDS = 5.0


class Reporting(Background):
    """Reports the snapshots of one worker over its channel; answers for all workers through it."""

    def __init__(self, channel: Channel, take: Callable[[], Snapshot]) -> None:
        self._channel = channel
        self._take = take
        self._scrapes: dict[int, asyncio.Future[str]] = {}
        self._number = 0

    def ready(self) -> None:
        """The worker serves from now on."""
        self._channel.send({"ready": True})

    async def exposition(self) -> bytes:
        """The metrics of all workers in Prometheus' text format. Raises Unavailable when nobody tells them."""
        self._number += 1
        number = self._number
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._scrapes[number] = answer
        try:
            self._channel.send({"scrape": number, "metrics": self._take()})
            return (await asyncio.wait_for(answer, ANSWER_SECONDS)).encode()
        except TimeoutError:
            raise Unavailable(
                f"The supervisor of this worker has not answered within {ANSWER_SECONDS:g} s: ask again, or look into "
                "the log of the broker."
            ) from None
        finally:
            del self._scrapes[number]

    async def close(self) -> None:
        """Report for the last time."""
        await self.stop()
        self._report(0)
        await self._channel.close()

    def _report(self, number: int) -> None:
        self._channel.send({"metrics": self._take(), "collected": number})

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._report_regularly())
            group.create_task(self._listen())

    async def _report_regularly(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            self._report(0)

    async def _listen(self) -> None:
        while (message := await self._channel.receive()) is not None:
            if "collect" in message:
                self._report(message["collect"])
            elif (answer := self._scrapes.get(message.get("scraped", 0))) is not None:
                with contextlib.suppress(asyncio.InvalidStateError):
                    answer.set_result(message["text"])
