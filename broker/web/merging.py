"""PATCH /entities/{entityId}: Merge Entity (clause 6.5.3.4)."""

from dataclasses import dataclass
from typing import NoReturn

from aiohttp import web

from broker.ngsild.errors import BadRequestData, InvalidRequest
from broker.ngsild.merge_fragments import read_merge_fragment
from broker.ngsild.merging import Common
from broker.ngsild.names import check_language_tag
from broker.ngsild.timestamps import read_timestamp
from broker.web.endpoint import Call
from broker.web.entities import target
from broker.web.parameters import Query
from broker.web.replies import no_content
from broker.web.services import Services

_SIMPLIFIED = ("simplified", "keyValues")


@dataclass(slots=True)
class MergeParameters:
    """The URL parameters of Merge Entity (table 6.5.3.4-1)."""

    type: str | None
    simplified: bool
    common: Common


def read_merge_parameters(query: Query, _services: Services) -> MergeParameters:
    """Read the URL parameters of Merge Entity."""
    form = query.text("format")
    if form is not None and form not in _SIMPLIFIED:
        raise InvalidRequest(
            f"The format {form!r:.80} does not exist for this operation: expected one of {', '.join(_SIMPLIFIED)}, or "
            "none for the normalized and concise representations."
        )
    simplified = bool(query.options(_SIMPLIFIED)) or form is not None
    parameters = MergeParameters(query.text("type"), simplified, Common(_observed_at(query), _language(query)))
    query.boolean("local")
    query.finish()
    return parameters


async def merge_entity(call: Call) -> web.Response:
    """PATCH /entities/{entityId}: Merge Entity (6.5.3.4, 5.6.17)."""
    parameters: MergeParameters = call.parameters
    entity = target(call, parameters.type)
    fragment = read_merge_fragment(call.body, call.context, simplified=parameters.simplified)
    await call.services.entities.merge(entity, fragment, parameters.common)
    return no_content()


async def without_id(_call: Call) -> NoReturn:
    """PUT or PATCH /entities: Replace and Merge Entity without the id that they need (5.6.17.4, 5.6.18.4)."""
    raise BadRequestData("The path has no entity id: expected /ngsi-ld/v1/entities/ followed by the URI of the entity.")


def _observed_at(query: Query) -> str | None:
    value = query.text("observedAt")
    if value is None:
        return None
    timestamp = read_timestamp(value)
    if timestamp is None:
        raise BadRequestData(
            f"The URL parameter 'observedAt' is {value!r:.80}, which is not a DateTime: expected UTC as "
            "YYYY-MM-DDThh:mm:ssZ."
        )
    return timestamp


def _language(query: Query) -> str | None:
    tag = query.text("lang")
    if tag is not None:
        check_language_tag(tag)
    return tag
