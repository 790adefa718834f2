"""The language filter (clause 4.15): which language an Accept-Language-like list of ranges chooses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ngsild.errors import BadRequestData
from broker.ngsild.languages import LanguageRange, choose_language, parse_language_ranges

TOWER = ("de", "en-GB", "fr", "@none")
CHURCH = ("de-CH", "nl", "fr-CH", "fr")


@pytest.mark.parametrize(
    ("lang", "tags", "chosen"),
    [
        ("de", TOWER, "de"),
        ("DE", TOWER, "de"),
        ("en", TOWER, "en-GB"),
        ("es,fr", TOWER, "fr"),
        ("fr,de", TOWER, "fr"),
        ("fr;q=0.5,de;q=0.9", TOWER, "de"),
        ("fr ; q=0.5 , de;Q=0.9", TOWER, "de"),
        ("fr-CH,fr", CHURCH, "fr-CH"),
        ("fr", CHURCH, "fr"),
        ("de", CHURCH, "de-CH"),
        ("fr;q=0.2,fr-CH;q=0.9", CHURCH, "fr-CH"),
        ("fr,fr-CH;q=0", ("fr-CH", "nl"), "nl"),
    ],
)
def test_the_range_with_the_highest_weight_chooses_then_the_first_then_the_exact_tag(
    lang: str, tags: tuple[str, ...], chosen: str
) -> None:
    assert choose_language(tags, parse_language_ranges(lang)) == chosen


@pytest.mark.parametrize(
    ("lang", "tags", "chosen"),
    [
        ("*", TOWER, "@none"),
        ("*", CHURCH, "de-CH"),
        ("@none", TOWER, "@none"),
        ("*;q=0.9,@none;q=0.8,de;q=0.1", TOWER, "en-GB"),
        ("es,*;q=0.5", TOWER, "@none"),
        ("*,@none;q=0,de;q=0", TOWER, "en-GB"),
    ],
)
def test_a_star_stands_for_what_no_other_range_names(lang: str, tags: tuple[str, ...], chosen: str) -> None:
    assert choose_language(tags, parse_language_ranges(lang)) == chosen


@pytest.mark.parametrize(
    ("lang", "tags", "chosen"),
    [
        ("nl-BE", CHURCH, "nl"),
        ("zh-Hant-TW,nl-BE;q=0.3", CHURCH, "nl"),
        ("nl-BE;q=0.1,fr-BE;q=0.2", CHURCH, "fr"),
        ("de-CH,en;q=0.5", ("de", "en"), "en"),
        ("es", TOWER, "@none"),
        ("es", CHURCH, "de-CH"),
        ("de;q=0", CHURCH, "nl"),
        ("de;q=0", ("de",), "de"),
        ("*;q=0", ("de", "@none"), "@none"),
    ],
)
def test_where_no_range_stands_for_a_language_the_nearest_or_any_is_given(
    lang: str, tags: tuple[str, ...], chosen: str
) -> None:
    assert choose_language(tags, parse_language_ranges(lang)) == chosen


@given(
    st.lists(st.sampled_from([*TOWER, *CHURCH, "x-private"]), min_size=1, unique=True),
    st.lists(st.tuples(st.sampled_from(["*", "de", "fr-ch", "en", "@none"]), st.sampled_from([0, 0.5, 1])), min_size=1),
)
def test_there_is_always_a_language(tags: list[str], ranges: list[tuple[str, float]]) -> None:
    assert choose_language(tags, [LanguageRange(*one) for one in ranges]) in tags


def test_ranges_keep_their_order_and_weights() -> None:
    assert parse_language_ranges("en;q=0.125, DE-ch , *;q=0") == (("en", 0.125), ("de-ch", 1.0), ("*", 0.0))


@pytest.mark.parametrize(
    "lang", ["", ",", "de,", "d e", "fr;q=x", "fr;q=2", "fr;q=-1", "fr;level=1", "123456789", "-de"]
)
def test_what_is_no_list_of_ranges_is_refused(lang: str) -> None:
    with pytest.raises(BadRequestData, match="language range"):
        parse_language_ranges(lang)
