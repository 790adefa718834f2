"""A violation of a data model, put into words: what was found, where, what was expected, where the schema says so."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema_rs import ValidationError

from broker.validation.comparisons import KEYWORD, Comparison

_SHOWN = 160
"""Characters of a found value that a violation shows."""
_CHOICES = 12
"""Values of an enumeration that a violation lists."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule.

    `pointer` is the JSON pointer into the simplified form of the entity, with the data model's names; `attribute` the
    attribute that it is about ("" for the entity as a whole); `rule` the schema keyword; `schema` the place of the rule
    as FILE#POINTER; `dataset` the datasetId of the instance, None for the first.
    """

    pointer: str
    attribute: str
    rule: str
    found: str
    expected: str
    schema: str
    message: str = ""
    dataset: str | None = None
    others: tuple[str, ...] = ()

    @property
    def detail(self) -> str:
        """The violation as a sentence."""
        where = self.pointer[1:].replace("/", ".") or "The entity"
        if self.dataset is not None:
            where += f" (datasetId {self.dataset})"
        sentence = f"{where} is {self.found}; expected {self.expected}."
        return f"{sentence} {self.message}" if self.message else sentence

    def concerns(self, attributes: frozenset[str]) -> bool:
        """Whether one of the attributes takes part in the violation; one of the whole entity concerns them all."""
        return not self.attribute or self.attribute in attributes or not attributes.isdisjoint(self.others)

    def problem(self) -> dict[str, Any]:
        """The violation as a member of "errors" in a problem."""
        body = {
            "pointer": self.pointer,
            "detail": self.detail,
            "found": self.found,
            "expected": self.expected,
            "schema": self.schema,
        }
        if self.dataset is not None:
            body["datasetId"] = self.dataset
        return body


def from_comparison(
    comparison: Comparison, index: int, numbers: tuple[Any, Any], file: str, dataset: str | None = None
) -> Violation:
    """The violation of a comparison, by its number in the schema, by the two numbers that break it."""
    left, right = numbers
    return Violation(
        pointer=_pointer(comparison.left),
        attribute=comparison.left[0],
        rule=KEYWORD,
        found=_shown(left),
        expected=f"a number {comparison.words} {'.'.join(comparison.right)}, which is {_shown(right)}",
        schema=f"{file}#/{KEYWORD}/{index}",
        message=comparison.message,
        dataset=dataset,
        others=(comparison.right[0],),
    )


def from_error(error: ValidationError, schema: str, dataset: str | None = None) -> list[Violation]:
    """The violations in what jsonschema-rs found; `schema` is the place of the broken keyword."""
    path: list[str | int] = list(error.instance_path)
    rule = error.kind.name
    if rule == "required":
        return [
            _violation([*path, error.kind.value], rule, "missing", "it to be present", schema=schema, dataset=dataset)
        ]
    if rule in ("additionalProperties", "unevaluatedProperties"):
        return [
            _violation(
                [*path, name], rule, "unknown to the data model", "no such member", schema=schema, dataset=dataset
            )
            for name in error.kind.value
        ]
    return [_violation(path, rule, _shown(error.instance), _expectation(error), schema=schema, dataset=dataset)]


def _violation(
    path: Sequence[str | int], rule: str, found: str, expected: str, *, schema: str, dataset: str | None
) -> Violation:
    attribute = str(path[0]) if path else ""
    return Violation(_pointer(path), attribute, rule, found, expected, schema, dataset=dataset)


def _pointer(path: Sequence[str | int]) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


_TYPES = {
    "string": "text",
    "number": "a number",
    "integer": "an integer",
    "boolean": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
}

_FORMATS = {
    "date-time": "a date and time with its zone, such as 2026-01-31T12:00:00Z",
    "date": "a date, such as 2026-01-31",
    "time": "a time with its zone, such as 12:00:00Z",
    "duration": "an ISO 8601 duration, such as PT15M",
    "uri": "a URI, such as https://example.org/a",
    "iri": "a URI, such as urn:ngsi-ld:Building:1",
    "email": "an e-mail address",
}


def _choices(options: list[Any]) -> str:
    shown = ", ".join(_shown(option) for option in options[:_CHOICES])
    more = len(options) - _CHOICES
    return f"one of {shown}" + (f" or {more} others" if more > 0 else "")


def _alternatives(context: list[list[ValidationError]]) -> str:
    return " or ".join(dict.fromkeys(_expectation(branch[0]) for branch in context if branch))


_EXPECTATIONS: dict[str, Callable[[Any], str]] = {
    "type": lambda types: " or ".join(_TYPES[name] for name in types),
    "const": lambda value: f"exactly {_shown(value)}",
    "enum": _choices,
    "minimum": lambda limit: f"a number of at least {limit}",
    "maximum": lambda limit: f"a number of at most {limit}",
    "exclusiveMinimum": lambda limit: f"a number greater than {limit}",
    "exclusiveMaximum": lambda limit: f"a number less than {limit}",
    "multipleOf": lambda step: f"a multiple of {step}",
    "minLength": lambda length: f"text of at least {length} characters",
    "maxLength": lambda length: f"text of at most {length} characters",
    "pattern": lambda pattern: f"text that matches {pattern}",
    "format": lambda name: _FORMATS.get(name, f"text in the format {name}"),
    "minItems": lambda count: f"an array of at least {count} items",
    "maxItems": lambda count: f"an array of at most {count} items",
    "uniqueItems": lambda _: "an array without repetitions",
    "falseSchema": lambda _: "no such member: the data model does not allow it",
    "minProperties": lambda count: f"an object of at least {count} members",
    "maxProperties": lambda count: f"an object of at most {count} members",
    "anyOf": _alternatives,
    "oneOf": _alternatives,
}


def _expectation(error: ValidationError) -> str:
    words = _EXPECTATIONS.get(error.kind.name)
    expected = words(error.kind.value) if words is not None else ""
    return expected or f"the rule {error.kind.name} to hold ({error.message})"
