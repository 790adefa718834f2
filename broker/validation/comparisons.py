"""The keyword `x-vela-compare`: one number of an entity compared with another, which JSON Schema cannot say.

It stands at the root of a schema:

    "x-vela-compare": [{"left": "/availableSpotNumber", "operator": "<=", "right": "/totalSpotNumber", "message": "…"}]

`left` and `right` are JSON pointers (RFC 6901) into the simplified entity; `operator` is one of < <= > >= == !=;
`message` says in words why. A comparison holds where either side is absent or no number: presence and type are the
business of the other keywords.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from broker.validation.definitions import DataModelError

KEYWORD = "x-vela-compare"

_OPERATORS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "<": (operator.lt, "less than"),
    "<=": (operator.le, "at most"),
    ">": (operator.gt, "greater than"),
    ">=": (operator.ge, "at least"),
    "==": (operator.eq, "equal to"),
    "!=": (operator.ne, "different from"),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One compiled comparison; `left` and `right` are the unescaped steps of the two pointers."""

    left: tuple[str, ...]
    right: tuple[str, ...]
    holds: Callable[[Any, Any], bool]
    words: str
    message: str

    @property
    def attributes(self) -> frozenset[str]:
        """The names of the attributes that are compared."""
        return frozenset({self.left[0], self.right[0]})

    def broken_by(self, document: dict[str, Any]) -> tuple[Any, Any] | None:
        """The two numbers, if `document` breaks the comparison; else None."""
        left = _number(document, self.left)
        if left is None:
            return None
        right = _number(document, self.right)
        if right is None or self.holds(left, right):
            return None
        return left, right


def read_comparisons(schema: Mapping[str, Any], place: str) -> tuple[Comparison, ...]:
    """The comparisons at the root of `schema`; DataModelError where the keyword is malformed.

    `place` is that of the schema, URI#, for the error.
    """
    rules = schema.get(KEYWORD, [])
    if not isinstance(rules, list):
        raise DataModelError(f"{place}/{KEYWORD} is no array: expected a list of comparisons.")
    return tuple(_read(rule, f"{place}/{KEYWORD}/{index}") for index, rule in enumerate(rules))


def _read(rule: Any, where: str) -> Comparison:
    if not isinstance(rule, dict):
        raise DataModelError(f"{where} is no object: expected left, operator, right and message.")
    for member in ("left", "operator", "right", "message"):
        if not isinstance(rule.get(member), str):
            raise DataModelError(f"{where}/{member} is missing or no text.")
    if rule["operator"] not in _OPERATORS:
        raise DataModelError(f"{where}/operator is {rule['operator']!r}: expected one of {' '.join(_OPERATORS)}.")
    holds, words = _OPERATORS[rule["operator"]]
    return Comparison(_steps(rule["left"], where), _steps(rule["right"], where), holds, words, rule["message"])


def _steps(pointer: str, where: str) -> tuple[str, ...]:
    if not pointer.startswith("/"):
        raise DataModelError(f"{where}: {pointer!r} is no JSON pointer to a member: expected it to begin with a slash.")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/"))


def _number(document: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        if type(document) is not dict:
            return None
        document = document.get(step)
    return document if isinstance(document, int | float) and not isinstance(document, bool) else None
