"""The form that type selections and scope queries share: alternatives, each of them one item or several together.

    selection   = alternative *(("|" | ",") alternative)
    alternative = ["("] item *(";" item) [")"]

The clauses 4.17 and 4.19 ask for parentheses around a conjunction; here ";" binds tighter than "|" without them, too.
"""

import re

from broker.ngsild.errors import BadRequestData, TooComplexQuery

MAX_TEXT = 8192
MAX_ITEMS = 200

_TOKEN = re.compile(r"\s*(?:([|,;()])|([^\s|,;()]+))")


def read_alternatives(text: str, parameter: str, item: str) -> tuple[tuple[str, ...], ...]:
    """The items of each alternative. Errors name the `parameter`, and `item` says what was expected.

    Raises BadRequestData, with the place, what was found and what was expected; TooComplexQuery past the bounds above.
    """
    if len(text) > MAX_TEXT:
        raise TooComplexQuery(f"{parameter} has {len(text)} characters: expected at most {MAX_TEXT}.")
    found = _TOKEN.finditer(text.rstrip())
    tokens = [(match.start(match.lastindex or 0), match[match.lastindex or 0]) for match in found]
    if len(tokens) > 2 * MAX_ITEMS:
        raise TooComplexQuery(f"{parameter} has more than {MAX_ITEMS} items.")
    return tuple(_Reader(tokens, text, parameter, item).alternatives())


class _Reader:
    def __init__(self, tokens: list[tuple[int, str]], text: str, parameter: str, item: str) -> None:
        self._tokens = [*tokens, (len(text), "")]
        self._parameter = parameter
        self._item = item
        self._next = 0

    def alternatives(self) -> list[tuple[str, ...]]:
        found = [self._alternative()]
        while self._take("|") or self._take(","):
            found.append(self._alternative())
        if self._tokens[self._next][1]:
            raise self._error('"|", "," or the end')
        return found

    def _alternative(self) -> tuple[str, ...]:
        grouped = self._take("(")
        items = [self._read_item()]
        while self._take(";"):
            items.append(self._read_item())
        if grouped and not self._take(")"):
            raise self._error('";" or ")"')
        return tuple(items)

    def _read_item(self) -> str:
        found = self._tokens[self._next][1]
        if not found or found in "|,;()":
            raise self._error(self._item)
        self._next += 1
        return found

    def _take(self, wanted: str) -> bool:
        if self._tokens[self._next][1] != wanted:
            return False
        self._next += 1
        return True

    def _error(self, expected: str) -> BadRequestData:
        at, token = self._tokens[self._next]
        found = repr(token[:40]) if token else "the end"
        return BadRequestData(
            f"{self._parameter} is invalid at character {at + 1}: found {found}, expected {expected}."
        )
