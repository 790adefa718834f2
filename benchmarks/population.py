"""The entities that the scenarios work on, as a client sends them and as Vela stores them."""

from dataclasses import dataclass
from typing import Any

from broker.ngsild.model import DEFAULT_VOCABULARY, LOCATION, Entity, encode_key

ENTITY_TYPE = "BenchmarkSensor"
MEASURED = ("temperature", "humidity")
"""The attributes that updates change; their value is a sequence number, so that what was lost can be told."""

INITIAL_VALUE = 1_000_000_000
"""The value before the first update. All sequence numbers have as many digits, so that requests keep their length."""

_FIRMWARE = "2.4.1"
_BATTERY = 0.87
_ROOM = "urn:ngsi-ld:Room:benchmark"
_STORED_TIME = "2026-01-31T12:00:00.123456Z"


@dataclass(frozen=True)
class Population:
    """`size` entities of six attributes each, with ids that no other run uses."""

    run: str
    size: int

    def entity_id(self, index: int) -> str:
        """The URI of the entity with this index."""
        return f"urn:ngsi-ld:{ENTITY_TYPE}:{self.run}:{index:07d}"

    def new_entity_id(self, sequence: int | str) -> str:
        """The URI of the entity that the create request with this sequence number creates."""
        return f"urn:ngsi-ld:{ENTITY_TYPE}:{self.run}:new:{sequence}"

    def entity(self, index: int) -> dict[str, Any]:
        """The entity as it is created: normalised, all terms in the core context or the default vocabulary."""
        return {"id": self.entity_id(index), "type": ENTITY_TYPE, **attributes(index, INITIAL_VALUE)}

    def stored(self, index: int) -> Entity:
        """The same entity in the stored form of `broker/ngsild/model.py`."""
        times = {"createdAt": _STORED_TIME, "modifiedAt": _STORED_TIME}
        return {
            "_id": self.entity_id(index),
            "types": [DEFAULT_VOCABULARY + ENTITY_TYPE],
            "attributes": {
                attribute_key(name): [{**instance, **times}]
                for name, instance in attributes(index, INITIAL_VALUE).items()
            },
            **times,
            "version": 1,
            "writers": {},
        }


def attributes(index: int, value: int | str) -> dict[str, Any]:
    """The six attributes of an entity; `value` becomes the value of the measured ones."""
    return {
        **measurement(MEASURED, value),
        "batteryLevel": {"type": "Property", "value": _BATTERY},
        "firmware": {"type": "Property", "value": _FIRMWARE},
        "room": {"type": "Relationship", "object": _ROOM},
        "location": {
            "type": "GeoProperty",
            "value": {"type": "Point", "coordinates": list(position(index))},
        },
    }


def position(index: int) -> tuple[float, float]:
    """The longitude and latitude of an entity: about a hundred metres between neighbours, on a grid of 100 by 100."""
    return round(-3.7 + index % 100 / 1000, 3), round(40.4 + index // 100 % 100 / 1000, 3)


def measurement(names: tuple[str, ...], value: int | str) -> dict[str, Any]:
    """The attributes of an update, normalised."""
    return {name: {"type": "Property", "value": value} for name in names}


def stored_measurement(names: tuple[str, ...], value: int) -> dict[str, Any]:
    """The `$set` of an update in the stored form: the new instances and times."""
    times = {"createdAt": _STORED_TIME, "modifiedAt": _STORED_TIME}
    changed = {
        f"attributes.{attribute_key(name)}": [{**instance, **times}]
        for name, instance in measurement(names, value).items()
    }
    return {**changed, "modifiedAt": _STORED_TIME}


def attribute_key(name: str) -> str:
    """The key under which the stored form keeps the attribute with this name in the core context."""
    return LOCATION if name == "location" else encode_key(DEFAULT_VOCABULARY + name)
