"""A million entities, stored without a broker: what queries are measured over in `growth.py`.

The n-th entity is the same in every run. Its values spread evenly however many there are, so that a query can be
written that finds as many among a thousand as among a million. Nine of ten have one type, the others one of twenty.
"""

from collections import Counter
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from benchmarks.errors import BenchmarkError
from benchmarks.population import attribute_key
from broker.ngsild.model import DEFAULT_VOCABULARY, Entity
from broker.ngsild.shapes import Difference, shape_of
from broker.storage.census_counts import increments
from broker.storage.documents import as_document

CROWD_TYPE = "GrowthSensor"
OTHER_TYPES = 20
WEST, SOUTH, DEGREES = 10.0, 45.0, 2.0
"""The corner of the square over which the entities spread, and its width in degrees."""

SHARE_OF_OTHERS = 10
_BATCH = 2_000
_SCRAMBLE, _SCRAMBLE_MORE, _RANGE = 2_654_435_761, 2_246_822_519, 2**32
_TIME = "2026-01-31T12:00:00.123456Z"


def crowd_id(index: int) -> str:
    """The URI of an entity; the order of the ids is not that of the indexes."""
    return f"urn:ngsi-ld:{CROWD_TYPE}:{index * _SCRAMBLE % _RANGE:010d}"


def crowd_type(index: int) -> str:
    """Its type."""
    kind, other = divmod(index, SHARE_OF_OTHERS)
    return CROWD_TYPE if other != SHARE_OF_OTHERS - 1 else f"Growth{kind % OTHER_TYPES}"


def position(index: int) -> list[float]:
    """Its place, as if drawn at random."""
    east, north = index * _SCRAMBLE % _RANGE, index * _SCRAMBLE_MORE % _RANGE
    return [WEST + DEGREES * east / _RANGE, SOUTH + DEGREES * north / _RANGE]


def stored(index: int) -> Entity:
    """The entity in the stored form of `broker/ngsild/model.py`: six attributes."""
    times = {"createdAt": _TIME, "modifiedAt": _TIME}
    attributes: dict[str, dict[str, Any]] = {
        "temperature": {"type": "Property", "value": index},
        "serial": {"type": "Property", "value": serial(index)},
        "batteryLevel": {"type": "Property", "value": 0.87},
        "firmware": {"type": "Property", "value": "2.4.1"},
        "room": {"type": "Relationship", "object": "urn:ngsi-ld:Room:benchmark"},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": position(index)}},
    }
    return {
        "_id": crowd_id(index),
        "types": [DEFAULT_VOCABULARY + crowd_type(index)],
        "attributes": {attribute_key(name): [{**instance, **times}] for name, instance in attributes.items()},
        **times,
        "version": 1,
        "writers": {},
    }


def serial(index: int) -> str:
    """A text that only one entity has."""
    return f"s{index:08d}"


def store(mongo_uri: str, database: str, start: int, stop: int) -> None:
    """Store the entities from `start` to below `stop`, and what the census of the broker says about them.

    Raises BenchmarkError where MongoDB does not take them.
    """
    client: MongoClient[Any]
    try:
        with MongoClient(mongo_uri) as client:
            for first in range(start, stop, _BATCH):
                _store_batch(client[database], range(first, min(first + _BATCH, stop)))
    except PyMongoError as error:
        raise BenchmarkError(f"the entities could not be stored in {mongo_uri}: {error}") from error


def _store_batch(database: Any, indexes: range) -> None:
    changes: Counter[Difference] = Counter()
    documents = []
    for index in indexes:
        entity = stored(index)
        changes[None, shape_of(entity)] += 1
        documents.append(RawBSONDocument(bson.encode(as_document(entity))))
    database["entities"].insert_many(documents, ordered=False)
    for name, counts in increments(changes).items():
        database["census"].update_one({"_id": name}, {"$inc": counts}, upsert=True)
