"""Junk for request bodies: JSON of any shape, and valid bodies that were spoilt (Hypothesis)."""

import copy
import json
from typing import Any

from hypothesis import strategies as st

TEXT = st.text(max_size=30)
"""Any text, lone surrogates, NUL and astral characters included."""

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30])
    | st.floats()
    | TEXT
    | st.sampled_from(
        [
            *(
                "",
                "urn:ngsi-ld:null",
                "urn:a:b",
                "@none",
                "@id",
                "2026-01-31T12:00:00Z",
                "Property",
                "Relationship",
                "\0",
            ),
            *("GeoProperty", "Point", "http://127.0.0.1:9/x", "ftp://a/b", "$where", "a.b", "x" * 5000, "/a/b", "(["),
        ]
    )
)
KEYS = TEXT | st.sampled_from(
    [
        *(
            "id",
            "@id",
            "type",
            "@type",
            "@context",
            "scope",
            "value",
            "object",
            "languageMap",
            "vocab",
            "json",
            "valueList",
        ),
        *(
            "objectList",
            "datasetId",
            "observedAt",
            "unitCode",
            "createdAt",
            "expiresAt",
            "objectType",
            "valueType",
            "location",
        ),
        *(
            "entities",
            "watchedAttributes",
            "notification",
            "endpoint",
            "uri",
            "q",
            "geoQ",
            "georel",
            "coordinates",
            "$set",
        ),
        *(
            "a",
            "a.b",
            "a/b",
            "",
            "\0",
            "dataset",
            "lang",
            "entity",
            "previousValue",
            "throttling",
            "idPattern",
            "__proto__",
        ),
    ]
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=15
)
"""JSON values of any shape; NaN, Infinity and integers beyond 64 bits among them."""

ENTITY: dict[str, Any] = {
    "id": "urn:junk:1",
    "type": ["Junk", "Thing"],
    "scope": ["/a/b"],
    "a": {"type": "Property", "value": {"b": [1, 2.5, None]}, "observedAt": "2026-01-31T12:00:00Z", "unitCode": "CEL"},
    "b": [{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": "urn:d:1"}],
    "c": {"type": "Relationship", "object": "urn:junk:2", "objectType": "Junk", "sub": {"value": 1}},
    "d": {"type": "LanguageProperty", "languageMap": {"de": "x", "@none": ["y"]}},
    "e": {"type": "ListRelationship", "objectList": [{"object": "urn:junk:3"}]},
    "f": {"type": "JsonProperty", "json": {"g": 1}},
    "location": {
        "type": "GeoProperty",
        "value": {"type": "Polygon", "coordinates": [[[9, 52], [10, 52], [10, 53], [9, 53], [9, 52]]]},
    },
    "place": {"type": "LineString", "coordinates": [[9, 52], [10, 53]]},
}
SUBSCRIPTION: dict[str, Any] = {
    "id": "urn:junk:s",
    "type": "Subscription",
    "entities": [{"type": "Junk|(A;B)", "idPattern": "urn:.*"}, {"id": "urn:junk:1", "type": "Junk"}],
    "watchedAttributes": ["a"],
    "notificationTrigger": ["attributeUpdated"],
    "q": 'a>5;b=="x"|c',
    "geoQ": {"georel": "near;maxDistance==10", "geometry": "Point", "coordinates": [1, 2], "geoproperty": "location"},
    "scopeQ": "/a/#",
    "isActive": False,
    "throttling": 5,
    "expiresAt": "2199-01-01T00:00:00Z",
    "lang": "de",
    "notification": {
        "attributes": ["a"],
        "format": "keyValues",
        "endpoint": {
            "uri": "http://127.0.0.1:9/",
            "accept": "application/json",
            "timeout": 100,
            "receiverInfo": [{"key": "X-A", "value": "b"}],
            "notifierInfo": [{"key": "k", "value": "v"}],
        },
    },
}
CONTEXT = ["https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.6.jsonld", {"a": "urn:x:a"}]
ATTRIBUTE: dict[str, Any] = {"type": "Property", "value": 5, "unitCode": "CEL", "sub": {"value": 6}}
FRAGMENT = {name: value for name, value in ENTITY.items() if name != "id"}


@st.composite
def spoilt(draw: st.DrawFn, sample: Any) -> Any:
    """A valid body with up to three members dropped, replaced, renamed, repeated or exchanged with others."""
    document = copy.deepcopy(sample)
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3]))):
        places = list(_places(document))
        if not places:
            return document
        container, key = draw(st.sampled_from(places))
        change = draw(st.sampled_from(["drop", "replace", "replace", "rename", "repeat", "exchange", "wrap"]))
        if change == "drop":
            del container[key]
        elif change == "replace":
            container[key] = draw(SCALARS | VALUES)
        elif change == "rename" and isinstance(container, dict):
            container[draw(KEYS)] = container.pop(key)
        elif change == "repeat" and isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        elif change == "exchange":
            other, at = draw(st.sampled_from(places))
            container[key] = copy.deepcopy(other[at])
        else:
            container[key] = [container[key]]
    return document


def _places(value: Any) -> Any:
    """Every (container, key) in a JSON value."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from _places(item)


def bodies(sample: Any) -> st.SearchStrategy[bytes]:
    """Bodies as bytes: spoilt ones, JSON of any shape, and what is no JSON."""
    return (spoilt(sample) | spoilt(sample) | VALUES).map(lambda value: json.dumps(value).encode()) | st.binary(
        max_size=40
    )
