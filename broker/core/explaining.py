"""Why a query is slow, and what would make it fast: what `vela explain` shows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from broker.core.indexes import shown_path
from broker.core.paging import PageRequest
from broker.core.queries import EntityQuery
from broker.ngsild.model import LOCATION
from broker.ngsild.query.geo import Relation
from broker.ngsild.query.tree import ANY_LANGUAGE, And, Comparison, Match, Node, Operator, Or, Path
from broker.ngsild.timestamps import now_text
from broker.storage.indexes import DeclaredIndex, IndexDeclaration, IndexKind
from broker.storage.plans import QueryPlan, Search

_MANY = 100
_TIMES = 10
"""A query scans when it looks at more than so many things, and at so many times as many as it finds."""

_LONGEST = 30.0


class ExplainsQueries(Protocol):
    """The explanations of MongoDB."""

    async def explain(self, tenant: str, search: Search, *, seconds: float) -> QueryPlan:
        """Run a query and tell how it was answered."""


class ListsIndexes(Protocol):
    """The declared indexes."""

    async def declared(self, tenant: str | None = None) -> Sequence[DeclaredIndex]:
        """Those of one tenant."""


@dataclass(frozen=True, slots=True)
class Advice:
    """A sentence, or (`declare`) an index that would help."""

    text: str
    declare: IndexDeclaration | None = None

    def said(self, compact: Callable[[str], str]) -> str:
        """The sentence, with the command; `compact` makes of an IRI the name that the reader knows."""
        if self.declare is None:
            return self.text
        geo = " --kind geo" if self.declare.kind is IndexKind.GEO else ""
        path = shown_path(self.declare.path, compact)
        return f"{self.text} vela index add {compact(self.declare.type)} {path}{geo}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a query is answered: what MongoDB is asked, its plan, which declared indexes it used, and advice.

    `exact` tells whether MongoDB decides alone; otherwise the broker looks at each of the candidates that it returns.
    `scans` tells whether it looks at much more than it finds.
    """

    search: Search
    plan: QueryPlan
    used: tuple[IndexDeclaration, ...]
    exact: bool
    scans: bool
    advice: tuple[Advice, ...]


class Explanations:
    """The use case."""

    def __init__(self, plans: ExplainsQueries, indexes: ListsIndexes) -> None:
        self._plans = plans
        self._indexes = indexes

    async def explain(
        self, tenant: str, query: EntityQuery, request: PageRequest, *, seconds: float = _LONGEST
    ) -> Explanation:
        """Explain one page of a query.

        BadRequestData if it is too wide; NonexistentTenant; Unavailable past so many `seconds`.
        """
        query.check_width()
        now = now_text()
        condition = query.condition(now)
        exact = query.decision(now) is None
        position = request.position
        if request.ordering is not None:
            search = Search(condition)
        elif position is None:
            search = Search(condition, {"_id": 1}, skip=request.offset, hint=query.index)
        else:
            bound = {"_id": {f"${position.side.value}": position.entity_id}}
            direction = -1 if position.side.backwards else 1
            search = Search({"$and": [*condition["$and"], bound]}, {"_id": direction}, hint=query.index)
        if exact and request.ordering is None:
            search = replace(search, limit=request.limit + 1)
        plan = await self._plans.explain(tenant, search, seconds=seconds)
        declared = [one.declaration for one in await self._indexes.declared(tenant)]
        scans = is_scan(plan, search.skip)
        advice = [*advise(query, plan, declared)] if scans else []
        if request.ordering is not None:
            advice.append(Advice("orderBy looks at all entities that the query selects: let it select few."))
        return Explanation(
            search, plan, tuple(one for one in declared if one.id in plan.indexes), exact, scans, tuple(advice)
        )


def is_scan(plan: QueryPlan, skip: int = 0) -> bool:
    """Whether a query looks at much more than it finds; what a client asked to be skipped counts as found."""
    return plan.examined > _MANY and plan.examined > _TIMES * (plan.returned + skip)


def advise(query: EntityQuery, plan: QueryPlan, declared: Sequence[IndexDeclaration]) -> Iterator[Advice]:
    """What to do about a query that scans, with the plan that it had and the indexes that there are."""
    alternatives = query.types.alternatives if query.types is not None else ()
    if not alternatives:
        yield Advice("Give a type: without one the entities of all types are looked at, and no declared index is used.")
        return
    if len(alternatives) > 1:
        yield Advice("Ask for each type by itself: an index belongs to one type, and serves no query for several.")
        return
    type_name = alternatives[0][0]
    wanted = [IndexDeclaration(type_name, path, IndexKind.VALUE) for path in _indexable(query.q)]
    geo = query.geo
    if geo is not None and geo.relation is not Relation.DISJOINT and geo.min_distance is None:
        if geo.attribute != LOCATION:
            wanted.append(IndexDeclaration(type_name, Path((geo.attribute,)), IndexKind.GEO))
    elif geo is not None:
        yield Advice("An index says where things are: georel=disjoint and minDistance are checked one by one.")
    if query.scope is not None:
        wanted.append(IndexDeclaration(type_name, Path((), member="scopes"), IndexKind.VALUE))
    missing = [one for one in wanted if not any(known.serves(one) for known in declared)]
    for one in missing:
        yield Advice("Declare an index:", one)
    if missing:
        return
    if wanted and not any(one.id in plan.indexes for one in declared):
        yield Advice(
            "There is an index, but MongoDB expected more of another way: it is of little use where a condition holds "
            "for many entities. `vela index list` shows whether it is built."
        )
    elif wanted:
        yield Advice("The index is used, and most of what it finds is dropped by other conditions: index one of these.")
    elif query.q is not None:
        yield Advice(
            "No term of q can be looked up: an index serves ==, <, >, ranges, lists and patterns, not !=, existence "
            "or another entity; with | all of the terms must be served."
        )
    elif query.attributes:
        yield Advice("attrs alone is checked entity by entity: add a condition to q that an index serves.")


def _indexable(node: Node | None) -> list[Path]:
    """The paths of which an index would serve the query: one of the terms of `;`, all of those of `|`."""
    if isinstance(node, And):
        return next((paths for term in node.terms if (paths := _indexable(term))), [])
    if isinstance(node, Or):
        found = [_indexable(term) for term in node.terms]
        return list(dict.fromkeys(path for paths in found for path in paths)) if all(found) else []
    if isinstance(node, Match):
        served = not node.negated and node.pattern.pcre is not None
    elif isinstance(node, Comparison):
        served = node.operator is not Operator.UNEQUAL
    else:
        served = False
    if not served or not isinstance(node, Match | Comparison) or node.path.inside == (ANY_LANGUAGE,):
        return []
    return [node.path]
