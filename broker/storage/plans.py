"""What MongoDB did to answer a query: its explanation, reduced to what matters here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from broker.storage.client import storage_errors
from broker.storage.tenants import Tenants

COLLECTION = "entities"
_WHOLE_COLLECTION = "COLLSCAN"
_BY_ID = "_id_"


@dataclass(frozen=True, slots=True)
class Search:
    """What MongoDB is asked for: a filter, an order (empty: none), the places passed over, and the most found (0: all).

    `hint` names the index that it has to use.
    """

    condition: Mapping[str, Any]
    sort: Mapping[str, int] = field(default_factory=dict)
    skip: int = 0
    limit: int = 0
    hint: str | None = None

    def command(self) -> dict[str, Any]:
        """The `find` command."""
        options = {"sort": dict(self.sort), "skip": self.skip, "limit": self.limit, "hint": self.hint}
        given = {name: value for name, value in options.items() if value}
        return {"find": COLLECTION, "filter": dict(self.condition), **given}


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """How a query was answered.

    `stages` are MongoDB's, from the last to the first; `indexes` the names of the indexes that were used. `keys` and
    `documents` were looked at, `returned` of them found. `seconds` is the time in MongoDB.
    """

    stages: tuple[str, ...]
    indexes: tuple[str, ...]
    keys: int
    documents: int
    returned: int
    seconds: float

    @property
    def whole_collection(self) -> bool:
        """Whether MongoDB went through all entities, one by one or in the order of their ids."""
        return _WHOLE_COLLECTION in self.stages or self.indexes == (_BY_ID,)

    @property
    def examined(self) -> int:
        """What was looked at: keys of indexes or documents, whichever are more."""
        return max(self.keys, self.documents)


class Plans:
    """Asks MongoDB for explanations. Each runs the query as far as its page goes."""

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def explain(self, tenant: str, search: Search, *, seconds: float) -> QueryPlan:
        """Run a query and tell how it was answered. Unavailable past so many seconds."""
        database = await self._tenants.database(tenant)
        command = {"explain": search.command(), "verbosity": "executionStats", "maxTimeMS": int(seconds * 1000)}
        with storage_errors():
            return read_plan(await database.command(command))


def read_plan(explanation: Mapping[str, Any]) -> QueryPlan:
    """The plan in the answer of the `explain` command, of one server or of several shards."""
    stages = list(_stages(explanation["queryPlanner"]["winningPlan"]))
    statistics = explanation["executionStats"]
    return QueryPlan(
        tuple(str(stage["stage"]) for stage in stages),
        tuple(dict.fromkeys(str(stage["indexName"]) for stage in stages if "indexName" in stage)),
        int(statistics["totalKeysExamined"]),
        int(statistics["totalDocsExamined"]),
        int(statistics["nReturned"]),
        statistics["executionTimeMillis"] / 1000,
    )


def _stages(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The stages of a plan, from the last to the first, wherever a version of MongoDB puts them."""
    if "stage" in plan:
        yield plan
    for value in plan.values():
        parts: Sequence[Any] = value if isinstance(value, list) else [value]
        for part in parts:
            if isinstance(part, Mapping) and ("stage" in part or "queryPlan" in part or "winningPlan" in part):
                yield from _stages(part)
