"""Which statements of a commit were executed, when its answer was lost or leaves it open.

Every written entity shows the number of the last commit of each process (`plan.py`): that is the evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from broker.ngsild.model import Entity
from broker.notify.owed import Owed


class ReadsBack(Protocol):
    """What of the entity store is needed to look for evidence."""

    async def load(self, tenant: str, ids: Sequence[str]) -> dict[str, Entity]:
        """Those of the entities that exist, as the primary has them."""

    async def barrier(self, tenant: str) -> Any:
        """Return once everything seen on the primary before is journaled on a majority."""


@dataclass(slots=True)
class Attempt:
    """A commit under way: its process and number, what it owes by entity, and which of its entities it deletes."""

    process: str
    commit: int
    owed: dict[str, list[Owed]]
    deleted: frozenset[str]


async def landed(
    store: ReadsBack, tenant: str, entity_ids: Sequence[str], attempt: Attempt, *, answer_lost: bool
) -> dict[str, Entity | None]:
    """Those of the entities whose statement was executed, as they are now (None: deleted). Raises Unavailable.

    If the answer was lost, nothing says yet that what is read is on the disks of a majority: a durable write in between
    does, provided that both readings agree. They differ when MongoDB crashed in between and forgot what was read.
    """
    found = await _executed(store, tenant, entity_ids, attempt)
    while answer_lost and found:
        await store.barrier(tenant)
        earlier, found = found, await _executed(store, tenant, entity_ids, attempt)
        if earlier.keys() == found.keys():
            break
    return found


async def _executed(
    store: ReadsBack, tenant: str, entity_ids: Sequence[str], attempt: Attempt
) -> dict[str, Entity | None]:
    found = await store.load(tenant, entity_ids)
    return {
        entity_id: found.get(entity_id) for entity_id in entity_ids if _shows(found.get(entity_id), entity_id, attempt)
    }


def _shows(entity: Entity | None, entity_id: str, attempt: Attempt) -> bool:
    """Whether the entity as it is now shows that the statement was executed.

    A deletion has happened when the entity is gone. Should another process have deleted it in the same instant, both
    report success: no client can tell the difference.
    """
    deletion = entity_id in attempt.deleted
    if entity is None:
        return deletion
    return bool(entity["writers"].get(attempt.process, -1) >= attempt.commit) and not deletion
