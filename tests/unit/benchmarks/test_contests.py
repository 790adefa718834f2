"""The contests, as data, and the plots that they need."""

from xml.etree import ElementTree as ET

import pytest

from benchmarks.contests import CONTESTS, Contest, contest_names
from benchmarks.plot import as_svg


@pytest.mark.parametrize("contest", CONTESTS, ids=lambda contest: contest.name)
def test_the_entrants_of_a_contest_have_names_of_their_own_and_write_what_is_read_back(contest: Contest) -> None:
    assert len({entrant.name for entrant in contest.entrants}) == len(contest.entrants) > 1
    assert all(entrant.operation.changes for entrant in contest.entrants)
    assert all(entrant.size for entrant in contest.entrants) == bool(contest.unit)


def test_only_what_other_brokers_do_not_have_is_for_velas_alone() -> None:
    assert {contest.name for contest in CONTESTS if contest.only_vela} == {"validation", "workers"}


def test_the_burdens_of_a_contest_only_grow() -> None:
    for contest in CONTESTS:
        for burden in ("entities", "subscriptions", "notified"):
            borne = [getattr(server, burden) for server in contest.servers]
            assert borne == sorted(borne)


def test_a_contest_can_leave_out_its_largest() -> None:
    entities = CONTESTS[contest_names().index("entities")]
    assert {one.size.number for one in entities.up_to(10_000).entrants if one.size} == {1_000, 10_000}
    assert entities.up_to(10**6) == entities


def test_a_plot_from_zero_on_has_a_place_for_it() -> None:
    svg = as_svg("Cost", "number", "cost", {"a": [(0, 1.0), (10, 1.1), (1_000, 1.4)]}, ("logarithmic", "linear"))
    picture = ET.fromstring(svg)
    texts = [one.text for one in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"0", "10", "100", "1,000", "0.5"} <= set(texts)
    line = picture.findall("{*}polyline")[0].attrib["points"].split()
    first, ten, thousand = (float(point.split(",")[0]) for point in line)
    assert thousand - ten == pytest.approx(2 * (ten - first), abs=0.2)
