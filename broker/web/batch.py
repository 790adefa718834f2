"""Resources /entityOperations/… (clauses 6.14 to 6.17, 6.31)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web

from broker.core.batch import BatchResult, Unusable
from broker.jsonld.context import Context
from broker.ngsild.attributes import Nulls
from broker.ngsild.errors import BadRequestData, InvalidRequest, NgsiLdError, PayloadTooLarge
from broker.ngsild.fragments import Fragment, read_entity, read_fragment
from broker.ngsild.merge_fragments import MergeFragment, read_merge_fragment
from broker.ngsild.model import NGSI_LD_NULL
from broker.ngsild.names import check_uri
from broker.web.endpoint import Call
from broker.web.parameters import Query
from broker.web.replies import json_reply, no_content
from broker.web.services import Services

_F = TypeVar("_F", Fragment, MergeFragment)


@dataclass(slots=True)
class BatchParameters:
    """The options of a batch operation."""

    options: set[str]


def read_upsert_parameters(query: Query, _services: Services) -> BatchParameters:
    """`options`: replace or update (6.15.3.1)."""
    return _read_parameters(query, ("replace", "update"))


def read_update_parameters(query: Query, _services: Services) -> BatchParameters:
    """`options`: noOverwrite (6.16.3.1); replace is accepted as another word for the default."""
    return _read_parameters(query, ("noOverwrite", "replace"))


def _read_parameters(query: Query, allowed: tuple[str, ...]) -> BatchParameters:
    parameters = BatchParameters(query.options(allowed))
    if len(parameters.options) > 1:
        raise InvalidRequest(f"The options {' and '.join(sorted(parameters.options))} exclude each other: give one.")
    query.boolean("local")
    query.finish()
    return parameters


async def batch_create(call: Call) -> web.Response:
    """POST /entityOperations/create: Batch Entity Creation (6.14.3.1, 5.6.7)."""
    elements = await _elements(call, read_entity)
    result = await call.services.batch.create(call.tenant, elements, call.size)
    return multi_status(result) if result.errors else json_reply(result.success, 201)


async def batch_upsert(call: Call) -> web.Response:
    """POST /entityOperations/upsert: Batch Entity Creation or Update (6.15.3.1, 5.6.8)."""
    update = "update" in call.parameters.options
    elements = await _elements(call, _read_upsertable if update else read_entity)
    result = await call.services.batch.upsert(call.tenant, elements, update=update, size=call.size)
    if result.errors:
        return multi_status(result)
    return json_reply(result.created, 201) if result.created else no_content()


async def batch_update(call: Call) -> web.Response:
    """POST /entityOperations/update: Batch Entity Update (6.16.3.1, 5.6.9)."""
    overwrite = "noOverwrite" not in call.parameters.options
    elements = await _elements(call, _read_identified)
    result = await call.services.batch.update(call.tenant, elements, overwrite=overwrite, size=call.size)
    return multi_status(result) if result.errors else no_content()


async def batch_merge(call: Call) -> web.Response:
    """POST /entityOperations/merge: Batch Entity Merge (6.31.3.1, 5.6.20)."""
    elements = await _elements(call, _read_mergeable)
    result = await call.services.batch.merge(call.tenant, elements, call.size)
    return multi_status(result) if result.errors else no_content()


async def batch_delete(call: Call) -> web.Response:
    """POST /entityOperations/delete: Batch Entity Delete (6.17.3.1, 5.6.10)."""
    ids: list[str | Unusable] = []
    for index, item in enumerate(_array(call)):
        try:
            ids.append(check_uri(item, "entity id", f"/{index}"))
        except BadRequestData as error:
            ids.append((item if isinstance(item, str) else NGSI_LD_NULL, error))
    result = await call.services.batch.delete(call.tenant, ids, call.size)
    return multi_status(result) if result.errors else no_content()


async def _elements(call: Call, read: Callable[..., _F]) -> list[_F | Unusable]:
    """The entities of the body; those that cannot be read stand there with their errors."""
    elements: list[_F | Unusable] = []
    contexts = call.services.contexts
    for index, document in enumerate(_array(call)):
        try:
            context = call.context
            if isinstance(document, dict):
                source = document.pop("@context", None)
                if source is not None:
                    context = contexts.peek(source, call.tenant) or await contexts.resolve(source, call.tenant)
                _check_context_place(source, call, index)
            elements.append(read(document, context, pointer=f"/{index}"))
        except NgsiLdError as error:
            elements.append((_id_of(document), error))
    return elements


def _check_context_place(source: Any, call: Call, index: int) -> None:
    if source is not None and not call.linked_data:
        raise BadRequestData(
            "The entity has an @context although the Content-Type is application/json: send application/ld+json, or "
            "give the @context in a Link header.",
            pointer=f"/{index}/@context",
        )
    if source is None and call.linked_data:
        raise BadRequestData(
            "The Content-Type is application/ld+json but the entity has no @context: each entity needs one.",
            pointer=f"/{index}/@context",
        )


def _array(call: Call) -> list[Any]:
    body, most = call.body, call.services.settings.max_batch
    if not isinstance(body, list) or not body:
        raise BadRequestData("Expected a JSON array with at least one element.", pointer="")
    if len(body) > most:
        raise PayloadTooLarge(f"The array has {len(body)} elements: at most {most} are taken at once; send several.")
    if any(item is None for item in body):
        raise BadRequestData("The array holds null: expected only elements.", pointer=f"/{body.index(None)}")
    return body


def _read_identified(document: Any, context: Context, *, pointer: str) -> Fragment:
    fragment = read_fragment(document, context, pointer=pointer, nulls=Nulls.MEMBERS)
    _check_id(fragment.entity_id, pointer)
    return fragment


def _read_upsertable(document: Any, context: Context, *, pointer: str) -> Fragment:
    fragment = _read_identified(document, context, pointer=pointer)
    if fragment.types is None:
        raise BadRequestData(
            "The entity has no type: it is needed if the entity is created.", pointer=f"{pointer}/type"
        )
    return fragment


def _read_mergeable(document: Any, context: Context, *, pointer: str) -> MergeFragment:
    fragment = read_merge_fragment(document, context, pointer=pointer)
    _check_id(fragment.entity_id, pointer)
    return fragment


def _check_id(entity_id: str | None, pointer: str) -> None:
    if entity_id is None:
        raise BadRequestData("The entity has no id: every entity of a batch needs one.", pointer=f"{pointer}/id")


def _id_of(document: Any) -> str:
    """The id of what could not be read; the NGSI-LD Null if it has none, as BatchEntityError needs a URI (5.2.17)."""
    entity_id = document.get("id", document.get("@id")) if isinstance(document, dict) else None
    return entity_id if isinstance(entity_id, str) else NGSI_LD_NULL


def multi_status(result: BatchResult) -> web.Response:
    """The BatchOperationResult of clause 5.2.16."""
    errors = [{"entityId": entity_id, "error": error.problem()} for entity_id, error in result.errors]
    return json_reply({"success": result.success, "errors": errors}, 207)
