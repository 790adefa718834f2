from typing import Any

import pytest

from broker.ngsild.query.predicate import compile_predicate
from tests.unit.query.core_names import CORE, entity, instance, read_q, sub_attributes

LANGUAGES = instance({"fr": ["chat", "rouge"], "en": "red", "de": "rot"}, "LanguageProperty")


def holds(text: str, *expand_values: str, **attributes: Any) -> bool:
    return compile_predicate(read_q(text, expand_values))(entity(**attributes))


def test_existence_asks_for_the_target_and_absence_for_none() -> None:
    assert holds("a", a=1)
    assert not holds("b", a=1)
    assert holds("!b", a=1)
    assert not holds("!a", a=1)
    assert holds("a.b", a=instance(1, attributes=sub_attributes(b=2)))
    assert not holds("a.c", a=instance(1, attributes=sub_attributes(b=2)))
    assert holds("a.unitCode", a=instance(1, unitCode="CEL"))
    assert not holds("a.unitCode", a=1)


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ('a=="red"', "red", True),
        ('a=="red"', ["blue", "red"], True),
        ('a=="red"', [["red"]], False),
        ('a=="black","red"', "red", True),
        ('a=="black","red"', ["red", "blue"], True),
        ('a=="black","red"', "blue", False),
        ("a==10..20", 15, True),
        ("a==10..20", 20, True),
        ("a==10..20", 9, False),
        ("a==10..20", [5, 30], False),
        ("a==10..20", [5, 12], True),
        ('a!="red"', "black", True),
        ('a!="red"', ["blue", "black", "green"], True),
        ('a!="red"', ["blue", "red", "green"], False),
        ('a!="black","red"', "blue", True),
        ('a!="black","red"', ["blue", "red", "green"], False),
        ("a!=10..20", 9, True),
        ("a!=10..20", 10, False),
        ("a!=10..20", "15", True),
        ('a!="red"', 5, True),
        ("a!=5", {"b": 5}, True),
        ("a==5", 5.0, True),
        ("a==5", "5", False),
        ("a==1", True, False),
        ("a==true", True, True),
        ("a==true", 1, False),
        ("a==false", 0, False),
        ("a>5", 6, True),
        ("a>5", 5, False),
        ("a>=5", 5.0, True),
        ("a<5", True, False),
        ("a<5", "4", False),
        ('a>"b"', "c", True),
        ('a>"b"', "B", False),
        ('a<"b"', 1, False),
        ("a>5", [1, 7], True),
        ("a==9007199254740993", float(2**53), False),
        ('a~="^Ei.*l$"', "Eiffel", True),
        ('a~="iff"', "Eiffel", True),
        ('a~="^$"', "Eiffel", False),
        ('a~="5"', 5, False),
        ('a!~="^Ei"', "Pisa", True),
        ('a!~="^Ei"', "Eiffel", False),
        ('a!~="^Ei"', 5, False),
        ('a!~="^Ei"', ["Pisa", "Eiffel"], False),
        ('a!~="^Ei"', [5, "Pisa"], True),
    ],
)
def test_a_property_is_compared_as_the_clause_says(text: str, value: Any, expected: bool) -> None:
    assert holds(text, a=value) is expected


@pytest.mark.parametrize("text", ["a==1", "a!=1", "a<1", "a!~=x", "a[b]!=1", "a.b!=1", "a.unitCode!=x"])
def test_no_operator_holds_for_an_absent_target(text: str) -> None:
    assert not holds(text, b=1)


def test_any_instance_may_meet_a_term() -> None:
    instances = [instance(5), instance(60, datasetId="urn:d:1")]
    assert holds("a>50", a=instances)
    assert holds("a!=5", a=instances)
    assert not holds("a>60", a=instances)
    assert holds("a.datasetId==urn:d:1", a=instances)
    assert not holds("a.datasetId!=urn:d:1", a=instances)


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.0Z", "2026-01-31T12:00:00.000000Z"])
def test_times_compare_by_instant(text: str) -> None:
    assert holds(f"a=={text}", a="2026-01-31T12:00:00.000Z")
    assert holds(f"a.observedAt<={text}", a=instance(1, observedAt="2026-01-31T12:00:00Z"))
    assert holds("a<2026-01-31T12:00:00.5Z", a=text)
    assert holds(f"a>{text}", a="2026-01-31T12:00:00.000001Z")
    assert not holds(f"a>{text}", a="2026-01-31T11:59:59.999999Z")
    assert holds("createdAt>2026-01-31T12:00:00.45Z")
    assert holds('createdAt=="2026-01-31T12:00:00.50Z"')


def test_a_time_is_equal_to_no_value_of_another_kind() -> None:
    for value in ("2026-01-31", "2026-01-31T12:00:00", "2026-01-31T13:00:00+01:00", 5, {"b": 1}):
        assert not holds("a>=2000-01-01T00:00:00Z", a=value)
        assert holds("a!=2000-01-01T00:00:00Z", a=value)
    assert holds("a>2026-01-30", a="2026-01-31")
    assert holds("a<12:00:00.5Z", a="12:00:00Z")


def test_a_typed_value_compares_by_its_value() -> None:
    assert holds("a>2026-01-31T12:00:00Z", a={"@type": "DateTime", "@value": "2026-01-31T12:00:00.5Z"})
    assert not holds('a=="2026-01-31T12:00:00Z"', a={"@type": "DateTime", "@value": "2026-01-31T12:00:00Z"})


def test_a_trailing_path_leads_through_objects_only() -> None:
    value = {"b": {"c%2Ed": 5, "n": None}, "list": [{"c": 5}], "0": "zero"}
    assert holds('a[b."c.d"]==5', a=value)
    assert holds("a[b.n]", a=value)
    assert holds("a[b.n]!=1", a=value)
    assert holds('a[0]=="zero"', a=value)
    assert not holds("a[b.x]", a=value)
    assert not holds("a[b.x]!=5", a=value)
    assert not holds("a[list.c]==5", a=value)
    assert holds("a[list]", a=value)
    assert holds(
        'a[type]=="Point";a[coordinates]==8', a=instance({"type": "Point", "coordinates": [8, 40]}, "GeoProperty")
    )


def test_a_json_property_is_addressed_by_its_own_names() -> None:
    tickets = instance({"id": "85a6cc52-0589-45f9", "value": "Overstay 60 minutes"}, "JsonProperty")
    assert holds('tickets[value]=="Overstay 60 minutes"', tickets=tickets)
    assert not holds("tickets[json]", tickets=tickets)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a[en]=="red"', True),
        ('a[en]=="rouge"', False),
        ('a[fr]=="rouge"', True),
        ('a[*]=="rouge"', True),
        ('a=="rot"', True),
        ('a[*]!="red"', False),
        ('a!="schwarz"', True),
        ('a[fr]!="red"', True),
        ('a[fr]!="rouge"', False),
        ('a[it]!="rosso"', False),
        ("a[*]", True),
        ('a~="^ro"', True),
        ('a!~="^ro"', False),
        ('a[en]!~="^ro"', True),
        ("a[en]==5", False),
        ("a[en]!=5", True),
        ("a>=2000-01-01T00:00:00Z", False),
    ],
)
def test_a_language_property_is_compared_in_one_language_or_in_any(text: str, expected: bool) -> None:
    assert holds(text, a=LANGUAGES) is expected


def test_a_star_means_languages_and_nothing_else() -> None:
    assert not holds("a[*]", a={"*": 1})


def test_a_relationship_is_compared_by_its_objects_and_never_ordered() -> None:
    for kind, value in (
        ("Relationship", "urn:x:1"),
        ("Relationship", ["urn:x:0", "urn:x:1"]),
        ("ListRelationship", ["urn:x:1"]),
    ):
        related = instance(value, kind)
        assert holds("a==urn:x:1", a=related)
        assert holds('a=="urn:x:1"', a=related)
        assert not holds("a!=urn:x:1", a=related)
        assert holds("a!=urn:x:2", a=related)
        assert holds("a!=5", a=related)
        for text in ('a>"urn"', 'a<="urn:x:1"', "a~=urn", "a!~=x", "a[b]"):
            assert not holds(text, a=related)


def test_a_vocab_property_is_compared_by_iri() -> None:
    gender = instance(CORE.expand_vocab("Male"), "VocabProperty")
    assert holds("gender==Male", "gender", gender=gender)
    assert holds('gender=="Female","Male"', "gender", gender=gender)
    assert not holds("gender==Male", gender=gender)
    assert holds(f"gender=={CORE.expand_vocab('Male')}", gender=gender)


def test_a_list_property_is_a_pool_of_its_elements() -> None:
    values = instance([1, "b", {"c": 1}], "ListProperty")
    assert holds('a==1;a=="b";a<2;a!=3', a=values)
    assert not holds("a!=1", a=values)
    assert not holds("a[c]", a=values)


def test_terms_combine_over_the_same_entity() -> None:
    assert holds("(a>1|b>1);c", a=2, b=0, c=1)
    assert not holds("(a>1|b>1);c", a=2, b=0)
    assert holds("a>5|b>5;c|d", d=1)
    assert holds('scope=="/A"|a', a=1)
