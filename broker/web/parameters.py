"""URL parameters: parsed once, into typed values; unknown ones are refused (clause 6.3.20)."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from broker.ngsild.errors import BadRequestData, InvalidRequest, NotYetImplemented
from broker.ngsild.names import check_uri
from broker.ngsild.representations import Format

_FORMATS = {
    "normalized": Format.NORMALIZED,
    "concise": Format.CONCISE,
    "simplified": Format.SIMPLIFIED,
    "keyValues": Format.SIMPLIFIED,
}


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

    def words(self, name: str, *, bars: bool = False) -> list[str]:
        """A comma separated list, without empty elements; `bars` separate as commas do."""
        value = self.text(name)
        if value is None:
            return []
        words = [word.strip() for word in (value.replace("|", ",") if bars else value).split(",")]
        if not all(words):
            raise InvalidRequest(
                f"The URL parameter {name!r} is {value!r:.200}: expected words separated by single commas."
            )
        return words

    def projection(self, name: str) -> list[str]:
        """Entity members to be shown or left out (clause 4.21).

        BadRequestData where it goes into linked entities: that takes linked entity retrieval (clause 5.7.2.4).
        """
        words = self.words(name, bars=True)
        for word in words:
            if "{" in word or "}" in word:
                raise BadRequestData(
                    f"The URL parameter {name!r} goes into linked entities with {word!r:.80}, which are not retrieved: "
                    "expected members of the entity itself."
                )
        return words

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

    def finish(self, later: Collection[str] = ()) -> None:
        """Refuse every parameter that no getter asked for: InvalidRequest, or 501 for those of `later`."""
        for name in self._values:
            if name in self._seen:
                continue
            if name in later:
                raise NotYetImplemented(f"The URL parameter {name!r} is not implemented in this version of Vela.")
            raise InvalidRequest(f"The URL parameter {name!r} does not exist for this operation.")


@dataclass(slots=True)
class Presentation:
    """How entities are to be shown: names as the client wrote them."""

    format: Format = Format.NORMALIZED
    sys_attrs: bool = False
    attrs: list[str] = field(default_factory=list)
    pick: list[str] = field(default_factory=list)
    omit: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    lang: str | None = None


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
    attrs, pick, omit = query.words("attrs"), query.projection("pick"), query.projection("omit")
    if attrs and pick:
        raise BadRequestData("The URL parameters attrs and pick exclude each other: attrs is deprecated, use pick.")
    datasets = query.words("datasetId")
    for dataset in datasets:
        if dataset != "@none":
            check_uri(dataset, "datasetId")
    return Presentation(_FORMATS[chosen], "sysAttrs" in options, attrs, pick, omit, datasets, query.text("lang"))


def read_page(query: Query, options: set[str], default: int, highest: int) -> Page:
    """limit, offset and count. BadRequestData for a limit of 0 without count, or beyond `highest`."""
    count = query.boolean("count") or "count" in options
    limit = query.integer("limit")
    if limit == 0 and not count:
        raise BadRequestData("A limit of 0 asks for nothing: it is allowed only together with count=true.")
    if limit is not None and limit > highest:
        raise BadRequestData(f"The limit {limit} is too high: at most {highest} results are given at once; use offset.")
    return Page(default if limit is None else limit, query.integer("offset") or 0, count)


PRESENTATION_OPTIONS = frozenset({*_FORMATS, "sysAttrs"})
