"""Requests in one piece and in several, one behind the other: the same answers, in the same order."""

from typing import Any

import orjson
import pytest

from tests.integration.wire import Answer, connected, encode

ENTITY = "/ngsi-ld/v1/entities/urn:ngsi-ld:Lane:1"
PATCH = ("PATCH", ENTITY + "/attrs")
JSON = {"Content-Type": "application/json"}


def patch(value: Any) -> bytes:
    return encode(*PATCH, JSON, orjson.dumps({"n": {"type": "Property", "value": value}}))


GET = encode("GET", ENTITY + "?options=keyValues", {"Accept": "application/json"})
ABSENT = encode("GET", ENTITY + ":absent")


@pytest.fixture(scope="module", autouse=True)
def entity(port: int) -> None:
    body = orjson.dumps({"id": ENTITY.rpartition("/")[2], "type": "Lane", "n": 0})
    with connected(port) as wire:
        wire.send(encode("POST", "/ngsi-ld/v1/entities", JSON, body))
        assert wire.receive().status == 201


def without_date(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    return answer.status, {name: value for name, value in answer.headers.items() if name != "Date"}, answer.body


@pytest.mark.parametrize("sent", [patch(1), GET, ABSENT, encode("DELETE", "/nothing"), encode(*PATCH, {}, b"")])
def test_the_answer_does_not_depend_on_the_pieces(port: int, sent: bytes) -> None:
    with connected(port) as wire:
        wire.send(sent)
        whole = wire.receive()
    for split in range(1, len(sent), max(1, len(sent) // 12)):
        with connected(port) as wire:
            wire.send(sent[:split])
            wire.send(sent[split:])
            assert without_date(wire.receive()) == without_date(whole)


def test_requests_behind_one_another_are_answered_in_their_order(port: int) -> None:
    requests = b"".join(patch(value) + GET for value in range(20))
    for size in (len(requests), len(patch(0)), 37):
        with connected(port) as wire:
            for start in range(0, len(requests), size):
                wire.send(requests[start : start + size])
            answers = [wire.receive() for _ in range(40)]
        assert [answer.status for answer in answers] == [204, 200] * 20
        assert [answer.json()["n"] for answer in answers[1::2]] == list(range(20))


def test_a_connection_serves_plain_requests_and_others_in_turn(port: int) -> None:
    large = encode(*PATCH, JSON, orjson.dumps({"n": "x" * 2_000_000}))
    chunked = encode(*PATCH, {**JSON, "Transfer-Encoding": "chunked"}) + b'7\r\n{"n":4}\r\n0\r\n\r\n'
    old = GET.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Accept", b"Connection: keep-alive\r\nAccept")
    steps = ((patch(1), 204), (large, 204), (patch(2), 204), (GET, 200), (ABSENT, 404), (patch(3), 204), (old, 200))
    with connected(port) as wire:
        for data, status in (*steps, (patch(5), 204), (GET, 200)):
            wire.send(data)
            answer = wire.receive()
            assert answer.status == status
        assert answer.json()["n"] == 5
        wire.send(chunked)
        assert wire.receive().status == 411


def test_what_looks_like_a_request_inside_of_another_is_none(port: int) -> None:
    hidden = encode("DELETE", ENTITY)
    with connected(port) as wire:
        wire.send(b"GET /version HTTP/1.1\r\nHost: broker\r\nX-Hidden: ")
        wire.send(hidden)
        assert wire.receive().status in (200, 400)
    with connected(port) as wire:
        framed = encode(*PATCH, JSON, b'{"n":"' + hidden.replace(b"\r\n", b"--") + b'"}')
        inside = framed.index(b"DELETE")
        wire.send(framed[:inside])
        wire.send(framed[inside:])
        assert wire.receive().status == 204
        wire.send(GET)
        assert wire.receive().json()["n"].startswith("DELETE")


def test_a_head_request_has_no_body(port: int) -> None:
    with connected(port) as wire:
        wire.send(encode("HEAD", ENTITY))
        head = wire.receive("HEAD")
        wire.send(GET)
        assert wire.receive().status == 200
    assert int(head.headers["Content-Length"]) > 0


def test_a_client_that_leaves_at_once_does_no_harm(port: int, steady: None) -> None:
    for value in range(20):
        with connected(port) as wire:
            wire.send(patch(value) + GET)
    with connected(port) as wire:
        wire.send(GET)
        assert wire.receive().status == 200
