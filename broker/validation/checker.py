"""The checker: every change that the committer is about to write passes here (sync, a few microseconds)."""

from typing import Any, Protocol

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


class Checker:
    """Checks changes against data models, by the policy of tenant and type.

    Creations, replacements and changes of the types have the whole entity checked. Any other change answers only for
    what it touches: an old mistake elsewhere neither counts again nor refuses it.
    """

    def __init__(self, models: FindsModels, observer: Observes) -> None:
        self._models = models
        self._observer = observer

    def check(self, change: Change) -> None:
        """Check the entity as it would be after the change, against each of its types that has a data model.

        Under `enforce`, BadRequestData with every violation; those that are advisory never refuse. What is accepted is
        counted; a change that is refused counts only what refuses it.
        """
        entity = change.after
        if entity is None:
            return
        models = self._models
        accepted: list[tuple[Model, Violation, Policy]] = []
        refused: list[tuple[Model, Violation]] = []
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
            for violation in _found(change, entity, model, keys):
                if policy is Policy.ENFORCE and not violation.advisory:
                    refused.append((model, violation))
                else:
                    accepted.append((model, violation, policy))
        if refused:
            raise self._refusal(change.tenant, entity, refused)
        for model, violation, policy in accepted:
            self._observer.count(change.tenant, entity, model, violation, policy)

    def _refusal(self, tenant: str, entity: Entity, refused: list[tuple[Model, Violation]]) -> BadRequestData:
        problems: list[dict[str, Any]] = []
        for model, violation in refused:
            self._observer.count(tenant, entity, model, violation, Policy.ENFORCE)
            problems.append(violation.problem())
        names = ", ".join(dict.fromkeys(model.name for model, _ in refused))
        return BadRequestData(
            f"The entity {entity['_id']} would break {len(problems)} of the rules of the data model {names}. "
            f"{refused[0][1].detail} Correct the members that errors names, or have the policy of the type changed to "
            "warn.",
            violations=problems,
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
