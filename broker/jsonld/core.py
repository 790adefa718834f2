"""The core @context (clause 4.4): built in, known by all of its published URLs, never fetched."""

import re
from functools import lru_cache
from importlib import resources
from typing import Any

import orjson

CORE_VERSION = "1.9"
CORE_VERSIONS = ("1.6", "1.7", "1.8", CORE_VERSION)
"""The published versions that come with Vela. Each is served as what it was; requests are read by `CORE_VERSION`."""

CORE_CONTEXT_URL = f"https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v{CORE_VERSION}.jsonld"

_PUBLISHED = re.compile(
    r"https?://uri\.etsi\.org/ngsi-ld/v1/ngsi-ld-core-context(?:-v\d{1,3}(?:\.\d{1,3}){1,2})?\.jsonld"
)


@lru_cache(maxsize=1024)
def is_core_url(url: str) -> bool:
    """Whether `url` is one under which the core @context was published: any version, or none; http or https."""
    return _PUBLISHED.fullmatch(url) is not None


def core_document(version: str = CORE_VERSION) -> dict[str, Any]:
    """The published document of the core @context in one of `CORE_VERSIONS`, as JSON with an "@context" member."""
    file = resources.files("broker.jsonld") / "data" / f"ngsi-ld-core-context-v{version}.jsonld"
    document: dict[str, Any] = orjson.loads(file.read_bytes())
    return document
