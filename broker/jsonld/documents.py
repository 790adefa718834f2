"""Remote @contexts as documents: memory → VELA_CONTEXTS_DIR → database → download (clauses 5.5.2, 6.3.16).

A URL is downloaded once, however many requests wait for it. A document past its time is asked for again when it is
used; until the answer is there, and for as long as the server gives none, the old one goes on serving.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urljoin

import orjson
import structlog

from broker.jsonld.folder import ContextFolders
from broker.jsonld.freshness import lifetime
from broker.ngsild.errors import BadRequestData, LdContextNotAvailable, NgsiLdError
from broker.outbound import InvalidAnswer, JsonAnswer, OutboundError
from broker.settings import SettingsError

log = structlog.get_logger(__name__)

_HELD_BYTES = 64 * 1024 * 1024
_HELD_FAILURES = 1_000
_RETRY_AFTER_FAILURE = 5.0
_RETRY_WHILE_STALE = 60.0
_PATIENCE_WHILE_STALE = 1.0
"""Seconds: before a URL that failed is tried again, with nothing to serve and with a stale document; and how long a
request waits for the refresh of a stale one."""

FOREVER = float("inf")
_DOWNLOADS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one download: seconds for all of it, bytes of the document, redirects followed."""

    timeout: float = 5.0
    max_bytes: int = 4 * 1024 * 1024
    max_redirects: int = 5


@dataclass(frozen=True, slots=True)
class Document:
    """The JSON text of an @context document whose URLs are absolute, fresh up to a time in seconds since 1970."""

    url: str
    text: bytes
    fresh_until: float

    @property
    def context(self) -> Any:
        """The value of its "@context"."""
        return orjson.loads(self.text)["@context"]


class Record(Protocol):
    """An @context as the store returns it. `expires_at` is None for one that never expires."""

    @property
    def document(self) -> Any:
        """The JSON document, an object with an "@context" member."""

    @property
    def expires_at(self) -> datetime | None:
        """Until when it is fresh."""


class Store(Protocol):
    """Keeps downloaded @contexts for all processes, and over restarts."""

    async def get(self, url: str) -> Record | None:
        """What was last put for `url`, fresh or not."""

    async def put(self, url: str, document: Any, expires_at: datetime) -> None:
        """Keep `document` for `url`."""


class Fetcher(Protocol):
    """Downloads JSON."""

    async def get_json(
        self,
        url: str,
        *,
        max_bytes: int,
        timeout: float,  # noqa: ASYNC109 - as `Outbound.get_json`, which it describes
        max_redirects: int,
    ) -> JsonAnswer:
        """The document at `url`; raises OutboundError."""


class Documents:
    """The loader of @context documents by URL."""

    def __init__(
        self,
        fetcher: Fetcher,
        store: Store | None,
        folders: ContextFolders,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._fetcher = fetcher
        self._store = store
        self._folders = folders
        self._limits = limits
        self._clock = clock
        self._held: OrderedDict[str, Document] = OrderedDict()
        self._held_bytes = 0
        self._failures: OrderedDict[str, tuple[float, NgsiLdError]] = OrderedDict()
        self._downloads: dict[str, asyncio.Task[Document]] = {}
        self._places = asyncio.Semaphore(_DOWNLOADS_AT_ONCE)

    async def load(self, url: str) -> Document:
        """The document at the absolute `url`.

        Raises LdContextNotAvailable if it cannot be had, BadRequestData if what is there is no @context document.
        """
        held = self._held.get(url)
        if held is None:
            held = self._from_folder(url) or await self._from_store(url)
        if held is not None and held.fresh_until > self._clock():
            return held
        if held is None:
            self._raise_recent_failure(url)
            return await asyncio.shield(self._download_of(url))
        download = self._download_of(url)
        await asyncio.wait((download,), timeout=_PATIENCE_WHILE_STALE)
        if download.done() and not download.cancelled() and download.exception() is None:
            return download.result()
        return self._hold(replace(held, fresh_until=self._clock() + _RETRY_WHILE_STALE))

    async def close(self) -> None:
        """End the downloads that are under way."""
        downloads = list(self._downloads.values())
        for download in downloads:
            download.cancel()
        await asyncio.gather(*downloads, return_exceptions=True)

    def _from_folder(self, url: str) -> Document | None:
        try:
            document = self._folders.get(url)
        except SettingsError as error:
            raise LdContextNotAvailable(f"The @context {url} cannot be retrieved: {error}") from error
        return None if document is None else self._hold(_document(url, url, document, FOREVER))

    async def _from_store(self, url: str) -> Document | None:
        record = None if self._store is None else await self._store.get(url)
        if record is None:
            return None
        fresh_until = FOREVER if record.expires_at is None else record.expires_at.timestamp()
        return self._hold(_document(url, url, record.document, fresh_until))

    def _download_of(self, url: str) -> asyncio.Task[Document]:
        download = self._downloads.get(url)
        if download is None:
            download = asyncio.create_task(self._download(url), name=f"download {url}")
            self._downloads[url] = download
            download.add_done_callback(lambda done: self._downloaded(url, done))
        return download

    def _downloaded(self, url: str, download: asyncio.Task[Document]) -> None:
        del self._downloads[url]
        error = None if download.cancelled() else download.exception()
        if isinstance(error, NgsiLdError):
            log.warning("context not downloaded", url=url, reason=error.detail)
            self._failures[url] = (self._clock() + _RETRY_AFTER_FAILURE, error)
            if len(self._failures) > _HELD_FAILURES:
                self._failures.popitem(last=False)

    def _raise_recent_failure(self, url: str) -> None:
        until, error = self._failures.get(url, (0.0, None))
        if error is not None and until > self._clock():
            raise type(error)(error.detail)
        self._failures.pop(url, None)

    async def _download(self, url: str) -> Document:
        limits = self._limits
        try:
            async with self._places:
                answer = await self._fetcher.get_json(
                    url, max_bytes=limits.max_bytes, timeout=limits.timeout, max_redirects=limits.max_redirects
                )
        except InvalidAnswer as error:
            raise BadRequestData(f"The @context {url} cannot be used: {error}.") from error
        except OutboundError as error:
            raise LdContextNotAvailable(
                f"The @context {url} cannot be retrieved: {error}. Check the URL, and that Vela can reach it."
            ) from error
        now = self._clock()
        fresh_for = lifetime(answer.headers, datetime.fromtimestamp(now, UTC))
        document = _document(url, answer.url, answer.document, now + fresh_for)
        await self._keep(document)
        log.info("context downloaded", url=url, bytes=len(document.text), fresh_for=round(fresh_for))
        return self._hold(document)

    async def _keep(self, document: Document) -> None:
        if self._store is None:
            return
        expires_at = datetime.fromtimestamp(0, UTC) + timedelta(seconds=document.fresh_until)
        try:
            await self._store.put(document.url, orjson.loads(document.text), expires_at)
        except NgsiLdError as error:
            # The request has what it needs; another process or the next start downloads it once more.
            log.warning("context not stored", url=document.url, reason=error.detail)

    def _hold(self, document: Document) -> Document:
        """Keep it in memory, instead of those that were put there first."""
        before = self._held.pop(document.url, None)
        self._held_bytes += len(document.text) - (0 if before is None else len(before.text))
        self._held[document.url] = document
        while self._held_bytes > _HELD_BYTES and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._held_bytes -= len(oldest.text)
        return document


def _document(url: str, base: str, document: Any, fresh_until: float) -> Document:
    """The @context of a JSON document as it came from `base`; BadRequestData if it has none."""
    if not isinstance(document, dict) or "@context" not in document:
        raise BadRequestData(f'The document {url} is no @context: expected a JSON object with an "@context" member.')
    try:
        text = orjson.dumps({"@context": _absolute(document["@context"], base)})
    except (orjson.JSONEncodeError, ValueError) as error:
        raise BadRequestData(f"The @context {url} cannot be used: {error}.") from error
    return Document(url, text, fresh_until)


def _absolute(context: Any, base: str) -> Any:
    """`context` with the URLs of other @contexts resolved against the document's own."""
    if isinstance(context, str):
        return urljoin(base, context)
    if isinstance(context, list):
        return [_absolute(item, base) for item in context]
    if isinstance(context, dict) and isinstance(context.get("@import"), str):
        return context | {"@import": urljoin(base, context["@import"])}
    return context
