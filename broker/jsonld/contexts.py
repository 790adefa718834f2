"""Contexts: the one entrance to @contexts for the other layers; finds the `Context` of a request, and remembers it."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from broker.jsonld.combining import Combination, client_elements, combine
from broker.jsonld.context import Context
from broker.jsonld.core import CORE_CONTEXT_URL, is_core_url
from broker.jsonld.documents import Documents, Fetcher, Limits, Store
from broker.jsonld.folder import ContextFolders
from broker.jsonld.processing import combined_terms, core_terms
from broker.ngsild.errors import BadRequestData

__all__ = ["CORE_CONTEXT_URL", "Contexts", "Limits"]

_HELD_TERMS = 400_000
_TERMS_AT_ONCE = 500
"""An @context with more of them takes PyLD tens of milliseconds: it is processed in a thread."""


@dataclass(slots=True)
class _Held:
    """A Context in memory. `digest` is that of its parts; `terms` is how many the client's parts define."""

    context: Context
    fresh_until: float
    digest: bytes
    terms: int


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
        self._building: dict[str | bytes, asyncio.Task[Context]] = {}

    def peek(self, source: Any) -> Context | None:
        """The Context for the value of an "@context" if it is in memory and fresh, else None.

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
        if held is None or held.fresh_until <= self._clock():
            return None
        self._held.move_to_end(key)
        return held.context

    async def resolve(self, source: Any) -> Context:
        """The Context for the value of an "@context" (see `peek`), loading what it refers to.

        Raises LdContextNotAvailable if a remote @context cannot be retrieved, BadRequestData if the value or one of the
        documents is not a JSON-LD @context, or is none that NGSI-LD admits (clause 5.5.7).
        """
        context = self.peek(source)
        if context is not None:
            return context
        elements = client_elements(source)
        key = _key(elements)
        building = self._building.get(key)
        if building is None:
            building = asyncio.create_task(self._build(key, elements), name="build @context")
            self._building[key] = building
            building.add_done_callback(lambda done: self._built(key, done))
        # A client that goes away must not take the @context from the others that wait for it.
        return await asyncio.shield(building)

    async def close(self) -> None:
        """End all downloads; requests that wait for one are cancelled."""
        building = list(self._building.values())
        for task in building:
            task.cancel()
        await asyncio.gather(*building, return_exceptions=True)
        await self._documents.close()

    async def _build(self, key: str | bytes, elements: list[Any]) -> Context:
        combination = await combine(elements, self._documents.load)
        digest = _digest([[part.url, part.content] for part in combination.parts])
        held = self._held.get(key)
        if held is not None and held.digest == digest:
            held.fresh_until = combination.fresh_until
            return held.context
        if combination.terms > _TERMS_AT_ONCE:
            context = await asyncio.to_thread(_compiled, combination, elements)
        else:
            context = _compiled(combination, elements)
        self._hold(key, _Held(context, combination.fresh_until, digest, combination.terms))
        return context

    def _built(self, key: str | bytes, building: asyncio.Task[Context]) -> None:
        del self._building[key]
        if not building.cancelled():
            building.exception()  # marks it as seen, for when every client that waited has gone

    def _hold(self, key: str | bytes, held: _Held) -> None:
        before = self._held.pop(key, None)
        self._held_terms += held.terms - (0 if before is None else before.terms)
        self._held[key] = held
        while len(self._held) > self._capacity or (self._held_terms > _HELD_TERMS and len(self._held) > 1):
            _, oldest = self._held.popitem(last=False)
            self._held_terms -= oldest.terms


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
