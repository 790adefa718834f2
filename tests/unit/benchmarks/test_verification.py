from array import array

import pytest

from benchmarks.jobs import Log
from benchmarks.verification import History, Verdict

FIRST = 1001


def history(*requests: tuple[float, float, int], entities: list[tuple[int, ...]] | None = None) -> History:
    sent, answered, statuses = zip(*requests, strict=True)
    log = Log(FIRST, array("d", sent), array("d", answered), array("H", statuses))
    return History([(log, entities or [(0,)])])


def test_the_last_acknowledged_write_may_be_stored() -> None:
    assert history((1.0, 2.0, 204), (2.0, 3.0, 204)).finding(0, FIRST + 1) is None


def test_a_write_acknowledged_before_a_later_one_was_sent_must_have_been_replaced() -> None:
    finding = history((1.0, 2.0, 204), (2.0, 3.0, 204)).finding(0, FIRST)
    assert finding is not None
    assert "acknowledged before 1002 was sent" in finding


def test_of_writes_that_ran_beside_each_other_either_may_be_stored() -> None:
    overlapping = history((1.0, 4.0, 204), (2.0, 3.0, 204))
    assert overlapping.finding(0, FIRST) is None
    assert overlapping.finding(0, FIRST + 1) is None


@pytest.mark.parametrize("status", [0, 207, 503])
def test_a_write_of_unknown_fate_may_be_stored_or_not(status: int) -> None:
    unknown = history((1.0, 2.0, 204), (2.0, 0.0 if status == 0 else 3.0, status))
    assert unknown.finding(0, FIRST) is None
    assert unknown.finding(0, FIRST + 1) is None


def test_a_refused_write_must_not_be_stored() -> None:
    finding = history((1.0, 2.0, 204), (2.0, 3.0, 400)).finding(0, FIRST + 1)
    assert finding is not None
    assert "refused with 400" in finding


@pytest.mark.parametrize("value", [FIRST - 1, FIRST + 2, None, "1001", {"value": 1001}])
def test_a_value_that_no_request_wrote_is_a_loss(value: object) -> None:
    assert history((1.0, 2.0, 204), (2.0, 3.0, 204)).finding(0, value) is not None


def test_a_value_written_to_another_entity_is_a_loss() -> None:
    both = history((1.0, 2.0, 204), (2.0, 3.0, 204), entities=[(0,), (1,)])
    assert both.finding(0, FIRST) is None
    assert both.finding(0, FIRST + 1) is not None


def test_only_entities_with_an_acknowledged_write_are_to_be_checked() -> None:
    batches = history((1.0, 2.0, 204), (2.0, 3.0, 503), entities=[(0, 1), (2, 3)])
    assert sorted(batches.last) == [0, 1]
    assert batches.acknowledged == 1


def test_created_entities_are_those_of_acknowledged_requests() -> None:
    assert history((1.0, 2.0, 201), (2.0, 3.0, 409), (3.0, 4.0, 201)).created() == [FIRST, FIRST + 2]


def test_a_request_that_only_reads_writes_nothing() -> None:
    mixed = history((1.0, 2.0, 200), (2.0, 3.0, 204), entities=[(), (0,)])
    assert mixed.acknowledged == 1
    assert mixed.last[0].sequence == FIRST + 1
    assert mixed.finding(0, FIRST) is not None


def test_verdicts_add_up() -> None:
    both = Verdict(5, 3, 1, ("urn:a: gone",)).plus(Verdict(1, 1, 0, ()))
    assert both == Verdict(6, 4, 1, ("urn:a: gone",))
    assert both.plus(None) == both


def test_the_rounds_of_a_scenario_are_one_history() -> None:
    first = Log(FIRST, array("d", [1.0]), array("d", [2.0]), array("H", [204]))
    second = Log(FIRST + 1, array("d", [5.0]), array("d", [6.0]), array("H", [204]))
    rounds = History([(first, [(0,)]), (second, [(0,)])])
    assert rounds.finding(0, FIRST) is not None
    assert rounds.finding(0, FIRST + 1) is None
