"""Gathered reads: who shares a find with whom. What finds return is the matter of the integration tests."""

import asyncio
from collections.abc import Sequence
from typing import Any

import bson
import pytest

from broker.ngsild.errors import InternalError, NonexistentTenant, Unavailable
from broker.ngsild.expiry import MARK
from broker.storage import reads as module
from broker.storage.documents import StoredEntity, as_document
from broker.storage.finding import Page
from broker.storage.reads import ExpiryReads, PageReads, Reads
from tests.unit.ngsild.samples import entity


class Storage:
    """Stands in for tenants, databases and `find`: finds are answered when the test says so."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[str]]] = []
        self.answers: list[asyncio.Future[None]] = []
        self.version = 1

    async def database(self, tenant: str) -> dict[str, str]:
        if tenant == "nobody":
            raise NonexistentTenant("The tenant 'nobody' does not exist.")
        return {module.COLLECTION: tenant}

    async def find(self, collection: str, condition: dict[str, Any], *, limit: int) -> list[StoredEntity]:
        asked = condition["_id"]
        ids: Sequence[str] = [asked] if isinstance(asked, str) else asked["$in"]
        assert limit == len(ids)
        self.sent.append((collection, sorted(ids)))
        version = self.version
        answer = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        await answer
        return [stored(one, version) for one in ids if "missing" not in one]

    def answer(self, error: Exception | None = None) -> None:
        """Answer the oldest find under way."""
        waiting = self.answers.pop(0)
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(error)

    def finds(self) -> list[list[str]]:
        return [ids for _, ids in self.sent]


def stored(entity_id: str, version: int) -> StoredEntity:
    return StoredEntity(bson.encode(as_document({**entity(id=entity_id), "version": version})))


def name(number: int) -> str:
    return f"urn:e:{number:03}"


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Storage:
    stand_in = Storage()
    monkeypatch.setattr(module, "find", stand_in.find)
    return stand_in


@pytest.fixture
async def reads(storage: Storage) -> Reads:
    tenants: Any = storage
    return Reads(tenants)


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def begin(reads: Reads, *numbers: int, tenant: str = "") -> list[asyncio.Task[StoredEntity | None]]:
    return [asyncio.create_task(reads.get(tenant, name(number))) for number in numbers]


async def test_reads_that_come_together_share_a_find(reads: Reads, storage: Storage) -> None:
    tasks = begin(reads, 1, 2, 3, 1)
    await settle()
    assert storage.finds() == [[name(1), name(2), name(3)]]
    storage.answer()
    found = await asyncio.gather(*tasks)
    assert [one.entity_id for one in found if one is not None] == [name(1), name(2), name(3), name(1)]


async def test_a_read_never_joins_a_find_that_was_sent_before_it_began(reads: Reads, storage: Storage) -> None:
    first = begin(reads, 1)
    await settle()
    storage.version = 2  # a write is acknowledged
    second = begin(reads, 1)
    await settle()
    assert storage.finds() == [[name(1)]]
    storage.answer()
    await settle()
    storage.answer()
    versions = [one.version for one in await asyncio.gather(*first, *second) if one is not None]
    assert versions == [1, 2]
    assert storage.finds() == [[name(1)], [name(1)]]


async def test_the_next_find_gathers_while_one_is_under_way(reads: Reads, storage: Storage) -> None:
    tasks = begin(reads, 1)
    await settle()
    tasks += begin(reads, 2)
    await settle()
    tasks += begin(reads, 3)
    await settle()
    storage.answer()
    await settle()
    assert storage.finds() == [[name(1)], [name(2), name(3)]]
    storage.answer()
    await asyncio.gather(*tasks)


async def test_a_second_find_starts_beside_the_first_when_enough_wait(reads: Reads, storage: Storage) -> None:
    tasks = begin(reads, 0)
    await settle()
    tasks += begin(reads, *range(1, module._EAGER_IDS + 1))
    await settle()
    assert [len(ids) for ids in storage.finds()] == [1, module._EAGER_IDS]
    tasks += begin(reads, *range(100, 200))
    await settle()
    assert len(storage.sent) == 2  # never more than two
    storage.answer()
    storage.answer()
    await settle()
    assert len(storage.sent) == 3
    storage.answer()
    await asyncio.gather(*tasks)


async def test_tenants_do_not_wait_for_each_other(reads: Reads, storage: Storage) -> None:
    tasks = [*begin(reads, 1), *begin(reads, 1, tenant="madrid")]
    await settle()
    assert sorted(storage.sent) == [("", [name(1)]), ("madrid", [name(1)])]
    storage.answer()
    storage.answer()
    await asyncio.gather(*tasks)
    assert not reads._lanes


async def test_what_does_not_exist_is_absent(reads: Reads, storage: Storage) -> None:
    task = asyncio.create_task(reads.get("", "urn:e:missing"))
    await settle()
    storage.answer()
    assert await task is None
    with pytest.raises(NonexistentTenant):
        await reads.get("nobody", name(1))


@pytest.mark.parametrize(
    ("error", "seen"), [(Unavailable("The storage is away."), Unavailable), (ValueError("internals"), InternalError)]
)
async def test_a_failed_find_fails_its_own_reads_only(
    reads: Reads, storage: Storage, error: Exception, seen: type[Exception]
) -> None:
    failing = begin(reads, 1, 2)
    await settle()
    following = begin(reads, 3)
    await settle()
    storage.answer(error)
    await settle()
    storage.answer()
    outcomes = await asyncio.gather(*failing, return_exceptions=True)
    assert [type(one) for one in outcomes] == [seen, seen]
    assert (await following[0]) is not None


async def test_a_client_that_goes_away_takes_nothing_from_the_others(reads: Reads, storage: Storage) -> None:
    gone, stays = begin(reads, 1, 1)
    await settle()
    gone.cancel()
    await settle()
    storage.answer()
    found = await stays
    assert found is not None
    assert gone.cancelled()


# Pages


class Pages:
    """Stands in for `find_page` and `find_pages`."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[Page]]] = []
        self.answers: list[asyncio.Future[None]] = []

    async def find_page(self, collection: str, page: Page) -> list[StoredEntity]:
        return (await self.find_pages(collection, [page]))[0]

    async def find_pages(self, collection: str, pages: Sequence[Page]) -> list[list[StoredEntity]]:
        self.sent.append((collection, list(pages)))
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        await answer
        return [[stored(f"urn:{bson.decode(page.condition)['state.types']}:{page.limit}", 1)] for page in pages]

    def kinds(self) -> list[tuple[str, list[tuple[str, int]]]]:
        """The types and limits that were asked for."""
        return [
            (tenant, [(bson.decode(page.condition)["state.types"], page.limit) for page in pages])
            for tenant, pages in self.sent
        ]


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Pages:
    stand_in = Pages()
    monkeypatch.setattr(module, "find_page", stand_in.find_page)
    monkeypatch.setattr(module, "find_pages", stand_in.find_pages)
    return stand_in


@pytest.fixture
async def page_reads(storage: Storage) -> PageReads:
    tenants: Any = storage
    return PageReads(tenants)


def ask(
    reads: PageReads, kind: str, limit: int = 20, *, skip: int = 0, prompt: bool = False, tenant: str = ""
) -> asyncio.Task[list[StoredEntity]]:
    page = reads.page(tenant, {"state.types": kind}, limit=limit, skip=skip, direction=1, prompt=prompt)
    return asyncio.create_task(page)


async def test_equal_pages_that_are_asked_for_together_share_a_find(page_reads: PageReads, pages: Pages) -> None:
    tasks = [ask(page_reads, "A"), ask(page_reads, "A"), ask(page_reads, "A", 21), ask(page_reads, "B")]
    tasks.append(ask(page_reads, "A", tenant="madrid"))
    await settle()
    assert pages.kinds() == [("", [("A", 20)]), ("", [("A", 21)]), ("", [("B", 20)]), ("madrid", [("A", 20)])]
    later = ask(page_reads, "A")
    await settle()
    assert len(pages.sent) == 4  # it waits: what is under way was asked before it began
    for answer in pages.answers:
        answer.set_result(None)
    first, second, *_ = await asyncio.gather(*tasks)
    assert first is second
    await settle()
    pages.answers[-1].set_result(None)
    await later
    assert len(pages.sent) == 5


async def test_short_pages_that_mongodb_finds_at_once_share_a_command(page_reads: PageReads, pages: Pages) -> None:
    tasks = [ask(page_reads, kind, prompt=True) for kind in "ABCA"]
    tasks.append(ask(page_reads, "D", prompt=True, tenant="madrid"))
    await settle()
    assert pages.kinds() == [("", [("A", 20), ("B", 20), ("C", 20)]), ("madrid", [("D", 20)])]
    for answer in pages.answers:
        answer.set_result(None)
    found = await asyncio.gather(*tasks)
    assert [page[0].entity_id for page in found] == [f"urn:{kind}:20" for kind in "ABCAD"]
    assert not page_reads._lanes


async def test_a_page_that_takes_longer_keeps_no_other_waiting(page_reads: PageReads, pages: Pages) -> None:
    tasks = [ask(page_reads, "A", 1_000, prompt=True), ask(page_reads, "B", skip=1_000, prompt=True)]
    tasks += [ask(page_reads, "C", prompt=True), ask(page_reads, "D", prompt=True), ask(page_reads, "E")]
    await settle()
    assert sorted(kinds for _, kinds in pages.kinds()) == [
        [("A", 1_000)],
        [("B", 20)],
        [("C", 20), ("D", 20)],
        [("E", 20)],
    ]
    for answer in pages.answers:
        answer.set_result(None)
    await asyncio.gather(*tasks)


async def test_a_command_is_about_so_many_pages_at_most(page_reads: PageReads, pages: Pages) -> None:
    tasks = [ask(page_reads, f"T{number}", prompt=True) for number in range(3 * module._MOST_PAGES)]
    await settle()
    assert [len(asked) for _, asked in pages.sent] == [module._MOST_PAGES] * 2
    while not all(task.done() for task in tasks):
        pages.answers.pop(0).set_result(None)
        await settle()
    assert [task.result()[0].entity_id for task in tasks] == [f"urn:T{number}:20" for number in range(len(tasks))]


async def test_those_who_ask_at_once_whether_something_has_expired_ask_for_the_last_instant(
    monkeypatch: pytest.MonkeyPatch, storage: Storage
) -> None:
    asked: list[tuple[str, dict[str, Any], int]] = []
    answers: list[asyncio.Future[list[str]]] = []

    async def find(collection: str, condition: dict[str, Any], *, limit: int) -> list[str]:
        asked.append((collection, condition, limit))
        answers.append(asyncio.get_running_loop().create_future())
        return await answers[-1]

    monkeypatch.setattr(module, "find", find)
    tenants: Any = storage
    expiries = ExpiryReads(tenants)
    tasks = [asyncio.create_task(expiries.any_partly_expired("", f"{second}Z")) for second in (2, 3, 1, 3)]
    await settle()
    later = asyncio.create_task(expiries.any_partly_expired("", "3Z"))
    await settle()
    assert asked == [("", {f"state.{MARK}": {"$lte": "3Z"}}, 1)]  # the later one waits for a question of its own
    answers[0].set_result([])
    assert await asyncio.gather(*tasks) == [False] * 4
    await settle()
    answers[1].set_result(["one"])
    assert await later
    assert len(asked) == 2
