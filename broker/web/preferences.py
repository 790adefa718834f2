"""The Prefer header (RFC 7240): the preferences that the specification gives a meaning (clauses 6.3.6, 4.3.6.8)."""

from dataclasses import dataclass
from functools import lru_cache

from broker.ngsild.versions import Version, nearest, parse_version

_BODIES = ("json", "ld+json")


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a client prefers. `body` (json or ld+json) tells where a GeoJSON answer has its @context."""

    body: str | None = None
    version: Version | None = None

    def applied(self, *, geojson: bool) -> str:
        """The Preference-Applied header of an answer that follows them; empty where there is nothing to say."""
        applied = [f"body={self.body}"] if geojson and self.body is not None else []
        if self.version is not None:
            applied.append("ngsi-ld={}.{}".format(*self.version))
        return ", ".join(applied)


NO_PREFERENCES = Preferences()


@lru_cache(maxsize=256)
def read_preferences(header: str) -> Preferences:
    """The preferences of a Prefer header. Of one that occurs twice the first counts; others are none of ours."""
    found: dict[str, str] = {}
    for part in header.split(","):
        name, _, value = part.partition(";")[0].partition("=")
        found.setdefault(name.strip().lower(), _unquoted(value.strip()))
    body = found.get("body", "").lower()
    version = parse_version(found.get("ngsi-ld", ""))
    return Preferences(body if body in _BODIES else None, nearest(version) if version is not None else None)


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
