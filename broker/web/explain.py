"""Resource for operators: how a query is answered (docs/queries.md)."""

from typing import Any

from aiohttp import web

from broker.core.explaining import Explanation
from broker.core.indexes import shown_path
from broker.jsonld.context import Context
from broker.web.endpoint import Call
from broker.web.query_parameters import QueryParameters, entity_query, page_request
from broker.web.replies import json_reply


async def explain_query(call: Call) -> web.Response:
    """GET /explain: how GET /entities with these parameters is answered, and what would make it faster."""
    parameters: QueryParameters = call.parameters
    query, request = entity_query(parameters, call.context), page_request(parameters, call.context)
    return json_reply(_shown(await call.services.explanations.explain(call.tenant, query, request), call.context))


def _shown(found: Explanation, context: Context) -> dict[str, Any]:
    plan = found.plan
    return {
        "filter": found.search.condition,
        "sort": found.search.sort,
        "limit": found.search.limit,
        "stages": plan.stages,
        "indexes": plan.indexes,
        "declaredIndexes": [
            {"type": context.compact(one.type), "attribute": shown_path(one.path, context.compact), "kind": one.kind}
            for one in found.used
        ],
        "keysExamined": plan.keys,
        "documentsExamined": plan.documents,
        "returned": plan.returned,
        "milliseconds": plan.seconds * 1000,
        "decidedByMongoDB": found.exact,
        "scans": found.scans,
        "advice": [one.said(context.compact) for one in found.advice],
    }
