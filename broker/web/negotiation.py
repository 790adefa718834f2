"""Media types and Link headers (clauses 6.3.4 to 6.3.6)."""

import re
from functools import lru_cache

from multidict import istr

from broker.ngsild.errors import BadRequestData, NotAcceptable, UnsupportedMediaType

JSON = "application/json"
JSON_LD = "application/ld+json"
MERGE_PATCH = "application/merge-patch+json"

TENANT = istr("NGSILD-Tenant")
"""The header that names the tenant (clause 6.3.14)."""

CONTEXT_RELATION = "http://www.w3.org/ns/json-ld#context"

_LINK = re.compile(r"<([^<>]*)>((?:\s*;\s*[^\s;,=]+(?:\s*=\s*(?:\"[^\"]*\"|[^\s;,]*))?)*)")
_RELATION = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,]*))", re.IGNORECASE)


@lru_cache(maxsize=1024)
def negotiate(accept: str, offered: tuple[str, ...] = (JSON, JSON_LD)) -> str:
    """The media type of the answer: the best of `offered` for an Accept header; NotAcceptable if there is none.

    Equal weights are decided by the order of `offered` (clause 6.3.4).
    """
    best, best_quality = "", 0.0
    ranges = [_media_range(part) for part in accept.split(",") if part.strip()]
    for media_type in offered:
        quality = _quality(media_type, ranges) if ranges else 1.0
        if quality > best_quality:
            best, best_quality = media_type, quality
    if not best:
        raise NotAcceptable(f"The Accept header {accept!r} allows none of the representations: {', '.join(offered)}.")
    return best


def _media_range(part: str) -> tuple[str, float]:
    name, *parameters = part.split(";")
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            try:
                quality = min(max(float(value), 0.0), 1.0)
            except ValueError:
                quality = 0.0
    return name.strip().lower(), quality


def _quality(media_type: str, ranges: list[tuple[str, float]]) -> float:
    """The weight that the most specific matching range gives to a media type."""
    for candidate in (media_type, media_type.split("/", maxsplit=1)[0] + "/*", "*/*"):
        weights = [quality for name, quality in ranges if name == candidate]
        if weights:
            return max(weights)
    return 0.0


@lru_cache(maxsize=256)
def body_media_type(content_type: str) -> str:
    """JSON or JSON_LD for the Content-Type of a request with a body; UnsupportedMediaType otherwise."""
    name = content_type.partition(";")[0].strip().lower()
    if name in (JSON, MERGE_PATCH):
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
