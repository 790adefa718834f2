"""Queries and retrievals that use an entity map (clauses 5.5.9.3, 5.5.14, 5.7.1.4, 5.7.2.4).

The map is named by the header NGSILD-EntityMap or by a link of ours. If there is none by that name any more, or if one
is asked for, it is made. Its location is in the answer.
"""

import hashlib
from dataclasses import replace

from broker.core.paging import PageRequest
from broker.core.queries import EntityQuery
from broker.ngsild.errors import BadRequestData
from broker.storage.documents import StoredEntity
from broker.storage.entity_maps import EntityMap
from broker.web.endpoint import Call
from broker.web.map_parameters import MAP_ID, MapParameters, location_of, map_id_at
from broker.web.negotiation import ENTITY_MAP
from broker.web.page_links import map_links
from broker.web.query_parameters import QueryParameters, entity_query, fingerprint, page_request

_CREATED = 201


def uses_map(call: Call, parameters: MapParameters) -> bool:
    """Whether a request asks for a map, or refers to one."""
    return parameters.wanted or parameters.map_id is not None or call.entity_map is not None


async def query_by_map(
    call: Call, parameters: QueryParameters
) -> tuple[list[StoredEntity], list[tuple[str, str]], int]:
    """One page of a map, the headers of its answer, and the status: 201 if the map was made (table 6.4.3.2-3).

    BadRequestData if the map is one of another query, or of the same with another @context.
    """
    if parameters.cursor is not None:
        raise BadRequestData("cursor has no meaning in an entity map, whose pages begin at an offset.")
    query, request = entity_query(parameters, call.context), page_request(parameters, call.context)
    of, status = await find_or_make(call, parameters, query, request)
    page = await call.services.entity_maps.page(call.tenant, of, query, request)
    headers: list[tuple[str, str]] = [(ENTITY_MAP, location_of(of.id))]
    headers += [("Link", link) for link in map_links(call, parameters.page, of.id, page.next)]
    if page.total is not None:
        headers.append(("NGSILD-Results-Count", str(page.total)))
    return page.entities, headers, status


async def find_or_make(
    call: Call, parameters: QueryParameters, query: EntityQuery, request: PageRequest
) -> tuple[EntityMap, int]:
    """The map that a query refers to, or a new one, and the status of an answer with it."""
    digest = query_digest(call, parameters)
    found = await _referred(call, parameters.maps)
    if found is None:
        made = await call.services.entity_maps.create(
            call.tenant, query, digest, ordering=request.ordering, lifetime=parameters.maps.lifetime
        )
        return made, _CREATED
    if found.fingerprint != digest:
        raise BadRequestData(
            f"The entity map {found.id} was made for another query or another @context: give the same parameters; "
            "only id, limit, offset and the presentation may differ."
        )
    return found, 200


async def location_for_one(call: Call, parameters: MapParameters, entity_id: str) -> str:
    """The location of the map that a retrieval refers to, or of a new one."""
    found = await _referred(call, parameters)
    if found is None:
        found = await call.services.entity_maps.create_of_one(call.tenant, entity_id, parameters.lifetime)
    return location_of(found.id)


def query_digest(call: Call, parameters: QueryParameters) -> str:
    """What stands for a query in its map: the same for the same query and @context, whatever ids it is narrowed to."""
    return hashlib.sha256(fingerprint(replace(parameters, ids=[]), call.context)).hexdigest()


async def _referred(call: Call, parameters: MapParameters) -> EntityMap | None:
    named = {map_id_at(name) for name in (call.entity_map, parameters.map_id) if name is not None}
    if len(named) > 1:
        raise BadRequestData(f"The header {ENTITY_MAP} and the URL parameter {MAP_ID} name two entity maps: give one.")
    return await call.services.entity_maps.find(call.tenant, named.pop()) if named else None
