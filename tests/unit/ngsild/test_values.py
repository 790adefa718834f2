"""JSON values inside attributes: what is kept, and how keys are stored."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import NGSI_LD_NULL, decode_key, encode_key
from broker.ngsild.values import MAX_DEPTH, decode_value, encode_value
from tests.unit.ngsild.strategies import json_values, keys


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return value


@given(st.text())
def test_any_text_can_be_a_key_and_comes_back(name: str) -> None:
    stored = encode_key(name)
    assert not set(stored) & set(".$\0")
    assert decode_key(stored) == name


@given(st.lists(st.sampled_from([".", "$", "\0", "%", "2", "4", "5", "0", "E", "e", "a"])))
def test_keys_that_look_encoded_come_back_as_they_were(characters: list[str]) -> None:
    name = "".join(characters)
    assert decode_key(encode_key(name)) == name
    assert decode_key(encode_key(encode_key(name))) == encode_key(name)


def test_a_key_of_any_length_comes_back() -> None:
    name = "a.$%\0" * 1_000_000
    assert decode_key(encode_key(name)) == name


@given(keys(), keys())
def test_different_keys_stay_different(first: str, second: str) -> None:
    assert (encode_key(first) == encode_key(second)) == (first == second)


@given(json_values())
def test_a_value_comes_back_equal_and_of_the_same_types(value: Any) -> None:
    assert repr(decode_value(encode_value(value, 5, "/a/value"))) == repr(value)


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0, -1])
def test_integers_of_64_bits_are_kept(number: int) -> None:
    assert encode_value([number], 5, "/a") == [number]


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**400])
def test_larger_integers_are_refused(number: int) -> None:
    with pytest.raises(BadRequestData, match="64 bits") as caught:
        encode_value({"k": [number]}, 5, "/a/value")
    assert caught.value.pointer == "/a/value"


def test_nesting_is_kept_to_the_limit_and_refused_beyond_it() -> None:
    start = 5
    deepest = nested(MAX_DEPTH - start)
    assert decode_value(encode_value(deepest, start, "/a")) == deepest
    with pytest.raises(BadRequestData, match="nested deeper"):
        encode_value([deepest], start, "/a")


def test_an_ngsi_ld_null_inside_a_value_is_for_merge_operations() -> None:
    value = {"country": NGSI_LD_NULL}
    with pytest.raises(BadRequestData, match="deletion"):
        encode_value(value, 5, "/a/value")
    assert encode_value(value, 5, "/a/value", allow_null=True) == value


def test_the_text_of_the_ngsi_ld_null_may_be_a_key() -> None:
    assert decode_value(encode_value({NGSI_LD_NULL: 1}, 5, "")) == {NGSI_LD_NULL: 1}
