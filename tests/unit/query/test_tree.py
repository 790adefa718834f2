import pytest

from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import DEFAULT_VOCABULARY
from broker.ngsild.query.grammar import parse_q
from broker.ngsild.query.temporals import Temporal, TemporalKind
from broker.ngsild.query.tree import And, Comparison, Exists, Operator, Path, Range, Values, attributes_in, expand
from tests.unit.query.core_names import CORE, read_q


def test_names_become_attribute_keys_and_compound_paths_stored_keys() -> None:
    assert read_q('a.b["c.d".$e]==1') == Comparison(
        Path((CORE.key("a"), CORE.key("b")), inside=("c%2Ed", "%24e")), Operator.EQUAL, Values((1,))
    )


@pytest.mark.parametrize("member", ["observedAt", "createdAt", "modifiedAt", "expiresAt", "unitCode", "datasetId"])
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


@pytest.mark.parametrize(
    "text", ["a.observedAt.b", "createdAt.a", "a.observedAt[b]", "scope[a]", "id==urn:x:y", "type==T"]
)
def test_a_path_that_leads_nowhere_is_refused(text: str) -> None:
    with pytest.raises(BadRequestData):
        expand(parse_q(text), CORE)


def test_the_attributes_of_a_query_are_the_first_names_of_its_paths() -> None:
    node = read_q("(a.b==1|!c[d]);modifiedAt>2020-01-01T00:00:00Z;e~=x")
    assert attributes_in(node) == {CORE.key("a"), CORE.key("c"), CORE.key("e")}
    assert attributes_in(read_q("createdAt")) == set()
