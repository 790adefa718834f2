"""Request bodies: from bytes to JSON values, refusing whatever would be understood only by half.

orjson is fast and strict, but three things pass it unnoticed: a key that occurs twice (the last one wins), an integer
beyond 64 bits (it becomes a float), and nesting that only MongoDB would refuse. They are found without reading the text
a second time in Python. If the value written as JSON again is the text, and it has few brackets, nothing was lost: that
settles compact texts, which most programs send. Else the number of keys in the text must equal the number of keys in
the value.
"""

import json
from collections import Counter
from typing import Any

import orjson

from broker.ngsild.errors import BadRequestData, InvalidRequest
from broker.ngsild.values import MAX_DEPTH

_BEYOND_INT64 = float(2**63)


def parse_json(text: bytes) -> Any:
    """The JSON value of a request body.

    InvalidRequest if it is not JSON (clause 5.5.4); BadRequestData for repeated keys, integers beyond 64 bits and
    nesting deeper than can be kept.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}.") from None
    if _is_as_written(value, text):
        return value
    keys, suspicious = _survey(value, 0)
    if suspicious or keys != _keys_in(text):
        _read_slowly(text)
    return value


def _is_as_written(value: Any, text: bytes) -> bool:
    """Whether `value` says all that `text` does, and cannot be nested too deeply. An array is told by its items."""
    if _few_brackets(text):
        return orjson.dumps(value) == text
    if type(value) is not list:
        return False
    try:
        if not text.startswith(orjson.dumps(value[0]), 1):
            return False
        items = [orjson.dumps(item) for item in value]
    except orjson.JSONEncodeError:  # nested too deeply even for orjson
        return False
    return b"[%b]" % b",".join(items) == text and all(map(_few_brackets, items))


def _few_brackets(text: bytes) -> bool:
    return text.count(b"{") + text.count(b"[") < MAX_DEPTH


def _survey(value: Any, depth: int) -> tuple[int, bool]:
    """How many keys `value` has in all its objects, and whether it has a number that may have lost digits."""
    kind = type(value)
    if kind is dict:
        items: Any = value.values()
        keys = len(value)
    elif kind is list:
        items = value
        keys = 0
    else:
        return 0, kind is float and not -_BEYOND_INT64 < value < _BEYOND_INT64
    if depth > MAX_DEPTH:
        raise BadRequestData(f"The request body is nested deeper than {MAX_DEPTH} levels; flatten it.")
    suspicious = False
    for item in items:
        kind = type(item)
        if kind is dict or kind is list or kind is float:
            more, doubtful = _survey(item, depth + 1)
            keys += more
            suspicious = suspicious or doubtful
    return keys, suspicious


def _keys_in(text: bytes) -> int:
    """How many keys the JSON text has; -1 if that cannot be told by counting `":`."""
    if b" :" in text or b'\\":' in text or b"\t:" in text or b"\n:" in text or b"\r:" in text:
        return -1
    return text.count(b'":')


def _read_slowly(text: bytes) -> None:
    try:
        json.loads(text, object_pairs_hook=_refuse_repetition, parse_int=_refuse_large)
    except RecursionError:
        raise BadRequestData("The request body is nested too deeply; flatten it.") from None
    except ValueError as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}.") from None


def _refuse_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        name = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise BadRequestData(f"The member {name!r} occurs more than once in the same object: which one is meant?")
    return document


def _refuse_large(digits: str) -> int:
    number = int(digits) if len(digits) < 25 else 2**64
    if not -(2**63) <= number < 2**63:
        raise BadRequestData(
            f"The integer {digits:.40} does not fit into 64 bits; send it as a string or as a floating point number."
        )
    return number
