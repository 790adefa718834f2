"""Durations of ISO 8601, such as P1D, PT1H30M or P2W, as lengths of time.

A year counts as 365 days and a month as 30, as a duration that stands alone has no calendar to look them up in.
"""

import re
from datetime import timedelta

from broker.ngsild.errors import BadRequestData

_NUMBER = r"\d{1,12}(?:[.,]\d{1,9})?"
_DURATION = re.compile(
    rf"P(?=.)(?:(?P<weeks>{_NUMBER})W"
    rf"|(?:(?P<years>{_NUMBER})Y)?(?:(?P<months>{_NUMBER})M)?(?:(?P<days>{_NUMBER})D)?"
    rf"(?:T(?=.)(?:(?P<hours>{_NUMBER})H)?(?:(?P<minutes>{_NUMBER})M)?(?:(?P<seconds>{_NUMBER})S)?)?)",
    re.ASCII,
)
LONGEST = 100 * 365 * 86_400.0
"""Seconds. Whatever is longer is as good as for ever, and could not be added to a date."""

_SECONDS = {
    "weeks": 7 * 86_400,
    "years": 365 * 86_400,
    "months": 30 * 86_400,
    "days": 86_400,
    "hours": 3_600,
    "minutes": 60,
    "seconds": 1,
}


def parse_duration(text: object, what: str, *, pointer: str | None = None, longest: float = LONGEST) -> timedelta:
    """The length of a duration, at most `longest` seconds.

    BadRequestData, which calls the duration `what`, if it is no duration of ISO 8601 or is empty.
    """
    found = _DURATION.fullmatch(text) if isinstance(text, str) else None
    parts = {} if found is None else found.groupdict()
    seconds = sum(_SECONDS[name] * float(number.replace(",", ".")) for name, number in parts.items() if number)
    if not seconds:
        raise BadRequestData(
            f"{what} is {text!r:.80}: expected a duration of ISO 8601, longer than nothing, such as PT1H or P7D.",
            pointer=pointer,
        )
    return timedelta(seconds=min(seconds, longest))
