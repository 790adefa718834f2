"""The Query of a request body (clause 5.2.23): its members become the parameters that a URL has.

`read_document_parameters` reads what stands in the URL all the same: pages, formats, the local scope.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

from broker.jsonld.context import Context
from broker.ngsild.durations import parse_duration
from broker.ngsild.errors import BadRequestData, NgsiLdError
from broker.ngsild.languages import parse_language_ranges
from broker.ngsild.linking import Joining
from broker.ngsild.names import check_uri
from broker.ngsild.projections import Projection, combined, parse_projection
from broker.ngsild.query.grammar import parse_q
from broker.ngsild.query.patterns import parse_pattern
from broker.ngsild.query.scopes import parse_scope_q
from broker.ngsild.query.types import parse_types
from broker.web.joining import make_joining
from broker.web.map_parameters import MapParameters, read_map_parameters
from broker.web.parameters import (
    PRESENTATION_OPTIONS,
    Presentation,
    Query,
    check_projections,
    read_page,
    read_presentation,
)
from broker.web.query_parameters import (
    QueryParameters,
    SelectorParameters,
    check_place,
    entity_ordering,
    geo_query,
)
from broker.web.services import Services

_TEMPORAL = ("temporalQ", "aggrParams")
_PRESENTED = ("attrs", "pick", "omit", "datasetId", "lang", "geometryProperty")
_SELECTED = ("entities", "q", "geoQ", "scopeQ", "csf", "expandValues", "jsonKeys", "ordering", "splitEntities")
_GEO = ("georel", "geometry", "coordinates", "geoproperty")
_ORDERING = ("orderBy", "collation", "coordinates", "geometry")
_SELECTOR = ("type", "id", "idPattern")
_JOINED = ("join", "joinLevel", "containedBy")
_LIFETIME = "entityMapLifetime"
_MAPS = ("entityMap", _LIFETIME)


def read_document_parameters(query: Query, services: Services) -> QueryParameters:
    """Read the URL parameters of a query whose conditions are in the body."""
    options = query.options({*PRESENTATION_OPTIONS, "count"})
    settings = services.settings
    parameters = QueryParameters(
        *(None, [], None, None, None, None, None, None, None),  # what the body selects by
        local=query.boolean("local"),
        distributed=query.text("local") is not None and not query.boolean("local"),
        presentation=read_presentation(query, options),
        page=read_page(query, options, settings.query_limit_default, settings.query_limit_max),
        cursor=query.text("cursor"),
        by_offset=query.text("offset") is not None,
        maps=read_map_parameters(query),
    )
    query.finish()
    check_place(parameters)
    return parameters


def read_query_document(body: Any, given: QueryParameters, context: Context) -> QueryParameters:
    """The parameters of the Query in `body`, beside those of the URL.

    BadRequestData, with a pointer to the member, for one that makes no sense, that no Query has, or that the URL has as
    well.
    """
    document = _object(body, "")
    if document.get("type") != "Query":
        found = document.get("type")
        raise BadRequestData(f'type is {found!r:.80}: expected "Query".', pointer="/type")
    for name in document:
        if name not in (*_PRESENTED, *_SELECTED, *_JOINED, *_MAPS, *_TEMPORAL, "type"):
            raise BadRequestData(f"{name!r:.80} is no member of a Query.", pointer=f"/{name}")
        if name in _TEMPORAL:
            raise BadRequestData(
                f"{name} is for queries of the temporal evolution of entities: leave it out.", pointer=f"/{name}"
            )
    read = _Members(document, "")
    geo, ordering = read.part("geoQ", _GEO), read.part("ordering", _ORDERING)
    parameters = replace(
        given,
        presentation=_presentation(read, document, given.presentation),
        selectors=_selectors(document),
        q=read.text("q", parse_q),
        scope_q=read.text("scopeQ", parse_scope_q),
        csf=read.text("csf", parse_q),
        expand_values=read.words("expandValues"),
        json_keys=read.words("jsonKeys"),
        split_entities=read.boolean("splitEntities"),
        maps=_maps(read, given.maps),
        georel=geo.text("georel"),
        geometry=geo.text("geometry"),
        coordinates=geo.coordinates("coordinates", textual=True),
        geoproperty=geo.text("geoproperty"),
        order_by=ordering.texts("orderBy"),
        collation=ordering.text("collation"),
        order_from=ordering.coordinates("coordinates", textual=False),
        order_geometry=ordering.text("geometry"),
    )
    _pointed("/geoQ", lambda one: geo_query(one, context), parameters)
    _pointed("/ordering", lambda one: entity_ordering(one, context), parameters)
    if len(parameters.selectors) == 1:  # says what a URL can say as well
        (one,) = parameters.selectors
        ids, pattern = one.ids, None if one.ids else one.id_pattern
        return replace(parameters, selectors=[], type=one.type, ids=ids, id_pattern=pattern)
    return parameters


class _Members:
    """The members of an object in the body; each getter raises BadRequestData with a pointer to its member."""

    def __init__(self, members: dict[str, Any], pointer: str) -> None:
        self._members = members
        self._pointer = pointer

    def part(self, name: str, known: tuple[str, ...]) -> "_Members":
        """The members of an inner object; none where it is missing."""
        pointer = f"{self._pointer}/{name}"
        members = _object(self._members[name], pointer) if name in self._members else {}
        for inner in members:
            if inner not in known:
                raise BadRequestData(
                    f"{inner!r:.80} is no member of {name}: expected {', '.join(known)}.", pointer=f"{pointer}/{inner}"
                )
        return _Members(members, pointer)

    def text(self, name: str, check: Callable[[str], Any] | None = None) -> str | None:
        """A text that is not empty and that `check` does not refuse."""
        if name not in self._members:
            return None
        text: str = self._expected(name, str, "a text")
        if check is not None:
            _pointed(f"{self._pointer}/{name}", check, text)
        return text

    def words(self, name: str) -> list[str]:
        """Words in one text, separated by commas."""
        text = self.text(name)
        if text is None:
            return []
        words = [word.strip() for word in text.split(",")]
        return words if all(words) else self._wrong(name, "words separated by single commas")

    def texts(self, name: str) -> list[str]:
        """An array of texts, at least one."""
        if name not in self._members:
            return []
        texts: list[Any] = self._expected(name, list, "an array of texts, at least one")
        for index, text in enumerate(texts):
            if not isinstance(text, str) or not text:
                raise BadRequestData(
                    f"{name} holds {text!r:.80}: expected a text.", pointer=f"{self._pointer}/{name}/{index}"
                )
        return texts

    def boolean(self, name: str) -> bool:
        """True or false; a missing member is false."""
        value = self._members.get(name, False)
        return value if isinstance(value, bool) else self._wrong(name, "true or false")

    def coordinates(self, name: str, *, textual: bool) -> str | list[Any] | None:
        """The coordinates of a geometry; as a JSON text, too, if `textual`."""
        if name not in self._members:
            return None
        value: str | list[Any] = self._members[name]
        fits = isinstance(value, list) or (textual and isinstance(value, str))
        return value if fits else self._wrong(name, "an array of coordinates")

    def _expected(self, name: str, kind: type, what: str) -> Any:
        value = self._members[name]
        return value if isinstance(value, kind) and value else self._wrong(name, what)

    def _wrong(self, name: str, expected: str) -> NoReturn:
        raise BadRequestData(
            f"{name} is {self._members[name]!r:.80}: expected {expected}.", pointer=f"{self._pointer}/{name}"
        )


def _selectors(members: dict[str, Any]) -> list[SelectorParameters]:
    if "entities" not in members:
        return []
    selectors = members["entities"]
    if not isinstance(selectors, list) or not selectors:
        raise BadRequestData(
            f"entities is {selectors!r:.80}: expected an array of entity selectors, at least one.", pointer="/entities"
        )
    return [_selector(one, f"/entities/{index}") for index, one in enumerate(selectors)]


def _selector(value: Any, pointer: str) -> SelectorParameters:
    members = _object(value, pointer)
    for name in members:
        if name not in _SELECTOR:
            raise BadRequestData(
                f"{name!r:.80} is no member of an entity selector: expected {', '.join(_SELECTOR)}.",
                pointer=f"{pointer}/{name}",
            )
    read = _Members(members, pointer)
    kind = read.text("type", parse_types)
    if kind is None:
        raise BadRequestData("An entity selector has no type: add one, or * for all.", pointer=f"{pointer}/type")
    ids = members.get("id", [])
    if not isinstance(ids, list):
        check_uri(ids, "entity id", f"{pointer}/id")
        ids = [ids]
    elif "id" in members:
        ids = read.texts("id")
        for index, one in enumerate(ids):
            check_uri(one, "entity id", f"{pointer}/id/{index}")
    return SelectorParameters(kind, ids, read.text("idPattern", parse_pattern))


def _presentation(read: _Members, members: dict[str, Any], given: Presentation) -> Presentation:
    for name, value in zip(_PRESENTED, _as_given(given), strict=True):
        if value and name in members:
            raise BadRequestData(f"{name} is in the body and in the URL: give it once.", pointer=f"/{name}")
    pick, omit = _projection(read, "pick"), _projection(read, "omit")
    attrs = read.texts("attrs")
    joining = _joining(read, members, given)
    level = joining.level if joining is not None else 0
    _pointed("/pick", lambda depth: pick.check_depth(depth, "pick"), level)
    _pointed("/omit", lambda depth: omit.check_depth(depth, "omit"), level)
    try:
        check_projections(attrs or given.attrs, pick or given.pick, omit or given.omit, joining)
    except BadRequestData as error:
        raise BadRequestData(error.detail, pointer="/attrs" if attrs else "/omit") from None
    datasets = read.texts("datasetId")
    for index, one in enumerate(datasets):
        if one != "@none":
            check_uri(one, "datasetId", f"/datasetId/{index}")
    return replace(
        given,
        attrs=attrs or given.attrs,
        pick=pick or given.pick,
        omit=omit or given.omit,
        datasets=datasets or given.datasets,
        lang=read.text("lang", parse_language_ranges) or given.lang,
        geometry_property=read.text("geometryProperty") or given.geometry_property,
        joining=joining,
    )


def _joining(read: _Members, members: dict[str, Any], given: Presentation) -> Joining | None:
    if "join" in members and given.joining is not None:
        raise BadRequestData("join is in the body and in the URL: give it once.", pointer="/join")
    level = members.get("joinLevel", 1)
    if type(level) is not int or level < 1:
        raise BadRequestData(f"joinLevel is {level!r:.80}: expected a whole number above 0.", pointer="/joinLevel")
    joining = _pointed("/join", lambda join: make_joining(join, None, []), read.text("join"))
    _pointed("/joinLevel", lambda one: make_joining(None, one, []), level)
    contained_by = read.texts("containedBy")
    for index, entity_id in enumerate(contained_by):
        check_uri(entity_id, "entity id in containedBy", f"/containedBy/{index}")
    if joining is None:
        return given.joining
    return make_joining(joining.form, level, contained_by)


def _as_given(given: Presentation) -> tuple[Any, ...]:
    """The parameters of the URL in the order of _PRESENTED."""
    return given.attrs, given.pick, given.omit, given.datasets, given.lang, given.geometry_property


def _projection(read: _Members, name: str) -> Projection:
    return combined(
        _pointed(f"/{name}/{index}", lambda one: parse_projection(one, name), text)
        for index, text in enumerate(read.texts(name))
    )


def _maps(read: _Members, given: MapParameters) -> MapParameters:
    wanted = read.boolean("entityMap") or given.wanted
    text = read.text(_LIFETIME)
    if text is None:
        return replace(given, wanted=wanted)
    return replace(given, wanted=wanted, lifetime=parse_duration(text, _LIFETIME, pointer=f"/{_LIFETIME}"))


def _pointed(pointer: str, check: Callable[[Any], Any], value: Any) -> Any:
    """What `check` makes of the value; its error points to the member."""
    try:
        return check(value)
    except NgsiLdError as error:
        error.pointer = pointer
        raise


def _object(value: Any, pointer: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    name = pointer.rpartition("/")[2] or "The body"
    raise BadRequestData(f"{name} is {value!r:.80}: expected a JSON object.", pointer=pointer)
