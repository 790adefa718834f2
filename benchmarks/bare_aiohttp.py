"""The ceiling of HTTP scenarios: bare aiohttp + uvloop, one process, which routes, reads, parses and does nothing else.

`python -m benchmarks.bare_aiohttp --port 8000 --entity-bytes 700 --list-bytes 14000`: what it answers to reads has as
many bytes as the answers of the broker it is compared with.
"""

import argparse

import orjson
import uvloop
from aiohttp import web

from benchmarks.scenarios import BATCH, ENTITIES


def application(entity_bytes: int, list_bytes: int) -> web.Application:
    """The application; reads are answered with bodies of the given sizes."""
    entity = b"{" + b" " * max(0, entity_bytes - 2) + b"}"
    entities = b"[" + b" " * max(0, list_bytes - 2) + b"]"

    async def change(request: web.Request) -> web.Response:
        orjson.loads(await request.read())
        return web.Response(status=204)

    async def create(request: web.Request) -> web.Response:
        location = f"{ENTITIES}/{orjson.loads(await request.read())['id']}"
        return web.Response(status=201, headers={"Location": location})

    async def read(_request: web.Request) -> web.Response:
        return web.Response(body=entity, content_type="application/json")

    async def list_(_request: web.Request) -> web.Response:
        return web.Response(body=entities, content_type="application/json")

    bare = web.Application(client_max_size=16 * 1024 * 1024)
    bare.router.add_patch(ENTITIES + "/{id}/attrs", change)
    bare.router.add_patch(ENTITIES + "/{id}/attrs/{attribute}", change)
    bare.router.add_post(ENTITIES + "/{id}/attrs", change)
    bare.router.add_post(BATCH + "/{operation}", change)
    bare.router.add_post(ENTITIES, create)
    bare.router.add_get(ENTITIES + "/{id}", read, allow_head=False)
    bare.router.add_get(ENTITIES, list_, allow_head=False)
    return bare


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--entity-bytes", type=int, default=0)
    parser.add_argument("--list-bytes", type=int, default=0)
    options = parser.parse_args()
    web.run_app(
        application(options.entity_bytes, options.list_bytes),
        host="127.0.0.1",
        port=options.port,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    _main()
