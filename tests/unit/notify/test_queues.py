from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from broker.notify.owed import Owed, Parcel, made_at
from broker.notify.queues import Budget, EndpointQueue
from tests.unit.notify.samples import owed


def drained(queue: EndpointQueue, kept: dict[str, Owed]) -> list[Owed]:
    """Take everything, one by one, reading what waits outside from `kept`."""
    taken = []
    while queue:
        if queue.roomy:
            wanted = queue.wanted(3)
            queue.refill(wanted, [kept[one] for one in wanted])
        one = queue.take()
        assert one is not None
        taken.append(one)
        queue.done(one)
    return taken


def test_entries_of_one_entity_are_taken_one_after_the_other() -> None:
    queue = EndpointQueue(10, Budget())
    first, second, other = owed("urn:e:1"), owed("urn:e:1"), owed("urn:e:2")
    for one in (first, second, other):
        queue.offer(one)
    assert [queue.take(), queue.take(), queue.take()] == [first, other, None]
    queue.done(first)
    assert queue.take() is second


def test_an_entry_that_is_put_back_is_the_next_of_its_entity_and_other_entities_come_before_it() -> None:
    queue = EndpointQueue(10, Budget())
    first, second, other = owed("urn:e:1"), owed("urn:e:1"), owed("urn:e:2")
    for one in (first, second, other):
        queue.offer(one)
    assert queue.take() is first
    queue.put_back(first)
    assert [queue.take(), queue.take(), queue.take()] == [other, first, None]


def test_the_oldest_entry_is_found_in_memory_and_outside() -> None:
    queue = EndpointQueue(1, Budget())
    assert queue.oldest is None
    inside = owed("urn:e:1")
    inside.created_at = made_at(outside_id := Parcel(0).next_id(0)) + 60
    queue.offer(inside)
    assert queue.oldest == inside.created_at
    outside = owed("urn:e:2")
    outside.id = outside_id
    queue.offer(outside)
    assert queue.oldest == made_at(outside_id)


def test_past_the_most_that_may_wait_outside_an_entry_is_given_up() -> None:
    queue = EndpointQueue(1, Budget(), 2)
    assert [queue.offer(owed(f"urn:e:{number}")) for number in range(4)] == [True, True, True, False]
    assert len(queue) == 3


def test_what_has_no_room_waits_outside_and_so_does_everything_after_it() -> None:
    queue = EndpointQueue(2, Budget())
    entries = [owed(f"urn:e:{number}") for number in range(5)]
    for one in entries:
        assert queue.offer(one)
    assert (queue.size, queue.outside, len(queue)) == (2, 3, 5)
    taken = queue.take()
    assert taken is entries[0]
    queue.done(taken)
    latest = owed("urn:e:9")
    queue.offer(latest)
    assert (queue.size, queue.outside) == (1, 4)
    kept = {one.id: one for one in (*entries, latest)}
    assert drained(queue, kept) == [*entries[1:], latest]


def test_bodies_take_room_of_all_queues_together_but_one_entry_always_fits() -> None:
    budget = Budget(limit=10)
    one, other = EndpointQueue(10, budget), EndpointQueue(10, budget)
    one.offer(owed(body=b"x" * 10))
    other.offer(owed(body=b"x" * 10))
    assert (one.outside, other.outside) == (0, 0)
    other.offer(owed(body=b"x"))
    assert other.outside == 1
    assert not other.roomy
    for queue in (one, other):
        taken = queue.take()
        assert taken is not None
        queue.done(taken)
    assert budget.used == 0
    assert other.roomy


def test_what_the_outbox_no_longer_has_is_owed_no_more() -> None:
    queue = EndpointQueue(1, Budget())
    entries = [owed(f"urn:e:{number}") for number in range(3)]
    for one in entries:
        queue.offer(one)
    taken = queue.take()
    assert taken is not None
    queue.done(taken)
    wanted = queue.wanted(10)
    assert wanted == [entries[1].id]
    queue.refill(wanted, [])
    assert (queue.size, queue.outside) == (0, 1)


@given(st.lists(st.sampled_from(["urn:e:1", "urn:e:2", "urn:e:3"]), max_size=40), st.integers(1, 5))
def test_nothing_is_lost_and_each_entity_keeps_its_order(entities: Sequence[str], limit: int) -> None:
    queue = EndpointQueue(limit, Budget())
    entries = [owed(name) for name in entities]
    for one in entries:
        queue.offer(one)
    taken = drained(queue, {one.id: one for one in entries})
    for name in set(entities):
        assert [one for one in taken if one.entity_id == name] == [one for one in entries if one.entity_id == name]
    assert len(taken) == len(entries)
