"""Collations: language tags with the settings of RFC 6067 (clause 4.23.3)."""

import pytest

from broker.ngsild.collations import ROOT, Collation, parse_collation
from broker.ngsild.errors import BadRequestData


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("und", ROOT),
        ("de", Collation("de", tag="de")),
        ("de-AT", Collation("de", region="AT", tag="de-AT")),
        ("zh-Hant-TW", Collation("zh", "Hant", "TW", tag="zh-Hant-TW")),
        ("de-u-co-phonebk", Collation("de", settings=(("co", "phonebook"),), tag="de-u-co-phonebk")),
        ("und-u-ks-identic", Collation(settings=(("ks", 5),), tag="und-u-ks-identic")),
        ("sv-u-kn", Collation("sv", settings=(("kn", True),), tag="sv-u-kn")),
        ("sv-u-kn-ks-level1", Collation("sv", settings=(("kn", True), ("ks", 1)), tag="sv-u-kn-ks-level1")),
        ("en-u-kf-upper", Collation("en", settings=(("kf", "upper"),), tag="en-u-kf-upper")),
        ("und-x-icu", Collation(tag="und-x-icu")),
    ],
)
def test_a_tag_names_a_language_and_its_settings(tag: str, expected: Collation) -> None:
    assert parse_collation(tag) == expected


@pytest.mark.parametrize(
    "tag",
    [
        "", "!!nope", "not a bcp47 tag!!", "d", "german", "de_DE", "de-", "de-u", "de-u-", "de-u-phonebk", "de-u-zz",
        "de-u-co", "de-u-co-nonsense", "de-u-ks-level6", "de-u-kn-maybe", "de-u-kr-grek", "de-u-kn-kn", "de-x-private",
        "\u00f6\u00f6", "de" + "-u-kn" * 50,
    ],
)  # fmt: skip
def test_what_is_no_collation_or_cannot_be_honoured_is_refused(tag: str) -> None:
    with pytest.raises(BadRequestData, match="collation") as caught:
        parse_collation(tag)
    assert len(caught.value.detail) < 300
