"""How entities are answered: as JSON, JSON-LD or GeoJSON, and in the version that the client understands.

Clauses 6.3.6, 6.3.7, 6.3.15 and 4.3.6.8.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web

from broker.ngsild.errors import BadRequestData, ResourceNotFound
from broker.ngsild.geojson import feature, feature_collection
from broker.ngsild.model import LOCATION, Entity
from broker.ngsild.timestamps import now_text
from broker.ngsild.versions import conform
from broker.storage.documents import StoredEntity
from broker.web.endpoint import Call
from broker.web.negotiation import GEO_JSON, JSON_LD, context_link_header
from broker.web.parameters import Presentation
from broker.web.replies import Document, linked_data

_ALTERED = 203
_NOTHING = b"{}"


class EntityReplies:
    """The answers to one request for entities, with the names of the request expanded once.

    BadRequestData for a geometryProperty without Accept: application/geo+json (clauses 5.7.1.4, 5.7.2.4).
    """

    def __init__(self, call: Call, presentation: Presentation) -> None:
        context = call.context
        geometry = presentation.geometry_property
        self._geojson = call.media_type == GEO_JSON
        if geometry is not None and not self._geojson:
            raise BadRequestData(
                f"The URL parameter geometryProperty selects the geometry of a GeoJSON answer, but the answer is "
                f"{call.media_type}: send Accept: {GEO_JSON}."
            )
        self._call = call
        self._all_languages = presentation.lang is None
        self._geometry = context.key(geometry) if geometry is not None else LOCATION
        self._rendered = call.services.rendered
        self._view = self._rendered.view(context, presentation)
        self._as_texts = not self._geojson and call.preferences.version is None
        self._altered = False

    def one(self, stored: StoredEntity) -> web.Response:
        """The answer with one entity. ResourceNotFound if it has expired."""
        if self._as_texts:
            text = self._rendered.text(self._view, self._call.tenant, stored)
            if text == _NOTHING:
                raise _nothing_left(stored)
            if text is not None:
                return self._document(self._view.with_context(text) if self._call.media_type == JSON_LD else text)
        entity = stored.visible(now_text())
        if entity is None:
            raise ResourceNotFound(f"The entity {stored.entity_id} does not exist.")
        shown = self._show(entity)
        if not shown:
            raise _nothing_left(stored)
        return self._reply(shown)

    def many(self, found: Sequence[StoredEntity], headers: Sequence[tuple[str, str]] = ()) -> web.Response:
        """The answer with a list of entities, and with these headers.

        Entities of which nothing is to be shown are left out: those that have expired meanwhile, and those of which the
        projection leaves nothing.
        """
        if self._as_texts:
            rendered, view, tenant = self._rendered, self._view, self._call.tenant
            texts = [
                text
                for stored in found
                if (text := rendered.text(view, tenant, stored)) is not None and text != _NOTHING
            ]
            if self._call.media_type == JSON_LD:
                texts = [view.with_context(text) for text in texts]
            return self._document(b"[" + b",".join(texts) + b"]", headers)
        now = now_text()
        entities = [entity for stored in found if (entity := stored.visible(now)) is not None]
        shown = [document for entity in entities if (document := self._show(entity))]
        response = self._reply(feature_collection(shown) if self._geojson else shown)
        response.headers.extend(headers)
        return response

    def assembled(
        self,
        shown: Sequence[tuple[Entity, dict[str, Any]]],
        headers: Sequence[tuple[str, str]] = (),
        *,
        alone: bool,
        altered: bool = False,
    ) -> web.Response:
        """The answer with entities that were rendered already, as a list unless the only one stands `alone`.

        `altered` tells that they were changed for the version that the client understands.
        """
        self._altered = altered
        documents = [document for _, document in shown]
        if self._geojson:
            documents = [feature(entity, document, self._geometry, self._view.datasets) for entity, document in shown]
        if alone:
            response = self._reply(documents[0])
        else:
            response = self._reply(feature_collection(documents) if self._geojson else documents)
        response.headers.extend(headers)
        return response

    def _document(self, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> web.Response:
        call = self._call
        link = call.context.link if call.media_type != JSON_LD else None
        if link is not None:
            headers = [("Link", context_link_header(link)), *headers]
        return Document(body, call.media_type, headers)

    def _reply(self, payload: Any) -> web.Response:
        call = self._call
        status = _ALTERED if self._altered else 200
        if not self._geojson:
            return linked_data(payload, call.context, call.media_type, status)
        headers: dict[str, str] = {}
        if call.preferences.body != "json":
            payload["@context"] = call.context.source
        elif call.context.link is not None:
            headers["Link"] = context_link_header(call.context.link)
        return web.Response(status=status, body=orjson.dumps(payload), content_type=GEO_JSON, headers=headers)

    def _show(self, entity: Entity) -> dict[str, Any]:
        view = self._view
        document = view.document(entity)
        version = self._call.preferences.version
        if version is not None:
            conformed = view.document(conform(entity, version, self._call.context, languages=self._all_languages))
            self._altered = self._altered or conformed != document
            document = conformed
        if not document or not self._geojson:
            return document
        return feature(entity, document, self._geometry, view.datasets)


def _nothing_left(stored: StoredEntity) -> ResourceNotFound:
    return ResourceNotFound(f"The entity {stored.entity_id} has none of the members that pick and omit ask for.")
