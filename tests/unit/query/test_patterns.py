import re
import time
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from broker.ngsild.errors import BadRequestData, NgsiLdError, TooComplexQuery
from broker.ngsild.query.patterns import MAX_LENGTH, MAX_WORK, parse_pattern


def finds(pattern: str, text: str) -> bool:
    return parse_pattern(pattern).matcher()(text) is not None


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("^Eiffel", ["Eiffel Tower"], ["The Eiffel", "eiffel"]),
        ("Tower$", ["Eiffel Tower"], ["Tower\n", "Towers"]),
        ("a.c", ["abc", "a\nc", "aäc", "a\U0001f600c"], ["ac"]),
        ("(?i)pärk", ["PÄRK", "pärk"], ["park"]),
        (r"^\d{2}-\w+\s[[:upper:]]$", ["12-a_b X"], ["12-ä X", "1-a X"]),
        (r"\bx\b", ["a x b"], ["axb"]),
        ("[]a-]", ["]", "a", "-"], ["b"]),
        ("[^]a]", ["b"], ["]", "a"]),
        (r"[\]\w-]", ["]", "_", "-"], ["."]),
        (r"\x41\x{e4}", ["Aä"], ["A"]),
        (r"a\.b\*", ["a.b*"], ["axb*"]),
        ("^(?:foo|bar)+$", ["foobar"], ["foo bar"]),
        ("", ["", "x"], []),
        ("a{0}b", ["b"], ["a"]),
        ("a+?b", ["aab"], ["b"]),
    ],
)
def test_patterns_are_searched_as_posix_has_it(pattern: str, matching: list[str], others: list[str]) -> None:
    assert [text for text in [*matching, *others] if finds(pattern, text)] == matching


@pytest.mark.parametrize(
    ("pattern", "character"),
    [
        ("a)", 2), ("(a", 1), ("(?=a)", 1), ("(?P<n>a)", 1), ("a(?i)b", 2), ("[a", 1), ("[a-\\d]", 2), ("[b-a]", 2),
        ("[[:foo:]]", 2), ("[[.a.]]", 2), ("*a", 1), ("a**", 3), ("a++", 3), ("a{2}{3}", 5), ("a{", 2), ("a{,3}", 2),
        ("a{3,2}", 2), ("a{999}", 2), (r"\1", 1), (r"\Qa", 1), (r"\pL", 1), (r"\x{d800}", 1), ("a\\", 2), ("^*", 2),
        ("(" * 11 + "a" + ")" * 11, 11),
    ],
)  # fmt: skip
def test_what_is_no_pattern_is_refused_with_the_place(pattern: str, character: int) -> None:
    with pytest.raises(BadRequestData, match=f"invalid at character {character}:"):
        parse_pattern(pattern)


def test_a_pattern_that_is_too_long_or_no_unicode_is_refused() -> None:
    with pytest.raises(BadRequestData, match=f"expected at most {MAX_LENGTH}"):
        parse_pattern("a" * (MAX_LENGTH + 1))
    with pytest.raises(BadRequestData, match="surrogate"):
        parse_pattern("a\ud800")


UNSAFE = [
    *("(a+)+$", "^(a|a)*$", "^(a|ab)*c", "a(b*)*c", "x(a|b*)c", "a[a-z]+b", "^a+a+b", "b[a-z]*a.*c", "(^a)b|a^b"),
    *("^(a?){60}b", "(a|aa){20}b", "x(a{0,200}b{0,200})y", "^[a-z]+\\b", "(x.*|y)z", "a$b"),
]


@pytest.mark.parametrize("pattern", UNSAFE)
def test_a_pattern_that_could_stall_mongodb_is_left_to_the_engine_that_takes_linear_time(pattern: str) -> None:
    found = parse_pattern(pattern)
    assert found.pcre is None
    search = found.matcher()
    for text in ("a", "ab", "b", "x"):
        started = time.monotonic()
        search(text * min(100_000, MAX_WORK // found.size // len(text)))
        assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "pattern", ["(.{0,200}a.{0,200}b.{0,200}c.{0,200})x", "(a.{200}|b.{220}|.{250}c)d", "[ab]*a[ab]{255}[ab]{255}c"]
)
def test_a_search_that_could_stall_the_process_is_refused_and_the_longest_that_is_not_ends_soon(pattern: str) -> None:
    found = parse_pattern(pattern)
    search, longest = found.matcher(), MAX_WORK // found.size
    random = Random(1)
    text = "".join(random.choices("abé💚", k=longest))
    started = time.monotonic()
    search(text)
    assert time.monotonic() - started < 5
    with pytest.raises(TooComplexQuery, match=f"text of {longest + 1} characters: at most {longest} are"):
        search(text + "a")


@pytest.mark.parametrize("pattern", ["Eiffel", ".*part.*", "(?i).*stra.e.*", "^urn:.*:Car:.*$"])
def test_a_usual_pattern_searches_a_megabyte(pattern: str) -> None:
    search = parse_pattern(pattern).matcher()
    started = time.monotonic()
    assert search("x" * 1_000_000) is None
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("pattern", ["((ab){99}){9}", "(a|b|c|d|e){256}", "(a{200}b{200}){5}", "((a{99}){99}){99}"])
def test_a_pattern_that_repeats_too_much_is_too_complex(pattern: str) -> None:
    with pytest.raises(TooComplexQuery, match="Use a simpler pattern"):
        parse_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        *("Eiffel", ".*part.*", "^a.*b.*c$", "^urn:.*:Car:.*$", "[0-9]+", r"^[A-Z]{2}-\d+$", r"[a-z]+@[a-z]+\.com"),
        *(
            r"(\d{1,3}\.){3}\d{1,3}",
            "^(foo|bar)+$",
            "x+",
            "(ab)+",
            "a?b?c?",
            "urn:[a-z]+:1",
            r"^\w+\s\w+$",
            "a|b|^c.*d$",
        ),
    ],
)
def test_usual_patterns_run_in_mongodb(pattern: str) -> None:
    assert parse_pattern(pattern).pcre is not None


pieces = st.sampled_from([*"ab.^$|()*+?-", "{2}", "{1,2}", ".*", "[ab]", "[^a]", r"\d", r"\w", r"\b", "(a|b)", "[^a]+"])


@settings(max_examples=300)
@given(st.lists(pieces, max_size=8).map("".join), st.lists(st.text(alphabet="aab1 -\nx", max_size=10), min_size=10))
def test_what_is_written_for_both_engines_finds_the_same_as_the_pattern(written: str, texts: list[str]) -> None:
    try:
        pattern = parse_pattern(written)
    except NgsiLdError:
        assume(False)
        return
    usual = re.compile(written.replace("$", r"\Z"), re.DOTALL | re.ASCII)
    search = pattern.matcher()
    for text in texts:
        expected = usual.search(text) is not None
        assert (search(text) is not None) == expected
        if pattern.pcre is not None:
            assert (re.search(as_python(pattern.pcre), text, re.ASCII) is not None) == expected


def as_python(pcre: str) -> str:
    """Python knows atomic groups and possessive repetition, but writes code points and the end in another way."""
    return re.sub(r"\\x\{([0-9a-f]+)\}", lambda found: f"\\U{int(found[1], 16):08x}", pcre).replace(r"\z", r"\Z")
