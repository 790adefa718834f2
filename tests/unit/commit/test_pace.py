"""How fast updates are committed."""

from broker.commit.pace import Pace

MANY = 1_000


def test_nothing_is_known_before_there_was_enough_work() -> None:
    pace = Pace(enough=100)
    pace.begin(10.0)
    assert pace.committed(50, MANY, 10.0) is None, "when its work began is not known"
    assert pace.committed(50, MANY, 10.05) is None
    assert round(pace.committed(150, MANY, 10.2) or 0) == 1000


def test_groups_that_leave_little_behind_tell_nothing() -> None:
    pace = Pace(enough=100)
    for number in range(100):
        assert pace.committed(5, 99, 10 + number / 100) is None
    pace.committed(5, MANY, 11.0)
    pace.committed(300, MANY, 11.05)
    pace.committed(300, 99, 11.1)
    assert pace.committed(300, MANY, 11.2) is None, "the time between has to be one of work"


def test_the_latest_counts_most() -> None:
    pace = Pace(enough=100)
    now = 10.0
    for mutations in (0, 1000, 100, 100, 100, 100, 100):
        now += 0.2
        pace.committed(mutations, MANY, now)
    assert 500 < (pace.rate or 0) < 750


def test_what_was_measured_some_time_ago_is_forgotten() -> None:
    pace = Pace(enough=100)
    pace.committed(0, MANY, 10.0)
    pace.committed(100, MANY, 10.5)
    assert pace.begin(11.0) == 200
    assert pace.committed(1, 0, 12.0) == 200
    assert pace.begin(13.0) is None
