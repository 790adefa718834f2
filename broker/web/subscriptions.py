"""Resources /subscriptions and /subscriptions/{subscriptionId} (clauses 6.10, 6.11)."""

from dataclasses import dataclass
from urllib.parse import quote

from aiohttp import web

from broker.core.subscription_documents import render_subscription
from broker.ngsild.names import check_uri
from broker.ngsild.timestamps import now_text
from broker.web.contexts import origin
from broker.web.endpoint import Call
from broker.web.page_links import offset_links
from broker.web.parameters import Page, Query, read_page
from broker.web.replies import created, linked_data, no_content
from broker.web.services import Services

PATH = "/ngsi-ld/v1/subscriptions"


@dataclass(slots=True)
class QueryParameters:
    """The URL parameters of Query Subscriptions (clauses 6.10.3.2, 6.3.10, 6.3.11, 6.3.13)."""

    page: Page
    sys_attrs: bool


def read_query_parameters(query: Query, services: Services) -> QueryParameters:
    """Read the URL parameters of Query Subscriptions."""
    options = query.options({"count", "sysAttrs"})
    settings = services.settings
    page = read_page(query, options, settings.query_limit_default, settings.query_limit_max)
    query.boolean("local")
    query.finish()
    return QueryParameters(page, "sysAttrs" in options)


@dataclass(slots=True)
class RetrieveParameters:
    """The URL parameters of Retrieve Subscription (clause 6.3.11)."""

    sys_attrs: bool


def read_retrieve_parameters(query: Query, _services: Services) -> RetrieveParameters:
    """Read the URL parameters of Retrieve Subscription."""
    options = query.options({"sysAttrs"})
    query.boolean("local")
    query.finish()
    return RetrieveParameters("sysAttrs" in options)


async def create_subscription(call: Call) -> web.Response:
    """POST /subscriptions: Create Subscription (6.10.3.1, 5.8.1)."""
    subscriptions = call.services.subscriptions
    subscription_id = await subscriptions.create(call.tenant, call.body, call.context, origin(call))
    return created(f"{PATH}/{quote(subscription_id, safe=':')}")


async def query_subscriptions(call: Call) -> web.Response:
    """GET /subscriptions: Query Subscriptions (6.10.3.2, 5.8.4)."""
    parameters: QueryParameters = call.parameters
    page = parameters.page
    # One more than asked for tells whether there is a next page.
    asked = page.limit + 1 if page.limit else 0
    found, total = await call.services.subscriptions.query(
        call.tenant, limit=asked, offset=page.offset, count=page.count
    )
    now = now_text()
    rendered = [
        render_subscription(document, call.context, now, sys_attrs=parameters.sys_attrs)
        for document in found[: page.limit]
    ]
    response = linked_data(rendered, call.context, call.media_type)
    if total is not None:
        response.headers["NGSILD-Results-Count"] = str(total)
    for link in offset_links(call, page, more=len(found) > page.limit):
        response.headers.add("Link", link)
    return response


async def retrieve_subscription(call: Call) -> web.Response:
    """GET /subscriptions/{subscriptionId}: Retrieve Subscription (6.11.3.1, 5.8.3)."""
    parameters: RetrieveParameters = call.parameters
    document = await call.services.subscriptions.retrieve(call.tenant, subscription_id(call))
    rendered = render_subscription(document, call.context, now_text(), sys_attrs=parameters.sys_attrs)
    return linked_data(rendered, call.context, call.media_type)


async def update_subscription(call: Call) -> web.Response:
    """PATCH /subscriptions/{subscriptionId}: Update Subscription (6.11.3.2, 5.8.2)."""
    await call.services.subscriptions.update(call.tenant, subscription_id(call), call.body, call.context)
    return no_content()


async def delete_subscription(call: Call) -> web.Response:
    """DELETE /subscriptions/{subscriptionId}: Delete Subscription (6.11.3.3, 5.8.5)."""
    await call.services.subscriptions.delete(call.tenant, subscription_id(call))
    return no_content()


def subscription_id(call: Call) -> str:
    """The id in the path; BadRequestData if it is no URI."""
    return check_uri(call.path["subscriptionId"], "subscription id")
