"""All data models and policies of this process: those that come with Vela, and what the database keeps.

Both collections are followed, so that an import, a removal or a policy takes effect in every process within a second,
without a restart. An edit only names what to read anew: what is known is never older than what was known before. Models
are compiled when they are needed first: a city imports a thousand, and uses thirty.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
import structlog

from broker.storage.data_models import StoredModel, StoredPolicy, pack
from broker.storage.edits import Keys
from broker.validation.compiling import compile_definition
from broker.validation.definitions import DataModelError, Definition, read_definition
from broker.validation.following import Following
from broker.validation.models import Model
from broker.validation.policies import Policies, Policy

log = structlog.get_logger("vela.validation")

BUNDLED, IMPORTED = "bundled", "imported"


class ModelSource(Protocol):
    """Where imported data models and policies are kept."""

    async def models(self, iris: Iterable[str] | None = None) -> Sequence[StoredModel]:
        """All data models, or those of some types as far as there are any."""

    async def policies(self) -> Sequence[StoredPolicy]:
        """All policies."""

    def model_edits(self) -> AbstractAsyncContextManager[AsyncIterator[Keys]]:
        """The IRIs of data models that are written or deleted."""

    def policy_edits(self) -> AbstractAsyncContextManager[AsyncIterator[Keys]]:
        """The keys of policies that are written or deleted."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A data model as lists show it.

    `origin` is "bundled" or "imported", `imported_at` a DateTime or "". `problem` says why it checks nothing, "" if it
    does.
    """

    iri: str
    name: str
    subject: str
    origin: str
    version: str
    source: str
    licence: str
    imported_at: str
    problem: str


class ModelRegistry:
    """The data models by type IRI, and the policies. An imported model takes the place of a bundled one of its type.

    One with a problem is in quarantine: it checks nothing. `zone_tolerant`: date-times without a zone are taken as UTC.
    """

    def __init__(
        self, source: ModelSource, bundled: Iterable[Definition], default: Policy, *, zone_tolerant: bool = False
    ) -> None:
        self._source = source
        self._bundled = {definition.iri: _packed(definition) for definition in bundled}
        self._zone_tolerant = zone_tolerant
        self._stored: dict[str, StoredModel] = {}
        self._compiled: dict[str, Model] = {}
        self._uncompiled = {iri for iri, model in self._bundled.items() if not model.problem}
        self._failures: dict[str, str] = {}
        self._reading = asyncio.Lock()
        self._followers = (
            Following("data models", source.model_edits, self.reload, self.refresh),
            Following("validation policies", source.policy_edits, self.refresh_policies, self._take_policies),
        )
        self.policies = Policies(default)

    async def start(self) -> None:
        """Load everything, and follow what any process changes from then on. Raises Unavailable."""
        for follower in self._followers:
            await follower.start()

    async def stop(self) -> None:
        """Follow no longer."""
        for follower in self._followers:
            await follower.stop()

    def get(self, iri: str) -> Model | None:
        """The data model of a type, None if there is none that can be used."""
        model = self._compiled.get(iri)
        if model is None and iri in self._uncompiled:
            model = self._compile(iri)
        return model

    def policy(self, tenant: str, iri: str) -> Policy:
        """What happens to an entity of the type that breaks a rule, in `tenant` ("" is the default tenant)."""
        return self.policies.of(tenant, iri)

    def definition(self, iri: str) -> Definition | None:
        """What the data model of a type is made of, None if there is none."""
        model = self._stored.get(iri) or self._bundled.get(iri)
        return None if model is None else read_definition(orjson.loads(model.unpack()))

    def known(self, iri: str) -> KnownModel | None:
        """The data model of a type as lists show it, None if there is none."""
        stored = self._stored.get(iri)
        failure = self._failures.get(iri, "")
        if stored is not None:
            return KnownModel(
                **_texts(stored), origin=IMPORTED, imported_at=stored.imported_at, problem=stored.problem or failure
            )
        bundled = self._bundled.get(iri)
        if bundled is None:
            return None
        return KnownModel(**_texts(bundled), origin=BUNDLED, imported_at="", problem=bundled.problem or failure)

    def all(self) -> list[KnownModel]:
        """All data models by subject and name."""
        found = [model for iri in self._bundled.keys() | self._stored.keys() if (model := self.known(iri)) is not None]
        return sorted(found, key=lambda model: (model.subject, model.name, model.iri))

    def digest(self, iri: str) -> str | None:
        """The digest of the imported data model of a type, None if none was imported."""
        stored = self._stored.get(iri)
        return None if stored is None else stored.digest

    def is_bundled(self, iri: str) -> bool:
        """Whether a data model of the type comes with Vela."""
        return iri in self._bundled

    @property
    def usable(self) -> int:
        """How many data models there are that check something."""
        return len(self._compiled) + len(self._uncompiled)

    @property
    def quarantined(self) -> int:
        """How many data models there are that cannot be used."""
        return len(self._bundled.keys() | self._stored.keys()) - self.usable

    async def refresh(self, iris: Iterable[str]) -> None:
        """Take over the data models of these types as the database has them now. Raises Unavailable."""
        iris = list(iris)
        async with self._reading:  # what is read later is taken over later
            found = {model.iri: model for model in await self._source.models(iris)}
            for iri in iris:
                self._take_over(iri, found.get(iri))

    async def reload(self) -> None:
        """Take over all data models as the database has them now. Raises Unavailable."""
        async with self._reading:
            found = {model.iri: model for model in await self._source.models()}
            for iri in self._stored.keys() | found.keys():
                self._take_over(iri, found.get(iri))

    async def refresh_policies(self) -> None:
        """Take over the policies as the database has them now. Raises Unavailable."""
        async with self._reading:
            found = await self._source.policies()
            given = {(one.tenant, one.iri): Policy(one.policy) for one in found}
            self.policies = Policies(self.policies.default, given)

    async def _take_policies(self, _keys: Keys) -> None:
        await self.refresh_policies()

    def _take_over(self, iri: str, stored: StoredModel | None) -> None:
        earlier = self._stored.pop(iri, None)
        if stored is not None:
            self._stored[iri] = stored
        if earlier is not None and stored is not None and earlier.digest == stored.digest:
            return
        self._compiled.pop(iri, None)
        self._failures.pop(iri, None)
        self._uncompiled.discard(iri)
        current = stored if stored is not None else self._bundled.get(iri)
        if current is not None and not current.problem:
            self._uncompiled.add(iri)

    def _compile(self, iri: str) -> Model | None:
        self._uncompiled.discard(iri)
        try:
            definition = self.definition(iri)
            assert definition is not None
            model = compile_definition(definition, zone_tolerant=self._zone_tolerant)
        except DataModelError as error:
            self._failures[iri] = str(error)
            log.error("a data model cannot be used and checks nothing", type=iri, reason=str(error))
            return None
        self._compiled[iri] = model
        return model


def _packed(definition: Definition) -> StoredModel:
    """A data model that comes with Vela, in the few bytes that those in the database take."""
    return StoredModel(
        iri=definition.iri,
        name=definition.name,
        subject=definition.subject,
        packed=pack(orjson.dumps(definition.document())),
        digest="",
        source=definition.source,
        version=definition.version,
        licence=definition.licence,
        problem=definition.problem,
        imported_at="",
    )


def _texts(model: StoredModel) -> dict[str, Any]:
    return {name: getattr(model, name) for name in ("iri", "name", "subject", "version", "source", "licence")}
