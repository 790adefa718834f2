"""The checker: every change that the committer is about to write passes here (sync, a few microseconds)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from broker.ngsild.changes import Change
from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import Entity
from broker.validation.models import Model
from broker.validation.policies import Policy
from broker.validation.violations import Violation


class FindsModels(Protocol):
    """Knows the data models and the policies; asked for each type of each change, so both must be look-ups."""

    def get(self, iri: str, /) -> Model | None:
        """The data model of a type, if there is one that can be used."""

    def policy(self, tenant: str, iri: str, /) -> Policy:
        """What happens to an entity of the type that breaks a rule, in `tenant` ("" is the default tenant)."""


class Observes(Protocol):
    """Told of every violation, to count it."""

    def count(self, tenant: str, entity: Entity, model: Model, violation: Violation, policy: Policy, /) -> None:
        """One violation that `entity` as it would be has, accepted (`warn`, or advisory) or refused (`enforce`).

        Must be cheap: it is called on the commit path.
        """


@dataclass(frozen=True, slots=True)
class Findings:
    """The rules that one change breaks, with the policy of each: those that refuse it, else all of them.

    `entity` is the entity as it would be. Nothing is counted before `count`: a change may be checked several times
    before its outcome is given.
    """

    tenant: str
    entity: Entity
    violations: Sequence[tuple[Model, Violation, Policy]]
    refusal: BadRequestData | None
    observer: Observes

    def count(self) -> None:
        """Have the observer count every violation."""
        for model, violation, policy in self.violations:
            self.observer.count(self.tenant, self.entity, model, violation, policy)


class Checker:
    """Checks changes against data models, by the policy of tenant and type.

    Creations, replacements and changes of the types have the whole entity checked. Any other change answers only for
    what it touches: an old mistake elsewhere neither counts again nor refuses it.
    """

    def __init__(self, models: FindsModels, observer: Observes) -> None:
        self._models = models
        self._observer = observer

    def check(self, change: Change) -> Findings | None:
        """Check the entity as it would be after the change, against each of its types that has a data model.

        None if it breaks no rule. Under `enforce` the findings have a refusal, BadRequestData with every violation that
        is not advisory. Nothing is counted here.
        """
        entity = change.after
        if entity is None:
            return None
        models = self._models
        found: list[tuple[Model, Violation, Policy]] | None = None
        keys: tuple[str, ...] | None = None
        for iri in entity["types"]:
            model = models.get(iri)
            if model is None:
                continue
            policy = models.policy(change.tenant, iri)
            if policy is Policy.OFF:
                continue
            if keys is None:
                keys = change.attributes
            violations = _found(change, entity, model, keys)
            if violations:
                found = found or []
                found.extend((model, violation, policy) for violation in violations)
        if found is None:
            return None
        refusing = [one for one in found if one[2] is Policy.ENFORCE and not one[1].advisory]
        if refusing:
            return Findings(change.tenant, entity, refusing, _refusal(entity, refusing), self._observer)
        return Findings(change.tenant, entity, found, None, self._observer)


def _refusal(entity: Entity, refusing: Sequence[tuple[Model, Violation, Policy]]) -> BadRequestData:
    names = ", ".join(dict.fromkeys(model.name for model, _, _ in refusing))
    return BadRequestData(
        f"The entity {entity['_id']} would break {len(refusing)} of the rules of the data model {names}. "
        f"{refusing[0][1].detail} Correct the members that errors names, or have the policy of the type changed to "
        "warn.",
        violations=[violation.problem() for _, violation, _ in refusing],
    )


def _found(change: Change, entity: Entity, model: Model, keys: tuple[str, ...]) -> list[Violation]:
    """The violations that the change answers for."""
    before = change.before
    if before is None or before["types"] != entity["types"] or _replaced(change, entity, keys):
        return model.violations(entity)
    if model.keeps(entity, keys):
        return []
    found = model.violations_of(entity, frozenset([model.name_of(key) for key in keys]))
    if found and any(violation.tied for violation in found):
        known = {(violation.schema, violation.pointer) for violation in model.violations(before) if violation.tied}
        return [one for one in found if not one.tied or (one.schema, one.pointer) not in known]
    return found


def _replaced(change: Change, entity: Entity, keys: tuple[str, ...]) -> bool:
    """Whether every attribute that the entity has came with this change: what was merely updated is older."""
    attributes = entity["attributes"]
    if len(keys) < len(attributes):
        return False
    now = change.now
    return all(instance["createdAt"] == now for instances in attributes.values() for instance in instances)
