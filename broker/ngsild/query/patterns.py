r"""Patterns of q and idPattern: regular expressions that can stall neither the broker nor MongoDB.

A pattern is read into a small tree of our own, and written anew twice: for RE2, which the predicate uses and which
takes linear time, and for MongoDB, whose PCRE backtracks and cannot be interrupted by any time limit while it works on
a text. `pattern_safety` writes that one, for patterns of a shape that keeps PCRE linear, too; any other is left to RE2
(docs/adr/0007). The two agree because all that engines see differently is spelled out: each character class becomes
explicit ranges, "$" becomes the end of the text.

    pattern      = ["(?i)"] alternatives
    alternatives = sequence *("|" sequence)
    sequence     = *("^" | "$" | "\b" | "\B" | item)           "^" and "$" only at the ends of the pattern
    item         = atom [("*" | "+" | "?" | "{n}" | "{n,}" | "{n,m}") ["?"]]
    atom         = character | "." | "\" escape | "[" class "]" | "(" ["?:"] alternatives ")"

As in POSIX a pattern is searched anywhere in the text, and "." is any character. Classes such as \d, \w, \s and
[:alpha:] hold ASCII characters only. Look-around, back-references, named groups and possessive repetition are refused.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import re2

from broker.ngsild.errors import BadRequestData, TooComplexQuery
from broker.ngsild.query.pattern_safety import write_for_pcre
from broker.ngsild.query.pattern_tree import (
    END,
    EVERYTHING,
    START,
    Alternatives,
    Boundary,
    Characters,
    Item,
    Repeat,
    Sequenced,
    complement,
    ranges_of,
    weight,
    write,
)

MAX_LENGTH = 512
MAX_DEPTH = 10
MAX_REPETITIONS = 256
MAX_WEIGHT = 1024
"""How many characters a pattern may be made of, each counted as often as it is repeated. RE2 takes microseconds for a
character of a text then, up to some fifty; without a limit repetitions of repetitions could make it seconds."""

MAX_WORK = 1 << 25
"""Characters of a text times instructions of RE2's program, for one search: it takes 20 ns for each at worst, and
cannot be interrupted. Patterns of every day have ten to thirty instructions: they may search a megabyte, which takes
milliseconds."""

_CLASSES = {
    "d": ranges_of("09"),
    "w": ranges_of("09", "AZ", "__", "az"),
    "s": ranges_of("\t\r", "  "),
}
_POSIX_CLASSES = {
    "alnum": ranges_of("09", "AZ", "az"),
    "alpha": ranges_of("AZ", "az"),
    "blank": ranges_of("\t\t", "  "),
    "cntrl": ranges_of("\0\x1f", "\x7f\x7f"),
    "digit": ranges_of("09"),
    "graph": ranges_of("!~"),
    "lower": ranges_of("az"),
    "print": ranges_of(" ~"),
    "punct": ranges_of("!/", ":@", "[`", "{~"),
    "space": ranges_of("\t\r", "  "),
    "upper": ranges_of("AZ"),
    "xdigit": ranges_of("09", "AF", "af"),
}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "e": "\x1b"}
_REPETITION = re.compile(r"\{([0-9]{1,4})(?:(,)([0-9]{1,4})?)?\}")
_HEX = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern: as written, for RE2, and for MongoDB's PCRE, or None there if PCRE could be stalled by it.

    `size` is the number of instructions of RE2's program.
    """

    source: str
    re2: str
    pcre: str | None
    size: int

    def matcher(self) -> Callable[[str], object]:
        """A function that gives something other than None for a text that holds a match.

        It takes linear time, a microsecond or two for a short text. It raises TooComplexQuery past MAX_WORK.
        """
        options = re2.Options()
        options.log_errors = False
        engine = re2.Set.SearchSet(options)
        engine.Add(self.re2)
        engine.Compile()
        match, longest = engine.Match, MAX_WORK // self.size

        def search(text: str) -> object:
            if len(text) > longest:
                raise TooComplexQuery(
                    f"The pattern {self.source!r} takes too long to compare with a text of {len(text)} characters: at "
                    f"most {longest} are compared with one like it. Use a simpler pattern, without large repetitions, "
                    "or select fewer entities by a type, an id or another term before it."
                )
            return match(text)

        return search


@lru_cache(maxsize=1024)
def parse_pattern(text: str) -> Pattern:
    """The pattern that `text` writes.

    Raises BadRequestData for a text that is no pattern, and TooComplexQuery for one past MAX_WEIGHT.
    """
    if len(text) > MAX_LENGTH:
        raise BadRequestData(f"The pattern has {len(text)} characters: expected at most {MAX_LENGTH}.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise BadRequestData(f"The pattern {text!r} holds half of a surrogate pair: expected Unicode characters.")
    tree = _Reader(text).read()
    if weight(tree) > MAX_WEIGHT:
        raise TooComplexQuery(
            f"The pattern {text!r} is made of more than {MAX_WEIGHT} characters, with what it repeats. Use a simpler "
            "pattern, or several terms joined by ; or |."
        )
    written = write(tree)
    options = re2.Options()
    options.log_errors = False
    try:
        size = re2.compile(written, options).programsize
    except re2.error as error:
        raise BadRequestData(f"The pattern {text!r} cannot be used: {error}.") from error
    return Pattern(text, written, write_for_pcre(tree), size)


class _Reader:
    """Reads one pattern by recursive descent."""

    def __init__(self, text: str) -> None:
        self._folds = text.startswith("(?i)")
        self._text = text
        self._at = 4 if self._folds else 0
        self._depth = 0

    def read(self) -> Alternatives:
        alternatives = self._alternatives()
        if self._at < len(self._text):
            raise self._error('")" closes no group: escape it as "\\)"')
        return alternatives

    def _error(self, what: str, at: int | None = None) -> BadRequestData:
        place = (self._at if at is None else at) + 1
        return BadRequestData(f"The pattern {self._text!r} is invalid at character {place}: {what}.")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _alternatives(self) -> Alternatives:
        found = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            found.append(self._sequence())
        return Alternatives(tuple(found))

    def _sequence(self) -> Sequenced:
        items: list[Item] = []
        while self._peek() not in ("", "|", ")"):
            item = self._atom()
            if isinstance(item, Characters | Alternatives):
                item = self._repeated(item)
            elif self._peek() and self._peek() in "*+?":
                raise self._error("nothing that could be repeated stands before the repetition")
            if isinstance(item, Alternatives) and len(item.sequences) == 1:
                items.extend(item.sequences[0].items)
            else:
                items.append(item)
        return Sequenced(tuple(items))

    def _repeated(self, item: Characters | Alternatives) -> Item:
        character = self._peek()
        if character and character in "*+?":
            low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}[character]
            self._at += 1
        elif character == "{":
            found = _REPETITION.match(self._text, self._at)
            if found is None:
                raise self._error('expected {n}, {n,} or {n,m}, or "\\{" for a brace')
            low = int(found[1])
            high = low if found[2] is None else None if found[3] is None else int(found[3])
            if max(low, high or 0) > MAX_REPETITIONS or (high is not None and high < low):
                raise self._error(f"expected a repetition of at most {MAX_REPETITIONS}, the smaller number first")
            self._at = found.end()
        else:
            return item
        if self._peek() == "?":  # a lazy repetition: it makes no difference to whether there is a match
            self._at += 1
        if self._peek() and self._peek() in "*+?{":
            raise self._error("a repetition is repeated: put the first one into a group")
        return Repeat(item, low, high)

    def _atom(self) -> Item:
        start, character = self._at, self._peek()
        self._at += 1
        if character == "(":
            return self._group()
        if character == "[":
            return self._class()
        if character == "\\":
            return self._escape(in_class=False)
        if character == ".":
            return EVERYTHING
        if character in "^$":
            return START if character == "^" else END
        if character in "*+?{":
            raise self._error(f'nothing to repeat stands before it; escape it as "\\{character}"', start)
        return self._folded(ranges_of(character * 2))

    def _group(self) -> Alternatives:
        start = self._at - 1
        if self._text.startswith("?:", self._at):
            self._at += 2
        elif self._peek() == "?":
            raise self._error('only plain groups "(…)" and "(?:…)" are supported, and "(?i)" as the very first', start)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"groups are nested deeper than {MAX_DEPTH}", start)
        inner = self._alternatives()
        self._depth -= 1
        if self._peek() != ")":
            raise self._error('the group is not closed: expected ")"', start)
        self._at += 1
        return inner

    def _escape(self, *, in_class: bool) -> Characters | Boundary:
        start = self._at - 1
        character = self._peek()
        self._at += 1
        if character.lower() in _CLASSES:
            ranges = _CLASSES[character.lower()]
            return Characters(ranges if character.islower() else complement(ranges))
        if character in ("b", "B") and not in_class:
            return Boundary(character)
        if character in _CONTROLS:
            return Characters(ranges_of(_CONTROLS[character] * 2))
        if character == "x":
            found = _HEX.match(self._text, self._at - 1)
            code = int(found[1] or found[2], 16) if found else -1
            if found is None or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                raise self._error("expected \\xHH or \\x{HHHH} of a Unicode character", start)
            self._at = found.end()
            return self._folded(ranges_of(chr(code) * 2))
        if not character or character.isalnum():
            raise self._error(f'the escape "\\{character}" is not supported', start)
        return Characters(ranges_of(character * 2))

    def _class(self) -> Characters:
        start = self._at - 1
        negated = self._peek() == "^"
        self._at += negated
        ranges: list[tuple[int, int]] = []
        first = True
        while first or self._peek() != "]":
            if not self._peek():
                raise self._error('the class is not closed: expected "]"', start)
            ranges.extend(self._class_item())
            first = False
        self._at += 1
        characters = self._folded(ranges)
        return Characters(complement(characters.ranges)) if negated else characters

    def _class_item(self) -> Sequence[tuple[int, int]]:
        start = self._at
        if self._text.startswith("[:", start):
            name, closed, _ = self._text[start + 2 :].partition(":]")
            if not closed or name not in _POSIX_CLASSES:
                raise self._error(f"expected a class such as [:alpha:], one of {', '.join(_POSIX_CLASSES)}", start)
            self._at = start + len(name) + 4
            return _POSIX_CLASSES[name]
        low = self._class_end()
        if self._peek() != "-" or self._text[self._at + 1 : self._at + 2] in ("]", ""):
            return low
        self._at += 1
        high = self._class_end()
        if len(low) > 1 or len(high) > 1 or low[0][0] != low[0][1] or high[0][0] != high[0][1] or low[0] > high[0]:
            raise self._error("expected a range from one character to a later one", start)
        return ((low[0][0], high[0][0]),)

    def _class_end(self) -> Sequence[tuple[int, int]]:
        character = self._peek()
        self._at += 1
        if character == "\\":
            escaped = self._escape(in_class=True)
            assert isinstance(escaped, Characters)
            return escaped.ranges
        if character == "[" and self._peek() and self._peek() in ".=":
            raise self._error("collating symbols are not supported", self._at - 1)
        return ranges_of(character * 2)

    def _folded(self, ranges: Sequence[tuple[int, int]]) -> Characters:
        """The characters, under "(?i)" with the other case of each."""
        if not self._folds:
            return Characters(ranges_of(*(chr(low) + chr(high) for low, high in ranges)))
        others = list(ranges)
        for low, high in ranges:
            for code in range(low, min(high, 0x7F) + 1) if high > low else (low,):
                others.extend((ord(one), ord(one)) for one in (chr(code).lower(), chr(code).upper()) if len(one) == 1)
        return Characters(ranges_of(*(chr(low) + chr(high) for low, high in others)))
