"""The tree of a pattern, and its plain form, in which each class of characters is a list of explicit ranges."""

from collections.abc import Sequence
from dataclasses import dataclass

Ranges = tuple[tuple[int, int], ...]
"""Code points from … to …, both included, in ascending order and apart from each other."""

_LAST = 0x10FFFF


@dataclass(frozen=True, slots=True)
class Characters:
    """One character out of some."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Boundary:
    """The boundary of a word ("b"), or no such ("B")."""

    kind: str


@dataclass(frozen=True, slots=True)
class Anchor:
    """The start or the end of the text."""

    written: str


@dataclass(frozen=True, slots=True)
class Sequenced:
    """One after the other."""

    items: tuple["Item", ...]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """Any of some sequences."""

    sequences: tuple[Sequenced, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`low` to `high` of an item, without a limit if `high` is None."""

    item: Characters | Alternatives
    low: int
    high: int | None


Item = Characters | Boundary | Anchor | Alternatives | Repeat

EVERYTHING = Characters(((0, _LAST),))
START = Anchor("^")
END = Anchor(r"\z")


def ranges_of(*pairs: str) -> Ranges:
    """The ranges from the first to the second character of each pair, merged."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted((ord(pair[0]), ord(pair[1])) for pair in pairs):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    """All other characters."""
    found, start = [], 0
    for low, high in ranges:
        if low > start:
            found.append((start, low - 1))
        start = high + 1
    return (*found, (start, _LAST)) if start <= _LAST else tuple(found)


def overlap(one: Ranges, other: Ranges) -> bool:
    """Whether a character is in both."""
    return any(low <= last and first <= high for low, high in one for first, last in other)


def weight(node: Alternatives | Sequenced | Item) -> int:
    """How many characters a pattern is made of, each counted as often as it is repeated at most."""
    match node:
        case Sequenced():
            return sum(weight(item) for item in node.items)
        case Alternatives():
            return sum(weight(sequence) for sequence in node.sequences)
        case Repeat():
            return weight(node.item) * max(1, node.low, node.high or 0)
        case _:
            return 1


def write(node: Alternatives | Sequenced | Item) -> str:
    """The pattern in a syntax that RE2 and PCRE read in the same way."""
    match node:
        case Characters():
            return write_characters(node)
        case Boundary():
            return "\\" + node.kind
        case Anchor():
            return node.written
        case Sequenced():
            return "".join(write(item) for item in node.items)
        case Alternatives():
            return f"(?:{'|'.join(write(sequence) for sequence in node.sequences)})"
        case Repeat():
            return write(node.item) + write_bounds(node.low, node.high)


def write_bounds(low: int, high: int | None) -> str:
    """The repetition `{low,high}`."""
    if high is None:
        return {0: "*", 1: "+"}.get(low, f"{{{low},}}")
    if low == high:
        return "" if low == 1 else f"{{{low}}}"
    return f"{{{low},{high}}}"


def write_characters(characters: Characters) -> str:
    """One character, or a class of them."""
    ranges = characters.ranges
    if characters == EVERYTHING:
        return r"[\s\S]"
    if not ranges:
        return r"[^\s\S]"
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return _write_character(ranges[0][0])
    return f"[{''.join(_write_range(low, high) for low, high in _around_surrogates(ranges))}]"


def _around_surrogates(ranges: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    """The ranges without ends among the surrogates, which are no characters."""
    return [
        (0xE000 if 0xD800 <= low <= 0xDFFF else low, 0xD7FF if 0xD800 <= high <= 0xDFFF else high)
        for low, high in ranges
        if low < 0xD800 or high > 0xDFFF
    ]


def _write_range(low: int, high: int) -> str:
    return _write_character(low) if low == high else f"{_write_character(low)}-{_write_character(high)}"


def _write_character(code: int) -> str:
    character = chr(code)
    if character.isalnum() or character == "_":
        return character
    return f"\\{character}" if 0x20 < code < 0x7F else f"\\x{{{code:x}}}"
