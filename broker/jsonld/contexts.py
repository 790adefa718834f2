"""Contexts: the one entrance to @contexts for the other layers; finds the `Context` of a request, and remembers it."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from broker.jsonld.combining import Combination, client_elements, combine, combine_document
from broker.jsonld.context import Context
from broker.jsonld.core import CORE_CONTEXT_URL, is_core_url
from broker.jsonld.documents import Documents, Fetcher, Limits, Store
from broker.jsonld.folder import ContextFolders
from broker.jsonld.processing import combined_terms, core_terms
from broker.jsonld.usage import Usage, UsageCounts
from broker.ngsild.errors import BadRequestData, LdContextNotAvailable, NgsiLdError

__all__ = ["CORE_CONTEXT_URL", "Contexts", "Limits"]

_HELD_TERMS = 400_000
_TERMS_AT_ONCE = 500
"""An @context with more of them takes PyLD tens of milliseconds: it is processed in a thread."""


@dataclass(slots=True)
class _Held:
    """A Context in memory.

    `digest` is that of its parts, `terms` how many the client's parts define, `records` the documents that it was made
    of, `owner` the one tenant that may use it ("" for all). `hits` counts its uses since they were last taken, `used`
    is the time of the latest one.
    """

    context: Context
    fresh_until: float
    digest: bytes
    terms: int
    records: frozenset[str]
    owner: str
    hits: int = 0
    used: float = 0.0


class Contexts:
    """The @contexts of the process.

    `fetcher` is `broker.outbound.Outbound`; `store` keeps what it downloads; `folders` hold documents that are known
    without a download, and their faults raise SettingsError here. At most `capacity` combined @contexts are kept in
    memory, and fewer where they are large; the least recently used go first.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        store: Store | None = None,
        folders: Sequence[Path] = (),
        *,
        limits: Limits | None = None,
        capacity: int = 1_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.core = Context(core_terms(), CORE_CONTEXT_URL, CORE_CONTEXT_URL)
        self._documents = Documents(fetcher, store, ContextFolders(folders), limits or Limits(), clock)
        self._capacity = capacity
        self._clock = clock
        self._held: OrderedDict[str | bytes, _Held] = OrderedDict()
        self._held_terms = 0
        self._building: dict[tuple[str, str | bytes], asyncio.Task[_Held]] = {}
        self._usage = UsageCounts()
        self._forgotten = 0

    @property
    def changes(self) -> int:
        """A number that grows whenever an @context may have become another one: reloaded, replaced or deleted."""
        return self._forgotten

    def peek(self, source: Any, tenant: str = "") -> Context | None:
        """The Context for the value of an "@context" in a request of `tenant`, if it is in memory and fresh, else None.

        `source` is a URL, an object, an array of these, or None for the core. Never raises: what is no @context is not
        in memory, and `resolve` says what is wrong with it.
        """
        key: str | bytes
        if source is None:
            return self.core
        if type(source) is str:
            key = source
            if key not in self._held:
                return self.core if is_core_url(key) else None
        else:
            try:
                elements = client_elements(source)
                if not elements:
                    return self.core
                key = _key(elements)
            except BadRequestData:
                return None
        held = self._held.get(key)
        if held is None or (held.owner and held.owner != tenant):
            return None
        now = self._clock()
        if held.fresh_until <= now:
            return None
        held.hits += 1
        held.used = now
        self._held.move_to_end(key)
        return held.context

    async def resolve(self, source: Any, tenant: str = "") -> Context:
        """The Context for the value of an "@context" (see `peek`), loading what it refers to.

        Raises LdContextNotAvailable if a remote @context cannot be retrieved, BadRequestData if the value or one of the
        documents is not a JSON-LD @context, or is none that NGSI-LD admits (clause 5.5.7).
        """
        context = self.peek(source, tenant)
        if context is not None:
            return context
        elements = client_elements(source)
        key = tenant, _key(elements)
        building = self._building.get(key)
        if building is None:
            building = asyncio.create_task(self._build(key[1], elements, tenant), name="build @context")
            self._building[key] = building
            building.add_done_callback(lambda done: self._built(key, done))
        # A client that goes away must not take the @context from the others that wait for it.
        held = await asyncio.shield(building)
        held.hits += 1
        held.used = self._clock()
        return held.context

    async def check(self, name: str, context: Any, tenant: str = "") -> None:
        """Find out whether `context` could be used if a document had it, which error texts call `name`.

        Raises as `resolve`.
        """
        load = partial(self._documents.load, tenant=tenant)
        combination = await combine_document(name, context, load)
        await asyncio.to_thread(combined_terms, combination.parts)

    async def reload(self, url: str) -> None:
        """Get the @context at `url` anew, for all processes, and use it from now on (clause 5.13.5.4).

        LdContextNotAvailable, and nothing is changed, if it cannot be had or is no @context that can be used.
        """
        try:
            document = await self._documents.fetch(url)
            await self.check(url, document.context)
        except NgsiLdError as error:
            raise LdContextNotAvailable(f"{error.detail} What was kept of it before is still in use.") from error
        await self._documents.accept(document)
        self._outdate(lambda held: url in held.records)

    def forget(self, record: str, version: str | None = None) -> None:
        """Look for a record in the store again when it is used next: its latest version is `version`, None if deleted.

        What was counted for a deleted one is dropped.
        """
        if version is not None and self._documents.holds(record, version):
            return
        self._documents.forget(record)
        self._outdate(lambda held: record in held.records)
        if version is None:
            self._gather_usage()
            self._usage.drop(record)

    def forget_all(self) -> None:
        """Look for everything in the store again when it is used next."""
        self._documents.forget_all()
        self._outdate(lambda _: True)

    def count(self, record: str) -> None:
        """Count one more use of a record of the store."""
        self._usage.add(record, Usage(1, self._clock()))

    def take_usage(self) -> dict[str, Usage]:
        """How often each record was used since the last call, and when last."""
        self._gather_usage()
        return self._usage.take()

    def return_usage(self, usage: dict[str, Usage]) -> None:
        """Take back what could not be written down."""
        for record, one in usage.items():
            self._usage.add(record, one)

    async def close(self) -> None:
        """End all downloads; requests that wait for one are cancelled."""
        building = list(self._building.values())
        for task in building:
            task.cancel()
        await asyncio.gather(*building, return_exceptions=True)
        await self._documents.close()

    async def _build(self, key: str | bytes, elements: list[Any], tenant: str) -> _Held:
        forgotten = self._forgotten
        combination = await combine(elements, partial(self._documents.load, tenant=tenant))
        digest = _digest([[part.url, part.content] for part in combination.parts])
        held = self._held.get(key)
        if held is not None and held.digest == digest:
            held.fresh_until = combination.fresh_until
        else:
            if combination.terms > _TERMS_AT_ONCE:
                context = await asyncio.to_thread(_compiled, combination, elements)
            else:
                context = _compiled(combination, elements)
            records = frozenset(combination.records)
            held = _Held(context, combination.fresh_until, digest, combination.terms, records, combination.owner)
            self._hold(key, held)
        if self._forgotten != forgotten:  # one of its documents may have been read just before it was deleted
            held.fresh_until = 0.0
            for record in held.records:
                self._documents.forget(record)
        return held

    def _built(self, key: tuple[str, str | bytes], building: asyncio.Task[_Held]) -> None:
        del self._building[key]
        if not building.cancelled():
            building.exception()  # marks it as seen, for when every client that waited has gone

    def _hold(self, key: str | bytes, held: _Held) -> None:
        before = self._held.pop(key, None)
        self._held_terms += held.terms
        self._held[key] = held
        if before is not None:
            self._leave(before)
        while len(self._held) > self._capacity or (self._held_terms > _HELD_TERMS and len(self._held) > 1):
            self._leave(self._held.popitem(last=False)[1])

    def _leave(self, held: _Held) -> None:
        self._held_terms -= held.terms
        self._gather(held)

    def _outdate(self, concerned: Callable[[_Held], bool]) -> None:
        self._forgotten += 1
        for held in self._held.values():
            if concerned(held):
                held.fresh_until = 0.0

    def _gather_usage(self) -> None:
        for held in self._held.values():
            self._gather(held)

    def _gather(self, held: _Held) -> None:
        if held.hits:
            for record in held.records:
                self._usage.add(record, Usage(held.hits, held.used))
            held.hits = 0


def _compiled(combination: Combination, elements: list[Any]) -> Context:
    link = elements[0] if len(elements) == 1 and isinstance(elements[0], str) else None
    return Context(combined_terms(combination.parts), _source(combination, elements), link)


def _source(combination: Combination, elements: list[Any]) -> str | list[Any]:
    """What an answer shows: the client's @context and the core, which stands there once (clause 5.2.3)."""
    if not combination.ends_with_core:
        return [*elements, CORE_CONTEXT_URL]
    return elements[0] if len(elements) == 1 and isinstance(elements[0], str) else elements


def _key(elements: list[Any]) -> str | bytes:
    """What `elements` are remembered under: the URL if they are but one, else the digest of their canonical JSON."""
    if len(elements) == 1 and isinstance(elements[0], str):
        return elements[0]
    return _digest(elements)


def _digest(value: Any) -> bytes:
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise BadRequestData(f"The @context is not usable: {error}.", pointer="/@context") from error
    return hashlib.blake2b(text, digest_size=32).digest()
