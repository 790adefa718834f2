"""The checker: every change that the committer is about to write passes here (sync, a few microseconds)."""

from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from broker.ngsild.changes import Change
from broker.ngsild.errors import BadRequestData
from broker.ngsild.timestamps import now_text
from broker.validation.policies import Policies, Policy
from broker.validation.schemas import Model
from broker.validation.violations import Violation

_log = structlog.get_logger("vela.validation")

TALLY_LIMIT = 10_000
"""Different (tenant, type, attribute, rule) that are counted apart; what comes after is counted together."""

_Key = tuple[str, str, str, str]
_OVERFLOW: _Key = ("", "", "", "")


class ViolationObserver(Protocol):
    """Told of every violation that was accepted under `warn` or refused under `enforce`, for the metrics."""

    def __call__(self, tenant: str, type_name: str, attribute: str, rule: str, policy: str, /) -> None:
        """Called once per violation; must be cheap."""


@dataclass(slots=True)
class _Tally:
    count: int
    first: str
    last: str
    entity_id: str
    violation: Violation


class Checker:
    """Checks changes against data models, by the policy of tenant and type.

    `models` are the data models by type IRI. A type without one costs a dictionary miss.
    """

    def __init__(self, models: dict[str, Model], policies: Policies, observer: ViolationObserver | None = None) -> None:
        self._models = models
        self._policies = policies
        self._observer = observer
        self._tallies: dict[_Key, _Tally] = {}

    def check(self, change: Change) -> None:
        """Check the entity as it would be after the change, against each of its types that has a data model.

        Under `enforce`, BadRequestData with every violation. Under `warn`, what the change touches is counted: a
        violation that was there before is not counted again by an update of something else.
        """
        entity = change.after
        if entity is None:
            return
        models = self._models
        accepted: list[tuple[Model, list[Violation]]] = []
        refused: list[tuple[Model, list[Violation]]] = []
        for iri in entity["types"]:
            model = models.get(iri)
            if model is None:
                continue
            policy = self._policies.of(change.tenant, iri)
            if policy is Policy.OFF:
                continue
            violations = model.violations(entity)
            if violations:
                (refused if policy is Policy.ENFORCE else accepted).append((model, violations))
        if refused:
            raise self._refusal(change, refused)
        for model, violations in accepted:
            self._count(change, model, violations)

    def report(self) -> list[dict[str, Any]]:
        """The violations accepted under `warn` since this process started, most frequent first, as JSON objects.

        Each: tenant ("" is the default one), type, attribute ("" is the entity as a whole), rule (the schema keyword),
        count, first and last (DateTime), and the latest one as `sample`: entity, pointer, found, expected, schema,
        detail. An entry with an empty type counts what did not fit into the `TALLY_LIMIT` entries.
        """
        entries = sorted(self._tallies.items(), key=lambda entry: -entry[1].count)
        return [
            {
                "tenant": tenant,
                "type": type_name,
                "attribute": attribute,
                "rule": rule,
                "count": tally.count,
                "first": tally.first,
                "last": tally.last,
                "sample": {"entity": tally.entity_id, **tally.violation.problem()},
            }
            for (tenant, type_name, attribute, rule), tally in entries
        ]

    def _refusal(self, change: Change, refused: list[tuple[Model, list[Violation]]]) -> BadRequestData:
        problems: list[dict[str, Any]] = []
        for model, violations in refused:
            for violation in violations:
                self._observe(change.tenant, model, violation, Policy.ENFORCE)
                problems.append(violation.problem())
        names = ", ".join(model.name for model, _ in refused)
        first = refused[0][1][0].detail
        return BadRequestData(
            f"The entity {change.entity_id} would break {len(problems)} of the rules of the data model {names}. "
            f"{first} Correct the members that errors names, or have the policy of the type changed to warn.",
            violations=problems,
        )

    def _count(self, change: Change, model: Model, violations: list[Violation]) -> None:
        touched = _touched(change, model)
        for violation in violations:
            if touched is not None and not violation.concerns(touched):
                continue
            self._observe(change.tenant, model, violation, Policy.WARN)
            tally = self._tally((change.tenant, model.name, violation.attribute, violation.rule), change, violation)
            if _worth_a_line(tally.count):
                _log.warning(
                    "schema violation accepted",
                    tenant=change.tenant,
                    type=model.name,
                    entity=change.entity_id,
                    detail=violation.detail,
                    schema=violation.schema,
                    count=tally.count,
                )

    def _tally(self, key: _Key, change: Change, violation: Violation) -> _Tally:
        if key not in self._tallies and len(self._tallies) >= TALLY_LIMIT:
            key = _OVERFLOW
        now = now_text()
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = _Tally(1, now, now, change.entity_id, violation)
        else:
            tally.count += 1
            tally.last, tally.entity_id, tally.violation = now, change.entity_id, violation
        return tally

    def _observe(self, tenant: str, model: Model, violation: Violation, policy: Policy) -> None:
        if self._observer is not None:
            self._observer(tenant, model.name, violation.attribute, violation.rule, policy)


def _touched(change: Change, model: Model) -> frozenset[str] | None:
    """The names of the attributes that the change touches; None where it is the entity as a whole."""
    before, after = change.before, change.after
    if before is None or after is None or before["types"] != after["types"]:
        return None
    return frozenset(model.name_of(key) for key in change.attributes)


def _worth_a_line(count: int) -> bool:
    """The 1st, 10th, 100th, … violation of a kind is logged."""
    return str(count).rstrip("0") == "1"
