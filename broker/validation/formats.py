"""The formats that are asserted: those of JSON Schema 2020-12, as jsonschema-rs reads them, and one tolerance.

A date-time is one of RFC 3339, with its zone. Many published entities have none; a city that knows its sources may have
these taken as UTC.
"""

from collections.abc import Callable

from jsonschema_rs import Draft202012Validator

_DATE_TIME = Draft202012Validator({"format": "date-time"}, validate_formats=True)


def own_formats(*, zone_tolerant: bool) -> dict[str, Callable[[str], bool]]:
    """The formats that are not left to jsonschema-rs, by name."""
    return {"date-time": is_zone_tolerant_date_time} if zone_tolerant else {}


def is_zone_tolerant_date_time(text: str) -> bool:
    """Whether `text` is a date-time of RFC 3339, or would be one with a Z at its end."""
    return _DATE_TIME.is_valid(text) or _DATE_TIME.is_valid(text + "Z")
