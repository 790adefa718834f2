"""The syntax tree of q (clause 4.9), and the step from names as a client writes them to attribute keys.

`parse_q` makes a tree with names as written; `expand` makes of it the tree that the translators read. Two literals that
Python holds equal (1 and True) make equal nodes: nodes are no cache keys.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import NGSI_LD_BASE, encode_key
from broker.ngsild.names import NOT_ATTRIBUTE_KEYS
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
    at      where the path stands in the text, counted from 0
    """

    names: tuple[str, ...]
    member: str | None = None
    inside: tuple[str, ...] = ()
    at: int = field(default=0, compare=False, repr=False)


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
class Linked:
    """An entity that the Relationship at `path` leads to meets `term`, or (`negated`) none does.

    Only entities with one of `types` count, if there are any: names as written, IRIs in an expanded tree. `ids` are
    those that meet the term, once somebody has found them out: then the term and the types need not be looked at.
    """

    path: Path
    types: tuple[str, ...]
    term: "Node"
    negated: bool = False
    ids: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class And:
    """All of the terms hold."""

    terms: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of the terms holds."""

    terms: tuple["Node", ...]


Node = Exists | Comparison | Match | Linked | And | Or


class ExpandsNames(Protocol):
    """What `expand` needs of an @context. What cannot be expanded is BadRequestData."""

    def key(self, term: str, /) -> str:
        """The attribute key of a name."""

    def expand(self, term: str, /) -> str:
        """The IRI of a type name."""

    def expand_vocab(self, value: str, /) -> str:
        """The IRI of a vocabulary term."""


def _keys(*names: str) -> dict[str, str]:
    return {encode_key(NGSI_LD_BASE + name): name for name in names}


TEMPORAL_MEMBERS = frozenset({"observedAt", "createdAt", "modifiedAt", "expiresAt"})
_INSTANCE_MEMBERS = {
    **_keys(*sorted(TEMPORAL_MEMBERS), "unitCode", "datasetId"),
    encode_key(NGSI_LD_BASE + "hasObjectType"): "objectType",
    encode_key(NGSI_LD_BASE + "hasValueType"): "valueType",
}
_ENTITY_MEMBERS = {**_keys("createdAt", "modifiedAt", "expiresAt"), **dict.fromkeys(_keys("scope"), "scopes")}
_IDENTITY = frozenset({"id", "type", "@id", "@type"})


def invalid_q(position: int, what: str) -> BadRequestData:
    """The error for a query that is wrong at a place of its text, counted from 0."""
    return BadRequestData(f"q is invalid at character {position + 1}: {what.removesuffix('.')}.")


def expand(
    node: Node, context: ExpandsNames, *, expand_values: Collection[str] = (), json_keys: Collection[str] = ()
) -> Node:
    """`node` with attribute keys for names (clause 5.5.7).

    Texts that are compared with the attributes `expand_values` (names as written) become IRIs, as a query for terms of
    a vocabulary needs. Those compared with `json_keys` stay as they are, and so do always the names of a path into a
    compound value. Raises BadRequestData for an attribute in both lists; and, with the place in the text, for unusable
    names and for paths that lead through a member that is no attribute.
    """
    vocabularies = frozenset(context.key(name) for name in expand_values)
    for name in json_keys:
        if context.key(name) in vocabularies:
            raise BadRequestData(
                f"The attribute {name!r:.80} is in expandValues and in jsonKeys: expected it in one of them, as its "
                "values are either terms of the @context or plain JSON."
            )
    return _expand(node, context, vocabularies)


def _expand(node: Node, context: ExpandsNames, vocabularies: frozenset[str]) -> Node:
    if isinstance(node, And | Or):
        return type(node)(tuple(_expand(term, context, vocabularies) for term in node.terms))
    try:
        path = _expand_path(node.path, context)
        if isinstance(node, Linked):
            if path.member is not None:
                raise BadRequestData(f"{node.path.names[-1]!r} is no Relationship that leads to other entities")
            types = tuple(context.expand(name) for name in node.types)
        elif isinstance(node, Comparison):
            return Comparison(path, node.operator, _expand_operand(path, node.operand, context, vocabularies))
        else:
            return replace(node, path=path)
    except BadRequestData as error:
        raise invalid_q(node.path.at, error.detail) from None
    return Linked(path, types, _expand(node.term, context, vocabularies), node.negated)


def _expand_operand(
    path: Path, operand: Values | Range, context: ExpandsNames, vocabularies: frozenset[str]
) -> Values | Range:
    if path.member in TEMPORAL_MEMBERS:
        return _mapped(operand, _as_moment)
    if path.member == "objectType":
        return _mapped(operand, context.expand)
    if path.member == "valueType" or (path.member is None and not path.inside and path.names[-1] in vocabularies):
        return _mapped(operand, context.expand_vocab)
    return operand


def _mapped(operand: Values | Range, change: Callable[[str], Literal]) -> Values | Range:
    """The operand with its texts changed."""
    if isinstance(operand, Values):
        return Values(tuple(change(one) if isinstance(one, str) else one for one in operand.values))
    if isinstance(operand.low, str) and isinstance(operand.high, str):
        return Range(change(operand.low), change(operand.high))
    return operand


def _as_moment(text: str) -> Literal:
    """A quoted DateTime as what it is: a timestamp can only be meant by its instant."""
    moment = read_temporal(text)
    return text if moment is None or moment.kind is not TemporalKind.DATE_TIME else moment


def _expand_path(path: Path, context: ExpandsNames) -> Path:
    if path.names[0] in _IDENTITY:
        raise BadRequestData(
            f"{path.names[0]!r} is no attribute: select entities by the parameters id, idPattern and type"
        )
    written = ".".join(path.names)
    *parents, last = (context.key(name) for name in path.names)
    for parent, name in zip(parents, path.names, strict=False):
        if parent in NOT_ATTRIBUTE_KEYS:
            raise BadRequestData(
                f"the path {written!r:.200} leads through {name!r}, which has no sub-attributes: end it there"
            )
    members = _INSTANCE_MEMBERS if parents else _ENTITY_MEMBERS
    if last in members:
        if path.inside:
            raise BadRequestData(
                f"the path {written!r:.200} ends with a member that has no compound value: leave out the brackets"
            )
        return Path(tuple(parents), member=members[last], at=path.at)
    if last in NOT_ATTRIBUTE_KEYS:
        raise BadRequestData(
            f"{path.names[-1]!r} is no attribute: the value of an attribute is compared by the attribute's own name, "
            "a member inside of the value in brackets, as in address[city]"
        )
    return Path((*parents, last), inside=tuple(encode_key(name) for name in path.inside), at=path.at)


def attributes_in(node: Node) -> set[str]:
    """The top-level attributes that the terms mention: keys in an expanded tree. Members of the entity are none.

    Of linked entities they are none either.
    """
    if isinstance(node, And | Or):
        return set().union(*(attributes_in(term) for term in node.terms))
    return set(node.path.names[:1])
