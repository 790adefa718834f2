"""Context: one combined @context, ready for look-ups in both directions (clauses 4.4, 5.5.7).

Expanding follows the IRI expansion of JSON-LD 1.1 relative to @vocab. Compacting follows its IRI compaction, but for
three points:

- JSON-LD chooses a term by the value that goes with it, too: a term coerced to DateTime is not for an object. The
  attributes of NGSI-LD are objects whatever their terms say. Where no term fits an object in JSON-LD's eyes, a name is
  compacted to the shortest, then alphabetically first, of the terms that have its IRI.
- A short form that would not expand to the same IRI again is not used.
- Where nothing short is left the IRI is rendered (clause 5.5.7), even if a prefix looks like its scheme: JSON-LD has
  an error for that.
"""

import re
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

from broker.jsonld.processing import Term
from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import DEFAULT_VOCABULARY, encode_key
from broker.ngsild.names import unusable_character

_ABSOLUTE_IRI = re.compile(r"(?:[A-Za-z][A-Za-z0-9+\-.]*|_):[^\s]*")
_KEYWORD_LIKE = re.compile(r"@[a-zA-Z]+")

_REMEMBERED_NAMES = 4_096
_LONGEST_REMEMBERED = 512
_LAST_RANK_OF_JSON_LD = 3
_LAST_RANK = 5


class _Names(dict[str, str]):
    """Known names, and those that were asked for lately: a bounded number of them, as clients can send endless ones."""

    __slots__ = ("_lately",)

    def __init__(self, known: Mapping[str, str]) -> None:
        super().__init__(known)
        self._lately: deque[str] = deque()

    def remember(self, name: str, found: str) -> str:
        """`found`, which the next look-up of `name` finds without asking again."""
        if len(name) <= _LONGEST_REMEMBERED:
            if len(self._lately) >= _REMEMBERED_NAMES:
                del self[self._lately.popleft()]
            self._lately.append(name)
            self[name] = found
        return found


class Context:
    """An @context that was loaded and combined with the core; immutable, and equal only to itself.

    `source` is what an answer shows as "@context": a URL or a list of URLs and objects that ends with the core's, or
    with a document that does. `link` is the one URL for a Link header (clause 6.3.5), or None where no single URL
    stands for the @context.
    """

    __slots__ = (
        "__weakref__",
        "_compact_terms",
        "_compacted",
        "_expanded",
        "_keys",
        "_prefixes",
        "_terms",
        "_values",
        "link",
        "source",
    )

    def __init__(self, terms: Mapping[str, Term], source: str | list[Any], link: str | None) -> None:
        self.source = source
        self.link = link
        usable = {name: term.iri for name, term in terms.items() if term.iri is not None and _flaw(term) is None}
        self._terms = terms
        self._prefixes = {name: term.iri for name, term in terms.items() if term.prefix and term.iri is not None}
        self._compact_terms = _compact_terms(terms)
        self._expanded = _Names(usable)
        self._keys = _Names({name: encode_key(iri) for name, iri in usable.items()})
        self._compacted = _Names(_chosen(terms, _LAST_RANK))
        self._values = _Names(_chosen(terms, _LAST_RANK_OF_JSON_LD))

    @property
    def served(self) -> Literal["link", "body"]:
        """Where an answer can name this @context: in a Link header, or only as a member of its body."""
        return "body" if self.link is None else "link"

    def expand(self, term: str) -> str:
        """The IRI of an attribute or entity type name (clause 5.5.7).

        Raises BadRequestData for a name that nobody could use (clause 4.6.2), or that the @context gives to something
        that is no name: null, a JSON-LD keyword, an inverse property, a term with a scoped context.
        """
        iri = self._expanded.get(term)
        return self._expanded.remember(term, self._expand_name(term)) if iri is None else iri

    def expand_vocab(self, value: str) -> str:
        """The IRI of a value of a VocabProperty (clause 4.5.20): as `expand`, but of any text that is not empty."""
        iri = self._expanded.get(value)
        return self._expand_text(value) if iri is None else iri

    def key(self, term: str) -> str:
        """The attribute key of a name: `encode_key(expand(term))`; raises as `expand`."""
        key = self._keys.get(term)
        return self._keys.remember(term, encode_key(self.expand(term))) if key is None else key

    def compact(self, iri: str) -> str:
        """The name that stands for the IRI of an attribute or entity type; the IRI itself if there is none."""
        name = self._compacted.get(iri)
        return self._compacted.remember(iri, self._compact_unknown(iri)) if name is None else name

    def compact_vocab(self, iri: str) -> str:
        """The text that stands for the IRI as a value of a VocabProperty, chosen as JSON-LD does."""
        value = self._values.get(iri)
        return self._values.remember(iri, self._compact_unknown(iri, self._compact_terms)) if value is None else value

    def coercion(self, term: str) -> str | None:
        """What the @context coerces values of `term` to: "@id", "@vocab", "@json", a datatype IRI, or None."""
        definition = self._terms.get(term)
        return None if definition is None else definition.coercion

    def _expand_name(self, name: str) -> str:
        found = unusable_character(name) if not _KEYWORD_LIKE.fullmatch(name) else None
        if found is not None:
            raise BadRequestData(
                f"The name {name!r:.100} holds {found!r}: expected a letter, then letters, digits and underscores, "
                "with a prefix where needed, or an IRI (clause 4.6.2)."
            )
        return self._expand_text(name)

    def _expand_text(self, text: str) -> str:
        definition = self._terms.get(text)
        if definition is not None:
            raise BadRequestData(f"The term {text!r:.100} cannot be used here: the @context {_flaw(definition)}.")
        if not text:
            raise BadRequestData("An empty text stands where a name is expected (clause 4.6.2).")
        if _KEYWORD_LIKE.fullmatch(text):
            raise BadRequestData(f"{text!r:.100} is kept for JSON-LD keywords: expected a name or an IRI.")
        return self._expand_unknown(text)

    def _expand_unknown(self, text: str) -> str:
        prefix, _, suffix = text.partition(":")
        if prefix and prefix != text:
            if prefix == "_" or suffix.startswith("//"):
                return text
            start = self._prefixes.get(prefix)
            if start is not None:
                return start + suffix
            if _ABSOLUTE_IRI.fullmatch(text):
                return text
        return DEFAULT_VOCABULARY + text

    def _compact_unknown(self, iri: str, compact_terms: Mapping[str, str] | None = None) -> str:
        if iri.startswith(DEFAULT_VOCABULARY):
            suffix = iri.removeprefix(DEFAULT_VOCABULARY)
            if suffix and self._expands_back(suffix, iri):
                return suffix
        found = [
            f"{prefix}:{iri[len(start) :]}"
            for prefix, start in self._prefixes.items()
            if ":" not in prefix and iri != start and iri.startswith(start)
        ]
        usable = [name for name in found if self._expands_back(name, iri)]
        if compact_terms is not None and iri in compact_terms:
            usable.append(compact_terms[iri])
        return min(usable, key=_shortest_first, default=iri)

    def _expands_back(self, name: str, iri: str) -> bool:
        """Whether `name`, without being a term itself, stands for `iri`."""
        return name not in self._terms and not _KEYWORD_LIKE.fullmatch(name) and self._expand_unknown(name) == iri


def _flaw(term: Term) -> str | None:
    """Why `term` cannot be used as a name, or None if it can."""
    if term.iri is None:
        return "maps it to null"
    if term.iri.startswith("@"):
        return f"maps it to the JSON-LD keyword {term.iri}"
    if term.reverse:
        return "makes it the inverse of a property, which NGSI-LD does not have"
    if term.scoped:
        return "gives it a scoped @context, which NGSI-LD does not allow (clause 5.5.7)"
    return None


def _rank(term: Term) -> int:
    """The preference of JSON-LD among terms of the same IRI, for an object that has no identifier, or for a type.

    A container of sets comes before none, and in each a coercion to "@id" before no coercion. JSON-LD gives an object
    to no other kind of term; there, terms that say the least about the value come first.
    """
    if term.container in ("", "@set") and not term.tagged and term.coercion in ("@id", None):
        return (2 if term.container == "" else 0) + (0 if term.coercion == "@id" else 1)
    return _LAST_RANK - 1 if term.container in ("", "@set") and term.coercion == "@vocab" else _LAST_RANK


def _chosen(terms: Mapping[str, Term], last_rank: int) -> dict[str, str]:
    """The term for each IRI, among those of a rank up to `last_rank`."""
    chosen = {"@id": "id", "@type": "type"}
    ranks = {"@id": -1, "@type": -1}  # the names of the core, whatever else the client calls them (clause 4.4)
    for name in sorted(terms, key=_shortest_first):
        term = terms[name]
        if term.iri is None or term.reverse or term.scoped:
            continue
        rank = _rank(term)
        if rank <= last_rank and rank < ranks.get(term.iri, _LAST_RANK + 1):
            chosen[term.iri] = name
            ranks[term.iri] = rank
    return chosen


def _compact_terms(terms: Mapping[str, Term]) -> dict[str, str]:
    """The terms that are compact IRIs and mean just what their prefix and suffix say, by their IRI.

    JSON-LD uses them as compact IRIs, whatever they are coerced to.
    """
    found: dict[str, list[str]] = {}
    for name, term in terms.items():
        prefix, _, suffix = name.partition(":")
        start = terms[prefix].iri if prefix != name and prefix in terms else None
        if start and term.iri == start + suffix and suffix:
            found.setdefault(term.iri, []).append(name)
    return {iri: min(names, key=_shortest_first) for iri, names in found.items()}


def _shortest_first(name: str) -> tuple[int, str]:
    return len(name), name
