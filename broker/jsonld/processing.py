"""From @context objects to term definitions, by PyLD. The only module that knows PyLD.

Two rules of NGSI-LD shape what PyLD is given:

*The core @context has the last word* (clauses 4.4, 5.5.7). Its terms replace those of the client, whose definitions
simply lose: as only the core is protected, "@protected" in a client's @context has no effect, and no redefinition is
an error. The core is also what a client's @context is read on top of, so that definitions may use its prefixes and
terms ("@type": "DateTime") wherever the client put the core's URL.

*A client's @context holds no scoped contexts* (clause 5.5.7), which could change what the core means inside an
attribute or type. In an @context that the client wrote into the request a scoped context is refused at once. In a
downloaded one, which the client may have no hand in, only the term that carries it is refused, and only when it is
used: a scoped context takes effect nowhere but inside its own term, so all other terms mean what they would mean
without it. An empty scoped context changes nothing, and is ignored.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

from pyld import jsonld
from pyld.context_resolver import ContextResolver

from broker.jsonld.core import core_document
from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import DEFAULT_VOCABULARY

_KEYWORD_LIKE = re.compile(r"@[a-zA-Z]+")
_PYLD_FAILURES = (
    jsonld.JsonLdError,
    # PyLD checks most of the syntax, but trips over some malformed definitions and over endless prefix chains.
    *(AttributeError, KeyError, IndexError, TypeError, ValueError, RecursionError),
)


@dataclass(frozen=True, slots=True)
class Term:
    """What an @context says about one term.

    `iri` is the IRI or JSON-LD keyword it stands for, None where the @context maps it to null. `coercion` is "@id",
    "@vocab", "@json", a datatype IRI or None. `container` is the keywords of "@container", sorted and joined, "" for
    none. `tagged` says that a language or direction goes with it; `prefix`, that it may start a compact IRI; `reverse`,
    that it names the inverse of a property; `scoped`, that it carries a scoped context.
    """

    iri: str | None
    coercion: str | None = None
    container: str = ""
    tagged: bool = False
    prefix: bool = False
    reverse: bool = False
    scoped: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One @context object, and where it is from: the URL of the document, or None if it stands in the request."""

    content: Mapping[str, Any]
    url: str | None = None

    @property
    def name(self) -> str:
        """How error texts call it."""
        return "of the request" if self.url is None else self.url


def core_terms() -> Mapping[str, Term]:
    """The terms of the core @context."""
    return _core()[1]


def combined_terms(parts: Sequence[Part]) -> dict[str, Term]:
    """The terms of `parts` in their order and of the core @context after them.

    Raises BadRequestData if a part is not valid JSON-LD, or holds what clause 5.5.7 forbids.
    """
    active = _core()[0]
    scoped: set[str] = set()
    for part in parts:
        content = _admissible(part)
        scoped.difference_update(content)
        scoped.update(_scoped_terms(part))
        active = _process(active, content, part)
    return {**_terms(active, scoped), **core_terms()}


@cache
def _core() -> tuple[Any, Mapping[str, Term]]:
    # Scoped contexts of the core refer to inner members of one property's value, which are no names for Vela. Its
    # protection is what `combined_terms` is for.
    content = {
        term: {key: item for key, item in definition.items() if key != "@context"}
        if isinstance(definition, dict)
        else definition
        for term, definition in core_document()["@context"].items()
        if term != "@protected"
    }
    initial = jsonld.JsonLdProcessor().process_context(None, None, _options())
    active = _process(initial, content, Part(content))
    return active, _terms(active, ())


def _process(active: Any, content: Mapping[str, Any], part: Part) -> Any:
    try:
        return jsonld.JsonLdProcessor().process_context(active, dict(content), _options())
    except _PYLD_FAILURES as error:
        raise BadRequestData(f"The @context {part.name} is not valid JSON-LD: {_reason(error)}.") from error


def _options() -> dict[str, Any]:
    def refuse(url: str, _: Any) -> NoReturn:
        raise ValueError(f"{url} was left to PyLD to load")

    # A resolver of its own: the one that PyLD shares keeps whatever clients send.
    return {
        "processingMode": "json-ld-1.1",
        "contextResolver": ContextResolver({}, refuse),
        "documentLoader": refuse,
    }


def _reason(error: Exception) -> str:
    if not isinstance(error, jsonld.JsonLdError):
        return "its prefixes refer to each other too deeply" if isinstance(error, RecursionError) else "malformed term"
    text = str(error.args[0]).removeprefix("Invalid JSON-LD syntax; ").rstrip(".")
    term = (error.details or {}).get("term")
    return f"{error.code} ({text}{f', at term {term!r:.100}' if term else ''})"


def _admissible(part: Part) -> dict[str, Any]:
    """The content of `part` without what has no effect on names in NGSI-LD; BadRequestData for what is forbidden."""
    if part.content.get("@propagate", True) is not True:
        raise BadRequestData(
            f'The @context {part.name} has "@propagate": {part.content["@propagate"]!r:.100}; NGSI-LD has one @context '
            "for the whole document (clause 5.5.7). Remove the member."
        )
    content: dict[str, Any] = {}
    for key, value in part.content.items():
        if key in ("@protected", "@propagate") or (key in ("@language", "@direction") and value is None):
            continue
        if key == "@vocab" and value is None:
            content[key] = DEFAULT_VOCABULARY
        elif not _ignored_by_json_ld(key, value):
            content[key] = _without_scope(value)
    if part.url is None:
        _refuse_scoped_contexts(part)
    return content


def _without_scope(definition: Any) -> Any:
    if not isinstance(definition, dict):
        return definition
    return {key: value for key, value in definition.items() if key not in ("@context", "@protected")}


def _ignored_by_json_ld(term: str, definition: Any) -> bool:
    """Whether JSON-LD ignores the definition because term or IRI look like a keyword of its future."""
    iris = [definition]
    if isinstance(definition, dict):
        iris = [definition.get("@id"), definition.get("@reverse")]
    return any(
        isinstance(name, str) and _KEYWORD_LIKE.fullmatch(name) is not None and name not in jsonld.KEYWORDS
        for name in (term, *iris)
    )


def _scoped_terms(part: Part) -> list[str]:
    return [
        term
        for term, definition in part.content.items()
        if isinstance(definition, dict) and definition.get("@context", {}) not in ({}, [])
    ]


def _refuse_scoped_contexts(part: Part) -> None:
    for term, definition in part.content.items():
        if isinstance(definition, dict) and "@context" in definition:
            raise BadRequestData(
                f"The term {term!r:.100} in the @context {part.name} has a scoped @context, which NGSI-LD does not "
                "allow (clause 5.5.7). Define the inner terms at the top level of the @context.",
                pointer="/@context",
            )


def _terms(active: Any, scoped: Iterable[str]) -> dict[str, Term]:
    marked = frozenset(scoped)
    return {name: _term(mapping, name in marked) for name, mapping in active["mappings"].items()}


def _term(mapping: Mapping[str, Any] | None, scoped: bool) -> Term:
    if mapping is None:
        return Term(None)
    coercion = mapping.get("@type")
    return Term(
        iri=mapping.get("@id"),
        coercion=None if coercion == "@none" else coercion,
        container="".join(sorted(mapping.get("@container", ()))),
        tagged="@type" not in mapping and ("@language" in mapping or "@direction" in mapping),
        prefix=mapping["_prefix"],
        reverse=mapping["reverse"],
        scoped=scoped,
    )
