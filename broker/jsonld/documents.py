"""@contexts with a URL as documents: memory → own → VELA_CONTEXTS_DIR → database → download (5.5.2, 5.13, 6.3.16).

A URL is downloaded once, however many requests wait for it. A document past its time is asked for again when it is
used; until the answer is there, and for as long as the server gives none, the old one goes on serving. An @context that
this broker hosts itself comes from the database, whatever host and port its URL names.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urljoin

import orjson
import structlog

from broker.jsonld.folder import ContextFolders
from broker.jsonld.freshness import lifetime
from broker.jsonld.identifiers import local_id_in
from broker.ngsild.errors import BadRequestData, LdContextNotAvailable, NgsiLdError
from broker.outbound import InvalidAnswer, JsonAnswer, OutboundError
from broker.setting import SettingsError

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
    """The JSON text of an @context document whose URLs are absolute, fresh up to a time in seconds since 1970.

    `record` is what the store calls it. `version` tells the states of one record apart. `owner` is the one tenant that
    may use it, "" where all may.
    """

    url: str
    text: bytes
    fresh_until: float
    record: str = ""
    version: str = ""
    owner: str = ""

    @property
    def context(self) -> Any:
        """The value of its "@context"."""
        return orjson.loads(self.text)["@context"]


class Record(Protocol):
    """An @context as the store returns it."""

    @property
    def document(self) -> Any:
        """The JSON document, an object with an "@context" member."""

    @property
    def expires_at(self) -> datetime | None:
        """Until when it is fresh; None if it never expires."""

    @property
    def version(self) -> str:
        """Which state of the record this is."""

    @property
    def owner(self) -> str:
        """The one tenant that may use it, "" where all may."""


class Store(Protocol):
    """Keeps @contexts for all processes, and over restarts."""

    async def get(self, name: str) -> Record | None:
        """What is kept of a URL, fresh or not, or under the local identifier of an @context of the broker's own."""

    async def put(self, url: str, document: Any, expires_at: datetime) -> str:
        """Keep `document`, which was downloaded from `url`; the version of what is kept now."""

    async def note(self, url: str, document: Any) -> None:
        """Keep `document`, which needs no download, unless there is something for `url` already."""


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

    async def load(self, url: str, tenant: str = "") -> Document:
        """The document at the absolute `url`, for a request of `tenant`.

        Raises LdContextNotAvailable if it cannot be had, BadRequestData if what is there is no @context document.
        """
        held = self._held.get(url)
        if held is None:
            held = await self._from_own(url) or await self._from_folder(url) or await self._from_store(url)
        if held is not None and held.owner not in ("", tenant):
            raise LdContextNotAvailable(f"The @context {url} cannot be retrieved: this tenant has none of that name.")
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

    async def fetch(self, url: str) -> Document:
        """The document as it is at its source now: the folder that has it, else the network. Nothing is kept.

        Raises as `load`.
        """
        return self._in_folder(url) or await self._fetched(url)

    async def accept(self, document: Document) -> None:
        """Keep a document that was fetched, instead of any earlier one."""
        self._hold(await self._kept(document))

    def holds(self, record: str, version: str) -> bool:
        """Whether the document of a record is in memory in just this version."""
        return any(one.record == record and one.version == version for one in self._held.values())

    def forget(self, record: str) -> None:
        """Drop the documents of a record."""
        for document in [one for one in self._held.values() if one.record == record]:
            del self._held[document.url]
            self._held_bytes -= len(document.text)

    def forget_all(self) -> None:
        """Drop all documents: each is looked for in the database when it is used again."""
        self._held.clear()
        self._held_bytes = 0

    async def close(self) -> None:
        """End the downloads that are under way."""
        downloads = list(self._downloads.values())
        for download in downloads:
            download.cancel()
        await asyncio.gather(*downloads, return_exceptions=True)

    async def _from_own(self, url: str) -> Document | None:
        local_id = local_id_in(url)
        if local_id is None or self._store is None:
            return None
        record = await self._store.get(local_id)
        if record is None:
            return None
        document = _document(url, url, record.document, FOREVER, record=local_id)
        return self._hold(replace(document, version=record.version, owner=record.owner))

    async def _from_folder(self, url: str) -> Document | None:
        document = self._in_folder(url)
        if document is None:
            return None
        if self._store is not None:
            with _logged(url):
                await self._store.note(url, orjson.loads(document.text))
        return self._hold(document)

    def _in_folder(self, url: str) -> Document | None:
        try:
            document = self._folders.get(url)
        except SettingsError as error:
            raise LdContextNotAvailable(f"The @context {url} cannot be retrieved: {error}") from error
        return None if document is None else _document(url, url, document, FOREVER)

    async def _from_store(self, url: str) -> Document | None:
        record = None if self._store is None else await self._store.get(url)
        if record is None:
            return None
        fresh_until = FOREVER if record.expires_at is None else record.expires_at.timestamp()
        return self._hold(replace(_document(url, url, record.document, fresh_until), version=record.version))

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
        return self._hold(await self._kept(await self._fetched(url)))

    async def _fetched(self, url: str) -> Document:
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
        log.info("context downloaded", url=url, bytes=len(document.text), fresh_for=round(fresh_for))
        return document

    async def _kept(self, document: Document) -> Document:
        """`document` as the store has it. Without the store the request still has what it needs."""
        if self._store is not None:
            with _logged(document.url):
                if document.fresh_until == FOREVER:
                    await self._store.note(document.url, orjson.loads(document.text))
                else:
                    expires_at = datetime.fromtimestamp(0, UTC) + timedelta(seconds=document.fresh_until)
                    version = await self._store.put(document.url, orjson.loads(document.text), expires_at)
                    return replace(document, version=version)
        return document

    def _hold(self, document: Document) -> Document:
        """Keep it in memory, instead of those that were put there first."""
        before = self._held.pop(document.url, None)
        self._held_bytes += len(document.text) - (0 if before is None else len(before.text))
        self._held[document.url] = document
        while self._held_bytes > _HELD_BYTES and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._held_bytes -= len(oldest.text)
        return document


@contextmanager
def _logged(url: str) -> Iterator[None]:
    """Log a failure of the store and go on: another process or the next start does it once more."""
    try:
        yield
    except NgsiLdError as error:
        log.warning("context not stored", url=url, reason=error.detail)


def _document(url: str, base: str, document: Any, fresh_until: float, *, record: str = "") -> Document:
    """The @context of a JSON document as it came from `base`; BadRequestData if it has none."""
    if not isinstance(document, dict) or "@context" not in document:
        raise BadRequestData(f'The document {url} is no @context: expected a JSON object with an "@context" member.')
    try:
        text = orjson.dumps({"@context": _absolute(document["@context"], base)})
    except (orjson.JSONEncodeError, ValueError) as error:
        raise BadRequestData(f"The @context {url} cannot be used: {error}.") from error
    return Document(url, text, fresh_until, record or url)


def _absolute(context: Any, base: str) -> Any:
    """`context` with the URLs of other @contexts resolved against the document's own."""
    if isinstance(context, str):
        return urljoin(base, context)
    if isinstance(context, list):
        return [_absolute(item, base) for item in context]
    if isinstance(context, dict) and isinstance(context.get("@import"), str):
        return context | {"@import": urljoin(base, context["@import"])}
    return context
