"""Resource /info/sourceIdentity (clause 6.33)."""

from aiohttp import web

from broker.web.endpoint import Call
from broker.web.replies import linked_data


async def retrieve_identity(call: Call) -> web.Response:
    """GET /info/sourceIdentity: Retrieve Context Source Identity Information (6.33.3.1, 5.15.1).

    Of a tenant that does not exist, too: what would be its alias has to be known before its first write.
    """
    return linked_data(call.services.identity.document(call.tenant), call.context, call.media_type)
