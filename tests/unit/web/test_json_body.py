"""Request bodies: JSON that would be understood only by half is refused, everything else is read."""

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.ngsild.errors import BadRequestData, InvalidRequest
from broker.ngsild.values import MAX_DEPTH
from broker.web import json_body
from broker.web.json_body import parse_json


@dataclass(frozen=True)
class Members:
    """An object as its members were written, repetitions included."""

    pairs: tuple[tuple[str, Any], ...]


SPACE = st.sampled_from(["", "", "", " ", "\t", "\n", "\r\n", "  "])
LOOKALIKES = ['"', ":", '":', '" :', "\\", '\\"', '\\":', '":"', ' : ":', '{"a":1,"a":2}']
TEXTS = st.one_of(
    st.sampled_from(["a", "b", "é", "💚", "\0", *LOOKALIKES]), st.text(st.characters(codec="utf-8"), max_size=6)
)
KEYS = st.one_of(st.sampled_from(["a", "b", "c", 'q"', "back\\", ":", '":']), TEXTS)
NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
TREES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(st.tuples(KEYS, inner), max_size=4).map(lambda pairs: Members(tuple(pairs))),
    ),
    max_leaves=10,
)


def repeats(tree: Any) -> bool:
    """Whether any object in it has a member twice."""
    if isinstance(tree, list):
        return any(repeats(item) for item in tree)
    if not isinstance(tree, Members):
        return False
    names = [name for name, _ in tree.pairs]
    return len(set(names)) < len(names) or any(repeats(item) for _, item in tree.pairs)


def meaning(tree: Any) -> Any:
    if isinstance(tree, list):
        return [meaning(item) for item in tree]
    return {name: meaning(item) for name, item in tree.pairs} if isinstance(tree, Members) else tree


@st.composite
def written(draw: st.DrawFn, tree: Any) -> str:
    """`tree` as JSON text, with arbitrary white space and escapes."""
    if isinstance(tree, str):
        return draw(spelled(tree))
    if isinstance(tree, list):
        parts = [draw(written(item)) for item in tree]
        opening, closing = "[]"
    elif isinstance(tree, Members):
        parts = [f"{draw(spelled(name))}{draw(SPACE)}:{draw(SPACE)}{draw(written(item))}" for name, item in tree.pairs]
        opening, closing = "{}"
    else:
        return json.dumps(tree)
    spaced = ",".join(f"{draw(SPACE)}{part}{draw(SPACE)}" for part in parts)
    return f"{opening}{spaced or draw(SPACE)}{closing}"


def spelled(text: str) -> st.SearchStrategy[str]:
    """The ways to write a text: escaped as little as possible, as much, or altogether."""
    units = text.encode("utf-16-be")
    escaped = "".join(f"\\u{units[at]:02x}{units[at + 1]:02X}" for at in range(0, len(units), 2))
    return st.sampled_from([json.dumps(text, ensure_ascii=False), json.dumps(text), f'"{escaped}"'])


@settings(max_examples=250, deadline=None)
@given(TREES.flatmap(lambda tree: st.tuples(st.just(tree), written(tree))))
def test_repeated_members_are_always_found_and_nothing_else_is_refused(case: tuple[Any, str]) -> None:
    tree, text = case
    if repeats(tree):
        with pytest.raises(BadRequestData, match="more than once"):
            parse_json(text.encode())
    else:
        assert repr(parse_json(text.encode())) == repr(meaning(tree))


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a":1,"a":1}',
        '{"a":1,"b":2,"a":3}',
        '[[{"x":{"a":1,"a":2}}]]',
        '{"a" :1,"a":2}',
        '{"a"\t:1,"a"\n:2}',
        '{"a":1,"\\u0061":2}',
        '{"":1,"":2}',
        '{"a":"\\":","a":2}',
        '{"a":":b","a":2}',
        '{"a\\\\":1,"a\\\\":2}',
        '{"ü":1,"\\u00fc":2}',
    ],
)
def test_a_member_that_occurs_twice_is_refused_and_named(text: str) -> None:
    with pytest.raises(BadRequestData, match="more than once") as caught:
        parse_json(text.encode())
    assert any(repr(name) in caught.value.detail for name in ("a", "", "ü", "a\\"))


@pytest.mark.parametrize(
    "text", ['{"a":":b"}', '{"a":"\\":"}', '{"a":" :"}', '{"a\\"":1}', '["a:", "b", ":"]', '{"a":{"a":1}}']
)
def test_texts_that_look_like_members_raise_no_alarm(text: str) -> None:
    assert parse_json(text.encode()) == json.loads(text)


def test_usual_bodies_are_read_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_slowly(text: bytes) -> None:
        raise AssertionError(text)

    monkeypatch.setattr(json_body, "_read_slowly", read_slowly)
    body = {"a": {"type": "Property", "value": {"b": [{"c": "12:30"}, -1.5, 2**63 - 1, {}]}}, "t": "a: b, {c}", "e": ""}
    for text in (json.dumps(body), json.dumps(body, separators=(",", ":")), json.dumps(body, indent=2)):
        assert parse_json(text.encode()) == body


ITEM = '{"id":"urn:a:1","t":{"type":"Property","value":[1.5,{"b":"[{"}]}}'


@pytest.mark.parametrize("place", [0, 77, 199])
@pytest.mark.parametrize(
    "wrong",
    [
        '{"id":"urn:a:1","t":1,"t":1}',
        '{"id":"urn:a:1","t":18446744073709551616}',
        '{"t":' + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1) + "}",
        '{"t":' + "[" * 600 + "]" * 600 + "}",
    ],
    ids=["twice", "large", "deep", "very deep"],
)
def test_one_wrong_item_of_a_long_array_is_noticed(wrong: str, place: int) -> None:
    items = [ITEM] * 200
    assert len(parse_json(f"[{','.join(items)}]".encode())) == 200
    items[place] = wrong
    with pytest.raises(BadRequestData):
        parse_json(f"[{','.join(items)}]".encode())


def test_a_long_array_without_blanks_is_not_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def survey(value: Any, depth: int) -> tuple[int, bool]:
        raise AssertionError(value)

    monkeypatch.setattr(json_body, "_survey", survey)
    assert parse_json(f"[{','.join([ITEM] * 200)}]".encode()) == [json.loads(ITEM)] * 200


@pytest.mark.parametrize("number", ["9223372036854775807", "-9223372036854775808", "0", "1e30", "1.5e300", "-1E+25"])
def test_numbers_that_can_be_kept_are_read(number: str) -> None:
    assert repr(parse_json(f'{{"a":[{number}]}}'.encode())["a"][0]) == repr(json.loads(number))


@pytest.mark.parametrize("number", ["18446744073709551616", "-9223372036854775809", "1" + "0" * 400, "-1" + "0" * 5000])
@pytest.mark.parametrize("frame", ["%s", "[%s]", '{"a": {"b": [1, %s]}}'])
def test_integers_that_would_lose_digits_are_refused(number: str, frame: str) -> None:
    with pytest.raises((BadRequestData, InvalidRequest)) as caught:
        parse_json((frame % number).encode())
    assert len(caught.value.detail) < 300


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{",
        b"{}}",
        b"nonsense",
        b"NaN",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":01}',
        b'{"a":.5}',
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":"\n"}',
        b'{"a":"\\x"}',
        b'"\\ud800"',
        b'"\xff"',
        b'{"\xc3":1}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        b"\0",
        b'{"a":1}\0',
    ],
)
def test_what_is_no_json_in_utf_8_is_an_invalid_request(text: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        parse_json(text)


def test_nesting_is_read_to_the_limit_and_refused_beyond_it() -> None:
    def nested(levels: int) -> bytes:
        return b'{"a":[' * (levels // 2) + b"[" * (levels % 2) + b"]" * (levels % 2) + b"]}" * (levels // 2)

    parse_json(nested(MAX_DEPTH))
    for levels in (MAX_DEPTH + 2, 500, 10_000, 1_000_000):
        with pytest.raises((BadRequestData, InvalidRequest)):
            parse_json(nested(levels))
    with pytest.raises(BadRequestData, match="nested deeper"):
        parse_json(b'{"a" :' * 200 + b"1" + b"}" * 200)


def test_a_long_body_of_any_shape_is_read_without_delay() -> None:
    bodies = [
        b"[" + b'{"a" : 1},' * 200_000 + b"1]",
        b"[" + b'":",' * 500_000 + b"1]",
        b'["' + b'\\":' * 700_000 + b'"]',
        b"[" + b"1e300," * 400_000 + b"1]",
    ]
    for body in bodies:
        started = time.process_time()
        parse_json(body)
        assert time.process_time() - started < 3.0
