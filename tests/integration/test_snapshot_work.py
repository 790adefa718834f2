"""Work on snapshots beside the requests, over a real MongoDB: filling, taking over, clearing up, notices (5.16)."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import pytest

from broker.core.queries import EntityQuery
from broker.core.snapshot_notices import SnapshotNotifier
from broker.core.snapshot_work import SnapshotWork
from broker.ngsild.content import snapshot_content
from broker.ngsild.errors import BadRequestData, InternalError, ResourceNotFound, Unavailable
from broker.outbound import OutboundError
from broker.storage.client import Mongo
from broker.storage.entities import COLLECTION
from broker.storage.snapshot_contents import SnapshotContents
from broker.storage.snapshot_parts import EVERYTHING, Part
from broker.storage.snapshots import Document, SnapshotNotices, SnapshotStore
from tests.integration.committing import Node, create, entity_id, update, value_of
from tests.unit.notify.samples import until

KEY = {"tenant": "", "id": "urn:ngsi-ld:Snapshot:1"}
THEN, FAR = "2026-01-01T00:00:00.000000Z", "2090-01-01T00:00:00.000000Z"


class Alive:
    """Which processes are alive."""

    def __init__(self, *processes: str) -> None:
        self.processes = set(processes)

    async def alive(self) -> set[str]:
        return self.processes


class Queries:
    """Selects everything; a query that says "fail" or "wait" does so, the latter once; "refuse": MongoDB fails."""

    def __init__(self) -> None:
        self.waited = False

    def compile(self, query: dict[str, Any], _context: Any, _pointer: str) -> tuple[EntityQuery, Part]:
        if "fail" in query:
            raise BadRequestData("It cannot be.")
        if "wait" in query and not self.waited:
            self.waited = True
            raise Unavailable("Not now.")
        return EntityQuery(id_pattern="(" if "refuse" in query else query.get("idPattern")), EVERYTHING

    async def selection(self, _tenant: str, query: EntityQuery) -> tuple[dict[str, Any], None]:
        if query.id_pattern == "(":
            return {"_id": {"$regex": "("}}, None
        return {"_id": query.id_pattern} if query.id_pattern is not None else {}, None


class Nothing:
    """Contexts and subscriptions, of which there are none."""

    async def resolve(self, _source: Any, _tenant: str = "") -> Any:
        return None

    async def delete_all(self, _tenant: str) -> None:
        pass


class Posts:
    """Remembers what is sent, and answers with `status`; 0 does not answer."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.status = 200

    async def post(self, _url: str, body: bytes, _headers: Mapping[str, str], timeout: float) -> int:  # noqa: ASYNC109
        self.bodies.append(orjson.loads(body))
        if not self.status:
            raise OutboundError("there was no answer")
        return self.status


class Process:
    """One broker process, as far as snapshots go."""

    def __init__(self, mongo: Mongo, node: Node, name: str, alive: Alive) -> None:
        self.store, self.notices = SnapshotStore(mongo), SnapshotNotices(mongo)
        self.contents = SnapshotContents(mongo, node.tenants)
        self.posts = Posts()
        self.notifier = SnapshotNotifier(self.notices, self.store, self.posts, timeout=1, max_age=60)
        queries, nothing = Queries(), Nothing()
        self.work = SnapshotWork(
            process=name,
            store=self.store,
            contents=self.contents,
            notifier=self.notifier,
            queries=queries,
            contexts=nothing,
            compile_query=queries.compile,
            processes=alive,
            subscriptions=nothing,
        )

    async def stored(self) -> Document:
        found = await self.store.find(KEY)
        assert found is not None
        return found

    async def ended(self) -> bool:
        return "job" not in await self.stored()


def preparing(process: str, *queries: dict[str, Any], **definition: Any) -> Document:
    return {
        "_id": KEY,
        **dict.fromkeys(("createdAt", "modifiedAt", "usedAt"), THEN),
        "expiresAt": FAR,
        "version": 1,
        "status": "preparing",
        "definition": {
            "queries": orjson.dumps(list(queries) or [{}]).decode(),
            "context": '"x"',
            "snapshotPriority": 5,
            **definition,
        },
        "job": {"process": process, "content": snapshot_content("", KEY["id"], f"by{process}")},
    }


@pytest.fixture
async def mongo(mongo_uri: str, database_name: str) -> AsyncIterator[Mongo]:
    connected = await Mongo.connect(mongo_uri, database=database_name)
    yield connected
    for name in await connected.client.list_database_names():
        if name.startswith(f"{database_name}+"):
            await connected.client.drop_database(name)
    await connected.close()


@pytest.fixture
async def node(mongo: Mongo) -> Node:
    started = await Node(mongo).start()
    await started.committer.submit_many("", [create(number, a=number) for number in range(3)])
    return started


@pytest.fixture
def alive() -> Alive:
    return Alive("p1", "p2")


@pytest.fixture
async def first(mongo: Mongo, node: Node, alive: Alive) -> AsyncIterator[Process]:
    process = Process(mongo, node, "p1", alive)
    await process.store.prepare()
    await process.notices.prepare()
    yield process
    await process.work.stop()


@pytest.fixture
async def second(mongo: Mongo, node: Node, alive: Alive) -> AsyncIterator[Process]:
    process = Process(mongo, node, "p2", alive)
    yield process
    await process.work.stop()


async def held(node: Node, document: Document) -> list[str]:
    database = await node.tenants.database(document["content"])
    return sorted([one["_id"] async for one in database[COLLECTION].find()])


class TestTakingOver:
    async def test_a_snapshot_of_a_dead_process_is_prepared_anew(self, node: Node, first: Process) -> None:
        await first.store.insert(preparing("dead"))
        await first.work.look()
        assert (await first.stored())["job"]["process"] == "dead"  # it may just have been late
        await first.work.look()
        await until(first.ended)
        document = await first.stored()
        assert document["status"] == "success"
        assert document["details"] == [{"resultStatus": "success"}]
        assert document["content"] != preparing("dead")["job"]["content"]
        assert await held(node, document) == [entity_id(number) for number in range(3)]

    async def test_a_snapshot_of_a_living_process_is_left_to_it(self, first: Process) -> None:
        await first.store.insert(preparing("p2"))
        for _ in range(3):
            await first.work.look()
        assert (await first.stored())["job"]["process"] == "p2"

    async def test_nobody_is_judged_by_a_process_whose_own_signs_of_life_are_missing(
        self, first: Process, alive: Alive
    ) -> None:
        await first.store.insert(preparing("dead"))
        alive.processes = {"p2"}
        for _ in range(3):
            await first.work.look()
        assert (await first.stored())["job"]["process"] == "dead"

    async def test_only_one_process_takes_over(self, first: Process, second: Process) -> None:
        await first.store.insert(preparing("dead"))
        document = await first.stored()
        results = [await one.store.take_over(document, one.work.process, "c") for one in (first, second)]
        assert results == [True, False]

    async def test_one_that_was_thought_dead_changes_nothing_any_more(
        self, mongo: Mongo, node: Node, first: Process, second: Process
    ) -> None:
        document = preparing("p2")
        await first.store.insert(document)
        taken = snapshot_content("", KEY["id"], "taken")
        assert await first.store.take_over(document, "p1", taken)
        second.work.start_job(document)

        async def discarded() -> bool:
            row = await mongo.control["tenants"].find_one({"_id": document["job"]["content"]})
            return row is not None and row["database"] not in await mongo.client.list_database_names()

        await until(discarded)
        stored = await first.stored()
        assert (stored["status"], stored["job"]["content"]) == ("preparing", taken)


class TestFilling:
    async def test_all_is_read_as_it_was_at_one_instant(self, node: Node, first: Process) -> None:
        content = snapshot_content("", KEY["id"], "now")
        await first.contents.make("", content, "now")
        async with first.contents.reading() as instant:
            await node.committer.submit_many("", [update(1, a=99), create(7, a=7)])
            assert await first.contents.copy("", content, instant, {"_id": {"$ne": entity_id(0)}})
            assert not await first.contents.copy("", content, instant, {"_id": entity_id(7)})
        found = await node.store.load(content, [entity_id(number) for number in (0, 1, 2, 7)])
        assert sorted(found) == [entity_id(1), entity_id(2)]
        assert value_of(found[entity_id(1)], "a") == 1

    async def test_a_query_that_fails_shows_in_the_details(self, first: Process) -> None:
        document = preparing("p1", {"fail": True}, {"idPattern": "none"}, {})
        await first.store.insert(document)
        first.work.start_job(document)
        await until(first.ended)
        stored = await first.stored()
        assert [one["resultStatus"] for one in stored["details"]] == ["failure", "empty", "success"]
        assert stored["details"][0]["problemDetails"]["detail"] == "It cannot be."
        assert stored["status"] == "partial"

    async def test_a_query_that_mongodb_refuses_spoils_no_other(self, first: Process) -> None:
        document = preparing("p1", {}, {"refuse": True}, {"idPattern": "none"}, {"refuse": True})
        await first.store.insert(document)
        first.work.start_job(document)
        await until(first.ended)
        stored = await first.stored()
        assert [one["resultStatus"] for one in stored["details"]] == ["success", "failure", "empty", "failure"]
        assert "MongoDB cannot use" in stored["details"][1]["problemDetails"]["detail"]

    async def test_a_snapshot_that_takes_longer_than_mongodb_lets_it_fails_with_the_setting(
        self, mongo: Mongo, first: Process, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("broker.storage.transactions._SHORT", 0.5)
        limit = "transactionLifetimeLimitSeconds"
        answer = await mongo.client.admin.command({"setParameter": 1, limit: 1})
        content = snapshot_content("", KEY["id"], "late")
        try:
            await first.contents.make("", content, "late")
            with pytest.raises(InternalError, match=limit):  # noqa: PT012 - it is raised where the reading ends
                async with first.contents.reading() as instant:
                    await asyncio.sleep(3)
                    await first.contents.copy("", content, instant, {})
        finally:
            await mongo.client.admin.command({"setParameter": 1, limit: answer["was"]})

    async def test_a_snapshot_waits_for_a_lost_storage(self, monkeypatch: pytest.MonkeyPatch, first: Process) -> None:
        monkeypatch.setattr("broker.core.snapshot_work._PAUSE", 0.01)
        document = preparing("p1", {"wait": True})
        await first.store.insert(document)
        first.work.start_job(document)
        await until(first.ended)
        assert (await first.stored())["status"] == "success"

    async def test_a_snapshot_that_is_deleted_meanwhile_leaves_nothing(
        self, mongo: Mongo, node: Node, first: Process
    ) -> None:
        document = preparing("p1")
        before = set(await mongo.client.list_database_names())
        first.work.start_job(document)  # it is not there, as if it had been deleted

        async def made_and_dropped() -> bool:
            made = await mongo.control["tenants"].find_one({"_id": document["job"]["content"]})
            return made is not None and set(await mongo.client.list_database_names()) == before and not first.work._jobs

        await until(made_and_dropped)

    async def test_the_census_of_a_content_counts_what_is_in_it(self, mongo: Mongo, first: Process) -> None:
        document = preparing("p1")
        await first.store.insert(document)
        first.work.start_job(document)
        await until(first.ended)
        content = (await first.stored())["content"]
        row = await mongo.control["tenants"].find_one({"_id": content})
        assert row is not None
        (census,) = await mongo.client[row["database"]]["census"].find().to_list(None)
        assert census["entities"] == 3
        assert list(census["attributes"].values()) == [{"Property": 3}]


class TestClearingUp:
    async def test_what_has_expired_is_removed(self, node: Node, first: Process) -> None:
        document = preparing("p1")
        await first.store.insert(document)
        first.work.start_job(document)
        await until(first.ended)
        await first.store.replace({**await first.stored(), "expiresAt": THEN})
        await first.work.look()
        assert await first.store.find(KEY) is None

    async def test_a_content_that_nobody_refers_to_is_dropped_and_forgotten_later(
        self, mongo: Mongo, node: Node, first: Process
    ) -> None:
        content = snapshot_content("", KEY["id"], "left")
        await first.contents.make("", content, "left")
        database, registry = f"{mongo.name}+sleft", mongo.control["tenants"]

        async def there() -> bool:
            return database in await mongo.client.list_database_names()

        async def sweep(grace: float) -> None:
            await first.contents.sweep(first.store.contents, grace)

        await sweep(600)
        assert await there()  # made just now, perhaps for a snapshot that is being created
        await registry.update_one({"_id": content}, [{"$set": {"madeAt": {"$subtract": ["$$NOW", 120_000]}}}])
        await sweep(600)
        assert not await there()
        await mongo.client[database][COLLECTION].insert_one({"_id": "late"})  # a write that was under way
        await sweep(600)
        assert await registry.find_one({"_id": content}) is not None
        await sweep(-1)
        assert not await there()
        assert await registry.find_one({"_id": content}) is None

    async def test_a_content_in_use_stays(self, mongo: Mongo, node: Node, first: Process) -> None:
        document = preparing("p1")
        await first.store.insert(document)
        first.work.start_job(document)
        await until(first.ended)
        await mongo.control["tenants"].update_many(
            {"madeAt": {"$exists": True}}, [{"$set": {"madeAt": {"$subtract": ["$$NOW", 120_000]}}}]
        )
        await first.contents.sweep(first.store.contents, -1)
        assert len(await held(node, await first.stored())) == 3

    async def test_a_process_that_never_saw_a_content_finds_out_that_it_is_gone(
        self, mongo: Mongo, node: Node, first: Process
    ) -> None:
        with pytest.raises(ResourceNotFound):
            await node.tenants.database(snapshot_content("", KEY["id"], "never"))
        with pytest.raises(ResourceNotFound):
            await node.tenants.ensure(snapshot_content("", KEY["id"], "never"))


class TestNotices:
    async def test_a_notice_waits_until_its_change_is_there(self, first: Process) -> None:
        document = preparing("p1", endpoint="http://told.example/")
        await first.store.insert(document)
        await first.notifier.announce({**document, "version": 2})
        await first.notifier.send_due()
        assert first.posts.bodies == []
        assert await first.store.replace(document) is not None
        await self.due(first)
        await first.notifier.send_due()
        assert [one["snapshotId"] for one in first.posts.bodies] == [KEY["id"]]
        await self.due(first)
        await first.notifier.send_due()
        assert len(first.posts.bodies) == 1

    async def test_a_notice_of_a_change_that_never_came_is_dropped(self, first: Process) -> None:
        document = preparing("p1", endpoint="http://told.example/")
        await first.store.insert(document)
        await first.notifier.announce({**document, "version": 2})
        await self.due(first, age=31)
        await first.notifier.send_due()
        assert await first.store.replace(document) is not None
        await self.due(first)
        await first.notifier.send_due()
        assert first.posts.bodies == []

    @pytest.mark.parametrize(("status", "attempts"), [(0, 2), (500, 2), (429, 2), (200, 1), (404, 1)])
    async def test_an_endpoint_that_may_answer_later_is_tried_again(
        self, first: Process, status: int, attempts: int
    ) -> None:
        document = preparing("p1", endpoint="http://told.example/")
        await first.store.insert(document)
        first.posts.status = status
        await first.notifier.announce(document)
        await first.notifier.send_due()
        await self.due(first)
        await first.notifier.send_due()
        assert len(first.posts.bodies) == attempts
        await self.due(first, age=61)
        await first.notifier.send_due()
        await self.due(first)
        await first.notifier.send_due()
        assert len(first.posts.bodies) == (3 if attempts > 1 else 1)  # given up at last

    async def test_only_one_process_sends_a_notice(self, first: Process, second: Process) -> None:
        document = preparing("p1", endpoint="http://told.example/")
        await first.store.insert(document)
        await first.notifier.announce(document)
        await second.notifier.send_due()
        await first.notifier.send_due()
        assert (len(first.posts.bodies), len(second.posts.bodies)) == (0, 1)

    @staticmethod
    async def due(process: Process, age: float = 0) -> None:
        """Have everything due now, as if it had been stored so many seconds earlier."""
        earlier = {"dueAt": "$$NOW", "storedAt": {"$subtract": ["$storedAt", int(age * 1000)]}}
        await process.notices._collection.update_many({}, [{"$set": earlier}])
