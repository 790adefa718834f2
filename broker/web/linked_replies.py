"""Answers that hold linked entities: inside of those that link to them, or behind them (clause 4.5.23)."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from broker.ngsild.errors import ResourceNotFound
from broker.ngsild.linking import ENTITY_MEMBERS, Document, JoinForm, LinkedEntities, ProjectedView, assemble
from broker.ngsild.model import Entity
from broker.ngsild.projections import Projection
from broker.ngsild.representations import render_entity
from broker.ngsild.timestamps import now_text
from broker.ngsild.versions import conform
from broker.storage.documents import StoredEntity
from broker.web.endpoint import Call
from broker.web.entity_replies import EntityReplies
from broker.web.parameters import Presentation


class LinkedReplies:
    """The answers to one request that asks for linked entities, in all forms that `EntityReplies` knows.

    A flat answer is a list whatever was asked for, even if nothing is linked (clause 4.5.23.3).
    """

    def __init__(self, call: Call, presentation: Presentation, replies: EntityReplies) -> None:
        self._call = call
        self._presentation = presentation
        self._replies = replies
        self._datasets = frozenset(presentation.datasets) or None
        attributes = Projection(dict.fromkeys(presentation.attrs))
        self._view = ProjectedView(
            call.context,
            presentation.pick or attributes,
            presentation.omit,
            always=() if presentation.pick else ENTITY_MEMBERS,
        )

    async def one(self, stored: StoredEntity) -> web.Response:
        """The answer with one entity and what it links to. ResourceNotFound if it has expired."""
        entity = stored.visible(now_text())
        if entity is None:
            raise ResourceNotFound(f"The entity {stored.entity_id} does not exist.")
        assert self._presentation.joining is not None
        alone = self._presentation.joining.form is JoinForm.INLINE
        return await self._answer([entity], (), alone=alone)

    async def many(self, found: Sequence[StoredEntity], headers: Sequence[tuple[str, str]] = ()) -> web.Response:
        """The answer with a list of entities and what they link to, and with these headers."""
        now = now_text()
        entities = [entity for stored in found if (entity := stored.visible(now)) is not None]
        return await self._answer(entities, headers, alone=False)

    async def _answer(
        self, entities: Sequence[Entity], headers: Sequence[tuple[str, str]], *, alone: bool
    ) -> web.Response:
        call, joining = self._call, self._presentation.joining
        assert joining is not None
        linked = await call.services.linked.join(
            call.tenant, entities, joining, view=self._view, datasets=self._datasets
        )
        shown = self._assembled(linked, self._rendered)
        altered = False
        if call.preferences.version is not None:
            conformed = self._assembled(linked, self._conformed)
            altered = any(one[1] != other[1] for one, other in zip(shown, conformed, strict=True))
            shown = conformed
        return self._replies.assembled(shown, headers, alone=alone, altered=altered)

    def _assembled(self, linked: LinkedEntities, show: Any) -> list[tuple[Entity, Document]]:
        return assemble(linked, show, self._call.context, self._presentation.format)

    def _rendered(self, entity: Entity, view: ProjectedView) -> tuple[Entity, Document]:
        presentation = self._presentation
        document = render_entity(
            entity,
            self._call.context,
            presentation.format,
            sys_attrs=presentation.sys_attrs,
            pick=view.picked,
            omit=view.omitted,
            datasets=self._datasets,
            lang=presentation.lang,
        )
        return entity, document

    def _conformed(self, entity: Entity, view: ProjectedView) -> tuple[Entity, Document]:
        version = self._call.preferences.version
        assert version is not None
        languages = self._presentation.lang is None
        return self._rendered(conform(entity, version, self._call.context, languages=languages), view)
