r"""The grammar of q (clause 4.9), and its reading into the tree of `tree.py`.

    query       = conjunction *("|" conjunction)                ";" binds tighter than "|"
    conjunction = term *(";" term)
    term        = "(" query ")" | attribute | "!" attribute | attribute comparison
    comparison  = ("==" | "!=") (value *("," value) | ordered ".." ordered)
                | ("<" | "<=" | ">" | ">=") ordered
                | ("~=" | "!~=") pattern
    attribute   = name *("." name) ["[" ("*" | member *("." member)) "]"]
                | name *("." name) "{" [name *("," name) ":"] attribute "}"
    ordered     = number | string | dateTime | date | time
    value       = ordered | "true" | "false" | word

Names begin with a letter and go on with letters, digits, "_", "-"; a prefix and ":" may stand before, and an IRI with
"://" is a name as a whole. In braces stands an attribute of the entities that a Relationship leads to, after the types
that these may have: a name has no prefix there, as the ":" ends the types. A member may be quoted as JSON text. Numbers
and strings are JSON. A word is an unquoted URI, or the short name of a vocabulary term; it ends before ";", "|", ",",
"(" and ")": a URI that holds one of these must be quoted. A pattern is quoted, with `\"` for a quotation mark in it and
all else as it is, or it stands unquoted up to ";", "|" or ")".

More lenient than the clause: "!" for absence, nested parentheses, spaces between parts, quoted members, "-" in names.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken, VisitError

from broker.ngsild.errors import BadRequestData, TooComplexQuery
from broker.ngsild.query.patterns import Pattern, parse_pattern
from broker.ngsild.query.temporals import SHAPES, Temporal, TemporalKind, read_temporal
from broker.ngsild.query.tree import (
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
    invalid_q,
)

MAX_TEXT = 8192
MAX_DEPTH = 50
MAX_TERMS = 200
MAX_PATH = 20
MAX_LINKS = 10

_END_OF_VALUE = r"(?=\.\.|[\s;|,)]|\Z)"
_DATE_TIME, _DATE, _TIME = (
    SHAPES[kind].replace(r"\.", "[.,]") for kind in (TemporalKind.DATE_TIME, TemporalKind.DATE, TemporalKind.TIME)
)

_GRAMMAR = rf"""
start: query
?query: conjunction | disjunction
disjunction: conjunction ("|" conjunction)+
?conjunction: term (";" term)*
?term: "(" query ")"
     | attribute -> existence
     | "!" attribute -> absence
     | attribute EQUALITY values -> comparison
     | attribute EQUALITY range -> comparison
     | attribute ORDER _ordered -> order
     | attribute MATCH pattern -> match

attribute: names | names "[" members "]" | names "{{" _linked "}}" -> into_linked
names: NAME ("." NAME)*
members: ANY | _member ("." _member)*
_member: MEMBER | STRING
_linked: types ":" linked | linked
types: LINKED_NAME ("," LINKED_NAME)*
linked: linked_names | linked_names "[" members "]" -> attribute
      | linked_names "{{" _linked "}}" -> into_linked
linked_names: LINKED_NAME ("." LINKED_NAME)* -> names

values: _value ("," _value)*
range: _ordered ".." _ordered
_value: _ordered | TRUE | FALSE | WORD
_ordered: NUMBER | STRING | DATE_TIME | DATE | TIME
pattern: QUOTED_PATTERN | UNQUOTED_PATTERN

EQUALITY: "==" | "!="
ORDER: ">=" | "<=" | ">" | "<"
MATCH: "~=" | "!~="
NAME.2: /[^\W\d_][\w\-]*:\/\/[^\s\[\]{{}}()<>=!~;|,"]+|[^\W\d_][\w\-]*(?::[^\W\d_][\w\-]*)?/
LINKED_NAME.2: /[^\W\d_][\w\-]*:\/\/[^\s\[\]{{}}()<>=!~;|,"]+|[^\W\d_][\w\-]*/
ANY.2: "*"
MEMBER: /[^\s.\[\]{{}}()<>=!~;|,"*]+/
STRING: /"(?:[^"\\]|\\.)*"/s
TRUE.3: /true{_END_OF_VALUE}/
FALSE.3: /false{_END_OF_VALUE}/
DATE_TIME.6: /{_DATE_TIME}{_END_OF_VALUE}/
DATE.5: /{_DATE}{_END_OF_VALUE}/
TIME.4: /{_TIME}{_END_OF_VALUE}/
NUMBER.3: /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+\-]?[0-9]+)?{_END_OF_VALUE}/
WORD: /[^\W\d_][^\s;|,()"<>]*/
QUOTED_PATTERN.1: /"(?:[^"\\]|\\.)*"/s
UNQUOTED_PATTERN: /(?:\\.|\[(?:\\.|[^\]\\])+\]|\((?:\\.|[^()\\"])*\)|[^\s;|()\["\\])+/
%ignore /[ \t\r\n]+/
"""

_AN_OPERATOR = "an operator (==, !=, <, <=, >, >=, ~=, !~=)"
_EXPECTED = {
    "NAME": "the name of an attribute",
    "LINKED_NAME": "the name of an attribute or type",
    "MEMBER": "the name of a member",
    "ANY": '"*"',
    "STRING": "a quoted string",
    "NUMBER": "a number",
    "DATE_TIME": "a DateTime such as 2026-01-31T12:00:00Z",
    "DATE": "a Date or Time",
    "TIME": "a Date or Time",
    "TRUE": "true",
    "FALSE": "false",
    "WORD": "a URI",
    "EQUALITY": _AN_OPERATOR,
    "ORDER": _AN_OPERATOR,
    "MATCH": _AN_OPERATOR,
    "QUOTED_PATTERN": "a quoted pattern",
    "UNQUOTED_PATTERN": "a pattern",
    "VBAR": '"|"',
    "SEMICOLON": '";"',
    "COMMA": '","',
    "COLON": '":"',
    "LPAR": '"("',
    "RPAR": '")"',
    "LSQB": '"["',
    "RSQB": '"]"',
    "LBRACE": '"{"',
    "RBRACE": '"}"',
    "DOT": '"."',
    "BANG": '"!"',
    "__ANON_0": '".."',
    "$END": "the end of the query",
}


@lru_cache(maxsize=1024)
def parse_q(text: str) -> Node:
    """The tree of a query in decoded form, with names as written.

    Raises BadRequestData, with the place, what was found and what was expected; TooComplexQuery past the bounds above.
    """
    if len(text) > MAX_TEXT:
        raise TooComplexQuery(f"q has {len(text)} characters: expected at most {MAX_TEXT}. Split the query.")
    try:
        node: Node = _PARSER.parse(text)  # type: ignore[assignment]  # the tree builder's start returns a Node
    except UnexpectedInput as error:
        raise _syntax_error(text, error) from None
    except VisitError as error:
        raise error.orig_exc from None
    return node


def _syntax_error(text: str, error: UnexpectedInput) -> BadRequestData:
    ended = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    position: int | None = None if ended else error.pos_in_stream
    at = len(text) if position is None else position
    found = repr(text[at : at + 30]) if at < len(text) else "the end"
    names: Iterable[str] = ()
    if isinstance(error, UnexpectedToken):
        names = error.accepts or error.expected
    elif isinstance(error, UnexpectedCharacters):
        names = error.allowed or ()
    wanted = sorted({_EXPECTED.get(name, name) for name in names})
    expected = " or ".join(wanted) if len(wanted) < 3 else f"{', '.join(wanted[:-1])} or {wanted[-1]}"
    return _error_at(at, f"found {found}, expected {expected}")


def _error_at(position: int | None, what: str) -> BadRequestData:
    return invalid_q(position or 0, what)


@dataclass(frozen=True, slots=True)
class _Target:
    """What a term is about: a path, behind the Relationships (with types) that lead to the entity that has it."""

    path: Path
    links: tuple[tuple[Path, tuple[str, ...]], ...] = ()

    def term(self, node: Node, *, negated: bool = False) -> Node:
        """The term that `node` is for the entity with the path; `negated` if no linked entity may meet it."""
        for depth, (path, types) in reversed(list(enumerate(self.links))):
            node = Linked(path, types, node, negated and depth == 0)
        return node


class _TreeBuilder(Transformer[Token, Any]):
    """Called by the parser for each rule, from the leaves upwards."""

    def start(self, found: list[Node]) -> Node:
        return _bounded(found[0])

    def disjunction(self, terms: list[Node]) -> Node:
        return _bounded(Or(_flattened(Or, terms)))

    def conjunction(self, terms: list[Node]) -> Node:
        return _bounded(And(_flattened(And, terms)))

    def existence(self, found: list[_Target]) -> Node:
        return found[0].term(Exists(found[0].path))

    def absence(self, found: list[_Target]) -> Node:
        target = found[0]
        return target.term(Exists(target.path, negated=not target.links), negated=True)

    def comparison(self, found: list[Any]) -> Node:
        target: _Target
        target, operator, operand = found
        return target.term(Comparison(target.path, Operator(operator), operand))

    def order(self, found: list[Any]) -> Node:
        target: _Target
        target, operator, literal = found
        return target.term(Comparison(target.path, Operator(operator), Values((_literal(literal),))))

    def match(self, found: list[Any]) -> Node:
        target: _Target
        target, operator, pattern = found
        return target.term(Match(target.path, pattern, negated=operator == "!~="))

    def attribute(self, found: list[Any]) -> _Target:
        path, *inside = found
        return _Target(replace(path, inside=inside[0]) if inside else path)

    linked = attribute

    def into_linked(self, found: list[Any]) -> _Target:
        path, *types, target = found
        links = ((path, types[0] if types else ()), *target.links)
        if len(links) > MAX_LINKS:
            raise _error_at(path.at, f"the path leads through {len(links)} entities, expected at most {MAX_LINKS}")
        return _Target(target.path, links)

    def types(self, found: list[Token]) -> tuple[str, ...]:
        return tuple(map(str, found))

    def names(self, found: list[Token]) -> Path:
        return Path(_bounded_path(tuple(map(str, found)), found[0]), at=found[0].start_pos or 0)

    def members(self, found: list[Token]) -> tuple[str, ...]:
        return _bounded_path(tuple(_text(one) if one.type == "STRING" else str(one) for one in found), found[0])

    def values(self, found: list[Token]) -> Values:
        return Values(tuple(_literal(token) for token in found))

    def range(self, found: list[Token]) -> Range:
        low, high = (_literal(token) for token in found)
        if _data_type(low) != _data_type(high):
            wanted = "expected a value of the same type as the start of the range"
            raise _error_at(found[1].start_pos, f"found {str(found[1])!r:.40}, {wanted}")
        return Range(low, high)

    def pattern(self, found: list[Token]) -> Pattern:
        token = found[0]
        text = token[1:-1].replace(r"\"", '"') if token.type == "QUOTED_PATTERN" else str(token)
        try:
            return parse_pattern(text)
        except BadRequestData as error:
            raise _error_at(token.start_pos, error.detail.removesuffix(".")) from None


def _literal(token: Token) -> Literal:
    if token.type == "STRING":
        return _text(token)
    if token.type in ("TRUE", "FALSE"):
        return token.type == "TRUE"
    if token.type == "NUMBER":
        return _number(token)
    if token.type == "WORD":
        return str(token)
    moment = read_temporal(token)
    if moment is None:
        raise _error_at(token.start_pos, f"{str(token)!r} is no date of the calendar")
    return moment


def _number(token: Token) -> int | float:
    if token.isascii() and token.lstrip("-").isdigit():
        whole = int(token)
        if -(2**63) <= whole < 2**63:
            return whole
        raise _error_at(token.start_pos, f"the integer {token} does not fit into 64 bits; write it with an exponent")
    number = float(token)
    if number in (float("inf"), float("-inf")):
        raise _error_at(token.start_pos, f"the number {token} is too large to compare with")
    return number


def _text(token: Token) -> str:
    try:
        text = json.loads(token, strict=False)
        text.encode()
    except ValueError:
        raise _error_at(token.start_pos, f"{str(token)!r:.40} is no JSON string; write a backslash as two") from None
    return str(text)


def _data_type(literal: Literal) -> object:
    if isinstance(literal, Temporal):
        return literal.kind
    return str if isinstance(literal, str) else float


def _flattened(kind: type[And | Or], terms: list[Node]) -> tuple[Node, ...]:
    """The terms, with those of a term of the same kind in its place."""
    parts: list[Node] = []
    for term in terms:
        parts.extend(term.terms if isinstance(term, And | Or) and isinstance(term, kind) else (term,))
    return tuple(parts)


def _count(node: Node) -> int:
    """The terms of a query, and of each list the values."""
    if isinstance(node, And | Or):
        return sum(_count(term) for term in node.terms)
    if isinstance(node, Linked):
        return _count(node.term)
    return len(node.operand.values) if isinstance(node, Comparison) and isinstance(node.operand, Values) else 1


def _depth(node: Node) -> int:
    return 1 + max(_depth(term) for term in node.terms) if isinstance(node, And | Or) else 0


def _bounded(node: Node) -> Node:
    if _count(node) > MAX_TERMS:
        raise TooComplexQuery(f"q has more than {MAX_TERMS} terms and values. Split the query.")
    if _depth(node) > MAX_DEPTH:
        raise TooComplexQuery(f"q is nested deeper than {MAX_DEPTH} levels. Write it with fewer parentheses.")
    return node


def _bounded_path(names: tuple[str, ...], first: Token) -> tuple[str, ...]:
    if len(names) > MAX_PATH:
        raise _error_at(first.start_pos, f"the path has {len(names)} names, expected at most {MAX_PATH}")
    if "" in names:
        raise _error_at(first.start_pos, 'found the empty member name "", expected the name of a member')
    return names


_PARSER = Lark(_GRAMMAR, parser="lalr", lexer="contextual", transformer=_TreeBuilder(), maybe_placeholders=False)
