"""Entities as the JSON texts of answers: each way of showing them compiled once, what was rendered lately kept.

A text belongs to one version of an entity and one view of it. The version is read from the database every time, so
the texts need no invalidation and are right with any number of processes (docs/adr/0006). What expires, or has a part
that does, is rendered anew every time.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any

import orjson

from broker.jsonld.context import Context
from broker.ngsild.model import Entity
from broker.ngsild.representations import render_entity
from broker.ngsild.timestamps import now_text
from broker.storage.documents import StoredEntity
from broker.telemetry import CacheStatistics
from broker.web.parameters import Presentation

ENTITY_MEMBERS = ("id", "type", "scope")
"""What a projection can name beside attributes."""

_VIEWS = 256
"""Views kept. A client that sends another projection with each request must not fill the memory."""

_OVERHEAD = 450
"""Bytes that a kept text costs beside itself and its id: dict slot, key, object headers."""

_numbers = count()


class View:
    """One way of showing entities: a presentation with all names expanded, for one @context.

    `number` tells it from all others of the process. `context_opening` begins an element that carries its @context.
    """

    __slots__ = ("_datasets", "_omit", "_pick", "_presentation", "context", "context_opening", "number")

    def __init__(self, context: Context, presentation: Presentation) -> None:
        self.context = context
        self.number = next(_numbers)
        self.context_opening = b'{"@context":' + orjson.dumps(context.source)
        self._presentation = presentation
        self._pick = None
        if presentation.pick:
            self._pick = _projection(presentation.pick, context)
        elif presentation.attrs:
            self._pick = _projection(presentation.attrs, context) | set(ENTITY_MEMBERS)
        self._omit = _projection(presentation.omit, context)
        self._datasets = frozenset(presentation.datasets) or None

    @property
    def datasets(self) -> frozenset[str] | None:
        """The datasetIds asked for; None for all."""
        return self._datasets

    def document(self, entity: Entity) -> dict[str, Any]:
        """The entity as a JSON object without "@context"."""
        presentation = self._presentation
        return render_entity(
            entity,
            self.context,
            presentation.format,
            sys_attrs=presentation.sys_attrs,
            pick=self._pick,
            omit=self._omit,
            datasets=self._datasets,
            lang=presentation.lang,
        )

    def with_context(self, text: bytes) -> bytes:
        """The text of a JSON object, with "@context" as its first member."""
        return self.context_opening + (b"," + text[1:] if text != b"{}" else b"}")


@dataclass(slots=True)
class _Text:
    """What is kept of one entity in one view."""

    version: int
    text: bytes


class RenderedEntities:
    """The texts that were rendered lately, up to `max_bytes` in all; the least recently used leave first."""

    def __init__(self, max_bytes: int, statistics: CacheStatistics) -> None:
        self._max_bytes = max_bytes
        self._statistics = statistics
        self._bytes = 0
        self._texts: OrderedDict[tuple[int, str, str], _Text] = OrderedDict()
        self._views: dict[tuple[Any, ...], View] = {}

    def view(self, context: Context, presentation: Presentation) -> View:
        """The view for a presentation. BadRequestData for a name that cannot be expanded."""
        key = (
            context,
            presentation.format,
            presentation.sys_attrs,
            tuple(presentation.attrs),
            tuple(presentation.pick),
            tuple(presentation.omit),
            tuple(presentation.datasets),
            presentation.lang,
        )
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = View(context, presentation)
            if len(self._views) > _VIEWS:
                del self._views[next(iter(self._views))]
        return view

    def text(self, view: View, tenant: str, stored: StoredEntity) -> bytes | None:
        """The entity as the text of a JSON object without "@context"; None if it has expired."""
        key = (view.number, tenant, stored.entity_id)
        kept = self._texts.get(key)
        if kept is not None:
            if kept.version == stored.version:
                self._texts.move_to_end(key)
                self._statistics.hits += 1
                return kept.text
            del self._texts[key]
            self._bytes -= _size(key, kept.text)
        self._statistics.misses += 1
        entity = stored.visible(now_text())
        if entity is None:
            return None
        text = orjson.dumps(view.document(entity))
        if not stored.transient:
            self._keep(key, _Text(stored.version, text))
        return text

    def _keep(self, key: tuple[int, str, str], kept: _Text) -> None:
        size = _size(key, kept.text)
        if size > self._max_bytes // 4:
            return
        # orjson hands over the buffer it wrote into, of 4 KB at least: a copy takes no more than the text.
        kept.text = b"%b" % kept.text
        self._texts[key] = kept
        self._bytes += size
        while self._bytes > self._max_bytes:
            oldest, left = self._texts.popitem(last=False)
            self._bytes -= _size(oldest, left.text)

    def __len__(self) -> int:
        return len(self._texts)


def _size(key: tuple[int, str, str], text: bytes) -> int:
    return len(text) + len(key[2]) + _OVERHEAD


def _projection(names: Iterable[str], context: Context) -> set[str]:
    return {name if name in ENTITY_MEMBERS else context.key(name) for name in names}
