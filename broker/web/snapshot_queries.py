"""The queries of a snapshot (clause 5.2.41): which entities they select, and which part of each it holds."""

from typing import Any

from broker.core.queries import EntityQuery
from broker.jsonld.context import Context
from broker.ngsild.errors import BadRequestData, NgsiLdError, NotYetImplemented
from broker.ngsild.projections import Projection
from broker.storage.snapshot_parts import Part
from broker.web.parameters import Page, Presentation
from broker.web.query_documents import read_query_document
from broker.web.query_parameters import QueryParameters, entity_query

_ENTITY_MEMBERS = ("id", "type", "scope")
_ALTERING = ("lang", "join")
"""Members of a Query that make other entities of those that are kept; what a snapshot holds is what is kept."""


def compile_snapshot_query(document: dict[str, Any], context: Context, pointer: str) -> tuple[EntityQuery, Part]:
    """What a Query at `pointer` of the body selects.

    BadRequestData and TooComplexQuery for a query that makes no sense or is too wide, NotYetImplemented for languages
    and linked entities. Errors point to the member.
    """
    nothing = QueryParameters(
        *(None, [], None, None, None, None, None, None, None),  # what the document selects by
        local=False,
        presentation=Presentation(),
        page=Page(limit=0),
    )
    try:
        parameters = read_query_document(document, nothing, context)
        for name in _ALTERING:
            if document.get(name, "@none") != "@none":
                raise NotYetImplemented(
                    f"{name} is not implemented for snapshots, which hold entities as they are: give it in the queries "
                    "on the snapshot.",
                    pointer=f"/{name}",
                )
        query = entity_query(parameters, context)
        query.check_width()
        return query, _part(parameters.presentation, context)
    except NgsiLdError as error:
        error.pointer = pointer + (error.pointer or "")
        raise


def _part(presentation: Presentation, context: Context) -> Part:
    pick, omit = _keys(presentation.pick, context), _keys(presentation.omit, context)
    attributes = frozenset(context.key(name) for name in presentation.attrs)
    if "type" in omit or "id" in omit:
        raise BadRequestData("omit names id or type, without which nothing can be kept.", pointer="/omit")
    return Part(
        keep=pick - {*_ENTITY_MEMBERS} if presentation.pick else attributes or None,
        drop=omit - {*_ENTITY_MEMBERS},
        datasets=frozenset(presentation.datasets) or None,
        scope="scope" not in omit and ("scope" in pick or not presentation.pick),
    )


def _keys(projection: Projection, context: Context) -> frozenset[str]:
    return frozenset(name if name in _ENTITY_MEMBERS else context.key(name) for name in projection)
