from typing import Any

import pytest
from structlog.testing import capture_logs

from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import DEFAULT_VOCABULARY, Entity
from broker.validation import checker as checker_module
from broker.validation.checker import Checker
from broker.validation.policies import Policies, Policy
from tests.unit.validation.stored import CAR_PARK, change, key, model, prop, shipped, stored, thing

LOCATION = {"type": "Point", "coordinates": [8.8, 53.1]}


def car_park(**values: Any) -> Entity:
    return stored({"id": "urn:ngsi-ld:OffStreetParking:1", "type": "OffStreetParking", "location": LOCATION, **values})


def updated(entity: Entity, **values: Any) -> Entity:
    attributes = entity["attributes"] | {key(name): [prop(value)] for name, value in values.items()}
    return {**entity, "attributes": attributes}


def checking(policy: Policy, **overrides: Policy) -> Checker:
    return Checker(shipped(), Policies(policy, {(tenant, CAR_PARK): one for tenant, one in overrides.items()}))


def test_enforce_refuses_with_every_violation() -> None:
    entity = car_park(totalSpotNumber=10, availableSpotNumber=11, occupancy=2)
    with pytest.raises(BadRequestData) as caught:
        checking(Policy.ENFORCE).check(change(entity))
    assert {one["pointer"] for one in caught.value.violations} == {"/availableSpotNumber", "/occupancy"}
    assert caught.value.detail == (
        "The entity urn:ngsi-ld:OffStreetParking:1 would break 2 of the rules of the data model OffStreetParking. "
        "occupancy is 2; expected a number of at most 1. Correct the members that errors names, or have the policy of "
        "the type changed to warn."
    )


def test_enforce_judges_the_entity_as_it_would_be_after_the_change() -> None:
    before = car_park(totalSpotNumber=10)
    with pytest.raises(BadRequestData):
        checking(Policy.ENFORCE).check(change(updated(before, availableSpotNumber=11), before))
    checking(Policy.ENFORCE).check(change(updated(before, availableSpotNumber=10), before))


@pytest.mark.parametrize("policy", Policy)
def test_a_valid_entity_passes(policy: Policy) -> None:
    checker = checking(policy)
    checker.check(change(car_park(totalSpotNumber=10, availableSpotNumber=3)))
    assert checker.report() == []


def test_off_does_not_look() -> None:
    checker = checking(Policy.OFF)
    checker.check(change(car_park(occupancy=2)))
    assert checker.report() == []


def test_the_policy_is_that_of_the_tenant() -> None:
    checker = checking(Policy.WARN, madrid=Policy.ENFORCE)
    checker.check(change(car_park(occupancy=2)))
    with pytest.raises(BadRequestData):
        checker.check(change(car_park(occupancy=2), tenant="madrid"))
    assert [entry["tenant"] for entry in checker.report()] == [""]


def test_a_deletion_and_a_type_without_a_data_model_pass() -> None:
    checker = checking(Policy.ENFORCE)
    checker.check(change(None, before=car_park(occupancy=2)))
    checker.check(change(thing(a=1)))


def test_warn_counts_by_attribute_and_rule_with_the_latest_sample() -> None:
    checker = checking(Policy.WARN)
    before = car_park(totalSpotNumber=10)
    for free in (11, 12, 13):
        after = updated(before, availableSpotNumber=free)
        checker.check(change(after, before))
    checker.check(change(updated(before, availableSpotNumber=-1), before))
    first, second = checker.report()
    assert (first["attribute"], first["rule"], first["count"]) == ("availableSpotNumber", "x-vela-compare", 3)
    assert (second["attribute"], second["rule"], second["count"]) == ("availableSpotNumber", "minimum", 1)
    assert first["tenant"] == ""
    assert first["type"] == "OffStreetParking"
    assert first["first"] <= first["last"]
    assert first["sample"] == {
        "entity": "urn:ngsi-ld:OffStreetParking:1",
        "pointer": "/availableSpotNumber",
        "detail": "availableSpotNumber is 13; expected a number at most totalSpotNumber, which is 10. "
        "A car park cannot have more free spaces than spaces.",
        "found": "13",
        "expected": "a number at most totalSpotNumber, which is 10",
        "schema": "dataModel.Parking/OffStreetParking/schema.json#/x-vela-compare/0",
    }


def test_an_update_of_something_else_does_not_count_an_old_violation_again() -> None:
    checker = checking(Policy.WARN)
    before = car_park(totalSpotNumber=10, availableSpotNumber=11)
    checker.check(change(before))
    checker.check(change(updated(before, name="Deck"), before))
    assert [entry["count"] for entry in checker.report()] == [1]


def test_either_side_of_a_comparison_counts_as_touched() -> None:
    checker = checking(Policy.WARN)
    before = car_park(totalSpotNumber=10, availableSpotNumber=9)
    checker.check(change(updated(before, totalSpotNumber=8), before))
    assert [entry["attribute"] for entry in checker.report()] == ["availableSpotNumber"]


def test_the_deletion_of_a_required_attribute_is_counted() -> None:
    checker = checking(Policy.WARN)
    before = car_park()
    after = {**before, "attributes": {}}
    checker.check(change(after, before))
    assert [(entry["attribute"], entry["rule"]) for entry in checker.report()] == [("location", "required")]


def test_an_entity_is_checked_against_each_of_its_types() -> None:
    other = model({"required": ["a"]})
    models = {**shipped(), other.iri: other}
    entity = {**car_park(occupancy=2), "types": [CAR_PARK, other.iri, DEFAULT_VOCABULARY + "Unknown"]}
    checker = Checker(models, Policies(Policy.WARN))
    checker.check(change(entity))
    assert sorted((entry["type"], entry["attribute"]) for entry in checker.report()) == [
        ("OffStreetParking", "occupancy"),
        ("Thing", "a"),
    ]


def test_a_refusal_by_one_type_counts_nothing_for_the_others() -> None:
    other = model({"required": ["a"]})
    entity = {**car_park(occupancy=2), "types": [other.iri, CAR_PARK]}
    checker = Checker({**shipped(), other.iri: other}, Policies(Policy.WARN, {(None, CAR_PARK): Policy.ENFORCE}))
    with pytest.raises(BadRequestData) as caught:
        checker.check(change(entity))
    assert [one["pointer"] for one in caught.value.violations] == ["/occupancy"]
    assert checker.report() == []


def test_counting_needs_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checker_module, "TALLY_LIMIT", 2)
    checker = checking(Policy.WARN)
    for tenant in ("a", "b", "c", "d", "a"):
        checker.check(change(car_park(occupancy=2), tenant=tenant))
    assert sorted((entry["tenant"], entry["type"], entry["count"]) for entry in checker.report()) == [
        ("", "", 2),
        ("a", "OffStreetParking", 2),
        ("b", "OffStreetParking", 1),
    ]


def test_the_observer_is_told_of_every_violation() -> None:
    seen: list[tuple[str, ...]] = []
    policies = Policies(Policy.WARN, {("madrid", CAR_PARK): Policy.ENFORCE})
    checker = Checker(shipped(), policies, lambda *event: seen.append(event))
    checker.check(change(car_park(occupancy=2)))
    with pytest.raises(BadRequestData):
        checker.check(change(car_park(occupancy=2), tenant="madrid"))
    assert seen == [
        ("", "OffStreetParking", "occupancy", "maximum", "warn"),
        ("madrid", "OffStreetParking", "occupancy", "maximum", "enforce"),
    ]


def test_a_violation_that_repeats_is_logged_at_powers_of_ten() -> None:
    checker = checking(Policy.WARN)
    with capture_logs() as lines:
        for _ in range(120):
            checker.check(change(car_park(occupancy=2)))
    assert [line["count"] for line in lines] == [1, 10, 100]
    assert lines[0]["detail"] == "occupancy is 2; expected a number of at most 1."
