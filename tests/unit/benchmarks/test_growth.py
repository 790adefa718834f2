"""What queries cost against the number of entities: the figures, the page and the plot."""

from random import Random
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET

import orjson
import pytest

from benchmarks.crowd import CROWD_TYPE, crowd_id, crowd_type, position, stored
from benchmarks.growth import parse
from benchmarks.growth_queries import EXPORT_NAME, GROWTH_QUERIES, growth_names
from benchmarks.growth_results import Cost, GrowthRun, as_json, as_markdown, verdicts
from benchmarks.plot import as_svg
from broker.ngsild.query.geo import parse_geo
from broker.ngsild.query.grammar import parse_q


def cost(name: str, size: int, milliseconds: float) -> Cost:
    return Cost(name, size, 100, milliseconds, 2 * milliseconds, 3 * milliseconds, 21, 25)


def run(*costs: Cost) -> GrowthRun:
    return GrowthRun("2026-11-21", {"cores": "2"}, {"requests": "100"}, costs)


FLAT = (cost("q range", 1_000, 2.0), cost("q range", 100_000, 3.0), cost("q range", 1_000_000, 4.0))


def test_a_cost_that_grows_with_the_entities_is_not_flat() -> None:
    assert "2.0 times from 1,000 to 1,000,000 entities: flat" in verdicts(run(*FLAT))[0]
    assert "NOT FLAT" in verdicts(run(cost("get", 1_000, 1.0), cost("get", 10_000, 9.0)))[0]


@pytest.mark.parametrize(("milliseconds", "verdict"), [(9.9, "met"), (10.1, "MISSED")])
def test_a_limit_is_met_or_missed_at_its_size(milliseconds: float, verdict: str) -> None:
    assert verdicts(run(cost("q range", 100_000, milliseconds))) == [
        f"q range: {milliseconds} ms over 100,000 entities, limit 10 ms: {verdict}."
    ]


def test_the_page_and_the_json_hold_every_figure() -> None:
    export = Cost(EXPORT_NAME, 1_000, 10, 20.0, 21.0, 22.0, 1_000, None, 19.0, 20.5, 1.5)
    page = as_markdown(run(*FLAT, export), "growth.svg")

    assert "](growth.svg)" in page
    assert "| q range | 100,000 | 100 | 3.0 | 6.0 | 9.0 | 21 | 25 |" in page
    assert "19.0 ms a page at the beginning and 20.5 ms at the end" in page
    assert [one["median_ms"] for one in orjson.loads(as_json(run(*FLAT)))["costs"]] == [2.0, 3.0, 4.0]


def test_the_plot_is_a_picture_with_a_line_for_each_query() -> None:
    lines = {"get <b>": [(1_000.0, 0.5), (1_000_000.0, 0.6)], "near": [(1_000.0, 5.0), (1_000_000.0, 50.0)]}
    picture = ET.fromstring(as_svg("Cost", "entities", "ms", lines))
    drawn = picture.findall("{*}polyline")
    texts = [one.text for one in picture.iter("{http://www.w3.org/2000/svg}text")]

    assert len(drawn) == 2
    assert {"get <b>", "near", "1,000", "1,000,000", "0.1"} <= set(texts)
    (_, low), (_, high) = (tuple(map(float, point.split(","))) for point in drawn[1].attrib["points"].split())
    (_, flat), (_, flatter) = (tuple(map(float, point.split(","))) for point in drawn[0].attrib["points"].split())
    assert low - high > 5 * (flat - flatter) > 0


@pytest.mark.parametrize("size", [100, 1_000_000])
@pytest.mark.parametrize("query", GROWTH_QUERIES, ids=lambda query: query.name)
def test_every_query_is_one_that_a_broker_reads(query, size) -> None:
    parameters = {name: values[0] for name, values in parse_qs(urlsplit(query.path(Random(1), size)).query).items()}

    if "q" in parameters:
        parse_q(parameters["q"])
    if "georel" in parameters:
        parse_geo(parameters["georel"], parameters["geometry"], parameters["coordinates"], "location")
    assert " " not in query.path(Random(1), size)
    assert "#" not in unquote(query.path(Random(1), size))


def test_the_entities_of_the_crowd_are_all_different_and_spread_evenly() -> None:
    assert len({crowd_id(index) for index in range(20_000)}) == 20_000
    assert sum(crowd_type(index) == CROWD_TYPE for index in range(20_000)) == 18_000
    east = sum(position(index)[0] > 11 for index in range(20_000))
    both = sum(position(index)[0] > 11 and position(index)[1] > 46 for index in range(20_000))
    assert abs(east - 10_000) < 500
    assert abs(both - 5_000) < 500
    assert len(stored(5)["attributes"]) == 6


def test_sizes_are_given_as_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--sizes", "1000,100000"]).sizes == (1_000, 100_000)
    assert parse(["--query", growth_names()[-1]]).query == [EXPORT_NAME]
    with pytest.raises(SystemExit):
        parse(["--sizes", "10"])
    assert "below 100" in capsys.readouterr().err
