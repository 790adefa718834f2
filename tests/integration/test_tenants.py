"""Tenants: each has a database of its own, which comes into being with its first write."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest

from broker.ngsild.errors import BadRequestData, NonexistentTenant
from broker.storage.client import Mongo
from broker.storage.tenants import DEFAULT_TENANT, Tenants


@pytest.fixture
async def mongo(mongo_uri: str, database_name: str) -> AsyncIterator[Mongo]:
    connected = await Mongo.connect(mongo_uri, database=database_name)
    yield connected
    await connected.close()


@pytest.fixture
async def tenants(mongo: Mongo) -> Tenants:
    opened = Tenants(mongo)
    await opened.open()
    return opened


async def test_the_default_tenant_exists_from_the_start(tenants: Tenants, database_name: str) -> None:
    assert (await tenants.database(DEFAULT_TENANT)).name == database_name


async def test_a_tenant_does_not_exist_before_its_first_write(tenants: Tenants) -> None:
    with pytest.raises(NonexistentTenant, match="'madrid' does not exist"):
        await tenants.database("madrid")
    await tenants.ensure("madrid")
    assert (await tenants.database("madrid")).name.endswith("-madrid")


async def test_the_collection_of_a_tenant_has_its_indexes(tenants: Tenants) -> None:
    await tenants.ensure("madrid")
    database = await tenants.database("madrid")
    assert {"types", "location", "expires", "attributesExpire"} <= set(await database["entities"].index_information())


async def test_an_update_does_not_make_mongodb_rewrite_many_entities(tenants: Tenants) -> None:
    await tenants.ensure("madrid")
    entities = (await tenants.database("madrid"))["entities"]
    assert (await entities.options())["storageEngine"] == {"wiredTiger": {"configString": "leaf_page_max=8KB"}}


async def test_a_mongodb_that_refuses_small_pages_keeps_entities_all_the_same(
    tenants: Tenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.storage.tenants._SMALL_PAGES", {"wiredTiger": {"configString": "leaf_page_max=none"}})
    await tenants.ensure("madrid")
    entities = (await tenants.database("madrid"))["entities"]
    assert "storageEngine" not in await entities.options()
    assert "types" in await entities.index_information()


async def test_all_processes_know_in_which_tenants_something_expires(tenants: Tenants, mongo: Mongo) -> None:
    await tenants.ensure("madrid")
    await tenants.ensure("lisbon")
    for _ in range(2):
        await tenants.mark_transient("madrid")
    other = Tenants(mongo)
    await other.open()
    assert await other.transient() == ["madrid"]
    assert await other.database("madrid") is not None


async def test_tenants_are_known_to_other_processes_and_after_a_restart(tenants: Tenants, mongo: Mongo) -> None:
    other = Tenants(mongo)
    await other.open()
    await tenants.ensure("madrid")
    name = (await tenants.database("madrid")).name
    assert (await other.database("madrid")).name == name
    restarted = Tenants(mongo)
    await restarted.open()
    assert restarted._known["madrid"] == name


async def test_many_first_writes_at_once_create_a_tenant_once(mongo: Mongo) -> None:
    several = [Tenants(mongo) for _ in range(3)]
    await asyncio.gather(*(one.open() for one in several))
    await asyncio.gather(*(one.ensure("madrid") for one in several for _ in range(20)))
    assert await mongo.control["tenants"].count_documents({"_id": "madrid"}) == 1


@pytest.mark.parametrize("name", ["Madrid", "a.b", "a/b", "$x", "x" * 41, "x" * 256, "~!'\"<>", "a+b"])
async def test_any_printable_name_is_a_tenant_whatever_mongodb_allows(tenants: Tenants, name: str) -> None:
    await tenants.ensure(name)
    database = await tenants.database(name)
    await database["entities"].insert_one({"_id": 1})
    assert len(database.name) <= 63


async def test_names_that_differ_lead_to_different_databases(tenants: Tenants, mongo: Mongo) -> None:
    digest = hashlib.sha256(b"Madrid").hexdigest()[:32]
    names = ["madrid", "Madrid", "MADRID", digest, f"+{digest}", f"-{digest}", "madrid ".strip() + "-"]
    for name in names:
        await tenants.ensure(name)
    databases = [(await tenants.database(name)).name for name in names]
    assert len({name.lower() for name in databases}) == len(names)


async def test_a_long_name_of_the_broker_leaves_room_for_tenants(mongo: Mongo) -> None:
    long = Tenants(Mongo(mongo.client, "b" * 30))
    for name in ("x" * 40, "Madrid", "x"):
        assert len(long._database_name(name)) <= 63


@pytest.mark.parametrize("name", [" ", "a b", "é", "\udcff", "a\tb", "a\0", "x" * 257, "💚"])
async def test_a_name_that_no_header_should_carry_is_refused(tenants: Tenants, name: str) -> None:
    with pytest.raises(BadRequestData, match="printable ASCII"):
        await tenants.ensure(name)
    with pytest.raises(NonexistentTenant):
        await tenants.database(name)
