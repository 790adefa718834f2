"""The collections `dataModels` and `validationPolicies` of the control database: what was imported, and what is done.

A document of `dataModels`:

    _id         the type's IRI
    name, subject, source, version, licence, problem    as in the definition, for lists
    definition  the definition as JSON text, deflated: schemas repeat themselves, and every worker holds them all
    digest      equal for equal content
    importedAt  DateTime

A document of `validationPolicies`:

    _id         {tenant: its name, null for all of them; type: IRI}
    policy      enforce, warn or off
"""

import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from pymongo import ReplaceOne, WriteConcern

from broker.storage.client import DURABLE, Mongo, storage_errors
from broker.storage.edits import Edits, Keys

_MODELS, _POLICIES = "dataModels", "validationPolicies"


@dataclass(frozen=True, slots=True)
class StoredModel:
    """One data model of the collection. `packed` is what `pack` made of its definition; `problem` may be ""."""

    iri: str
    name: str
    subject: str
    packed: bytes
    digest: str
    source: str
    version: str
    licence: str
    problem: str
    imported_at: str

    def unpack(self) -> bytes:
        """The definition as JSON text."""
        return zlib.decompress(self.packed)


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """The policy for a type in a tenant ("" is the default one), or (None) in all that have no other."""

    tenant: str | None
    iri: str
    policy: str


def pack(text: bytes) -> bytes:
    """A definition's JSON text as it is kept."""
    return zlib.compress(text)


class DataModelStore:
    """Reading, writing and following data models and policies. Every method raises Unavailable when storage is lost."""

    def __init__(self, mongo: Mongo, edits: Edits) -> None:
        durable: WriteConcern = WriteConcern(**DURABLE)
        self._edits = edits
        self._models = mongo.control[_MODELS].with_options(write_concern=durable)
        self._policies = mongo.control[_POLICIES].with_options(write_concern=durable)

    async def models(self, iris: Iterable[str] | None = None) -> Sequence[StoredModel]:
        """All data models, or those of some types as far as there are any."""
        wanted = {} if iris is None else {"_id": {"$in": list(iris)}}
        with storage_errors():
            found = await self._models.find(wanted).to_list(None)
        return [_model(document) for document in found]

    async def put_models(self, models: Iterable[StoredModel]) -> None:
        """Keep data models, each instead of an earlier one of its type."""
        documents = {one.iri: _document(one) for one in models}
        if not documents:
            return
        statements = [ReplaceOne({"_id": iri}, document, upsert=True) for iri, document in documents.items()]
        async with self._edits.editing(_MODELS, list(documents), spread=True):
            with storage_errors():
                await self._models.bulk_write(statements, ordered=False)

    async def remove_model(self, iri: str) -> bool:
        """Delete the data model of a type; whether there was one."""
        async with self._edits.editing(_MODELS, [iri], spread=True):
            with storage_errors():
                result = await self._models.delete_one({"_id": iri})
        return bool(result.deleted_count)

    async def policies(self) -> Sequence[StoredPolicy]:
        """All policies."""
        with storage_errors():
            found = await self._policies.find({}).to_list(None)
        return [StoredPolicy(one["_id"]["tenant"], one["_id"]["type"], one["policy"]) for one in found]

    async def put_policy(self, policy: StoredPolicy) -> None:
        """Keep a policy, instead of an earlier one for the same tenant and type."""
        key = _policy_key(policy.tenant, policy.iri)
        async with self._edits.editing(_POLICIES, [key], spread=True):
            with storage_errors():
                await self._policies.replace_one({"_id": key}, {"policy": policy.policy}, upsert=True)

    async def remove_policy(self, tenant: str | None, iri: str) -> bool:
        """Delete the policy for a tenant (None: for all) and type; whether there was one."""
        key = _policy_key(tenant, iri)
        async with self._edits.editing(_POLICIES, [key], spread=True):
            with storage_errors():
                result = await self._policies.delete_one({"_id": key})
        return bool(result.deleted_count)

    def model_edits(self) -> AbstractAsyncContextManager[AsyncIterator[Keys]]:
        """The IRIs of data models that any process writes or deletes, from the moment the context is entered.

        Reading everything after entering, and then those that are named, leaves no gap. Raises Unavailable when it
        breaks off: enter again.
        """
        return self._edits.following(_MODELS)

    def policy_edits(self) -> AbstractAsyncContextManager[AsyncIterator[Keys]]:
        """The same for policies; what is named are their keys."""
        return self._edits.following(_POLICIES)


def _policy_key(tenant: str | None, iri: str) -> dict[str, Any]:
    return {"tenant": tenant, "type": iri}


def _document(model: StoredModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "subject": model.subject,
        "definition": model.packed,
        "digest": model.digest,
        "source": model.source,
        "version": model.version,
        "licence": model.licence,
        "problem": model.problem,
        "importedAt": model.imported_at,
    }


def _model(document: dict[str, Any]) -> StoredModel:
    return StoredModel(
        iri=document["_id"],
        name=document["name"],
        subject=document["subject"],
        packed=bytes(document["definition"]),
        digest=document["digest"],
        source=document["source"],
        version=document["version"],
        licence=document["licence"],
        problem=document["problem"],
        imported_at=document["importedAt"],
    )
