"""What happens to an entity that breaks a rule of its data model: a policy per tenant and type."""

from collections.abc import Iterable, Mapping
from enum import StrEnum


class Policy(StrEnum):
    """`enforce` refuses the change, `warn` accepts and counts it, `off` does not look."""

    ENFORCE = "enforce"
    WARN = "warn"
    OFF = "off"


class Policies:
    """The policy of each (tenant, type IRI), with a default for all others.

    A policy for a type holds in every tenant, unless that tenant has one of its own for it.
    """

    def __init__(self, default: Policy, overrides: Mapping[tuple[str | None, str], Policy] | None = None) -> None:
        self.default = default
        self._overrides = dict(overrides or {})

    def of(self, tenant: str, type_iri: str) -> Policy:
        """The policy for entities of the type in `tenant` ("" is the default tenant)."""
        if not self._overrides:
            return self.default
        for key in ((tenant, type_iri), (None, type_iri)):
            policy = self._overrides.get(key)
            if policy is not None:
                return policy
        return self.default

    @classmethod
    def parse(cls, default: str, overrides: str, types: Mapping[str, str]) -> "Policies":
        """The policies of two settings: `default` is a policy, `overrides` a list `[TENANT@]TYPE=POLICY,…`.

        `types` maps the type names that may be used to their IRIs; an IRI may be written too. ValueError, fit to be
        shown to the person who wrote the setting, where a policy or a type does not exist.
        """
        found: dict[tuple[str | None, str], Policy] = {}
        for entry in filter(None, (part.strip() for part in overrides.split(","))):
            target, separator, policy = entry.rpartition("=")
            if not separator:
                raise ValueError(f"{entry!r} is not of the form TYPE=POLICY, such as OffStreetParking=enforce.")
            tenant, at, name = target.rpartition("@")
            found[(tenant if at else None, _type_iri(name, types))] = _policy(policy)
        return cls(_policy(default), found)


def _policy(text: str) -> Policy:
    try:
        return Policy(text.strip())
    except ValueError:
        raise ValueError(f"The policy {text!r} does not exist: expected {_listed(Policy)}.") from None


def _type_iri(name: str, types: Mapping[str, str]) -> str:
    name = name.strip()
    if name in types.values():
        return name
    if name not in types:
        raise ValueError(f"There is no data model for the type {name!r}: expected one of {_listed(types)}.")
    return types[name]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
