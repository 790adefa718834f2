"""Data models, policies and violations in a real MongoDB, with both drivers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from broker.storage.client import Mongo
from broker.storage.data_models import DataModelStore, StoredModel, StoredPolicy, pack
from broker.storage.edits import Edits
from broker.storage.violations import OVERFLOW, ViolationCount, ViolationKey, ViolationSelection, ViolationStore

ROAD = "https://example.org/Road"
MODEL = StoredModel(
    ROAD, "Road", "dataModel.Roads", pack(b'{"a":1}'), "d1", "s", "1", "MIT", "", "2026-01-31T12:00:00Z"
)


@dataclass
class Stores:
    models: DataModelStore
    violations: ViolationStore


@pytest.fixture(params=["pymongo", "motor"])
async def stores(request: pytest.FixtureRequest, mongo_uri: str, database_name: str) -> AsyncIterator[Stores]:
    if request.param == "motor":
        pytest.importorskip("motor")
    mongo = await Mongo.connect(mongo_uri, driver_name=request.param, database=database_name)
    edits = Edits(mongo.control)
    await edits.prepare()
    yield Stores(DataModelStore(mongo, edits), ViolationStore(mongo, limit=3))
    await mongo.close()


async def test_a_model_comes_back_as_it_was_kept_and_the_later_one_counts(stores: Stores) -> None:
    other = replace(MODEL, iri="https://example.org/Path", problem="It is broken.")
    await stores.models.put_models([MODEL, other])
    assert sorted(await stores.models.models(), key=lambda one: one.iri) == [other, MODEL]
    assert MODEL.unpack() == b'{"a":1}'
    later = replace(MODEL, packed=pack(b"{}"), digest="d2")
    await stores.models.put_models([later])
    assert await stores.models.models([ROAD, "urn:none"]) == [later]
    assert await stores.models.remove_model(ROAD)
    assert not await stores.models.remove_model(ROAD)
    assert await stores.models.models() == [other]


async def test_a_policy_for_all_tenants_is_another_than_one_for_the_default_tenant(stores: Stores) -> None:
    everywhere, default = StoredPolicy(None, ROAD, "off"), StoredPolicy("", ROAD, "warn")
    for policy in (everywhere, default, replace(default, policy="enforce")):
        await stores.models.put_policy(policy)
    assert set(await stores.models.policies()) == {everywhere, replace(default, policy="enforce")}
    assert await stores.models.remove_policy(None, ROAD)
    assert not await stores.models.remove_policy(None, ROAD)
    assert await stores.models.policies() == [replace(default, policy="enforce")]


async def test_who_follows_hears_of_every_edit(stores: Stores) -> None:
    async with asyncio.timeout(10), stores.models.model_edits() as models, stores.models.policy_edits() as policies:
        await stores.models.put_models([MODEL])
        assert await anext(models) == [ROAD]
        await stores.models.put_policy(StoredPolicy("madrid", ROAD, "off"))
        assert await anext(policies) == [{"tenant": "madrid", "type": ROAD}]


def key(attribute: str, tenant: str = "") -> ViolationKey:
    return ViolationKey(tenant, ROAD, attribute, "maximum", "")


def counted(count: int, second: int) -> ViolationCount:
    at = f"2026-01-31T12:00:{second:02}Z"
    return ViolationCount(count, at, at, "Road", "warn", {"found": str(second)})


async def test_counts_of_many_processes_add_up(stores: Stores) -> None:
    store = stores.violations
    await store.add({key("a"): counted(2, 5), key("b"): counted(1, 5)})
    await asyncio.gather(*(store.add({key("a"): counted(1, second)}) for second in (3, 9)))
    ((first, a), (second, _)) = await store.list(ViolationSelection(), 10)
    assert (first, second) == (key("a"), key("b"))
    assert (a.count, a.first, a.last) == (4, "2026-01-31T12:00:03Z", "2026-01-31T12:00:09Z")


async def test_beyond_a_bound_new_kinds_are_counted_together(stores: Stores) -> None:
    store = stores.violations
    await store.add({key(name): counted(1, 1) for name in "ab"})
    await store.add({key(name): counted(1, 2) for name in "acde"})
    await store.add({key(name): counted(1, 3) for name in "cdf"})
    found = dict(await store.list(ViolationSelection(), 100))
    assert {name.attribute: one.count for name, one in found.items()} == {"a": 2, "b": 1, "c": 2, "": 4}
    assert (found[OVERFLOW].name, found[OVERFLOW].sample) == ("", {"found": "3"})


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (ViolationSelection(), "abc"),
        (ViolationSelection(tenant=""), "ab"),
        (ViolationSelection(type="Road"), "abc"),
        (ViolationSelection(type=ROAD, tenant="madrid"), "c"),
        (ViolationSelection(attribute="a", rule="maximum"), "a"),
        (ViolationSelection(rule="minimum"), ""),
        (ViolationSelection(type="Path"), ""),
    ],
)
async def test_a_selection_is_listed_and_cleared(stores: Stores, selection: ViolationSelection, found: str) -> None:
    store = stores.violations
    await store.add({key("a"): counted(3, 1), key("b"): counted(2, 1), key("c", "madrid"): counted(1, 1)})
    assert "".join(name.attribute for name, _ in await store.list(selection, 100)) == found
    await store.clear(selection)
    left = [name.attribute for name, _ in await store.list(ViolationSelection(), 100)]
    assert left == [letter for letter in "abc" if letter not in found]
