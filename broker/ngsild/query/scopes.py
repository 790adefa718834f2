"""Scope queries (clause 4.19): `/Madrid/+/ParqueNorte`, `/Madrid/Gardens/#`, `(/Madrid/Districts;/CompanyA)|/CompanyB`.

The slash at the beginning may be missing, in a query as in the scope of an entity (clause 4.18).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from broker.ngsild.errors import BadRequestData
from broker.ngsild.query.selections import read_alternatives

ONE_LEVEL = "+"

_SCOPE = re.compile(r"/#|/?(?:\+|[^\W\d_]\w*)(?:/(?:\+|[^\W\d_]\w*))*(?:/#)?")


@dataclass(frozen=True, slots=True)
class ScopePattern:
    """One scope of a query: its levels, of which ONE_LEVEL is any; with `subtree` also all scopes below.

    Without levels it is any scope.
    """

    levels: tuple[str, ...]
    subtree: bool

    def matches(self, scope: Sequence[str]) -> bool:
        """Whether the levels of a scope match."""
        length = len(self.levels)
        if len(scope) != length and not (self.subtree and len(scope) > length):
            return False
        return all(wanted in (ONE_LEVEL, level) for wanted, level in zip(self.levels, scope, strict=False))


@dataclass(frozen=True, slots=True)
class ScopeQuery:
    """Alternatives, each of scopes that an entity must all have."""

    alternatives: tuple[tuple[ScopePattern, ...], ...]


@lru_cache(maxsize=1024)
def parse_scope_q(text: str) -> ScopeQuery:
    """The scope query that `text` writes. Raises BadRequestData and TooComplexQuery."""
    alternatives = read_alternatives(text, "scopeQ", "a scope such as /Madrid/Gardens")
    return ScopeQuery(tuple(tuple(_read_scope(scope) for scope in scopes) for scopes in alternatives))


def matches(query: ScopeQuery, scopes: Iterable[str]) -> bool:
    """Whether an entity of these scopes is selected."""
    found = [scope.removeprefix("/").split("/") for scope in scopes]
    return any(
        all(any(pattern.matches(scope) for scope in found) for pattern in conjunction)
        for conjunction in query.alternatives
    )


def _read_scope(text: str) -> ScopePattern:
    if _SCOPE.fullmatch(text) is None:
        raise BadRequestData(
            f"scopeQ holds {text!r}: expected levels of letters, digits and underscores that begin with a letter, such "
            'as /Madrid/Gardens, with "+" for any one level and "/#" at the end for all scopes below.'
        )
    subtree = text.endswith("/#")
    path = text.removesuffix("/#").removeprefix("/")
    return ScopePattern(tuple(path.split("/")) if path else (), subtree)
