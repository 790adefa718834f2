"""Resource for operators: who is subscribed, and how delivery goes (docs/notifications.md)."""

from typing import Any

from aiohttp import web

from broker.core.subscribers import Subscriber
from broker.web.endpoint import Call
from broker.web.parameters import Page, Query, read_page
from broker.web.replies import json_reply
from broker.web.services import Services

_MOST = 1_000


def read_parameters(query: Query, _services: Services) -> Page:
    """Read the URL parameters limit, offset and count."""
    page = read_page(query, query.options({"count"}), _MOST, _MOST)
    query.finish()
    return page


async def list_subscribers(call: Call) -> web.Response:
    """GET /subscribers: a page of the tenant's subscriptions, with the health of each and what it is owed."""
    page: Page = call.parameters
    found, total = await call.services.subscribers.list(
        call.tenant, limit=page.limit, offset=page.offset, count=page.count
    )
    reply = json_reply([_shown(one) for one in found])
    if total is not None:
        reply.headers["NGSILD-Results-Count"] = str(total)
    return reply


def _shown(one: Subscriber) -> dict[str, Any]:
    shown = {
        "id": one.id,
        "subscriptionName": one.name,
        "endpoint": one.endpoint,
        "status": one.status,
        "health": one.health,
        "timesSent": one.times_sent,
        "timesFailed": one.times_failed,
        "failuresInRow": one.failures_in_row,
        "givenUp": one.given_up,
        "lastSuccess": one.last_success,
        "lastFailure": one.last_failure,
        "lastError": one.last_error,
        "backlog": one.backlog,
        "oldestSeconds": None if one.oldest_seconds is None else round(one.oldest_seconds, 1),
    }
    return {name: value for name, value in shown.items() if value is not None}
