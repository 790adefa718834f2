"""Names of @contexts in the broker's own storage, and the URLs at which it serves them (clauses 5.13.1, 6.30.2).

A URL of this broker is known by its path alone: whatever name, port or gateway it was reached by, the local identifier
at its end occurs in no other broker.
"""

import hashlib
import re
import secrets
from typing import Any
from urllib.parse import quote, unquote

import orjson

RESOURCE = "/ngsi-ld/v1/jsonldContexts"

_LOCAL_ID = "urn:ngsi-ld:Context:"
_OWN = re.compile(r"https?://[^/?#]+(?:/[^?#]*)?/ngsi-ld/v1/jsonldContexts/([^/?#]+)")


def new_local_id() -> str:
    """A local identifier for an @context that a client adds."""
    return _LOCAL_ID + secrets.token_hex(16)


def cached_local_id(url: str) -> str:
    """The local identifier of the copy of the @context at `url`: always the same one."""
    return f"{_LOCAL_ID}cached-{_digest(url.encode())}"


def implicit_local_id(tenant: str, source: Any) -> str:
    """The local identifier of the @context that Vela creates of `source` for `tenant`: the same for equal content."""
    return f"{_LOCAL_ID}implicit-{_digest(orjson.dumps([tenant, source], option=orjson.OPT_SORT_KEYS))}"


def own_path(local_id: str) -> str:
    """The path at which this broker serves the @context."""
    return f"{RESOURCE}/{quote(local_id, safe=':')}"


def local_id_in(url: str) -> str | None:
    """The local identifier at the end of a URL at which this or another broker serves an @context; None for others."""
    match = _OWN.fullmatch(url)
    return None if match is None else unquote(match[1])


def _digest(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=16).hexdigest()
