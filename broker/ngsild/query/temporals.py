"""DateTime, Date and Time values of a query (clause 4.6.3), compared by instant and not by text.

A DateTime is kept as the text that a client sent, so "…:00Z", "…:00.0Z" and "…:00.000000Z" are one instant in three
texts. All that varies within one second is the fraction: a moment is compared by its `key`, the part before the
fraction followed by exactly six decimals. Keys of one kind sort by time.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from enum import StrEnum

_DATE = "[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_FRACTION = r"(?:\.[0-9]{1,6})?"


class TemporalKind(StrEnum):
    """The data types of clause 4.6.3 that are compared by time."""

    DATE_TIME = "DateTime"
    DATE = "Date"
    TIME = "Time"


SHAPES = {
    TemporalKind.DATE_TIME: f"{_DATE}T{_TIME}{_FRACTION}Z",
    TemporalKind.DATE: _DATE,
    TemporalKind.TIME: f"{_TIME}{_FRACTION}Z",
}
"""What a stored text of each kind looks like, as a regular expression without anchors. A text of any other shape, an
offset from UTC included, is a plain string to a query."""

BASE_LENGTHS = {TemporalKind.DATE_TIME: 19, TemporalKind.DATE: 10, TemporalKind.TIME: 8}
"""How many characters stand before the fraction."""

_FULL_MATCH = {kind: re.compile(shape).fullmatch for kind, shape in SHAPES.items()}
_READERS = {
    TemporalKind.DATE_TIME: datetime.fromisoformat,
    TemporalKind.DATE: date.fromisoformat,
    TemporalKind.TIME: time.fromisoformat,
}


@dataclass(frozen=True, slots=True)
class Temporal:
    """A moment in a query: `base` is its text up to the seconds, `fraction` the decimals without zeros at the end."""

    kind: TemporalKind
    base: str
    fraction: str = ""

    @property
    def key(self) -> str:
        """The text that sorts by time among the keys of its kind."""
        return f"{self.base}.{self.fraction:0<6}"


def read_temporal(text: str) -> Temporal | None:
    """The moment that `text` writes, or None. A comma may stand before the fraction (clause 4.6.3)."""
    text = text.replace(",", ".")
    for kind, matches in _FULL_MATCH.items():
        if matches(text):
            try:
                _READERS[kind](text)
            except ValueError:
                return None
            length = BASE_LENGTHS[kind]
            return Temporal(kind, text[:length], text[length:].strip(".Z").rstrip("0"))
    return None


def _key_reader(kind: TemporalKind) -> Callable[[str], str | None]:
    full_match = _FULL_MATCH[kind]
    length = BASE_LENGTHS[kind]
    whole_second = length + 1 if kind is not TemporalKind.DATE else length

    def read_key(text: str) -> str | None:
        if full_match(text) is None:
            return None
        if len(text) == whole_second:
            return text[:length] + ".000000"
        return f"{text[:length]}.{text[length + 1 : -1]:0<6}"

    return read_key


KEY_READERS = {kind: _key_reader(kind) for kind in TemporalKind}
"""By kind, the function from a stored text to its key; None for a text of any other shape."""
