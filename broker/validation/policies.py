"""What happens to an entity that breaks a rule of its data model: a policy per tenant and type."""

from collections.abc import Mapping
from enum import StrEnum

from broker.ngsild.content import owner_of


class Policy(StrEnum):
    """`enforce` refuses the change, `warn` accepts and counts it, `off` does not look."""

    ENFORCE = "enforce"
    WARN = "warn"
    OFF = "off"


PolicyKey = tuple[str | None, str]
"""A tenant ("" is the default one, None all that have no other), and the IRI of a type."""


class Policies:
    """The policy of each (tenant, type IRI), with a default for all others.

    A policy for a type holds in every tenant, unless that tenant has one of its own for it. What holds in a tenant
    holds in its snapshots.
    """

    def __init__(self, default: Policy, given: Mapping[PolicyKey, Policy] | None = None) -> None:
        self.default = default
        self.given = dict(given or {})

    def of(self, tenant: str, type_iri: str) -> Policy:
        """The policy for entities of the type in `tenant` ("" is the default tenant)."""
        given = self.given
        if not given:
            return self.default
        policy = given.get((owner_of(tenant), type_iri)) or given.get((None, type_iri))
        return self.default if policy is None else policy
