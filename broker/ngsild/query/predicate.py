"""From the syntax tree of q to a predicate over stored entities (clause 4.9). Names must have been expanded.

A term holds if any instance of the attribute (and of each sub-attribute of its path) meets it. Within one instance the
target is a pool of values: the value itself, or the elements if it is an array; of a LanguageProperty the texts of the
language asked for, or of all. Then

    ==  <  <=  >  >=  ~=    hold if any value of the pool meets them
    !=                      holds if the target exists and == does not hold
    !~=                     holds if a text is in the pool and ~= does not hold

Values of different JSON types are never equal, and without order. Numbers compare as numbers whether written as
integers or not; DateTimes, Dates and Times compare by instant with texts of that shape, and with JSON-LD typed values
that hold one in "@value". Texts compare by code point. A Relationship has == and != only.

A term about linked entities holds if the Relationship leads to one of those that meet it (`Linked.ids`).
"""

from collections.abc import Callable, Mapping
from typing import Any

from broker.ngsild.errors import NotYetImplemented
from broker.ngsild.model import VALUE_MEMBERS, Entity, Instance
from broker.ngsild.query.links import linked_ids
from broker.ngsild.query.temporals import KEY_READERS, Temporal
from broker.ngsild.query.tree import (
    ANY_LANGUAGE,
    And,
    Comparison,
    Exists,
    Linked,
    Literal,
    Match,
    Node,
    Operator,
    Or,
    Path,
    Range,
    Values,
)

Predicate = Callable[[Entity], bool]
_Test = Callable[[Any], bool]

TYPED_VALUE = "@value"
_MISSING: Any = object()
_RELATIONSHIPS = ("Relationship", "ListRelationship")
_COMPOUND = ("Property", "GeoProperty", "JsonProperty")
_USUAL, _TEXTUAL, _OF_URI, _OF_LANGUAGES = range(4)
_DIRECT = {kind: (member, _USUAL) for kind, member in VALUE_MEMBERS.items()}
_DIRECT |= {kind: (VALUE_MEMBERS[kind], _OF_URI) for kind in _RELATIONSHIPS}
_DIRECT |= {
    "VocabProperty": (VALUE_MEMBERS["VocabProperty"], _TEXTUAL),
    "LanguageProperty": ("languageMap", _OF_LANGUAGES),
}
"""By type of attribute: the member that holds its value, and the place of the test for it in a `_direct_test`.

One table for all of them: there may be a hundred thousand subscriptions, each with a predicate of its own.
"""


def compile_predicate(node: Node) -> Predicate:
    """The predicate of an expanded tree; it takes about a microsecond per comparison that it reaches.

    NotYetImplemented for a term about linked entities whose ids nobody has found out.
    """
    if isinstance(node, And | Or):
        parts = [compile_predicate(term) for term in node.terms]
        return _all_of(parts) if isinstance(node, And) else _any_of(parts)
    if isinstance(node, Linked):
        return _linked_test(node)
    if isinstance(node, Exists):
        exists = _over(node.path, _existence(node.path))
        return _negation(exists) if node.negated else exists
    member = node.path.member
    return _over(node.path, _instance_test(node) if member is None else _member_test(node, member))


def _all_of(parts: list[Predicate]) -> Predicate:
    def all_hold(entity: Entity) -> bool:
        for part in parts:  # noqa: SIM110 - a loop costs half of what all() with a generator does
            if not part(entity):
                return False
        return True

    return all_hold


def _any_of(parts: list[Predicate]) -> Predicate:
    def any_holds(entity: Entity) -> bool:
        for part in parts:  # noqa: SIM110 - as above
            if part(entity):
                return True
        return False

    return any_holds


def _negation(test: _Test) -> _Test:
    return lambda value: not test(value)


def _never(_value: Any) -> bool:
    return False


def _always(_value: Any) -> bool:
    return True


def _over(path: Path, test: _Test) -> Predicate:
    """Whether any instance that the path leads to meets `test`; the entity itself if the path has no names."""
    for name in reversed(path.names):
        test = _any_instance(name, test)
    return test


def _any_instance(key: str, test: _Test) -> _Test:
    def any_instance(holder: Mapping[str, Any]) -> bool:
        attributes = holder.get("attributes")
        if attributes and key in attributes:
            for instance in attributes[key]:
                if test(instance):
                    return True
        return False

    return any_instance


def _linked_test(node: Linked) -> Predicate:
    ids = node.ids
    if ids is None:
        raise NotYetImplemented(
            "q follows a Relationship into linked entities with braces: this version of Vela cannot do so in this "
            "operation. Query the linked entities by themselves, then compare the Relationship with their ids."
        )
    leads_to_one = _over(node.path, lambda instance: not ids.isdisjoint(linked_ids(instance)))
    return _negation(leads_to_one) if node.negated else leads_to_one


def _existence(path: Path) -> Callable[[Instance], bool]:
    if path.member is not None:
        member = path.member
        return lambda holder: member in holder
    if not path.inside:
        return _always
    targets = _targets(path.inside)

    def exists(instance: Instance) -> bool:
        target = targets.get(instance["type"])
        return target is not None and target(instance) is not _MISSING

    return exists


def _member_test(node: Comparison | Match, member: str) -> Callable[[Instance], bool]:
    test = _pool_test(node)

    def compare(holder: Mapping[str, Any]) -> bool:
        value = holder.get(member, _MISSING)
        return value is not _MISSING and test(value)

    return compare


def _instance_test(node: Comparison | Match) -> Callable[[Instance], bool]:
    """Compares the target in one instance, in the way of the instance's type."""
    usual, textual = _pool_test(node), _pool_test(node, texts_only=True)
    compared_by_uri = isinstance(node, Comparison) and node.operator in (Operator.EQUAL, Operator.UNEQUAL)
    if not node.path.inside:
        return _direct_test(usual, textual, textual if compared_by_uri else _never)
    targets = _targets(node.path.inside)

    def compare(instance: Instance) -> bool:
        kind = instance["type"]
        if kind not in targets:
            return False
        value = targets[kind](instance)
        return value is not _MISSING and (textual if kind == "LanguageProperty" else usual)(value)

    return compare


def _direct_test(usual: _Test, textual: _Test, of_uri: _Test) -> Callable[[Instance], bool]:
    tests = (usual, textual, of_uri, lambda texts: textual(_all_languages(texts)))

    def compare(instance: Instance) -> bool:
        member, test = _DIRECT[instance["type"]]
        return tests[test](instance[member])

    return compare


def _targets(inside: tuple[str, ...]) -> dict[str, Callable[[Instance], Any]]:
    """How to get at the target in an instance, by the type of attribute; types without such a target are left out."""
    if inside == (ANY_LANGUAGE,):
        return {"LanguageProperty": lambda instance: _all_languages(instance["languageMap"])}
    targets = {kind: _walk(VALUE_MEMBERS[kind], inside) for kind in _COMPOUND}
    if len(inside) == 1:
        targets["LanguageProperty"] = _walk("languageMap", inside)
    return targets


def _walk(member: str, inside: tuple[str, ...]) -> Callable[[Instance], Any]:
    def walk(instance: Instance) -> Any:
        value = instance[member]
        for key in inside:
            if not isinstance(value, dict) or key not in value:
                return _MISSING
            value = value[key]
        return value

    return walk


def _all_languages(texts: Mapping[str, Any]) -> list[str]:
    values = list(texts.values())
    if list not in map(type, values):
        return values
    return [text for value in values for text in (value if isinstance(value, list) else (value,))]


def _pool_test(node: Comparison | Match, *, texts_only: bool = False) -> _Test:
    """Whether a target value, as a pool, meets the term; with `texts_only` only the texts of its operand count."""
    if isinstance(node, Match):
        search = node.pattern.matcher()
        found = _in_pool(lambda value: value.__class__ is str and search(value) is not None)
        if not node.negated:
            return found
        has_text = _in_pool(lambda value: isinstance(value, str))
        return lambda value: has_text(value) and not found(value)
    operator = Operator.EQUAL if node.operator is Operator.UNEQUAL else node.operator
    test = _in_pool_any(_tests(operator, node.operand, str if texts_only else object))
    typed = [] if texts_only else _tests(operator, node.operand, Temporal)
    if typed:
        test = _in_typed_value(_in_pool_any(typed), test)
    return _negation(test) if node.operator is Operator.UNEQUAL else test


def _tests(operator: Operator, operand: Values | Range, kind: type) -> list[_Test]:
    """A test for each literal of one kind, or for the range if it is of that kind."""
    if isinstance(operand, Range):
        return [_range_test(operand.low, operand.high)] if isinstance(operand.low, kind) else []
    return [_test(operator, literal) for literal in operand.values if isinstance(literal, kind)]


def _in_pool_any(tests: list[_Test]) -> _Test:
    if not tests:
        return _never
    return _in_pool(tests[0] if len(tests) == 1 else _any_of(tests))


def _in_pool(test: _Test) -> _Test:
    def in_pool(value: Any) -> bool:
        if value.__class__ is list:
            for element in value:  # noqa: SIM110 - as above
                if test(element):
                    return True
            return False
        return test(value)

    return in_pool


def _in_typed_value(typed: _Test, plain: _Test) -> _Test:
    return lambda value: typed(value.get(TYPED_VALUE)) if value.__class__ is dict else plain(value)


def _range_test(low: Literal, high: Literal) -> _Test:
    above, below = _test(Operator.GREATER_OR_EQUAL, low), _test(Operator.LESS_OR_EQUAL, high)
    return lambda value: above(value) and below(value)


def _test(operator: Operator, literal: Literal) -> _Test:
    """Whether one value that is no array stands in a relation to a literal."""
    if isinstance(literal, Temporal):
        return _temporal_test(operator, literal)
    if isinstance(literal, bool):
        return lambda value: value is literal
    if isinstance(literal, str):
        return _text_test(operator, literal)
    return _number_test(operator, literal)


def _temporal_test(operator: Operator, moment: Temporal) -> _Test:
    read_key = KEY_READERS[moment.kind]
    compare = _text_test(operator, moment.key)

    def at_instant(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        key = read_key(value)
        return key is not None and compare(key)

    return at_instant


def _text_test(operator: Operator, text: str) -> _Test:
    match operator:
        case Operator.LESS:
            return lambda value: value.__class__ is str and value < text
        case Operator.LESS_OR_EQUAL:
            return lambda value: value.__class__ is str and value <= text
        case Operator.GREATER:
            return lambda value: value.__class__ is str and value > text
        case Operator.GREATER_OR_EQUAL:
            return lambda value: value.__class__ is str and value >= text
        case _:
            return lambda value: bool(value == text)


def _number_test(operator: Operator, number: float) -> _Test:
    match operator:
        case Operator.LESS:
            return lambda value: _is_number(value) and value < number
        case Operator.LESS_OR_EQUAL:
            return lambda value: _is_number(value) and value <= number
        case Operator.GREATER:
            return lambda value: _is_number(value) and value > number
        case Operator.GREATER_OR_EQUAL:
            return lambda value: _is_number(value) and value >= number
        case _:
            return lambda value: value == number and value is not True and value is not False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and value is not True and value is not False
