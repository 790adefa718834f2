from dataclasses import replace

import orjson
import pytest

from benchmarks.figures import Figures
from benchmarks.page import as_markdown
from benchmarks.report import as_json, rate_rows, remarks, text_table
from benchmarks.results import Measured, RunResult, ScenarioResult
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
)


def measured(name: str, *rates: float, client: float = 0.3, verdict: Verdict | None = None) -> Measured:
    rounds = (replace(FIGURES, entities_per_second=rate, cpu={**FIGURES.cpu, "client": client}) for rate in rates)
    return Measured(name, tuple(rounds), verdict)


def result(target: Measured, ceiling: Measured | None = None) -> ScenarioResult:
    return ScenarioResult("patch2", "Update", 64, ceiling or measured("bare", 1000.0, 2000.0, 4000.0), (target,))


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
    assert RunResult("2026-01-31", {}, {}, (result(vela), result(vela))).lost == 4


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


def test_a_run_becomes_json_and_a_page() -> None:
    vela = measured("vela", 500.0, 800.0, 1200.0, verdict=Verdict(5, 3, 0, ()))
    options = {"rounds": "3", "seconds": "5", "warm_up": "1", "entities": "10,000"}
    run = RunResult("2026-01-31", {"cores": "2"}, options, (result(vela),))
    target = orjson.loads(as_json(run))["scenarios"][0]["targets"][0]
    assert target["ratio"] == 0.4
    assert target["median"]["entities_per_second"] == 800.0
    assert target["verification"]["lost"] == 0
    page = as_markdown(run)
    assert "| patch2 | 64 | vela | 1,000 | 800 | 1.0 | 2.0 | 3.0 | 4.0 | 0 | 0.40 | 0.30-0.50 |" in page
    assert "- cores: 2" in page
    assert "{" not in page
