"""Projections (clause 4.21): `pick=name,observation{temperature|humidity}` names members, and those of linked entities.

projection = term *(("," | "|") term)
term       = name ["{" projection "}"]
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce

from broker.ngsild.errors import BadRequestData, TooComplexQuery

MAX_TEXT = 8192
MAX_DEPTH = 20

_TOKEN = re.compile(
    r"\s*(?:(?P<sign>[,|{}])|(?P<name>[^\W\d_][\w\-]*://[^\s,|{}()<>\"=!~;]+|[^\W\d_][^\s,|{}()\[\]<>\"=!~;]*))"
)


@dataclass(frozen=True, slots=True)
class Projection:
    """Members in the order in which they were named, as written; those of linked entities by the Relationship.

    `members` maps each name to the projection of the entities that it leads to, None where it has none.
    """

    members: Mapping[str, "Projection | None"] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.members)

    def __iter__(self) -> Iterator[str]:
        return iter(self.members)

    @property
    def depth(self) -> int:
        """How many Relationships in a row it follows; 0 if it stays within the entity."""
        return max((1 + inner.depth for inner in self.members.values() if inner is not None), default=0)

    def check_depth(self, depth: int, parameter: str) -> None:
        """BadRequestData if it follows more than `depth` Relationships, those that are retrieved (clause 5.7.2.4).

        Without linked entity retrieval the depth is 0.
        """
        found = self.depth
        if found > depth:
            allowed = f"joinLevel is {depth}" if depth else "linked entities are not retrieved"
            raise BadRequestData(
                f"{parameter} is too deep: it goes through {found} Relationships in a row, and {allowed}: expected "
                f"join=flat or join=inline, with joinLevel={found} at least."
            )


def combined(projections: Iterable[Projection]) -> Projection:
    """What several projections name together."""
    return reduce(_merged, projections, Projection())


def parse_projection(text: str, parameter: str) -> Projection:
    """The projection that `text` writes, the value of `parameter`.

    Raises BadRequestData, with the place, what was found and what was expected; TooComplexQuery past the bounds above.
    """
    if len(text) > MAX_TEXT:
        raise TooComplexQuery(f"{parameter} has {len(text)} characters: expected at most {MAX_TEXT}.")
    return _Reader(text, parameter).whole()


class _Reader:
    def __init__(self, text: str, parameter: str) -> None:
        self._text = text
        self._parameter = parameter
        self._at = 0

    def whole(self) -> Projection:
        found = self._projection(0)
        if self._text[self._at :].strip():
            raise self._error('",", "|" or the end')
        return found

    def _projection(self, depth: int) -> Projection:
        if depth > MAX_DEPTH:
            raise TooComplexQuery(f"{self._parameter} goes through more than {MAX_DEPTH} Relationships in a row.")
        members: dict[str, Projection | None] = {}
        while True:
            name = self._take("name")
            if name is None:
                raise self._error("the name of a member")
            inner = None
            if self._take("sign", "{") is not None:
                inner = self._projection(depth + 1)
                if self._take("sign", "}") is None:
                    raise self._error('",", "|" or "}"')
            members[name] = _both(members[name], inner) if name in members else inner
            if self._take("sign", ",|") is None:
                return Projection(members)

    def _take(self, group: str, signs: str = "") -> str | None:
        match = _TOKEN.match(self._text, self._at)
        found = match[group] if match is not None else None
        if match is None or found is None or (signs and found not in signs):
            return None
        self._at = match.end()
        return found

    def _error(self, expected: str) -> BadRequestData:
        rest = self._text[self._at :].lstrip()
        found = repr(rest[:30]) if rest else "the end"
        place = len(self._text) - len(rest) + 1
        return BadRequestData(f"{self._parameter} is invalid at character {place}: found {found}, expected {expected}.")


def _both(one: Projection | None, other: Projection | None) -> Projection | None:
    """What a name asks for that occurs twice."""
    return one or other if one is None or other is None else _merged(one, other)


def _merged(one: Projection, other: Projection) -> Projection:
    merged = dict(one.members)
    for name, inner in other.members.items():
        merged[name] = _both(merged[name], inner) if name in merged else inner
    return Projection(merged)
