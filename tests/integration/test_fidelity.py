"""Any value that a client sends comes back equal (docs/architecture.md), through HTTP and a real MongoDB.

The default run tries few random entities; HYPOTHESIS_PROFILE=thorough tries many (see tests/integration/profiles.py).
"""

import math
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from broker.local import LocalBroker
from tests.integration.api import ENTITIES, JSON, new_id
from tests.integration.profiles import EXAMPLES
from tests.integration.wire import request

INT64 = st.integers(min_value=-(2**63), max_value=2**63 - 1)
TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["", "\0", "a\0b", "𐍈🚗", "\u2028", "$where", "a.b", "%2E", '\\":', "urn:ngsi-ld:nul"]
)
KEYS = TEXT | st.sampled_from(
    ["type", "value", "object", "@context", "@id", "dataset", ".", "$", "%", "%25", "a.$b", ""]
)
SCALARS = st.none() | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
FILLED = VALUES.filter(lambda value: value is not None)
TIMES = st.sampled_from(
    ["2026-01-31T12:00:00.123456Z", "2026-01-31T12:00:00Z", "1969-12-31T23:59:59.9Z", "9999-12-31T23:59:59.999999Z"]
)
URIS = st.sampled_from(["urn:a:b", "https://example.org/a?b=c&d=%20#e", "urn:ngsi-ld:Ünïcode:🚗"])
NAMES = st.text(alphabet="abcdefghijkXYZ_0123456789é漢", min_size=1, max_size=8).map(
    lambda name: "n" + name
) | st.sampled_from(["https://example.org/a.b/c$d", "urn:x:a.b.c", "n.with.dots", "n$dollar", "n%25", "n-dash"])


TAGS = st.sampled_from(["de", "en-GB", "@none"])


def instances(children: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Normalized attribute instances; `children` gives their sub-attributes."""

    def members(kind: str, **own: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
        plain = st.fixed_dictionaries({"type": st.just(kind), **own}, optional={"observedAt": TIMES})
        return st.builds(lambda instance, more: {**more, **instance}, plain, children)

    return st.one_of(
        members("Property", value=FILLED),
        members("JsonProperty", json=VALUES),
        members("ListProperty", valueList=st.lists(VALUES, max_size=3)),
        members("Relationship", object=URIS | st.lists(URIS, min_size=1, max_size=3)),
        members("ListRelationship", objectList=st.lists(URIS.map(lambda uri: {"object": uri}), max_size=3)),
        members("LanguageProperty", languageMap=st.dictionaries(TAGS, TEXT, min_size=1)),
        members("VocabProperty", vocab=st.sampled_from(["Tower", "https://example.org/tower"])),
        members("GeoProperty", value=st.builds(
            lambda lon, lat: {"type": "Point", "coordinates": [lon, lat]},
            st.floats(-180, 180) | st.integers(-180, 180), st.floats(-90, 90) | st.integers(-90, 90),
        )),
    )  # fmt: skip


ATTRIBUTES = st.dictionaries(
    NAMES, instances(st.dictionaries(NAMES, instances(st.just({})), max_size=2)), min_size=1, max_size=4
)


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal, 1 and 1.0 and True told apart, and -0.0 from 0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return bool(left == right)


def round_trip(port: int, attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a new entity as GET shows them."""
    entity = {"id": new_id(), "type": "T", **attributes}
    created = request(port, "POST", ENTITIES, {"Content-Type": JSON}, orjson.dumps(entity))
    assert created.status == 201, created.body
    answer = request(port, "GET", f"{ENTITIES}/{entity['id']}")
    assert answer.status == 200, answer.body
    shown: dict[str, Any] = answer.json()
    assert (shown.pop("id"), shown.pop("type")) == (entity["id"], "T")
    return shown


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ATTRIBUTES)
@example({"a": {"type": "Property", "value": {"": {"$": {".": 1}, "%2E": 2, "a.$b%": [3]}}}})
@example({"a": {"type": "JsonProperty", "json": {"@context": "urn:x", "type": "Property", "value": None}}})
@example({"a": {"type": "Property", "value": [[], {}, [[{}]], ""]}})
def test_a_random_entity_comes_back_equal(broker_process: LocalBroker, attributes: dict[str, Any]) -> None:
    shown = round_trip(broker_process.settings.port, attributes)
    assert same(shown, attributes), (shown, attributes)


@pytest.mark.parametrize(
    "value",
    [
        2**63 - 1, -(2**63), 2**53 + 1, 0, -1, 1.0, -0.0, 1e308, 5e-324, 0.1 + 0.2, 1e22, True, False,
        "", "\0", "a\0b", "𐍈🚗", "\ufeff", "\uffff", "{\"a\": 1}",
        {"a.b": 1, "$c": 2, "%2E": 3, "": 4, "a\0b": 5, "__proto__": 6, "_id": 7},
        {"type": "Point"}, {"coordinates": [1, 2]}, {"dataset": 5}, {"languageMap": "no"}, [], {}, [[[[]]]],
    ],
)  # fmt: skip
def test_a_notable_value_comes_back_equal(broker_process: LocalBroker, value: Any) -> None:
    attribute = {"type": "Property", "value": value}
    assert same(round_trip(broker_process.settings.port, {"a": attribute}), {"a": attribute})


def test_one_and_one_point_zero_are_told_apart_on_the_wire(broker_process: LocalBroker) -> None:
    port, entity_id = broker_process.settings.port, new_id()
    body = f'{{"id": "{entity_id}", "type": "T", "a": 1, "b": 1.0, "c": -0.0, "d": 1e2}}'.encode()
    assert request(port, "POST", ENTITIES, {"Content-Type": JSON}, body).status == 201
    answer = request(port, "GET", f"{ENTITIES}/{entity_id}?format=simplified")
    assert b'"a":1,"b":1.0,"c":-0.0,"d":100.0' in answer.body


def test_a_string_of_15_megabytes_comes_back_equal(broker_process: LocalBroker) -> None:
    text = "0123456789ab𐍈" * 937_500
    assert len(text.encode()) == 15_000_000
    attribute = {"type": "Property", "value": text}
    assert round_trip(broker_process.settings.port, {"a": attribute})["a"] == attribute


@pytest.mark.parametrize("levels", [20, 70, 140])
def test_deep_nesting_comes_back_equal_or_is_refused_with_the_reason(broker_process: LocalBroker, levels: int) -> None:
    value: Any = 1
    for number in range(levels):
        value = [value] if number % 2 else {"k": value}
    attribute = {"type": "Property", "value": value}
    assert round_trip(broker_process.settings.port, {"a": attribute}) == {"a": attribute}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("9223372036854775808", "BadRequestData"),
        ("-9223372036854775809", "BadRequestData"),
        ("18446744073709551615", "BadRequestData"),
        ("[" * 200 + "]" * 200, "BadRequestData"),
        ("1" * 400, "InvalidRequest"),
        ("1e400", "InvalidRequest"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_not_bent(broker_process: LocalBroker, value: str, kind: str) -> None:
    body = f'{{"id": "{new_id()}", "type": "T", "a": {{"type": "Property", "value": {value}}}}}'.encode()
    answer = request(broker_process.settings.port, "POST", ENTITIES, {"Content-Type": JSON}, body)
    answer.problem(400, kind)


def test_an_entity_that_grows_beyond_a_document_is_refused_and_stays_as_it_was(broker_process: LocalBroker) -> None:
    port = broker_process.settings.port
    entity_id = new_id()
    for name, status in (("a", 201), ("b", 413)):
        body = {"id": entity_id, "type": "T", name: "x" * 9_000_000}
        method, target = ("POST", ENTITIES) if status == 201 else ("PATCH", f"{ENTITIES}/{entity_id}/attrs")
        answer = request(port, method, target, {"Content-Type": JSON}, orjson.dumps(body))
        assert answer.status == status, answer.body
    answer.problem(413, "InvalidRequest")
    assert set(request(port, "GET", f"{ENTITIES}/{entity_id}").json()) == {"id", "type", "a"}
