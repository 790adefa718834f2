"""The HTTP binding (clause 6.3): packed bodies and answers, preferences, ids of all kinds in paths, identity."""

import gzip
import json
import re
import socket
import zlib
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from broker.ngsild.names import is_uri
from tests.conftest import RunningBroker
from tests.integration.api import BATCH, ENTITIES, JSON, JSON_LD, SUBSCRIPTIONS, V1, create, link, new_id, new_type
from tests.integration.wire import Answer, encode, exchange, request
from tests.problems import assert_problem

BROKER_SETTINGS = {
    "compress_bytes": 2048, "max_body_bytes": 64 * 1024, "source_alias": "city-1", "cors_origins": ("*",),
    "cors_exposed_headers": ("Link", "X-Own"),
}  # fmt: skip
MERGE_PATCH = "application/merge-patch+json"
CONTEXT = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.6.jsonld"
ANY_ID = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60).map("urn:x:{}".format).filter(is_uri)


@pytest.fixture
def port(broker_process: Any) -> int:
    number: int = broker_process.settings.port
    return number


# Packed bodies


@pytest.mark.parametrize("coding", ["gzip", "deflate", "GZIP"])
def test_packed_bodies_are_read(port: int, coding: str) -> None:
    entity_id = new_id()
    pack = zlib.compress if coding == "deflate" else gzip.compress
    body = pack(json.dumps({"id": entity_id, "type": "T", "a": "x" * 20_000}).encode())
    headers = {"Content-Type": JSON, "Content-Encoding": coding}
    assert request(port, "POST", ENTITIES, headers, body).status == 201
    assert len(request(port, "GET", f"{ENTITIES}/{entity_id}?format=simplified").json()["a"]) == 20_000


def test_a_bomb_is_413_and_the_broker_stays(port: int) -> None:
    bomb = gzip.compress(b'{"id":"urn:a:1","type":"T","a":"' + b"x" * (48 << 20) + b'"}', 9)
    assert len(bomb) < 64 * 1024
    headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
    for _ in range(3):
        request(port, "POST", ENTITIES, headers, bomb).problem(413, "InvalidRequest")
    assert request(port, "GET", "/health/ready").status == 200


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "nonsense"])
def test_an_unknown_coding_is_a_bare_415(port: int, coding: str) -> None:
    headers = {"Content-Type": JSON, "Content-Encoding": coding}
    answer = request(port, "POST", ENTITIES, headers, b'{"id":"urn:a:1","type":"T"}')
    assert (answer.status, answer.body, answer.headers["Accept-Encoding"]) == (415, b"", "gzip, deflate")


@pytest.mark.parametrize(
    "body", [b"junk", gzip.compress(b'{"id":"urn:a:1"}', mtime=0)[:-4], gzip.compress(b"", mtime=0)]
)
def test_a_damaged_body_is_an_invalid_request(port: int, body: bytes) -> None:
    headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
    request(port, "POST", ENTITIES, headers, body).problem(400, "InvalidRequest")


def test_a_body_beyond_the_limit_is_refused_before_it_comes(port: int) -> None:
    head = f"POST {ENTITIES} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"
    answer = exchange(port, head.encode())
    assert answer is not None
    answer.problem(413, "InvalidRequest")


def test_a_body_in_pieces_and_one_that_waits_for_100_are_read(port: int) -> None:
    body = json.dumps({"id": new_id(), "type": "T", "a": "x" * 50_000}).encode()
    assert request(port, "POST", ENTITIES, {"Content-Type": JSON}, body).status == 201
    headers = {"Content-Type": JSON, "Transfer-Encoding": "chunked"}
    answer = request(port, "POST", ENTITIES, headers, b"2\r\n{}\r\n0\r\n\r\n")
    assert (answer.status, answer.body) == (411, b"")  # 6.3.4


# Packed answers


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("gzip", "gzip"), ("deflate", "deflate"), ("br, gzip;q=0.5", "gzip"), ("gzip;q=0", None), (None, None)],
)
def test_large_answers_are_packed_as_the_client_accepts(port: int, accepted: str | None, coding: str | None) -> None:
    entity_id = new_id()
    body = json.dumps({"id": entity_id, "type": "T", "a": "x" * 5000}).encode()
    assert request(port, "POST", ENTITIES, {"Content-Type": JSON}, body).status == 201
    headers = {"Accept-Encoding": accepted} if accepted else {}
    answer = request(port, "GET", f"{ENTITIES}/{entity_id}", headers)
    assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == (coding, "Accept-Encoding")
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    assert (len(answer.body) < 1000) is (coding is not None)
    assert json.loads(_unpacked(answer))["id"] == entity_id
    head = request(port, "HEAD", f"{ENTITIES}/{entity_id}", headers)
    assert head.headers["Content-Length"] == answer.headers["Content-Length"]


def test_small_answers_are_never_packed(port: int) -> None:
    entity_id = new_id()
    body = json.dumps({"id": entity_id, "type": "T", "a": "x" * 1500}).encode()
    assert request(port, "POST", ENTITIES, {"Content-Type": JSON}, body).status == 201
    answer = request(port, "GET", f"{ENTITIES}/{entity_id}", {"Accept-Encoding": "gzip"})
    assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == (None, None)


def _unpacked(answer: Answer) -> bytes:
    if answer.headers["Content-Encoding"] == "gzip":
        return gzip.decompress(answer.body)
    return zlib.decompress(answer.body) if answer.headers["Content-Encoding"] else answer.body


# Heads


def test_an_answer_without_content_says_so_and_no_more(port: int) -> None:
    entity_id = new_id()
    body = json.dumps({"id": entity_id, "type": "T", "a": 1}).encode()
    assert request(port, "POST", ENTITIES, {"Content-Type": JSON}, body).status == 201
    target, json_headers, update = f"{ENTITIES}/{entity_id}/attrs", {"Content-Type": JSON}, b'{"a":2}'
    answer = request(port, "PATCH", target, json_headers, update)
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (204, b"", None)  # 6.3.6
    assert answer.headers["Server"] == "Vela"
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.headers["Date"])
    for headers in ({"Connection": "close"}, {"Origin": "https://a.example"}):
        again = request(port, "PATCH", target, {**json_headers, **headers}, update)
        assert (again.status, again.headers["Server"]) == (204, "Vela")
    assert again.headers["Access-Control-Expose-Headers"] == "Link, X-Own"
    head = f"PATCH {target} HTTP/1.0\r\nContent-Type: {JSON}\r\nContent-Length: {len(update)}\r\n\r\n"
    old = exchange(port, head.encode() + update)
    assert old is not None
    assert old.status == 204


def test_requests_sent_at_once_are_answered_one_by_one(port: int) -> None:
    entity_id = new_id()
    body = json.dumps({"id": entity_id, "type": "T", "a": 0}).encode()
    assert request(port, "POST", ENTITIES, {"Content-Type": JSON}, body).status == 201
    updates = [("PATCH", f"{ENTITIES}/{entity_id}/attrs", {"Content-Type": JSON}, b'{"a":%d}' % n) for n in (1, 2, 3)]
    reading = ("GET", f"{ENTITIES}/{entity_id}?format=simplified", {"Connection": "close"}, None)
    with socket.create_connection(("127.0.0.1", port), 15) as connection:
        connection.sendall(b"".join(encode(*one) for one in [*updates, reading]))
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert re.findall(rb"HTTP/1\.1 (\d+)", received) == [b"204", b"204", b"204", b"200"]
    assert json.loads(received.rpartition(b"\r\n\r\n")[2])["a"] == 3


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [("GET", "/health/live", 200), ("GET", f"{ENTITIES}/urn:a:none", 404), ("GET", "/nothing", 404), ("PUT", V1, 404)],
)
def test_the_server_header_tells_no_versions(port: int, method: str, target: str, status: int) -> None:
    answer = request(port, method, target)
    assert (answer.status, answer.headers["Server"]) == (status, "Vela")


async def test_merge_patches_are_read_where_6_3_4_allows_them(broker: RunningBroker) -> None:
    entity_id = await create(broker, {"a": 1})
    headers = {"Content-Type": MERGE_PATCH}
    for method, path, status in (
        ("PATCH", f"{ENTITIES}/{entity_id}/attrs", 204),
        ("POST", f"{ENTITIES}/{entity_id}/attrs", 204),
        ("POST", ENTITIES, 415),
        ("PUT", f"{ENTITIES}/{entity_id}", 415),
        ("POST", f"{BATCH}/update", 415),
    ):
        async with broker.client.request(method, path, data=b'{"a":2}', headers=headers) as response:
            assert response.status == status, (method, path)


async def test_a_batch_as_json_ld_with_a_link_header_is_refused_whole(broker: RunningBroker) -> None:
    body = json.dumps([{"id": new_id(), "type": "T"}])
    headers = {"Content-Type": JSON_LD, **link(CONTEXT)}
    async with broker.client.post(f"{BATCH}/create", data=body, headers=headers) as response:
        await assert_problem(response, 400, "BadRequestData")  # 6.3.5


async def test_two_tenants_in_one_request_are_refused(broker: RunningBroker) -> None:
    answer = request(
        broker.settings.port, "GET", f"{ENTITIES}?type=T", [("NGSILD-Tenant", "a"), ("NGSILD-Tenant", "b")]
    )
    answer.problem(400, "BadRequestData")


@pytest.mark.parametrize("path", [f"{ENTITIES}?type=T", f"{ENTITIES}/urn:a:1", SUBSCRIPTIONS])
def test_a_tenant_that_is_no_utf_8_is_refused(port: int, path: str) -> None:
    request(port, "GET", path, {"NGSILD-Tenant": "\udcff\udcfe"}).problem(400, "BadRequestData")


async def test_a_snapshot_is_not_mistaken_for_the_present(broker: RunningBroker) -> None:
    headers = {"NGSILD-Snapshot": "urn:s:1"}
    async with broker.client.get(f"{ENTITIES}?type=T", headers=headers) as response:
        await assert_problem(response, 404, "ResourceNotFound")


@pytest.mark.parametrize("query", ["type=%ff", "type=T&id=%c3%28", "type=T&\udcff=1"])
def test_parameters_that_are_no_utf_8_are_refused(port: int, query: str) -> None:
    request(port, "GET", f"{ENTITIES}?{query}").problem(400, "InvalidRequest")


# Preferences


async def test_an_entity_is_shown_in_the_version_that_the_client_prefers(broker: RunningBroker) -> None:
    kind = new_type()
    entity_id = await create(broker, {"a": {"type": "VocabProperty", "vocab": "x"}}, type=kind)
    for path in (f"{ENTITIES}/{entity_id}", f"{ENTITIES}?type={kind}"):
        for prefer, status, shown, applied in (
            ("ngsi-ld=1.5", 203, {"type": "Property", "value": "x"}, "ngsi-ld=1.5"),
            ("ngsi-ld=1.8", 200, {"type": "VocabProperty", "vocab": "x"}, "ngsi-ld=1.8"),
            ("ngsi-ld=7.0", 200, {"type": "VocabProperty", "vocab": "x"}, "ngsi-ld=1.9"),
            ("respond-async", 200, {"type": "VocabProperty", "vocab": "x"}, None),
        ):
            async with broker.client.get(path, headers={"Prefer": prefer}) as response:
                body = await response.json()
                assert response.status == status, prefer
                assert (body[0] if isinstance(body, list) else body)["a"] == shown
                assert response.headers.get("Preference-Applied") == applied
    async with broker.client.get(SUBSCRIPTIONS, headers={"Prefer": "ngsi-ld=1.0"}) as response:
        assert (response.status, response.headers["Preference-Applied"]) == (200, "ngsi-ld=1.0")
    async with broker.client.get(f"{ENTITIES}/{new_id()}", headers={"Prefer": "ngsi-ld=1.0"}) as response:
        await assert_problem(response, 404, "ResourceNotFound")
        assert "Preference-Applied" not in response.headers


# Ids and names in paths


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANY_ID)
@example("http://example.org/a/../b/./c?d=e&f#g")
@example("urn:x:%2F%2e%2e/..")
@example("urn:x:ü+💚;=&,:@!$'()*[]~")
@example("urn:x:" + "ü" * 2000)
def test_the_location_of_any_id_leads_to_its_entity(port: int, entity_id: str) -> None:
    body = json.dumps({"id": entity_id, "type": "T", "a": 1}).encode()
    made = request(port, "POST", ENTITIES, {"Content-Type": JSON}, body)
    if made.status == 409:  # an earlier example
        return
    assert made.status == 201, made.body
    location = made.headers["Location"]
    assert re.fullmatch(r"/ngsi-ld/v1/entities/[A-Za-z0-9._~%:\-]+", location)
    assert request(port, "GET", location).json()["id"] == entity_id
    assert request(port, "PATCH", f"{location}/attrs", {"Content-Type": JSON}, b'{"a":2}').status == 204
    assert request(port, "DELETE", location).status == 204


@pytest.mark.parametrize(
    "name", ["http://example.org/a/b?c#d", "urn:x:%2F..", "https://example.org/ü/%20/..", "urn:a.b$c"]
)
async def test_attributes_are_named_by_encoded_iris(broker: RunningBroker, name: str) -> None:
    entity_id = await create(broker, {name: 1})
    target = f"{ENTITIES}/{entity_id}/attrs/{quote(name, safe='')}"
    port = broker.settings.port
    assert request(port, "PATCH", target, {"Content-Type": JSON}, b'{"value":2}').status == 204
    shown = request(port, "GET", f"{ENTITIES}/{entity_id}?format=simplified").json()
    assert shown == {"id": entity_id, "type": "Thing", name: 2}
    assert request(port, "DELETE", target).status == 204
    assert request(port, "DELETE", target).status == 404


# Identity


async def test_the_source_tells_who_it_is(broker: RunningBroker) -> None:
    async with broker.client.get(f"{V1}/info/sourceIdentity", headers={"Accept": JSON_LD}) as response:
        body = await response.json(content_type=None)
    assert response.headers["Content-Type"] == JSON_LD
    assert set(body) == {
        *("@context", "id", "type", "contextSourceAlias", "contextSourceUptime", "contextSourceTimeAt"),
        "contextSourceExtras",
    }
    assert body["contextSourceAlias"] == "city-1"
    async with broker.client.get(f"{V1}/info/sourceIdentity", headers={"NGSILD-Tenant": "no:such"}) as response:
        assert (await response.json())["contextSourceAlias"] == "city-1~no%3Asuch"
        assert response.headers["NGSILD-Tenant"] == "no:such"


async def test_a_made_up_alias_is_the_same_for_all_brokers_on_one_database(start_broker: Any) -> None:
    one = start_broker()
    other = start_broker(database=one.settings.database)
    aliases = {
        request(broker.settings.port, "GET", f"{V1}/info/sourceIdentity").json()["contextSourceAlias"]
        for broker in (one, other)
    }
    assert len(aliases) == 1
    assert re.fullmatch(r"vela-[0-9a-f]{16}", aliases.pop())
