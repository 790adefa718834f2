"""Resources /snapshots, /snapshots/{snapshotId} and /snapshots/{snapshotId}/clone (clauses 6.36 to 6.38)."""

from urllib.parse import quote

from aiohttp import web

from broker.core.snapshot_documents import render_snapshot
from broker.ngsild.errors import BadRequestData
from broker.ngsild.names import check_uri
from broker.web.endpoint import Call
from broker.web.parameters import Query
from broker.web.replies import created, linked_data, no_content
from broker.web.services import Services

PATH = "/ngsi-ld/v1/snapshots"


def read_purge_parameters(query: Query, _services: Services) -> str | None:
    """`q` (table 6.36.3.2-1)."""
    text = query.text("q")
    query.finish()
    return text


async def create_snapshot(call: Call) -> web.Response:
    """POST /snapshots: Create Snapshot (6.36.3.1, 5.16.1)."""
    return created(_path(await call.services.snapshots.create(call.tenant, call.body, call.context)))


async def purge_snapshots(call: Call) -> web.Response:
    """DELETE /snapshots: Purge Snapshots (6.36.3.2, 5.16.7)."""
    if call.parameters is None:
        raise BadRequestData("There is no q: say which snapshots to purge, such as q=snapshotPriority<5.")
    await call.services.snapshots.purge(call.tenant, call.parameters)
    return no_content()


async def retrieve_snapshot(call: Call) -> web.Response:
    """GET /snapshots/{snapshotId}: Retrieve Snapshot Status (6.37.3.1, 5.16.3)."""
    document = await call.services.snapshots.retrieve(call.tenant, _snapshot_id(call))
    return linked_data(render_snapshot(document), call.context, call.media_type)


async def update_snapshot(call: Call) -> web.Response:
    """PATCH /snapshots/{snapshotId}: Update Snapshot Status (6.37.3.2, 5.16.4)."""
    document = await call.services.snapshots.update(call.tenant, _snapshot_id(call), call.body)
    return linked_data(render_snapshot(document), call.context, call.media_type)


async def delete_snapshot(call: Call) -> web.Response:
    """DELETE /snapshots/{snapshotId}: Delete Snapshot (6.37.3.3, 5.16.5)."""
    await call.services.snapshots.delete(call.tenant, _snapshot_id(call))
    return no_content()


async def clone_snapshot(call: Call) -> web.Response:
    """POST /snapshots/{snapshotId}/clone: Clone Snapshot (6.38.3.1, 5.16.2)."""
    return created(_path(await call.services.snapshots.clone(call.tenant, _snapshot_id(call), call.body)))


def _path(snapshot_id: str) -> str:
    return f"{PATH}/{quote(snapshot_id, safe=':')}"


def _snapshot_id(call: Call) -> str:
    return check_uri(call.path["snapshotId"], "snapshot id")
