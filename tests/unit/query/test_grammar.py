from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ngsild.errors import BadRequestData, TooComplexQuery
from broker.ngsild.query.grammar import MAX_DEPTH, MAX_LINKS, MAX_TERMS, parse_q
from broker.ngsild.query.patterns import parse_pattern
from broker.ngsild.query.temporals import Temporal, TemporalKind
from broker.ngsild.query.tree import (
    And,
    Comparison,
    Exists,
    Linked,
    Literal,
    Match,
    Node,
    Operator,
    Or,
    Path,
    Range,
    Values,
)


def compare(name: str, operator: str, *literals: Literal) -> Comparison:
    return Comparison(path(name), Operator(operator), Values(literals))


def compare_iri(name: str, operator: str, *literals: Literal) -> Comparison:
    return Comparison(Path((name,)), Operator(operator), Values(literals))


def path(name: str, *inside: str) -> Path:
    return Path(tuple(name.split(".")), inside=inside)


def date_time(base: str, fraction: str = "") -> Temporal:
    return Temporal(TemporalKind.DATE_TIME, base, fraction)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("temperature", Exists(path("temperature"))),
        ("temperature==20", compare("temperature", "==", 20)),
        ('brandName!="Mercedes"', compare("brandName", "!=", "Mercedes")),
        (
            'isParked=="urn:ngsi-ld:OffStreetParking:Downtown1"',
            compare("isParked", "==", "urn:ngsi-ld:OffStreetParking:Downtown1"),
        ),
        ('speed>50;brandName!="Mercedes"', And((compare("speed", ">", 50), compare("brandName", "!=", "Mercedes")))),
        ("isMonitoredBy", Exists(path("isMonitoredBy"))),
        (
            '((speed>50|rpm>3000);brandName=="Mercedes")',
            And((Or((compare("speed", ">", 50), compare("rpm", ">", 3000))), compare("brandName", "==", "Mercedes"))),
        ),
        (
            "(temperature>=20;temperature<=25)|capacity<=10",
            Or(
                (
                    And((compare("temperature", ">=", 20), compare("temperature", "<=", 25))),
                    compare("capacity", "<=", 10),
                )
            ),
        ),
        (
            "temperature.observedAt>=2017-12-24T12:00:00Z",
            compare("temperature.observedAt", ">=", date_time("2017-12-24T12:00:00")),
        ),
        ('address[city]=="Berlin"', Comparison(path("address", "city"), Operator.EQUAL, Values(("Berlin",)))),
        (
            "sensor.rawdata[airquality.particulate]==40",
            Comparison(path("sensor.rawdata", "airquality", "particulate"), Operator.EQUAL, Values((40,))),
        ),
        (
            'parkingTickets[value]=="Overstay 60 minutes"',
            Comparison(path("parkingTickets", "value"), Operator.EQUAL, Values(("Overstay 60 minutes",))),
        ),
        ("gender==Male", compare("gender", "==", "Male")),
        ('color=="black", "red"', compare("color", "==", "black", "red")),
        ("temperature==10..20", Comparison(path("temperature"), Operator.EQUAL, Range(10, 20))),
        ("temperature!=10..20", Comparison(path("temperature"), Operator.UNEQUAL, Range(10, 20))),
        ('color[en]=="red"', Comparison(path("color", "en"), Operator.EQUAL, Values(("red",)))),
        ('color[*]!="red"', Comparison(path("color", "*"), Operator.UNEQUAL, Values(("red",)))),
        ("color==http://example/red", compare("color", "==", "http://example/red")),
        (
            'color!="http://example.com/black", "http://example.com/red"',
            compare("color", "!=", "http://example.com/black", "http://example.com/red"),
        ),
        ('name!~="^Eiffel"', Match(path("name"), parse_pattern("^Eiffel"), negated=True)),
    ],
)
def test_the_examples_of_the_clause_are_read(text: str, tree: Node) -> None:
    assert parse_q(text) == tree


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("-1.5e3", -1500.0),
        ("0", 0),
        ("1.0", 1.0),
        ("9223372036854775807", 2**63 - 1),
        ("true", True),
        ("false", False),
        ("trueish", "trueish"),
        ('"true"', "true"),
        (r'"a\"b\\\u00e4"', 'a"b\\ä'),
        ('""', ""),
        ("urn:ngsi-ld:Device:1", "urn:ngsi-ld:Device:1"),
        ("https://example.org/a?b=c&d=~x#f", "https://example.org/a?b=c&d=~x#f"),
        ("2026-01-31T12:00:00.50Z", date_time("2026-01-31T12:00:00", "5")),
        ("2026-01-31T12:00:00.000Z", date_time("2026-01-31T12:00:00")),
        ("2026-01-31", Temporal(TemporalKind.DATE, "2026-01-31")),
        ("12:00:00.25Z", Temporal(TemporalKind.TIME, "12:00:00", "25")),
    ],
)
def test_a_value_is_read_by_its_form(text: str, literal: Literal) -> None:
    node = parse_q(f"a=={text}")
    assert node == compare("a", "==", literal)
    assert isinstance(node, Comparison)
    assert isinstance(node.operand, Values)
    assert type(node.operand.values[0]) is type(literal)


def test_a_comma_before_the_decimals_of_a_time_starts_no_list() -> None:
    assert parse_q("a==2026-01-31T12:00:00,5Z,1") == compare("a", "==", date_time("2026-01-31T12:00:00", "5"), 1)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("1.5..2", 1.5, 2),
        ('"a".."b"', "a", "b"),
        (
            "2026-01-31..2026-02-28",
            Temporal(TemporalKind.DATE, "2026-01-31"),
            Temporal(TemporalKind.DATE, "2026-02-28"),
        ),
        (
            "2026-01-31T12:00:00.5Z..2026-01-31T12:00:01Z",
            date_time("2026-01-31T12:00:00", "5"),
            date_time("2026-01-31T12:00:01"),
        ),
    ],
)
def test_ranges_are_of_numbers_texts_and_times(text: str, low: Literal, high: Literal) -> None:
    assert parse_q(f"a=={text}") == Comparison(path("a"), Operator.EQUAL, Range(low, high))


def test_and_binds_tighter_than_or() -> None:
    a, b, c, d = (Exists(path(name)) for name in "abcd")
    assert parse_q("a|b;c|d") == Or((a, And((b, c)), d))
    assert parse_q("(a|b);(c|d)") == And((Or((a, b)), Or((c, d))))
    assert parse_q("((a));(b;c)") == And((a, b, c))


def test_an_unquoted_uri_ends_before_the_next_term() -> None:
    assert parse_q("(a==urn:x:1|b==urn:x:2);c") == And(
        (Or((compare("a", "==", "urn:x:1"), compare("b", "==", "urn:x:2"))), Exists(path("c")))
    )


def test_absence_spaces_prefixes_iris_and_quoted_members_are_read() -> None:
    assert parse_q("!a ; b >= 1") == And((Exists(path("a"), negated=True), compare("b", ">=", 1)))
    assert parse_q("ex:temp.water-level") == Exists(path("ex:temp.water-level"))
    assert parse_q("https://example.org/a.b==1") == Comparison(
        Path(("https://example.org/a.b",)), Operator.EQUAL, Values((1,))
    )
    assert parse_q('a["x y"."]".z]') == Exists(path("a", "x y", "]", "z"))
    assert parse_q('überfluß[größe]=="ä"') == Comparison(path("überfluß", "größe"), Operator.EQUAL, Values(("ä",)))


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ('"^a;b|c$"', "^a;b|c$"),
        (r'"\d+\"x\."', r'\d+"x\.'),
        ("^(a|b).*[;)]", "^(a|b).*[;)]"),
        (r"a\;b", r"a\;b"),
        ("x{1,3}", "x{1,3}"),
    ],
)
def test_a_pattern_stands_quoted_or_not(text: str, pattern: str) -> None:
    assert parse_q(f"a~={text};b") == And((Match(path("a"), parse_pattern(pattern)), Exists(path("b"))))


@pytest.mark.parametrize(
    ("text", "character", "found", "expected"),
    [
        ("", 1, "the end", "the name of an attribute"),
        ("speed>", 7, "the end", "a number"),
        ("a=5", 2, "'=5'", "an operator"),
        ("a===5", 4, "'=5'", "a quoted string"),
        ("a>4..5", 4, "'..5'", "the end of the query"),
        ("a>true", 3, "'true'", "a number"),
        ("a>urn:x", 3, "'urn:x'", "a quoted string"),
        ("a>=1,2", 5, "',2'", '";"'),
        ("(a", 3, "the end", '")"'),
        ("a)", 2, "')'", "the end of the query"),
        ("a;;b", 3, "';b'", "the name of an attribute"),
        ("a==1,", 6, "the end", "a URI"),
        ("a==01", 4, "'01'", "a number"),
        ("a==20abc", 4, "'20abc'", "a number"),
        ('a=="x', 4, "'\"x'", "a quoted string"),
        ("a.b[c", 6, "the end", '"]"'),
        ("a[b][c]", 5, "'[c]'", "an operator"),
        ("9a", 1, "'9a'", "the name of an attribute"),
        ("a==2026-01-31T12:00:00", 4, "'2026-01-31T12:00:00'", "a DateTime such as"),
        ('a==1.."b"', 7, "'\"b\"'", "a value of the same type"),
        ("a{}", 3, "'}'", "the name of an attribute"),
        ("a~=", 4, "the end", "a quoted pattern"),
    ],
)
def test_an_error_says_where_what_was_found_and_what_was_expected(
    text: str, character: int, found: str, expected: str
) -> None:
    with pytest.raises(BadRequestData) as caught:
        parse_q(text)
    assert caught.value.detail.startswith(f"q is invalid at character {character}: found {found}, expected ")
    assert expected in caught.value.detail


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a==2026-02-31", "'2026-02-31' is no date of the calendar"),
        ("a==9223372036854775808", "does not fit into 64 bits"),
        ("a==1e400", "is too large"),
        (r'a=="\d"', "is no JSON string"),
        (r'a=="\ud800"', "is no JSON string"),
        ('a[""]', "the empty member name"),
        ('a~="("', "the group is not closed"),
    ],
)
def test_a_value_that_means_nothing_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        parse_q(f"b;{text}")
    assert why in caught.value.detail
    assert caught.value.detail.startswith("q is invalid at character ")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("sensor{humidity}==40", Linked(path("sensor"), (), compare("humidity", "==", 40))),
        ("sensor{Device:humidity}==40", Linked(path("sensor"), ("Device",), compare("humidity", "==", 40))),
        (
            "a.b { C , D : e{f[g.h]} }",
            Linked(path("a.b"), ("C", "D"), Linked(path("e"), (), Exists(path("f", "g", "h")))),
        ),
        ("!a{T:b.c}", Linked(path("a"), ("T",), Exists(path("b.c")), negated=True)),
        ("!a{b{c}}", Linked(path("a"), (), Linked(path("b"), (), Exists(path("c"))), negated=True)),
        ('a{b}!~="x"', Linked(path("a"), (), Match(path("b"), parse_pattern("x"), negated=True))),
        ("ex:a{https://example.org/b}>1", Linked(path("ex:a"), (), compare_iri("https://example.org/b", ">", 1))),
        ("a{b[*]};c", And((Linked(path("a"), (), Exists(path("b", "*"))), Exists(path("c"))))),
    ],
)
def test_a_path_in_braces_is_about_linked_entities(text: str, tree: Node) -> None:
    assert parse_q(text) == tree


@pytest.mark.parametrize(
    ("text", "character", "expected"),
    [
        ("a{b", 4, '"}"'),
        ("a{T:}", 5, "the name of an attribute or type"),
        ("a{T,U}", 6, '":"'),
        ("a{b}.c", 5, "the end of the query"),
        ("a{T:U:c}", 6, '"}"'),
        ("a[b]{c}", 5, "the end of the query"),
        ("{a}", 1, "the name of an attribute"),
    ],
)
def test_an_error_in_braces_says_where_and_what(text: str, character: int, expected: str) -> None:
    with pytest.raises(BadRequestData, match=rf"^q is invalid at character {character}: found .*, expected ") as caught:
        parse_q(text)
    assert expected in caught.value.detail


def test_a_path_through_too_many_entities_is_refused() -> None:
    parse_q("a{" * MAX_LINKS + "b" + "}" * MAX_LINKS)
    with pytest.raises(BadRequestData, match="at character 3: the path leads through 11 entities, expected at most 10"):
        parse_q("x;a{" + "a{" * MAX_LINKS + "b" + "}" * (MAX_LINKS + 1))


@pytest.mark.parametrize(
    "text",
    [
        "a" * 8193,
        ";".join(["a"] * (MAX_TERMS + 1)),
        "a==" + ",".join(["1"] * (MAX_TERMS + 1)),
        "(a;(b|" * MAX_DEPTH + "c" + "))" * MAX_DEPTH,
        "(a|" * 2000 + "a" + ")" * 2000,
    ],
)
def test_a_query_beyond_the_bounds_is_too_complex(text: str) -> None:
    with pytest.raises(TooComplexQuery):
        parse_q(text)


def test_a_query_at_the_bounds_is_read() -> None:
    parse_q("(" * 4000 + "a" + ")" * 4000)
    parse_q("(a;(b|" * 25 + "c" + "))" * 25)
    parse_q("|".join(["a"] * MAX_TERMS))
    with pytest.raises(BadRequestData, match="the path has 21 names, expected at most 20"):
        parse_q(".".join("a" * 21))


@given(st.text(alphabet='ab.[]{}()=!<>~;|,:"\\*01-TZé \n\ud800', max_size=30) | st.text(max_size=20))
def test_no_text_makes_the_parser_fail_in_another_way(text: str) -> None:
    with suppress(BadRequestData, TooComplexQuery):
        parse_q(text)
