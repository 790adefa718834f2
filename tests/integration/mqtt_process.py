"""amqtt, an MQTT broker, as a process of its own: `mqtt_process.py CONFIGURATION`, in JSON. It runs until killed."""

import asyncio
import json
import sys

from amqtt.broker import Broker


async def _serve(configuration: str) -> None:
    await Broker(json.loads(configuration)).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
