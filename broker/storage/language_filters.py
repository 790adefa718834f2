"""Conditions on a languageMap in any language: an aggregation expression, as a find cannot name unknown members."""

from typing import Any

from broker.ngsild.query.tree import Comparison, Match, Operator, Range

_ORDER = {
    Operator.LESS: "$lt",
    Operator.LESS_OR_EQUAL: "$lte",
    Operator.GREATER: "$gt",
    Operator.GREATER_OR_EQUAL: "$gte",
}
_EMPTY: list[Any] = []


def in_any_language(node: Comparison | Match) -> dict[str, Any] | None:
    """The filter for entities with a LanguageProperty that meets the term in any language; None if none can.

    For a pattern that MongoDB may not run it selects all with a LanguageProperty, as candidates.
    """
    names = node.path.names
    if isinstance(node, Match) and node.pattern.pcre is None:
        return _over(names, {"type": "LanguageProperty"})
    dotted = "".join(f"attributes.{name}." for name in names)
    guard = {f"state.{dotted}type": "LanguageProperty"}
    test = _test(node)
    if test is None:
        if isinstance(node, Comparison) and node.operator is Operator.UNEQUAL:
            return _over(names, {"type": "LanguageProperty"})
        return None
    leaf = f"$$at{len(names) - 1}"
    met: Any = {"$anyElementTrue": [{"$map": {"input": _texts(leaf), "as": "text", "in": test}}]}
    if isinstance(node, Match) and node.negated:
        met = {"$and": [{"$ne": [_texts(leaf), _EMPTY]}, {"$not": [met]}]}
    elif isinstance(node, Comparison) and node.operator is Operator.UNEQUAL:
        met = {"$not": [met]}
    met = {"$and": [{"$eq": [f"{leaf}.type", "LanguageProperty"]}, met]}
    for depth in range(len(names) - 1, -1, -1):
        holder = f"$$at{depth - 1}" if depth else "$$entity"
        instances = {"$ifNull": [f"{holder}.attributes.{names[depth]}", _EMPTY]}
        met = {"$anyElementTrue": [{"$map": {"input": instances, "as": f"at{depth}", "in": met}}]}
    return {**guard, "$expr": {"$let": {"vars": {"entity": {"$first": "$state"}}, "in": met}}}


def _over(names: tuple[str, ...], condition: dict[str, Any]) -> dict[str, Any]:
    for name in reversed(names):
        condition = {f"attributes.{name}": {"$elemMatch": condition}}
    return {"state": {"$elemMatch": condition}}


def _texts(instance: str) -> dict[str, Any]:
    """All texts of a languageMap, those in arrays included, as one array."""
    value = "$$this.v"
    return {
        "$reduce": {
            "input": {"$ifNull": [{"$objectToArray": f"{instance}.languageMap"}, _EMPTY]},
            "initialValue": _EMPTY,
            "in": {"$concatArrays": ["$$value", {"$cond": [{"$isArray": value}, value, [value]]}]},
        }
    }


def _test(node: Comparison | Match) -> dict[str, Any] | None:
    """The expression that one text must meet; None if texts cannot be compared with the operand."""
    text = "$$text"
    if isinstance(node, Match):
        return {"$regexMatch": {"input": text, "regex": {"$literal": node.pattern.pcre}}}
    operand = node.operand
    if isinstance(operand, Range):
        if not isinstance(operand.low, str):
            return None
        return {"$and": [{"$gte": [text, {"$literal": operand.low}]}, {"$lte": [text, {"$literal": operand.high}]}]}
    literals = [literal for literal in operand.values if isinstance(literal, str)]
    if not literals:
        return None
    if node.operator in _ORDER:
        return {_ORDER[node.operator]: [text, {"$literal": literals[0]}]}
    return {"$in": [text, {"$literal": literals}]}
