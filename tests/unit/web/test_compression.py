"""Content codings: bodies are unpacked up to a limit and no further."""

import asyncio
import gzip
import time
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ngsild.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from broker.web.compression import CODINGS, answer_coding, pack, request_coding, unpack

MIB = 1 << 20


@pytest.mark.parametrize(
    ("header", "coding"),
    [("gzip", "gzip"), ("GZIP ", "gzip"), ("x-gzip", "gzip"), ("deflate", "deflate"), ("", None), ("identity", None)],
)
def test_the_coding_of_a_body_is_known(header: str, coding: str | None) -> None:
    assert request_coding(header) == coding


@pytest.mark.parametrize("header", ["br", "zstd", "compress", "gzip, gzip", "gzip,deflate", "nonsense"])
def test_an_unknown_coding_is_refused_with_those_that_are_known(header: str) -> None:
    with pytest.raises(UnsupportedMediaType) as caught:
        request_coding(header)
    assert caught.value.headers == {"Accept-Encoding": "gzip, deflate"}


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("gzip, deflate", "gzip"),
        ("deflate, gzip;q=0.5", "deflate"),
        ("gzip;q=0, deflate", "deflate"),
        ("br, *", "gzip"),
        ("gzip;q=0, *;q=0.1", "deflate"),
        ("GZip", "gzip"),
        ("", None),
        ("br", None),
        ("identity", None),
        ("gzip;q=0", None),
        ("identity, gzip;q=0.5", None),
        ("*;q=0", None),
    ],
)
def test_answers_are_packed_as_the_client_likes_it_best(header: str, coding: str | None) -> None:
    assert answer_coding(header) == coding


@pytest.mark.parametrize("coding", CODINGS)
@given(body=st.binary(min_size=1, max_size=5000), repeated=st.sampled_from([1, 100]))
def test_what_was_packed_is_unpacked_to_the_same(coding: str, body: bytes, repeated: int) -> None:
    text = body * repeated

    async def there_and_back() -> bytes:
        return await unpack(await pack(text, coding), coding, len(text))

    assert asyncio.run(there_and_back()) == text


async def test_deflate_is_read_without_its_header_too_and_gzip_in_several_members() -> None:
    packer = zlib.compressobj(wbits=-15)
    assert await unpack(packer.compress(b"abc") + packer.flush(), "deflate", 10) == b"abc"
    assert await unpack(gzip.compress(b"abc") + gzip.compress(b"def"), "gzip", 10) == b"abcdef"


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_bomb_is_refused_before_it_fills_the_memory(coding: str) -> None:
    bomb = await pack(b"x" * (128 * MIB), coding)
    assert len(bomb) < 4 * MIB
    tracemalloc.start()
    with pytest.raises(PayloadTooLarge, match="unpacked"):
        await unpack(bomb, coding, MIB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MIB


async def test_the_limit_itself_is_allowed_and_one_byte_more_is_not() -> None:
    packed = gzip.compress(b"x" * 1000)
    assert len(await unpack(packed, "gzip", 1000)) == 1000
    with pytest.raises(PayloadTooLarge):
        await unpack(packed, "gzip", 999)
    with pytest.raises(PayloadTooLarge):
        await unpack(gzip.compress(b"x" * 600) * 2, "gzip", 1000)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize(
    "damage", [b"junk", b"\x1f\x8b", b"\x78\x9c\xff\xff", gzip.compress(b"abc" * 50, mtime=0)[:-9]]
)
async def test_a_damaged_body_is_an_invalid_request(coding: str, damage: bytes) -> None:
    with pytest.raises(InvalidRequest):
        await unpack(damage, coding, MIB)


async def test_endless_empty_members_cost_no_time() -> None:
    started = time.process_time()
    with pytest.raises(InvalidRequest, match="follows behind"):
        await unpack(gzip.compress(b"") * 200_000, "gzip", MIB)
    assert time.process_time() - started < 1.0
