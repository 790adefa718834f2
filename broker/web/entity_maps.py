"""Resources /entityMaps and /entityMaps/{entityMapId} (clauses 6.32, 6.34)."""

from collections.abc import AsyncIterator

import orjson
from aiohttp import web

from broker.core.entity_maps import render_expiry
from broker.ngsild.names import check_uri
from broker.storage.entity_maps import EntityMap
from broker.web.endpoint import Call
from broker.web.map_parameters import location_of
from broker.web.map_queries import query_digest
from broker.web.negotiation import ENTITY_MAP, JSON_LD, context_link_header
from broker.web.query_documents import read_query_document
from broker.web.query_parameters import QueryParameters, entity_query, page_request
from broker.web.replies import no_content


async def create_map(call: Call) -> web.Response:
    """GET /entityMaps: Create EntityMap for Query Entities (6.34.3.1, 5.14.4)."""
    return await _create(call, call.parameters)


async def create_map_by_document(call: Call) -> web.Response:
    """POST /entityMaps: Create EntityMap for Query Entities (6.34.3.2, 5.14.4)."""
    return await _create(call, read_query_document(call.body, call.parameters, call.context))


async def retrieve_map(call: Call) -> web.Response:
    """GET /entityMaps/{entityMapId}: Retrieve EntityMap (6.32.3.1, 5.14.1)."""
    return await _show(call, await call.services.entity_maps.retrieve(call.tenant, _map_id(call)))


async def update_map(call: Call) -> web.Response:
    """PATCH /entityMaps/{entityMapId}: Update EntityMap (6.32.3.2, 5.14.2)."""
    await call.services.entity_maps.update(call.tenant, _map_id(call), call.body)
    return no_content()


async def delete_map(call: Call) -> web.Response:
    """DELETE /entityMaps/{entityMapId}: Delete EntityMap (6.32.3.3, 5.14.3)."""
    await call.services.entity_maps.delete(call.tenant, _map_id(call))
    return no_content()


async def _create(call: Call, parameters: QueryParameters) -> web.Response:
    query, request = entity_query(parameters, call.context), page_request(parameters, call.context)
    made = await call.services.entity_maps.create(
        call.tenant,
        query,
        query_digest(call, parameters),
        ordering=request.ordering,
        lifetime=parameters.maps.lifetime,
    )
    response = await _show(call, made)
    response.set_status(201)
    response.headers[ENTITY_MAP] = location_of(made.id)
    return response


async def _show(call: Call, of: EntityMap) -> web.Response:
    """The answer with a map (clause 5.2.39). A long one is sent as it is read, part by part."""
    in_body = call.media_type == JSON_LD
    head = {"@context": call.context.source} if in_body else {}
    opening = orjson.dumps({**head, "id": of.id, "type": "EntityMap", "expiresAt": render_expiry(of)})
    link = None if in_body else call.context.link
    headers = {} if link is None else {"Link": context_link_header(link)}
    parts = call.services.entity_maps.entities(call.tenant, of)
    first = [part async for part in _up_to(parts, 1)]
    second = [part async for part in _up_to(parts, 1)]
    begun = opening[:-1] + b',"linkedMaps":{},"entityMap":{' + b",".join(_entries(part) for part in [*first, *second])
    body = begun + b"}}" if not second else _rest(begun, parts)
    return web.Response(body=body, content_type=call.media_type, headers=headers)


async def _up_to(parts: AsyncIterator[list[str]], count: int) -> AsyncIterator[list[str]]:
    for _ in range(count):
        part = await anext(parts, None)
        if part is not None:
            yield part


async def _rest(begun: bytes, parts: AsyncIterator[list[str]]) -> AsyncIterator[bytes]:
    yield begun
    async for part in parts:
        yield b"," + _entries(part)
    yield b"}}"


def _entries(ids: list[str]) -> bytes:
    """Entities of the map, all of them local: they are found by no registration (table 5.2.39-2)."""
    return b",".join(orjson.dumps(entity_id) + b':["@none"]' for entity_id in ids)


def _map_id(call: Call) -> str:
    return check_uri(call.path["entityMapId"], "entity map id")
