"""Any value that a client sends comes back equal (docs/architecture.md), through HTTP and a real MongoDB.

Random entities go through every write endpoint and are read in every representation. The default run tries few of them;
HYPOTHESIS_PROFILE=thorough tries many (see tests/integration/profiles.py).
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.local import LocalBroker
from tests.integration.api import ENTITIES, JSON, JSON_LD, new_id
from tests.integration.profiles import EXAMPLES
from tests.integration.wire import request
from tests.integration.writing import OF_ONE_ATTRIBUTE, TERMS, TERMS_URL, WAYS, Client, clients, path_of
from tests.representations import (
    CONCISE,
    NORMALIZED,
    SIMPLIFIED,
    Document,
    attributes_of,
    exactly,
    shown,
    without_timestamps,
)
from tests.unit.ngsild.strategies import entities, spelled, spelled_attribute

PER_WAY = max(EXAMPLES // 4, 10)
"""Random entities for each write endpoint."""

ODD_ENDINGS = st.sampled_from(["", "", "/a?b=c&d#e", "%2F%", ".$", "..", "/./x", "Ünï🚗"])


@pytest.fixture(scope="module")
def broker_settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The @context of the tests stands in a folder, as at a site without internet."""
    folder: Path = tmp_path_factory.mktemp("contexts")
    (folder / "index.json").write_text(json.dumps({TERMS_URL: "terms.jsonld"}))
    (folder / "terms.jsonld").write_text(json.dumps({"@context": TERMS}))
    return {"contexts_dir": folder}


def assert_comes_back(client: Client, entity: Document) -> None:
    """Assert that every representation of the stored entity is as the clauses say."""
    path = path_of(entity)
    for form in (NORMALIZED, CONCISE, SIMPLIFIED):
        expected = exactly(shown(entity, form))
        assert exactly(client.get(f"{path}?format={form}")) == expected
        assert exactly(client.get(f"{path}?format={form}", JSON_LD)) == expected
        with_system = without_timestamps(client.get(f"{path}?format={form}&options=sysAttrs"), form)
        assert exactly(with_system) == exactly(shown(entity, form, system=True))
    listed = client.get(f"{ENTITIES}?id={quote(entity['id'], safe='')}&local=true")
    assert exactly(listed) == [exactly(shown(entity, NORMALIZED))]


@pytest.mark.parametrize("way", WAYS)
@settings(
    max_examples=PER_WAY,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(document=entities(), ending=ODD_ENDINGS, data=st.data())
def test_a_random_entity_comes_back_equal_whichever_way_it_was_written(
    broker_process: LocalBroker, way: str, document: Document, ending: str, data: st.DataObject
) -> None:
    client = data.draw(st.sampled_from(clients(broker_process.settings.port)))
    entity = {**document, "id": new_id() + ending}
    if way in OF_ONE_ATTRIBUTE:
        spelling = {name: data.draw(spelled_attribute(raw, alone=False)) for name, raw in attributes_of(entity).items()}
    else:
        spelling = data.draw(spelled(entity))
    WAYS[way](client, entity, spelling)
    assert_comes_back(client, entity)


def round_trip(port: int, attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a new entity as GET shows them."""
    entity = {"id": new_id(), "type": "T", **attributes}
    created = request(port, "POST", ENTITIES, {"Content-Type": JSON}, orjson.dumps(entity))
    assert created.status == 201, created.body
    answer = request(port, "GET", f"{ENTITIES}/{entity['id']}")
    assert answer.status == 200, answer.body
    shown_entity: dict[str, Any] = answer.json()
    assert (shown_entity.pop("id"), shown_entity.pop("type")) == (entity["id"], "T")
    return shown_entity


@pytest.mark.parametrize(
    "attribute",
    [
        {"type": "Property", "value": {"": {"$": {".": 1}, "%2E": 2, "a.$b%": [3]}}},
        {"type": "JsonProperty", "json": {"@context": "urn:x", "type": "Property", "value": None}},
        {"type": "JsonProperty", "json": {"name": {"@id": "x"}, "ex:d": "https://ex.example/$ns.1#d"}},
        {"type": "Property", "value": [[], {}, [[{}]], ""]},
        {"type": "ListProperty", "valueList": [[], {"object": 1}, None]},
    ],
)
def test_a_notable_attribute_comes_back_equal(broker_process: LocalBroker, attribute: dict[str, Any]) -> None:
    assert exactly(round_trip(broker_process.settings.port, {"a": attribute})) == exactly({"a": attribute})


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
    assert exactly(round_trip(broker_process.settings.port, {"a": attribute})) == exactly({"a": attribute})


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
