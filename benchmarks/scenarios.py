"""The scenarios: data only. A new row here is a new scenario; no code elsewhere knows one by name."""

from dataclasses import dataclass
from typing import Literal

Body = Literal["none", "attributes", "attribute", "entities", "new entity"]

ENTITIES = "/ngsi-ld/v1/entities"
BATCH = "/ngsi-ld/v1/entityOperations"


@dataclass(frozen=True)
class Operation:
    """One kind of request. In `path`, `{id}`, `{longitude}` and `{latitude}` stand for those of a random entity,
    `{type}` for the entity type, `{attribute}` for the first of the `changes`.

    `body`: "attributes" an attributes fragment with the `changes`, "attribute" a fragment of the first of them,
    "entities" an array of `entities` entities with the `changes`, "new entity" an entity that does not exist yet.
    `changes` are the attributes that are written: their value is the request's sequence number. `among`: choose among
    so many entities instead of all. `read_every`: each so-manieth request reads an entity by id instead. `pages`, if
    there are any: instead of `path` itself ask for that many pages in turn, those that the links to the next page lead
    to from there.
    """

    method: str
    path: str
    body: Body = "none"
    entities: int = 1
    changes: tuple[str, ...] = ()
    among: int = 0
    read_every: int = 0
    pages: int = 0

    def reads(self, number: int) -> bool:
        """Whether the request with this number only reads one entity by id, beside those that do something else."""
        return self.read_every > 0 and number % self.read_every == 0


@dataclass(frozen=True)
class BareHttp:
    """Ceiling: a bare aiohttp + uvloop application that parses the same requests and answers without doing anything."""

    title = "bare aiohttp"


@dataclass(frozen=True)
class RawUpdates:
    """Ceiling: raw `update` commands with pre-encoded statements, journaled on a majority, to the same mongod."""

    statements: int = 200
    in_flight: int = 2
    title = "raw updates"


@dataclass(frozen=True)
class Scenario:
    """One row of the suite: an operation, over how many connections, against which ceiling."""

    name: str
    title: str
    operation: Operation
    connections: tuple[int, ...] = (64,)
    ceiling: BareHttp | RawUpdates = BareHttp()


_TWO = ("temperature", "humidity")
_LIST = ENTITIES + "?type={type}&limit=20"
_NEAR = "&georel=near;maxDistance==300&geometry=Point&coordinates=%5B{longitude},{latitude}%5D"

PATCH1 = Operation("PATCH", ENTITIES + "/{id}/attrs", "attributes", changes=_TWO[:1])
PATCH2 = Operation("PATCH", ENTITIES + "/{id}/attrs", "attributes", changes=_TWO)
HOT = Operation("PATCH", ENTITIES + "/{id}/attrs", "attributes", changes=_TWO, among=1)


def _batch(name: str, kind: str, size: int, connections: int) -> Scenario:
    return Scenario(
        name=name,
        title=f"Batch {kind.partition('?')[0]} of {size:,} entities, two attributes each",
        operation=Operation("POST", f"{BATCH}/{kind}", "entities", size, changes=_TWO),
        connections=(connections,),
        ceiling=RawUpdates(),
    )


SCENARIOS = (
    Scenario("patch2", "Update two attributes of one entity", PATCH2, connections=(256, 64)),
    _batch("batch100", "update", 100, 8),
    Scenario("patch1", "Update one attribute of one entity", PATCH1),
    Scenario("hot", "Update two attributes, all clients of the same entity", HOT),
    Scenario(
        name="partial",
        title="Update a part of one attribute of one entity",
        operation=Operation("PATCH", ENTITIES + "/{id}/attrs/{attribute}", "attribute", changes=_TWO[:1]),
    ),
    Scenario(
        name="mixed",
        title="Nine updates of two attributes to one read by id",
        operation=Operation("PATCH", ENTITIES + "/{id}/attrs", "attributes", changes=_TWO, read_every=10),
    ),
    _batch("batch10", "update", 10, 64),
    _batch("batch1000", "update", 1000, 4),
    _batch("upsert10", "upsert?options=update", 10, 64),
    _batch("upsert100", "upsert?options=update", 100, 8),
    _batch("upsert1000", "upsert?options=update", 1000, 4),
    Scenario(
        name="create",
        title="Create an entity of six attributes",
        operation=Operation("POST", ENTITIES, "new entity", changes=_TWO),
    ),
    Scenario("get", "Read one entity by id", Operation("GET", ENTITIES + "/{id}")),
    Scenario("list20", "List 20 entities of a type", Operation("GET", _LIST, entities=20)),
    Scenario(
        name="list20pages",
        title="List 20 entities of a type, each time another page",
        operation=Operation("GET", _LIST, entities=20, pages=500),
    ),
    Scenario(
        name="query",
        title="Query 20 entities by type, place and the value of an attribute",
        operation=Operation("GET", _LIST + "&q=batteryLevel%3E0.5" + _NEAR, entities=20),
    ),
    # The last one: it adds attributes to the entities.
    Scenario(
        name="append",
        title="Append four attributes to one entity, or replace them",
        operation=Operation("POST", ENTITIES + "/{id}/attrs", "attributes", changes=(*_TWO, "pressure", "noise")),
    ),
)


def scenario_names() -> tuple[str, ...]:
    """The names of all scenarios, in the order in which they run."""
    return tuple(scenario.name for scenario in SCENARIOS)
