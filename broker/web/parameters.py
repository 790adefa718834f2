"""URL parameters: parsed once, into typed values; unknown ones are refused (clause 6.3.20)."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from broker.ngsild.errors import BadRequestData, InvalidRequest
from broker.ngsild.languages import parse_language_ranges
from broker.ngsild.linking import Joining
from broker.ngsild.names import check_uri
from broker.ngsild.projections import Projection, parse_projection
from broker.ngsild.representations import Format
from broker.web.joining import make_joining

_FORMATS = {
    "normalized": Format.NORMALIZED,
    "concise": Format.CONCISE,
    "simplified": Format.SIMPLIFIED,
    "keyValues": Format.SIMPLIFIED,
}


def query_items(target: str) -> list[tuple[str, str]]:
    """The URL parameters of a request target, decoded. InvalidRequest if they are not UTF-8."""
    query = target.partition("?")[2].partition("#")[0]
    try:
        query.encode()
        return parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeError:
        raise InvalidRequest(f"The URL parameters {query!r:.300} are not UTF-8 after percent-decoding.") from None


class Query:
    """The query part of a URL. Every getter marks its parameter as known; `finish` refuses the rest."""

    def __init__(self, items: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, str] = {}
        self._seen: set[str] = set()
        for name, value in items:
            if name in self._values:
                raise InvalidRequest(f"The URL parameter {name!r} occurs more than once: expected it once.")
            self._values[name] = value

    def text(self, name: str) -> str | None:
        """A text, or None where the parameter is missing; InvalidRequest if it is there without a value."""
        self._seen.add(name)
        value = self._values.get(name)
        if value == "":
            raise InvalidRequest(f"The URL parameter {name!r} has no value.")
        return value

    def optional(self, name: str) -> str | None:
        """A text that may be empty, or None where the parameter is missing."""
        self._seen.add(name)
        return self._values.get(name)

    def words(self, name: str) -> list[str]:
        """A comma separated list, without empty elements."""
        value = self.text(name)
        if value is None:
            return []
        words = [word.strip() for word in value.split(",")]
        if not all(words):
            raise InvalidRequest(
                f"The URL parameter {name!r} is {value!r:.200}: expected words separated by single commas."
            )
        return words

    def projection(self, name: str) -> list[str]:
        """Entity members to be shown or left out (clause 4.21).

        BadRequestData where it goes into linked entities: that takes linked entity retrieval (clause 5.7.2.4).
        """
        value = self.text(name)
        if value is None:
            return []
        projection = parse_projection(value, name)
        projection.check_depth(0, name)
        return list(projection)

    def nested_projection(self, name: str) -> Projection:
        """Entity members to be shown or left out, and those of linked entities (clause 4.21); none if it is missing."""
        value = self.text(name)
        return Projection() if value is None else parse_projection(value, name)

    def integer(self, name: str) -> int | None:
        """A whole number, zero or more."""
        value = self.text(name)
        if value is None:
            return None
        if not value.isascii() or not value.isdigit() or len(value) > 18:
            raise BadRequestData(f"The URL parameter {name!r} is {value!r:.80}: expected a whole number, zero or more.")
        return int(value)

    def boolean(self, name: str) -> bool:
        """True or false; a missing parameter is false."""
        value = self.text(name)
        if value is None:
            return False
        if value.lower() not in ("true", "false"):
            raise BadRequestData(f"The URL parameter {name!r} is {value!r:.80}: expected true or false.")
        return value.lower() == "true"

    def options(self, allowed: Collection[str]) -> set[str]:
        """The words of `options`; InvalidRequest for one that the operation does not know (clause 6.3.20)."""
        words = self.words("options")
        for word in words:
            if word not in allowed:
                raise InvalidRequest(
                    f"The option {word!r} does not exist for this operation: expected {', '.join(sorted(allowed))}."
                )
        return set(words)

    def finish(self) -> None:
        """InvalidRequest for a parameter that no getter asked for (clause 6.3.20)."""
        for name in self._values:
            if name not in self._seen:
                raise InvalidRequest(f"The URL parameter {name!r} does not exist for this operation.")


@dataclass(slots=True)
class Presentation:
    """How entities are to be shown: names as the client wrote them."""

    format: Format = Format.NORMALIZED
    sys_attrs: bool = False
    attrs: list[str] = field(default_factory=list)
    pick: Projection = field(default_factory=Projection)
    omit: Projection = field(default_factory=Projection)
    datasets: list[str] = field(default_factory=list)
    lang: str | None = None
    geometry_property: str | None = None
    joining: Joining | None = None


@dataclass(slots=True)
class Page:
    """Which part of a result, and whether to count it (clauses 5.5.9, 6.3.10, 6.3.13)."""

    limit: int
    offset: int = 0
    count: bool = False


def read_presentation(query: Query, options: set[str]) -> Presentation:
    """The parameters of clauses 6.3.7 and 6.3.11, and projection (4.21)."""
    form = query.text("format")
    if form is not None and form not in _FORMATS:
        raise InvalidRequest(f"The format {form!r:.80} does not exist: expected one of {', '.join(_FORMATS)}.")
    chosen = form or next((name for name in _FORMATS if name in options), "normalized")
    attrs, pick, omit = query.words("attrs"), query.nested_projection("pick"), query.nested_projection("omit")
    joining = make_joining(query.text("join"), query.integer("joinLevel"), query.words("containedBy"))
    check_projections(attrs, pick, omit, joining)
    datasets = query.words("datasetId")
    for dataset in datasets:
        if dataset != "@none":
            check_uri(dataset, "datasetId")
    lang = query.text("lang")
    if lang is not None:
        parse_language_ranges(lang)
    sys_attrs, geometry = "sysAttrs" in options, query.text("geometryProperty")
    return Presentation(_FORMATS[chosen], sys_attrs, attrs, pick, omit, datasets, lang, geometry, joining)


def check_projections(
    attrs: Collection[str], pick: Projection, omit: Projection, joining: Joining | None = None
) -> None:
    """BadRequestData where they contradict each other, or go on into linked entities that are not retrieved."""
    for name, given in (("pick", pick), ("omit", omit)):
        if attrs and given:
            raise BadRequestData(f"attrs and {name} exclude each other: attrs is deprecated, use pick and omit.")
        given.check_depth(joining.level if joining is not None else 0, name)
    both = [name for name in pick if name in omit and omit.members[name] is None]
    if both:
        raise BadRequestData(f"pick and omit both name {both[0]!r:.80}: is it to be shown or left out?")


def read_page(query: Query, options: set[str], default: int, highest: int) -> Page:
    """limit, offset and count. BadRequestData for a limit of 0 without count, or beyond `highest`."""
    count = query.boolean("count") or "count" in options
    limit = query.integer("limit")
    if limit == 0 and not count:
        raise BadRequestData("A limit of 0 asks for nothing: it is allowed only together with count=true.")
    if limit is not None and limit > highest:
        raise BadRequestData(
            f"The limit {limit} is too high: at most {highest} results are given at once; follow the link to the next "
            "page for more."
        )
    return Page(default if limit is None else limit, query.integer("offset") or 0, count)


PRESENTATION_OPTIONS = frozenset({*_FORMATS, "sysAttrs"})
