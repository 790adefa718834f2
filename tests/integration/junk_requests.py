"""Junk for URLs and headers: parameters, parts of paths, header values (Hypothesis)."""

from urllib.parse import quote

from hypothesis import strategies as st

from tests.integration.junk import TEXT

_KNOWN: dict[str, list[str]] = {
    "type": ["T", "*", "(A;B)|C", "Junk", "(A", "A;B", "|", "urn:x:T", "T,"],
    "id": ["urn:junk:1", "urn:a:b,urn:c:d", "no-uri", ","],
    "idPattern": [".*", "urn:[ab]", "([", "a{99999}", "(a+)+$", "\\", "(?P<x>", "$", "(?=x)", "[[:alpha:]]"],
    "attribute": ["a", "", "\0"],
    "attrs": ["a", "a,b", "a{b}", "id", "", "observedAt"],
    "pick": ["id", "a|b", "a{b,c}", "scope,type", "}"],
    "omit": ["id", "a", "{"],
    "q": [
        *("a", "!a", "a==1", "a>5;b<6|c", '(a=="x")', "a~=^x", "a.b[c.d]>=2026-01-31T12:00:00Z", "a==1..2", "a[*]==1"),
        *("a==", "((((((((a))))))))", "(" * 300 + "a" + ")" * 300, "a;" * 500 + "a", "a~=(a+)+$", 'a=="', "a{b}==1"),
        *(
            "createdAt>2020-01-01T00:00:00Z",
            "id==urn:x",
            "a.observedAt",
            "a[]",
            "a==1,2,3..4",
            "a!~=x",
            "\0",
            "a==9" * 99,
        ),
    ],
    "scopeQ": ["/a/#", "/+/b", "/a;/b", "(/a;/b)", "/", "#", "/a,"],
    "georel": [
        "near;maxDistance==5",
        "near;minDistance==1e400",
        "within",
        "equals",
        "near",
        "near;maxDistance==-1",
        "overlaps",
    ],
    "geometry": ["Point", "Polygon", "LineString", "MultiPolygon", "GeometryCollection", "x"],
    "coordinates": [
        *("[1,2]", "[[[0,0],[1,0],[1,1],[0,0]]]", "[181,0]", "[1", "null", "[[1,2],[1,2]]", "[1e400,0]", "{}"),
        *("[" * 999, "[[[0,0],[2,2],[2,0],[0,2],[0,0]]]", "[true,false]", '["1","2"]'),
    ],
    "geoproperty": ["location", "a", "id", "a b"],
    "limit": ["0", "1", "1000", "1001", "-1", "9" * 30, "1e3", "٣"],
    "offset": ["0", "5", "9" * 18, "9" * 30, "-1"],
    "count": ["true", "false", "1", "TRUE"],
    "options": ["keyValues", "count,sysAttrs", "noOverwrite", "update", "replace", "x", ","],
    "format": ["simplified", "concise", "x"],
    "lang": ["de", "de;q=x,en", "*", "\0", ";;;"],
    "datasetId": ["urn:d:1", "@none", "x", "urn:d:1,@none"],
    "deleteAll": ["true", "x"],
    "details": ["true", "false", "x"],
    "drop": ["a", "a,scope", "id", "a{b}", ","],
    "keep": ["a", "type", "a|b", "}"],
    "kind": ["Cached", "Hosted", "ImplicitlyCreated", "cached"],
    "local": ["true", "false", "x"],
    "name": ["Museum", "urn:a", ""],
    "problem": ["true", "x"],
    "rule": ["type", "$where"],
    "subject": ["dataModel.Parking", "."],
    "tenant": ["t1", "", "no such tenant"],
    "observedAt": ["2026-01-31T12:00:00Z", "2026-01-31", "now", "2026-01-31T12:00:00+01:00"],
    "reload": ["true", "false", "1"],
    "join": ["flat"],
    "orderBy": ["a"],
    "unknown": ["1"],
    "": ["1"],
}


_SOUND: dict[str, list[str]] = {
    "type": ["*", "(A;B)|C", "Junk", "Junk,Thing", "urn:x:T"],
    "id": ["urn:junk:1", "urn:a:b,urn:c:d"],
    "idPattern": [".*", "urn:[ab]", "^urn:junk:.$"],
    "attrs": ["a", "a,b"],
    "pick": ["id", "a|b", "scope,type"],
    "omit": ["id", "a,location"],
    "q": [
        "a",
        "!a",
        "a==1",
        "a>5;b<6|c",
        '(a=="x")',
        "a~=^x",
        "a.b[c.d]>=2026-01-31T12:00:00Z",
        "a==1..2",
        "d[*]==1",
        "c==urn:x:y",
    ],
    "scopeQ": ["/a/#", "/+/b", "(/a;/b)", "/a/b,/c"],
    "georel": [
        "near;maxDistance==5",
        "near;minDistance==5",
        "within",
        "equals",
        "overlaps",
        "disjoint",
        "contains",
        "intersects",
    ],
    "geometry": ["Point", "Polygon", "LineString", "MultiPoint"],
    "coordinates": ["[1,2]", "[[[9,52],[10,52],[10,53],[9,53],[9,52]]]", "[[9,52],[10,53]]", "[[180,90],[-180,-90]]"],
    "geoproperty": ["location", "place"],
    "limit": ["1", "1000"],
    "offset": ["0", "5"],
    "count": ["true", "false"],
    "options": ["count,sysAttrs", "sysAttrs"],
    "format": ["simplified", "concise"],
    "lang": ["de", "de;q=x,en"],
    "datasetId": ["urn:d:1", "@none"],
    "deleteAll": ["true"],
    "details": ["true", "false"],
    "drop": ["a", "a,scope"],
    "keep": ["a", "type,b"],
    "kind": ["Cached", "Hosted"],
    "local": ["true"],
    "observedAt": ["2026-01-31T12:00:00Z"],
    "reload": ["false"],
}
_NAMES = {
    "target": ["type", "local"],
    "retrieve": ["type", "attrs", "pick", "omit", "options", "format", "lang", "datasetId", "local"],
    "query": [
        *(
            "type",
            "id",
            "idPattern",
            "attrs",
            "pick",
            "omit",
            "q",
            "scopeQ",
            "limit",
            "offset",
            "count",
            "options",
            "format",
        ),
        *("lang", "datasetId", "local"),
    ],
    "purge": ["type", "id", "idPattern", "attrs", "q", "scopeQ", "keep", "drop", "local"],
    "merge": ["type", "format", "lang", "observedAt", "local"],
    "contexts": ["details", "kind", "reload"],
    "snapshots": ["q", "local"],
    "page": ["limit", "offset", "count", "options", "local"],
    "delete": ["type", "datasetId", "deleteAll", "local"],
    "data models": ["attribute", "limit", "name", "problem", "rule", "subject", "tenant", "type"],
    "batch": ["options", "local"],
}
_GEO = ("georel", "geometry", "coordinates", "geoproperty")


@st.composite
def queries(draw: st.DrawFn, kind: str) -> str:
    """The query part of a URL for an operation of this kind: its own parameters with odd values, sometimes others."""
    names = draw(st.lists(st.sampled_from(_NAMES[kind]), min_size=1, max_size=3, unique=True))
    if kind == "query":
        names = list(dict.fromkeys(["type", *names]))
        if draw(st.integers(0, 2)) == 0:
            names += _GEO[: draw(st.sampled_from([3, 3, 3, 4, 2, 1]))]
    if draw(st.integers(0, 9)) == 0:
        names.append(draw(st.sampled_from(list(_KNOWN))))
    parts = []
    for name in names:
        sound = st.sampled_from(_SOUND.get(name, _KNOWN[name]))
        value = draw(sound | sound | sound | sound | st.sampled_from(_KNOWN[name]) | (Q if name == "q" else TEXT))
        parts.append(
            f"{quote(name, safe='')}={quote(value, safe=draw(st.sampled_from(['', ';,=()|'])), errors='replace')}"
        )
    if draw(st.integers(0, 9)) == 0:
        parts.append(draw(st.sampled_from(["%", "%zz", "%ff", "%00", "=", "&", "a", "?", "%ED%A0%80=%ED%A0%80"])))
    return "?" + "&".join(parts)


Q = st.lists(
    st.sampled_from(
        [
            *(
                "a",
                "b",
                "c.sub",
                "location",
                "d[de]",
                "d[*]",
                "a[b]",
                "createdAt",
                "observedAt",
                "(",
                ")",
                ";",
                "|",
                ",",
                "..",
            ),
            *(
                "==",
                "!=",
                ">",
                "<",
                ">=",
                "<=",
                "~=",
                "!~=",
                "!",
                "5",
                "-1.5e3",
                '"x"',
                "true",
                "urn:x:y",
                "^x",
                "[",
                "]",
                ".*",
            ),
            *("2026-01-31T12:00:00Z", "2026-01-31", "12:00:00Z", '"', " ", "\\", "é", "9" * 30, "1e400", "\0"),
        ]
    ),
    min_size=1,
    max_size=9,
).map("".join)
"""Texts made of the tokens of q, in any order."""


SEGMENTS = st.one_of(
    st.sampled_from(
        ["urn:junk:1", "urn:junk:s", "urn:junk:9", "a", "location", "scope", "type", "id", "@id", "a.b", "$a"]
    ),
    st.binary(min_size=1, max_size=12).map(lambda data: "".join(f"%{byte:02X}" for byte in data)),
    TEXT.map(lambda text: quote(text, safe="", errors="replace")),
    st.sampled_from(["%", "%2", "%zz", "..", ".", "%2e%2e", "%2F", ";a=b", "urn:ngsi-ld:null", "*", "x" * 3000, "%00"]),
)
"""One part of a path where an id or a name stands."""

_HEADER_VALUES: dict[str, list[str]] = {
    "Content-Type": [
        *("application/json", "application/ld+json", "application/merge-patch+json", "text/plain", "", ";", "*/*"),
        *("application/json;", "application/geo+json", "multipart/form-data; boundary=x", "x/y; charset=z"),
    ],
    "Accept": [
        *("application/json", "application/ld+json", "*/*", "text/html", "", ",", ";q=", "application/json;q=x"),
        *("*/*;q=0", "application/geo+json", "application/json;q=1e999", "application/json;q=nan", "text/*, */json"),
    ],
    "Link": [
        '<http://127.0.0.1:9/c>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"',
        '<https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context.jsonld>; rel="http://www.w3.org/ns/json-ld#context"',
        '<urn:x>; rel="http://www.w3.org/ns/json-ld#context"', '<http://[::1>; rel="http://www.w3.org/ns/json-ld#context"',
        '<file:///etc/passwd>; rel="http://www.w3.org/ns/json-ld#context"', "<>; rel=http://www.w3.org/ns/json-ld#context",
        "http://www.w3.org/ns/json-ld#context", "<a>" * 50, "<" * 500, '<http://a>; rel="next"', ";" * 500,
        '<http://127.0.0.1:99999/c>; rel="http://www.w3.org/ns/json-ld#context"',
    ],
    "NGSILD-Tenant": ["no_such_tenant", "", " ", "a/b", "..", "$x", "x" * 300, "\udcff\udcfe", "é", "a b"],
    "Prefer": ["ngsi-ld=1.4", "body=json", "ngsi-ld=x", "return=minimal"],
    "Content-Encoding": ["gzip", "deflate", "identity", "br", "x"],
    "Expect": ["100-continue", "x"],
    "Origin": ["http://a", "null"],
    "NGSILD-EntityMap": ["urn:x"],
    "Via": ["1.1 x"],
}  # fmt: skip
_HEADER_BYTES = st.binary(max_size=20).map(
    lambda data: data.translate(None, b"\r\n\0").decode("utf-8", "surrogateescape").strip()
)


@st.composite
def headers(draw: st.DrawFn) -> dict[str, str]:
    """Headers, mostly with a Content-Type that lets a body through."""
    chosen = {"Content-Type": draw(st.sampled_from(["application/json"] * 5 + ["application/ld+json"] * 3))}
    for name in draw(st.lists(st.sampled_from(list(_HEADER_VALUES)), max_size=2, unique=True)):
        chosen[name] = draw(st.sampled_from(_HEADER_VALUES[name]) | _HEADER_BYTES)
    return chosen
