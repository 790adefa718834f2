"""Links to the next and the previous page, as values of the Link header (clause 6.3.10)."""

from functools import lru_cache
from urllib.parse import parse_qsl, quote

from broker.core.paging import Position, QueryResult, write_cursor
from broker.web.endpoint import Call
from broker.web.map_parameters import MAP_ID
from broker.web.parameters import Page
from broker.web.query_parameters import QueryParameters, fingerprint

_PLACE = ("limit", "offset", "cursor", "entityMap", "entityMapLifetime", MAP_ID)
"""What a link to another page has anew, or not at all: it leads into the same entity map, it makes none."""
_PLAIN = ":/*"
"""What may stand in a query as it is. A comma may, too, but separates the links of the header."""


def page_links(call: Call, parameters: QueryParameters, result: QueryResult) -> list[str]:
    """The links of a page of entities. A client that gives an offset is given offsets, any other a cursor."""
    page, links = parameters.page, []
    if result.next is not None:
        # A page that ended before its time has no offset to go on from.
        whole = parameters.by_offset and len(result.entities) == page.limit
        place = _offset(page.offset + page.limit) if whole else _cursor(call, parameters, result.next)
        links.append(_link(call, page, place, "next"))
    if parameters.by_offset:
        links += _previous(call, page)
    elif result.previous is not None:
        links.append(_link(call, page, _cursor(call, parameters, result.previous), "prev"))
    return links


def offset_links(call: Call, page: Page, *, more: bool) -> list[str]:
    """The links of a page of other things, by offset; `more` tells that there is a next one."""
    links = [_link(call, page, _offset(page.offset + page.limit), "next")] if more else []
    return links + _previous(call, page)


def map_links(call: Call, page: Page, map_id: str, following: int | None) -> list[str]:
    """The links of a page of an entity map; `following` is the place at which the next one begins, if there is one."""
    in_map = f"{MAP_ID}={quote(map_id, safe=_PLAIN)}"
    links = [_link(call, page, _offset(following), "next", in_map)] if following is not None else []
    return links + _previous(call, page, in_map)


def _previous(call: Call, page: Page, *more: str) -> list[str]:
    if not page.offset or not page.limit:
        return []
    return [_link(call, page, _offset(max(page.offset - page.limit, 0)), "prev", *more)]


def _offset(number: int) -> tuple[str, str]:
    return "offset", str(number)


def _cursor(call: Call, parameters: QueryParameters, position: Position) -> tuple[str, str]:
    return "cursor", write_cursor(position, fingerprint(parameters, call.context))


def _link(call: Call, page: Page, place: tuple[str, str], relation: str, *more: str) -> str:
    path, _, query = call.url.partition("?")
    query = "&".join([part for part in query.split("&") if part.partition("=")[0] not in _PLACE])
    at = f"limit={page.limit}", f"{place[0]}={quote(place[1], safe=_PLAIN)}"
    written = "&".join(sorted((*_kept(query), *at, *more)))
    return f'<{path.rstrip("/")}?{written}>; rel="{relation}"; type="{call.media_type}"'


@lru_cache(maxsize=256)
def _kept(query: str) -> tuple[str, ...]:
    """The URL parameters that say nothing about the page, written anew. Without a cursor they repeat themselves."""
    return tuple(
        f"{quote(name, safe=_PLAIN)}={quote(value, safe=_PLAIN)}"
        for name, value in parse_qsl(query, keep_blank_values=True)
        if name not in _PLACE
    )
