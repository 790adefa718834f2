"""Resources for operators: data models, policies, and what was found wrong with the data (docs/datamodels.md)."""

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from broker.core.data_models import PolicyEntry
from broker.ngsild.content import is_snapshot
from broker.ngsild.errors import BadRequestData
from broker.storage.violations import VIOLATIONS_LIMIT, ViolationCount, ViolationKey, ViolationSelection
from broker.validation.policies import Policy
from broker.validation.registry import KnownModel
from broker.web.endpoint import Call
from broker.web.parameters import Query
from broker.web.replies import json_reply, no_content
from broker.web.services import Services

_USUAL_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class ListParameters:
    """Which data models are to be listed; None: any."""

    subject: str | None
    name: str | None
    problem: bool


@dataclass(frozen=True, slots=True)
class PolicyParameters:
    """Which policy is meant; `tenant` is "" for the default tenant, None for all tenants."""

    tenant: str | None
    type: str | None


@dataclass(frozen=True, slots=True)
class ViolationParameters:
    """Which violations are meant, and how many of them are to be shown."""

    selection: ViolationSelection
    limit: int


def read_list_parameters(query: Query, _services: Services) -> ListParameters:
    """`subject`, `name` and `problem`."""
    parameters = ListParameters(query.text("subject"), query.text("name"), query.boolean("problem"))
    query.finish()
    return parameters


def read_policy_parameters(query: Query, _services: Services) -> PolicyParameters:
    """`type` and `tenant`."""
    parameters = PolicyParameters(query.optional("tenant"), query.text("type"))
    query.finish()
    return parameters


def read_selection_parameters(query: Query, _services: Services) -> ViolationSelection:
    """`tenant`, `type`, `attribute` and `rule`."""
    selection = _selection(query)
    query.finish()
    return selection


def read_violation_parameters(query: Query, _services: Services) -> ViolationParameters:
    """`tenant`, `type`, `attribute`, `rule` and `limit`. BadRequestData for a limit of 0, or one that is too high."""
    limit = query.integer("limit")
    if limit is not None and not 1 <= limit <= VIOLATIONS_LIMIT:
        raise BadRequestData(f"The URL parameter 'limit' is {limit}: expected a number from 1 to {VIOLATIONS_LIMIT}.")
    parameters = ViolationParameters(_selection(query), limit or _USUAL_LIMIT)
    query.finish()
    return parameters


async def list_models(call: Call) -> web.Response:
    """GET /datamodels: the data models, with what happens under each in the tenant."""
    wanted: ListParameters = call.parameters
    models = call.services.data_models.list(subject=wanted.subject, name=wanted.name, problem=wanted.problem)
    return json_reply([_shown(call, model) for model in models])


async def show_model(call: Call) -> web.Response:
    """GET /datamodels/models/{model}: one of them, with its definition."""
    model, definition = await call.services.data_models.get(call.path["model"])
    return json_reply({**_shown(call, model), "definition": definition.document()})


async def add_models(call: Call) -> web.Response:
    """POST /datamodels/models: import data models; what cannot be compiled is kept in quarantine."""
    body = call.body
    if not isinstance(body, dict) or set(body) != {"definitions"} or not isinstance(body["definitions"], list):
        raise BadRequestData('The body cannot be read: expected an object {"definitions": [ … ]} and nothing else.')
    results = await call.services.data_models.add(body["definitions"])
    return json_reply(
        [
            {
                "iri": one.iri,
                "name": one.name,
                "status": one.status.value,
                **({"problem": one.problem} if one.problem else {}),
            }
            for one in results
        ]
    )


async def remove_model(call: Call) -> web.Response:
    """DELETE /datamodels/models/{model}: delete an imported data model."""
    await call.services.data_models.remove(call.path["model"])
    return no_content()


async def list_policies(call: Call) -> web.Response:
    """GET /datamodels/policies: the policies that were set."""
    return json_reply([_shown_policy(entry) for entry in call.services.data_models.policies()])


async def set_policy(call: Call) -> web.Response:
    """PUT /datamodels/policies: set the policy for a type, in one tenant or in all."""
    tenant, name, policy = _read_policy(call.body)
    await call.services.data_models.set_policy(tenant, name, policy)
    return no_content()


async def remove_policy(call: Call) -> web.Response:
    """DELETE /datamodels/policies: take the policy for a type back."""
    wanted: PolicyParameters = call.parameters
    if wanted.type is None:
        raise BadRequestData("The URL parameter 'type' is missing: expected the IRI or the name of a type.")
    await call.services.data_models.remove_policy(wanted.tenant, wanted.type)
    return no_content()


async def list_violations(call: Call) -> web.Response:
    """GET /datamodels/violations: which rules of data models were broken, how often, since when, by whom."""
    wanted: ViolationParameters = call.parameters
    found = await call.services.data_models.violations(wanted.selection, wanted.limit)
    return json_reply([_shown_violation(key, count) for key, count in found])


async def clear_violations(call: Call) -> web.Response:
    """DELETE /datamodels/violations: forget what was counted."""
    await call.services.data_models.clear_violations(call.parameters)
    return no_content()


def _selection(query: Query) -> ViolationSelection:
    return ViolationSelection(
        tenant=query.optional("tenant"),
        type=query.text("type"),
        attribute=query.optional("attribute"),
        rule=query.text("rule"),
    )


def _read_policy(body: Any) -> tuple[str | None, str, Policy]:
    if not isinstance(body, dict):
        raise BadRequestData("The body is no object: expected one with type and policy.")
    for name in body:
        if name not in ("tenant", "type", "policy"):
            raise BadRequestData(
                f"The member {name!r:.80} has no meaning here: expected tenant, type, policy.", pointer=f"/{name}"
            )
    for name in ("type", "policy"):
        if not isinstance(body.get(name), str) or not body[name]:
            raise BadRequestData(f"The member {name!r} is {body.get(name)!r:.80}: expected a text.", pointer=f"/{name}")
    tenant = body.get("tenant")
    if tenant is not None and (not isinstance(tenant, str) or is_snapshot(tenant)):
        raise BadRequestData(
            f"The tenant is {tenant!r:.80}: expected its name, nothing for the default tenant, or null for all.",
            pointer="/tenant",
        )
    if body["policy"] not in set(Policy):
        raise BadRequestData(
            f"The policy {body['policy']!r:.80} does not exist: expected {' or '.join(Policy)}.", pointer="/policy"
        )
    return tenant, body["type"], Policy(body["policy"])


def _shown(call: Call, model: KnownModel) -> dict[str, Any]:
    shown = {
        "iri": model.iri,
        "name": model.name,
        "subject": model.subject,
        "origin": model.origin,
        "version": model.version,
        "source": model.source,
        "licence": model.licence,
        "policy": call.services.data_models.policy(call.tenant, model.iri).value,
    }
    if model.imported_at:
        shown["importedAt"] = model.imported_at
    if model.problem:
        shown["problem"] = model.problem
    return shown


def _shown_policy(entry: PolicyEntry) -> dict[str, Any]:
    return {"tenant": entry.tenant, "type": entry.iri, "name": entry.name, "policy": entry.policy.value}


def _shown_violation(key: ViolationKey, count: ViolationCount) -> dict[str, Any]:
    return {
        "tenant": key.tenant,
        "type": count.name,
        "iri": key.type,
        "attribute": key.attribute,
        "rule": key.rule,
        "source": key.source,
        "policy": count.policy,
        "count": count.count,
        "first": count.first,
        "last": count.last,
        "sample": count.sample,
    }
