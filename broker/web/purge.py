"""DELETE /entities: Purge Entities (clauses 6.4.3.3, 5.6.21)."""

from dataclasses import dataclass

from aiohttp import web

from broker.core.purge import Reduction
from broker.jsonld.context import Context
from broker.ngsild.errors import BadRequestData
from broker.ngsild.query.grammar import parse_q
from broker.ngsild.query.links import link_depth
from broker.web.batch import multi_status
from broker.web.endpoint import Call
from broker.web.map_parameters import location_of, map_id_at
from broker.web.negotiation import ENTITY_MAP
from broker.web.parameters import Page, Presentation, Query
from broker.web.query_parameters import QueryParameters, entity_query, read_selection
from broker.web.replies import no_content
from broker.web.services import Services

_IDENTITY = ("id", "type")


@dataclass(slots=True)
class PurgeParameters:
    """The URL parameters of Purge Entities (table 6.4.3.3-1), names as the client wrote them."""

    selection: QueryParameters
    keep: list[str]
    drop: list[str]


def read_purge_parameters(query: Query, _services: Services) -> PurgeParameters:
    """Read the URL parameters of Purge Entities.

    BadRequestData for paths into linked entities, and for both keep and drop. The context source filter `csf` is
    checked, but filters nothing, as there are no context sources; `geometryProperty` concerns representations only.
    """
    selection = read_selection(query, Presentation(attrs=query.projection("attrs")), Page(limit=0))
    keep, drop = query.projection("keep"), query.projection("drop")
    query.text("geometryProperty")
    query.finish()
    if keep and drop:
        raise BadRequestData("The URL parameters keep and drop exclude each other: give one of them.")
    for name in drop:
        if name in _IDENTITY:
            raise BadRequestData(f"The URL parameter drop names {name!r}, without which there is no entity.")
    for name, text in (("q", selection.q), ("csf", selection.csf)):
        if text is not None:
            _check_filter(name, text)
    return PurgeParameters(selection, keep, drop)


async def purge_entities(call: Call) -> web.Response:
    """DELETE /entities: Purge Entities (6.4.3.3, 5.6.21)."""
    parameters: PurgeParameters = call.parameters
    query = entity_query(parameters.selection, call.context)
    among, of = None, None
    if call.entity_map is not None:
        # One that does not exist is refused, not made anew as for a query: nothing may be deleted by mistake.
        of = await call.services.entity_maps.retrieve(call.tenant, map_id_at(call.entity_map))
        among = call.services.entity_maps.entities(call.tenant, of)
    result = await call.services.purges.purge(call.tenant, query, _reduction(parameters, call.context), among)
    response = multi_status(result) if result.errors else no_content()
    if of is not None:
        response.headers[ENTITY_MAP] = location_of(of.id)
    return response


def _reduction(parameters: PurgeParameters, context: Context) -> Reduction | None:
    if parameters.drop:
        names = [name for name in parameters.drop if name != "scope"]
        return Reduction(drop=_keys(names, context), drop_scope="scope" in parameters.drop)
    if parameters.keep:
        return Reduction(keep=_keys([name for name in parameters.keep if name not in (*_IDENTITY, "scope")], context))
    return None


def _keys(names: list[str], context: Context) -> frozenset[str]:
    return frozenset(context.key(name) for name in names)


def _check_filter(name: str, text: str) -> None:
    if link_depth(parse_q(text)):
        raise BadRequestData(
            f"The URL parameter {name!r} leads into linked entities: a purge selects entities by their own attributes."
        )
