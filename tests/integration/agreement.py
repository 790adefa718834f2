"""What the tests share that compare filters in MongoDB with predicates in the broker."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from pymongo import MongoClient
from pymongo.collection import Collection

from broker.ngsild.model import Entity
from broker.storage.documents import location_copy
from broker.storage.tenants import ENTITY_INDEXES

Documents = Collection[dict[str, Any]]

BATCH = 200

on_mongo = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@contextmanager
def indexed_collection(mongo_uri: str, database_name: str) -> Iterator[Documents]:
    """A collection with the indexes of the entities."""
    client: MongoClient[dict[str, Any]]
    with MongoClient(mongo_uri) as client:
        collection = client[database_name]["entities"]
        collection.create_indexes(ENTITY_INDEXES)
        yield collection


@contextmanager
def holding(documents: Documents, entities: list[Entity]) -> Iterator[None]:
    """The collection holds exactly these entities, with the copy of the location that the index reads."""
    documents.delete_many({})
    documents.insert_many(
        [
            {
                "_id": one["_id"],
                "state": [{name: value for name, value in one.items() if name != "_id"} | location_of(one)],
            }
            for one in entities
        ]
    )
    yield


def location_of(entity: Entity) -> dict[str, Any]:
    location = location_copy(entity)
    return {} if location is None else {"location": location}


def selected(documents: Documents, condition: dict[str, Any]) -> set[str]:
    found = {document["_id"] for document in documents.find(condition, {"_id": 1})}
    assert documents.count_documents(condition) == len(found)
    return found


def accepted(entities: list[Entity], predicate: Callable[[Entity], bool]) -> set[str]:
    return {entity["_id"] for entity in entities if predicate(entity)}


def assert_agreement(found: set[str], expected: set[str], entities: list[Entity], query: object) -> None:
    for entity in entities:
        if (entity["_id"] in found) != (entity["_id"] in expected):
            side = "filter" if entity["_id"] in found else "predicate"
            pytest.fail(f"only the {side} selects {entity!r}\nfor {query!r}")
