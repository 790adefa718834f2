"""The committer's cache: entities as bytes, bounded in size, the least recently used leaving first.

Bytes rather than dicts, because the garbage collector would walk tens of thousands of decoded documents again and
again. The latest are kept as JSON, which is quick; what has not been changed for a while is packed to a tenth of that
(`packing.py`). A cached entity may be stale when another process wrote: the version filter of every write finds out.
"""

from collections import OrderedDict

import orjson

from broker.commit.packing import Packing
from broker.ngsild.model import Entity

_OVERHEAD = 200
"""Bytes that an entry costs beside its text and its id: its place in the dict, object headers."""

_Key = str | tuple[str, str]


class EntityCache:
    """Entities by (tenant, id), up to `max_bytes` in all, of which `fresh_bytes` as JSON (None: a quarter)."""

    def __init__(self, max_bytes: int, fresh_bytes: int | None = None) -> None:
        self._max_bytes = max_bytes
        self._largest = max_bytes // 4
        self._fresh_bytes = max_bytes // 4 if fresh_bytes is None else fresh_bytes
        self._fresh = _Tier()
        self._packed = _Tier()
        self._packing = Packing()

    def get(self, tenant: str, entity_id: str) -> Entity | None:
        """A fresh copy of the cached entity, or None if it is not cached."""
        key = (tenant, entity_id) if tenant else entity_id
        text = self._fresh.get(key)
        if text is None:
            packed = self._packed.get(key)
            if packed is None:
                return None
            text = self._packing.unpack(packed)
        entity: Entity = orjson.loads(text)
        return entity

    def put(self, tenant: str, entity_id: str, entity: Entity) -> None:
        """Keep the entity in place of what was cached for it."""
        key = (tenant, entity_id) if tenant else entity_id
        fresh, packed = self._fresh, self._packed
        # orjson hands over the buffer it wrote into, of 4 KB at least: a copy takes no more than the text.
        text = b"%b" % orjson.dumps(entity)
        if packed.entries:
            packed.drop(key)
        if len(text) > self._largest:
            fresh.drop(key)
            return
        fresh.put(key, text)
        while fresh.size > self._fresh_bytes:
            oldest = fresh.oldest
            packed.put(oldest, self._packing.pack(fresh.drop(oldest)))
        while fresh.size + packed.size > self._max_bytes:
            tier = packed if packed.entries else fresh
            tier.drop(tier.oldest)

    def drop(self, tenant: str, entity_id: str) -> None:
        """Forget the entity."""
        key = (tenant, entity_id) if tenant else entity_id
        if not self._fresh.drop(key):
            self._packed.drop(key)

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return self._fresh.size + self._packed.size

    def __len__(self) -> int:
        return len(self._fresh.entries) + len(self._packed.entries)


class _Tier:
    """Texts by key, the least recently used first. `size` is what they take in memory."""

    __slots__ = ("entries", "size")

    def __init__(self) -> None:
        self.entries: OrderedDict[_Key, bytes] = OrderedDict()
        self.size = 0

    @property
    def oldest(self) -> _Key:
        """The key of the entry that was not used for longest."""
        return next(iter(self.entries))

    def get(self, key: _Key) -> bytes | None:
        text = self.entries.get(key)
        if text is not None:
            self.entries.move_to_end(key)
        return text

    def put(self, key: _Key, text: bytes) -> None:
        replaced = self.entries.get(key)
        self.entries[key] = text
        if replaced is None:
            self.size += len(text) + _beside(key)
        else:
            self.entries.move_to_end(key)
            self.size += len(text) - len(replaced)

    def drop(self, key: _Key) -> bytes:
        """Forget an entry; what it was, nothing if there was none."""
        text = self.entries.pop(key, b"")
        if text:
            self.size -= len(text) + _beside(key)
        return text


def _beside(key: _Key) -> int:
    """What an entry takes beside its text; that of a tenant has a tuple for its key."""
    return _OVERHEAD + (len(key) if isinstance(key, str) else len(key[1]) + 64)
