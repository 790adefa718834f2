"""Data models as operators see them: importing and removing models, policies, and which violations were counted.

A model is named by the IRI of its type, or by the type's short name where only one model has it.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

import orjson

from broker.ngsild.errors import BadRequestData, Conflict, ResourceNotFound
from broker.ngsild.names import check_uri
from broker.ngsild.timestamps import now_text
from broker.storage.data_models import StoredModel, StoredPolicy, pack
from broker.storage.violations import ViolationCount, ViolationKey, ViolationSelection
from broker.validation.compiling import compile_definition
from broker.validation.definitions import DataModelError, Definition, read_definition
from broker.validation.policies import Policy
from broker.validation.registry import KnownModel, ModelRegistry


class KeepsModels(Protocol):
    """Where imported data models and policies are kept."""

    async def put_models(self, models: Iterable[StoredModel]) -> None:
        """Keep data models, each instead of an earlier one of its type."""

    async def remove_model(self, iri: str) -> bool:
        """Delete the data model of a type; whether there was one."""

    async def put_policy(self, policy: StoredPolicy) -> None:
        """Keep a policy, instead of an earlier one for the same tenant and type."""

    async def remove_policy(self, tenant: str | None, iri: str) -> bool:
        """Delete the policy for a tenant (None: for all) and type; whether there was one."""


class KeepsViolations(Protocol):
    """Where the violations of all processes are counted."""

    async def list(self, selection: ViolationSelection, limit: int) -> Sequence[tuple[ViolationKey, ViolationCount]]:
        """Those that are meant, the most frequent first."""

    async def clear(self, selection: ViolationSelection) -> None:
        """Forget those that are meant."""


class CountsViolations(Protocol):
    """The violations of this process that are not yet in the database."""

    async def flush(self) -> None:
        """Bring the database up to date."""


class ImportStatus(StrEnum):
    """What became of a model: taken over, there already, or kept with a problem that keeps it from being used."""

    IMPORTED = "imported"
    UNCHANGED = "unchanged"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What became of one model of an import."""

    iri: str
    name: str
    status: ImportStatus
    problem: str


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """A policy for a type, in a tenant ("" is the default one) or (None) in all that have no other."""

    tenant: str | None
    iri: str
    name: str
    policy: Policy


class DataModelOperations:
    """The use cases behind `vela datamodels`. Methods raise Unavailable when storage is lost."""

    def __init__(
        self,
        registry: ModelRegistry,
        store: KeepsModels,
        violations: KeepsViolations,
        tallies: CountsViolations,
        *,
        zone_tolerant: bool = False,
    ) -> None:
        self._registry = registry
        self._store = store
        self._violations = violations
        self._tallies = tallies
        self._zone_tolerant = zone_tolerant
        self._importing = asyncio.Lock()

    def list(
        self, *, subject: str | None = None, name: str | None = None, problem: bool = False
    ) -> Sequence[KnownModel]:
        """The data models, by subject and name; on request those of one subject or name, or with a problem, alone."""
        return [
            model
            for model in self._registry.all()
            if (subject is None or model.subject == subject)
            and (name is None or name in (model.name, model.iri))
            and (not problem or model.problem)
        ]

    def policy(self, tenant: str, iri: str) -> Policy:
        """What happens to entities of a type that break a rule in `tenant` ("" is the default one)."""
        return self._registry.policy(tenant, iri)

    async def get(self, name: str) -> tuple[KnownModel, Definition]:
        """One data model and what it is made of; ResourceNotFound, Conflict where several have the name."""
        iri = await self._named(name)
        model, definition = self._registry.known(iri), self._registry.definition(iri)
        assert model is not None
        assert definition is not None
        return model, definition

    async def add(self, documents: Sequence[Any]) -> Sequence[ImportResult]:
        """Import data models, each a document of a `Definition`, in their order.

        Each is compiled here; what cannot be is kept in quarantine, with the reason. BadRequestData, and none is
        imported, where a document is no definition.
        """
        definitions = [_read(document, f"/definitions/{number}") for number, document in enumerate(documents)]
        results: list[ImportResult] = []
        changed: list[StoredModel] = []
        first: dict[str, int] = {}
        async with self._importing:  # compiling takes a while; what two imports say about a type is not to be mixed
            for number, definition in enumerate(definitions):
                earlier = first.setdefault(definition.iri, number)
                if earlier != number:
                    problem = f"It was left out: definition {earlier} of this import describes the same type."
                    results.append(ImportResult(definition.iri, definition.name, ImportStatus.QUARANTINED, problem))
                    continue
                stored = await asyncio.to_thread(self._examined, definition)
                results.append(self._result(stored))
                if not self._is_known(stored):
                    changed.append(stored)
            await self._store.put_models(changed)
            await self._registry.refresh([model.iri for model in changed])
        return results

    async def remove(self, name: str) -> None:
        """Delete an imported data model; a bundled one of its type is used again.

        ResourceNotFound if there is none. Conflict where several have the name, and for one that comes with Vela.
        """
        iri = await self._named(name)
        removed = await self._store.remove_model(iri)
        await self._registry.refresh([iri])
        if not removed:
            known = self._registry.known(iri)
            if known is None:
                raise _unknown(name)
            raise Conflict(
                f"The data model {known.name} ({iri}) comes with Vela and cannot be removed: set its policy to off to "
                "have nothing checked by it, or import another model of the same type to replace it."
            )

    def policies(self) -> Sequence[PolicyEntry]:
        """All policies that were set, by type and tenant; those for all tenants first."""
        entries = [
            PolicyEntry(tenant, iri, self._name(iri), policy)
            for (tenant, iri), policy in self._registry.policies.given.items()
        ]
        return sorted(entries, key=lambda entry: (entry.name, entry.iri, entry.tenant is not None, entry.tenant or ""))

    async def set_policy(self, tenant: str | None, name: str, policy: Policy) -> None:
        """Set the policy for a type in a tenant ("" is the default one, None all that have no other).

        ResourceNotFound if there is no data model of the type; Conflict where several have the name.
        """
        await self._store.put_policy(StoredPolicy(tenant, await self._named(name), policy.value))
        await self._registry.refresh_policies()

    async def remove_policy(self, tenant: str | None, name: str) -> None:
        """Take a policy back; ResourceNotFound if there is none, Conflict where several models have the name."""
        given = [iri for of, iri in self._registry.policies.given if of == tenant and name in (iri, self._name(iri))]
        iri = given[0] if len(given) == 1 else await self._named(name)  # its model may be gone
        removed = await self._store.remove_policy(tenant, iri)
        await self._registry.refresh_policies()
        if not removed:
            whose = "all tenants" if tenant is None else f"the tenant {tenant!r:.80}"
            raise ResourceNotFound(
                f"A policy for {name!r:.200} in {whose} does not exist: `vela datamodels policy` shows those that do."
            )

    async def violations(
        self, selection: ViolationSelection, limit: int
    ) -> Sequence[tuple[ViolationKey, ViolationCount]]:
        """What all processes counted, the most frequent first."""
        await self._tallies.flush()
        return await self._violations.list(selection, limit)

    async def clear_violations(self, selection: ViolationSelection) -> None:
        """Forget what was counted."""
        await self._tallies.flush()
        await self._violations.clear(selection)

    async def _named(self, name: str) -> str:
        """The IRI of the model that has this IRI or name."""
        candidates = self._candidates(name)
        if not candidates:
            await self._registry.reload()  # another process may have imported it just now
            candidates = self._candidates(name)
        if not candidates:
            raise _unknown(name)
        if len(candidates) > 1:
            raise Conflict(
                f"Several data models are called {name!r:.80}: expected one of their IRIs, {', '.join(candidates)}."
            )
        return candidates[0]

    def _candidates(self, name: str) -> Sequence[str]:
        if self._registry.known(name) is not None:
            return [name]
        return [model.iri for model in self._registry.all() if model.name == name]

    def _name(self, iri: str) -> str:
        known = self._registry.known(iri)
        return iri.rpartition("/")[2] if known is None else known.name

    def _examined(self, definition: Definition) -> StoredModel:
        """The definition as it is kept, with the problem that it has, if any."""
        if not definition.problem:
            try:
                compile_definition(definition, zone_tolerant=self._zone_tolerant)
            except DataModelError as error:
                definition = replace(definition, problem=str(error))
        return StoredModel(
            iri=definition.iri,
            name=definition.name,
            subject=definition.subject,
            packed=pack(orjson.dumps(definition.document())),
            digest=definition.digest,
            source=definition.source,
            version=definition.version,
            licence=definition.licence,
            problem=definition.problem,
            imported_at=now_text(),
        )

    def _result(self, stored: StoredModel) -> ImportResult:
        status = ImportStatus.IMPORTED
        if stored.problem:
            status = ImportStatus.QUARANTINED
        elif self._registry.digest(stored.iri) == stored.digest:
            status = ImportStatus.UNCHANGED
        return ImportResult(stored.iri, stored.name, status, stored.problem)

    def _is_known(self, stored: StoredModel) -> bool:
        """Whether exactly this was imported before, from the same place."""
        known = self._registry.known(stored.iri)
        return (
            known is not None
            and self._registry.digest(stored.iri) == stored.digest
            and (known.name, known.subject) == (stored.name, stored.subject)
            and (known.source, known.version, known.licence) == (stored.source, stored.version, stored.licence)
        )


def _read(document: Any, pointer: str) -> Definition:
    try:
        definition = read_definition(document)
    except DataModelError as error:
        raise BadRequestData(str(error), pointer=pointer) from error
    check_uri(definition.iri, "type IRI", f"{pointer}/iri")
    return definition


def _unknown(name: str) -> ResourceNotFound:
    return ResourceNotFound(
        f"A data model {name!r:.200} does not exist: expected the IRI or the name of a type that "
        "`vela datamodels list` shows."
    )
