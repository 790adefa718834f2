"""Who this context source is (clauses 5.15, 5.2.40)."""

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from broker.ngsild.timestamps import now_text

_TOKEN_MARKS = "!#$&'*+-.^_`|"  # noqa: S105 - the marks of a token in RFC 7230, without "%", which encodes the others


class SourceIdentity:
    """What the broker says of itself, from the moment it was made."""

    def __init__(self, alias: str, extras: Mapping[str, Any]) -> None:
        self._alias = alias
        self._extras = dict(extras)
        self._started = time.monotonic()

    def alias(self, tenant: str) -> str:
        """The pseudonym of a tenant of this source, as in a Via header; "" is the default tenant."""
        return f"{self._alias}~{quote(tenant, safe=_TOKEN_MARKS, errors='replace')}" if tenant else self._alias

    def document(self, tenant: str) -> dict[str, Any]:
        """The ContextSourceIdentity of a tenant, without @context."""
        alias = self.alias(tenant)
        return {
            "id": f"urn:ngsi-ld:ContextSourceIdentity:{quote(alias, safe='')}",
            "type": "ContextSourceIdentity",
            "contextSourceAlias": alias,
            "contextSourceUptime": duration(time.monotonic() - self._started),
            "contextSourceTimeAt": now_text(),
            "contextSourceExtras": self._extras,
        }


def duration(seconds: float) -> str:
    """A time span as ISO 8601 writes it: days, hours, minutes, seconds."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"P{days}DT{hours}H{minutes}M{rest}S"
