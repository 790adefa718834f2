"""What the suite asks of a broker outside the clock: creating entities, reading them back, deleting them.

Creating subscriptions, too. Plain NGSI-LD with the core @context, so that any broker serves it.
"""

import asyncio
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any, TypeVar

import aiohttp
import orjson
from yarl import URL

from benchmarks.errors import BenchmarkError
from benchmarks.figures import ACKNOWLEDGED
from benchmarks.population import ENTITY_TYPE, Population
from benchmarks.scenarios import BATCH, ENTITIES

SUBSCRIPTIONS = "/ngsi-ld/v1/subscriptions"

_BATCH = 250
_AT_ONCE = 4
_READ = 50  # ids in one query: their URL must stay below the 8 KiB that servers accept
_SUBSCRIBED_AT_ONCE = 16
_READY_TIMEOUT = 3.0
_EXCERPT = 500

T = TypeVar("T")


class BrokerApi:
    """One broker, by the URL in front of /ngsi-ld/v1. Every method raises BenchmarkError where the broker refuses."""

    def __init__(self, name: str, url: str, session: aiohttp.ClientSession) -> None:
        self._name = name
        self._url = url.rstrip("/")
        self._session = session

    async def wait_until_ready(self) -> None:
        """Return as soon as the broker answers a query, with whatever result."""
        deadline = monotonic() + _READY_TIMEOUT
        while True:
            try:
                async with self._session.get(f"{self._url}{ENTITIES}?type={ENTITY_TYPE}&limit=1") as answer:
                    if answer.status < 500:
                        return
                    state = f"answers {answer.status}"
            except (aiohttp.ClientError, TimeoutError) as error:
                state = f"does not answer ({type(error).__name__}: {error})"
            if monotonic() > deadline:
                raise BenchmarkError(f"{self._name} at {self._url} {state}, tried for {_READY_TIMEOUT:.0f} s")
            await asyncio.sleep(0.1)

    async def create(self, population: Population, start: int = 0) -> None:
        """Create the entities of the population, from the one with the index `start` on."""
        groups = (
            [population.entity(index) for index in indexes]
            for indexes in _groups(range(start, population.size), _BATCH)
        )
        await self._batches("create", groups)

    async def delete(self, entity_ids: Sequence[str]) -> None:
        """Delete entities."""
        await self._batches("delete", _groups(entity_ids, _BATCH))

    async def values(self, entity_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The entities with these ids that exist, simplified, by their id."""
        found = {}
        for ids in _groups(entity_ids, _READ):
            query = f"type={ENTITY_TYPE}&id={','.join(ids)}&limit={_READ}&options=keyValues"
            found.update({entity["id"]: entity for entity in orjson.loads(await self._get(f"{ENTITIES}?{query}"))})
        return found

    async def pages(self, path: str, most: int) -> list[str]:
        """The paths of at most `most` pages: `path`, and where its link to the next page leads, and so on."""
        found: list[str] = []
        following: str | None = path
        while following is not None and len(found) < most:
            found.append(following)
            answer, _ = await self._ask("GET", following)
            link = answer.links.get("next")
            following = str(URL(link["url"]).relative()) if link is not None else None
        return found

    async def subscribe(self, subscriptions: Iterator[dict[str, Any]]) -> list[str]:
        """Create subscriptions; where they are, as paths or URLs."""
        made: list[str] = []

        async def send() -> None:
            for one in subscriptions:
                answer, _ = await self._ask("POST", SUBSCRIPTIONS, orjson.dumps(one))
                made.append(answer.headers["Location"])

        await asyncio.gather(*(send() for _ in range(_SUBSCRIBED_AT_ONCE)))
        return made

    async def unsubscribe(self, locations: Sequence[str]) -> None:
        """Delete the subscriptions that are there."""
        for location in locations:
            await self._ask("DELETE", URL(location).path)

    async def answer_bytes(self, path: str) -> int:
        """The length of the body that the broker answers to a GET of `path`."""
        return len(await self._get(path))

    async def _get(self, path: str) -> bytes:
        return (await self._ask("GET", path))[1]

    async def _batches(self, operation: str, groups: Iterator[list[Any]]) -> None:
        async def send() -> None:
            for group in groups:
                await self._ask("POST", f"{BATCH}/{operation}", orjson.dumps(group))

        await asyncio.gather(*(send() for _ in range(_AT_ONCE)))

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[aiohttp.ClientResponse, bytes]:
        headers = {"Accept": "application/json"} | ({} if body is None else {"Content-Type": "application/json"})
        asked = f"{method} {path[:_EXCERPT]}"
        try:
            async with self._session.request(method, self._url + path, data=body, headers=headers) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise BenchmarkError(f"{self._name} does not answer {asked}: {error!r}") from error
        if answer.status not in ACKNOWLEDGED:
            excerpt = content[:_EXCERPT].decode(errors="replace")
            raise BenchmarkError(f"{self._name} answers {answer.status} to {asked}: {excerpt}")
        return answer, content


def _groups(values: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(values), size):
        yield list(values[start : start + size])
