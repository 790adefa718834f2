from datetime import timedelta

import pytest

from broker.ngsild.durations import parse_duration
from broker.ngsild.errors import BadRequestData


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("PT1H", timedelta(hours=1)),
        ("P1D", timedelta(days=1)),
        ("P2W", timedelta(weeks=2)),
        ("PT0.5S", timedelta(milliseconds=500)),
        ("PT0,5S", timedelta(milliseconds=500)),
        ("P1Y2M3DT4H5M6S", timedelta(days=365 + 60 + 3, hours=4, minutes=5, seconds=6)),
    ],
)
def test_a_duration_has_its_length(text: str, length: timedelta) -> None:
    assert parse_duration(text, "lifetime") == length


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "1hour", "PT1", "P1H", "PT1D", "P1W2D", "PT0S", "-PT1H", "P1DT", "P\u0661D", 5, None]
)
def test_what_is_no_duration_or_an_empty_one_is_refused(text: object) -> None:
    with pytest.raises(BadRequestData) as refused:
        parse_duration(text, "lifetime", pointer="/lifetime")
    assert refused.value.pointer == "/lifetime"


def test_a_duration_is_cut_to_the_longest_one() -> None:
    assert parse_duration("P999999999999Y", "lifetime", longest=60) == timedelta(minutes=1)
    assert parse_duration("P999999999999Y", "lifetime") < timedelta(days=40_000)
