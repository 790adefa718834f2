"""The parameters of Query Entities, as they come in a URL (table 6.4.3.2-1) or in a body (`query_documents.py`)."""

from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from broker.core.paging import PageRequest, read_cursor
from broker.core.queries import EntityQuery, Selector
from broker.jsonld.context import Context
from broker.ngsild.errors import BadRequestData, NotYetImplemented
from broker.ngsild.names import check_uri
from broker.ngsild.ordering import Ordering, read_ordering
from broker.ngsild.query.geo import GeoQuery, parse_geo
from broker.ngsild.query.grammar import parse_q
from broker.ngsild.query.links import check_link_depth
from broker.ngsild.query.scopes import parse_scope_q
from broker.ngsild.query.tree import expand
from broker.ngsild.query.types import parse_types
from broker.web.map_parameters import NO_MAP, MapParameters, read_map_parameters
from broker.web.parameters import (
    PRESENTATION_OPTIONS,
    Page,
    Presentation,
    Query,
    read_page,
    read_presentation,
)
from broker.web.services import Services


@dataclass(slots=True)
class SelectorParameters:
    """An entity selector (clause 5.2.33), names as the client wrote them."""

    type: str
    ids: list[str] = field(default_factory=list)
    id_pattern: str | None = None


@dataclass(slots=True)
class QueryParameters:
    """What Query Entities is asked for, names as the client wrote them.

    `coordinates` and `order_from` are JSON text or what it holds. `by_offset` tells that the client gave an offset, and
    shall be given offsets (clause 5.5.9.2); `cursor` is the opaque place that a link of ours leads to. `distributed`
    tells that local=false was asked for. `split_entities` makes no difference as long as there are no context sources.
    """

    type: str | None
    ids: list[str]
    id_pattern: str | None
    q: str | None
    scope_q: str | None
    georel: str | None
    geometry: str | None
    coordinates: str | list[Any] | None
    geoproperty: str | None
    local: bool
    presentation: Presentation
    page: Page
    selectors: list[SelectorParameters] = field(default_factory=list)
    expand_values: list[str] = field(default_factory=list)
    json_keys: list[str] = field(default_factory=list)
    csf: str | None = None
    order_by: list[str] = field(default_factory=list)
    collation: str | None = None
    order_from: str | list[Any] | None = None
    order_geometry: str | None = None
    split_entities: bool = False
    cursor: str | None = None
    by_offset: bool = False
    distributed: bool = False
    maps: MapParameters = NO_MAP


def read_selection(query: Query, presentation: Presentation, page: Page) -> QueryParameters:
    """Read the URL parameters that say which entities: those that queries and purges have in common."""
    local = query.boolean("local")
    return QueryParameters(
        type=query.text("type"),
        ids=query.words("id"),
        id_pattern=query.text("idPattern"),
        q=query.text("q"),
        scope_q=query.text("scopeQ"),
        georel=query.text("georel"),
        geometry=query.text("geometry"),
        coordinates=query.text("coordinates"),
        geoproperty=query.text("geoproperty"),
        local=local,
        distributed=query.text("local") is not None and not local,
        csf=query.text("csf"),
        presentation=presentation,
        page=page,
    )


def read_query_parameters(query: Query, services: Services) -> QueryParameters:
    """Read the URL parameters of Query Entities."""
    options = query.options({*PRESENTATION_OPTIONS, "count"})
    settings = services.settings
    page = read_page(query, options, settings.query_limit_default, settings.query_limit_max)
    parameters = replace(
        read_selection(query, read_presentation(query, options), page),
        expand_values=query.words("expandValues"),
        json_keys=query.words("jsonKeys"),
        order_by=query.words("orderBy"),
        collation=query.text("collation"),
        order_from=query.text("orderFrom"),
        order_geometry=query.text("orderGeometry"),
        split_entities=query.boolean("splitEntities"),
        cursor=query.text("cursor"),
        by_offset=query.text("offset") is not None,
        maps=read_map_parameters(query),
    )
    query.finish()
    check_place(parameters)
    return parameters


def check_place(parameters: QueryParameters) -> None:
    """BadRequestData if both a cursor and an offset say where the page begins."""
    if parameters.cursor is not None and parameters.by_offset:
        raise BadRequestData("cursor and offset both say where the page begins: give one of them.")


def entity_query(parameters: QueryParameters, context: Context) -> EntityQuery:
    """The query that the parameters ask for, with all names expanded."""
    for entity_id in parameters.ids:
        check_uri(entity_id, "entity id in the URL parameter id")
    everything = parameters.type == "*" or any(selector.type == "*" for selector in parameters.selectors)
    if everything and parameters.distributed:
        raise BadRequestData("type=* asks for all local entities: leave local=false out.")
    q = None
    if parameters.q is not None:
        written = parse_q(parameters.q)
        joining = parameters.presentation.joining
        check_link_depth(written, joining.level if joining is not None else 0)
        q = expand(written, context, expand_values=parameters.expand_values, json_keys=parameters.json_keys)
    _check_csf(parameters.csf)
    return EntityQuery(
        types=parse_types(parameters.type).expand(context) if parameters.type not in (None, "*") else None,
        ids=parameters.ids,
        id_pattern=parameters.id_pattern,
        attributes=[context.key(name) for name in parameters.presentation.attrs],
        q=q,
        geo=geo_query(parameters, context),
        scope=parse_scope_q(parameters.scope_q) if parameters.scope_q is not None else None,
        local=parameters.local or everything,
        selectors=tuple(
            Selector(parse_types(one.type).expand(context), tuple(one.ids), one.id_pattern)
            for one in parameters.selectors
        ),
    )


def geo_query(parameters: QueryParameters, context: Context) -> GeoQuery | None:
    """The geo-query that the parameters ask for. BadRequestData if a part of it is missing or makes no sense."""
    georel, geometry, coordinates = parameters.georel, parameters.geometry, parameters.coordinates
    if georel is not None and geometry is not None and coordinates is not None:
        return parse_geo(georel, geometry, coordinates, context.key(parameters.geoproperty or "location"))
    if georel is None and geometry is None and coordinates is None:
        return None
    raise BadRequestData("A geo-query needs all of georel, geometry and coordinates.")


def entity_ordering(parameters: QueryParameters, context: Context) -> Ordering | None:
    """The order that the parameters ask for, None for that of ids. BadRequestData if it makes no sense."""
    return read_ordering(
        parameters.order_by,
        context,
        collation=parameters.collation,
        coordinates=parameters.order_from,
        geometry=parameters.order_geometry,
    )


def _check_csf(csf: str | None) -> None:
    """BadRequestData for a context source filter that makes no sense; there are no context sources to filter yet."""
    if csf is None:
        return
    try:
        check_link_depth(parse_q(csf), 0)
    except (BadRequestData, NotYetImplemented) as error:
        raise BadRequestData(f"csf cannot filter context sources. {error.detail}") from None


def page_request(parameters: QueryParameters, context: Context) -> PageRequest:
    """The page that the parameters ask for.

    BadRequestData for an order that makes no sense, and for a cursor that is not of this query.
    """
    ordering = entity_ordering(parameters, context)
    page, position = parameters.page, None
    if parameters.cursor is not None:
        terms = len(ordering.terms) if ordering is not None else 0
        position = read_cursor(parameters.cursor, fingerprint(parameters, context), terms)
    return PageRequest(page.limit, page.offset, page.count, position, ordering)


def fingerprint(parameters: QueryParameters, context: Context) -> bytes:
    """A text that is the same for queries with the same result in the same order, and the same @context."""
    return orjson.dumps(
        [
            context.source,
            *(parameters.type, parameters.ids, parameters.id_pattern, parameters.selectors, parameters.q),
            *(parameters.expand_values, parameters.json_keys, parameters.scope_q, parameters.presentation.attrs),
            *(parameters.georel, parameters.geometry, parameters.coordinates, parameters.geoproperty),
            *(parameters.order_by, parameters.collation, parameters.order_from, parameters.order_geometry),
        ],
        option=orjson.OPT_SORT_KEYS,
    )
