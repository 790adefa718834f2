"""Expiry: what has expired is not there, whatever is stored; the mark tells when to look."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broker.ngsild.expiry import MARK, marked, visible
from broker.ngsild.model import Attributes, Entity
from broker.ngsild.timestamps import sortable
from tests.unit.ngsild.samples import DATASET, EARLIER, LATER, NOW, entity, key

ALSO_NOW = "2026-01-31T12:00:00Z"
"""NOW, as a client may write it."""


def stored(**attributes: Any) -> Entity:
    return marked(None, entity(**attributes))


def shown(found: Entity | None) -> Attributes:
    assert found is not None
    attributes: Attributes = found["attributes"]
    return attributes


def test_an_entity_without_expiry_is_the_same_object_and_has_no_mark() -> None:
    before = stored(a={"value": 1, "sub": 2})
    assert MARK not in before
    assert visible(before, NOW) is before
    assert visible(None, NOW) is None


def test_an_entity_ends_in_the_very_microsecond_of_its_expiry() -> None:
    before = stored(a=1, expiresAt=ALSO_NOW)
    assert visible(before, "2026-01-31T11:59:59.999999Z") is before
    assert visible(before, NOW) is None


def test_instances_end_one_by_one_and_the_attribute_with_its_last() -> None:
    before = stored(
        a=[{"value": 1, "expiresAt": ALSO_NOW}, {"value": 2, "datasetId": DATASET, "expiresAt": LATER}],
        b={"object": "urn:b:1", "expiresAt": ALSO_NOW},
        c=3,
    )
    assert before[MARK] == NOW
    kept = copy.deepcopy(before)
    assert visible(before, EARLIER) is before
    after = visible(before, NOW)
    assert before == kept
    assert [one["value"] for one in shown(after)[key("a")]] == [2]
    assert shown(after).keys() == {key("a"), key("c")}
    assert shown(after)[key("c")] is before["attributes"][key("c")]
    assert after is not None
    assert after[MARK] == LATER
    assert after["modifiedAt"] == before["modifiedAt"]
    assert shown(visible(after, LATER)).keys() == {key("c")}


def test_sub_attributes_end_and_leave_no_empty_place() -> None:
    before = stored(a={"value": 1, "b": {"value": 2, "c": {"value": 3, "expiresAt": ALSO_NOW}}, "d": 4}, e={"value": 5})
    assert before[MARK] == NOW
    after = shown(visible(before, NOW))
    inside = after[key("a")][0]["attributes"]
    assert "attributes" not in inside[key("b")][0]
    assert inside[key("d")] is before["attributes"][key("a")][0]["attributes"][key("d")]
    assert after[key("e")] is before["attributes"][key("e")]


def test_an_instance_ends_even_if_its_sub_attributes_last_longer() -> None:
    before = stored(a={"value": 1, "expiresAt": ALSO_NOW, "b": {"value": 2, "expiresAt": LATER}})
    assert shown(visible(before, NOW)) == {}


def test_the_mark_goes_with_the_last_thing_that_expires() -> None:
    before = stored(a={"value": 1, "expiresAt": LATER}, b=2)
    durable = {**before, "attributes": {key("b"): before["attributes"][key("b")]}}
    assert MARK not in marked(before, durable)


def test_the_mark_of_an_unchanged_expiry_is_kept_without_a_new_object() -> None:
    before = stored(a={"value": 1, "expiresAt": LATER}, b=2)
    after = {**before, "attributes": {**before["attributes"], key("b"): entity(b=3)["attributes"][key("b")]}}
    assert marked(before, after) is after


expiries = st.sampled_from([None, "2026-01-31T11:59:59Z", "2026-01-31T12:00:00.0Z", "2026-01-31T12:00:00.5Z", LATER])


@st.composite
def families(draw: st.DrawFn, depth: int = 0) -> Attributes:
    made: Attributes = {}
    for name in draw(st.sets(st.sampled_from("abc"), max_size=3)):
        made[name] = []
        for dataset in range(draw(st.integers(1, 2))):
            instance = {"type": "Property", "value": 1, "datasetId": f"urn:{dataset}"}
            expiry = draw(expiries)
            if expiry is not None:
                instance["expiresAt"] = expiry
            children = draw(families(depth + 1)) if depth < 2 else {}
            if children:
                instance["attributes"] = children
            made[name].append(instance)
    return made


def left(attributes: Attributes, now: str) -> Attributes:
    """What should be left, said as plainly as can be."""
    found: Attributes = {}
    for name, instances in attributes.items():
        for instance in instances:
            if "expiresAt" in instance and sortable(instance["expiresAt"]) <= now:
                continue
            children = left(instance.get("attributes", {}), now)
            kept = {member: value for member, value in instance.items() if member != "attributes"}
            found.setdefault(name, []).append({**kept, "attributes": children} if children else kept)
    return found


@given(families(), families(), st.sampled_from([EARLIER, NOW, "2026-01-31T12:00:00.500000Z", LATER]))
def test_random_entities_show_what_has_not_expired(first: Attributes, second: Attributes, now: str) -> None:
    before = marked(None, {"_id": "urn:a:1", "attributes": first})
    after = marked(before, {**before, "attributes": {**first, **second}})
    assert shown(visible(after, now)) == left(after["attributes"], now)
    assert visible(after, now) == marked(None, {"_id": "urn:a:1", "attributes": left(after["attributes"], now)})
