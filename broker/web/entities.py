"""Resources /entities and /entities/{entityId} (clauses 6.4, 6.5)."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

from aiohttp import web

from broker.core.entities import Target
from broker.core.queries import EntityQuery
from broker.jsonld.context import Context
from broker.ngsild.errors import BadRequestData
from broker.ngsild.fragments import read_entity, read_fragment
from broker.ngsild.model import Entity
from broker.ngsild.names import check_uri
from broker.ngsild.query.geo import parse_geo
from broker.ngsild.query.grammar import parse_q
from broker.ngsild.query.scopes import parse_scope_q
from broker.ngsild.query.tree import expand
from broker.ngsild.query.types import parse_types
from broker.ngsild.representations import render_entity
from broker.web.endpoint import Call
from broker.web.parameters import (
    PRESENTATION_OPTIONS,
    Page,
    Presentation,
    Query,
    read_page,
    read_presentation,
)
from broker.web.replies import created, linked_data, no_content
from broker.web.services import Services

PATH = "/ngsi-ld/v1/entities"

_LATER_RETRIEVAL = ("containedBy", "entityMap", "entityMapLifetime", "join", "joinLevel", "geometryProperty")
_LATER_QUERY = (
    *_LATER_RETRIEVAL,
    *("collation", "csf", "expandValues", "jsonKeys", "orderBy", "orderFrom", "orderGeometry", "splitEntities"),
)
_MEMBERS = ("id", "type", "scope")


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


def read_retrieve_parameters(query: Query, _services: Services) -> RetrieveParameters:
    """Read the URL parameters of Retrieve Entity."""
    options = query.options(PRESENTATION_OPTIONS)
    parameters = RetrieveParameters(query.text("type"), read_presentation(query, options))
    query.boolean("local")
    query.finish(_LATER_RETRIEVAL)
    return parameters


@dataclass(slots=True)
class QueryParameters:
    """The URL parameters of Query Entities (table 6.4.3.2-1), names as the client wrote them."""

    type: str | None
    ids: list[str]
    id_pattern: str | None
    q: str | None
    scope_q: str | None
    georel: str | None
    geometry: str | None
    coordinates: str | None
    geoproperty: str | None
    local: bool
    presentation: Presentation
    page: Page


def read_query_parameters(query: Query, services: Services) -> QueryParameters:
    """Read the URL parameters of Query Entities."""
    options = query.options({*PRESENTATION_OPTIONS, "count"})
    settings = services.settings
    parameters = QueryParameters(
        query.text("type"),
        query.words("id"),
        query.text("idPattern"),
        query.text("q"),
        query.text("scopeQ"),
        query.text("georel"),
        query.text("geometry"),
        query.text("coordinates"),
        query.text("geoproperty"),
        query.boolean("local"),
        read_presentation(query, options),
        read_page(query, options, settings.query_limit_default, settings.query_limit_max),
    )
    query.finish(_LATER_QUERY)
    if parameters.type == "*" and query.text("local") is not None and not parameters.local:
        raise BadRequestData("type=* asks for all local entities: leave local=false out.")
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
    parameters: QueryParameters = call.parameters
    query = entity_query(parameters, call.context)
    page = parameters.page
    # One more than asked for tells whether there is a next page.
    asked = page.limit + 1 if page.limit else 0
    found, total = await call.services.entities.query(
        call.tenant, query, skip=page.offset, limit=asked, count=page.count
    )
    render = renderer(parameters.presentation, call.context)
    response = linked_data([render(entity) for entity in found[: page.limit]], call.context, call.media_type)
    if total is not None:
        response.headers["NGSILD-Results-Count"] = str(total)
    for link in page_links(call, page, more=len(found) > page.limit):
        response.headers.add("Link", link)
    return response


async def retrieve_entity(call: Call) -> web.Response:
    """GET /entities/{entityId}: Retrieve Entity (6.5.3.1, 5.7.1)."""
    parameters: RetrieveParameters = call.parameters
    presentation = parameters.presentation
    required = [call.context.key(name) for name in presentation.attrs]
    entity = await call.services.entities.retrieve(target(call, parameters.type), required)
    return linked_data(renderer(presentation, call.context)(entity), call.context, call.media_type)


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


def renderer(presentation: Presentation, context: Context) -> Callable[[Entity], dict[str, object]]:
    """How entities are shown, with the names of the request expanded once."""
    pick = None
    if presentation.pick:
        pick = _projection(presentation.pick, context)
    elif presentation.attrs:
        pick = _projection(presentation.attrs, context) | set(_MEMBERS)
    omit = _projection(presentation.omit, context)
    datasets = frozenset(presentation.datasets) or None

    def render(entity: Entity) -> dict[str, object]:
        return render_entity(
            entity,
            context,
            presentation.format,
            sys_attrs=presentation.sys_attrs,
            pick=pick,
            omit=omit,
            datasets=datasets,
            lang=presentation.lang,
        )

    return render


def _projection(names: list[str], context: Context) -> set[str]:
    return {name if name in _MEMBERS else context.key(name) for name in names}


def entity_query(parameters: QueryParameters, context: Context) -> EntityQuery:
    """The query that the URL parameters ask for, with all names expanded."""
    for entity_id in parameters.ids:
        check_uri(entity_id, "entity id in the URL parameter id")
    everything = parameters.type == "*"
    geo_given = any((parameters.georel, parameters.geometry, parameters.coordinates))
    if geo_given and not all((parameters.georel, parameters.geometry, parameters.coordinates)):
        raise BadRequestData("A geo-query needs all of the URL parameters georel, geometry and coordinates.")
    return EntityQuery(
        types=parse_types(parameters.type).expand(context) if parameters.type and not everything else None,
        ids=parameters.ids,
        id_pattern=parameters.id_pattern,
        attributes=[context.key(name) for name in parameters.presentation.attrs],
        q=expand(parse_q(parameters.q), context) if parameters.q is not None else None,
        geo=parse_geo(
            parameters.georel,
            parameters.geometry,
            parameters.coordinates,
            context.key(parameters.geoproperty or "location"),
        )
        if parameters.georel and parameters.geometry and parameters.coordinates
        else None,
        scope=parse_scope_q(parameters.scope_q) if parameters.scope_q is not None else None,
        local=parameters.local or everything,
    )


def page_links(call: Call, page: Page, *, more: bool) -> list[str]:
    """Link headers to the next and the previous page (clause 6.3.10)."""
    links = []
    if more:
        links.append(_page_link(call, page.offset + page.limit, page.limit, "next"))
    if page.offset and page.limit:
        links.append(_page_link(call, max(page.offset - page.limit, 0), page.limit, "prev"))
    return links


def _page_link(call: Call, offset: int, limit: int, relation: str) -> str:
    path, _, query = call.url.partition("?")
    kept = [
        (name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name not in ("limit", "offset")
    ]
    reference = f"{path}?{urlencode([*kept, ('limit', limit), ('offset', offset)])}"
    return f'<{reference}>; rel="{relation}"; type="{call.media_type}"'
