"""A violation of a data model, put into words: what was found, where, what was expected, where the schema says so."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema_rs import ValidationError

from broker.validation.comparisons import KEYWORD, Comparison
from broker.validation.units import OBSERVED, UNITS, Units

_SHOWN = 160
"""Characters of a found value that a violation shows."""
_CHOICES = 12
"""Values of an enumeration that a violation lists."""

_BY_MEMBER = frozenset({"properties", "required", "additionalProperties", "patternProperties"})
"""Keywords that judge each member of an object by itself."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule.

    `pointer` is the JSON pointer into the simplified form of the entity, with the data model's names; `attribute` the
    attribute that it is about ("" for the entity as a whole); `rule` the schema keyword; `schema` the place of the rule
    as FILE#POINTER; `dataset` the datasetId of the instance, None for the first. `others` are further attributes that
    take part. `tied` says that the rule ties members of the entity together, as anyOf at the root does: any of them may
    be what breaks it. What is `advisory` is counted, and refuses no change.
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
    tied: bool = False
    advisory: bool = False

    @property
    def detail(self) -> str:
        """The violation as a sentence."""
        where = self.pointer[1:].replace("/", ".") or "The entity"
        if self.dataset is not None:
            where += f" (datasetId {self.dataset})"
        sentence = f"{where} is {self.found}; expected {self.expected}."
        return f"{sentence} {self.message}" if self.message else sentence

    def concerns(self, attributes: frozenset[str]) -> bool:
        """Whether one of the attributes may be what breaks the rule; a rule of the whole entity concerns them all."""
        if self.tied or not self.attribute:
            return True
        return self.attribute in attributes or not attributes.isdisjoint(self.others)

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


def from_comparison(comparison: Comparison, index: int, numbers: tuple[Any, Any], file: str) -> Violation:
    """The violation of a comparison, by its number in the schema, by the two numbers that break it."""
    left, right = numbers
    return Violation(
        pointer=write_pointer(comparison.left),
        attribute=comparison.left[0],
        rule=KEYWORD,
        found=_shown(left),
        expected=f"a number {comparison.words} {'.'.join(comparison.right)}, which is {_shown(right)}",
        schema=f"{file}#/{KEYWORD}/{index}",
        message=comparison.message,
        others=(comparison.right[0],),
    )


def from_unit(name: str, code: str, units: Units, dataset: str | None) -> Violation:
    """The violation of the attribute `name` that is given in the unit `code`."""
    return Violation(
        pointer=write_pointer([name, "unitCode"]),
        attribute=name,
        rule=UNITS,
        found=_shown(code),
        expected=_choices(sorted(units.codes)),
        schema=units.place,
        dataset=dataset,
    )


def from_timeless(name: str, place: str, dataset: str | None) -> Violation:
    """The violation of the attribute `name` that does not tell when it was observed; `place` is that of the rule."""
    return Violation(
        pointer=write_pointer([name, "observedAt"]),
        attribute=name,
        rule=OBSERVED,
        found="missing",
        expected="the time of the observation",
        schema=place,
        dataset=dataset,
        advisory=True,
    )


def from_error(error: ValidationError, schema: str) -> list[Violation]:
    """The violations in what jsonschema-rs found; `schema` is the place of the broken keyword."""
    path: list[str | int] = list(error.instance_path)
    rule = error.kind.name
    found, expected = _shown(error.instance), ""
    paths = [path]
    if rule == "required":
        paths, found, expected = [[*path, error.kind.value]], "missing", "it to be present"
    elif rule in ("additionalProperties", "unevaluatedProperties"):
        paths = [[*path, name] for name in error.kind.value]
        found, expected = "unknown to the data model", "no such member"
    tied = _ties(error.evaluation_path)
    expected = expected or _expectation(error)
    return [
        Violation(write_pointer(path), str(path[0]) if path else "", rule, found, expected, schema, tied=tied)
        for path in paths
    ]


def _ties(evaluation_path: Sequence[str | int]) -> bool:
    """Whether the first keyword on the way that is no mere conjunction looks at several members at once."""
    steps = iter(evaluation_path)
    for step in steps:
        if step == "allOf":
            next(steps)
        elif step != "$ref":
            return step not in _BY_MEMBER
    return True


def write_pointer(path: Iterable[str | int]) -> str:
    """The steps of a path as a JSON pointer (RFC 6901)."""
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
