from typing import Any

import bson
import pytest

from broker.core.paging import PageRequest, Place, QueryResult, Side
from broker.core.queries import EntityQuery
from broker.core.subscribed_entities import SubscribedEntities, entity_query
from broker.ngsild.errors import NonexistentTenant
from broker.notify.subscription import EntitySelector, Periodic
from broker.storage.documents import StoredEntity


def entity(name: str, types: tuple[str, ...] = ("urn:T",), **members: Any) -> dict[str, Any]:
    return {"_id": name, "types": list(types), "attributes": {}, "version": 1, "writers": {}, **members}


def stored(name: str, **members: Any) -> StoredEntity:
    state = entity(name, **members)
    del state["_id"]
    return StoredEntity(bson.encode({"_id": name, "state": [state]}))


class Pages:
    """Queries that are answered with pages of two."""

    def __init__(self, *entities: StoredEntity) -> None:
        self.entities = entities
        self.asked: list[EntityQuery] = []

    async def query(self, tenant: str, query: EntityQuery, request: PageRequest) -> QueryResult:
        if tenant == "unknown":
            raise NonexistentTenant("The tenant unknown does not exist.")
        self.asked.append(query)
        after = request.position.entity_id if request.position is not None else ""
        rest = [one for one in self.entities if one.entity_id > after]
        following = Place(rest[1].entity_id).at(Side.AFTER) if len(rest) > 2 else None
        return QueryResult(rest[:2], next=following)


async def read(source: SubscribedEntities, tenant: str = "") -> list[list[str]]:
    return [[one["_id"] for one in page] async for page in source.pages(tenant, Periodic(1.0))]


async def test_all_pages_are_read_and_what_has_expired_is_left_out() -> None:
    expired = stored("urn:e:2", expiresAt="2020-01-01T00:00:00Z")
    pages = Pages(stored("urn:e:1"), expired, stored("urn:e:3"), stored("urn:e:4"), stored("urn:e:5"))
    assert await read(SubscribedEntities(pages)) == [["urn:e:1"], ["urn:e:3", "urn:e:4"], ["urn:e:5"]]
    for query in pages.asked:
        query.check_width()


async def test_a_tenant_that_does_not_exist_has_no_entities() -> None:
    assert await read(SubscribedEntities(Pages(stored("urn:e:1"))), tenant="unknown") == []


T = EntitySelector(types=(("urn:T",),))
ONE = EntitySelector(types=(("urn:U",),), ids=("urn:e:1",), id_pattern="nothing like it")
PATTERN = EntitySelector(id_pattern="2$")


@pytest.mark.parametrize(
    ("selectors", "expected"),
    [
        ((), ["T1", "T2", "U1"]),
        ((T,), ["T1", "T2"]),
        ((ONE,), ["U1"]),
        ((PATTERN,), ["T2"]),
        ((ONE, PATTERN), ["T2", "U1"]),
    ],
)
def test_an_entity_has_to_fulfil_one_of_the_selectors(
    selectors: tuple[EntitySelector, ...], expected: list[str]
) -> None:
    entities = {
        "T1": entity("urn:e:1"),
        "T2": entity("urn:e:2"),
        "U1": entity("urn:e:1", ("urn:U",)),
    }
    selects = entity_query(Periodic(1.0, selectors)).predicate()
    assert [name for name, one in entities.items() if selects(one)] == expected
