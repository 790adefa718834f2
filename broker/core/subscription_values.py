"""The values inside a subscription document: reading each with its JSON pointer, and rendering it again.

Every reader is called with the value, the @context, and the JSON pointer of the value; it raises BadRequestData.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from broker.ngsild.errors import BadRequestData, NgsiLdError
from broker.ngsild.languages import parse_language_ranges
from broker.ngsild.names import check_uri
from broker.ngsild.query.grammar import parse_q
from broker.ngsild.query.types import parse_types
from broker.ngsild.versions import parse_version
from broker.notify.matching import TRIGGERS

_GEO_MEMBERS = frozenset({"georel", "geometry", "coordinates", "geoproperty"})
_SELECTOR_MEMBERS = frozenset({"type", "id", "idPattern", "@type", "@id"})


def read_text(value: Any, _context: Any, pointer: str) -> str:
    """A text that is not empty."""
    if isinstance(value, str) and value:
        return value
    raise BadRequestData(f"{_name(pointer)} is {value!r:.80}: expected a text.", pointer=pointer)


def read_language(value: Any, context: Any, pointer: str) -> str:
    """A language filter (clause 4.15)."""
    text = read_text(value, context, pointer)
    try:
        parse_language_ranges(text)
    except BadRequestData as error:
        raise BadRequestData(error.detail, pointer=pointer) from None
    return text


def read_query(value: Any, context: Any, pointer: str) -> str:
    """A query in the language of clause 4.9, as written."""
    text = read_text(value, context, pointer)
    try:
        parse_q(unquote(text))
    except NgsiLdError as error:
        error.pointer = pointer
        raise
    return text


def read_words(value: Any, context: Any, pointer: str) -> str:
    """Attribute names in one text, separated by commas."""
    text = read_text(value, context, pointer)
    if all(word.strip() for word in text.split(",")):
        return text
    raise BadRequestData(
        f"{_name(pointer)} is {text!r:.80}: expected attribute names separated by single commas.", pointer=pointer
    )


def read_version(value: Any, context: Any, pointer: str) -> str:
    """A version of the specification, such as "1.6" (clause 4.3.6.8)."""
    text = read_text(value, context, pointer)
    if parse_version(text) is not None:
        return text
    raise BadRequestData(
        f'{_name(pointer)} is {text!r:.80}: expected a version of the specification such as "1.6".', pointer=pointer
    )


def read_boolean(value: Any, _context: Any, pointer: str) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    raise BadRequestData(f"{_name(pointer)} is {value!r:.80}: expected true or false.", pointer=pointer)


def read_positive(value: Any, _context: Any, pointer: str) -> int | float:
    """A number greater than zero."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return value
    raise BadRequestData(f"{_name(pointer)} is {value!r:.80}: expected a number greater than 0.", pointer=pointer)


def read_list(value: Any, pointer: str, what: str) -> list[Any]:
    """An array that is not empty."""
    if isinstance(value, list) and value:
        return value
    raise BadRequestData(
        f"{_name(pointer)} is {value!r:.80}: expected an array of {what}, at least one.", pointer=pointer
    )


def read_object(value: Any, pointer: str) -> dict[str, Any]:
    """A JSON object."""
    if isinstance(value, dict):
        return value
    raise BadRequestData(f"{_name(pointer)} is {value!r:.80}: expected a JSON object.", pointer=pointer)


def read_names(value: Any, context: Any, pointer: str) -> list[str]:
    """Attribute names, as IRIs without repetitions."""
    names = []
    for index, name in enumerate(read_list(value, pointer, "attribute names")):
        at = f"{pointer}/{index}"
        names.append(expand_name(read_text(name, context, at), context, at))
    return list(dict.fromkeys(names))


def expand_name(name: str, context: Any, pointer: str) -> str:
    """The IRI of a name; the error, if there is one, points to it."""
    try:
        iri: str = context.expand(name)
    except BadRequestData as error:
        raise BadRequestData(error.detail, pointer=pointer) from error
    return iri


def read_triggers(value: Any, _context: Any, pointer: str) -> list[str]:
    """Notification triggers of clause 5.2.12."""
    triggers = read_list(value, pointer, "notification triggers")
    for index, name in enumerate(triggers):
        if not isinstance(name, str) or name not in TRIGGERS:
            raise BadRequestData(
                f"{name!r:.80} is no notification trigger: expected one of {', '.join(TRIGGERS)}.",
                pointer=f"{pointer}/{index}",
            )
    return list(dict.fromkeys(triggers))


def read_dataset_ids(value: Any, _context: Any, pointer: str) -> list[str]:
    """datasetIds, or "@none" for default instances."""
    for index, one in enumerate(read_list(value, pointer, "datasetIds")):
        if one != "@none":
            check_uri(one, "datasetId", f"{pointer}/{index}")
    return list(dict.fromkeys(value))


def read_entities(value: Any, context: Any, pointer: str) -> list[dict[str, Any]]:
    """Entity selectors (clause 5.2.33), types expanded."""
    return [
        _read_selector(one, context, f"{pointer}/{index}")
        for index, one in enumerate(read_list(value, pointer, "entity selectors"))
    ]


def _read_selector(value: Any, context: Any, pointer: str) -> dict[str, Any]:
    members = read_object(value, pointer)
    for name in members:
        if name not in _SELECTOR_MEMBERS:
            raise BadRequestData(
                f"{name!r:.80} is no member of an entity selector: expected type, id, idPattern.", pointer=pointer
            )
    selector: dict[str, Any] = {}
    kind = members.get("type", members.get("@type"))
    if kind is not None:
        types = _read_types(kind, context, f"{pointer}/type")
        if types:
            selector["types"] = types
    ids = members.get("id", members.get("@id"))
    if ids is not None:
        selector["id"] = _read_ids(ids, f"{pointer}/id")
    if "idPattern" in members:
        selector["idPattern"] = read_text(members["idPattern"], context, f"{pointer}/idPattern")
    if not selector and kind is None:
        raise BadRequestData("The entity selector is empty: give a type, an id or an idPattern.", pointer=pointer)
    return selector


def _read_types(value: Any, context: Any, pointer: str) -> list[list[str]]:
    """A type selection (clause 4.17) as a disjunction of conjunctions of IRIs; empty where any type will do."""
    text = ",".join(value) if isinstance(value, list) and all(isinstance(one, str) for one in value) else value
    try:
        selection = parse_types(read_text(text, context, pointer)).expand(context)
    except BadRequestData as error:
        raise BadRequestData(error.detail, pointer=pointer) from error
    return [list(conjunction) for conjunction in selection.alternatives]


def _read_ids(value: Any, pointer: str) -> list[str]:
    if isinstance(value, str):
        return [check_uri(value, "entity id", pointer)]
    ids = read_list(value, pointer, "entity ids")
    for index, one in enumerate(ids):
        check_uri(one, "entity id", f"{pointer}/{index}")
    return list(dict.fromkeys(ids))


def render_entities(selectors: Sequence[dict[str, Any]], context: Any) -> list[dict[str, Any]]:
    """Entity selectors as a client sees them."""
    return [_render_selector(one, context) for one in selectors]


def _render_selector(selector: dict[str, Any], context: Any) -> dict[str, Any]:
    rendered: dict[str, Any] = {}
    if "id" in selector:
        rendered["id"] = selector["id"][0] if len(selector["id"]) == 1 else selector["id"]
    if "idPattern" in selector:
        rendered["idPattern"] = selector["idPattern"]
    rendered["type"] = _render_types(selector["types"], context) if "types" in selector else "*"
    return rendered


def _render_types(alternatives: Sequence[Sequence[str]], context: Any) -> str:
    names = [[context.compact(iri) for iri in conjunction] for conjunction in alternatives]
    return "|".join(one[0] if len(one) == 1 else f"({';'.join(one)})" for one in names)


def read_geo_query(value: Any, context: Any, pointer: str) -> dict[str, Any]:
    """A geo-query (clause 5.2.13) with its property expanded; its geometry is checked when it is compiled."""
    members = read_object(value, pointer)
    for name in members:
        if name not in _GEO_MEMBERS:
            raise BadRequestData(
                f"{name!r:.80} is no member of a geo-query: expected {', '.join(sorted(_GEO_MEMBERS))}.",
                pointer=f"{pointer}/{name}",
            )
    for name in ("georel", "geometry", "coordinates"):
        if name not in members:
            raise BadRequestData(
                f"The geo-query has no {name}: it needs georel, geometry and coordinates.", pointer=pointer
            )
    coordinates = members["coordinates"]
    if not isinstance(coordinates, list | str):
        raise BadRequestData(
            f"coordinates is {coordinates!r:.80}: expected the coordinates of a GeoJSON geometry.",
            pointer=f"{pointer}/coordinates",
        )
    query = {
        "georel": read_text(members["georel"], context, f"{pointer}/georel"),
        "geometry": read_text(members["geometry"], context, f"{pointer}/geometry"),
        "coordinates": coordinates,
    }
    if "geoproperty" in members:
        at = f"{pointer}/geoproperty"
        query["geoproperty"] = expand_name(read_text(members["geoproperty"], context, at), context, at)
    return query


def render_geo_query(query: dict[str, Any], context: Any) -> dict[str, Any]:
    """A geo-query as a client sees it."""
    if "geoproperty" not in query:
        return query
    return {**query, "geoproperty": context.compact(query["geoproperty"])}


def _name(pointer: str) -> str:
    last = pointer.rpartition("/")[2]
    return f"The element {pointer}" if last.isdigit() else last
