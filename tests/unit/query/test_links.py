from typing import Any

import pytest

from broker.ngsild.errors import BadRequestData, NotYetImplemented
from broker.ngsild.model import Entity
from broker.ngsild.query.links import check_link_depth, link_depth
from broker.ngsild.query.predicate import compile_predicate
from tests.unit.query.core_names import CORE, entity, instance, read_q, resolved, sub_attributes


def linking(entity_id: str, **attributes: Any) -> Entity:
    return {**entity(**attributes), "_id": entity_id, "types": [CORE.expand(entity_id[0])]}


def related(*objects: str, kind: str = "Relationship", **members: Any) -> dict[str, Any]:
    value: Any = objects[0] if len(objects) == 1 and kind == "Relationship" else list(objects)
    return instance(value, kind, **members)


WORLD = [
    linking("D:1", humidity=40, on=related("F:1")),
    linking("D:2", humidity=[instance(10), instance(90, datasetId="urn:d:1")], on=related("F:1", "F:2")),
    linking("F:1", level=1, leads=related("D:1")),
    linking("F:2", level=2),
]


def holds(text: str, **attributes: Any) -> bool:
    return compile_predicate(resolved(read_q(text), WORLD))(entity(**attributes))


@pytest.mark.parametrize(
    ("text", "first", "both"),
    [
        ("a{humidity}==40", True, True),
        ("a{humidity}>80", False, True),
        ("a{humidity}!=40", False, True),
        ("a{humidity}", True, True),
        ("a{missing}", False, False),
        ("!a{humidity}", False, False),
        ("!a{missing}", True, True),
        ("!a{on{missing}}", True, True),
        ("!a{on{level}}", False, False),
        ("a{D:humidity}==40", True, True),
        ("a{F:humidity}==40", False, False),
        ("a{F,D:humidity}==40", True, True),
        ("a{on{level}}==1", True, True),
        ("a{on{level}}==2", False, True),
        ("a{D:on{F:level}}==2", False, True),
        ("a{D:on{D:level}}==2", False, False),
        ("a{on{leads{humidity}}}==40", True, True),
        ("a{humidity}==40;!b", True, True),
        ("a{humidity}==41|b", False, False),
        ("a{on}==F:2", False, True),
    ],
)
def test_a_term_holds_if_one_of_the_linked_entities_meets_it(text: str, first: bool, both: bool) -> None:
    for kind in ("Relationship", "ListRelationship"):
        assert holds(text, a=related("D:1", kind=kind)) is first
        assert holds(text, a=related("D:1", "D:2", kind=kind)) is both
    assert holds(text, a=[related("D:1"), related("D:2", datasetId="urn:d:1")]) is both


def test_a_relationship_that_leads_nowhere_meets_nothing() -> None:
    for attributes in ({}, {"a": "D:1"}, {"a": related("D:9")}, {"b": related("D:1")}):
        assert not holds("a{humidity}", **attributes)
        assert holds("!a{humidity}", **attributes)


def test_a_relationship_of_an_attribute_is_followed_too() -> None:
    value = instance(5, attributes=sub_attributes(by=related("D:1")))
    assert holds("a.by{humidity}==40", a=value)
    assert not holds("a{humidity}==40", a=value)


def test_the_depth_of_a_query_is_that_of_its_deepest_path() -> None:
    for text, depth in (("a.b[c]", 0), ("a{b}", 1), ("a;(b{c}|d{e{f}})", 2)):
        node = read_q(text)
        assert link_depth(node) == depth
        check_link_depth(node, depth)
        if depth:
            with pytest.raises(BadRequestData, match=rf"too deep: .*joinLevel={depth} at least"):
                check_link_depth(node, depth - 1)


def test_a_term_about_linked_entities_that_nobody_has_found_out_is_not_implemented() -> None:
    with pytest.raises(NotYetImplemented, match="linked entities"):
        compile_predicate(read_q("a;b{c}"))
