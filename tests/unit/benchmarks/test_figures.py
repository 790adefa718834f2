from array import array
from dataclasses import replace
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Figures, measure, middle, percentile
from benchmarks.jobs import Log


def log_of(*requests: tuple[float, float, int]) -> Log:
    sent, answered, statuses = zip(*requests, strict=True)
    return Log(
        first_sequence=1,
        sent=array("d", sent),
        answered=array("d", answered),
        statuses=array("H", statuses),
        started=10.0,
        ended=12.0,
        cpu_seconds={"client": 1.0, "server": 2.0, "others": 0.1},
        memory={"server": 5_000_000},
    )


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 50), (0.9, 90), (0.99, 99), (1.0, 100)])
def test_a_percentile_of_1_to_100_is_that_number(share: float, expected: int) -> None:
    assert percentile(range(1, 101), share) == expected


def test_a_percentile_of_nothing_is_zero() -> None:
    assert percentile([], 0.5) == 0.0


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(sorted(values), share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


def test_only_requests_answered_inside_the_window_count() -> None:
    figures = measure(log_of((9.0, 9.9, 204), (9.9, 10.1, 204), (11.0, 11.4, 201), (11.9, 12.1, 204)), 1)
    assert figures.requests_per_second == 1.0
    assert isclose(figures.latency_p50, 0.2)
    assert isclose(figures.latency_max, 0.4)


def test_the_course_of_a_round_is_told_in_quarters_of_a_second() -> None:
    course = measure(log_of((9.9, 10.1, 204), (10.0, 10.2, 204), (11.0, 11.9, 204), (11.0, 11.9, 503)), 1).course
    rates = {one.second: one.requests_per_second for one in course if one.requests_per_second}
    assert rates == {0.0: 8.0, 1.75: 4.0}
    assert isclose(course[-1].latency_p99, 0.9)


def test_a_batch_counts_as_many_entities() -> None:
    assert measure(log_of((10.0, 10.1, 204)), 100).entities_per_second == 50.0


def test_refused_unanswered_and_half_done_requests_fail_and_are_no_throughput() -> None:
    figures = measure(log_of((10.0, 10.1, 204), (10.1, 10.2, 207), (10.2, 10.3, 503), (10.3, 0.0, 0)), 1)
    assert figures.requests_per_second == 0.5
    assert figures.failed == 3
    assert figures.statuses == {"204": 1, "207": 1, "503": 1, "no answer": 1}


def test_cpu_time_becomes_a_share_of_a_core() -> None:
    figures = measure(log_of((10.0, 10.1, 204)), 1)
    assert figures.cpu == {"client": 0.5, "server": 1.0, "others": 0.05}
    assert figures.memory == {"server": 5_000_000}


def test_a_busy_load_generator_makes_a_round_inconclusive() -> None:
    figures = measure(log_of((10.0, 10.1, 204)), 1)
    assert figures.conclusive
    assert not replace(figures, cpu={"client": 0.81}).conclusive


def test_rounds_are_summed_up_by_their_medians() -> None:
    def one(rate: float) -> Figures:
        return replace(
            measure(log_of((10.0, 10.1, 204), (10.0, 10.1, 503)), 1),
            requests_per_second=rate,
            latency_max=rate / 1000,
            cpu={"client": rate / 1000},
        )

    summary = middle([one(300.0), one(100.0), one(200.0)])
    assert summary.requests_per_second == 200.0
    assert summary.latency_max == 0.3
    assert summary.cpu == {"client": 0.2}
    assert summary.failed == 3
    assert summary.statuses == {"204": 3, "503": 3}
