"""Notifications of changes of snapshots (clauses 5.3.4, 5.16.6), sent by whichever process is alive.

One is stored before its change, so that it cannot be lost; it is sent when the change is there to be seen. A receiver
gets each at least once, seldom twice.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Mapping
from typing import Protocol

import orjson
import structlog

from broker.background import Background
from broker.core.snapshot_documents import render_notification
from broker.jsonld.core import CORE_CONTEXT_URL
from broker.ngsild.errors import NgsiLdError
from broker.ngsild.timestamps import now_text
from broker.notify.rendering import notification_headers
from broker.outbound import OutboundError, OutboundRefused
from broker.storage.snapshots import Document

log = structlog.get_logger(__name__)

_LOOK = 2.0
_PAUSE = 1.0
_LANDS_WITHIN = 30.0
"""Seconds after which a change that is not to be seen will never be."""

_TRY_AGAIN = frozenset({408, 425, 429})


class KeepsNotices(Protocol):
    """Where notices are kept: `storage/snapshots.py` says what each does."""

    async def add(self, notice: Document) -> None:
        """Keep a new one."""

    async def take(self, pause: float) -> Document | None:
        """One that is due, for the caller alone."""

    async def remove(self, notice_id: str) -> None:
        """Forget one."""


class FindsSnapshots(Protocol):
    """What of the snapshots is needed."""

    async def find(self, key: Mapping[str, str]) -> Document | None:
        """One snapshot, expired or not."""


class Posts(Protocol):
    """Sends requests to addresses that clients choose."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> int:  # noqa: ASYNC109
        """POST; the status of the answer. OutboundError if there is none."""


class SnapshotNotifier(Background):
    """Announces changes and sends what is announced. `timeout` is for one attempt, `max_age` for all, in seconds."""

    def __init__(
        self, store: KeepsNotices, snapshots: FindsSnapshots, http: Posts, *, timeout: float, max_age: float
    ) -> None:
        self._store = store
        self._snapshots = snapshots
        self._http = http
        self._timeout = timeout
        self._max_age = max_age
        self._due = asyncio.Event()

    async def announce(self, document: Document, *, deleted: bool = False) -> str | None:
        """Store a notice of a change that is about to be made; its id, or None if nobody wants to know.

        `document` is the snapshot after the change; for a deletion it is the one that is deleted.
        """
        definition = document["definition"]
        if "endpoint" not in definition:
            return None
        notice_id = f"urn:ngsi-ld:SnapshotNotification:{uuid.uuid4()}"
        receiver_info = {pair["key"]: pair["value"] for pair in definition.get("receiverInfo", ())}
        tenant = document["_id"]["tenant"]
        headers = notification_headers(tenant, "application/json", CORE_CONTEXT_URL, receiver_info)
        notice: Document = {
            "_id": notice_id,
            "snapshot": document["_id"],
            "createdAt": document["createdAt"],
            "url": definition["endpoint"],
            "headers": orjson.dumps(headers).decode(),
            "body": orjson.dumps(render_notification(document, notice_id, now_text())).decode(),
        }
        await self._store.add(notice if deleted else {**notice, "version": document["version"]})
        return notice_id

    async def withdraw(self, notice_id: str | None) -> None:
        """Forget a notice of a change that was not made."""
        if notice_id is not None:
            await self._store.remove(notice_id)

    def wake(self) -> None:
        """Look now for what is due: a change was made."""
        self._due.set()

    async def send_due(self) -> None:
        """Send what is due. Unavailable if the storage is lost."""
        while (notice := await self._store.take(_PAUSE)) is not None:
            await self._deliver(notice)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._due.wait()
            self._due.clear()
            try:
                await self.send_due()
            except NgsiLdError as error:
                log.warning("notifications of snapshots wait for the storage", reason=error.detail)
                await asyncio.sleep(_LOOK)
            except Exception:
                log.exception("notifications of snapshots failed")
                await asyncio.sleep(_LOOK)

    async def _deliver(self, notice: Document) -> None:
        if not await self._landed(notice):
            if notice["age"] > _LANDS_WITHIN:
                await self._store.remove(notice["_id"])
            return
        reason = await self._send(notice)
        if reason is not None and notice["age"] < self._max_age:
            log.info("notification to be tried again", endpoint=notice["url"], reason=reason)
            return
        if reason is not None:
            log.warning("notification given up", notification=notice["_id"], endpoint=notice["url"], reason=reason)
        await self._store.remove(notice["_id"])

    async def _landed(self, notice: Document) -> bool:
        document = await self._snapshots.find(notice["snapshot"])
        same = document is not None and document["createdAt"] == notice["createdAt"]
        if "version" not in notice:
            return not same
        # A snapshot that is gone had at least this version, or will never be asked for again.
        return document is None or not same or document["version"] >= notice["version"]

    async def _send(self, notice: Document) -> str | None:
        """Why the notification has to be tried again; None if it need not."""
        try:
            headers = orjson.loads(notice["headers"])
            status = await self._http.post(notice["url"], notice["body"].encode(), headers, self._timeout)
        except OutboundRefused as error:
            log.warning("notification refused", notification=notice["_id"], endpoint=notice["url"], reason=str(error))
            return None
        except OutboundError as error:
            return str(error)
        return f"it answered {status}" if status >= 500 or status in _TRY_AGAIN else None
