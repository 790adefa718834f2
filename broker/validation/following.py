"""Staying in step with a collection that any broker process may edit: read it, then follow the edits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import structlog

from broker.ngsild.errors import NgsiLdError
from broker.storage.edits import Keys

log = structlog.get_logger("vela.validation")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0


class Following:
    """Follows the edits of one collection; `what` names it in the log.

    `edits` is entered first, then everything is read by `load`, then `take` is called with the keys of what was edited,
    so that nothing is missed. When following breaks off, all this begins anew.
    """

    def __init__(
        self,
        what: str,
        edits: Callable[[], AbstractAsyncContextManager[AsyncIterator[Keys]]],
        load: Callable[[], Awaitable[None]],
        take: Callable[[Keys], Awaitable[None]],
    ) -> None:
        self._what = what
        self._edits = edits
        self._load = load
        self._take = take
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load, and follow from then on. Raises Unavailable if it cannot be read now."""
        loaded = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._follow(loaded))
        try:
            await loaded
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Follow no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _follow(self, loaded: "asyncio.Future[None]") -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                async with self._edits() as edits:
                    await self._load()
                    pause = _FIRST_PAUSE
                    if not loaded.done():
                        loaded.set_result(None)
                    async for edited in edits:
                        await self._take(edited)
            except Exception as error:
                if not loaded.done():
                    loaded.set_exception(error)
                    return
                if isinstance(error, NgsiLdError):
                    log.warning("following was interrupted", what=self._what, reason=error.detail)
                else:
                    log.exception("following failed", what=self._what)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
