"""The syntax tree of q (clause 4.9), and the step from names as a client writes them to attribute keys.

`parse_q` makes a tree with names as written; `expand` makes of it the tree that the translators read. Two literals that
Python holds equal (1 and True) make equal nodes: nodes are no cache keys.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import NGSI_LD_BASE, encode_key
from broker.ngsild.query.patterns import Pattern
from broker.ngsild.query.temporals import Temporal, TemporalKind, read_temporal

ANY_LANGUAGE = "*"
"""The trailing path that stands for every language of a languageMap: `color[*]`."""

Literal = str | int | float | bool | Temporal


class Operator(StrEnum):
    """The operators that compare values."""

    EQUAL = "=="
    UNEQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="


@dataclass(frozen=True, slots=True)
class Path:
    """The target of a term.

    names   the attribute, then sub-attributes; in an expanded tree attribute keys, and without the name of a member
    member  in an expanded tree, the non-reified member that the path ends with ("observedAt", "unitCode", …). With
            no names, a member of the entity itself
    inside  the trailing path into a compound value: member names as they are, in an expanded tree as stored keys; or a
            language tag, or ANY_LANGUAGE
    """

    names: tuple[str, ...]
    member: str | None = None
    inside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Values:
    """One value or several: any of them."""

    values: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The values from `low` to `high`, both included; the two are of one data type."""

    low: Literal
    high: Literal


@dataclass(frozen=True, slots=True)
class Exists:
    """The target exists, or (`negated`) it does not."""

    path: Path
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """The target compared with a value. Ordering operators have exactly one value, and no range."""

    path: Path
    operator: Operator
    operand: Values | Range


@dataclass(frozen=True, slots=True)
class Match:
    """The target matches a pattern, or (`negated`) is a text that does not."""

    path: Path
    pattern: Pattern
    negated: bool = False


@dataclass(frozen=True, slots=True)
class And:
    """All of the terms hold."""

    terms: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of the terms holds."""

    terms: tuple["Node", ...]


Node = Exists | Comparison | Match | And | Or


class ExpandsNames(Protocol):
    """What `expand` needs of an @context."""

    def key(self, term: str, /) -> str:
        """The attribute key of a name; BadRequestData for a name that is unusable."""

    def expand_vocab(self, value: str, /) -> str:
        """The IRI of a vocabulary term."""


def _keys(*names: str) -> dict[str, str]:
    return {encode_key(NGSI_LD_BASE + name): name for name in names}


TEMPORAL_MEMBERS = frozenset({"observedAt", "createdAt", "modifiedAt", "expiresAt"})
_INSTANCE_MEMBERS = _keys(*sorted(TEMPORAL_MEMBERS), "unitCode", "datasetId")
_ENTITY_MEMBERS = {**_keys("createdAt", "modifiedAt", "expiresAt"), **dict.fromkeys(_keys("scope"), "scopes")}
_IDENTITY = frozenset({"id", "type", "@id", "@type"})


def expand(node: Node, context: ExpandsNames, *, expand_values: Collection[str] = ()) -> Node:
    """`node` with attribute keys for names (clause 5.5.7).

    Literals that are compared with the attributes `expand_values` (names as written) become IRIs, as a query for
    vocabulary terms needs. Raises BadRequestData for an unusable name, and for paths that lead through a timestamp.
    """
    keys = frozenset(context.key(name) for name in expand_values)
    return _expand(node, context, keys)


def _expand(node: Node, context: ExpandsNames, vocabularies: frozenset[str]) -> Node:
    if isinstance(node, And | Or):
        return type(node)(tuple(_expand(term, context, vocabularies) for term in node.terms))
    path = _expand_path(node.path, context)
    if not isinstance(node, Comparison):
        return replace(node, path=path)
    operand = node.operand
    if path.names[:1] and path.names[0] in vocabularies and isinstance(operand, Values):
        operand = Values(tuple(context.expand_vocab(one) if isinstance(one, str) else one for one in operand.values))
    if path.member in TEMPORAL_MEMBERS:
        operand = _as_moments(operand)
    return Comparison(path, node.operator, operand)


def _expand_path(path: Path, context: ExpandsNames) -> Path:
    if path.names[0] in _IDENTITY:
        raise BadRequestData(
            f"q compares {path.names[0]!r}, which is no attribute: "
            "select entities by the parameters id, idPattern and type."
        )
    *parents, last = (context.key(name) for name in path.names)
    members = _INSTANCE_MEMBERS if parents else _ENTITY_MEMBERS
    for parent in parents:
        if parent in (_INSTANCE_MEMBERS if parent is not parents[0] else _ENTITY_MEMBERS):
            raise BadRequestData(
                f"The path {'.'.join(path.names)!r} leads through a member that has no sub-attributes: end it there."
            )
    if last not in members:
        return Path((*parents, last), inside=tuple(encode_key(name) for name in path.inside))
    if path.inside:
        raise BadRequestData(
            f"The path {'.'.join(path.names)!r} ends with a member that has no compound value: leave out the brackets."
        )
    return Path(tuple(parents), member=members[last])


def _as_moments(operand: Values | Range) -> Values | Range:
    """Quoted DateTimes as what they are: a timestamp can only be meant by its instant."""
    if isinstance(operand, Range):
        return Range(_as_moment(operand.low), _as_moment(operand.high))
    return Values(tuple(_as_moment(one) for one in operand.values))


def _as_moment(literal: Literal) -> Literal:
    moment = read_temporal(literal) if isinstance(literal, str) else None
    return literal if moment is None or moment.kind is not TemporalKind.DATE_TIME else moment


def attributes_in(node: Node) -> set[str]:
    """The top-level attributes that the terms mention: keys in an expanded tree. Members of the entity are none."""
    if isinstance(node, And | Or):
        return set().union(*(attributes_in(term) for term in node.terms))
    return set(node.path.names[:1])
