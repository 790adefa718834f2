"""Reads of entities by id, of pages, and of whether anything has expired, gathered: the union of the ids with one
`find`, pages with one command.
"""

from collections.abc import Sequence
from typing import Any

import bson

from broker.storage.client import storage_errors
from broker.storage.documents import StoredEntity
from broker.storage.entities import COLLECTION
from broker.storage.filters import partly_expired_filter
from broker.storage.finding import Page, find, find_page, find_pages
from broker.storage.gathering import Gathering
from broker.storage.tenants import Tenants

_MOST_IDS = 200
"""Ids in one find: they are as long as clients make them, and the whole answer is awaited."""

_EAGER_IDS = 16

_MOST_PAGES = 32
_EAGER_PAGES = 16
_MOST_INSTANTS = 1_000
_SHORT = 128
"""Entities that MongoDB looks at for a page that it may be asked for together with others: they wait for each other."""


class Reads(Gathering[str, str, StoredEntity | None]):
    """Entities by id, of all tenants."""

    def __init__(self, tenants: Tenants) -> None:
        super().__init__(_MOST_IDS, _EAGER_IDS)
        self._tenants = tenants

    async def get(self, tenant: str, entity_id: str) -> StoredEntity | None:
        """One entity as the primary has it, or None.

        NonexistentTenant for a tenant that does not exist; Unavailable if the storage does not answer.
        """
        return await self.gathered(tenant, entity_id)

    async def ask(self, key: str, items: Sequence[str]) -> list[StoredEntity | None]:
        """The entities of a tenant, in the order of the ids."""
        database = await self._tenants.database(key)
        condition = {"_id": items[0] if len(items) == 1 else {"$in": items}}
        found = {one.entity_id: one for one in await find(database[COLLECTION], condition, limit=len(items))}
        return [found.get(entity_id) for entity_id in items]


class PageReads(Gathering[tuple[str, Page | None], Page, list[StoredEntity]]):
    """Pages of entities, of all tenants. Those who ask for the same page at the same time get the same list.

    Short pages that MongoDB finds at once share a command, whatever they are about. Any other has a lane of its own.
    """

    def __init__(self, tenants: Tenants) -> None:
        super().__init__(_MOST_PAGES, _EAGER_PAGES)
        self._tenants = tenants

    async def page(
        self,
        tenant: str,
        condition: dict[str, Any],
        *,
        limit: int,
        skip: int,
        direction: int,
        hint: str | None = None,
        prompt: bool = False,
    ) -> list[StoredEntity]:
        """The `Page` of these; the list may be shared: it is not to be changed.

        `prompt` tells that MongoDB comes by its entities one after the other, and looks at no others.
        """
        with storage_errors():
            page = Page(bson.encode(condition), limit, skip, direction, hint)
        return await self.gathered((tenant, None if prompt and limit + skip <= _SHORT else page), page)

    async def ask(self, key: tuple[str, Page | None], items: Sequence[Page]) -> list[list[StoredEntity]]:
        """What is on each of the pages."""
        tenant, alone = key
        database = await self._tenants.database(tenant)
        if alone is not None:
            return [await find_page(database[COLLECTION], alone)]
        return await find_pages(database[COLLECTION], items)


class ExpiryReads(Gathering[str, str, bool]):
    """Whether entities hold attributes that have expired and wait for the sweeper, of all tenants."""

    def __init__(self, tenants: Tenants) -> None:
        super().__init__(_MOST_INSTANTS, _MOST_INSTANTS)
        self._tenants = tenants

    async def any_partly_expired(self, tenant: str, now: str) -> bool:
        """Whether an attribute may have expired at the instant `now`, a text of the form of `now_text`.

        False is certain; True may be due to an attribute that expired since.
        """
        return await self.gathered(tenant, now)

    async def ask(self, key: str, items: Sequence[str]) -> list[bool]:
        """The same for all of the instants: whether one has expired at the last of them."""
        database = await self._tenants.database(key)
        found = await find(database[COLLECTION], partly_expired_filter(max(items)), limit=1)
        return [bool(found)] * len(items)
