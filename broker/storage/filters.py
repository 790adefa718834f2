"""From the syntax trees of the query languages to MongoDB filters over the stored form.

`q_filter` and the predicate of `broker.ngsild.query.predicate` select the same entities; its docstring gives the
semantics. A document keeps its entity in `state`, an array of one (`entities.py`). Each step of a path is an
`$elemMatch` over instances; which member of an instance holds the value, depends on its type. A wildcard index on
"state.attributes.<key>.$**" covers them all. What finds cannot express, the values of a
languageMap whatever their languages, is an `$expr` over the entities whose attribute is a LanguageProperty.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from broker.ngsild.query.patterns import parse_pattern
from broker.ngsild.query.predicate import TYPED_VALUE
from broker.ngsild.query.scopes import ScopeQuery
from broker.ngsild.query.temporals import SHAPES, Temporal, TemporalKind
from broker.ngsild.query.tree import (
    ANY_LANGUAGE,
    TEMPORAL_MEMBERS,
    And,
    Comparison,
    Exists,
    Match,
    Node,
    Operator,
    Or,
    Path,
    Range,
)
from broker.ngsild.query.types import TypeSelection
from broker.storage.geo_filters import geo_filter, geo_is_exact
from broker.storage.language_filters import in_any_language

__all__ = ["geo_filter", "geo_is_exact", "ids_filter", "q_filter", "scope_filter", "types_filter"]

Filter = dict[str, Any]
_Operators = dict[str, Any]
"""Operators on one field, such as {"$gte": 1, "$lte": 2}."""

_NOTHING: Filter = {"_id": {"$in": []}}
_EXISTS = {"$exists": True}
_NO_ARRAY = {"$not": {"$type": "array"}}
_SIMPLE = frozenset({"$eq", "$in", "$gt", "$gte", "$lt", "$lte", "$regex", "$type"})
_ORDER = {
    Operator.LESS: "$lt",
    Operator.LESS_OR_EQUAL: "$lte",
    Operator.GREATER: "$gt",
    Operator.GREATER_OR_EQUAL: "$gte",
}
_COMPOUND = ("value", "json")
_RELATIONSHIPS = ("object", "objectList")


def q_filter(node: Node) -> Filter:
    """The filter of an expanded tree (clause 4.9)."""
    if isinstance(node, And | Or):
        return {"$and" if isinstance(node, And) else "$or": [q_filter(term) for term in node.terms]}
    if isinstance(node, Exists):
        exists = _over(node.path, _existence(node.path))
        return {"$nor": [exists]} if node.negated else exists
    if node.path.member is not None:
        return _over(node.path, _on_member(node, node.path.member))
    found = [_over(node.path, condition) for condition in _on_instance(node)]
    if node.path.inside in ((), (ANY_LANGUAGE,)) and (language := in_any_language(node)) is not None:
        found.append(language)
    return _any_of(found)


def _any_of(conditions: Sequence[Filter]) -> Filter:
    if not conditions:
        return _NOTHING
    return conditions[0] if len(conditions) == 1 else {"$or": list(conditions)}


def _over(path: Path, condition: Filter) -> Filter:
    for name in reversed(path.names):
        condition = {f"attributes.{name}": {"$elemMatch": condition} if condition else _EXISTS}
    return {"state": {"$elemMatch": condition}}


def _existence(path: Path) -> Filter:
    if path.member is not None:
        return {path.member: _EXISTS}
    if path.inside == (ANY_LANGUAGE,):
        return {"type": "LanguageProperty"}
    return _any_of([_at(member, path.inside, _EXISTS) for member in _members(path.inside)]) if path.inside else {}


def _members(inside: tuple[str, ...]) -> tuple[str, ...]:
    return (*_COMPOUND, "languageMap") if len(inside) == 1 else _COMPOUND


def _on_member(node: Comparison | Match, member: str) -> Filter:
    if isinstance(node, Match):
        found: Filter = {member: {"$regex": node.pattern.pcre}}
        return {"$and": [{member: {"$type": "string"}}, {"$nor": [found]}]} if node.negated else found
    operands = _operators(node, object, shaped=member not in TEMPORAL_MEMBERS)
    is_array = member == "scopes"
    found = _any_of([_in_pool(member, (), one) if is_array else {member: one} for one in operands])
    return {"$and": [{member: _EXISTS}, {"$nor": [found]}]} if node.operator is Operator.UNEQUAL else found


def _on_instance(node: Comparison | Match) -> list[Filter]:
    """The conditions on one instance of which one must hold, but for languageMaps in any language."""
    inside = node.path.inside
    if inside == (ANY_LANGUAGE,):
        return []
    if isinstance(node, Match):
        members = _members(inside) if inside else (*_COMPOUND, "valueList", "vocab")
        found = [_in_pool(member, inside, {"$regex": node.pattern.pcre}) for member in members]
        if not node.negated:
            return [_any_of(found)]
        texts = [_in_pool(member, inside, {"$type": "string"}) for member in members]
        return [{"$and": [_any_of(texts), {"$nor": found}]}]
    found = _comparisons(node)
    if node.operator is not Operator.UNEQUAL:
        return [_any_of(found)] if found else []
    exists = _existence(node.path) or {"type": {"$ne": "LanguageProperty"}}
    return [{"$and": [exists, {"$nor": found}]}]


def _comparisons(node: Comparison) -> list[Filter]:
    inside = node.path.inside
    by_uri = () if node.operator in _ORDER else _RELATIONSHIPS
    textual = ("languageMap",) if len(inside) == 1 else () if inside else ("vocab", *by_uri)
    usual = _COMPOUND if inside else (*_COMPOUND, "valueList")
    return [
        *(_in_pool(member, inside, one) for one in _operators(node, object) for member in usual),
        *(_in_pool(member, inside, one) for one in _operators(node, str) for member in textual),
        *(_in_pool(member, (*inside, TYPED_VALUE), one) for one in _operators(node, Temporal) for member in _COMPOUND),
    ]


def _in_pool(member: str, inside: tuple[str, ...], operators: _Operators) -> Filter:
    """The value there, or an element of it, meets all of the operators.

    MongoDB lets different elements of an array meet different operators; so where there are several, the value itself
    and its elements are asked apart.
    """
    if len(operators) == 1 and not _SIMPLE.isdisjoint(operators):
        return _at(member, inside, operators)
    itself = {"$and": [_at(member, inside, operators), {".".join((member, *inside)): _NO_ARRAY}]}
    return {"$or": [itself, _at(member, inside, {"$elemMatch": operators})]}


def _at(member: str, inside: tuple[str, ...], operators: _Operators) -> Filter:
    """A path into a compound value leads through objects only, not through the elements of arrays as MongoDB has it."""
    path = [member, *inside]
    guards = {".".join(path[:length]): _NO_ARRAY for length in range(1, len(path))}
    return {**guards, ".".join(path): operators}


def _operators(node: Comparison, kind: type, *, shaped: bool = True) -> list[_Operators]:
    """The operators that stand for the literals of one kind; a value that meets any of them meets the term.

    Unless `shaped` is False, which is for fields that hold DateTimes only, texts are checked to have the shape of the
    moments that they are compared with.
    """
    operand = node.operand
    if isinstance(operand, Range):
        return [_within(operand, shaped=shaped)] if isinstance(operand.low, kind) else []
    literals = [literal for literal in operand.values if isinstance(literal, kind)]
    if not literals:
        return []
    if node.operator not in _ORDER:
        plain: list[Any] = []
        for literal in literals:
            plain.extend(_texts_of(literal) if isinstance(literal, Temporal) else [literal])
        return [{"$eq": plain[0]} if len(plain) == 1 else {"$in": plain}]
    literal = literals[0]
    if isinstance(literal, Temporal):
        return [_shaped(literal.kind, _relative(node.operator, literal), shaped=shaped)]
    return [{_ORDER[node.operator]: literal}]


def _within(operand: Range, *, shaped: bool) -> _Operators:
    low, high = operand.low, operand.high
    if not isinstance(low, Temporal) or not isinstance(high, Temporal):
        return {"$gte": low, "$lte": high}
    bounds = {**_relative(Operator.GREATER_OR_EQUAL, low), **_relative(Operator.LESS_OR_EQUAL, high)}
    return _shaped(low.kind, bounds, shaped=shaped)


def _shaped(kind: TemporalKind, operators: _Operators, *, shaped: bool) -> _Operators:
    if not shaped and kind is TemporalKind.DATE_TIME:
        return operators
    return {**operators, "$regex": rf"^(?:{SHAPES[kind]})\z"}


def _texts_of(moment: Temporal) -> list[str]:
    """All texts that write this moment."""
    if moment.kind is TemporalKind.DATE:
        return [moment.base]
    fractions = [moment.fraction.ljust(length, "0") for length in range(max(1, len(moment.fraction)), 7)]
    return [*([] if moment.fraction else [f"{moment.base}Z"]), *(f"{moment.base}.{one}Z" for one in fractions)]


def _relative(operator: Operator, moment: Temporal) -> _Operators:
    """Operators that, among texts of one shape, hold for the instants before or after a moment.

    Texts sort by time until the seconds, which have a fixed length. Among the texts of one second, digits sort by time
    as well; but "Z" sorts after any digit, so that a shorter fraction sorts after the longer ones that it begins:
    ".5Z" after ".55Z". The texts to which this happens can be listed: the fractions that the moment's own begins with.
    """
    if moment.kind is TemporalKind.DATE:
        return {_ORDER[operator]: moment.base}
    base, fraction = moment.base, moment.fraction
    shorter = [f"{base}Z", *(f"{base}.{fraction[:length]}Z" for length in range(1, len(fraction)))] if fraction else []
    since: _Operators = {"$gte": f"{base}.{fraction}" if fraction else base}
    excluded = shorter if operator in (Operator.GREATER_OR_EQUAL, Operator.LESS) else shorter + _texts_of(moment)
    if excluded:
        since["$nin"] = excluded
    if operator in (Operator.GREATER, Operator.GREATER_OR_EQUAL):
        return since
    return {"$lte": f"{base}Z", "$not": since}


def types_filter(selection: TypeSelection) -> Filter:
    """The filter of an expanded type selection (clause 4.17)."""
    single = [names[0] for names in selection.alternatives if len(names) == 1]
    found: list[Filter] = [{"state.types": {"$all": list(names)}} for names in selection.alternatives if len(names) > 1]
    if single:
        found.insert(0, {"state.types": single[0] if len(single) == 1 else {"$in": single}})
    return {} if selection.everything else _any_of(found)


def scope_filter(query: ScopeQuery) -> Filter:
    """The filter of a scope query (clause 4.19)."""
    found: list[Filter] = []
    for conjunction in query.alternatives:
        conditions = [_in_scope(scope.levels, subtree=scope.subtree) for scope in conjunction]
        found.append(conditions[0] if len(conditions) == 1 else {"$and": conditions})
    return _any_of(found)


def _in_scope(levels: tuple[str, ...], *, subtree: bool) -> Filter:
    if not levels:
        return {"state.scopes.0": _EXISTS}
    if "+" not in levels and not subtree:
        path = "/".join(levels)
        return {"state.scopes": {"$in": [f"/{path}", path]}}
    pattern = "/".join("[^/]+" if level == "+" else level for level in levels)
    end = r"(?:/|\z)" if subtree else r"\z"
    patterns = (f"^/{pattern}{end}", f"^{pattern}{end}")
    return {"$or": [{"state.scopes": {"$regex": one}} for one in patterns]}


def ids_filter(ids: Iterable[str] = (), id_pattern: str | None = None) -> Filter:
    """Entities with one of the ids, if there are any, and with an id that matches the pattern, if there is one.

    Raises BadRequestData and TooComplexQuery as `parse_pattern`.
    """
    operators: _Operators = {}
    wanted = list(ids)
    if wanted:
        operators["$in"] = wanted
    if id_pattern is not None:
        operators["$regex"] = parse_pattern(id_pattern).pcre
    return {"_id": operators} if operators else {}
