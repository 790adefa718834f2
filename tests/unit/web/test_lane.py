"""What the lane takes for a plain request, and how it writes an answer."""

import pytest
from aiohttp import web

from broker.web.lane import Lane, answer_bytes
from broker.web.replies import json_reply, no_content

BODY = b'{"n":1}'
HEAD = (
    b"PATCH /ngsi-ld/v1/entities/urn:e:1/attrs?type=T HTTP/1.1\r\nHost: broker\r\nContent-Type: application/json\r\n"
    b"Content-Length: 7\r\n\r\n"
)


@pytest.fixture
def lane() -> Lane:
    return Lane(longest_target=200)


def test_a_whole_plain_request_is_read_with_its_headers_and_body(lane: Lane) -> None:
    for _ in range(2):  # the second time its head is remembered
        request, missing = lane.read(HEAD + BODY)
        assert request is not None
        assert missing == 0
        assert (request.method, request.raw_path) == ("PATCH", "/ngsi-ld/v1/entities/urn:e:1/attrs?type=T")
        assert (request.headers["content-TYPE"], request.content_length, request.body) == ("application/json", 7, BODY)


def test_a_request_without_a_body_has_no_length(lane: Lane) -> None:
    request, _ = lane.read(b"GET / HTTP/1.1\r\nHost: b\r\nConnection: Keep-Alive\r\n\r\n")
    assert request is not None
    assert (request.content_length, request.body) == (None, b"")


@pytest.mark.parametrize("length", range(len(HEAD), len(HEAD + BODY)))
def test_how_much_of_a_plain_body_is_missing_is_known(lane: Lane, length: int) -> None:
    assert lane.read((HEAD + BODY)[:length]) == (None, len(HEAD + BODY) - length)


@pytest.mark.parametrize("length", range(len(HEAD)))
def test_of_a_head_in_pieces_nothing_is_known(lane: Lane, length: int) -> None:
    assert lane.read(HEAD[:length]) == (None, -1)


@pytest.mark.parametrize(
    "data",
    [
        HEAD + BODY + b" ",
        HEAD + BODY + HEAD + BODY,
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + BODY,
        HEAD.replace(b"PATCH ", b"PATCH  ") + BODY,
        HEAD.replace(b"PATCH", b"patch") + BODY,
        HEAD.replace(b"/ngsi", b"http://broker/ngsi") + BODY,
        HEAD.replace(b"urn:e:1", b"urn:e:\xc3\xa9") + BODY,
        HEAD.replace(b"urn:e:1", b"x" * 300) + BODY,
        HEAD.replace(b"Host: broker\r\n", b"") + BODY,
        HEAD.replace(b"Host: broker", b"Host: a\r\nHost: b") + BODY,
        HEAD.replace(b"Host: broker", b"Host : broker") + BODY,
        HEAD.replace(b"Host: broker", b" Host: broker") + BODY,
        HEAD.replace(b"Host: broker", b"Host: broker\r\n folded") + BODY,
        HEAD.replace(b"Host: broker", b"Host: br\xc3\xb6ker") + BODY,
        HEAD.replace(b"Host: broker", b"Host: bro\x00ker") + BODY,
        HEAD.replace(b"Host: broker\r\n", b"Host: broker\n") + BODY,
        HEAD.replace(b"Length: 7", b"Length: 7\r\nContent-Length: 7") + BODY,
        HEAD.replace(b"Length: 7", b"Length: +7") + BODY,
        HEAD.replace(b"Length: 7", b"Length: 7, 7") + BODY,
        HEAD.replace(b"Length: 7", b"Length: -7") + BODY,
        HEAD.replace(b"Length: 7", b"Length: " + b"7" * 40) + BODY,
        HEAD.replace(b"Content-Length: 7", b"Transfer-Encoding: chunked") + b"7\r\n" + BODY + b"\r\n0\r\n\r\n",
        HEAD.replace(b"Host", b"Transfer-Encoding: identity\r\nHost") + BODY,
        HEAD.replace(b"Host", b"Content-Encoding: gzip\r\nHost") + BODY,
        HEAD.replace(b"Host", b"Connection: close\r\nHost") + BODY,
        HEAD.replace(b"Host", b"Connection: upgrade\r\nUpgrade: websocket\r\nHost") + BODY,
        HEAD.replace(b"Host", b"Expect: 100-continue\r\nHost") + BODY,
        HEAD.replace(b"Host", b"X: y\r\n" * 200 + b"Host") + BODY,
    ],
)
def test_what_is_not_plain_is_left_to_aiohttp(lane: Lane, data: bytes) -> None:
    for _ in range(2):
        assert lane.read(data) == (None, -1)


def test_what_is_remembered_is_bounded(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.web.lane._REMEMBERED", 3)
    for number in range(10):
        assert lane.read(b"GET / HTTP/1.1\r\nHost: b%d\r\n\r\n" % number).request is not None
    assert len(lane._heads) == 3


def test_an_answer_has_its_length_and_its_date() -> None:
    text = answer_bytes(json_reply({"a": 1}, 201))
    head, _, body = text.partition(b"\r\n\r\n")
    assert body == b'{"a":1}'
    assert head.startswith(b"HTTP/1.1 201 Created\r\n")
    assert {b"Content-Type: application/json", b"Content-Length: 7"} <= set(head.split(b"\r\n"))
    assert b"\r\nDate: " in head


def test_to_a_head_request_the_body_is_left_out_but_not_its_length() -> None:
    text = answer_bytes(json_reply({"a": 1}), bodiless=True)
    assert text.endswith(b"\r\n\r\n")
    assert b"\r\nContent-Length: 7\r\n" in text


def test_an_answer_without_content_has_no_length() -> None:
    for response in (no_content(), web.Response(status=204, headers={"Link": "<a>"})):
        text = answer_bytes(response)
        assert text.startswith(b"HTTP/1.1 204 No Content\r\n")
        assert b"ontent-Length" not in text
        assert text.endswith(b"\r\n\r\n")


def test_a_header_with_a_line_break_is_no_answer() -> None:
    with pytest.raises(ValueError, match="line break"):
        answer_bytes(web.Response(status=400, headers={"Link": "<a>\r\nSet-Cookie: b"}))
