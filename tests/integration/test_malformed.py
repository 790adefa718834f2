"""Bodies at the edge of JSON, and HTTP that is none: every answer blames the request, and the broker stays up."""

import json
import re
import socket
import zlib

import pytest

from tests.integration.api import BATCH, ENTITIES, JSON, JSON_LD, SUBSCRIPTIONS
from tests.integration.soundness import assert_sound
from tests.integration.wire import encode, exchange, request

BROKER_SETTINGS = {"context_timeout": 1.0}
pytestmark = pytest.mark.usefixtures("steady")

GET = b"GET /version HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /ngsi-ld/v1/entities HTTP/1.1\r\nHost: a\r\n"
POST_JSON = POST + b"Content-Type: application/json\r\n"


@pytest.mark.parametrize("target", [ENTITIES, SUBSCRIPTIONS, f"{BATCH}/upsert", f"{BATCH}/delete"])
@pytest.mark.parametrize("content_type", [JSON, JSON_LD])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 10_000 + b"]" * 10_000, id="arrays nested 10,000 deep"),
        pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, id="objects nested 10,000 deep"),
        pytest.param(b'{"id":"urn:a:1","type":"T","a":' + b"[" * 900 + b"]" * 900 + b"}", id="nested 900 deep"),
        pytest.param(b'{"@context":' + b"[" * 500 + b"]" * 500 + b',"id":"urn:a:1","type":"T"}', id="a deep @context"),
        pytest.param(b'[{"id":"urn:a:1","type":"T"' + b',"a":1' * 2 + b"}]", id="a repeated key"),
        pytest.param(b'{"id":"urn:a:1","type":"T", "x" :1, "x" :2}', id="a repeated key beside spaces"),
        pytest.param(b'{"id":"urn:a:1","type":"T","a":{"\\u0061":1,"a":2}}', id="a key repeated by an escape"),
        pytest.param(b'{"id":"urn:a:1","type":"T","a":NaN}', id="NaN"),
        pytest.param(b'{"id":"urn:a:1","type":"T","a":-Infinity}', id="Infinity"),
        pytest.param(b'{"id":"urn:a:1","type":"T","a":1e999}', id="a huge float"),
        pytest.param(b'{"id":"urn:a:1","type":"T","a":' + b"9" * 100_000 + b"}", id="a huge integer"),
        pytest.param(b'{"id":"urn:a:1","type":"T","a":"\\ud800"}', id="a lone surrogate"),
        pytest.param(b'{"id":"urn:a:1","type":"T","a":"\xed\xa0\x80"}', id="a lone surrogate as bytes"),
        pytest.param(b'{"id":"urn:a:1","type":"T","a":"\xff"}', id="invalid UTF-8"),
        pytest.param(b'\xef\xbb\xbf{"id":"urn:a:1","type":"T"}', id="a byte order mark"),
        pytest.param('{"id":"urn:a:1","type":"T"}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'{"id":"urn:a:1\\u0000","type":"T"}', id="NUL in the id"),
        pytest.param(b'{"id":"urn:a:1","type":"T\\u0000"}', id="NUL in the type"),
        pytest.param(b'{"id":"urn:a:1","type":"T","a\\u0000b":1}', id="NUL in a name"),
        pytest.param(b"\0" * 1000, id="nothing but NUL"),
        pytest.param(b"", id="an empty body"),
        pytest.param(b" ", id="a space"),
        pytest.param(b'{"id":"urn:a:1","type":"T"', id="an unfinished object"),
    ],
)
def test_bodies_at_the_edge_of_json_are_refused(port: int, target: str, content_type: str, body: bytes) -> None:
    answer = request(port, "POST", target, {"Content-Type": content_type}, body)
    assert_sound(answer)
    assert 400 <= answer.status < 500 or answer.status == 207


def test_nul_in_keys_and_values_inside_an_attribute_is_kept(port: int) -> None:
    body = b'{"id":"urn:nul:1","type":"T","a":{"type":"Property","value":{"\\u0000":"\\u0000"}}}'
    assert request(port, "POST", ENTITIES, {"Content-Type": JSON}, body).status == 201
    assert request(port, "GET", f"{ENTITIES}/urn:nul:1").json()["a"]["value"] == {"\0": "\0"}


@pytest.mark.parametrize("target", [ENTITIES, SUBSCRIPTIONS, f"{BATCH}/create"])
def test_a_body_of_20_megabytes_is_413_and_the_next_request_is_served(port: int, target: str) -> None:
    body = b'{"id":"urn:a:1","type":"T","a":"' + b"x" * (20 << 20) + b'"}'
    request(port, "POST", target, {"Content-Type": JSON}, body).problem(413, "InvalidRequest")
    assert request(port, "GET", "/health/ready").status == 200


def test_a_small_body_that_unpacks_to_a_huge_one_is_refused(port: int) -> None:
    packer = zlib.compressobj(wbits=31)
    bomb = packer.compress(b'"' + b"x" * (64 << 20) + b'"') + packer.flush()
    answer = request(port, "POST", ENTITIES, {"Content-Type": JSON, "Content-Encoding": "gzip"}, bomb)
    assert_sound(answer)
    assert answer.status in (400, 413, 415)


def test_a_body_packed_with_gzip_is_read(port: int) -> None:
    packer = zlib.compressobj(wbits=31)
    body = packer.compress(b'{"id":"urn:gzip:1","type":"T"}') + packer.flush()
    answer = request(port, "POST", ENTITIES, {"Content-Type": JSON, "Content-Encoding": "gzip"}, body)
    assert answer.status == 201, answer.body


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET\r\n\r\n", id="no target"),
        pytest.param(b"GET /version\r\n\r\n", id="no version"),
        pytest.param(b"GET /version HTTP/9.9\r\nHost: a\r\n\r\n", id="a version to come"),
        pytest.param(b"GET /version JUNK/1.1\r\nHost: a\r\n\r\n", id="another protocol"),
        pytest.param(b"G=T /version HTTP/1.1\r\nHost: a\r\n\r\n", id="a bad method"),
        pytest.param(b"GET /ver sion HTTP/1.1\r\nHost: a\r\n\r\n", id="a space in the target"),
        pytest.param(b"GET /\x00\x01 HTTP/1.1\r\nHost: a\r\n\r\n", id="control characters in the target"),
        pytest.param(b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n", id="raw bytes in the target"),
        pytest.param(b"GET " + b"/x" * 50_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", id="an endless target"),
        pytest.param(b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", id="an asterisk"),
        pytest.param(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", id="options of everything"),
        pytest.param(b"GET http://a:b:c/ HTTP/1.1\r\nHost: a\r\n\r\n", id="a bad absolute target"),
        pytest.param(b"GET http://[::1/x HTTP/1.1\r\nHost: a\r\n\r\n", id="a bad address"),
        pytest.param(b"GET //x/y HTTP/1.1\r\nHost: a\r\n\r\n", id="a target that looks like a host"),
        pytest.param(b"GET ?type=T HTTP/1.1\r\nHost: a\r\n\r\n", id="a target without a path"),
        pytest.param(b"GET /ngsi-ld/v1/entities#x?type=T HTTP/1.1\r\nHost: a\r\n\r\n", id="a fragment"),
        pytest.param(b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", id="a tunnel"),
        pytest.param(GET + b"no colon\r\n\r\n", id="a header without a colon"),
        pytest.param(GET + b": x\r\n\r\n", id="a header without a name"),
        pytest.param(GET + b"X Y: x\r\n\r\n", id="a space in a header name"),
        pytest.param(GET + b"X: a\x00b\r\n\r\n", id="NUL in a header"),
        pytest.param(GET + b"X: " + b"y" * 100_000 + b"\r\n\r\n", id="a huge header"),
        pytest.param(GET + b"" + b"X: y\r\n" * 5_000 + b"\r\n", id="too many headers"),
        pytest.param(GET + b"Host: b\r\n\r\n", id="two hosts"),
        pytest.param(b"GET /version HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(GET + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n", id="an upgrade"),
        pytest.param(POST + b"Content-Length: x\r\n\r\n", id="a length that is no number"),
        pytest.param(POST + b"Content-Length: -5\r\n\r\n", id="a negative length"),
        pytest.param(POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", id="two lengths"),
        pytest.param(POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", id="length and chunks"),
        pytest.param(POST + b"Transfer-Encoding: junk\r\n\r\n", id="an unknown transfer"),
        pytest.param(POST_JSON + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", id="a bad chunk"),
        pytest.param(POST_JSON + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n{}", id="an absurd length"),
        pytest.param(POST_JSON + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\njunk", id="junk for gzip"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 60, id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"\xff" * 2000, id="bytes"),
    ],
)  # fmt: skip
def test_malformed_http_is_answered_like_all_errors(port: int, data: bytes) -> None:
    answer = exchange(port, data)
    assert answer is not None
    assert_sound(answer, "CONNECT" if data.startswith(b"CONNECT") else "GET")
    assert request(port, "GET", "/health/ready").status == 200


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(POST + b'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"id":', id="half a body"),
        pytest.param(GET + b"X", id="half a head"),
        pytest.param(b"GE", id="half a method"),
        pytest.param(b"\r\n\r\n", id="empty lines"),
    ],
)
def test_half_a_request_is_waited_for_and_holds_up_nobody(port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as waiting:
        waiting.sendall(data)
        assert request(port, "GET", "/health/ready").status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"JUNK\r\n\r\n",
        GET + b"no colon\r\n\r\n",
        GET + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
        POST + b"Content-Length: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_an_invalid_request(port: int, data: bytes) -> None:
    answer = exchange(port, data)
    assert answer is not None
    answer.problem(400, "InvalidRequest")


def test_a_client_that_goes_away_in_the_middle_disturbs_nobody(port: int) -> None:
    whole = encode("POST", ENTITIES, {"Content-Type": JSON}, json.dumps({"id": "urn:gone:1", "type": "T"}).encode())
    for length in range(1, len(whole), 7):
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(whole[:length])
    assert request(port, "GET", "/health/ready").status == 200


def test_several_requests_sent_at_once_on_one_connection_are_answered_in_order(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(encode("GET", f"{ENTITIES}/no-uri") + encode("GET", "/version") + encode("GET", "/nothing"))
        received = b""
        while received.count(b"HTTP/1.1 ") < 3:
            received += connection.recv(65536)
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"400", b"200", b"404"]
