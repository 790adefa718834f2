"""Resources /jsonldContexts and /jsonldContexts/{contextId} (clauses 6.29, 6.30)."""

import re
from dataclasses import dataclass

import orjson
from aiohttp import web

from broker.core.contexts import render_details, url_of
from broker.jsonld.identifiers import own_path
from broker.ngsild.errors import BadRequestData
from broker.storage.contexts import KINDS
from broker.web.endpoint import Call
from broker.web.parameters import Query
from broker.web.replies import created, json_reply, no_content
from broker.web.services import Services

_HOST = re.compile(r"[A-Za-z0-9.\-_]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?")


@dataclass(slots=True)
class ListParameters:
    """The URL parameters of List @contexts (table 6.29.3.2-1)."""

    details: bool
    kind: str | None


def read_list_parameters(query: Query, _services: Services) -> ListParameters:
    """`details` and `kind`."""
    kind = query.text("kind")
    if kind is not None and kind not in KINDS:
        raise BadRequestData(f"The URL parameter 'kind' is {kind!r:.80}: expected one of {', '.join(KINDS)}.")
    parameters = ListParameters(query.boolean("details"), kind)
    query.finish()
    return parameters


def read_serve_parameters(query: Query, _services: Services) -> bool:
    """`details` (table 6.30.3.1-1)."""
    details = query.boolean("details")
    query.finish()
    return details


def read_delete_parameters(query: Query, _services: Services) -> bool:
    """`reload` (table 6.30.3.2-1)."""
    reload = query.boolean("reload")
    query.finish()
    return reload


async def add_context(call: Call) -> web.Response:
    """POST /jsonldContexts: Add @context (6.29.3.1, 5.13.2)."""
    return created(own_path(await call.services.context_operations.add(call.tenant, call.body)))


async def list_contexts(call: Call) -> web.Response:
    """GET /jsonldContexts: List @contexts (6.29.3.2, 5.13.3)."""
    parameters: ListParameters = call.parameters
    found = await call.services.context_operations.list(call.tenant, parameters.kind)
    show = render_details if parameters.details else url_of
    return json_reply([show(stored, origin(call)) for stored in found])


async def serve_context(call: Call) -> web.Response:
    """GET /jsonldContexts/{contextId}: Serve @context (6.30.3.1, 5.13.4)."""
    operations, identifier = call.services.context_operations, call.path["contextId"]
    if call.parameters:
        return json_reply(render_details(await operations.details(call.tenant, identifier), origin(call)))
    document = await operations.serve(call.tenant, identifier)
    return web.Response(body=orjson.dumps(document), content_type=call.media_type)


async def delete_context(call: Call) -> web.Response:
    """DELETE /jsonldContexts/{contextId}: Delete and Reload @context (6.30.3.2, 5.13.5)."""
    operations = call.services.context_operations
    act = operations.reload if call.parameters else operations.delete
    await act(call.tenant, call.path["contextId"])
    return no_content()


def origin(call: Call) -> str:
    """How this broker is reached, for URLs that lead to it: the setting, else the host that the client used."""
    settings = call.services.settings
    if settings.public_url is not None:
        return settings.public_url.rstrip("/")
    return f"http://{call.host if _HOST.fullmatch(call.host) else f'localhost:{settings.port}'}"
