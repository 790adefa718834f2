"""Linked entities in notifications (clauses 4.5.23, 4.9, 5.8.6): looked up when a notification is delivered.

The update path does not wait for other entities: it decides what can be decided of the changed entity alone, and stores
the change as a draft. Here the rest is decided, and the draft becomes a finished body, with the linked entities as they
are by now. Each attempt looks them up again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from broker.ngsild.errors import NonexistentTenant, TooManyResults
from broker.ngsild.expiry import visible
from broker.ngsild.linking import LinkedEntities, retrieve_linked
from broker.ngsild.model import Entity
from broker.ngsild.query.links import targets
from broker.ngsild.query.predicate import compile_predicate
from broker.ngsild.query.tree import And, Linked, Node, Or
from broker.ngsild.timestamps import now_text
from broker.notify.drafts import read_draft
from broker.notify.owed import Owed
from broker.notify.rendering import Projection
from broker.notify.subscription import Subscription

log = structlog.get_logger(__name__)

_IDS_AT_ONCE = 1_000


class LoadsEntities(Protocol):
    """Where entities are kept."""

    async def load(self, tenant: str, ids: Sequence[str]) -> Mapping[str, Entity]:
        """Those of the entities that exist, by id."""


class Completer:
    """Completes drafts. A notification holds at most `most` linked entities; a query looks at no more, either."""

    def __init__(self, store: LoadsEntities, most: int) -> None:
        self._store = store
        self._most = most

    async def complete(self, owed: Owed, subscription: Subscription) -> bytes | None:
        """The finished body of a notification that is a draft; None if its subscription does not want it after all.

        Raises Unavailable while the storage is lost.
        """
        change = read_draft(owed.body, owed.tenant, owed.entity_id)
        entity = change.after if change.after is not None else change.before
        assert entity is not None
        query = subscription.link_query
        if query is not None and not await self._meets(entity, query, subscription):
            return None
        projection = subscription.projection
        linked = None
        if change.after is not None and projection.joining is not None:
            linked = await self._linked([change.after], subscription)
        if linked is None:
            rendered = projection.render(change, subscription.gone)
        else:
            rendered = projection.render_linked(linked, change)
        return subscription.body(owed.id, change.now, rendered)

    async def render_all(self, entities: Sequence[Entity], subscription: Subscription) -> bytes:
        """Entities as they are, with those that they link to if the subscription wants these (see `Projection`)."""
        projection: Projection = subscription.projection
        linked = await self._linked(entities, subscription) if projection.joining is not None else None
        return projection.render_all(entities) if linked is None else projection.render_linked(linked)

    async def _linked(self, entities: Sequence[Entity], subscription: Subscription) -> LinkedEntities | None:
        """The entities with those that they link to; None if these are too many, so that their URIs must do."""
        projection = subscription.projection
        joining, view = projection.joining, projection.view
        assert joining is not None
        assert view is not None
        linked = LinkedEntities(entities, joining, view=view, datasets=projection.datasets, most=self._most)
        try:
            return await retrieve_linked(linked, lambda ids: self._load(subscription.tenant, ids))
        except TooManyResults as error:
            log.warning(
                "notification without linked entities",
                subscription=subscription.id,
                tenant=subscription.tenant,
                reason=error.detail,
            )
            return None

    async def _meets(self, entity: Entity, query: Node, subscription: Subscription) -> bool:
        try:
            decided = await self._decided(query, [entity], subscription.tenant)
        except TooManyResults as error:
            log.warning("q not decided", subscription=subscription.id, tenant=subscription.tenant, reason=error.detail)
            return True
        return compile_predicate(decided)(entity)

    async def _decided(self, node: Node, entities: Sequence[Entity], tenant: str) -> Node:
        """The query, which is asked of `entities`, with the ids of the linked entities that meet its terms."""
        if isinstance(node, And | Or):
            return type(node)(tuple([await self._decided(term, entities, tenant) for term in node.terms]))
        if not isinstance(node, Linked):
            return node
        ids = list(dict.fromkeys(one for entity in entities for one in targets(node, entity)))
        if len(ids) > self._most:
            raise TooManyResults(f"q leads to {len(ids)} linked entities: at most {self._most} are looked at.")
        found = (await self._load(tenant, ids)).values()
        candidates = [one for one in found if not node.types or not set(node.types).isdisjoint(one["types"])]
        meets = compile_predicate(await self._decided(node.term, candidates, tenant))
        return replace(node, ids=frozenset(one["_id"] for one in candidates if meets(one)))

    async def _load(self, tenant: str, ids: Sequence[str]) -> dict[str, Entity]:
        now = now_text()
        found: dict[str, Entity] = {}
        for start in range(0, len(ids), _IDS_AT_ONCE):
            try:
                stored = await self._store.load(tenant, ids[start : start + _IDS_AT_ONCE])
            except NonexistentTenant:
                return {}
            found |= {name: entity for name, one in stored.items() if (entity := visible(one, now)) is not None}
        return found
