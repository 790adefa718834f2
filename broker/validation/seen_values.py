"""What was seen of the values of one attribute, and the JSON Schema that says so: the groundwork of `inferring.py`.

Memory stays bounded however many values there are: texts and members are kept only as long as they are few.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from jsonschema_rs import Draft202012Validator

MOST_CHOICES = 12
"""An enumeration is proposed for so many different texts at most."""
FEWEST_CHOICES = 2
FEWEST_TEXTS = 20
"""…and only where so many texts were seen: a few say nothing about those to come."""
REPETITIONS = 5
"""…each of which occurs so often on average."""

_LONGEST_CHOICE = 60
_MOST_MEMBERS = 60
_DEEPEST = 4
_BEYOND_INT64 = 2**63
_URI = re.compile(r"urn:[A-Za-z0-9][A-Za-z0-9-]*:\S+|[A-Za-z][A-Za-z0-9+.-]*://\S+")
_FORMATS = {
    name: Draft202012Validator({"format": name}, validate_formats=True) for name in ("date-time", "date", "uri")
}
"""The formats that are proposed, each as the checks understand it."""

Schema = dict[str, Any]


@dataclass(slots=True)
class SeenValues:
    """The JSON values of one attribute, of one member of its objects, or of the items of its arrays.

    `kinds` counts them by JSON type. `texts` are the different texts with their numbers, None once they are too many
    for an enumeration; `formats` are those that all texts so far have. `members` is None once they are so many that
    the objects look like dictionaries.
    """

    depth: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    lowest: float = math.inf
    highest: float = -math.inf
    texts: Counter[str] | None = field(default_factory=Counter)
    formats: set[str] = field(default_factory=lambda: set(_FORMATS))
    members: "dict[str, SeenValues] | None" = field(default_factory=dict)
    items: "SeenValues | None" = None

    def add(self, value: Any) -> None:
        """Take note of one value: a JSON value without JSON-LD value objects."""
        match value:
            case bool():
                self.kinds["boolean"] += 1
            case int() | float():
                self.kinds["integer" if isinstance(value, int) else "number"] += 1
                self.lowest, self.highest = min(self.lowest, value), max(self.highest, value)
            case str():
                self.kinds["string"] += 1
                self._add_text(value)
            case dict():
                self.kinds["object"] += 1
                self._add_members(value)
            case list():
                self.kinds["array"] += 1
                if self.items is None and value:
                    self.items = SeenValues(self.depth + 1)
                for item in value:
                    assert self.items is not None
                    self.items.add(item)
            case _:
                self.kinds["null"] += 1

    def schema(self, *, strict: bool) -> Schema:
        """The schema that all values keep; with `strict` the range of numbers, rounded outwards, is part of it."""
        kinds = set(self.kinds)
        if "number" in kinds:
            kinds.discard("integer")
        branches = [self._branch(kind, strict=strict) for kind in sorted(kinds)]
        if not branches:
            return {}
        return branches[0] if len(branches) == 1 else {"anyOf": branches}

    def remark(self) -> str:
        """What a schema leaves to its description: the range of the numbers, the text that is always the same."""
        bounds = self.range()
        if bounds is not None:
            return f"from {bounds[0]} to {bounds[1]}" if bounds[0] < bounds[1] else f"always {bounds[0]}"
        texts = self.texts
        return f"always {next(iter(texts))!r}" if texts is not None and len(texts) == 1 < texts.total() else ""

    def range(self) -> tuple[int | float, int | float] | None:
        """The range of the numbers, rounded outwards to a digit that fits its width; None where there are none."""
        if self.lowest > self.highest:
            return None
        low, high = Decimal(str(self.lowest)), Decimal(str(self.highest))
        width = high - low if high > low else abs(high)
        if not width:
            return 0, 0
        step = Decimal(1).scaleb(width.adjusted())
        return (
            _number((low / step).to_integral_value(ROUND_FLOOR) * step),
            _number((high / step).to_integral_value(ROUND_CEILING) * step),
        )

    def _branch(self, kind: str, *, strict: bool) -> Schema:
        schema: Schema = {"type": kind}
        if kind in ("integer", "number"):
            bounds = self.range()
            if strict and bounds is not None:
                schema["minimum"], schema["maximum"] = bounds
        elif kind == "string":
            if self._is_enumeration():
                assert self.texts is not None
                schema["enum"] = sorted(self.texts)
            elif self.formats:
                schema["format"] = min(self.formats, key=list(_FORMATS).index)
        elif kind == "array" and self.items is not None:
            schema["items"] = self.items.schema(strict=strict)
        elif kind == "object" and self.members:
            schema["properties"] = {name: member.schema(strict=strict) for name, member in sorted(self.members.items())}
        return schema

    def _is_enumeration(self) -> bool:
        texts = self.texts
        if texts is None or not FEWEST_CHOICES <= len(texts) <= MOST_CHOICES or self.formats:
            return False
        return texts.total() >= max(FEWEST_TEXTS, REPETITIONS * len(texts)) and min(texts.values()) > 1

    def _add_text(self, text: str) -> None:
        for name in tuple(self.formats):
            if not _FORMATS[name].is_valid(text) or (name == "uri" and _URI.fullmatch(text) is None):
                self.formats.discard(name)
        if self.texts is not None:
            self.texts[text] += 1
            if len(self.texts) > MOST_CHOICES or len(text) > _LONGEST_CHOICE:
                self.texts = None

    def _add_members(self, value: dict[str, Any]) -> None:
        if self.members is None:
            return
        for name, member in value.items():
            self.members.setdefault(name, SeenValues(self.depth + 1)).add(member)
        if len(self.members) > _MOST_MEMBERS or self.depth >= _DEEPEST:
            self.members = None


def _number(value: Decimal) -> int | float:
    """As JSON: an integer where it is one that a client can send."""
    return int(value) if value == value.to_integral_value() and abs(value) < _BEYOND_INT64 else float(value)
