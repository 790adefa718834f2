import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import orjson
import pytest

from benchmarks.contest_results import verdicts
from benchmarks.figures import Figures, Moment
from benchmarks.page import write_page
from benchmarks.report import as_json, between_rows, cpu_rows, rate_rows, remarks, text_table
from benchmarks.results import Comparison, ContestResult, Measured, RunResult, Size, Told
from benchmarks.verification import Verdict

FIGURES = Figures(
    requests_per_second=1000.0,
    entities_per_second=1000.0,
    latency_p50=0.001,
    latency_p90=0.002,
    latency_p99=0.003,
    latency_max=0.004,
    failed=0,
    statuses={"204": 5000},
    cpu={"client": 0.3, "server": 1.0, "mongod": 0.6, "others": 0.0},
    memory={"server": 80_000_000},
    course=(Moment(0.0, 900.0, 0.001, 0.002, 0.003), Moment(0.25, 1100.0, 0.001, 0.002, 0.004)),
    seconds=0.5,
)


def measured(name: str, *rates: float, client: float = 0.3, verdict: Verdict | None = None) -> Measured:
    rounds = (replace(FIGURES, entities_per_second=rate, cpu={**FIGURES.cpu, "client": client}) for rate in rates)
    return Measured(name, tuple(rounds), verdict)


def result(target: Measured, ceiling: Measured | None = None) -> Comparison:
    return Comparison("patch2", "Update", 64, ceiling or measured("bare", 1000.0, 2000.0, 4000.0), (target,))


def test_a_ratio_is_the_median_of_the_ratios_round_by_round() -> None:
    vela = measured("vela", 500.0, 800.0, 1200.0)
    assert result(vela).ratio(vela) == 0.4
    assert rate_rows(result(vela))[1][-2:] == ["0.40", "0.30-0.50"]


@pytest.mark.parametrize("busy", ["bare", "vela"])
def test_nothing_is_concluded_where_the_load_generator_may_have_been_the_limit(busy: str) -> None:
    vela = measured("vela", 500.0, client=0.9 if busy == "vela" else 0.3)
    doubtful = result(vela, measured("bare", 1000.0, client=0.9 if busy == "bare" else 0.3))
    assert doubtful.ratio(vela) is None
    assert rate_rows(doubtful)[1][-2:] == ["none", ""]
    assert f"used 90% of a core against {busy}" in remarks(doubtful)[0]


def test_nothing_is_concluded_from_a_ceiling_that_acknowledged_nothing() -> None:
    vela = measured("vela", 500.0)
    idle = Measured("bare", (replace(FIGURES, requests_per_second=0.0, entities_per_second=0.0),))
    assert result(vela, idle).doubt(vela) == "bare acknowledged nothing"
    assert result(vela, idle).ratio(vela) is None


def test_a_lost_write_is_said_and_counted() -> None:
    vela = measured("vela", 1.0, 1.0, 1.0, verdict=Verdict(5, 3, 2, ("urn:a: gone", "urn:b: old")))
    lines = remarks(result(vela))
    assert "2 lost an acknowledged write" in lines[-3]
    assert lines[-2:] == ["  LOST: urn:a: gone", "  LOST: urn:b: old"]
    assert RunResult("2026-01-31", "", {}, {}, (result(vela), result(vela))).lost == 4


def test_a_machine_that_was_not_idle_is_said() -> None:
    busy = replace(FIGURES, cpu={**FIGURES.cpu, "others": 0.7})
    lines = remarks(result(Measured("vela", (busy, busy, busy))))
    assert lines == ["patch2 over 64 connections: the machine was not idle, other processes used 0.7 cores."]
    assert remarks(result(measured("vela", 1.0, 1.0, 1.0))) == []


def test_a_text_table_is_aligned() -> None:
    assert text_table(["server", "ratio"], [["vela", "0.4"], ["bare", "1"]]).splitlines() == [
        "server  ratio",
        "------  -----",
        "vela      0.4",
        "bare        1",
    ]


def contest(**costs: float) -> ContestResult:
    first, *others = (measured(name, 1000.0 / cost, 1000.0 / cost) for name, cost in costs.items())
    comparison = Comparison("entities", "Updates, as entities grow", 64, first, tuple(others))
    sizes = {name: Size("any of them", int(name[1:])) for name in costs if name[1:].isdigit()}
    return ContestResult(comparison, "About it.", "entities", sizes)


def test_several_targets_are_set_beside_each_other() -> None:
    first, second = measured("a", 500.0, 800.0), measured("b", 250.0, 1200.0)
    both = Comparison("patch2", "Update", 64, measured("bare", 1000.0, 1000.0), (first, second))
    assert between_rows(both) == [["patch2", "64", "b", "a", "1.00", "0.50-1.50"]]


def test_the_cpu_table_gives_microseconds_for_a_request() -> None:
    assert cpu_rows(result(measured("vela", 1.0)))[1][-3:] == ["1000", "600", "80"]


@pytest.mark.parametrize(("cost", "verdict"), [(1.19, ": flat."), (1.21, ": NOT FLAT.")])
def test_a_cost_is_flat_where_it_rises_by_less_than_a_fifth(cost: float, verdict: str) -> None:
    (said,) = verdicts(contest(n1000=1.0, n100000=cost, n1000000=1.1))
    assert said.startswith("any of them: 1.10 times the cost at 1,000,000 entities that it is at 1,000")
    assert said.endswith(verdict)


def test_contestants_without_sizes_are_set_beside_the_first_one() -> None:
    assert verdicts(contest(spread=1.0, hot=0.5)) == ["hot: 2.00 times the rate of spread."]


def test_a_missing_notification_and_a_refused_update_fail_a_run() -> None:
    fine = contest(silent=1.0, notifying=2.0)
    told = Told(10, 1, 0, 0.1, 0.001, 0.002)
    refused = Measured("checked", (replace(FIGURES, statuses={"204": 9, "400": 1}),))
    wrong = replace(fine, comparison=replace(fine.comparison, targets=(refused,)))
    assert not RunResult("", "", {}, {}, contests=(fine,)).failed
    assert RunResult("", "", {}, {}, contests=(replace(fine, told=(told,)),)).failed
    assert RunResult("", "", {}, {}, contests=(wrong,)).failed


def test_a_run_becomes_json_and_a_page_with_plots(tmp_path: Path) -> None:
    vela = measured("vela", 500.0, 800.0, 1200.0, verdict=Verdict(5, 3, 0, ()))
    options = {"rounds": "3", "seconds": "5", "warm_up": "1", "entities": "10,000"}
    grown = contest(n0=1.0, n1000=1.5)
    run = RunResult("2026-01-31", "python -m benchmarks", {"cores": "2"}, options, (result(vela),), (grown,))
    written = orjson.loads(as_json(run))
    target = written["scenarios"][0]["targets"][0]
    assert target["ratio"] == 0.4
    assert target["median"]["entities_per_second"] == 800.0
    assert target["verification"]["lost"] == 0
    assert written["contests"][0]["sizes"]["n1000"] == {"line": "any of them", "number": 1000}

    write_page(run, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "| patch2 | 64 | vela | 1,000 | 800 | 1.0 | 2.0 | 3.0 | 4.0 | 0 | 0.40 | 0.30-0.50 |" in page
    assert "any of them: 1.50 times the cost at 1,000 entities" in page
    assert "- cores: 2" in page
    assert "{" not in page
    shown = re.findall(r"!\[[^]]*\]\(([^)]*)\)", page)
    assert len(shown) == 3
    for name in shown:
        assert ET.parse(tmp_path / name).getroot().findall("{*}polyline")
