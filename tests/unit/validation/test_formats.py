"""Formats are asserted as RFC 3339 and its kin define them."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import FormatChecker

from broker.validation.formats import is_zone_tolerant_date_time
from tests.unit.validation.reference import format_checker
from tests.unit.validation.stored import model, thing

OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TEXTS = {
    "date-time": [
        *("2026-01-31T12:00:00Z", "2026-01-31t12:00:00z", "2026-01-31T12:00:00.123456789+01:00", "2026-01-31T12:00Z"),
        *("2026-01-31 12:00:00Z", "2026-02-29T12:00:00Z", "2024-02-29T12:00:00Z", "2026-01-31T24:00:00Z", "noon", ""),
        *("2026-01-31T12:00:00", "2026-01-31T12:00:00+0100", "2026-01-31T12:00:00+24:00", "2026-1-31T12:00:00Z"),
        *("2026-01-31T12:00:00.Z", "2026-01-31T12:00:00-00:00", "2026-13-31T12:00:00Z", "2026-01-31T12:60:00Z"),
        *("2026-01-31T12:00:00ZZ", "٢٠٢٦-01-31T12:00:00Z", "2026-01-31T12:00:00,5Z", " 2026-01-31T12:00:00Z"),
    ],
    "date": ["2026-01-31", "2026-02-29", "2024-02-29", "20260131", "2026-W05-6", "2026-1-31", "", "x", "٢٠٢٦-01-31"],
    "uri": [
        *("https://example.org/a", "urn:ngsi-ld:X:1", "mailto:a@example.org", "a", "/a", "//example.org", "", ":a"),
        *("urn:a b", "https://example.org/ä", "1a:b", "a:", "urn:a<b", "urn:a%zz", "https://example.org/%C3%A4"),
    ],
    "iri": ["https://example.org/ä", "urn:ngsi-ld:X:1", "a", "", "urn:a b"],
    "ipv4": ["127.0.0.1", "256.0.0.1", "1.2.3", "01.2.3.4", ""],
    "ipv6": ["::1", "fe80::1", "1:2", "::ffff:1.2.3.4", "", "::g"],
    "email": ["a@example.org", "a", "@", "a@", "@a", "a b@example.org"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000", ""],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in TEXTS.items() for text in texts])
def test_a_format_is_judged_as_the_reference_does(name: str, text: str) -> None:
    found = model({"properties": {"a": {"format": name}}}).violations(thing(a=text))
    assert bool(found) != format_checker().conforms(text, name)


@given(st.datetimes(timezones=OFFSETS, allow_imaginary=False))
def test_every_instant_is_a_date_time(moment: datetime) -> None:
    text = moment.isoformat()
    assert is_zone_tolerant_date_time(text)
    assert not model({"properties": {"a": {"format": "date-time"}}}).violations(thing(a=text))
    assert is_zone_tolerant_date_time(moment.replace(tzinfo=None).isoformat())


@pytest.mark.parametrize("text", ["2026-01-31", "2026-01-31T12:00", "2026-02-30T12:00:00", "2026-01-31T12:00:00+", ""])
def test_nothing_but_the_zone_is_tolerated(text: str) -> None:
    assert not is_zone_tolerant_date_time(text)


def test_the_reference_is_one_of_jsonschema() -> None:
    assert isinstance(format_checker(), FormatChecker)
