"""Workers that commit together, over a real MongoDB and real sockets: owners, outcomes, ends, losses."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pickle import dumps
from typing import Any
from zlib import crc32

import pytest
import uvloop

from broker.commit.colleagues import READY, Colleague, Reception
from broker.commit.committer import Limits
from broker.commit.group import Checks, OutcomeUnknown
from broker.commit.sharing import SharedCommits
from broker.listening import Doors, door_of
from broker.ngsild.changes import Change
from broker.ngsild.errors import (
    AlreadyExists,
    BadRequestData,
    InternalError,
    NgsiLdError,
    NonexistentTenant,
    Overloaded,
    ResourceNotFound,
)
from broker.ngsild.model import Entity
from broker.ngsild.mutations import DeleteEntity, Mutation, UpsertEntity
from broker.storage.client import Mongo
from broker.storage.entities import Writes
from tests.integration.committing import Node, create, entity_id, increment, record, update, value_of
from tests.unit.ngsild.samples import fragment
from tests.unit.notify.samples import until

MEBIBYTE = 1 << 20


class Count:
    """A counter."""

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        self.value += amount


@dataclass(frozen=True)
class Stumble:
    """A mutation with a mistake in it."""

    def __call__(self, before: Entity | None, now: str) -> tuple[Entity | None, None]:
        raise ZeroDivisionError


class Judged:
    """A verdict with everything that an error can say."""

    refusal = BadRequestData("Zu groß.", pointer="/a", violations=[{"pointer": "/a", "detail": "größer als 9"}])

    def count(self) -> None:
        pass


class Judge:
    """Refuses what has an attribute "a" above nine."""

    def check(self, change: Change) -> Judged | None:
        return Judged() if change.after is not None and value_of(change.after, "a") > 9 else None


@dataclass
class Worker:
    """One worker of a broker. `spare` is its door as the supervisor holds it."""

    index: int
    node: Node
    commits: SharedCommits
    colleagues: dict[int, Colleague]
    spare: socket.socket
    handed_over: Count

    async def run(self, *mutations: tuple[str, Mutation]) -> list[Any]:
        return await self.commits.submit_many("", mutations)

    def send(self, named: tuple[str, Mutation]) -> "asyncio.Task[Any]":
        """A submission under way."""

        async def submit() -> Any:
            return await self.commits.submit("", *named)

        return asyncio.create_task(submit())

    @property
    def committed(self) -> set[str]:
        """The ids of the entities that it has committed."""
        return {change.entity_id for change in self.node.recorder.changes}

    @property
    def reaches_all(self) -> bool:
        return all(one.reachable for one in self.colleagues.values())

    @property
    def reaches_any(self) -> bool:
        return any(one.reachable for one in self.colleagues.values())

    def hold(self) -> asyncio.Event:
        """Hold back its next write until the event is set."""
        go_on = asyncio.Event()

        async def wait(_writes: Writes) -> None:
            await go_on.wait()

        self.node.store.interfere = wait
        return go_on

    @property
    def holding(self) -> bool:
        """Whether a write is held back."""
        return self.node.store.interfere is None

    async def die(self) -> None:
        """What others see of `kill -9`: its connections break; its door is there, but nobody answers."""
        reception = self.commits._reception
        assert reception is not None
        server, visits = reception._server, list(reception._visits)
        assert server is not None
        server.close()
        for visit in visits:
            visit.abort()
        for visit in visits:
            await visit.gone


def owned(index: int, places: int, count: int = 1) -> list[int]:
    """The numbers of the first entities that the worker at the place `index` owns."""
    found = (number for number in range(10_000) if crc32(f"\n{entity_id(number)}".encode()) % places == index)
    return [next(found) for _ in range(count)]


class Crew:
    """Starts the workers of one broker, and others in their places."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._doors = Doors()
        self._spares: list[socket.socket] = []
        self._started: list[Worker] = []

    async def start(
        self,
        places: int,
        *,
        silence: float = 20,
        most_pending: int = 10_000,
        checker: Checks | None = None,
        limits: dict[int, Limits] | None = None,
        absent: Sequence[int] = (),
    ) -> list[Worker]:
        """Workers that reach each other; those of `absent` places have doors, but nobody answers there."""
        self._places, self._silence, self._most_pending, self._checker = places, silence, most_pending, checker
        self._spares = [self._doors.open(index) for index in range(places)]
        workers = [await self.take(index, (limits or {}).get(index)) for index in range(places) if index not in absent]
        if not absent:
            await until(lambda: all(one.reaches_all for one in workers))
        return workers

    async def take(self, index: int, limits: Limits | None = None) -> Worker:
        """A worker that takes a place."""
        node = await Node(self._mongo, f"p{len(self._started)}", limits or Limits(), checker=self._checker).start()
        spare, handed_over = self._spares[index], Count()
        colleagues = {
            other: Colleague(door_of(spare, other), silence=self._silence)
            for other in range(self._places)
            if other != index
        }
        commits = SharedCommits(
            node.committer,
            index,
            colleagues,
            spare.dup(),
            most_pending=self._most_pending,
            handed_over=handed_over,
        )
        worker = Worker(index, node, commits, colleagues, spare, handed_over)
        self._started.append(worker)
        await commits.start()
        return worker

    async def close(self) -> None:
        for worker in self._started:
            worker.commits.leave()
        for worker in self._started:
            await worker.commits.close(5)
            assert await worker.node.committer.drain(5)
            assert worker.commits.queued == 0
        for spare in self._spares:
            spare.close()
        self._doors.close()


Start = Callable[..., Awaitable[list[Worker]]]


@pytest.fixture
async def crew(mongo_uri: str, database_name: str) -> AsyncIterator[Crew]:
    mongo = await Mongo.connect(mongo_uri, database=database_name)
    crew = Crew(mongo)
    yield crew
    await crew.close()
    await mongo.close()


@pytest.fixture
def start(crew: Crew) -> Start:
    return crew.start


async def outcome(submission: Awaitable[Any]) -> Any:
    """What a submission returns or raises."""
    try:
        return await submission
    except NgsiLdError as error:
        return error


def overloaded(_tenant: str, _mutations: Any, _size: int) -> asyncio.Future[list[Any]]:
    """Takes nothing over."""
    raise Overloaded("Too much.")


class TestOwners:
    async def test_an_entity_is_committed_by_its_owner_whichever_worker_is_asked(self, start: Start) -> None:
        workers = await start(3)
        numbers = range(30)
        for number in numbers:
            assert await workers[number % 3].commits.submit("", *create(number)) is None
        for worker in workers:
            assert await asyncio.gather(*(worker.send(increment("n", number)) for number in numbers))
        for worker in workers:
            assert worker.committed == {entity_id(n) for n in numbers if n in owned(worker.index, 3, 30)}
        assert sum(worker.node.recorder.commits for worker in workers) == 30 + 3 * 30
        foreign = [sum(worker.index != n % 3 for n in numbers) for worker in workers]
        assert all(foreign), "the test proves nothing"
        created = {
            worker.index: sum(n % 3 == worker.index and n not in owned(worker.index, 3, 30) for n in numbers)
            for worker in workers
        }
        for worker in workers:
            others = 30 - len(worker.committed)
            assert worker.handed_over.value == created[worker.index] + others

    async def test_a_worker_that_is_alone_hands_nothing_over(self, start: Start) -> None:
        (only,) = await start(1)
        assert await only.run(*(create(number) for number in range(20))) == [None] * 20
        assert await only.commits.submit("", *increment("n")) == 1
        assert only.handed_over.value == 0

    async def test_a_tenant_that_one_worker_has_created_is_known_to_the_others(self, start: Start) -> None:
        one, other = await start(2)
        await one.node.tenants.ensure("berlin")
        outcomes = await one.commits.submit_many("berlin", [create(number) for number in range(20)])
        assert outcomes == [None] * 20
        assert one.committed
        assert other.committed
        nobody = await one.commits.submit_many("nobody", [create(number) for number in range(20)])
        assert {type(error) for error in nobody} == {NonexistentTenant}

    async def test_concurrent_updates_over_all_workers_lose_nothing_and_never_race(self, start: Start) -> None:
        workers = await start(3)
        await workers[0].run(*(create(number) for number in range(4)))
        answers: dict[int, list[int]] = {number: [] for number in range(4)}

        async def client(worker: Worker, number: int) -> None:
            for _ in range(25):
                answers[number].append(await worker.commits.submit("", *increment("n", number)))

        await asyncio.gather(*(client(worker, number) for worker in workers for number in range(4) for _ in range(2)))
        for number in range(4):
            assert sorted(answers[number]) == list(range(1, 151))
            assert await workers[0].node.value("n", number) == 150
        assert [worker.node.recorder.lost_races for worker in workers] == [0, 0, 0]
        for worker in workers:
            worker.node.recorder.assert_all_released()

    async def test_updates_of_an_entity_apply_in_the_order_in_which_a_worker_was_sent_them(self, start: Start) -> None:
        workers = await start(2)
        (number,) = owned(1, 2)
        await workers[0].run(create(number))
        tasks = []
        for step in range(200):
            tasks.append(workers[0].send(record("log", step, number)))
            if step % 40 == 0:
                await asyncio.sleep(0.002)
        await asyncio.gather(*tasks)
        assert await workers[0].node.value("log", number) == list(range(200))


class TestOutcomes:
    async def test_outcomes_and_errors_are_the_same_whichever_worker_is_asked(self, start: Start) -> None:
        workers = await start(2, checker=Judge())
        (number,) = owned(0, 2)
        name = entity_id(number)
        steps: list[tuple[str, Mutation]] = [
            update(number, n=1),
            create(number, a=1),
            create(number),
            update(number, a=10),
            update(number, a=2, scope="/x"),
            (name, UpsertEntity(fragment({"id": name, "type": "Thing", "b": 1}), update=True)),
            (name, Stumble()),
            (name, DeleteEntity(name)),
            (name, DeleteEntity(name)),
        ]
        seen = []
        for worker in workers:
            alone = [await outcome(worker.commits.submit("", *step)) for step in steps]
            together = await worker.run(*steps)
            seen += [
                [(type(one), vars(one)) if isinstance(one, NgsiLdError) else one for one in outcomes]
                for outcomes in (alone, together)
            ]
        assert workers[1].handed_over.value == 2 * len(steps)
        assert all(outcomes == seen[0] for outcomes in seen)
        absent, created, again, refused, updated, _, stumbled, deleted, gone = seen[0]
        assert (created, deleted) == (None, None)
        assert [one[0] for one in (absent, again, stumbled, gone)] == [
            ResourceNotFound,
            AlreadyExists,
            InternalError,
            ResourceNotFound,
        ]
        assert refused == (BadRequestData, vars(Judged.refusal))
        assert updated.updated == ["https://uri.etsi.org/ngsi-ld/default-context/a"]
        assert [reason[0] for reason in updated.not_updated] == ["scope"]

    async def test_a_batch_over_several_owners_keeps_the_order_of_its_outcomes(self, start: Start) -> None:
        workers = await start(3)
        for position, worker in enumerate(workers):
            numbers = range(100 * position, 100 * position + 40)
            assert await worker.run(*(create(number) for number in numbers)) == [None] * 40
            outcomes = await worker.run(
                *(create(number) if number % 4 == 3 else increment("n", number % 4 + numbers[0]) for number in numbers)
            )
            expected = [AlreadyExists if number % 4 == 3 else number // 4 + 1 for number in range(40)]
            assert [type(one) if isinstance(one, NgsiLdError) else one for one in outcomes] == expected
        assert all(worker.committed for worker in workers)
        assert await workers[0].run() == []

    async def test_several_changes_of_an_entity_in_a_batch_keep_their_order(self, start: Start) -> None:
        workers = await start(3)
        numbers = range(9)
        for worker in workers:
            steps = [record("log", [worker.index, step], number) for step in range(5) for number in numbers]
            ends = [(entity_id(number), DeleteEntity(entity_id(number))) for number in numbers]
            await worker.run(*(create(number) for number in numbers), *steps)
            for number in numbers:
                assert await worker.node.value("log", number) == [[worker.index, step] for step in range(5)]
            assert await worker.run(*ends, *(create(number, a=7) for number in numbers), *ends) == [None] * 27
            assert await worker.node.stored(3) is None

    async def test_large_packets_arrive(self, start: Start) -> None:
        workers = await start(2)
        numbers = owned(1, 2, 10)
        text = "ß" * (MEBIBYTE // 2)
        outcomes = await workers[0].run(*(create(number, a=text) for number in numbers))
        assert outcomes == [None] * 10
        assert await workers[0].node.value("a", numbers[9]) == text
        assert workers[1].committed == {entity_id(number) for number in numbers}

    async def test_the_owner_bounds_its_groups_by_the_sizes_of_what_it_was_handed(self, start: Start) -> None:
        workers = await start(2, limits={1: Limits(group_bytes=1000)})
        numbers = owned(1, 2, 20)
        await asyncio.gather(*(workers[0].commits.submit("", *create(number), 300) for number in numbers))
        assert max(len(writes.inserts) for writes in workers[1].node.store.writes) == 4

    async def test_a_caller_that_goes_away_stops_neither_its_update_nor_the_others(self, start: Start) -> None:
        workers = await start(2)
        (number,) = owned(1, 2)
        await workers[0].run(create(number))
        go_on = workers[1].hold()
        gone, stays = workers[0].send(increment("n", number)), workers[0].send(increment("n", number))
        batch = asyncio.create_task(workers[0].run(increment("n", number), create(owned(0, 2)[0])))
        await until(lambda: workers[1].holding)
        gone.cancel()
        batch.cancel()
        await asyncio.wait([gone, batch])
        go_on.set()
        assert await stays == 2
        assert await workers[0].commits.submit("", *increment("n", number)) == 4
        assert workers[0].reaches_all
        await until(lambda: workers[0].commits.queued == 0)


class TestBounds:
    async def test_the_refusal_of_an_owner_that_is_overloaded_comes_back(self, start: Start) -> None:
        workers = await start(2, limits={1: Limits(max_queue=5, groups_in_flight=1)})
        (number,), (own,) = owned(1, 2), owned(0, 2)
        await workers[0].run(create(number), create(own))
        go_on = workers[1].hold()
        accepted = [workers[0].send(increment("n", number)) for _ in range(5)]
        await until(lambda: workers[1].holding and workers[1].node.committer.full)

        refused = await outcome(workers[0].commits.submit("", *increment("n", number)))
        assert type(refused) is Overloaded
        assert refused.headers["Retry-After"]
        mixed = await workers[0].run(increment("n", number), increment("n", own), increment("n", number))
        assert [type(one) for one in mixed] == [Overloaded, int, Overloaded]

        go_on.set()
        assert await asyncio.gather(*accepted) == [1, 2, 3, 4, 5]
        assert await workers[0].commits.submit("", *increment("n", number)) == 6

    async def test_a_batch_that_this_worker_cannot_take_is_begun_by_nobody(self, start: Start) -> None:
        workers = await start(2, limits={0: Limits(max_queue=1, groups_in_flight=1)})
        (number,), (own,) = owned(1, 2), owned(0, 2)
        await workers[0].run(create(own))
        await workers[0].run(create(number))
        go_on = workers[0].hold()
        accepted = workers[0].send(increment("n", own))
        await until(lambda: workers[0].holding)

        assert type(await outcome(workers[0].run(increment("n", number), increment("n", own)))) is Overloaded

        go_on.set()
        assert await accepted == 1
        assert await workers[0].run(increment("n", number), increment("n", own)) == [1, 2]

    async def test_what_waits_for_other_workers_is_bounded(self, start: Start) -> None:
        workers = await start(2, most_pending=3)
        (number,), (own,) = owned(1, 2), owned(0, 2)
        commits = workers[0].commits
        await workers[0].run(create(number), create(own))
        go_on = workers[1].hold()
        accepted = [workers[0].send(increment("n", number)) for _ in range(2)]
        accepted.append(asyncio.create_task(workers[0].run(increment("n", number))))
        await until(lambda: workers[1].holding)
        assert commits.full
        assert type(commits.refusal()) is Overloaded
        assert type(await outcome(commits.submit("", *increment("n", number)))) is Overloaded
        assert await commits.submit("", *increment("n", own)) == 1, "what is its own it commits"

        go_on.set()
        assert await asyncio.gather(*accepted) == [1, 2, [3]]
        assert not commits.full
        assert commits.refusal() is None
        assert await commits.submit("", *increment("n", number)) == 4

    async def test_each_worker_counts_as_waiting_what_it_was_sent_itself(self, start: Start) -> None:
        workers = await start(2)
        (number,), (own,) = owned(1, 2), owned(0, 2)
        await workers[0].run(create(number), create(own))
        releases = [worker.hold() for worker in workers]
        tasks = [workers[0].send(increment("n", number)) for _ in range(3)]
        tasks += [workers[0].send(increment("n", own)), workers[1].send(increment("n", number))]
        await until(lambda: all(worker.holding for worker in workers))
        await until(lambda: workers[1].node.committer.queued == 4)
        assert [worker.commits.queued for worker in workers] == [4, 1]
        for release in releases:
            release.set()
        await asyncio.gather(*tasks)
        await until(lambda: [worker.commits.queued for worker in workers] == [0, 0])


class TestEnds:
    async def test_a_worker_that_leaves_answers_what_it_was_handed_and_others_commit_the_rest(
        self, start: Start
    ) -> None:
        workers = await start(2)
        first, second = owned(1, 2, 2)
        await workers[0].run(create(first), create(second))
        go_on = workers[1].hold()
        handed = [workers[0].send(increment("n", first)) for _ in range(3)]
        await until(lambda: workers[1].holding)

        workers[1].commits.leave()
        closing = asyncio.create_task(workers[1].commits.close(5))
        await until(lambda: not workers[0].reaches_any)
        assert await workers[0].commits.submit("", *increment("n", second)) == 1
        assert entity_id(second) in workers[0].committed
        assert not any(task.done() for task in (*handed, closing))

        go_on.set()
        assert await asyncio.gather(*handed) == [1, 2, 3]
        await asyncio.wait_for(closing, 1)
        assert await workers[0].commits.submit("", *increment("n", first)) == 4

    async def test_a_worker_that_leaves_gets_the_outcomes_of_what_it_handed_over(self, start: Start) -> None:
        workers = await start(2)
        (number,) = owned(1, 2)
        await workers[0].run(create(number))
        go_on = workers[1].hold()
        handed = workers[0].send(increment("n", number))
        await until(lambda: workers[1].holding)

        workers[0].commits.leave()
        later = workers[0].send(increment("n", number))  # commits by itself, and races
        go_on.set()

        assert sorted(await asyncio.gather(handed, later)) == [1, 2]
        assert await workers[0].node.value("n", number) == 2

    async def test_what_is_handed_over_in_the_moment_of_leaving_is_answered(self, start: Start) -> None:
        workers = await start(2)
        numbers = owned(1, 2, 20)
        await workers[0].run(*(create(number) for number in numbers))

        handed = [workers[0].send(increment("n", number)) for number in numbers[:10]]
        await asyncio.sleep(0)
        workers[1].commits.leave()
        handed += [workers[0].send(increment("n", number)) for number in numbers[10:]]

        assert await asyncio.gather(*handed) == [1] * 20

    async def test_all_may_leave_at_once_and_everybody_gets_their_outcomes(self, start: Start) -> None:
        workers = await start(3)
        await workers[0].run(*(create(number) for number in range(30)))
        tasks = [worker.send(increment("n", number)) for worker in workers for number in range(30)]
        await asyncio.sleep(0)
        for worker in workers:
            worker.commits.leave()
        await asyncio.wait_for(asyncio.gather(*(worker.commits.close(5) for worker in workers)), 4)
        assert sorted(await asyncio.gather(*tasks)) == sorted([1, 2, 3] * 30)

    async def test_who_takes_the_place_of_one_that_has_left_is_reached(self, crew: Crew) -> None:
        workers = await crew.start(2)
        (number,) = owned(1, 2)
        await workers[0].run(create(number))
        successor = await crew.take(1)
        workers[1].commits.leave()
        await asyncio.wait_for(workers[1].commits.close(5), 2)
        await until(lambda: workers[0].reaches_all and successor.reaches_all)

        assert await workers[0].commits.submit("", *increment("n", number)) == 1
        assert successor.committed == {entity_id(number)}

    async def test_close_waits_no_longer_than_it_is_told_for_those_who_stay(self, start: Start) -> None:
        workers = await start(2)
        (number,) = owned(1, 2)
        await workers[0].run(create(number))
        go_on = workers[1].hold()
        handed = workers[0].send(increment("n", number))
        await until(lambda: workers[1].holding)
        workers[1].commits.leave()
        await workers[1].commits.close(0.05)
        assert type(await outcome(handed)) is OutcomeUnknown
        go_on.set()

    @pytest.mark.parametrize("turns", range(6))
    def test_one_that_comes_in_the_moment_of_leaving_is_told_so(self, turns: int) -> None:
        """In the event loop that workers run: it lets somebody in even after the door is closed."""

        async def come_and_leave() -> None:
            doors = Doors()
            door = doors.open(0)
            reception = Reception(door, overloaded)
            await reception.start()
            late = Colleague(door.getsockname(), silence=5)
            late.start()
            for _ in range(turns):
                await asyncio.sleep(0)
            reception.leave()
            try:
                await asyncio.sleep(0.02)
                assert not late.reachable
                await asyncio.wait_for(reception.close(5), 1)
            finally:
                late.leave()
                await reception.close(0)
                doors.close()

        uvloop.run(come_and_leave())


class TestLosses:
    async def test_of_one_that_has_not_come_the_others_commit_the_entities(self, crew: Crew) -> None:
        (first,) = await crew.start(2, absent=[1])
        (number,) = owned(1, 2)
        assert await first.run(create(number)) == [None]
        assert first.committed == {entity_id(number)}
        assert first.handed_over.value == 0

        second = await crew.take(1)
        await until(lambda: first.reaches_all)
        assert await first.commits.submit("", *increment("n", number)) == 1
        assert entity_id(number) in second.committed

    async def test_what_was_under_way_at_one_that_dies_has_an_unknown_outcome(self, crew: Crew) -> None:
        first, second = await crew.start(2)
        numbers, (own,) = owned(1, 2, 3), owned(0, 2)
        await first.run(create(own), *(create(number) for number in numbers))
        go_on = second.hold()
        handed = [first.send(increment("n", numbers[0])) for _ in range(3)]
        batch = asyncio.create_task(first.run(increment("n", own), increment("n", numbers[1])))
        await until(lambda: second.holding)

        await second.die()

        for task in handed:
            error = await outcome(task)
            assert type(error) is OutcomeUnknown
            assert error.status == 503
            assert error.headers["Retry-After"]
        assert [type(one) for one in await batch] == [int, OutcomeUnknown]
        assert not first.reaches_any
        assert await first.commits.submit("", *increment("n", numbers[2])) == 1
        assert entity_id(numbers[2]) in first.committed
        assert first.commits.queued == 0

        go_on.set()  # what has died elsewhere goes on here: the version decides
        assert await second.node.committer.drain(5)
        assert await first.commits.submit("", *increment("n", numbers[0])) == 4
        successor = await crew.take(1)
        await until(lambda: first.reaches_all)
        assert await first.commits.submit("", *increment("n", numbers[0])) == 5
        assert successor.committed == {entity_id(numbers[0])}

    async def test_what_was_taken_over_from_one_that_dies_is_committed(self, start: Start) -> None:
        workers = await start(2)
        (number,) = owned(1, 2)
        await workers[0].run(create(number))
        go_on = workers[1].hold()
        handed = workers[0].send(increment("n", number))
        await until(lambda: workers[1].holding)
        errands = workers[0].colleagues[1]._errands
        assert errands is not None

        errands.abort()

        assert type(await outcome(handed)) is OutcomeUnknown
        go_on.set()
        await until(lambda: workers[0].reaches_all)
        assert await workers[0].commits.submit("", *increment("n", number)) == 2

    async def test_one_that_is_silent_is_given_up(self, crew: Crew) -> None:
        (first,) = await crew.start(2, absent=[1], silence=0.3)
        (number,) = owned(1, 2)
        asked: list[bytes] = []

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            packet = dumps([READY])
            writer.write(struct.pack(">I", len(packet)) + packet)
            while data := await reader.read(1000):
                asked.append(data)
            writer.close()

        server = await asyncio.start_unix_server(silent, sock=crew._spares[1].dup())
        await until(lambda: first.reaches_all)
        began = asyncio.get_running_loop().time()
        error = await outcome(first.commits.submit("", *create(number)))
        assert type(error) is OutcomeUnknown
        assert 0.3 <= asyncio.get_running_loop().time() - began < 3
        assert asked
        server.close()

    async def test_one_that_answers_while_others_wait_longer_is_not_given_up(self, start: Start) -> None:
        workers = await start(2, silence=0.3)
        numbers = owned(1, 2, 2)
        await workers[0].run(*(create(number) for number in numbers))
        for _ in range(4):
            go_on = workers[1].hold()
            handed = workers[0].send(increment("n", numbers[0]))
            await until(lambda: workers[1].holding)
            await asyncio.sleep(0.12)
            go_on.set()
            assert isinstance(await handed, int)
        assert await workers[0].node.value("n", numbers[0]) == 4
        assert workers[0].reaches_all

    async def test_a_door_that_is_not_there_is_looked_for_again(self) -> None:
        doors = Doors()
        door = doors.open(0)
        path = door_of(door, 1)
        colleague = Colleague(path, silence=5)
        colleague.start()
        await asyncio.sleep(0.1)
        assert not colleague.reachable
        other = doors.open(1)
        reception = Reception(other, overloaded)
        await reception.start()
        await until(lambda: colleague.reachable)
        assert [type(one) for one in await colleague.submit("", [increment("n"), increment("n")], 0)] == [
            Overloaded,
            Overloaded,
        ]
        colleague.leave()
        reception.leave()
        await asyncio.wait_for(reception.close(5), 1)
        door.close()
        doors.close()
