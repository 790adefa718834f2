"""Media types and Link headers (clauses 6.3.4 to 6.3.6)."""

import math
import re
from functools import lru_cache

from multidict import istr

from broker.ngsild.errors import BadRequestData, NotAcceptable, UnsupportedMediaType

JSON = "application/json"
JSON_LD = "application/ld+json"
GEO_JSON = "application/geo+json"
MERGE_PATCH = "application/merge-patch+json"

TENANT = istr("NGSILD-Tenant")
"""The header that names the tenant (clause 6.3.14)."""

SNAPSHOT = istr("NGSILD-Snapshot")
"""The header that names a snapshot (clause 6.3.22)."""

ENTITY_MAP = istr("NGSILD-EntityMap")
"""The header that tells where an entity map is (tables 6.4.3.2-2 and 6.4.3.2-3)."""

CONTEXT_RELATION = "http://www.w3.org/ns/json-ld#context"

_LINK = re.compile(r"<([^<>]*)>((?:\s*;\s*[^\s;,=]+(?:\s*=\s*(?:\"[^\"]*\"|[^\s;,]*))?)*)")
_RELATION = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,]*))", re.IGNORECASE)


@lru_cache(maxsize=1024)
def negotiate(accept: str, offered: tuple[str, ...] = (JSON, JSON_LD)) -> str:
    """The media type of the answer: the best of `offered` for an Accept header; NotAcceptable if there is none.

    Equal weights are decided by the order of `offered` (clause 6.3.4).
    """
    best, best_quality = "", 0.0
    ranges = weights(accept)
    for media_type in offered:
        quality = _quality(media_type, ranges) if ranges else 1.0
        if quality > best_quality:
            best, best_quality = media_type, quality
    if not best:
        raise NotAcceptable(
            f"The Accept header {accept!r:.300} allows none of the available representations: {', '.join(offered)}."
        )
    return best


@lru_cache(maxsize=1024)
def refuse_geojson_only(accept: str) -> None:
    """NotAcceptable for an Accept header that leaves nothing but GeoJSON, where an operation has no choice to offer.

    Clause 6.3.4 wants that of all operations but Retrieve Entity and Query Entities.
    """
    if GEO_JSON in accept.lower():
        negotiate(accept)


def weights(header: str) -> list[tuple[str, float]]:
    """What a header such as Accept lists, each with its weight (RFC 9110, 12.4.2).

    A weight that cannot be read does not decide anything: it counts as not given.
    """
    return [_weighted(part) for part in header.split(",") if part.strip()]


def _weighted(part: str) -> tuple[str, float]:
    name, *parameters = part.split(";")
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            quality = _read_weight(value.strip())
    return name.strip().lower(), quality


def _read_weight(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 1.0
    return 1.0 if math.isnan(quality) else min(max(quality, 0.0), 1.0)


def _quality(media_type: str, ranges: list[tuple[str, float]]) -> float:
    """The weight that the most specific matching range gives to a media type."""
    for candidate in (media_type, media_type.split("/", maxsplit=1)[0] + "/*", "*/*"):
        found = [quality for name, quality in ranges if name == candidate]
        if found:
            return max(found)
    return 0.0


@lru_cache(maxsize=256)
def body_media_type(content_type: str, merge_patch: bool = True) -> str:
    """JSON or JSON_LD for the Content-Type of a request with a body; UnsupportedMediaType otherwise.

    `merge_patch`: whether application/merge-patch+json is another word for JSON here (clause 6.3.4).
    """
    name = content_type.partition(";")[0].strip().lower()
    if name == JSON or (merge_patch and name == MERGE_PATCH):
        return JSON
    if name == JSON_LD:
        return JSON_LD
    found = repr(content_type) if content_type else "missing"
    raise UnsupportedMediaType(f"The Content-Type is {found}: expected {JSON} or {JSON_LD}.")


@lru_cache(maxsize=4096)
def context_link(header: str) -> str | None:
    """The URL of the @context in a Link header, or None; BadRequestData if there are several or it is malformed."""
    urls = []
    for target, parameters in _LINK.findall(header):
        relation = _RELATION.search(parameters)
        if relation and CONTEXT_RELATION in (relation.group(1) or relation.group(2) or "").split():
            urls.append(target.strip())
    if len(urls) > 1:
        raise BadRequestData("The Link header names several JSON-LD @contexts: expected one.")
    if not urls and CONTEXT_RELATION in header:
        raise BadRequestData(
            f'The Link header {header!r:.200} is malformed: expected <URL>; rel="{CONTEXT_RELATION}"; type="{JSON_LD}".'
        )
    return urls[0] if urls else None


def context_link_header(url: str) -> str:
    """The Link header that names the @context of an answer."""
    return f'<{url}>; rel="{CONTEXT_RELATION}"; type="{JSON_LD}"'
