"""The reference: `jsonschema`, which is slow and obvious, asserting the formats that Vela asserts."""

import ipaddress
import re
import uuid
from datetime import date, datetime
from functools import cache

from jsonschema import FormatChecker

_DATE_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2}|[^\x00-\x9f])*")


@cache
def format_checker(*, zone_tolerant: bool = False) -> FormatChecker:
    """The formats for jsonschema; `zone_tolerant` takes a date-time without a zone as UTC."""
    checker = FormatChecker(formats=())
    rules = {
        "date-time": lambda text: _is_date_time(text) or (zone_tolerant and _is_date_time(text + "Z")),
        "date": _is_date,
        "uri": lambda text: _URI.fullmatch(text) is not None,
        "iri": lambda text: _IRI.fullmatch(text) is not None,
        "email": lambda text: re.fullmatch(r"[^@\s]+@[^@\s]+", text) is not None,
        "idn-email": lambda text: re.fullmatch(r"[^@\s]+@[^@\s]+", text) is not None,
        "ipv4": lambda text: _parses(ipaddress.IPv4Address, text),
        "ipv6": lambda text: _parses(ipaddress.IPv6Address, text),
        "uuid": lambda text: len(text) == 36 and _parses(uuid.UUID, text),
    }
    for name, rule in rules.items():
        checker.checks(name)(lambda value, rule=rule: not isinstance(value, str) or bool(rule(value)))
    return checker


def _is_date_time(text: str) -> bool:
    if not _DATE_TIME.fullmatch(text):
        return False
    return text[17:19] == "60" or _parses(datetime.fromisoformat, text.upper())


def _is_date(text: str) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) is not None and _parses(date.fromisoformat, text)


def _parses(read: object, text: str) -> bool:
    try:
        read(text)  # type: ignore[operator]
    except ValueError:
        return False
    return True
