"""URIs, scopes, language tags, and reserved names."""

import pytest

from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import decode_key
from broker.ngsild.names import (
    NOT_ATTRIBUTE_KEYS,
    NOT_ATTRIBUTES,
    check_language_tag,
    check_uri,
    is_uri,
    read_scopes,
    unusable_character,
)
from tests.unit.ngsild.samples import NULL, core

LONG = "urn:x:" + "y" * 2_000_000


@pytest.mark.parametrize(
    "text", ["urn:ngsi-ld:Building:1", "http://example.org/ä?q=1#f", "a+b.c-1:x", "urn:a:💚", LONG]
)
def test_an_absolute_uri_or_iri_is_one(text: str) -> None:
    assert is_uri(text)
    assert check_uri(text, "entity id") == text


@pytest.mark.parametrize(
    "text",
    ["", "Building:", ":x", "Building1", "1urn:x", "urn:a b", "urn:a\n", "urn:<a>", "urn:a\0", 'urn:"', "/a:b", "é:b"],
)
def test_a_text_without_scheme_or_with_impossible_characters_is_none(text: str) -> None:
    assert not is_uri(text)
    with pytest.raises(BadRequestData, match="is not a URI") as caught:
        check_uri(text, "entity id", "/id")
    assert caught.value.pointer == "/id"


@pytest.mark.parametrize(
    "codepoint",
    [
        *(0x80, 0xA0, 0xAD, 0x115F, 0x200B, 0x200D, 0x2028, 0x202E, 0x2060, 0x2800, 0x3164, 0xE000, 0xFDD0, 0xFE0F),
        *(0xFEFF, 0xFFA0, 0xFFFC, 0xFFFE, 0x1FFFF, 0xE0001, 0xE0100, 0xF0000, 0x10FFFF),
    ],
)
def test_a_character_that_cannot_be_seen_is_in_no_uri_and_no_name(codepoint: int) -> None:
    assert not is_uri(f"urn:a:b{chr(codepoint)}c")
    assert unusable_character(f"b{chr(codepoint)}c") == chr(codepoint)
    assert unusable_character(f"urn:a:b{chr(codepoint)}c") == chr(codepoint)


@pytest.mark.parametrize(
    "name", ["a", "Straße_1", "výška", "名", "a²", "हिन्दी", "pm2.5", "air-quality", "fiware:a", "http://a.b/c?d=(e)"]
)
def test_a_name_is_of_letters_numbers_and_underscores(name: str) -> None:
    assert unusable_character(name) is None


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("9a", "9"),
        ("_a", "_"),
        ("-a", "-"),
        ("²", "²"),
        ("a b", " "),
        ("a/b", "/"),
        ("a$", "$"),
        ("a,b", ","),
        ("a[1]", "["),
        ("x:a b", " "),
        ('x:"', '"'),
        ("x:<", "<"),
    ],
)
def test_what_is_in_no_name_is_found(name: str, found: str) -> None:
    assert unusable_character(name) == found


@pytest.mark.parametrize("value", [None, 1, True, ["urn:a:b"], {"id": "urn:a:b"}])
def test_what_is_no_text_is_no_uri(value: object) -> None:
    with pytest.raises(BadRequestData, match="is not a URI"):
        check_uri(value, "entity id")


def test_the_ngsi_ld_null_names_nothing() -> None:
    assert not is_uri(NULL)
    with pytest.raises(BadRequestData, match="stands for a deletion"):
        check_uri(NULL, "datasetId")


@pytest.mark.parametrize("scope", ["/Madrid", "Madrid", "/Madrid/Gardens/ParqueNorte", "/Città/Ω_1"])
def test_a_scope_is_a_path_of_names(scope: str) -> None:
    assert read_scopes(scope) == [scope]


def test_several_scopes_lose_repetitions_and_keep_their_order() -> None:
    assert read_scopes(["/b", "/a", "/b"]) == ["/b", "/a"]


@pytest.mark.parametrize(
    "value",
    ["", "/", "//a", "/a/", "/a//b", "/1a", "/_a", "/a-b", "/a b", "/a\n", "#", "/a/#", None, 5, [], [None], [["/a"]]],
)
def test_anything_else_is_no_scope(value: object) -> None:
    with pytest.raises(BadRequestData) as caught:
        read_scopes(value)
    assert caught.value.pointer == "/scope"


def test_an_ngsi_ld_null_deletes_the_scope_only_where_that_is_allowed_and_only_alone() -> None:
    assert read_scopes(NULL, allow_null=True) == [NULL]
    assert read_scopes([NULL], allow_null=True) == [NULL]
    for value in (NULL, [NULL]):
        with pytest.raises(BadRequestData, match="deleted"):
            read_scopes(value)
    with pytest.raises(BadRequestData):
        read_scopes(["/a", NULL], allow_null=True)


@pytest.mark.parametrize("tag", ["en", "de-CH", "zh-Hant-TW", "x-private", "sl-rozaj-biske", "@none"])
def test_a_language_tag_is_of_rfc_5646_or_none(tag: str) -> None:
    check_language_tag(tag, "/a/languageMap")


@pytest.mark.parametrize("tag", ["", "e n", "en_GB", "en-", "-en", "123", "@none-x", "toolonglanguage", "en.", "en$"])
def test_anything_else_is_no_language_tag(tag: str) -> None:
    with pytest.raises(BadRequestData, match="language tag"):
        check_language_tag(tag, "/a/languageMap")


def test_the_reserved_iris_are_those_that_the_core_context_gives_to_reserved_names() -> None:
    names = {core().compact(decode_key(key)) for key in NOT_ATTRIBUTE_KEYS}
    keywords = {name for name in NOT_ATTRIBUTES if name.startswith("@")}
    assert names - {"ngsi-ld:id", "ngsi-ld:type"} - {"ngsi-ld:entityIdSealed", "ngsi-ld:entityTypeSealed"} == (
        NOT_ATTRIBUTES - keywords - {"id", "type", "entityIdSealed", "entityTypeSealed"}
    ) | {"scope"}
