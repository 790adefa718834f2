"""Type selections (clause 4.17): `Building|House`, `(Home;Vehicle),Motorhome`, or `*` for every type."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from broker.ngsild.errors import BadRequestData
from broker.ngsild.query.selections import read_alternatives


class ExpandsTypes(Protocol):
    """What a type selection needs of an @context."""

    def expand(self, term: str, /) -> str:
        """The IRI of a type name; BadRequestData for a name that is unusable."""


@dataclass(frozen=True, slots=True)
class TypeSelection:
    """Which entities are selected: those with all types of any of the alternatives, or all if there is none."""

    alternatives: tuple[tuple[str, ...], ...]

    @property
    def everything(self) -> bool:
        """Whether the selection is `*`."""
        return not self.alternatives

    def expand(self, context: ExpandsTypes) -> "TypeSelection":
        """The selection by IRIs (clause 5.5.7). Raises BadRequestData for a name that is unusable."""
        return TypeSelection(tuple(tuple(context.expand(name) for name in names) for names in self.alternatives))

    def matches(self, types: Collection[str]) -> bool:
        """Whether an entity of these types is selected."""
        return self.everything or any(all(name in types for name in names) for names in self.alternatives)

    def some(self) -> frozenset[str]:
        """Types of which every selected entity has one or more; none for `*`."""
        return frozenset(names[0] for names in self.alternatives)

    def iris(self) -> frozenset[str]:
        """All types that the selection mentions."""
        return frozenset(name for names in self.alternatives for name in names)


@lru_cache(maxsize=1024)
def parse_types(text: str) -> TypeSelection:
    """The selection that `text` writes, with names as written. Raises BadRequestData and TooComplexQuery."""
    alternatives = read_alternatives(text, "type", "the name or URI of an entity type")
    if alternatives == (("*",),):
        return TypeSelection(())
    if any("*" in names for names in alternatives):
        raise BadRequestData('type combines "*" with other types: expected "*" alone, or names of types.')
    return TypeSelection(alternatives)
