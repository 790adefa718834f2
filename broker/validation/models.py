"""A compiled data model: it checks stored entities, wholly or only in what a change touches."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jsonschema_rs import Draft202012Validator, ValidationError

from broker.ngsild.model import Attributes, Entity, Instance, decode_key
from broker.validation.comparisons import Comparison
from broker.validation.simplified import AS_THEY_ARE, Terms, Variant, plain, values_of
from broker.validation.units import Units
from broker.validation.violations import Violation, from_comparison, from_error, from_timeless, from_unit


@dataclass(eq=False, slots=True)
class Member:
    """One attribute that a data model knows: its name there, its key in stored entities, and what is asked of it.

    `listed` says that the schema takes nothing but arrays. `observed` is the place of the rule that asks for
    observedAt. `is_valid` judges one simplified value by all schemas of the attribute.
    """

    name: str
    key: str
    is_valid: Callable[[Any], bool]
    required: bool = False
    listed: bool = False
    units: Units | None = None
    observed: str | None = None
    comparisons: tuple[Comparison, ...] = ()
    compared: tuple["Member", ...] = field(default=(), repr=False)
    """The attributes that take part in its comparisons, itself among them."""


class Rules(NamedTuple):
    """What a data model consists of, compiled.

    `separable` says that the schema judges each attribute by itself, comparisons aside: then what an attribute breaks
    does not depend on the others. `unbound` says that it looks at attributes, too, that it does not name.
    """

    validator: Draft202012Validator
    members: tuple[Member, ...]
    comparisons: tuple[Comparison, ...]
    terms: Terms
    files: Mapping[str, str]
    separable: bool
    unbound: bool


class _Simplified(NamedTuple):
    """An entity with the first value of each attribute, the datasetIds of those, and the further values."""

    document: dict[str, Any]
    datasets: dict[str, str]
    variants: list[Variant]


class Model:
    """One compiled data model.

    `name` is the type as the schema calls it, `iri` its expanded form, `file` the schema's path in its source,
    `subject` the folder of its subject. `separable` says that the schema judges attributes one by one.
    """

    def __init__(self, name: str, iri: str, file: str, subject: str, rules: Rules) -> None:
        self.name = name
        self.iri = iri
        self.file = file
        self.subject = subject
        self._validator = rules.validator
        self._keeps_schema = rules.validator.is_valid
        self._comparisons = rules.comparisons
        self._terms = rules.terms
        self._files = rules.files
        self.separable = rules.separable
        self._unbound = rules.unbound
        self._by_key = {member.key: member for member in rules.members}
        self._by_name = {member.name: member for member in rules.members}
        self._watched = [member for member in rules.members if member.units or member.observed]

    def violations(self, entity: Entity) -> list[Violation]:
        """Every rule that the stored entity breaks; empty if it keeps them all.

        The entity is checked with the first value of each attribute, then once more for each further value (datasetId,
        language) in the place of the first.
        """
        return self._broken(entity["_id"], entity["attributes"])

    def violations_of(self, entity: Entity, touched: frozenset[str]) -> list[Violation]:
        """Those of `violations` that concern the attributes `touched`, by the names that `name_of` gives them.

        Where the schema judges attributes one by one, only these are looked at.
        """
        attributes = entity["attributes"]
        if self.separable:
            members = [member for name in touched if (member := self._by_name.get(name)) is not None]
            if all(self._keeps(member, attributes) for member in members):
                return []
            looked_at = {one.key: None for member in members for one in (member, *member.compared)}
            attributes = {key: attributes[key] for key in attributes if key in looked_at}
        found = self._broken(entity["_id"], attributes, touched if self.separable else None)
        return [violation for violation in found if violation.concerns(touched)]

    def keeps(self, entity: Entity, keys: Iterable[str]) -> bool:
        """Whether it is plain that `violations_of` these attributes, here by their keys, would find nothing."""
        if not self.separable:
            return False
        attributes, by_key = entity["attributes"], self._by_key
        for key in keys:
            member = by_key.get(key)
            if member is not None and not self._keeps(member, attributes):
                return False
        return True

    def name_of(self, key: str) -> str:
        """The model's name of an attribute key; the IRI, or its end in the default vocabulary, where it has none."""
        member = self._by_key.get(key)
        return member.name if member is not None else self._terms.name(decode_key(key))

    @property
    def attributes(self) -> frozenset[str]:
        """The names of the attributes that the schema names."""
        return frozenset(self._by_name)

    def key_of(self, name: str) -> str:
        """The attribute key of a name of the model."""
        member = self._by_name.get(name)
        return member.key if member is not None else self._terms.key(name)

    def _keeps(self, member: Member, attributes: Attributes) -> bool:
        """Whether all instances of an attribute, or its absence, keep what a separable schema says about it."""
        instances = attributes.get(member.key)
        if instances is None:
            return not member.required
        for instance in instances:
            if instance["type"] == "Property":
                value = instance["value"]
                if not member.is_valid(value if type(value) in AS_THEY_ARE else plain(value)):
                    return False
            else:
                values = values_of(instance, self._terms, listed=member.listed)
                if not values and member.required:
                    return False
                for value in values:
                    if not member.is_valid(value):
                        return False
            if member.units is not None and _foreign(member.units, instance):
                return False
            if member.observed is not None and "observedAt" not in instance:
                return False
        return not member.compared or self._keeps_comparisons(member, attributes)

    def _keeps_comparisons(self, member: Member, attributes: Attributes) -> bool:
        document: dict[str, Any] = {}
        for one in member.compared:
            instances = attributes.get(one.key)
            if instances is not None:
                value = instances[0].get("value")
                if len(instances) > 1 or type(value) not in AS_THEY_ARE:
                    return self._keeps_all_comparisons(member, attributes)
                document[one.name] = value
        return not any(comparison.broken_by(document) for comparison in member.comparisons)

    def _keeps_all_comparisons(self, member: Member, attributes: Attributes) -> bool:
        """As `_keeps_comparisons`, where there are several values of an attribute, or other than numbers."""
        known = {one.key: attributes[one.key] for one in member.compared if one.key in attributes}
        document, _, variants = self._simplified("", known)
        documents = [document, *({**document, variant.name: variant.value} for variant in variants)]
        return not any(comparison.broken_by(one) for comparison in member.comparisons for one in documents)

    def _broken(self, entity_id: str, attributes: Attributes, touched: frozenset[str] | None = None) -> list[Violation]:
        """What the attributes break. Errors that name none of `touched`, if that is given, need not be told."""
        document, datasets, variants = self._simplified(entity_id, attributes)
        found: list[Violation] = []
        if not self._keeps_document(document):
            found = [_of_dataset(violation, datasets) for violation in self._explain(document, touched)]
        if variants:
            known = frozenset((violation.schema, violation.pointer) for violation in found)
            for variant in variants:
                found.extend(self._variant_violations(document, variant, known))
        for member in self._watched:
            if member.key in attributes:
                found.extend(_instance_violations(member, attributes[member.key]))
        return list(dict.fromkeys(found)) if len(found) > 1 else found

    def _simplified(self, entity_id: str, attributes: Attributes) -> _Simplified:
        document: dict[str, Any] = {"id": entity_id, "type": self.name}
        datasets: dict[str, str] = {}
        variants: list[Variant] = []
        by_key, terms = self._by_key, self._terms
        for key, instances in attributes.items():
            member = by_key.get(key)
            if member is not None:
                name, listed = member.name, member.listed
            elif self._unbound:
                name, listed = terms.name(decode_key(key)), False
            else:
                continue
            if len(instances) == 1 and type(value := instances[0].get("value")) in AS_THEY_ARE:
                document[name] = value
                if "datasetId" in instances[0]:
                    datasets[name] = instances[0]["datasetId"]
                continue
            for instance in instances:
                dataset = instance.get("datasetId")
                for value in values_of(instance, terms, listed=listed):
                    if name in document:
                        variants.append(Variant(name, value, dataset))
                    else:
                        document[name] = value
                        if dataset is not None:
                            datasets[name] = dataset
        return _Simplified(document, datasets, variants)

    def _keeps_document(self, document: dict[str, Any]) -> bool:
        for comparison in self._comparisons:
            if comparison.broken_by(document) is not None:
                return False
        return self._keeps_schema(document)

    def _variant_violations(
        self, document: dict[str, Any], variant: Variant, known: frozenset[tuple[str, str]]
    ) -> Iterator[Violation]:
        """What is broken with the variant in the place of the first value, and not without."""
        replaced = {**document, variant.name: variant.value}
        if self._keeps_document(replaced):
            return
        for violation in self._explain(replaced):
            own = violation.attribute == variant.name or variant.name in violation.others
            if own or (violation.concerns(frozenset()) and (violation.schema, violation.pointer) not in known):
                yield violation if variant.dataset is None else dataclasses.replace(violation, dataset=variant.dataset)

    def _explain(self, document: dict[str, Any], touched: frozenset[str] | None = None) -> Iterator[Violation]:
        for error in self._validator.iter_errors(document):
            if touched is not None and _names_none(error, touched):
                continue
            yield from from_error(error, self._place(error))
        for index, comparison in enumerate(self._comparisons):
            numbers = comparison.broken_by(document)
            if numbers is not None:
                yield from_comparison(comparison, index, numbers, self.file)

    def _place(self, error: ValidationError) -> str:
        identifier, _, pointer = (error.absolute_keyword_location or "").partition("#")
        if identifier in self._files:
            return f"{self._files[identifier]}#{pointer}"
        return f"{self.file}#" + "".join(f"/{step}" for step in error.schema_path)


def _names_none(error: ValidationError, touched: frozenset[str]) -> bool:
    """Whether an error of a separable schema is about an attribute that is not among `touched`."""
    path = error.instance_path
    return (path[0] if path else error.kind.value) not in touched


def _of_dataset(violation: Violation, datasets: Mapping[str, str]) -> Violation:
    dataset = datasets.get(violation.attribute)
    return violation if dataset is None else dataclasses.replace(violation, dataset=dataset)


def _foreign(units: Units, instance: Instance) -> bool:
    code = instance.get("unitCode")
    return code is not None and code not in units.codes


def _instance_violations(member: Member, instances: Sequence[Instance]) -> Iterator[Violation]:
    for instance in instances:
        dataset = instance.get("datasetId")
        if member.units is not None and _foreign(member.units, instance):
            yield from_unit(member.name, instance["unitCode"], member.units, dataset)
        if member.observed is not None and "observedAt" not in instance:
            yield from_timeless(member.name, member.observed, dataset)
