"""The scenarios: data only. A new row here is a new scenario; no code elsewhere knows one by name."""

from dataclasses import dataclass
from typing import Literal

Body = Literal["none", "attributes", "entities", "new entity"]

ENTITIES = "/ngsi-ld/v1/entities"
BATCH = "/ngsi-ld/v1/entityOperations"


@dataclass(frozen=True)
class Operation:
    """One kind of request. In `path`, `{id}` stands for a random entity's id and `{type}` for the entity type.

    `body`: "attributes" an attributes fragment with the `changes`, "entities" an array of `entities` entities with the
    `changes`, "new entity" an entity that does not exist yet. `changes` are the attributes that are written: their
    value is the request's sequence number. `pages`, if there are any: instead of `path` itself ask for that many pages
    in turn, those that the links to the next page lead to from there.
    """

    method: str
    path: str
    body: Body = "none"
    entities: int = 1
    changes: tuple[str, ...] = ()
    pages: int = 0


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
    connections: tuple[int, ...]
    ceiling: BareHttp | RawUpdates


SCENARIOS = (
    Scenario(
        name="patch2",
        title="Update two attributes of one entity",
        operation=Operation("PATCH", ENTITIES + "/{id}/attrs", "attributes", changes=("temperature", "humidity")),
        connections=(256, 64),
        ceiling=BareHttp(),
    ),
    Scenario(
        name="batch100",
        title="Batch update of 100 entities, two attributes each",
        operation=Operation("POST", BATCH + "/update", "entities", 100, changes=("temperature", "humidity")),
        connections=(8,),
        ceiling=RawUpdates(statements=200, in_flight=2),
    ),
    Scenario(
        name="patch1",
        title="Update one attribute of one entity",
        operation=Operation("PATCH", ENTITIES + "/{id}/attrs", "attributes", changes=("temperature",)),
        connections=(64,),
        ceiling=BareHttp(),
    ),
    Scenario(
        name="create",
        title="Create an entity of six attributes",
        operation=Operation("POST", ENTITIES, "new entity", changes=("temperature", "humidity")),
        connections=(64,),
        ceiling=BareHttp(),
    ),
    Scenario(
        name="get",
        title="Read one entity by id",
        operation=Operation("GET", ENTITIES + "/{id}"),
        connections=(64,),
        ceiling=BareHttp(),
    ),
    Scenario(
        name="list20",
        title="List 20 entities of a type",
        operation=Operation("GET", ENTITIES + "?type={type}&limit=20", entities=20),
        connections=(64,),
        ceiling=BareHttp(),
    ),
    Scenario(
        name="list20pages",
        title="List 20 entities of a type, each time another page",
        operation=Operation("GET", ENTITIES + "?type={type}&limit=20", entities=20, pages=500),
        connections=(64,),
        ceiling=BareHttp(),
    ),
)


def scenario_names() -> tuple[str, ...]:
    """The names of all scenarios, in the order in which they run."""
    return tuple(scenario.name for scenario in SCENARIOS)
