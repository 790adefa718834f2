"""Resources /entities/{entityId}/attrs and /entities/{entityId}/attrs/{attrId} (clauses 6.6, 6.7)."""

from dataclasses import dataclass

from aiohttp import web

from broker.ngsild.attributes import Nulls
from broker.ngsild.errors import BadRequestData
from broker.ngsild.fragments import read_attribute_fragment, read_fragment, read_replacement
from broker.ngsild.mutations import UpdateResult
from broker.ngsild.names import NOT_ATTRIBUTE_KEYS, NOT_ATTRIBUTES, check_uri
from broker.web.endpoint import Call
from broker.web.entities import target
from broker.web.parameters import Query
from broker.web.replies import json_reply, no_content
from broker.web.services import Services


@dataclass(slots=True)
class AppendParameters:
    """The URL parameters of Append Attributes (6.6.3.1)."""

    type: str | None
    overwrite: bool


def read_append_parameters(query: Query, _services: Services) -> AppendParameters:
    """Read the URL parameters of Append Attributes."""
    parameters = AppendParameters(query.text("type"), "noOverwrite" not in query.options(("noOverwrite",)))
    query.boolean("local")
    query.finish()
    return parameters


@dataclass(slots=True)
class DeleteParameters:
    """The URL parameters of Delete Attribute (6.7.3.2)."""

    type: str | None
    dataset_id: str | None
    delete_all: bool


def read_delete_parameters(query: Query, _services: Services) -> DeleteParameters:
    """Read the URL parameters of Delete Attribute."""
    dataset_id = query.text("datasetId")
    if dataset_id is not None and dataset_id != "@none":
        check_uri(dataset_id, "datasetId")
    parameters = DeleteParameters(
        query.text("type"), None if dataset_id == "@none" else dataset_id, query.boolean("deleteAll")
    )
    query.boolean("local")
    query.finish()
    return parameters


async def append_attributes(call: Call) -> web.Response:
    """POST /entities/{entityId}/attrs: Append Attributes (6.6.3.1, 5.6.3)."""
    parameters: AppendParameters = call.parameters
    fragment = read_fragment(call.body, call.context)
    result = await call.services.entities.append_attributes(
        target(call, parameters.type), fragment, overwrite=parameters.overwrite
    )
    return _update_reply(result)


async def update_attributes(call: Call) -> web.Response:
    """PATCH /entities/{entityId}/attrs: Update Attributes (6.6.3.2, 5.6.2)."""
    fragment = read_fragment(call.body, call.context, nulls=Nulls.MEMBERS)
    return _update_reply(await call.services.entities.update_attributes(target(call, call.parameters.type), fragment))


async def update_attribute(call: Call) -> web.Response:
    """PATCH /entities/{entityId}/attrs/{attrId}: Partial Attribute update (6.7.3.1, 5.6.4)."""
    key = _attribute_key(call)
    if key is None:
        raise BadRequestData("The scope is no attribute that can be updated in part: use PATCH on …/attrs.")
    fragment = read_attribute_fragment(call.body, call.context, key)
    await call.services.entities.update_attribute(target(call, call.parameters.type), key, fragment)
    return no_content()


async def replace_attribute(call: Call) -> web.Response:
    """PUT /entities/{entityId}/attrs/{attrId}: Replace Attribute (6.7.3.3, 5.6.19)."""
    key = _attribute_key(call)
    if key is None:
        raise BadRequestData("The scope cannot be replaced as an attribute: use PATCH on …/attrs.")
    instance = read_replacement(call.body, call.context, key)
    await call.services.entities.replace_attribute(target(call, call.parameters.type), key, instance)
    return no_content()


async def delete_attribute(call: Call) -> web.Response:
    """DELETE /entities/{entityId}/attrs/{attrId}: Delete Attribute (6.7.3.2, 5.6.5)."""
    parameters: DeleteParameters = call.parameters
    await call.services.entities.delete_attribute(
        target(call, parameters.type),
        _attribute_key(call),
        dataset_id=parameters.dataset_id,
        delete_all=parameters.delete_all,
    )
    return no_content()


def _attribute_key(call: Call) -> str | None:
    """The key of the attribute that the path names; None for the scope."""
    name = call.path["attrId"]
    if name == "scope":
        return None
    key = call.context.key(name) if name not in NOT_ATTRIBUTES else None
    if key is None or key in NOT_ATTRIBUTE_KEYS:
        raise BadRequestData(f"{name!r} is a reserved name and cannot be an attribute.")
    return key


def _update_reply(result: UpdateResult) -> web.Response:
    if not result.not_updated:
        return no_content()
    body = {
        "updated": result.updated,
        "notUpdated": [{"attributeName": name, "reason": reason} for name, reason in result.not_updated],
    }
    return json_reply(body, 207)
