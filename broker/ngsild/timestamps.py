"""Timestamps: the DateTime of clause 4.6.3, kept as the text that the client sent.

A DateTime is `YYYY-MM-DDThh:mm:ssZ`, with up to six decimals of a second. Clients of earlier versions write a comma
before the decimals: it becomes a point. Some clients omit the zone or give an offset: such a text names no instant in
UTC as the clause demands, and is refused.
"""

import re
import time
from datetime import UTC, datetime
from functools import lru_cache

from broker.ngsild.errors import BadRequestData

_DATE_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,6}))?Z", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_text() -> str:
    """The present instant with microseconds, always of the same length: texts of this form sort by time."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second(seconds)}.{nanoseconds // 1000:06d}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    """The beginning of all texts of one second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:-6]


def read_timestamp(text: object) -> str | None:
    """`text` with a decimal point instead of a comma; None if it is no DateTime of clause 4.6.3."""
    match = _DATE_TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    normalised = match.string.replace(",", ".")
    try:
        datetime.fromisoformat(normalised)
    except ValueError:
        return None
    return normalised


def parse_timestamp(text: object, *, pointer: str | None = None) -> str:
    """As `read_timestamp`, but BadRequestData if it is no DateTime."""
    timestamp = read_timestamp(text)
    if timestamp is None:
        raise BadRequestData(
            f"{text!r} is not a DateTime: expected UTC as YYYY-MM-DDThh:mm:ssZ with up to six decimals of a second.",
            pointer=pointer,
        )
    return timestamp


def microseconds(text: str) -> int:
    """Microseconds since 1970 of a DateTime that `parse_timestamp` accepts."""
    instant = parse_timestamp(text)
    delta = datetime.fromisoformat(instant) - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def sortable(text: str) -> str:
    """The instant of a DateTime as `now_text` writes it, with all six decimals: such texts sort by time."""
    base, _, fraction = text[:-1].partition(".")
    return f"{base}.{fraction:0<6}Z"
