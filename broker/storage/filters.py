"""From the syntax trees of the query languages to MongoDB filters over the stored form.

`q_filter` and the predicate of `broker.ngsild.query.predicate` select the same entities; its docstring gives the
semantics. There are two things that MongoDB cannot decide, of which the filter selects candidates: terms about linked
entities whose ids are not known yet, and patterns that its engine may not run (`q_is_exact` and `id_pattern_is_exact`
tell).

A document keeps its entity in `state`, an array of one (`documents.py`). Each step of a path is an `$elemMatch` over
instances; which member of an instance holds the value, depends on its type. A wildcard index on
"state.attributes.<key>.$**" covers them all. What finds cannot express, the values of a languageMap whatever their
languages, is an `$expr` over the entities whose attribute is a LanguageProperty.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from broker.ngsild.expiry import MARK
from broker.ngsild.query.patterns import Pattern, parse_pattern
from broker.ngsild.query.predicate import TYPED_VALUE
from broker.ngsild.query.scopes import ScopeQuery
from broker.ngsild.query.temporals import SHAPES, Temporal, TemporalKind
from broker.ngsild.query.tree import (
    ANY_LANGUAGE,
    TEMPORAL_MEMBERS,
    And,
    Comparison,
    Exists,
    Linked,
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

__all__ = [
    "existing_filter",
    "expired_filter",
    "geo_filter",
    "geo_is_exact",
    "id_pattern_is_exact",
    "ids_filter",
    "partly_expired_filter",
    "q_filter",
    "q_is_exact",
    "scope_filter",
    "types_filter",
    "unexpired_filter",
]

Filter = dict[str, Any]
_Operators = dict[str, Any]
"""Operators on one field, such as {"$gte": 1, "$lte": 2}."""

_NOTHING: Filter = {"_id": {"$in": []}}
_EXISTS = {"$exists": True}
_NO_ARRAY = {"$not": {"$type": "array"}}
_A_TEXT: _Operators = {"$type": "string"}
_ARRAYS = frozenset({"scopes", "objectType"})
"""Members that hold one value or an array of them."""
_SIMPLE = frozenset({"$eq", "$in", "$gt", "$gte", "$lt", "$lte", "$regex", "$type"})
_ORDER = {
    Operator.LESS: "$lt",
    Operator.LESS_OR_EQUAL: "$lte",
    Operator.GREATER: "$gt",
    Operator.GREATER_OR_EQUAL: "$gte",
}
_COMPOUND = ("value", "json")
_RELATIONSHIPS = ("object", "objectList")


def q_is_exact(node: Node) -> bool:
    """Whether MongoDB can decide the query; otherwise its filter selects all matching entities and others."""
    if isinstance(node, And | Or):
        return all(q_is_exact(term) for term in node.terms)
    if isinstance(node, Linked):
        return node.ids is not None
    return not isinstance(node, Match) or node.pattern.pcre is not None


def id_pattern_is_exact(id_pattern: str) -> bool:
    """Whether MongoDB can decide of the ids that match a pattern."""
    return parse_pattern(id_pattern).pcre is not None


def q_filter(node: Node) -> Filter:
    """The filter of an expanded tree (clause 4.9), or of candidates where it is not exact."""
    if isinstance(node, And | Or):
        return {"$and" if isinstance(node, And) else "$or": [q_filter(term) for term in node.terms]}
    if isinstance(node, Linked):
        return _linked_filter(node)
    if isinstance(node, Exists):
        exists = _over(node.path, _existence(node.path))
        return {"$nor": [exists]} if node.negated else exists
    if node.path.member is not None:
        return _over(node.path, _on_member(node, node.path.member))
    found = [_over(node.path, condition) for condition in _on_instance(node)]
    if node.path.inside in ((), (ANY_LANGUAGE,)) and (language := in_any_language(node)) is not None:
        found.append(language)
    return _any_of(found)


def _linked_filter(node: Linked) -> Filter:
    if node.ids is None:
        return {} if node.negated else _over(node.path, {"type": {"$in": ["Relationship", "ListRelationship"]}})
    ids = sorted(node.ids)
    leads = _over(node.path, _any_of([{member: {"$in": ids}} for member in _RELATIONSHIPS]))
    return {"$nor": [leads]} if node.negated else leads


def _any_of(conditions: Sequence[Filter]) -> Filter:
    if not conditions:
        return _NOTHING
    return conditions[0] if len(conditions) == 1 else {"$or": list(conditions)}


def _over(path: Path, condition: Filter) -> Filter:
    if not path.names:
        return {"state": {"$elemMatch": condition}}
    for name in reversed(path.names[1:]):
        condition = {f"attributes.{name}": {"$elemMatch": condition} if condition else _EXISTS}
    # Not inside of another $elemMatch: MongoDB would use one bound of a range only.
    return {f"state.attributes.{path.names[0]}": {"$elemMatch": condition} if condition else _EXISTS}


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
        found: Filter = {member: _matching(node.pattern)}
        return {"$and": [{member: _A_TEXT}, {"$nor": [found]}]} if _is_excluding(node) else found
    operands = _operators(node, object, shaped=member not in TEMPORAL_MEMBERS)
    is_array = member in _ARRAYS
    found = _any_of([_in_pool(member, (), one) if is_array else {member: one} for one in operands])
    return {"$and": [{member: _EXISTS}, {"$nor": [found]}]} if node.operator is Operator.UNEQUAL else found


def _on_instance(node: Comparison | Match) -> list[Filter]:
    """The conditions on one instance of which one must hold, but for languageMaps in any language."""
    inside = node.path.inside
    if inside == (ANY_LANGUAGE,):
        return []
    if isinstance(node, Match):
        members = _members(inside) if inside else (*_COMPOUND, "valueList", "vocab")
        found = [_in_pool(member, inside, _matching(node.pattern)) for member in members]
        if not _is_excluding(node):
            return [_any_of(found)]
        texts = [_in_pool(member, inside, _A_TEXT) for member in members]
        return [{"$and": [_any_of(texts), {"$nor": found}]}]
    found = _comparisons(node)
    if node.operator is not Operator.UNEQUAL:
        return [_any_of(found)] if found else []
    exists = _existence(node.path) or {"type": {"$ne": "LanguageProperty"}}
    return [{"$and": [exists, {"$nor": found}]}]


def _matching(pattern: Pattern) -> _Operators:
    return _A_TEXT if pattern.pcre is None else {"$regex": pattern.pcre}


def _is_excluding(node: Match) -> bool:
    """Whether texts that match are excluded: not if MongoDB cannot tell which these are."""
    return node.negated and node.pattern.pcre is not None


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
    # An $elemMatch with a negation in it uses no index: a bound beside it does.
    negated = not operators.keys().isdisjoint(("$nin", "$not"))
    bound = {name: value for name, value in operators.items() if negated and name in ("$gte", "$lte")}
    return {"$or": [itself, _at(member, inside, {**bound, "$elemMatch": operators})]}


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


def existing_filter(now: str) -> Filter:
    """Entities that have not expired at the instant `now` (clause 4.22), a text of the form of `now_text`."""
    return {"state.expires": {"$not": {"$lte": now}}}


def expired_filter(now: str) -> Filter:
    """Entities that have expired at the instant `now`."""
    return {"state.expires": {"$lte": now}}


def unexpired_filter(now: str) -> Filter:
    """Entities of which no attribute has expired: filters on attributes say the truth about them."""
    return {f"state.{MARK}": {"$not": {"$lte": now}}}


def partly_expired_filter(now: str) -> Filter:
    """Entities of which an attribute has expired but is stored still."""
    return {f"state.{MARK}": {"$lte": now}}


def ids_filter(ids: Iterable[str] = (), id_pattern: str | None = None) -> Filter:
    """Entities with one of the ids, if there are any, and with an id that matches the pattern, if there is one.

    Candidates, if the pattern is not exact. Raises BadRequestData as `parse_pattern`.
    """
    operators: _Operators = {}
    wanted = list(ids)
    if wanted:
        operators["$in"] = wanted
    if id_pattern is not None:
        operators |= _matching(parse_pattern(id_pattern))
    return {"_id": operators} if operators else {}
