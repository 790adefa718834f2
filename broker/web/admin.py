"""Resources for operators, outside the specification: health, metrics, version."""

import platform

from aiohttp import web

from broker import __version__
from broker.ngsild.errors import NgsiLdError
from broker.telemetry import EXPOSITION_CONTENT_TYPE
from broker.web.endpoint import Call
from broker.web.replies import json_reply

SPECIFICATION = "ETSI GS CIM 009 v1.9.1"


async def live(_call: Call) -> web.Response:
    """GET /health/live: the process answers."""
    return json_reply({"status": "live"})


async def ready(call: Call) -> web.Response:
    """GET /health/ready: the process can serve; 503 if its storage does not answer."""
    try:
        await call.services.mongo.ping()
    except NgsiLdError as error:
        return json_reply({"status": "unavailable", "storage": error.detail}, 503)
    return json_reply({"status": "ready"})


async def metrics(call: Call) -> web.Response:
    """GET /metrics: those of all workers together, in Prometheus' text format."""
    return web.Response(body=await call.services.exposition(), headers={"Content-Type": EXPOSITION_CONTENT_TYPE})


async def version(_call: Call) -> web.Response:
    """GET /version: what is running."""
    return json_reply({"vela": __version__, "specification": SPECIFICATION, "python": platform.python_version()})
