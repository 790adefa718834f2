"""An endpoint for notifications as a process of its own, to be killed: `python endpoint_process.py PORT FILE`.

Each notification is written to FILE as a line of JSON, [entity id, value of its attribute n, notification id], before
it is answered: what was received is known, however the process ends. It takes a moment to answer, so that there is
always something that was received, but not yet acknowledged.
"""

import asyncio
import json
import os
import sys

from aiohttp import web

ANSWER_AFTER = 0.005


def application(file: int) -> web.Application:
    """An endpoint that writes to an open file."""

    async def receive(request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        lines = [json.dumps([entity["id"], entity["n"]["value"], body["id"]]) for entity in body["data"]]
        os.write(file, "".join(f"{line}\n" for line in lines).encode())
        await asyncio.sleep(ANSWER_AFTER)
        return web.Response()

    app = web.Application()
    app.router.add_post("/notify", receive)
    return app


if __name__ == "__main__":
    output = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    web.run_app(application(output), host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
