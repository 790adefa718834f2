import pytest

from broker.ngsild.errors import BadRequestData, TooComplexQuery
from broker.ngsild.query import scopes
from broker.ngsild.query.scopes import parse_scope_q
from broker.ngsild.query.types import TypeSelection, parse_types
from tests.unit.query.core_names import CORE


@pytest.mark.parametrize(
    ("text", "alternatives"),
    [
        ("Building", (("Building",),)),
        ("Building|House", (("Building",), ("House",))),
        ("Building,House", (("Building",), ("House",))),
        ("(Home;Vehicle)", (("Home", "Vehicle"),)),
        ("(Home;Vehicle)|Motorhome", (("Home", "Vehicle"), ("Motorhome",))),
        ("(Home;Vehicle),Motorhome", (("Home", "Vehicle"), ("Motorhome",))),
        ("Home;Vehicle, Motorhome", (("Home", "Vehicle"), ("Motorhome",))),
        ("https://example.org/types#Car,urn:x:y", (("https://example.org/types#Car",), ("urn:x:y",))),
    ],
)
def test_the_examples_of_the_type_selection_clause_are_read(
    text: str, alternatives: tuple[tuple[str, ...], ...]
) -> None:
    assert parse_types(text).alternatives == alternatives


def test_a_selection_matches_by_expanded_types() -> None:
    selection = parse_types("(Home;Vehicle)|Motorhome").expand(CORE)
    home, vehicle, motorhome = (CORE.expand(name) for name in ("Home", "Vehicle", "Motorhome"))
    assert selection.iris() == {home, vehicle, motorhome}
    assert selection.matches([vehicle, home])
    assert selection.matches([motorhome])
    assert not selection.matches([home])
    assert not selection.matches(["Motorhome"])


def test_a_star_selects_everything() -> None:
    selection = parse_types("*").expand(CORE)
    assert selection == TypeSelection(())
    assert selection.everything
    assert selection.matches(["urn:any"])
    with pytest.raises(BadRequestData, match="combines"):
        parse_types("*,Building")


@pytest.mark.parametrize(
    ("text", "character", "found", "expected"),
    [
        ("", 1, "the end", "the name or URI of an entity type"),
        ("A,", 3, "the end", "the name or URI of an entity type"),
        ("(A;B", 5, "the end", '";" or ")"'),
        ("(A|B)", 3, "'|'", '";" or ")"'),
        ("A B", 3, "'B'", '"|", "," or the end'),
        ("A)", 2, "')'", '"|", "," or the end'),
        ("((A))", 2, "'('", "the name or URI of an entity type"),
    ],
)
def test_an_error_in_a_selection_says_where_and_what(text: str, character: int, found: str, expected: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        parse_types(text)
    assert caught.value.detail == f"type is invalid at character {character}: found {found}, expected {expected}."


def test_a_selection_beyond_the_bounds_is_too_complex() -> None:
    for text in ("A" * 9000, ",".join(["A"] * 201)):
        with pytest.raises(TooComplexQuery):
            parse_types(text)


@pytest.mark.parametrize(
    ("text", "matching", "others"),
    [
        ("/Madrid", [["/Madrid"], ["Madrid"]], [["/Madrid/Gardens"], ["/Madri"], []]),
        (
            "/Madrid/Gardens/#",
            [["/Madrid/Gardens"], ["/Madrid/Gardens/ParqueNorte/Parterre1"], ["Madrid/Gardens/ParqueSur"]],
            [["/Madrid"], ["/Madrid/GardensX"], ["/X/Madrid/Gardens"]],
        ),
        (
            "/Madrid/+/ParqueNorte",
            [["/Madrid/Gardens/ParqueNorte"], ["/Madrid/Sights/ParqueNorte"]],
            [["/Madrid/ParqueNorte"], ["/Madrid/A/B/ParqueNorte"]],
        ),
        ("(/Madrid/Districts;/CompanyA)", [["/CompanyA", "/Madrid/Districts"]], [["/CompanyA"]]),
        (
            "(/Madrid/Districts;/CompanyA)|CompanyB",
            [["/Madrid/Districts", "/CompanyA"], ["/CompanyB"]],
            [["/CompanyA"]],
        ),
        (
            "(/Madrid/Districts;/CompanyA),CompanyB",
            [["/Madrid/Districts", "/CompanyA"], ["/CompanyB"]],
            [["/CompanyA"]],
        ),
        ("/A/B;/C", [["/A/B", "/C"]], [["/C"]]),
        ("/#", [["/A"]], [[]]),
        ("/+/#", [["/A"], ["/A/B"]], [[]]),
    ],
)
def test_the_examples_of_the_scope_query_clause_match(
    text: str, matching: list[list[str]], others: list[list[str]]
) -> None:
    query = parse_scope_q(text)
    assert [found for found in [*matching, *others] if scopes.matches(query, found)] == matching


@pytest.mark.parametrize("text", ["#", "/A/#/B", "//A", "/A/", "/9", "/A-B", "/A+", "(/A|/B)", ""])
def test_what_is_no_scope_query_is_refused(text: str) -> None:
    with pytest.raises(BadRequestData, match="scopeQ"):
        parse_scope_q(text)
