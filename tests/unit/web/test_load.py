"""What a worker refuses because it has too much to do."""

import pytest

from broker.ngsild.errors import Overloaded
from broker.web import load as load_module
from broker.web.load import Kind, Load, Unread
from broker.web.routes import API, ROUTES


class Queue:
    """Updates that wait for their commit."""

    def __init__(self) -> None:
        self.queued = 0
        self.full = False

    def refusal(self) -> Overloaded | None:
        return Overloaded("full") if self.full else None


class Refused:
    """A counter."""

    number = 0

    def inc(self) -> None:
        self.number += 1


class Scene:
    """A load, with clocks that the test sets: `cores` is the share of a core that the worker gets while it works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, cores: float = 1.0) -> None:
        self.queue, self.refused = Queue(), Refused()
        self.load = Load(self.queue, self.refused, longest_wait=1.0, most_bytes=1_000)
        self.now = 100.0
        self.cores = cores
        monkeypatch.setattr(load_module.time, "thread_time", lambda: self.now * self.cores)

    def serve(self, requests: int, seconds: float, *, pending: int) -> None:
        """Answer so many requests in so many seconds, while `pending` others are under way."""
        while self.load.under_way < pending:
            self.load.began(0)
        for _ in range(requests):
            self.load.began(0)
            self.now += seconds / requests
            self.load.ended(0, self.now)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_a_full_commit_queue_refuses_updates_only(scene: Scene) -> None:
    assert not scene.load.high
    scene.queue.full = True
    assert scene.load.high
    assert isinstance(scene.load.refusal(Kind.COMMIT), Overloaded)
    assert scene.load.refusal(Kind.WORK) is None
    assert scene.load.refusal(Kind.VITAL) is None
    assert scene.refused.number == 1


def test_bytes_under_way_are_bounded_until_they_are_answered(scene: Scene) -> None:
    scene.load.began(800)
    assert not scene.load.high
    scene.load.began(800)
    assert scene.load.high
    refusal = scene.load.refusal(Kind.WORK)
    assert refusal is not None
    assert "1600 bytes" in refusal.detail
    assert scene.load.refusal(Kind.VITAL) is None
    scene.load.ended(800, scene.now)
    assert not scene.load.high


def test_no_more_is_under_way_than_a_busy_worker_can_serve_within_the_longest_wait(scene: Scene) -> None:
    scene.serve(2_000, 2.0, pending=500)
    assert not scene.load.high, "it serves 1,000 a second"
    while not scene.load.high:
        scene.load.began(0)
    assert 900 < scene.load.under_way < 1_100
    refusal = scene.load.refusal(Kind.WORK)
    assert refusal is not None
    assert refusal.headers["Retry-After"] in ("1", "2")


def test_updates_that_wait_for_their_commit_are_not_counted_twice(scene: Scene) -> None:
    scene.serve(2_000, 2.0, pending=500)
    scene.queue.queued = 5_000
    for _ in range(5_000):
        scene.load.began(0)
    assert not scene.load.high


def test_requests_that_wait_for_others_and_not_for_the_worker_may_be_many(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, cores=0.1)
    scene.serve(20, 2.0, pending=5_000)
    assert not scene.load.high


def test_a_few_may_be_under_way_however_long_they_take(scene: Scene) -> None:
    scene.serve(10, 4.0, pending=99)
    assert not scene.load.high


def test_a_worker_with_little_to_do_forgets_how_slow_it_was(scene: Scene) -> None:
    scene.serve(100, 2.0, pending=110)
    assert scene.load.high
    for _ in range(110):
        scene.load.ended(0, scene.now)
    scene.serve(20, 10.0, pending=0)
    for _ in range(1_000):
        scene.load.began(0)
    assert not scene.load.high


class Slow:
    """A connection whose client does not read."""

    def __init__(self) -> None:
        self.given_up = False

    def give_up(self) -> None:
        self.given_up = True


def test_of_too_many_unread_answers_the_oldest_are_given_up() -> None:
    unread, clients = Unread(1_000), [Slow() for _ in range(4)]
    for client in clients[:3]:
        unread.add(client, 300)
    unread.remove(clients[1])
    unread.add(clients[3], 300)
    assert not any(client.given_up for client in clients)
    unread.add(clients[1], 300)
    assert [client.given_up for client in clients] == [True, False, False, False]
    unread.remove(clients[0])
    unread.add(clients[0], 2_000)
    assert all(client.given_up for client in clients)


def test_what_writes_entities_is_known_by_its_route() -> None:
    kinds = {(route.method, route.path): route.kind for route in ROUTES}
    assert kinds["PATCH", f"{API}/entities/{{entityId}}/attrs"] is Kind.COMMIT
    assert kinds["DELETE", f"{API}/entities"] is Kind.COMMIT
    assert kinds["POST", f"{API}/entityOperations/upsert"] is Kind.COMMIT
    assert kinds["POST", f"{API}/entityOperations/query"] is Kind.WORK
    assert kinds["POST", f"{API}/subscriptions"] is Kind.WORK
    assert kinds["PATCH", f"{API}/entityMaps/{{entityMapId}}"] is Kind.WORK
    assert {path for (_, path), kind in kinds.items() if kind is Kind.VITAL} == {
        "/health/live", "/health/ready", "/metrics",
    }  # fmt: skip
