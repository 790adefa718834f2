r"""Patterns for MongoDB: written so that PCRE matches them in time linear in the text, or not at all.

MongoDB matches by backtracking and cannot be interrupted within one text: neither maxTimeMS nor killOp ends a match of
`a*a*b` against 20,000 times "a", which takes half an hour of a core. So it gets patterns of the shapes below only.

What is searched need not be maximal. So at an end where the text goes on in any way, a repetition is as good as its
least number: `a+b.*` finds what `ab` finds. The rest is cut at its gaps (`.*`) into segments.

- A segment takes a bounded number of steps from each place where it is tried (`_WORK`). An unlimited repetition in it
  is possible where it is never of use to give back what was taken: what follows cannot begin with what is repeated. It
  is written possessively. Where the segment may begin anywhere, a character that is not among the repeated ones must
  also stand before the repetition, so that the texts taken from different places do not overlap.
- Before a gap it is always best to end as early as possible. A segment of fixed length that is found first also ends
  first, so it is searched once. The search takes whole runs of characters with which the segment cannot begin:
  `(?:[^s]++|(?!segment)[\s\S])*+segment`.

Repeating a group that can match a text in more than one way, as in `(a+)+`, is what takes exponential time.

MongoDB itself stops after 200,000 steps and then finds nothing; but it does not count those of a repeated character.
What is written here comes near that only in texts of more than 100,000 characters that are made for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from broker.ngsild.query.pattern_tree import (
    END,
    EVERYTHING,
    START,
    Alternatives,
    Anchor,
    Boundary,
    Characters,
    Item,
    Ranges,
    Repeat,
    Sequenced,
    complement,
    overlap,
    ranges_of,
    write,
    write_bounds,
    write_characters,
)

_WORK = 512
"""How many steps a segment may take from one place: its greatest length times the ways in which it can match."""

_WORK_AT_START = 100_000
"""The same for a segment that is tried at the start of the text only."""


@dataclass(frozen=True, slots=True)
class _Measure:
    """What an item can match: its least and greatest length, in how many ways, and by which characters.

    An unlimited repetition counts with its least length.
    """

    low: int
    high: int
    ways: int
    first: Ranges
    all: Ranges

    @property
    def fixed(self) -> bool:
        return self.low == self.high


_NOTHING = _Measure(0, 0, 1, (), ())


def write_for_pcre(tree: Alternatives) -> str | None:
    """The pattern as MongoDB can run it; None if it has none of the shapes for which that is safe."""
    try:
        written = [_write_alternative(list(sequence.items)) for sequence in tree.sequences]
    except _UnsafeError:
        return None
    return written[0] if len(written) == 1 else f"(?:{'|'.join(written)})"


class _UnsafeError(Exception):
    """The pattern has none of the shapes."""


def _write_alternative(items: list[Item]) -> str:
    at_start, at_end = items[:1] == [START], items[-1:] == [END]
    segments = _cut(items[at_start : len(items) - at_end])
    last = len(segments) - 1
    for number, segment in enumerate(segments):
        if number > 0 or not at_start:
            _trim(segment, 0)
        if number < last or not at_end:
            _trim(segment, -1)
    if len(segments) > 1 and not segments[0]:
        segments, at_start = segments[1:], False
    if len(segments) > 1 and not segments[-1]:
        segments, at_end = segments[:-1], False
    if len(segments) == 1:
        _check_segment(segments[0], floating=not at_start)
        return f"{START.written if at_start else ''}{_write(segments[0])}{END.written if at_end else ''}"
    return _write_gapped(segments, at_start=at_start, at_end=at_end)


def _write_gapped(segments: list[list[Item]], *, at_start: bool, at_end: bool) -> str:
    first, *others, last = segments
    written = r"\A"
    if at_start:
        _check_segment(first, floating=False)
        if _measure_all(first).ways > 1:
            raise _UnsafeError
        written += _write(first)
    else:
        others.insert(0, first)
    for segment in others:
        if not _measure_all(segment).fixed or any(_is_unlimited(item) for item in segment):
            raise _UnsafeError
        _check_segment(segment, floating=True)
        written += _write_search(segment)
    _check_segment(last, floating=True)
    if at_end and _measure_all(last).fixed and not any(_is_unlimited(item) for item in last):
        return rf"{written}[\s\S]*{_write(last)}{END.written}"
    return written + _write_search(last, END.written if at_end else "")


def _write_search(segment: Sequence[Item], end: str = "") -> str:
    """The first place of a segment, after as many characters of any kind as it begins with."""
    count = next((index for index, item in enumerate(segment) if not _is_anything(item)), len(segment))
    start, rest = segment[:count], segment[count:]
    written = _write(rest) + end
    if not written:
        return _write(start)
    first = ranges_of(*(chr(low) + chr(high) for low, high in _measure_all(rest).first))
    begins = bool(rest) and _measure(rest[0]).low > 0
    skipped = write_characters(Characters(complement(first))) + "++|" if begins else ""
    return rf"{_write(start)}(?:{skipped}(?!{written})[\s\S])*+{written}"


def _is_anything(item: Item) -> bool:
    return item == EVERYTHING or (isinstance(item, Repeat) and item.item == EVERYTHING and item.low == item.high)


def _cut(items: Sequence[Item]) -> list[list[Item]]:
    """The items between the gaps. A gap of at least n characters is n characters and a gap; empty segments merge."""
    segments: list[list[Item]] = [[]]
    for item in items:
        if isinstance(item, Anchor):
            raise _UnsafeError
        if isinstance(item, Repeat) and item.item == EVERYTHING and item.high is None:
            if len(segments) == 1 or segments[-1]:
                segments.append([])
            if item.low:
                segments[-1].append(Repeat(EVERYTHING, item.low, item.low))
        else:
            segments[-1].append(item)
    return segments


def _trim(segment: list[Item], end: int) -> None:
    """Reduce the repetitions at one end of a segment to what is needed."""
    while segment:
        item = segment[end]
        if not isinstance(item, Repeat) or item.low == item.high != 0:
            return
        if item.low:
            segment[end] = Repeat(item.item, item.low, item.low)
            return
        del segment[end]


def _is_unlimited(item: Item) -> bool:
    return isinstance(item, Repeat) and item.high is None


def _check_segment(segment: Sequence[Item], *, floating: bool) -> None:
    """_UnsafeError unless the segment takes bounded time from each place; `floating` if it may begin anywhere."""
    measure = _measure_all(segment)
    if (measure.high or 1) * measure.ways > (_WORK if floating else _WORK_AT_START):
        raise _UnsafeError
    for index, item in enumerate(segment):
        if not isinstance(item, Repeat) or item.high is not None:
            continue
        repeated = _measure(item.item)
        if repeated.ways > 1 or not repeated.low:
            raise _UnsafeError
        if _may_follow(repeated.first, segment[index + 1 :]):
            raise _UnsafeError
        if floating and not any(_separates(before, repeated.all) for before in segment[:index]):
            raise _UnsafeError


def _may_follow(first: Ranges, following: Sequence[Item]) -> bool:
    for item in following:
        if isinstance(item, Boundary):
            return True
        measure = _measure(item)
        if overlap(first, measure.first):
            return True
        if measure.low:
            return False
    return False


def _separates(item: Item, repeated: Ranges) -> bool:
    return isinstance(item, Characters) and not overlap(item.ranges, repeated)


def _measure(item: Item) -> _Measure:
    match item:
        case Characters(ranges):
            return _Measure(1, 1, 1, ranges, ranges)
        case Alternatives(sequences):
            return _measure_alternatives([_measure_inner(sequence) for sequence in sequences])
        case Repeat(repeated, low, None):
            measure = _measure(repeated)
            return _Measure(measure.low * low, measure.high * low, 1, measure.first, measure.all)
        case Repeat(repeated, low, high):
            measure = _measure(repeated)
            ways = min(_WORK_AT_START + 1, sum(measure.ways**count for count in range(low, (high or 0) + 1)))
            return _Measure(measure.low * low, measure.high * (high or 0), ways, measure.first, measure.all)
        case _:
            return _NOTHING


def _measure_inner(sequence: Sequenced) -> _Measure:
    for item in sequence.items:
        if _is_unlimited(item):
            raise _UnsafeError
        if isinstance(item, Anchor):
            raise _UnsafeError
    return _measure_all(sequence.items)


def _measure_all(items: Sequence[Item]) -> _Measure:
    low = high = 0
    ways = 1
    first: Ranges = ()
    every: Ranges = ()
    for item in items:
        measure = _measure(item)
        first = first if low else (*first, *measure.first)
        every = (*every, *measure.all)
        low, high, ways = low + measure.low, high + measure.high, min(ways * measure.ways, _WORK_AT_START + 1)
    return _Measure(low, high, ways, first, every)


def _measure_alternatives(measures: list[_Measure]) -> _Measure:
    """Alternatives that begin with different characters exclude each other; others add up to several ways."""
    exclusive = all(measure.low for measure in measures) and not any(
        overlap(one.first, other.first) for index, one in enumerate(measures) for other in measures[:index]
    )
    ways = [measure.ways for measure in measures]
    return _Measure(
        min(measure.low for measure in measures),
        max(measure.high for measure in measures),
        max(ways) if exclusive else sum(ways),
        tuple(part for measure in measures for part in measure.first),
        tuple(part for measure in measures for part in measure.all),
    )


def _write(segment: Sequence[Item]) -> str:
    """A segment with its unlimited repetitions possessive."""
    return "".join(
        f"{write(item.item)}{write_bounds(item.low, None)}+"
        if isinstance(item, Repeat) and item.high is None
        else write(item)
        for item in segment
    )
