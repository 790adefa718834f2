"""Random values, attributes and entities for Hypothesis, in the forms that clients send."""

from functools import cache
from typing import Any

from hypothesis import strategies as st

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
]
_CHARACTERS = st.characters(codec="utf-8")
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(_CHARACTERS, max_size=20).filter(lambda text: text != NULL)
URIS = st.from_regex(r"urn:ngsi-ld:[A-Z][a-z]{0,5}:[A-Za-z0-9]{1,6}", fullmatch=True)
NAMES = st.sampled_from(["temperature", "humidity", "name", "owner", "größe", "https://example.org/a.b#c", "ex:d", "b"])
TYPES = st.sampled_from(["Building", "Room", "Straße", "https://example.org/Types#A.B"])
TIMESTAMPS = st.sampled_from(
    ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.5Z", "2026-01-31T12:00:00.123456Z", "1969-07-20T20:17:40.000Z"]
)
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
def geometries() -> Document:
    number = st.integers(-80, 80)
    position = st.one_of(
        st.tuples(number, number).map(list),
        st.tuples(st.floats(-179, 179), st.floats(-89, 89), st.floats(-1e4, 1e4)).map(list),
    )
    square = st.tuples(number, number, st.integers(1, 5)).map(_square)
    line = st.lists(position, min_size=2, max_size=4, unique_by=lambda one: tuple(one[:2]))
    by_type: dict[str, Json] = {
        "Point": position,
        "MultiPoint": st.lists(position, min_size=1, max_size=3),
        "LineString": line,
        "MultiLineString": st.lists(line, min_size=1, max_size=2),
        "Polygon": square,
        "MultiPolygon": st.lists(square, min_size=1, max_size=1),
    }
    return st.one_of(
        [
            st.fixed_dictionaries({"type": st.just(kind), "coordinates": coordinates})
            for kind, coordinates in by_type.items()
        ]
    )


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


@cache
def _instances(depth: int) -> Document:
    return st.one_of(
        _instance("Property", "value", property_values(), depth, units=True),
        _instance("GeoProperty", "value", geometries(), depth, units=True),
        _instance("LanguageProperty", "languageMap", language_maps(), depth),
        _instance("VocabProperty", "vocab", vocabs(), depth),
        _instance("JsonProperty", "json", json_values(), depth),
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
        {"id": URIS, "type": _one_or_several(TYPES)}, optional={"scope": _one_or_several(SCOPES)}
    )
    return st.tuples(beside, members).map(lambda parts: {**parts[0], **parts[1]})


def _instance(kind: str, member: str, values: Json, depth: int, *, units: bool = False) -> Document:
    optional: dict[str, Json] = {"observedAt": TIMESTAMPS, "datasetId": URIS}
    if units:
        optional["unitCode"] = st.sampled_from(["CEL", "P1"])
    if kind in ("Relationship", "ListRelationship"):
        optional["objectType"] = _one_or_several(TYPES)
    else:
        optional["valueType"] = TYPES
    plain = st.fixed_dictionaries({"type": st.just(kind), member: values}, optional=optional)
    if depth == 0:
        return plain
    children = st.one_of(st.just({}), st.dictionaries(NAMES, attributes(depth - 1), max_size=2))
    return st.tuples(plain, children).map(lambda parts: {**parts[0], **parts[1]})


def _with_dataset(one: dict[str, Any], dataset_id: str | None) -> dict[str, Any]:
    rest = {name: value for name, value in one.items() if name != "datasetId"}
    return rest if dataset_id is None else {**rest, "datasetId": dataset_id}


def _one_or_several(values: st.SearchStrategy[str]) -> Json:
    return st.one_of(values, st.lists(values, min_size=2, max_size=3, unique=True))


def _square(corner: tuple[int, int, int]) -> list[list[list[int]]]:
    x, y, size = corner
    return [[[x, y], [x + size, y], [x + size, y + size], [x, y + size], [x, y]]]


def _wrapped(value: Any, levels: int) -> Any:
    for level in range(levels):
        value = [value] if level % 3 else {"deep.er": value}
    return value
