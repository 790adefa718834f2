"""Resources /types, /types/{type}, /attributes and /attributes/{attrId} (clauses 6.25 to 6.28)."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from broker.core.discovery import AttributeInfo, TypeInfo
from broker.jsonld.context import Context
from broker.ngsild.errors import BadRequestData, ResourceNotFound
from broker.ngsild.names import NOT_ATTRIBUTES
from broker.web.endpoint import Call
from broker.web.parameters import Query
from broker.web.replies import linked_data
from broker.web.services import Services


@dataclass(slots=True)
class ListParameters:
    """The URL parameters of a list: whether its elements are to be described."""

    details: bool


def read_list_parameters(query: Query, _services: Services) -> ListParameters:
    """`details` (tables 6.25.3.1-1 and 6.27.3.1-1) and `local` (clause 6.3.18)."""
    parameters = ListParameters(query.boolean("details"))
    query.boolean("local")
    query.finish()
    return parameters


async def retrieve_types(call: Call) -> web.Response:
    """GET /types: Retrieve (Details of) Available Entity Types (6.25.3.1, 5.7.5, 5.7.6)."""
    parameters: ListParameters = call.parameters
    compact = call.context.compact
    if parameters.details:
        infos = await call.services.discovery.types(call.tenant)
        elements = [
            {
                "id": info.iri,
                "type": "EntityType",
                "typeName": compact(info.iri),
                "attributeNames": _names(info.attributes, call.context),
            }
            for info in infos
        ]
        return _reply(call, _by_name(elements, "typeName"))
    iris = await call.services.discovery.type_names(call.tenant)
    return _reply(call, _list("EntityTypeList", "typeList", _names(iris, call.context)))


async def retrieve_type(call: Call) -> web.Response:
    """GET /types/{type}: Retrieve Available Entity Type Information (6.26.3.1, 5.7.7)."""
    info: TypeInfo = await call.services.discovery.type(call.tenant, _expand(call, "type"))
    details = [
        {
            "id": iri,
            "type": "Attribute",
            "attributeName": call.context.compact(iri),
            "attributeTypes": sorted(kinds),
        }
        for iri, kinds in info.attributes.items()
    ]
    document = {
        "id": info.iri,
        "type": "EntityTypeInfo",
        "typeName": call.context.compact(info.iri),
        "entityCount": info.entities,
        "attributeDetails": _by_name(details, "attributeName"),
    }
    return _reply(call, document)


async def retrieve_attributes(call: Call) -> web.Response:
    """GET /attributes: Retrieve (Details of) Available Attributes (6.27.3.1, 5.7.8, 5.7.9)."""
    parameters: ListParameters = call.parameters
    infos = await call.services.discovery.attributes(call.tenant)
    if parameters.details:
        elements = [{**_attribute(info, call.context), "typeNames": _names(info.types, call.context)} for info in infos]
        return _reply(call, _by_name(elements, "attributeName"))
    names = _names([info.iri for info in infos], call.context)
    return _reply(call, _list("AttributeList", "attributeList", names))


async def retrieve_attribute(call: Call) -> web.Response:
    """GET /attributes/{attrId}: Retrieve Available Attribute Information (6.28.3.1, 5.7.10)."""
    info: AttributeInfo = await call.services.discovery.attribute(call.tenant, _expand(call, "attrId"))
    document = {
        **_attribute(info, call.context),
        "attributeCount": info.instances,
        "attributeTypes": sorted(info.kinds),
        "typeNames": _names(info.types, call.context),
    }
    return _reply(call, document)


def _expand(call: Call, variable: str) -> str:
    """The IRI of the name in the path.

    BadRequestData for what cannot be a name; ResourceNotFound for a name that the core keeps for members of entities.
    """
    name = call.path[variable]
    try:
        return call.context.expand(name)
    except BadRequestData:
        if name in NOT_ATTRIBUTES and not name.startswith("@"):
            raise ResourceNotFound(f"{name!r} is a member of entities or attributes, and no name of either.") from None
        raise


def _attribute(info: AttributeInfo, context: Context) -> dict[str, Any]:
    return {"id": info.iri, "type": "Attribute", "attributeName": context.compact(info.iri)}


def _list(kind: str, member: str, names: list[str]) -> dict[str, Any]:
    return {"id": f"urn:ngsi-ld:{kind}:{uuid.uuid4()}", "type": kind, member: names}


def _names(iris: Iterable[str], context: Context) -> list[str]:
    return sorted(map(context.compact, iris))


def _by_name(elements: list[dict[str, Any]], member: str) -> list[dict[str, Any]]:
    return sorted(elements, key=lambda element: str(element[member]))


def _reply(call: Call, document: dict[str, Any] | list[dict[str, Any]]) -> web.Response:
    return linked_data(document, call.context, call.media_type)
