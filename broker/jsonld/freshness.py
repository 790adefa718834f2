"""How long a downloaded @context may be used without asking for it again (clause 6.3.16, RFC 9111)."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SHORTEST = 1.0
LONGEST = 30 * 86_400.0
"""Seconds. An answer that may not be kept at all still serves the requests of one second."""

_UNSTATED = 86_400.0
_SHARE_OF_AGE = 0.1
_DIRECTIVE = re.compile(r"([a-z-]+)(?:\s*=\s*\"?([^\s,\"]*)\"?)?")


def lifetime(headers: Mapping[str, str], now: datetime) -> float:
    """Seconds for which an answer with `headers`, received at `now`, is fresh; from `SHORTEST` to `LONGEST`.

    `s-maxage` comes before `max-age`, and both before `Expires`. Where the server says nothing, it is a tenth of the
    time since the document last changed, or a day if that is unknown.
    """
    return min(max(_stated(headers, now), SHORTEST), LONGEST)


def _stated(headers: Mapping[str, str], now: datetime) -> float:
    directives = dict(_DIRECTIVE.findall(headers.get("Cache-Control", "").lower()))
    if "no-store" in directives or "no-cache" in directives:
        return 0.0
    for name in ("s-maxage", "max-age"):
        if name in directives:
            return _seconds(directives[name]) - _seconds(headers.get("Age", "0"))
    if "Expires" in headers:
        expires = _date(headers["Expires"])
        # A date that cannot be read, "0" above all, means that the answer is stale already.
        return 0.0 if expires is None else (expires - (_date(headers.get("Date")) or now)).total_seconds()
    changed = _date(headers.get("Last-Modified"))
    return _UNSTATED if changed is None else (now - changed).total_seconds() * _SHARE_OF_AGE


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0.0


def _date(text: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
    return date.replace(tzinfo=UTC) if date is not None and date.tzinfo is None else date
