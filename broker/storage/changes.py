"""Following a collection: what any broker process changes in it, as MongoDB's change streams report it."""

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from broker.storage.client import storage_errors

Event = dict[str, Any]

_PATIENCE_MS = 1000


@asynccontextmanager
async def changes(
    collection: Any, pipeline: list[dict[str, Any]], *, full_document: str | None = None
) -> AsyncIterator[AsyncIterator[Event]]:
    """The change events that `pipeline` lets through, from the moment the context is entered.

    Reading everything after entering and then applying the events leaves no gap. Raises Unavailable when the stream
    breaks for good: enter again.
    """
    with storage_errors():
        opening = collection.watch(pipeline, full_document=full_document, max_await_time_ms=_PATIENCE_MS)
        if inspect.isawaitable(opening):
            async with await opening as stream:
                yield _events(stream, None)
        else:
            async with opening as stream:
                yield _events(stream, await stream.try_next())  # Motor opens a stream with its first event


async def _events(stream: Any, first: Event | None) -> AsyncIterator[Event]:
    if first is not None:
        yield first
    async for event in stream:
        yield event
