"""The numbers of the census: what random changes add up to is what counting the entities anew gives."""

from collections import Counter, defaultdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broker.ngsild.model import Entity
from broker.ngsild.shapes import Difference, difference
from broker.storage.census_counts import TypeCount, correction, counts_of, increments, type_count

KINDS = st.sampled_from(["Property", "Relationship"])
INSTANCES = st.lists(KINDS, min_size=1, max_size=3).map(lambda kinds: [{"type": kind} for kind in kinds])
STATES = st.none() | st.builds(
    lambda types, attributes: {"_id": "urn:e", "types": types, "attributes": attributes},
    st.lists(st.sampled_from("ABC"), min_size=1, max_size=3, unique=True),
    st.dictionaries(st.sampled_from("xyz"), INSTANCES),
)
STEPS = st.lists(st.tuples(st.integers(0, 4), STATES), max_size=30)


def counted(entities: list[Entity]) -> dict[str, dict[str, int]]:
    """The numbers by type and path, by going through the entities."""
    numbers: dict[str, dict[str, int]] = {}
    for entity in entities:
        for name in entity["types"]:
            mine = numbers.setdefault(name, defaultdict(int))
            mine["entities"] += 1
            for key, instances in entity["attributes"].items():
                for instance in instances:
                    mine[f"attributes.{key}.{instance['type']}"] += 1
                    if name != entity["types"][0]:
                        mine[f"attributes.{key}.elsewhere"] += 1
    return {name: dict(mine) for name, mine in numbers.items()}


@given(STEPS)
def test_the_differences_of_any_changes_add_up_to_the_entities_there_are(
    steps: list[tuple[int, Entity | None]],
) -> None:
    entities: dict[int, Entity] = {}
    census: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    group: Counter[Difference] = Counter()
    for number, (which, after) in enumerate(steps):
        changed = difference(entities.get(which), after)
        if changed is not None:
            group[changed] += 1
        entities.pop(which, None)
        if after is not None:
            entities[which] = after
        if number % 3 == 0 or number == len(steps) - 1:  # several changes of a group are added at once
            for name, counts in increments(group).items():
                for path, times in counts.items():
                    census[name][path] += times
            group.clear()

    found = {name: {path: number for path, number in counts.items() if number} for name, counts in census.items()}
    assert {name: counts for name, counts in found.items() if counts} == counted(list(entities.values()))


def test_changes_that_cancel_out_name_their_types_all_the_same() -> None:
    shape = (("A",), frozenset({("x", ("Property",))}))

    assert increments({(None, shape): 2, (shape, None): 2}) == {"A": {}}


def test_a_document_tells_what_there_is_and_leaves_out_what_is_gone() -> None:
    document: dict[str, Any] = {
        "_id": "A",
        "entities": 3,
        "attributes": {
            "x": {"Property": 2, "Relationship": 0, "elsewhere": 1},
            "gone": {"Property": 0, "elsewhere": 0},
        },
    }

    assert type_count(document) == TypeCount("A", 3, {"x": {"Property": 2}}, {"x": 1})
    assert type_count({"_id": "A"}) == TypeCount("A", 0, {}, {})


def test_a_correction_makes_the_stated_numbers_those_that_were_found() -> None:
    stated = counts_of({"entities": 3, "attributes": {"x": {"Property": 2}, "y": {"Property": 1}}})
    found = {"entities": 2, "attributes.x.Property": 2, "attributes.z.Relationship": 1}

    assert correction(found, stated) == {"entities": -1, "attributes.y.Property": -1, "attributes.z.Relationship": 1}
