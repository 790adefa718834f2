"""The stored form of an entity: the one inner form that every layer of Vela works on.

An entity (`Entity`) is a plain dict:

    _id         the entity's URI
    types       [IRI, …]
    scopes      ["/Madrid/Gardens", …]                        absent when there is none
    attributes  {<attribute key>: [instance, …]}              one instance per datasetId, never an empty list
    createdAt, modifiedAt, expiresAt                          timestamps as text, expiresAt only where given
    attributesExpire  the earliest expiresAt inside of `attributes`, where there is one (`expiry.py`)
    version     int, grows by one with each commit            set by the committer
    writers     {<process id>: <number of its last commit>}   set by the committer

An instance (`Instance`) is a plain dict:

    type        "Property" | "GeoProperty" | "LanguageProperty" | "VocabProperty" | "JsonProperty" | "ListProperty"
                | "Relationship" | "ListRelationship"
    value       of Property and GeoProperty       (any JSON value but null)
    languageMap {tag: text or [text]}             vocab   IRI or [IRI]            json       object or [object]
    valueList   [JSON value, …]                   object  URI or [URI]            objectList [URI, …]
    datasetId, observedAt, unitCode, valueType (IRI), objectType (IRI or [IRI]), expiresAt    where given
    entityIdSealed (text), entityTypeSealed (IRI or [IRI])            in an ngsildproof only, where given
    createdAt, modifiedAt                         set when the change is applied
    attributes  {<attribute key>: [instance, …]}  sub-attributes in the same shape, absent when there are none

An attribute key is the attribute's IRI in which "%", "." and "$" are percent-encoded, because MongoDB reads "." and "$"
in field names as operators (`encode_key`, `decode_key`). The keys of JSON objects inside values are encoded in the same
way, so that any key comes back equal (`broker/ngsild/values.py`).
"""

from functools import lru_cache
from typing import Any

Entity = dict[str, Any]
Instance = dict[str, Any]
Attributes = dict[str, list[Instance]]

NGSI_LD_NULL = "urn:ngsi-ld:null"
NGSI_LD_BASE = "https://uri.etsi.org/ngsi-ld/"
DEFAULT_VOCABULARY = "https://uri.etsi.org/ngsi-ld/default-context/"

VALUE_MEMBERS = {
    "Property": "value",
    "GeoProperty": "value",
    "LanguageProperty": "languageMap",
    "VocabProperty": "vocab",
    "JsonProperty": "json",
    "ListProperty": "valueList",
    "Relationship": "object",
    "ListRelationship": "objectList",
}
"""The member that holds the value, by attribute type."""

_LONGEST_REMEMBERED = 512
"""Clients choose the keys: remembering long ones would let them fill the memory."""


def encode_key(name: str) -> str:
    """`name` as a MongoDB field name: "%", ".", "$" and NUL are percent-encoded; nothing else changes."""
    if "." not in name and "%" not in name and "$" not in name and "\0" not in name:
        return name
    return name.replace("%", "%25").replace(".", "%2E").replace("$", "%24").replace("\0", "%00")


def decode_key(key: str) -> str:
    """The name that `encode_key` made `key` of."""
    if "%" not in key:
        return key
    return _decode_remembered(key) if len(key) <= _LONGEST_REMEMBERED else _decode(key)


def _decode(key: str) -> str:
    return key.replace("%2E", ".").replace("%24", "$").replace("%00", "\0").replace("%25", "%")


_decode_remembered = lru_cache(maxsize=16384)(_decode)


LOCATION = encode_key(NGSI_LD_BASE + "location")
"""The attribute key of the default geo-property (clause 4.7)."""


def find(instances: Any, dataset_id: str | None) -> Instance | None:
    """The instance with this datasetId (None: the default instance), or None."""
    for instance in instances:
        if instance.get("datasetId") == dataset_id:
            found: Instance = instance
            return found
    return None
