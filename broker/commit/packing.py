"""Entities as few bytes, for the cache.

Most of an entity's JSON it has in common with all others of its type: the names above all. LZ4 writes that as a
reference to the prototype of the type, the first entity of it that came along. What remains is a tenth of the text, at
a few microseconds.
"""

import re

import lz4.block

_TYPE = re.compile(rb'"types":\["([^"]*)"')
_LONGEST_PROTOTYPE = 4096
"""Bytes of a prototype: LZ4 has to look at all of it each time."""

_NO_PROTOTYPE = 0


class Packing:
    """Packs entities and unpacks them. `most_prototypes`, at most 255: entities of any further type do without one."""

    def __init__(self, most_prototypes: int = 255) -> None:
        self._most_prototypes = most_prototypes
        self._numbers: dict[bytes, int] = {}
        self._prototypes = [b""]

    def pack(self, text: bytes) -> bytes:
        """The JSON of an entity in the stored form, packed."""
        found = _TYPE.search(text)
        name = b"" if found is None else found.group(1)
        number = self._numbers.get(name)
        if number is None:
            number = self._new(name, text)
        return b"%c%b" % (number, lz4.block.compress(text, dict=self._prototypes[number]))

    def unpack(self, packed: bytes) -> bytes:
        """What `pack` made `packed` of."""
        text: bytes = lz4.block.decompress(packed[1:], dict=self._prototypes[packed[0]])
        return text

    def _new(self, name: bytes, text: bytes) -> int:
        number = len(self._prototypes)
        if number > self._most_prototypes:
            return _NO_PROTOTYPE
        self._numbers[name] = number
        self._prototypes.append(text[:_LONGEST_PROTOTYPE])
        return number
