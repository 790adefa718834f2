"""The committer's cache: entities as JSON bytes, bounded in size, the least recently used leaving first.

Bytes rather than dicts, because the garbage collector would walk tens of thousands of decoded documents again and
again. A cached entity may be stale when another process wrote: the version filter of every write finds that out.
"""

from collections import OrderedDict

import orjson

from broker.ngsild.model import Entity

_OVERHEAD = 350
"""Bytes that an entry costs beside its text and its id: dict slot, key, object headers."""


class EntityCache:
    """Entities by (tenant, id), up to `max_bytes` in all."""

    def __init__(self, max_bytes: int) -> None:
        self._entries: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._max_bytes = max_bytes
        self._bytes = 0

    def get(self, tenant: str, entity_id: str) -> Entity | None:
        """A fresh copy of the cached entity, or None if it is not cached."""
        key = (tenant, entity_id)
        text = self._entries.get(key)
        if text is None:
            return None
        self._entries.move_to_end(key)
        entity: Entity = orjson.loads(text)
        return entity

    def put(self, tenant: str, entity_id: str, entity: Entity) -> None:
        """Keep the entity in place of what was cached for it."""
        self.drop(tenant, entity_id)
        # orjson hands over the buffer it wrote into, of 4 KB at least: a copy takes no more than the text.
        text = b"%b" % orjson.dumps(entity)
        size = len(text) + len(entity_id) + _OVERHEAD
        if size > self._max_bytes // 4:
            return
        self._entries[(tenant, entity_id)] = text
        self._bytes += size
        while self._bytes > self._max_bytes:
            self.drop(*next(iter(self._entries)))

    def drop(self, tenant: str, entity_id: str) -> None:
        """Forget the entity."""
        text = self._entries.pop((tenant, entity_id), None)
        if text is not None:
            self._bytes -= len(text) + len(entity_id) + _OVERHEAD

    def __len__(self) -> int:
        return len(self._entries)
