"""What decides of entities one by one, and how long it may take."""

import pytest

from broker.core import queries
from broker.core.queries import EntityQuery
from broker.ngsild.errors import TooComplexQuery
from broker.ngsild.model import Entity
from broker.ngsild.query.types import TypeSelection
from tests.unit.ngsild.samples import LATER, entity, iri

BUILDINGS = EntityQuery(types=TypeSelection(((iri("Building"),),)))


def decisions(monkeypatch: pytest.MonkeyPatch, each: float, most: int) -> int:
    """How many decisions that take so many seconds `each` a request may make, `most` at the most."""
    times = iter([moment for number in range(most) for moment in (number * 100.0, number * 100.0 + each)])
    monkeypatch.setattr(queries, "perf_counter", lambda: next(times))
    decide = BUILDINGS.visible_predicate(LATER)
    one: Entity = entity()
    for number in range(most):
        try:
            assert decide(one)
        except TooComplexQuery:
            return number
    return most


def test_usual_decisions_are_as_many_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decisions(monkeypatch, 0.0005, 10_000) == 10_000


def test_slow_decisions_end_the_request_once_they_took_too_long_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decisions(monkeypatch, 0.3, 10_000) == 3


def test_requests_do_not_pay_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [decisions(monkeypatch, 0.3, 10_000) for _ in range(2)] == [3, 3]


@pytest.mark.parametrize(
    ("query", "prompt"),
    [
        (BUILDINGS, True),
        (EntityQuery(types=TypeSelection((("urn:A",), ("urn:B",)))), True),
        (EntityQuery(types=TypeSelection((("urn:A", "urn:B"),))), False),
        (EntityQuery(types=TypeSelection((("urn:A",),)), attributes=["a"]), False),
        (EntityQuery(types=TypeSelection((("urn:A",),)), id_pattern="a"), False),
        (EntityQuery(types=TypeSelection(())), False),
        (EntityQuery(), False),
    ],
)
def test_only_what_an_index_gives_in_order_is_found_at_once(query: EntityQuery, prompt: bool) -> None:
    assert query.prompt is prompt
