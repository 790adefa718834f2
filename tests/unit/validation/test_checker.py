from collections.abc import Mapping
from typing import Any

import pytest

from broker.ngsild.changes import Change
from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import DEFAULT_VOCABULARY, Entity
from broker.validation.checker import Checker
from broker.validation.models import Model
from broker.validation.policies import Policies, Policy
from broker.validation.violations import Violation
from tests.unit.validation.stored import CAR_PARK, LATER, NOW, change, entity, key, model, prop, shipped, stored, thing

LOCATION = {"type": "Point", "coordinates": [8.8, 53.1]}


class Known:
    """A few data models with their policies."""

    def __init__(self, models: Mapping[str, Model], policies: Policies) -> None:
        self.get = models.get
        self.policy = policies.of


class Counted(list[tuple[str, str, str, str, str]]):
    """Everything that the checker counts: tenant, type, attribute, rule, policy."""

    def count(self, tenant: str, entity: Entity, model: Model, violation: Violation, policy: Policy) -> None:
        assert entity["_id"].startswith("urn:")
        self.append((tenant, model.name, violation.attribute, violation.rule, policy))


def car_park(**values: Any) -> Entity:
    return stored({"id": "urn:ngsi-ld:OffStreetParking:1", "type": "OffStreetParking", "location": LOCATION, **values})


def updated(before: Entity, **values: Any) -> Entity:
    attributes = before["attributes"] | {key(name): [prop(value, observedAt=NOW)] for name, value in values.items()}
    return {**before, "attributes": attributes}


def checking(
    policy: Policy, *, models: Mapping[str, Model] | None = None, **overrides: Policy
) -> tuple[Checker, Counted]:
    counted = Counted()
    policies = Policies(policy, {(tenant, CAR_PARK): one for tenant, one in overrides.items()})
    return Checker(Known(models or {CAR_PARK: shipped()}, policies), counted), counted


def judge(checker: Checker, one: Change) -> None:
    """Check a change, and give its outcome: what was found is counted, a refusal is raised."""
    findings = checker.check(one)
    if findings is not None:
        findings.count()
        if findings.refusal is not None:
            raise findings.refusal


def checking_things(policy: Policy, schema: dict[str, Any]) -> tuple[Checker, Counted]:
    own = model(schema)
    return checking(policy, models={own.iri: own})


def test_enforce_refuses_with_every_violation() -> None:
    checker, counted = checking(Policy.ENFORCE)
    with pytest.raises(BadRequestData) as caught:
        judge(checker, change(car_park(totalSpotNumber=10, availableSpotNumber=11, occupancy=2)))
    assert {one["pointer"] for one in caught.value.violations} == {"/availableSpotNumber", "/occupancy"}
    assert caught.value.detail == (
        "The entity urn:ngsi-ld:OffStreetParking:1 would break 2 of the rules of the data model OffStreetParking. "
        "occupancy is 2; expected a number of at most 1. Correct the members that errors names, or have the policy of "
        "the type changed to warn."
    )
    assert sorted(counted) == [
        ("", "OffStreetParking", "availableSpotNumber", "x-vela-compare", "enforce"),
        ("", "OffStreetParking", "occupancy", "maximum", "enforce"),
    ]


def test_enforce_judges_the_entity_as_it_would_be_after_the_change() -> None:
    checker, _ = checking(Policy.ENFORCE)
    before = car_park(totalSpotNumber=10)
    with pytest.raises(BadRequestData):
        judge(checker, change(updated(before, availableSpotNumber=11), before))
    judge(checker, change(updated(before, availableSpotNumber=10), before))


@pytest.mark.parametrize("policy", Policy)
def test_a_valid_entity_passes(policy: Policy) -> None:
    checker, counted = checking(policy)
    judge(checker, change(car_park(totalSpotNumber=10, availableSpotNumber=3)))
    assert counted == []


def test_warn_accepts_and_counts() -> None:
    checker, counted = checking(Policy.WARN)
    judge(checker, change(car_park(occupancy=2)))
    assert counted == [("", "OffStreetParking", "occupancy", "maximum", "warn")]


@pytest.mark.parametrize("policy", [Policy.WARN, Policy.ENFORCE])
def test_nothing_is_counted_before_the_outcome_is_given(policy: Policy) -> None:
    checker, counted = checking(policy)
    attempts = [checker.check(change(car_park(occupancy=2))) for _ in range(3)]
    assert counted == []
    assert attempts[-1] is not None
    assert (attempts[-1].refusal is not None) == (policy is Policy.ENFORCE)
    attempts[-1].count()
    assert counted == [("", "OffStreetParking", "occupancy", "maximum", policy)]


def test_off_does_not_look() -> None:
    checker, counted = checking(Policy.OFF)
    judge(checker, change(car_park(occupancy=2)))
    assert counted == []


def test_the_policy_is_that_of_the_tenant() -> None:
    checker, counted = checking(Policy.WARN, madrid=Policy.ENFORCE)
    judge(checker, change(car_park(occupancy=2)))
    with pytest.raises(BadRequestData):
        judge(checker, change(car_park(occupancy=2), tenant="madrid"))
    assert [(tenant, policy) for tenant, _, _, _, policy in counted] == [("", "warn"), ("madrid", "enforce")]


def test_a_deletion_and_a_type_without_a_data_model_pass() -> None:
    checker, counted = checking(Policy.ENFORCE)
    judge(checker, change(None, before=car_park(occupancy=2)))
    judge(checker, change(thing(a=1)))
    assert counted == []


@pytest.mark.parametrize("policy", [Policy.WARN, Policy.ENFORCE])
def test_an_update_of_something_else_does_not_answer_for_an_old_mistake(policy: Policy) -> None:
    checker, counted = checking(policy)
    before = car_park(totalSpotNumber=10, availableSpotNumber=11)
    judge(checker, change(updated(before, name="Deck"), before))
    assert counted == []


def test_a_change_of_the_types_answers_for_the_whole_entity() -> None:
    checker, _ = checking(Policy.ENFORCE)
    before = {**car_park(totalSpotNumber=10, availableSpotNumber=11), "types": [DEFAULT_VOCABULARY + "Thing"]}
    with pytest.raises(BadRequestData):
        judge(checker, change({**before, "types": [CAR_PARK]}, before))


def test_a_replacement_answers_for_the_whole_entity() -> None:
    checker, counted = checking_things(Policy.WARN, {"required": ["a"]})
    before = thing(b=1)
    replaced = thing(b=[{**prop(2), "createdAt": LATER}])
    judge(checker, change(replaced, before))
    assert [(attribute, rule) for _, _, attribute, rule, _ in counted] == [("a", "required")]


def test_an_update_of_all_attributes_is_no_replacement() -> None:
    checker, _ = checking_things(Policy.ENFORCE, {"required": ["a"]})
    judge(checker, change(thing(b=2), thing(b=1)))


def test_a_change_of_no_attribute_answers_for_nothing() -> None:
    checker, counted = checking_things(Policy.ENFORCE, {"required": ["a"]})
    before = thing(b=1)
    judge(checker, change({**before, "scopes": ["/x"]}, before))
    assert counted == []


def test_either_side_of_a_comparison_counts_as_touched() -> None:
    checker, counted = checking(Policy.WARN)
    before = car_park(totalSpotNumber=10, availableSpotNumber=9)
    judge(checker, change(updated(before, totalSpotNumber=8), before))
    assert [attribute for _, _, attribute, _, _ in counted] == ["availableSpotNumber"]


def test_the_deletion_of_a_required_attribute_is_counted() -> None:
    checker, counted = checking(Policy.WARN)
    before = car_park(name="Deck")
    after = {**before, "attributes": {key("name"): before["attributes"][key("name")]}}
    judge(checker, change(after, before))
    assert [(attribute, rule) for _, _, attribute, rule, _ in counted] == [("location", "required")]


TIED = {"dependentRequired": {"a": ["b"]}, "properties": {"c": {"type": "number"}}}


def test_a_change_that_breaks_a_rule_of_several_attributes_answers_for_it() -> None:
    checker, _ = checking_things(Policy.ENFORCE, TIED)
    before = thing(c=1)
    with pytest.raises(BadRequestData) as caught:
        judge(
            checker, change(entity({**before["attributes"], **thing(a=1)["attributes"]}, types=before["types"]), before)
        )
    assert [one["schema"] for one in caught.value.violations] == ["Thing/schema.json#/dependentRequired/0"]


def test_a_rule_of_several_attributes_that_was_broken_before_refuses_nothing() -> None:
    checker, counted = checking_things(Policy.ENFORCE, TIED)
    before = thing(a=1, c=1)
    after = {**before, "attributes": before["attributes"] | thing(c=2)["attributes"]}
    judge(checker, change(after, before))
    assert counted == []
    with pytest.raises(BadRequestData) as caught:
        judge(checker, change({**before, "attributes": before["attributes"] | thing(c="x")["attributes"]}, before))
    assert [one["pointer"] for one in caught.value.violations] == ["/c"]


def test_an_entity_is_checked_against_each_of_its_types() -> None:
    other = model({"required": ["a"]})
    checker, counted = checking(Policy.WARN, models={CAR_PARK: shipped(), other.iri: other})
    judge(checker, change({**car_park(occupancy=2), "types": [CAR_PARK, other.iri, DEFAULT_VOCABULARY + "Unknown"]}))
    assert [(name, attribute) for _, name, attribute, _, _ in counted] == [
        ("OffStreetParking", "occupancy"),
        ("Thing", "a"),
    ]


def test_a_refusal_by_one_type_counts_nothing_for_the_others() -> None:
    other = model({"required": ["a"]})
    counted = Counted()
    known = Known({CAR_PARK: shipped(), other.iri: other}, Policies(Policy.WARN, {(None, CAR_PARK): Policy.ENFORCE}))
    with pytest.raises(BadRequestData) as caught:
        judge(Checker(known, counted), change({**car_park(occupancy=2), "types": [other.iri, CAR_PARK]}))
    assert [one["pointer"] for one in caught.value.violations] == ["/occupancy"]
    assert [name for _, name, _, _, _ in counted] == ["OffStreetParking"]


def test_what_is_advisory_is_counted_and_never_refused() -> None:
    schema = {"properties": {"a": {"x-vela-observed-at": True, "maximum": 5}}}
    checker, counted = checking_things(Policy.ENFORCE, schema)
    judge(checker, change(thing(a=1)))
    assert [rule for _, _, _, rule, _ in counted] == ["x-vela-observed-at"]
    counted.clear()
    with pytest.raises(BadRequestData) as caught:
        judge(checker, change(thing(a=9)))
    assert [one["pointer"] for one in caught.value.violations] == ["/a"]
    assert [rule for _, _, _, rule, _ in counted] == ["maximum"]


def test_a_test_entity_is_older_than_its_change() -> None:
    assert change(thing(a=1), thing(a=2)).now == LATER > NOW
