import pytest

from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import DEFAULT_VOCABULARY
from broker.ngsild.query.grammar import parse_q
from broker.ngsild.query.temporals import Temporal, TemporalKind
from broker.ngsild.query.tree import (
    And,
    Comparison,
    Exists,
    Linked,
    Operator,
    Path,
    Range,
    Values,
    attributes_in,
    expand,
)
from tests.unit.query.core_names import CORE, read_q

MEMBERS = [*("observedAt", "createdAt", "modifiedAt", "expiresAt", "unitCode", "datasetId", "objectType", "valueType")]


def test_names_become_attribute_keys_and_compound_paths_stored_keys() -> None:
    assert read_q('a.b["c.d".$e]==1') == Comparison(
        Path((CORE.key("a"), CORE.key("b")), inside=("c%2Ed", "%24e")), Operator.EQUAL, Values((1,))
    )


@pytest.mark.parametrize("member", MEMBERS)
def test_a_path_can_end_with_a_member_of_an_instance(member: str) -> None:
    assert read_q(f"a.b.{member}") == Exists(Path((CORE.key("a"), CORE.key("b")), member=member))


@pytest.mark.parametrize(
    ("name", "member"),
    [("createdAt", "createdAt"), ("modifiedAt", "modifiedAt"), ("expiresAt", "expiresAt"), ("scope", "scopes")],
)
def test_a_name_can_be_a_member_of_the_entity(name: str, member: str) -> None:
    assert read_q(name) == Exists(Path((), member=member))


def test_a_quoted_date_time_is_an_instant_where_a_timestamp_is_compared() -> None:
    moment = Temporal(TemporalKind.DATE_TIME, "2020-01-01T00:00:00")
    assert read_q('modifiedAt>"2020-01-01T00:00:00.0Z"') == Comparison(
        Path((), member="modifiedAt"), Operator.GREATER, Values((moment,))
    )
    assert read_q('a.observedAt=="2020-01-01T00:00:00Z".."x"') == Comparison(
        Path((CORE.key("a"),), member="observedAt"), Operator.EQUAL, Range(moment, "x")
    )
    assert read_q('a=="2020-01-01T00:00:00Z"') == Comparison(
        Path((CORE.key("a"),)), Operator.EQUAL, Values(("2020-01-01T00:00:00Z",))
    )


def test_values_expand_only_for_the_attributes_that_are_listed() -> None:
    node = read_q("gender==Male;category==Male", expand_values=("gender",))
    assert node == And(
        (
            Comparison(Path((CORE.key("gender"),)), Operator.EQUAL, Values((DEFAULT_VOCABULARY + "Male",))),
            Comparison(Path((CORE.key("category"),)), Operator.EQUAL, Values(("Male",))),
        )
    )


def test_values_expand_for_the_attribute_at_the_end_of_the_path_and_not_inside_of_its_value() -> None:
    male = Values((DEFAULT_VOCABULARY + "Male",))
    person, gender = CORE.key("person"), CORE.key("gender")
    assert read_q("person.gender==Male", ("gender",)) == Comparison(Path((person, gender)), Operator.EQUAL, male)
    assert read_q('gender==Male,"Female"', ("gender",)) == Comparison(
        Path((gender,)), Operator.EQUAL, Values((DEFAULT_VOCABULARY + "Male", DEFAULT_VOCABULARY + "Female"))
    )
    for text in ('gender.person=="Male"', 'gender[person]=="Male"', 'gender.unitCode=="Male"'):
        node = read_q(text, ("gender",))
        assert isinstance(node, Comparison)
        assert node.operand == Values(("Male",))


def test_json_keys_name_attributes_whose_values_are_no_terms() -> None:
    text = 'parkingTickets[value]=="Overstay 60 minutes"'
    assert read_q(text, json_keys=("parkingTickets",)) == Comparison(
        Path((CORE.key("parkingTickets"),), inside=("value",)), Operator.EQUAL, Values(("Overstay 60 minutes",))
    )
    with pytest.raises(BadRequestData, match="expandValues and in jsonKeys"):
        read_q(text, ("parkingTickets",), ("parkingTickets",))


def test_types_are_compared_by_iri() -> None:
    sensor = Path((CORE.key("sensor"),), member="objectType")
    assert read_q("sensor.objectType==Device") == Comparison(sensor, Operator.EQUAL, Values((CORE.expand("Device"),)))
    assert read_q('a.valueType=="Celsius"') == Comparison(
        Path((CORE.key("a"),), member="valueType"), Operator.EQUAL, Values((CORE.expand_vocab("Celsius"),))
    )


def test_names_of_linked_entities_and_their_types_expand_too() -> None:
    assert read_q("sensor{Device:gender}==Male", ("gender",)) == Linked(
        Path((CORE.key("sensor"),)),
        (CORE.expand("Device"),),
        Comparison(Path((CORE.key("gender"),)), Operator.EQUAL, Values((DEFAULT_VOCABULARY + "Male",))),
    )


@pytest.mark.parametrize(
    ("text", "character"),
    [
        ("a.observedAt.b", 1), ("createdAt.a", 1), ("b;a.observedAt[b]", 3), ("scope[a]", 1), ("id==urn:x:y", 1),
        ("b|(c;type==T)", 6), ("a.value==1", 1), ("a.object", 1), ("a.type==x", 1), ("b;a.datasetId{c}", 3),
        ("createdAt{c}", 1), ("a{b.value}", 3), ("a{b{id}}", 5), ("entity", 1),
    ],
)  # fmt: skip
def test_a_path_that_leads_nowhere_is_refused_with_its_place(text: str, character: int) -> None:
    with pytest.raises(BadRequestData, match=f"^q is invalid at character {character}: "):
        expand(parse_q(text), CORE)


def test_the_attributes_of_a_query_are_the_first_names_of_its_paths() -> None:
    node = read_q("(a.b==1|!c[d]);modifiedAt>2020-01-01T00:00:00Z;e~=x")
    assert attributes_in(node) == {CORE.key("a"), CORE.key("c"), CORE.key("e")}
    assert attributes_in(read_q("createdAt")) == set()
    assert attributes_in(read_q("a.b{c};!d{e}")) == {CORE.key("a"), CORE.key("d")}
