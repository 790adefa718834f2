"""Random values, attributes and entities for Hypothesis, in the forms that clients send.

`entities` are normalised, and written as an answer shows them. `spelled` writes such an entity in another way that
means the same: concise, with texts for geometries, with "@none", with what answers hold beside.
"""

from functools import cache
from typing import Any

from hypothesis import strategies as st

from tests.representations import (
    HEAD,
    PLAIN,
    VALUE_OF,
    attributes_of,
    geometry_as_text,
    is_geometry,
    read_as_instances,
)
from tests.unit.ngsild.samples import NULL

Json = st.SearchStrategy[Any]
Document = st.SearchStrategy[dict[str, Any]]

_NASTY = [
    ".",
    "$",
    "%",
    "",
    "\0",
    "$where",
    "a.b",
    "%2E",
    "%24",
    "%25",
    "id",
    "type",
    "@type",
    "value",
    "object",
    "json",
    "dataset",
    "@context",
    "@id",
    "_id",
    "e\u0301",
    "\u00e9",
]
_NOTABLE = [
    "",
    "\0",
    "a\0b",
    "e\u0301",
    "\u00e9",
    "\U00010348\U0001f697",
    "\u0645\u062f\u064a\u0646\u0629\u200f",
    "\ufeff",
    "\uffff",
    "\u2028",
    "$where",
    "urn:ngsi-ld:nul",
    '{"type": "Point"}',
    "<script>'\"=;()",
    "long " * 500,
]
_CHARACTERS = st.characters(codec="utf-8")
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.one_of(
    st.text(_CHARACTERS, max_size=20).filter(lambda text: text != NULL),
    st.sampled_from(_NOTABLE),
)
URIS = st.one_of(
    st.from_regex(r"urn:ngsi-ld:[A-Z][a-z]{0,5}:[A-Za-z0-9]{1,6}", fullmatch=True),
    st.sampled_from(["https://example.org/a?b=c&d=%20$#e.f", "urn:ngsi-ld:Ünï:🚗", "urn:ngsi-ld:e\u0301:1"]),
)
NAMES = st.sampled_from(
    ["temperature", "humidity", "name", "owner", "größe", "https://example.org/a.b$/%2E#c", "ex:d", "b"]
)
TYPES = st.sampled_from(["Building", "Room", "Straße", "https://example.org/Types#A.B"])
TIMESTAMPS = st.sampled_from(
    ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.5Z", "2026-01-31T12:00:00.123456Z", "1969-07-20T20:17:40.000Z"]
)
EXPIRIES = st.sampled_from(["2199-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
SCOPES = st.sampled_from(["/Madrid", "Madrid", "/Madrid/Gardens/ParqueNorte", "/A_1/b2", "/Città/Ωmega"])


@cache
def keys() -> st.SearchStrategy[str]:
    """Keys of JSON objects, many of them with a meaning for MongoDB or for NGSI-LD."""
    return st.one_of(st.sampled_from(_NASTY), st.text(_CHARACTERS, max_size=8))


@cache
def scalars() -> Json:
    return st.one_of(st.none(), st.booleans(), INTEGERS, FLOATS, TEXTS)


@cache
def json_values() -> Json:
    """Any JSON value that can be stored."""
    deep = st.tuples(scalars(), st.integers(1, 60)).map(lambda pair: _wrapped(*pair))
    return st.one_of(
        st.recursive(
            scalars(),
            lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys(), inner, max_size=3)),
            max_leaves=6,
        ),
        deep,
    )


@cache
def property_values() -> Json:
    """Any value of a Property."""
    return json_values().filter(lambda value: value is not None)


@cache
def raw_json() -> Json:
    """Any value of a JsonProperty."""
    objects = st.dictionaries(keys(), json_values(), max_size=3)
    return st.one_of(objects, st.lists(objects, max_size=3))


@cache
def geometries() -> Document:
    number = st.integers(-80, 80)
    position = st.one_of(
        st.tuples(number, number).map(list),
        st.tuples(st.floats(-179, 179), st.floats(-89, 89), st.floats(-1e4, 1e4)).map(list),
        st.sampled_from([[180, 90], [-180.0, -90.0], [-0.0, 0.0], [9.7, 52.4, 55]]),
    )
    square = st.tuples(number, number, st.integers(1, 5)).map(_square)
    line = st.lists(position, min_size=2, max_size=4, unique_by=lambda one: tuple(one[:2]))
    by_type: dict[str, Json] = {
        "Point": position,
        "MultiPoint": st.lists(position, min_size=1, max_size=3),
        "LineString": line,
        "MultiLineString": st.lists(line, min_size=1, max_size=2),
        "Polygon": st.one_of(square, st.tuples(number, number).map(_square_with_hole)),
        "MultiPolygon": st.lists(square, min_size=1, max_size=1),
    }
    extent = st.lists(st.floats(-80, 80), min_size=4, max_size=4)
    return st.one_of(
        [
            st.fixed_dictionaries({"type": st.just(kind), "coordinates": coordinates}, optional={"bbox": extent})
            for kind, coordinates in by_type.items()
        ]
    )


@cache
def _stated_geometries() -> Document:
    """Geometries beside a type, so that no member of theirs can be taken for one of the attribute."""
    return st.one_of(geometries(), geometries().map(lambda geometry: {**geometry, "value": 0}))


@cache
def language_maps() -> Document:
    tags = st.sampled_from(["en", "de", "fr-CH", "zh-Hant-TW", "x-private", "@none"])
    return st.dictionaries(tags, st.one_of(TEXTS, st.lists(TEXTS, max_size=3)), min_size=1, max_size=3)


@cache
def vocabs() -> Json:
    word = st.sampled_from(["Male", "https://example.org/vocab#non.binary", "höflich", "very good"])
    return st.one_of(word, st.lists(word, min_size=1, max_size=3))


@st.composite
def instances(draw: st.DrawFn, depth: int = 2) -> dict[str, Any]:
    """Normalised instances of all attribute types, with metadata, and sub-attributes to some depth."""
    return draw(_instances(depth))


@st.composite
def attributes(draw: st.DrawFn, depth: int = 2) -> Any:
    """Normalised attributes: one instance, or several that their datasetIds tell apart."""
    return draw(_attributes(depth))


@st.composite
def entities(draw: st.DrawFn) -> dict[str, Any]:
    """Normalised entities, written as Vela renders them: no scope or type in an array of one."""
    return draw(_entities())


@st.composite
def spelled(draw: st.DrawFn, document: dict[str, Any]) -> dict[str, Any]:
    """A normalised entity, written in another way that means the same."""
    entity = {name: document[name] for name in HEAD & document.keys()}
    for name in ("type", "scope"):
        if isinstance(entity.get(name), str) and draw(st.booleans()):
            entity[name] = [entity[name]]
    entity.update(draw(_read_only()))
    return entity | {name: draw(spelled_attribute(raw)) for name, raw in attributes_of(document).items()}


@st.composite
def spelled_attribute(draw: st.DrawFn, raw: Any, *, alone: bool = True) -> Any:
    """A normalised attribute, written in another way; `alone`: perhaps as its value alone, or in an array of one."""
    if isinstance(raw, list):
        return [draw(_spelled_instance(one)) for one in raw]
    one = draw(_spelled_instance(raw))
    if not alone:
        return one
    if one.keys() == {"value"} and not read_as_instances(one["value"]) and isinstance(raw["value"], type(one["value"])):
        return draw(st.sampled_from([one, one["value"]]))
    return draw(st.sampled_from([one, [one]]))


@st.composite
def _spelled_instance(draw: st.DrawFn, raw: dict[str, Any]) -> dict[str, Any]:
    kind = raw["type"]
    member = VALUE_OF[kind]
    one = {name: value for name, value in raw.items() if name in PLAIN or name == member}
    as_text = kind == "GeoProperty" and draw(st.booleans())
    if as_text:
        one["value"] = geometry_as_text(raw["value"])
    elif kind == "ListRelationship" and draw(st.booleans()):
        one[member] = [item["object"] for item in raw[member]]
    if not as_text and not (kind == "Property" and is_geometry(raw["value"])) and draw(st.booleans()):
        del one["type"]
    elif draw(st.booleans()):
        one["@type"] = one.pop("type")
    if "datasetId" not in one and draw(st.booleans()):
        one["datasetId"] = "@none"
    if "observedAt" in one and draw(st.booleans()):
        one["observedAt"] = one["observedAt"].replace(".", ",")
    one.update(draw(_read_only()))
    return one | {name: draw(spelled_attribute(raw[name])) for name in raw if name not in PLAIN and name != member}


@cache
def _read_only() -> Document:
    """Members that answers hold and requests may repeat: they change nothing (clause 5.2.2)."""
    return st.one_of(
        st.just({}),
        st.fixed_dictionaries({}, optional={"createdAt": TIMESTAMPS, "modifiedAt": TIMESTAMPS}),
    )


@cache
def _instances(depth: int) -> Document:
    return st.one_of(
        _instance("Property", "value", property_values(), depth, units=True),
        _instance("GeoProperty", "value", _stated_geometries(), depth, units=True),
        _instance("LanguageProperty", "languageMap", language_maps(), depth),
        _instance("VocabProperty", "vocab", vocabs(), depth),
        _instance("JsonProperty", "json", raw_json(), depth),
        _instance("ListProperty", "valueList", st.lists(json_values(), max_size=3), depth, units=True),
        _instance("Relationship", "object", st.one_of(URIS, st.lists(URIS, min_size=1, max_size=3)), depth),
        _instance("ListRelationship", "objectList", st.lists(URIS.map(lambda uri: {"object": uri}), max_size=3), depth),
    )


@cache
def _attributes(depth: int) -> Json:
    several = st.lists(
        st.tuples(st.one_of(st.none(), URIS), instances(0)), min_size=2, max_size=2, unique_by=lambda pair: pair[0]
    ).map(lambda pairs: [_with_dataset(one, dataset_id) for dataset_id, one in pairs])
    return st.one_of(instances(depth), instances(depth), several)


@cache
def _entities() -> Document:
    members = st.dictionaries(NAMES, attributes(), max_size=3)
    beside = st.fixed_dictionaries(
        {"id": URIS, "type": _one_or_several(TYPES)},
        optional={
            "scope": _one_or_several(SCOPES),
            "expiresAt": EXPIRIES,
            "location": _instance("GeoProperty", "value", _stated_geometries(), 1, units=True),
        },
    )
    return st.tuples(beside, members).map(lambda parts: {**parts[0], **parts[1]})


def _instance(kind: str, member: str, values: Json, depth: int, *, units: bool = False) -> Document:
    optional: dict[str, Json] = {"observedAt": TIMESTAMPS, "datasetId": URIS, "expiresAt": EXPIRIES}
    if units:
        optional["unitCode"] = st.sampled_from(["CEL", "P1"])
    if kind in ("Relationship", "ListRelationship"):
        optional["objectType"] = _one_or_several(TYPES)
    else:
        optional["valueType"] = st.just("langString") if kind == "LanguageProperty" else TYPES
    plain = st.fixed_dictionaries({"type": st.just(kind), member: values}, optional=optional)
    if depth == 0:
        return plain
    if depth == 1:
        plain = st.one_of(plain, st.tuples(plain, _proofs()).map(lambda parts: {**parts[0], "ngsildproof": parts[1]}))
    children = st.one_of(st.just({}), st.dictionaries(NAMES, attributes(depth - 1), max_size=2))
    return st.tuples(plain, children).map(lambda parts: {**parts[0], **parts[1]})


@cache
def _proofs() -> Document:
    """The attribute that seals another one (clause 4.5.2.2)."""
    sealed = {"entityIdSealed": URIS, "entityTypeSealed": _one_or_several(TYPES)}
    value = st.dictionaries(keys(), json_values(), max_size=2)
    return st.fixed_dictionaries({"type": st.just("Property"), "value": value}, optional=sealed)


def _with_dataset(one: dict[str, Any], dataset_id: str | None) -> dict[str, Any]:
    rest = {name: value for name, value in one.items() if name != "datasetId"}
    return rest if dataset_id is None else {**rest, "datasetId": dataset_id}


def _one_or_several(values: st.SearchStrategy[str]) -> Json:
    return st.one_of(values, st.lists(values, min_size=2, max_size=3, unique=True))


def _square(corner: tuple[int, int, int]) -> list[list[list[int]]]:
    x, y, size = corner
    return [[[x, y], [x + size, y], [x + size, y + size], [x, y + size], [x, y]]]


def _square_with_hole(corner: tuple[int, int]) -> list[list[list[float]]]:
    x, y = corner
    (outer,), (inner,) = _square((x, y, 4)), _square((x, y, 1))
    return [outer, [[position[0] + 0.5, position[1] + 0.5] for position in reversed(inner)]]


def _wrapped(value: Any, levels: int) -> Any:
    for level in range(levels):
        value = [value] if level % 3 else {"deep.er": value}
    return value
