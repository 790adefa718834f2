"""The `edits` collection of the control database: what was edited of late, so that every process follows.

A document stands for one document of a followed collection:

    _id     {of: the name of that collection, key: the _id of the document there}
    at      when it was edited last, by the clock of MongoDB; an hour later the note is gone
    number  grows with each note
    open    true from before the edit until after it

A process looks here ten times a second, whatever it follows. MongoDB's change streams would tell the same, but each
one reads every write to the whole database: with them an update of an entity cost mongod up to twice as much
(docs/adr/0011). An edit is noted before it is made, so that none is missed if its process dies, and again afterwards.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import bson
from bson.codec_options import CodecOptions
from pymongo import ASCENDING, UpdateOne, WriteConcern

from broker.ngsild.errors import NgsiLdError, Unavailable
from broker.storage.client import Database, storage_errors

LOOK = 0.1
"""Seconds between two looks."""

_SPREAD = 0.15
"""Seconds after which the other processes know, unless they are overloaded."""

_OVERLAP = timedelta(seconds=3)
"""How far a look goes back behind the one before: notes may become visible later than others of the same instant."""

_LOOK_AGAIN = 15.0
"""Seconds until an edit counts as made, or never to be, if its process does not say so."""

_KEPT = 3600
_NOTED_AT_ONCE = 1000
_CLOCK_GOOD_FOR = 5.0
_LARGEST_LEAP = 1.0
"""Seconds by which MongoDB's clock may differ from what was expected of it; well within the overlap of two looks."""

Keys = list[Any]
_Report = Keys | Exception


class Edits:
    """Noting and following edits. Methods raise Unavailable when storage is lost.

    `database` is the control database, `alive` tells which processes there are.
    """

    def __init__(self, database: Database, alive: Callable[[], Awaitable[set[str]]] | None = None) -> None:
        self._alive = alive
        options: CodecOptions[dict[str, Any]] = CodecOptions()
        self._database = database
        self._collection = database["edits"].with_options(codec_options=options, write_concern=WriteConcern(w=1))
        self._followers: dict[str, list[asyncio.Queue[_Report]]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None

    async def prepare(self) -> None:
        """Create the index, by which MongoDB also drops old notes."""
        with storage_errors():
            await self._collection.create_index([("at", ASCENDING)], name="at", expireAfterSeconds=_KEPT)

    @asynccontextmanager
    async def editing(self, collection: str, keys: Sequence[Any], *, spread: bool = False) -> AsyncIterator[None]:
        """Around the edit of the documents of `collection` with these keys; where it fails, others look for it later.

        With `spread` it ends when the other processes, if there are any, have had the time to look.

        The note needs no journal of its own: MongoDB keeps its writes in their order.
        """
        await self._note(collection, keys, is_open=True)
        yield
        with contextlib.suppress(NgsiLdError):  # the edit is made, and the others look again
            await self._note(collection, keys, is_open=False)
            if spread and self._alive is not None and len(await self._alive()) > 1:
                await asyncio.sleep(_SPREAD)

    @asynccontextmanager
    async def following(self, collection: str) -> AsyncIterator[AsyncIterator[Keys]]:
        """The keys of the documents of `collection` that any process edits, from the moment the context is entered.

        Reading everything after entering, and then the documents by their keys, leaves no gap. A key may come without
        an edit; a document that is gone was deleted. Unavailable when it breaks off: enter again, and read everything.
        """
        reports: asyncio.Queue[_Report] = asyncio.Queue()
        self._followers.setdefault(collection, []).append(reports)
        try:
            await self._started()
            yield _keys(reports)
        finally:
            self._followers[collection].remove(reports)
            if not any(self._followers.values()):
                await self._stop()

    async def _note(self, collection: str, keys: Sequence[Any], *, is_open: bool) -> None:
        noted = {"at": "$$NOW", "open": is_open, "number": {"$add": [{"$ifNull": ["$number", 0]}, 1]}}
        notes = [UpdateOne({"_id": {"of": collection, "key": key}}, [{"$set": noted}], upsert=True) for key in keys]
        with storage_errors():
            for start in range(0, len(notes), _NOTED_AT_ONCE):
                await self._collection.bulk_write(notes[start : start + _NOTED_AT_ONCE], ordered=False)

    async def _started(self) -> None:
        if self._looking is None or self._looking.done():
            self._ready = asyncio.get_running_loop().create_future()
            self._looking = asyncio.create_task(self._look(self._ready))
        assert self._ready is not None
        await asyncio.shield(self._ready)

    async def _stop(self) -> None:
        looking, self._looking = self._looking, None  # at once: who begins to follow meanwhile needs another one
        if looking is not None:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _look(self, ready: "asyncio.Future[None]") -> None:
        try:
            clock = await _Clock.read(self._database)
            # As far back as an edit may be under way: where its process dies, only its first note will tell of it.
            seen = _Seen(clock.now - timedelta(seconds=_LOOK_AGAIN))
            seen.take(await self._notes(seen.since), clock.now)
            ready.set_result(None)
            while True:
                await asyncio.sleep(LOOK)
                if clock.age > _CLOCK_GOOD_FOR:
                    clock = await self._read_again(clock)
                now = clock.now
                for collection, keys in seen.take(await self._notes(seen.since), now).items():
                    for reports in self._followers.get(collection, ()):
                        reports.put_nowait(keys)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who follow have to hear of it
            if not ready.done():
                ready.set_exception(error)
                return
            for followers in self._followers.values():
                for reports in followers:
                    reports.put_nowait(error)

    async def _read_again(self, clock: "_Clock") -> "_Clock":
        """The clock as it is now. Unavailable if it leapt: another primary has another one, and notes were missed."""
        now = await _Clock.read(self._database)
        leap = (now.now - clock.now).total_seconds()
        if abs(leap) > _LARGEST_LEAP + now.took + clock.took:  # an answer that took long shows an earlier time
            raise Unavailable(f"The clock of MongoDB leapt by {leap:.1f} s: everything that is followed is read again.")
        return now

    async def _notes(self, since: datetime) -> list[dict[str, Any]]:
        with storage_errors():
            found: list[dict[str, Any]] = await self._collection.find({"at": {"$gte": since}}).to_list(None)
        return found


class _Clock:
    """MongoDB's clock, as it was read once and has gone on since. `took` is how many seconds the reading took."""

    def __init__(self, then: datetime, took: float = 0.0) -> None:
        self._then = then
        self._at = time.monotonic()
        self.took = took

    @classmethod
    async def read(cls, database: Database) -> "_Clock":
        """What the primary's clock shows. Raises Unavailable."""
        asked = time.monotonic()
        with storage_errors():
            answer = await database.command("hello")
        return cls(answer["localTime"].replace(tzinfo=None), time.monotonic() - asked)

    @property
    def age(self) -> float:
        """Seconds since it was read."""
        return time.monotonic() - self._at

    @property
    def now(self) -> datetime:
        """What it shows now, in UTC without a zone."""
        return self._then + timedelta(seconds=self.age)


class _Seen:
    """Which notes were reported, and from when on the next look has to look (`since`)."""

    def __init__(self, since: datetime) -> None:
        self.since = since
        self._states: dict[bytes, tuple[datetime, int]] = {}
        self._open: dict[bytes, tuple[float, dict[str, Any]]] = {}

    def take(self, notes: Iterable[dict[str, Any]], now: datetime) -> dict[str, Keys]:
        """The keys that are new among the `notes` of a look at `now`, or are to be looked at again, by collection."""
        states: dict[bytes, tuple[datetime, int]] = {}
        reported: dict[bytes, dict[str, Any]] = {}
        for note in notes:
            name, state = bson.encode(note["_id"]), (note["at"], note["number"])
            states[name] = state
            if self._states.get(name) != state:
                reported[name] = note["_id"]
                if note["open"]:
                    self._open[name] = time.monotonic() + _LOOK_AGAIN, note["_id"]
                else:
                    self._open.pop(name, None)
        self._states, self.since = states, now - _OVERLAP
        for name in [name for name, (due, _) in self._open.items() if due <= time.monotonic()]:
            reported[name] = self._open.pop(name)[1]
        keys: dict[str, Keys] = {}
        for one in reported.values():
            keys.setdefault(one["of"], []).append(one["key"])
        return keys


async def _keys(reports: "asyncio.Queue[_Report]") -> AsyncIterator[Keys]:
    while True:
        report = await reports.get()
        if isinstance(report, Exception):
            raise report
        yield report
