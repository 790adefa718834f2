"""Responses: the few shapes that answers of the API have."""

from typing import Any

import orjson
from aiohttp import web

from broker.jsonld.context import Context
from broker.ngsild.errors import LengthRequired, NgsiLdError, UnsupportedMediaType
from broker.web.negotiation import JSON, JSON_LD, context_link_header


def no_content() -> web.Response:
    """204, without a body."""
    return web.Response(status=204)


def created(location: str) -> web.Response:
    """201 with the path of what was created."""
    return web.Response(status=201, headers={"Location": location})


def json_reply(payload: Any, status: int = 200) -> web.Response:
    """A JSON body to which no @context applies: batch results, problems, administration."""
    return web.Response(status=status, body=orjson.dumps(payload), content_type=JSON)


def linked_data(payload: dict[str, Any] | list[dict[str, Any]], context: Context, media_type: str) -> web.Response:
    """An element or a list of elements with its @context in the body or in the Link header (clause 6.3.6)."""
    headers: dict[str, str] = {}
    if media_type == JSON_LD:
        source = context.source
        if isinstance(payload, list):
            payload = [{"@context": source, **element} for element in payload]
        else:
            payload = {"@context": source, **payload}
    elif context.link is not None:
        headers["Link"] = context_link_header(context.link)
    return web.Response(body=orjson.dumps(payload), content_type=media_type, headers=headers)


def problem(error: NgsiLdError) -> web.Response:
    """The response for an error, in the shape of RFC 9457, always as application/json (clause 5.5.3).

    411 and 415 are bare, as clause 6.3.4 demands.
    """
    if isinstance(error, LengthRequired | UnsupportedMediaType):
        return web.Response(status=error.status)
    return web.Response(
        status=error.status, body=orjson.dumps(error.problem()), content_type=JSON, headers=error.headers or None
    )
