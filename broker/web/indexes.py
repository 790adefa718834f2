"""Resources for operators: declared indexes (docs/queries.md)."""

from typing import Any

from aiohttp import web

from broker.core.indexes import IndexReport, IndexState, read_declaration, shown_path
from broker.jsonld.context import Context
from broker.ngsild.errors import BadRequestData
from broker.storage.indexes import IndexDeclaration, IndexKind
from broker.web.endpoint import Call
from broker.web.replies import json_reply, no_content

_MEMBERS = ("type", "attribute", "kind")


async def add_index(call: Call) -> web.Response:
    """POST /indexes: declare an index; 201 when it is built, 202 while that goes on."""
    report = await call.services.indexes.add(call.tenant, _read(call.body, call.context))
    return json_reply(_shown(report, call.context), 201 if report.state is IndexState.READY else 202)


async def list_indexes(call: Call) -> web.Response:
    """GET /indexes: the declared indexes of the tenant."""
    return json_reply([_shown(report, call.context) for report in await call.services.indexes.list(call.tenant)])


async def show_index(call: Call) -> web.Response:
    """GET /indexes/{indexId}: one of them."""
    return json_reply(_shown(await call.services.indexes.report(call.tenant, call.path["indexId"]), call.context))


async def remove_index(call: Call) -> web.Response:
    """DELETE /indexes/{indexId}: take a declaration back, and drop the index."""
    await call.services.indexes.remove(call.tenant, call.path["indexId"])
    return no_content()


def _read(body: Any, context: Context) -> IndexDeclaration:
    if not isinstance(body, dict):
        raise BadRequestData("The body is no object: expected one with type and attribute.")
    for name, value in body.items():
        if name not in _MEMBERS:
            raise BadRequestData(
                f"The member {name!r:.80} has no meaning here: expected {', '.join(_MEMBERS)}.", pointer=f"/{name}"
            )
        if not isinstance(value, str) or not value:
            raise BadRequestData(f"The member {name!r} is {value!r:.80}: expected a text.", pointer=f"/{name}")
    for name in ("type", "attribute"):
        if name not in body:
            raise BadRequestData(f"The member {name!r} is missing.", pointer=f"/{name}")
    kind = body.get("kind")
    if kind is not None and kind not in set(IndexKind):
        raise BadRequestData(f"The kind is {kind!r:.80}: expected {' or '.join(IndexKind)}.", pointer="/kind")
    return read_declaration(body["type"], body["attribute"], IndexKind(kind) if kind is not None else None, context)


def _shown(report: IndexReport, context: Context) -> dict[str, Any]:
    declaration = report.declaration
    shown: dict[str, Any] = {
        "id": declaration.id,
        "type": context.compact(declaration.type),
        "attribute": shown_path(declaration.path, context.compact),
        "kind": declaration.kind.value,
        "state": report.state.value,
        "bytes": report.size,
    }
    if report.failure is not None:
        shown["failure"] = report.failure
    return shown
