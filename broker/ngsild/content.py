"""Names for bodies of content: that of a tenant, and those of its snapshots (clauses 5.5.10, 5.5.15).

All layers below the HTTP binding take the name of a content for that of a tenant: a snapshot is worked on like a tenant
of its own. The content of a tenant has the tenant's name. That of a snapshot is named by the tenant, the snapshot's id
and a token, divided by line feeds, which no HTTP header can hold; the token differs when a snapshot of the same id is
made again.
"""

from typing import NamedTuple

_DIVIDER = "\n"


class Content(NamedTuple):
    """What a name stands for. `snapshot_id` is None for the content of the tenant itself."""

    tenant: str
    snapshot_id: str | None = None
    token: str = ""


def snapshot_content(tenant: str, snapshot_id: str, token: str) -> str:
    """The name of the content of a snapshot."""
    return _DIVIDER.join((tenant, snapshot_id, token))


def read_content(name: str) -> Content:
    """What a name stands for."""
    return Content(*name.split(_DIVIDER)) if _DIVIDER in name else Content(name)


def is_snapshot(name: str) -> bool:
    """Whether a name is that of the content of a snapshot."""
    return _DIVIDER in name


def owner_of(name: str) -> str:
    """The tenant whose content, or the content of whose snapshot, has this name."""
    return name.partition(_DIVIDER)[0]
