"""The registry: what is bundled, what is stored, and how it stays in step with the database."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest

from broker.ngsild.errors import Unavailable
from broker.storage.data_models import StoredModel, StoredPolicy, pack
from broker.storage.edits import Keys
from broker.validation.definitions import Definition
from broker.validation.policies import Policy
from broker.validation.registry import ModelRegistry
from tests.unit.notify.samples import until

NOW = "2026-01-31T12:00:00.000000Z"
ROAD, BRIDGE = "https://example.org/Road", "https://example.org/Bridge"


def definition(iri: str = ROAD, kind: str = "number", **members: Any) -> Definition:
    """A data model whose one attribute, length, is of this JSON type."""
    schema = {"$id": "urn:vela:datamodels:test:schema", "type": "object", "properties": {"length": {"type": kind}}}
    return Definition(iri, iri.rpartition("/")[2], schema, terms={"length": "https://example.org/length"}, **members)


def stored(of: Definition) -> StoredModel:
    return StoredModel(
        of.iri, of.name, of.subject, pack(orjson.dumps(of.document())), of.digest, of.source, of.version, of.licence,
        of.problem, NOW,
    )  # fmt: skip


class MemorySource:
    """A database in memory, whose edits are told by hand."""

    def __init__(self, *definitions: Definition) -> None:
        self.kept = {one.iri: stored(one) for one in definitions}
        self.given: list[StoredPolicy] = []
        self.lost = False
        self.entered = 0
        self.edited: dict[str, asyncio.Queue[Keys | Exception]] = {}

    async def models(self, iris: Iterable[str] | None = None) -> Sequence[StoredModel]:
        if self.lost:
            raise Unavailable("the storage is away")
        return [self.kept[iri] for iri in (self.kept if iris is None else iris) if iri in self.kept]

    async def policies(self) -> Sequence[StoredPolicy]:
        return list(self.given)

    def model_edits(self) -> Any:
        return self._edits("models")

    def policy_edits(self) -> Any:
        return self._edits("policies")

    @asynccontextmanager
    async def _edits(self, which: str) -> AsyncIterator[AsyncIterator[Keys]]:
        self.entered += 1
        self.edited[which] = asyncio.Queue()
        yield self._told(self.edited[which])

    async def _told(self, edited: "asyncio.Queue[Keys | Exception]") -> AsyncIterator[Keys]:
        while True:
            told = await edited.get()
            if isinstance(told, Exception):
                raise told
            yield told


def accepts_text(registry: ModelRegistry, iri: str = ROAD) -> bool:
    """Whether the model of the type accepts a text as a length."""
    model = registry.get(iri)
    assert model is not None
    value = {"type": "Property", "value": "long", "createdAt": NOW, "modifiedAt": NOW}
    entity: Any = {"_id": "urn:road:1", "types": [iri], "attributes": {model.key_of("length"): [value]}}
    return not model.violations(entity)


@asynccontextmanager
async def running(source: MemorySource, *bundled: Definition) -> AsyncIterator[ModelRegistry]:
    registry = ModelRegistry(source, bundled, Policy.WARN)
    await registry.start()
    yield registry
    await registry.stop()


async def test_a_stored_model_takes_the_place_of_a_bundled_one_of_its_type() -> None:
    async with running(MemorySource(definition(kind="string")), definition(), definition(BRIDGE)) as registry:
        assert accepts_text(registry)
        assert not accepts_text(registry, BRIDGE)
        assert [(one.iri, one.origin) for one in registry.all()] == [(BRIDGE, "bundled"), (ROAD, "imported")]


async def test_a_type_without_a_model_has_none() -> None:
    async with running(MemorySource()) as registry:
        assert registry.get(ROAD) is None
        assert registry.definition(ROAD) is None
        assert registry.known(ROAD) is None


async def test_an_edit_of_another_process_is_followed() -> None:
    source = MemorySource()
    async with running(source, definition()) as registry:
        assert not accepts_text(registry)
        source.kept[ROAD] = stored(definition(kind="string"))
        source.edited["models"].put_nowait([ROAD])
        await until(lambda: accepts_text(registry))
        del source.kept[ROAD]
        source.edited["models"].put_nowait([ROAD])
        await until(lambda: not accepts_text(registry))


async def test_a_policy_of_another_process_is_followed() -> None:
    source = MemorySource()
    source.given = [StoredPolicy(None, ROAD, "off")]
    async with running(source) as registry:
        assert registry.policy("madrid", ROAD) is Policy.OFF
        source.given = [StoredPolicy("madrid", ROAD, "enforce")]
        source.edited["policies"].put_nowait([{"tenant": "madrid", "type": ROAD}])
        await until(lambda: registry.policy("madrid", ROAD) is Policy.ENFORCE)
        assert registry.policy("", ROAD) is Policy.WARN


async def test_after_following_broke_off_everything_is_read_again() -> None:
    source = MemorySource(definition())
    async with running(source) as registry:
        assert not accepts_text(registry)
        source.kept = {one.iri: stored(one) for one in (definition(kind="string"), definition(BRIDGE))}
        source.edited["models"].put_nowait(Unavailable("the storage is away"))
        await until(lambda: source.entered == 3 and registry.get(BRIDGE) is not None)
        assert accepts_text(registry)


async def test_a_start_without_storage_says_so() -> None:
    source = MemorySource()
    source.lost = True
    with pytest.raises(Unavailable):
        await ModelRegistry(source, [], Policy.WARN).start()


async def test_the_same_content_imported_again_is_not_compiled_again() -> None:
    source = MemorySource(definition())
    async with running(source) as registry:
        compiled = registry.get(ROAD)
        source.kept[ROAD] = stored(definition(version="2.0"))
        await registry.refresh([ROAD])
        assert registry.get(ROAD) is compiled
        known = registry.known(ROAD)
        assert known is not None
        assert known.version == "2.0"


async def test_one_in_quarantine_checks_nothing_and_hides_the_bundled_one() -> None:
    source = MemorySource(definition(problem="It refers to what is not there."))
    async with running(source, definition()) as registry:
        assert registry.get(ROAD) is None
        assert (registry.usable, registry.quarantined) == (0, 1)
        known = registry.known(ROAD)
        assert known is not None
        assert known.problem == "It refers to what is not there."


async def test_one_that_turns_out_not_to_compile_checks_nothing_and_says_why() -> None:
    broken = definition(kind="nonsense")
    async with running(MemorySource(broken)) as registry:
        assert registry.get(ROAD) is None
        assert registry.get(ROAD) is None
        known = registry.known(ROAD)
        assert known is not None
        assert "nonsense" in known.problem
        assert (registry.usable, registry.quarantined) == (0, 1)


async def test_a_definition_comes_out_as_it_was_kept() -> None:
    kept = definition(source="https://example.org/models.zip", licence="CC-BY-4.0", subject="dataModel.Roads")
    async with running(MemorySource(kept), replace(kept, iri=BRIDGE)) as registry:
        assert registry.definition(ROAD) == kept
        assert registry.definition(BRIDGE) == replace(kept, iri=BRIDGE)
