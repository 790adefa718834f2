"""URL parameters: parsed once, unknown ones refused (clause 6.3.20)."""

from collections.abc import Callable
from typing import Any

import pytest

from broker.ngsild.errors import BadRequestData, InvalidRequest, NgsiLdError
from broker.ngsild.projections import parse_projection
from broker.ngsild.representations import Format
from broker.web.parameters import Page, Presentation, Query, read_page, read_presentation


def query(**values: str) -> Query:
    return Query(values.items())


def presentation(**values: str) -> Presentation:
    words = query(**values).words("options")
    return read_presentation(query(**values), set(words))


def test_a_parameter_that_occurs_twice_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="'type' occurs more than once"):
        Query([("type", "A"), ("type", "A")])


def test_parameters_that_nobody_asked_for_are_refused() -> None:
    found = query(type="A", nonsense="1")
    found.text("type")
    with pytest.raises(InvalidRequest, match="'nonsense' does not exist"):
        found.finish()


def test_parameters_that_were_asked_for_are_known_even_if_they_are_missing() -> None:
    found = query(type="A", limit="5", count="true", id="urn:a:b")
    assert found.text("q") is None
    assert (found.text("type"), found.integer("limit"), found.boolean("count")) == ("A", 5, True)
    assert found.words("id") == ["urn:a:b"]
    found.finish()


GETTERS: list[Callable[[Query], Any]] = [
    lambda found: found.text("x"),
    lambda found: found.words("x"),
    lambda found: found.integer("x"),
    lambda found: found.boolean("x"),
]


@pytest.mark.parametrize("getter", GETTERS)
def test_a_parameter_without_a_value_is_refused(getter: Callable[[Query], Any]) -> None:
    with pytest.raises(InvalidRequest, match="has no value"):
        getter(query(x=""))


def test_words_are_separated_by_commas_and_lose_their_margins() -> None:
    assert query(x="a, b ,c").words("x") == ["a", "b", "c"]
    assert query().words("x") == []


@pytest.mark.parametrize("text", [",", "a,", ",a", "a,,b", "a, ,b"])
def test_empty_words_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="separated by single commas"):
        query(x=text).words("x")


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("007", 7), ("999999999999999999", 10**18 - 1)])
def test_whole_numbers_are_read(text: str, number: int) -> None:
    assert query(x=text).integer("x") == number


@pytest.mark.parametrize(
    "text", ["-1", "+1", "1.0", "1e3", "٣", "²", " 1", "1_000", "0x1", "x", "1" * 19, "9" * 10_000]
)
def test_anything_else_is_no_whole_number(text: str) -> None:
    with pytest.raises(BadRequestData, match="whole number") as caught:
        query(x=text).integer("x")
    assert len(caught.value.detail) < 300


@pytest.mark.parametrize(("text", "value"), [("true", True), ("True", True), ("false", False), ("FALSE", False)])
def test_true_and_false_are_read(text: str, value: bool) -> None:
    assert query(x=text).boolean("x") is value
    assert query().boolean("x") is False


@pytest.mark.parametrize("text", ["1", "yes", "truee", "null"])
def test_anything_else_is_no_boolean(text: str) -> None:
    with pytest.raises(BadRequestData, match="expected true or false"):
        query(x=text).boolean("x")


def test_options_are_those_of_the_operation() -> None:
    assert query(options="sysAttrs,keyValues").options(("keyValues", "sysAttrs")) == {"keyValues", "sysAttrs"}
    assert query().options(("keyValues",)) == set()
    with pytest.raises(InvalidRequest, match="'nonsense' does not exist for this operation: expected noOverwrite"):
        query(options="nonsense").options(("noOverwrite",))


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ({}, Format.NORMALIZED),
        ({"format": "normalized"}, Format.NORMALIZED),
        ({"format": "concise"}, Format.CONCISE),
        ({"format": "simplified"}, Format.SIMPLIFIED),
        ({"format": "keyValues"}, Format.SIMPLIFIED),
        ({"options": "keyValues"}, Format.SIMPLIFIED),
        ({"options": "concise"}, Format.CONCISE),
        ({"options": "sysAttrs"}, Format.NORMALIZED),
        ({"options": "concise", "format": "simplified"}, Format.SIMPLIFIED),
    ],
)
def test_the_format_is_a_parameter_or_an_option(values: dict[str, str], form: Format) -> None:
    assert presentation(**values).format is form


def test_the_presentation_is_read_as_a_whole() -> None:
    found = presentation(options="sysAttrs", pick="a,b", omit="c", datasetId="@none,urn:a:b", lang="de")
    pick, omit = parse_projection("a,b", "pick"), parse_projection("c", "omit")
    assert found == Presentation(sys_attrs=True, pick=pick, omit=omit, datasets=["@none", "urn:a:b"], lang="de")
    assert presentation(attrs="a").attrs == ["a"]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"format": "xml"}, InvalidRequest),
        ({"attrs": "a", "pick": "b"}, BadRequestData),
        ({"datasetId": "1"}, BadRequestData),
        ({"datasetId": "urn:ngsi-ld:null"}, BadRequestData),
        ({"lang": ""}, InvalidRequest),
    ],
)
def test_a_presentation_that_makes_no_sense_is_refused(values: dict[str, str], error: type[NgsiLdError]) -> None:
    with pytest.raises(error):
        presentation(**values)


def page(**values: str) -> Page:
    return read_page(query(**values), set(), default=20, highest=1000)


def test_a_page_has_defaults_and_bounds() -> None:
    assert page() == Page(limit=20)
    assert page(limit="1000", offset="7", count="true") == Page(1000, 7, count=True)
    assert page(limit="0", count="true") == Page(0, count=True)
    assert read_page(query(limit="0"), {"count"}, 20, 1000) == Page(0, count=True)


@pytest.mark.parametrize("values", [{"limit": "0"}, {"limit": "1001"}, {"offset": "-1"}, {"limit": "x"}])
def test_a_page_beyond_its_bounds_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(BadRequestData):
        page(**values)
