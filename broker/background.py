"""Services that work beside the requests: a task from `start` to `stop`."""

import asyncio
import random
from abc import ABC, abstractmethod


class Background(ABC):
    """A service with one task; a subclass says in `_run` what it does, for as long as it is let."""

    _task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Break off the work; what is left is for other processes, or the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @abstractmethod
    async def _run(self) -> None:
        """Do the work; it ends only by being cancelled."""


async def pause(seconds: float) -> None:
    """Wait for a random part of `seconds`, at least half: processes started together are not to act together."""
    await asyncio.sleep(seconds * random.uniform(0.5, 1))  # noqa: S311 - no secrecy needed
