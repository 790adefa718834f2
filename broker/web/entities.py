"""Resources /entities and /entities/{entityId} (clauses 6.4, 6.5)."""

from dataclasses import dataclass
from urllib.parse import quote

from aiohttp import web

from broker.core.entities import Target
from broker.ngsild.fragments import read_entity, read_fragment
from broker.ngsild.names import check_uri
from broker.ngsild.query.types import parse_types
from broker.web.endpoint import Call
from broker.web.entity_replies import EntityReplies
from broker.web.linked_replies import LinkedReplies
from broker.web.map_parameters import MapParameters, read_map_parameters
from broker.web.map_queries import location_for_one, query_by_map, uses_map
from broker.web.negotiation import ENTITY_MAP
from broker.web.page_links import page_links
from broker.web.parameters import PRESENTATION_OPTIONS, Presentation, Query, read_presentation
from broker.web.query_documents import read_query_document
from broker.web.query_parameters import QueryParameters, entity_query, page_request
from broker.web.replies import created, no_content, with_status
from broker.web.services import Services

PATH = "/ngsi-ld/v1/entities"


@dataclass(slots=True)
class TargetParameters:
    """The URL parameters of an operation on one entity."""

    type: str | None


def read_target_parameters(query: Query, _services: Services) -> TargetParameters:
    """`type` and `local`."""
    parameters = TargetParameters(query.text("type"))
    query.boolean("local")
    query.finish()
    return parameters


@dataclass(slots=True)
class RetrieveParameters:
    """The URL parameters of Retrieve Entity (table 6.5.3.1-1)."""

    type: str | None
    presentation: Presentation
    maps: MapParameters


def read_retrieve_parameters(query: Query, _services: Services) -> RetrieveParameters:
    """Read the URL parameters of Retrieve Entity."""
    options = query.options(PRESENTATION_OPTIONS)
    parameters = RetrieveParameters(query.text("type"), read_presentation(query, options), read_map_parameters(query))
    query.boolean("local")
    query.finish()
    return parameters


def no_parameters(query: Query, _services: Services) -> None:
    """For operations without parameters of their own; `local` is known to all (clause 6.3.18)."""
    query.boolean("local")
    query.finish()


async def create_entity(call: Call) -> web.Response:
    """POST /entities: Create Entity (6.4.3.1, 5.6.1)."""
    entity_id = await call.services.entities.create(call.tenant, read_entity(call.body, call.context), call.size)
    return created(f"{PATH}/{quote(entity_id, safe=':')}")


async def query_entities(call: Call) -> web.Response:
    """GET /entities: Query Entities (6.4.3.2, 5.7.2)."""
    return await answer_query(call, call.parameters)


async def query_by_document(call: Call) -> web.Response:
    """POST /entityOperations/query: Query Entities (6.23.3.1, 5.7.2)."""
    return await answer_query(call, read_query_document(call.body, call.parameters, call.context))


async def answer_query(call: Call, parameters: QueryParameters) -> web.Response:
    """One page of the entities that the parameters select, with links to the pages beside it."""
    presentation, context = parameters.presentation, call.context
    replies = EntityReplies(call, presentation)
    joined = LinkedReplies(call, presentation, replies) if presentation.joining is not None else None
    status = 200
    if uses_map(call, parameters.maps):
        found, headers, status = await query_by_map(call, parameters)
    else:
        request = page_request(parameters, context)
        result = await call.services.entities.query(call.tenant, entity_query(parameters, context), request)
        found, headers = result.entities, [("Link", link) for link in page_links(call, parameters, result)]
        if result.total is not None:
            headers.append(("NGSILD-Results-Count", str(result.total)))
    response = await joined.many(found, headers) if joined is not None else replies.many(found, headers)
    return with_status(response, status) if response.status == 200 else response


async def retrieve_entity(call: Call) -> web.Response:
    """GET /entities/{entityId}: Retrieve Entity (6.5.3.1, 5.7.1)."""
    parameters: RetrieveParameters = call.parameters
    presentation = parameters.presentation
    replies = EntityReplies(call, presentation)
    joined = LinkedReplies(call, presentation, replies) if presentation.joining is not None else None
    required = [call.context.key(name) for name in presentation.attrs]
    entity = await call.services.entities.retrieve(target(call, parameters.type), required)
    response = replies.one(entity) if joined is None else await joined.one(entity)
    if uses_map(call, parameters.maps):
        response.headers[ENTITY_MAP] = await location_for_one(call, parameters.maps, entity.entity_id)
    return response


async def replace_entity(call: Call) -> web.Response:
    """PUT /entities/{entityId}: Replace Entity (6.5.3.3, 5.6.18)."""
    await call.services.entities.replace(target(call, call.parameters.type), read_fragment(call.body, call.context))
    return no_content()


async def delete_entity(call: Call) -> web.Response:
    """DELETE /entities/{entityId}: Delete Entity (6.5.3.2, 5.6.6)."""
    await call.services.entities.delete(target(call, call.parameters.type))
    return no_content()


def target(call: Call, type_selection: str | None) -> Target:
    """The entity that the path names. BadRequestData if its id is no URI."""
    entity_id = check_uri(call.path["entityId"], "entity id")
    selector = parse_types(type_selection).expand(call.context).matches if type_selection is not None else None
    return Target(call.tenant, entity_id, selector, call.size)
