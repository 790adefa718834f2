from array import array

from benchmarks.jobs import Log
from benchmarks.population import ENTITY_TYPE, MEASURED
from benchmarks.receiver import Received, Receiver
from benchmarks.subscriptions import told, unmatched


def log_of(*statuses: int) -> Log:
    """A load whose requests, numbered from 100, are answered one second after the other."""
    moments = array("d", range(1, len(statuses) + 1))
    return Log(first_sequence=100, sent=moments, answered=moments, statuses=array("H", statuses), started=1.0)


def test_only_acknowledged_updates_are_owed_and_repetitions_are_counted() -> None:
    received = Received(array("q", [100, 100, 102, 101]), array("d", [1.5, 9.0, 3.25, 2.0]))
    found = told(log_of(204, 503, 204, 204), received, drained=0.5)
    assert (found.owed, found.missing, found.duplicates, found.drained) == (3, 1, 1, 0.5)
    assert (found.delay_p50, found.delay_p99) == (0.25, 0.5)


def test_the_receiver_hands_over_what_came_once() -> None:
    receiver = Receiver("n")
    receiver.take(b'{"data":[{"n":{"value":7}},{"n":{"value":8}}]}')
    assert receiver.answer(b"/count") == b"2"
    receiver.answer(b"/received")
    assert receiver.answer(b"/count") == b"0"


def test_no_subscription_of_the_crowd_hears_of_the_updates() -> None:
    for index in range(1_000):
        one = unmatched(index)
        assert one["entities"] != [{"type": ENTITY_TYPE}] or not set(one["watchedAttributes"]) & set(MEASURED)
