"""What the demo says to the broker: entities, updates and the subscription, each with its own small @context.

The @contexts stand in the bodies, so that no broker has to fetch anything; the IRIs are those of the Smart Data Models.
"""

from typing import Any

import orjson

from broker.demo.ledger import NEARLY_FULL
from broker.demo.recording import CarPark, Reading

CONTEXT_URL = "https://raw.githubusercontent.com/smart-data-models/dataModel.Parking/master/context.jsonld"
"""The published @context with the same terms, for requests that have no body."""

_SHARED = "https://smartdatamodels.org/"
_PARKING = "https://smartdatamodels.org/dataModel.Parking/"
_READING_CONTEXT = {
    "availableSpotNumber": _PARKING + "availableSpotNumber",
    "occupancy": _PARKING + "occupancy",
}
_CONTEXT = {
    **_READING_CONTEXT,
    "OffStreetParking": _PARKING + "OffStreetParking",
    "totalSpotNumber": _PARKING + "totalSpotNumber",
    "name": _SHARED + "name",
    "address": _SHARED + "address",
    "source": _SHARED + "source",
    "dataProvider": _SHARED + "dataProvider",
}


def entity(car_park: CarPark) -> dict[str, Any]:
    """A car park as an entity, without readings."""
    return {
        "id": car_park.entity_id,
        "type": "OffStreetParking",
        "name": _property(car_park.name),
        "location": {
            "type": "GeoProperty",
            "value": {"type": "Point", "coordinates": [car_park.longitude, car_park.latitude]},
        },
        "address": _property({"addressLocality": car_park.city, "addressCountry": "DE"}),
        "totalSpotNumber": _property(car_park.capacity),
        "source": _property(car_park.source),
        "dataProvider": _property(f"City of {car_park.city}"),
        "@context": _CONTEXT,
    }


def update(reading: Reading) -> bytes:
    """The body of the PATCH that brings a reading."""
    observed_at, occupancy = reading.observed_at, reading.occupancy
    body: dict[str, Any] = {
        "availableSpotNumber": {"type": "Property", "value": reading.free, "observedAt": observed_at},
        "@context": _READING_CONTEXT,
    }
    if occupancy is not None:
        body["occupancy"] = {"type": "Property", "value": occupancy, "observedAt": observed_at}
    return orjson.dumps(body)


def subscription(subscription_id: str, endpoint: str, expires_at: str) -> dict[str, Any]:
    """The subscription to the car parks that are nearly full."""
    return {
        "id": subscription_id,
        "type": "Subscription",
        "subscriptionName": "Car parks with fewer than 10 % of their spaces free",
        "entities": [{"type": "OffStreetParking"}],
        "watchedAttributes": ["availableSpotNumber", "occupancy"],
        "q": f"occupancy>{NEARLY_FULL}",
        "notification": {
            "attributes": ["name", "availableSpotNumber", "totalSpotNumber", "occupancy"],
            "format": "normalized",
            "endpoint": {"uri": endpoint, "accept": "application/json"},
        },
        "expiresAt": expires_at,
        "@context": _CONTEXT,
    }


def member(document: dict[str, Any], name: str) -> Any:
    """An attribute of a notified entity: under its term, or under its IRI where the broker did not compact it."""
    return document.get(name, document.get(_CONTEXT[name]))


def _property(value: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value}
