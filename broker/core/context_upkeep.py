"""What goes on beside the requests: following the @contexts that other processes change, and writing down their use."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog

from broker.core.contexts import ContextOperations
from broker.ngsild.errors import NgsiLdError
from broker.storage.contexts import ContextEdit

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0


class ContextSource(Protocol):
    """Where edits by all processes are reported."""

    def edits(self) -> AbstractAsyncContextManager[AsyncIterator[ContextEdit]]:
        """Follow edits from the moment the context is entered."""


class ContextUpkeep:
    """Keeps the @contexts of this process in step with the database."""

    def __init__(self, source: ContextSource, operations: ContextOperations) -> None:
        self._source = source
        self._operations = operations
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Follow edits from the moment this returns. Raises Unavailable if they cannot be followed."""
        following = asyncio.get_running_loop().create_future()
        self._tasks = [asyncio.create_task(self._follow(following)), asyncio.create_task(self._flush())]
        try:
            await following
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Follow no longer, and write down what was counted."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._flush_once()

    async def _follow(self, following: "asyncio.Future[None]") -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                async with self._source.edits() as edits:
                    self._operations.forget_all()
                    pause = _FIRST_PAUSE
                    if not following.done():
                        following.set_result(None)
                    async for edit in edits:
                        self._operations.forget(edit.record, edit.version)
            except Exception as error:
                if not following.done():
                    following.set_exception(error)
                    return
                if isinstance(error, NgsiLdError):
                    log.warning("following contexts was interrupted", reason=error.detail)
                else:
                    log.exception("following contexts failed")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self._flush_once()

    async def _flush_once(self) -> None:
        try:
            await self._operations.flush()
        except NgsiLdError as error:
            log.warning("use of contexts was not written down", reason=error.detail)
