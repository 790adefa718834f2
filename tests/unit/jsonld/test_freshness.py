from datetime import UTC, datetime

import pytest

from broker.jsonld.freshness import LONGEST, SHORTEST, lifetime

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
DAY = 86_400.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Cache-Control": "max-age=300"}, 300),
        ({"Cache-Control": "public, MAX-AGE=300, must-revalidate"}, 300),
        ({"Cache-Control": 'max-age="300"'}, 300),
        ({"Cache-Control": "max-age=300", "Age": "100"}, 200),
        ({"Cache-Control": "max-age=300, s-maxage=600"}, 600),
        ({"Cache-Control": "max-age=300", "Expires": "Fri, 02 Jan 2026 13:00:00 GMT"}, 300),
        ({"Expires": "Fri, 02 Jan 2026 13:00:00 GMT"}, 3600),
        ({"Expires": "Fri, 02 Jan 2026 13:00:00 GMT", "Date": "Fri, 02 Jan 2026 12:30:00 GMT"}, 1800),
        ({"Expires": "0"}, SHORTEST),
        ({"Expires": "Fri, 02 Jan 2026 11:00:00 GMT"}, SHORTEST),
        ({"Cache-Control": "no-store, max-age=300"}, SHORTEST),
        ({"Cache-Control": "no-cache"}, SHORTEST),
        ({"Cache-Control": "max-age=nonsense"}, SHORTEST),
        ({"Cache-Control": "max-age=99999999999"}, LONGEST),
        ({"Last-Modified": "Thu, 01 Jan 2026 12:00:00 GMT"}, DAY / 10),
        ({"Last-Modified": "nonsense"}, DAY),
        ({}, DAY),
    ],
)
def test_the_lifetime_follows_the_headers(headers: dict[str, str], seconds: float):
    assert lifetime(headers, NOW) == seconds
