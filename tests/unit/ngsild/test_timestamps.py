"""DateTimes of clause 4.6.3."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ngsild.errors import BadRequestData
from broker.ngsild.timestamps import microseconds, now_text, parse_timestamp, read_timestamp, sortable


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00.1Z",
        "2026-01-31T12:00:00.123456Z",
        "2024-02-29T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
    ],
)
def test_a_date_time_in_utc_stays_the_text_it_is(text: str) -> None:
    assert parse_timestamp(text) == text
    assert read_timestamp(text) == text


def test_a_decimal_comma_becomes_a_point() -> None:
    assert parse_timestamp("2026-01-31T12:00:00,25Z") == "2026-01-31T12:00:00.25Z"


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31",
        "12:00:00Z",
        "2026-01-31T12:00Z",
        "2026-01-31T12:00:00",
        "2026-01-31T12:00:00+01:00",
        "2026-01-31T12:00:00+00:00",
        "2026-01-31 12:00:00Z",
        "2026-01-31t12:00:00z",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00.1234567Z",
        "2026-01-31T12:00:00Z\n",
        " 2026-01-31T12:00:00Z",
        "2026-02-29T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:60:00Z",
        "2026-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "٢٠٢٦-01-31T12:00:00Z",
        "20260131T120000Z",
        "",
        None,
        True,
        20260131,
        ["2026-01-31T12:00:00Z"],
        {"@value": "2026-01-31T12:00:00Z"},
    ],
)
def test_anything_else_is_refused_with_its_place(text: object) -> None:
    with pytest.raises(BadRequestData) as caught:
        parse_timestamp(text, pointer="/a/observedAt")
    assert caught.value.pointer == "/a/observedAt"
    assert "DateTime" in caught.value.detail


def test_the_present_has_microseconds_and_always_the_same_length() -> None:
    text = now_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    assert abs(datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds() < 60


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_microseconds_order_instants_exactly(first: datetime, second: datetime) -> None:
    texts = [instant.isoformat()[:-6] + "Z" for instant in (first, second)]
    assert (sortable(texts[0]) < sortable(texts[1])) == (first < second)
    assert (microseconds(texts[0]) < microseconds(texts[1])) == (first < second)


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.0Z", "2026-01-31T12:00:00.000000Z"])
def test_a_sortable_text_has_all_decimals(text: str) -> None:
    assert sortable(text) == "2026-01-31T12:00:00.000000Z"
    assert sortable("2026-01-31T12:00:00.05Z") == "2026-01-31T12:00:00.050000Z"


def test_microseconds_count_from_1970() -> None:
    assert microseconds("1970-01-01T00:00:00Z") == 0
    assert microseconds("1970-01-02T00:00:00.000001Z") == 86_400_000_001
    assert microseconds("1969-12-31T23:59:59.999999Z") == -1
