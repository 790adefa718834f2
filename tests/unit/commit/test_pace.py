"""How fast updates are committed."""

from broker.commit.pace import Pace


def test_nothing_is_known_before_there_was_enough_work() -> None:
    pace = Pace()
    pace.begin(10.0)
    pace.committed(50, 10.05)
    assert pace.rate is None
    pace.committed(150, 10.2)
    assert round(pace.rate or 0) == 1000


def test_time_without_work_counts_for_nothing() -> None:
    pace = Pace()
    pace.begin(10.0)
    pace.committed(100, 10.05)
    pace.begin(500.0)
    pace.committed(200, 500.1)
    assert round(pace.rate or 0) == 2000


def test_the_latest_counts_most() -> None:
    pace = Pace()
    pace.begin(0.0)
    now = 0.0
    for mutations in (1000, 100, 100, 100, 100, 100):
        now += 0.2
        pace.committed(mutations, now)
    assert 500 < (pace.rate or 0) < 750
