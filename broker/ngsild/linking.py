"""Linked entities (clause 4.5.23): which entities an answer retrieves beside those selected, and where it shows them.

`LinkedEntities` follows Relationships level by level, and tells at each level which entities it needs;
`retrieve_linked` asks a loader for them. `assemble` makes of it the documents of an answer:

    inline   each entity holds its linked ones, as "entity" or "entityList" beside the object of the Relationship, in
             place of the URI where the representation is simplified
    flat     the linked entities follow behind the entities that were selected

An entity that was encountered before is not shown again: the Relationship remains as it is, which cuts loops short.
Inline, the entities around each selected one are a graph of their own: what one shows is left out of no other. In a
flat answer every entity occurs once. What is nearest is encountered first, and of entities equally near, what comes
first in the answer. A target that does not exist, or that lies elsewhere, remains a URI.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from broker.ngsild.errors import TooManyResults
from broker.ngsild.model import Entity, Instance, decode_key
from broker.ngsild.projections import Projection
from broker.ngsild.query.links import linked_ids
from broker.ngsild.representations import Compactor, Format

Document = dict[str, Any]

ENTITY_MEMBERS = ("id", "type", "scope")
"""What a projection can name beside attributes."""

MAX_LEVEL = 10
"""The highest joinLevel: as far as a path of q may lead."""


class JoinForm(StrEnum):
    """The representations of linked entities (clauses 4.5.23.2, 4.5.23.3)."""

    INLINE = "inline"
    FLAT = "flat"


@dataclass(frozen=True, slots=True)
class Joining:
    """What a request asks for: so many Relationships in a row are followed (joinLevel), but to none of `contained_by`.

    `contained_by` are the ids of entities that the client has encountered before.
    """

    form: JoinForm
    level: int = 1
    contained_by: frozenset[str] = frozenset()


class ExpandsKeys(Protocol):
    """What a view needs of an @context."""

    def key(self, term: str, /) -> str:
        """The attribute key of a name."""


class View(Protocol):
    """Which attributes of an entity are shown (clause 4.21)."""

    def shows(self, key: str, /) -> bool:
        """Whether the attribute is."""

    def inside(self, key: str, /) -> "View":
        """The view of the entities that this Relationship leads to."""


class ProjectedView:
    """The view that `pick` and `omit` leave of an entity; without both everything is shown (clause 4.21).

    `picked` is None for everything; else it holds, as `omitted` does, attribute keys and the names of ENTITY_MEMBERS.
    Names that go on into linked entities tell how those are shown: such a Relationship is picked, but never omitted.
    `always` are members picked whatever `pick` says. BadRequestData for a name that cannot be expanded.
    """

    __slots__ = ("_context", "_inner_omit", "_inner_pick", "_inside", "omitted", "picked")

    def __init__(
        self,
        context: ExpandsKeys,
        pick: Projection | None = None,
        omit: Projection | None = None,
        *,
        always: Collection[str] = (),
    ) -> None:
        self._context = context
        self._inner_pick = _by_key(pick, context)
        self._inner_omit = _by_key(omit, context)
        self._inside: dict[str, ProjectedView] = {}
        self.picked = frozenset((*self._inner_pick, *always)) if self._inner_pick else None
        self.omitted = frozenset(key for key, inner in self._inner_omit.items() if inner is None)

    def shows(self, key: str, /) -> bool:
        """Whether the attribute is shown."""
        return (self.picked is None or key in self.picked) and key not in self.omitted

    def inside(self, key: str, /) -> "ProjectedView":
        """The view of the entities that this Relationship leads to."""
        view = self._inside.get(key)
        if view is None:
            view = ProjectedView(self._context, self._inner_pick.get(key), self._inner_omit.get(key))
            self._inside[key] = view
        return view


def _by_key(projection: Projection | None, context: ExpandsKeys) -> dict[str, Projection | None]:
    if projection is None:
        return {}
    return {name if name in ENTITY_MEMBERS else context.key(name): inner for name, inner in projection.members.items()}


@dataclass(slots=True, eq=False)
class Place:
    """An entity at its place in an answer; `linked` has the places inside of it, by attribute key and entity id."""

    entity: Entity
    view: Any
    linked: dict[str, dict[str, "Place"]] = field(default_factory=dict)


class _Step(NamedTuple):
    """A Relationship followed: from where, by which attribute, to which entity; `graph` holds what was encountered."""

    place: Place
    key: str
    entity_id: str
    graph: set[str]


class LinkedEntities:
    """The entities of an answer, with those that they link to: to be filled level by level.

        while linked.needs_more():
            linked.add({id: entity for those of linked.missing that exist})

    `view` is that of the selected entities, `datasets` are the datasetIds of the instances that are shown ("@none" for
    the default instance). TooManyResults, by any method, past `most` linked entities in the answer.
    """

    def __init__(
        self,
        entities: Sequence[Entity],
        joining: Joining,
        *,
        view: View,
        datasets: Collection[str] | None = None,
        most: int,
    ) -> None:
        self.joining = joining
        self.datasets = datasets
        self.selected = [Place(entity, view) for entity in entities]
        self.appended: list[Place] = []
        """In a flat answer the linked entities, nearest first."""
        self.missing: list[str] = []
        """The ids of entities that this level needs, and that no level before has asked for."""
        self._most = most
        self._level = 0
        self._placed = 0
        self._known: dict[str, Entity | None] = {entity["_id"]: entity for entity in entities}
        self._steps: list[_Step] = []
        self._outermost = list(zip(self.selected, self._graphs(entities), strict=True))

    def needs_more(self) -> bool:
        """Whether there is a further level; then `missing` has what it needs, if it needs anything new."""
        if self._level == self.joining.level:
            return False
        self._level += 1
        self._steps = [step for place, graph in self._outermost for step in self._steps_from(place, graph)]
        self.missing = list(dict.fromkeys(step.entity_id for step in self._steps if step.entity_id not in self._known))
        if len(self.missing) > self._most:
            raise self._too_many()
        return bool(self._steps)

    def add(self, found: Mapping[str, Entity]) -> None:
        """Take the entities of `missing` that exist, by id, without what has expired."""
        self._known |= {entity_id: found.get(entity_id) for entity_id in self.missing}
        self._outermost = []
        for place, key, entity_id, graph in self._steps:
            entity = self._known[entity_id]
            if entity is None:
                continue
            self._placed += 1
            if self._placed > self._most:
                raise self._too_many()
            linked = Place(entity, place.view.inside(key))
            self._outermost.append((linked, graph))
            if self.joining.form is JoinForm.FLAT:
                self.appended.append(linked)
            else:
                place.linked.setdefault(key, {})[entity_id] = linked

    def _graphs(self, entities: Sequence[Entity]) -> list[set[str]]:
        """For each of the entities the ids that are not shown again in the graph that begins at it."""
        before = self.joining.contained_by
        if self.joining.form is JoinForm.INLINE:
            return [{entity["_id"], *before} for entity in entities]
        return [{*before, *(entity["_id"] for entity in entities)}] * len(entities)

    def _steps_from(self, place: Place, graph: set[str]) -> Iterator[_Step]:
        for key, instances in place.entity["attributes"].items():
            if not place.view.shows(key):
                continue
            for instance in _in_datasets(instances, self.datasets):
                for entity_id in linked_ids(instance):
                    if entity_id not in graph:
                        graph.add(entity_id)
                        yield _Step(place, key, entity_id, graph)

    def _too_many(self) -> TooManyResults:
        return TooManyResults(
            f"The answer would hold more than {self._most} linked entities: lower the limit or joinLevel, or leave "
            "Relationships out with pick or omit."
        )


LoadsEntities = Callable[[Sequence[str]], Awaitable[Mapping[str, Entity]]]
"""Gives those entities of the ids that exist, by id, without what has expired."""


async def retrieve_linked(linked: LinkedEntities, load: LoadsEntities) -> LinkedEntities:
    """`linked`, filled: one call of `load` for each level that needs entities. TooManyResults as it raises them."""
    while linked.needs_more():
        linked.add(await load(linked.missing) if linked.missing else {})
    return linked


Show = Callable[[Entity, Any], tuple[Entity, Document]]
"""Renders an entity in a view: the entity as it was rendered, perhaps without parts, and the document."""


def assemble(
    linked: LinkedEntities,
    show: Show,
    context: Compactor,
    format: Format,  # noqa: A002 - the specification's name
) -> list[tuple[Entity, Document]]:
    """The entities of the answer in their order, each with its document, which has the inline ones inside of it.

    `show` renders with the @context and in the format given, and only the instances of `linked.datasets`.
    """
    assembler = _Assembler(show, context, format, linked.datasets)
    return [assembler.document(place) for place in (*linked.selected, *linked.appended)]


@dataclass(frozen=True, slots=True)
class _Assembler:
    show: Show
    context: Compactor
    format: Format
    datasets: Collection[str] | None

    def document(self, place: Place) -> tuple[Entity, Document]:
        entity, document = self.show(place.entity, place.view)
        for key, places in place.linked.items():
            name = self.context.compact(decode_key(key))
            if name in document:
                inside = {entity_id: self.document(one)[1] for entity_id, one in places.items()}
                instances = list(_in_datasets(entity["attributes"][key], self.datasets))
                document[name] = self._joined(document[name], instances, inside)
        return entity, document

    def _joined(self, shown: Any, instances: list[Instance], inside: dict[str, Document]) -> Any:
        if self.format is not Format.SIMPLIFIED:
            for document, instance in zip(shown if len(instances) > 1 else [shown], instances, strict=True):
                _add_inline(document, instance, inside)
            return shown
        if len(instances) == 1 and "datasetId" not in instances[0]:
            return _in_place(shown, instances[0], inside)
        datasets = shown["dataset"]
        named = ((one.get("datasetId", "@none"), one) for one in instances)
        return {"dataset": {name: _in_place(datasets[name], one, inside) for name, one in named}}


def _in_datasets(instances: Sequence[Instance], datasets: Collection[str] | None) -> Iterator[Instance]:
    return (one for one in instances if datasets is None or one.get("datasetId", "@none") in datasets)


def _add_inline(document: Document, instance: Instance, inside: dict[str, Document]) -> None:
    """Clauses 4.5.3.2, 4.5.3.3 and 4.5.22: what is found of the targets, in their order; each taken out of `inside`."""
    found = [inside.pop(entity_id) for entity_id in linked_ids(instance) if entity_id in inside]
    if not found:
        return
    if instance["type"] == "ListRelationship":
        document["entityList"] = found
    else:
        document["entity"] = found if isinstance(instance["object"], list) else found[0]


def _in_place(shown: Any, instance: Instance, inside: dict[str, Document]) -> Any:
    """Clause 4.5.4: entities instead of their URIs; each taken out of `inside`. Other URIs stay."""
    targets = linked_ids(instance)
    if not any(entity_id in inside for entity_id in targets):
        return shown
    replaced: list[Any] = [inside.pop(entity_id, entity_id) for entity_id in targets]
    return replaced if isinstance(shown, list) else replaced[0]
