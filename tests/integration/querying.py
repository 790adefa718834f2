"""The use case of queries over a database of its own."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from broker.core.linked import LinkedEntityReads, LinkLimits
from broker.core.querying import Querying
from broker.ngsild.model import Entity
from broker.storage.client import Mongo
from broker.storage.collator import Collator
from broker.storage.documents import as_document
from broker.storage.entities import EntityStore
from broker.storage.links import Links
from broker.storage.selections import EntitySelections
from broker.storage.tenants import Tenants


@dataclass(slots=True)
class Town:
    """The use case, the collection of entities that it reads, and the loop that it runs in."""

    runner: asyncio.Runner
    querying: Querying
    collection: Any

    def run(self, operation: Any) -> Any:
        return self.runner.run(operation)

    def put(self, *entities: Entity) -> None:
        self.run(self.collection.insert_many([as_document(entity) for entity in entities]))

    def remove(self, *ids: str) -> None:
        self.run(self.collection.delete_many({"_id": {"$in": list(ids)}}))

    def clear(self) -> None:
        self.run(self.collection.delete_many({}))


@contextmanager
def open_town(mongo_uri: str, most: int) -> Iterator[Town]:
    """A town of which one query may look at `most` candidates."""
    with asyncio.Runner() as runner:
        mongo = runner.run(Mongo.connect(mongo_uri, database=f"test_{uuid.uuid4().hex[:12]}"))
        tenants = Tenants(mongo)
        runner.run(tenants.open())
        selections = EntitySelections(tenants, most)
        linked = LinkedEntityReads(EntityStore(tenants), selections, Links(tenants), LinkLimits(1_000, 1_000))
        database = runner.run(tenants.database(""))
        yield Town(runner, Querying(selections, Collator(mongo), linked), database["entities"])
        runner.run(mongo.client.drop_database(database.name))
        runner.run(mongo.close())
