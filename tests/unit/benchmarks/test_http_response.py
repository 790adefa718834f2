import pytest

from benchmarks.http_response import ResponseParser

NO_CONTENT = b"HTTP/1.1 204 No Content\r\nDate: Fri, 21 Nov 2025 18:00:00 GMT\r\nServer: test\r\n\r\n"
WITH_LENGTH = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{"id":"urn:a"}'
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4\r\n[\r\n\r\r\nB;extension=1\r\n0123456789]\r\n0\r\nTrailer: yes\r\n\r\n"
)
EMPTY_CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
CREATED = b"HTTP/1.1 201 Created\r\nLocation: /ngsi-ld/v1/entities/urn:a\r\ncontent-length:0\r\n\r\n"
REFUSED = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 2\r\nRetry-After: 1\r\n\r\n{}"
AFTER_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n" + NO_CONTENT

RESPONSES = [
    (NO_CONTENT, 204),
    (WITH_LENGTH, 200),
    (CHUNKED, 200),
    (EMPTY_CHUNKED, 200),
    (CREATED, 201),
    (REFUSED, 503),
    (AFTER_CONTINUE, 204),
]


@pytest.mark.parametrize(("response", "status"), RESPONSES)
def test_a_response_that_arrives_at_once_is_complete(response: bytes, status: int) -> None:
    assert ResponseParser().feed(response) == status


@pytest.mark.parametrize(("response", "status"), RESPONSES)
def test_a_response_is_complete_with_its_last_byte_and_not_before(response: bytes, status: int) -> None:
    parser = ResponseParser()
    answers = [parser.feed(response[n : n + 1]) for n in range(len(response))]
    assert answers == [0] * (len(response) - 1) + [status]


@pytest.mark.parametrize(("response", "status"), RESPONSES)
def test_a_response_cut_anywhere_is_read_all_the_same(response: bytes, status: int) -> None:
    for cut in range(1, len(response)):
        parser = ResponseParser()
        assert (parser.feed(response[:cut]), parser.feed(response[cut:])) == (0, status)


def test_one_parser_reads_one_response_after_the_other() -> None:
    parser = ResponseParser()
    assert [parser.feed(response) for response, _ in RESPONSES * 2] == [status for _, status in RESPONSES * 2]


@pytest.mark.parametrize(("status", "length"), [(b"204 No Content", b""), (b"200 OK", b"Content-Length: 0\r\n")])
def test_an_announced_end_of_the_connection_is_seen(status: bytes, length: bytes) -> None:
    parser = ResponseParser()
    parser.feed(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\n" + length + b"\r\n")
    assert parser.closing
    parser.feed(NO_CONTENT)
    assert not parser.closing


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        NO_CONTENT + b"HTTP/1.1 204 No Content\r\n\r\n",
        WITH_LENGTH + b"more",
        EMPTY_CHUNKED + b"more",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nno length",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot hexadecimal\r\n",
    ],
)
def test_what_is_no_single_response_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        ResponseParser().feed(data)
