"""The plots of a run: how rates and latencies went over time, and what an update costs against sizes."""

from collections.abc import Callable

from benchmarks.contest_results import lines
from benchmarks.figures import Moment
from benchmarks.plot import Line, as_svg
from benchmarks.results import Comparison, ContestResult, Measured, RunResult

_SECONDS = "seconds of load, all rounds one after the other"


def pictures(run: RunResult) -> dict[str, str]:
    """All plots as SVG, by the names of their files."""
    drawn: dict[str, str] = {}
    for comparison in run.scenarios:
        drawn[rate_file(comparison)] = _rates(comparison)
        drawn[latency_file(comparison)] = _latencies(comparison)
    for contest in run.contests:
        if lines(contest):
            drawn[cost_file(contest)] = _costs(contest)
        drawn[f"{contest.comparison.name}-turns.svg"] = _rates(contest.comparison)
    return drawn


def rate_file(comparison: Comparison) -> str:
    """The name of the plot of its rates over time."""
    return f"{comparison.name}-{comparison.connections}-rate.svg"


def latency_file(comparison: Comparison) -> str:
    """The name of the plot of its latencies over time."""
    return f"{comparison.name}-{comparison.connections}-latency.svg"


def cost_file(contest: ContestResult) -> str:
    """The name of the plot of what an update costs."""
    return f"{contest.comparison.name}-cost.svg"


def _rates(comparison: Comparison) -> str:
    drawn = {one.name: _course(one, lambda moment: moment.requests_per_second) for one in comparison.all}
    title = f"{comparison.title}: rate over {comparison.connections} connections"
    return as_svg(title, _SECONDS, "requests/s", drawn, ("linear", "linear"), dots=False)


def _latencies(comparison: Comparison) -> str:
    drawn: dict[str, Line] = {}
    for one in comparison.targets:
        drawn[f"{one.name} p50"] = _course(one, lambda moment: 1000 * moment.latency_p50)
        drawn[f"{one.name} p90"] = _course(one, lambda moment: 1000 * moment.latency_p90)
        drawn[f"{one.name} p99"] = _course(one, lambda moment: 1000 * moment.latency_p99)
    title = f"{comparison.title}: latency over {comparison.connections} connections"
    return as_svg(title, _SECONDS, "milliseconds", drawn, ("linear", "linear"), dots=False)


def _course(measured: Measured, value: Callable[[Moment], float]) -> Line:
    points: list[tuple[float, float]] = []
    start = 0.0
    for one in measured.rounds:
        points += [(start + moment.second, value(moment)) for moment in one.course]
        start += one.seconds
    return points


def _costs(contest: ContestResult) -> str:
    title = f"{contest.comparison.title}: time of one, beside that of {contest.comparison.reference.name}"
    return as_svg(title, contest.unit, "times the cost", lines(contest), ("logarithmic", "linear"))
