"""Declarations of indexes (core/indexes.py, storage/indexes.py)."""

from collections.abc import Mapping, Sequence

import pytest

from broker.core.indexes import IndexOperations, IndexState, read_declaration, shown_path
from broker.ngsild.errors import AlreadyExists, BadRequestData, InternalError, ResourceNotFound
from broker.ngsild.model import LOCATION, decode_key
from broker.storage.indexes import BuiltIndex, DeclaredIndex, IndexDeclaration, IndexKind
from tests.unit.query.core_names import CORE

SPEED = CORE.key("speed")


def declare(attribute: str, kind: IndexKind | None = None) -> IndexDeclaration:
    return read_declaration("Vehicle", attribute, kind, CORE)


@pytest.mark.parametrize(
    "attribute", ["speed", "speed.accuracy", "speed.observedAt", "speed[max]", "speed[a.b]", "modifiedAt", "scope"]
)
def test_a_path_is_shown_as_it_was_given(attribute: str) -> None:
    declaration = declare(attribute)

    assert (CORE.compact(declaration.type), declaration.kind) == ("Vehicle", IndexKind.VALUE)
    assert shown_path(declaration.path, CORE.compact) == attribute


def test_an_iri_names_an_attribute_as_well() -> None:
    assert declare(decode_key(SPEED)) == declare("speed")


def test_the_kind_fits_the_attribute_unless_it_is_given() -> None:
    assert declare("observationSpace").kind is IndexKind.GEO
    assert declare("parcel").kind is IndexKind.VALUE
    assert declare("parcel", IndexKind.GEO).kind is IndexKind.GEO


@pytest.mark.parametrize(
    ("attribute", "kind", "pointer"),
    [
        ("speed>5", None, "/attribute"),
        ("!speed", None, "/attribute"),
        ("speed;color", None, "/attribute"),
        ("speed..x", None, "/attribute"),
        ("location", None, "/attribute"),
        ("location", IndexKind.VALUE, "/kind"),
        ("speed.place", IndexKind.GEO, "/attribute"),
        ("speed[place]", IndexKind.GEO, "/attribute"),
        ("modifiedAt", IndexKind.GEO, "/attribute"),
    ],
)
def test_what_no_index_can_serve_is_refused(attribute: str, kind: IndexKind | None, pointer: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        declare(attribute, kind)

    assert caught.value.pointer == pointer


def test_every_declaration_has_a_name_of_its_own_that_stays() -> None:
    ways = [declare("a.b"), declare("a[b]"), declare("a"), declare("b"), declare("a", IndexKind.GEO)]

    assert len({one.id for one in ways}) == len(ways)
    assert declare("a.b").id == ways[0].id


def test_an_index_of_a_value_serves_what_is_inside_of_it_and_nothing_else() -> None:
    assert declare("a").serves(declare("a"))
    assert declare("a").serves(declare("a[b]"))
    assert declare("a[b]").serves(declare("a[b.c]"))
    assert not declare("a[b]").serves(declare("a"))
    assert not declare("a").serves(declare("a.b"))
    assert not declare("a").serves(declare("a.observedAt"))
    assert not declare("a").serves(declare("a", IndexKind.GEO))
    assert not declare("a").serves(read_declaration("Car", "a", None, CORE))


def test_the_index_is_partial_and_leaves_timestamps_out() -> None:
    document = declare("speed").model().document

    assert document["partialFilterExpression"] == {"state.types": CORE.expand("Vehicle")}
    assert f"state.attributes.{SPEED}.value" in document["wildcardProjection"]
    assert not [field for field in document["wildcardProjection"] if field.endswith("At")]
    assert LOCATION not in str(document)


class Kept:
    """A store in memory that builds at once, or fails."""

    def __init__(self, failing: bool = False) -> None:
        self.failing = failing
        self.kept: dict[str, DeclaredIndex] = {}
        self.there: dict[str, BuiltIndex] = {}

    async def declare(self, tenant: str, declaration: IndexDeclaration) -> bool:
        new = declaration.id not in self.kept
        self.kept.setdefault(declaration.id, DeclaredIndex(tenant, declaration, None))
        return new

    async def forget(self, tenant: str, index_id: str) -> bool:
        return self.kept.pop(index_id, None) is not None

    async def note(self, tenant: str, index_id: str, failure: str | None) -> None:
        self.kept[index_id] = DeclaredIndex(tenant, self.kept[index_id].declaration, failure)

    async def declared(self, tenant: str | None = None) -> Sequence[DeclaredIndex]:
        return list(self.kept.values())

    async def build(self, tenant: str, declaration: IndexDeclaration) -> None:
        if self.failing:
            raise InternalError("too many indexes")
        self.there[declaration.id] = BuiltIndex(4096, building=False)

    async def drop(self, tenant: str, index_id: str) -> None:
        self.there.pop(index_id, None)

    async def built(self, tenant: str) -> Mapping[str, BuiltIndex]:
        return self.there


async def test_a_declared_index_is_built_listed_and_removed() -> None:
    indexes, declaration = IndexOperations(Kept()), declare("speed")

    added = await indexes.add("", declaration)

    assert (added.state, added.size) == (IndexState.READY, 4096)
    assert await indexes.list("") == [added]
    with pytest.raises(AlreadyExists):
        await indexes.add("", declaration)
    await indexes.remove("", declaration.id)
    assert await indexes.list("") == []
    with pytest.raises(ResourceNotFound):
        await indexes.remove("", declaration.id)


async def test_a_failure_is_kept_and_another_attempt_may_succeed() -> None:
    store = Kept(failing=True)
    indexes, declaration = IndexOperations(store), declare("speed")

    failed = await indexes.add("", declaration)
    assert (failed.state, failed.failure) == (IndexState.FAILED, "too many indexes")

    store.failing = False
    assert (await indexes.add("", declaration)).state is IndexState.READY


async def test_what_is_declared_and_not_there_is_built_at_the_start() -> None:
    store = Kept()
    await store.declare("", declare("speed"))
    indexes = IndexOperations(store)

    indexes.start()
    assert indexes._starting is not None
    await indexes._starting
    for build in list(indexes._builds.values()):
        await build

    assert list(store.there) == [declare("speed").id]
    await indexes.stop()
