"""Content codings: request bodies are unpacked up to a limit, large answers packed for clients that accept it.

What may take more than a few milliseconds is done in a thread: zlib lets go of the interpreter meanwhile.
"""

import asyncio
import zlib
from functools import lru_cache

from broker.ngsild.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from broker.web.negotiation import weights

CODINGS = ("gzip", "deflate")
_WINDOW = {"gzip": 31, "deflate": 15}
_RAW_DEFLATE = -15
_LEVEL = 1
"""Speed before size: a further tenth saved costs two to three times as long."""

_MOST_MEMBERS = {"gzip": 16, "deflate": 1}
"""Compressed members, one behind the other, of one body: each costs time of its own."""

_PACKED_IN_PLACE = 64 * 1024
_UNPACKED_IN_PLACE = 4 * 1024
"""Bytes up to which the event loop does the work itself. A packed byte can hold a thousand."""


@lru_cache(maxsize=256)
def request_coding(content_encoding: str) -> str | None:
    """The coding of a request body by its Content-Encoding; None for identity.

    UnsupportedMediaType (415) for a coding that is not known, or several on top of each other.
    """
    name = content_encoding.strip().lower().removeprefix("x-")
    if name in ("", "identity"):
        return None
    if name not in CODINGS:
        raise UnsupportedMediaType(
            f"The Content-Encoding is {content_encoding!r:.80}: expected one of {', '.join(CODINGS)}.",
            headers={"Accept-Encoding": ", ".join(CODINGS)},
        )
    return name


@lru_cache(maxsize=256)
def answer_coding(accept_encoding: str) -> str | None:
    """The best of `CODINGS` for an Accept-Encoding header; None where identity is as welcome or nothing else is."""
    given = dict(weights(accept_encoding))
    otherwise = given.get("*", 0.0)
    best = max(CODINGS, key=lambda coding: given.get(coding, otherwise))
    quality = given.get(best, otherwise)
    return best if quality > 0.0 and quality >= given.get("identity", 0.0) else None


async def unpack(packed: bytes, coding: str, limit: int) -> bytes:
    """The request body that was packed. PayloadTooLarge beyond `limit` bytes, InvalidRequest if it is damaged."""
    if len(packed) <= _UNPACKED_IN_PLACE:
        return _unpack(packed, coding, limit)
    return await asyncio.to_thread(_unpack, packed, coding, limit)


async def pack(body: bytes, coding: str) -> bytes:
    """`body` in this coding."""
    if len(body) <= _PACKED_IN_PLACE:
        return _pack(body, coding)
    return await asyncio.to_thread(_pack, body, coding)


def _pack(body: bytes, coding: str) -> bytes:
    packer = zlib.compressobj(_LEVEL, wbits=_WINDOW[coding])
    return packer.compress(body) + packer.flush()


def _unpack(packed: bytes, coding: str, limit: int) -> bytes:
    window = _WINDOW[coding]
    if coding == "deflate" and packed[0] & 0x0F != 8:  # no zlib header: some clients leave it out
        window = _RAW_DEFLATE
    unpacked = b""
    for _ in range(_MOST_MEMBERS[coding]):
        unpacker = zlib.decompressobj(wbits=window)
        try:
            unpacked += unpacker.decompress(packed, limit + 1 - len(unpacked))
        except zlib.error as error:
            raise InvalidRequest(f"The request body cannot be unpacked as {coding}: {error}.") from None
        if len(unpacked) > limit:
            raise PayloadTooLarge(
                f"The request body is too large: unpacked it has more than {limit} bytes, which is the limit here."
            )
        if not unpacker.eof:
            raise InvalidRequest(f"The request body ends too early: it is not a whole {coding} stream.")
        packed = unpacker.unused_data
        if not packed:
            return unpacked
    raise InvalidRequest(f"Something follows behind the {coding} stream of the request body: expected nothing more.")
