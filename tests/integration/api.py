"""What the API tests say over and over: paths, media types, small entities, and how they are created and read."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from tests.conftest import RunningBroker

V1 = "/ngsi-ld/v1"
ENTITIES = f"{V1}/entities"
SUBSCRIPTIONS = f"{V1}/subscriptions"
BATCH = f"{V1}/entityOperations"

JSON = "application/json"
JSON_LD = "application/ld+json"
CORE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld"
DEFAULT = "https://uri.etsi.org/ngsi-ld/default-context/"
RELATION = "http://www.w3.org/ns/json-ld#context"


def new_id(kind: str = "Thing") -> str:
    """An entity id that no other test uses."""
    return f"urn:ngsi-ld:{kind}:{uuid.uuid4().hex}"


def new_type() -> str:
    """A type name that no other test uses."""
    return f"T{uuid.uuid4().hex}"


def link(url: str) -> dict[str, str]:
    """The Link header that names the @context of a request (clause 6.3.5)."""
    return {"Link": f'<{url}>; rel="{RELATION}"; type="{JSON_LD}"'}


async def create(broker: RunningBroker, attributes: dict[str, Any] | None = None, **members: Any) -> str:
    """Create an entity with these attributes; its id. `members` such as id, type, scope replace the usual ones."""
    entity = {"id": new_id(), "type": "Thing", **(attributes or {}), **members}
    async with broker.client.post(ENTITIES, json=entity) as response:
        assert response.status == 201, await response.text()
    identifier: str = entity["id"]
    return identifier


async def read(
    broker: RunningBroker, entity_id: str, headers: dict[str, str] | None = None, **parameters: str
) -> dict[str, Any]:
    """The entity as GET shows it."""
    async with broker.client.get(f"{ENTITIES}/{entity_id}", params=parameters, headers=headers) as response:
        assert response.status == 200, await response.text()
        entity: dict[str, Any] = await response.json(content_type=None)
        return entity


async def query(broker: RunningBroker, headers: dict[str, str] | None = None, **parameters: str) -> list[Any]:
    """The entities that GET /entities finds."""
    async with broker.client.get(ENTITIES, params=parameters, headers=headers) as response:
        assert response.status == 200, await response.text()
        entities: list[Any] = await response.json(content_type=None)
        return entities


async def set_policy(client: aiohttp.ClientSession, name: str, policy: str, tenant: str | None = None) -> None:
    """Set the policy for a type, in one tenant or (None) in all."""
    body = {"type": name, "policy": policy, "tenant": tenant}
    async with client.put("/datamodels/policies", json=body) as response:
        assert response.status == 204, await response.text()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Wait until `condition` holds; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"not fulfilled within {seconds} s: {condition}"
        await asyncio.sleep(0.02)
