"""Random small @contexts mean what PyLD says; those that PyLD refuses are refused."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyld.jsonld import JsonLdError

from broker.jsonld.context import Context
from broker.jsonld.contexts import Contexts
from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import DEFAULT_VOCABULARY, NGSI_LD_BASE
from tests.unit.jsonld.oracle import PyLD, unprotected_core

TERMS = ["a", "b", "ab", "p", "q", "long", "p:x", "p:ab", "q:x", "location", "Property", "ngsi-ld", "http", "urn", "_"]
IRIS = [
    *("http://e.org/", "http://e.org/a", "http://e.org/ab", "http://e.org#", "http://e.org", "urn:e:a", "urn:"),
    *("p:x", "p:ab", "q:x", "a", "Property", "ngsi-ld:own", "unknown:x", "plain text", "", "_:b"),
    *(DEFAULT_VOCABULARY, DEFAULT_VOCABULARY + "a", NGSI_LD_BASE + "location"),
]
PROBES = [
    *TERMS,
    *(
        "unknown",
        "p:new",
        "q:new",
        "p://x",
        "http://e.org/ab",
        "https://x.org/y",
        "unknown:x",
        "ngsi-ld:location",
        ":x",
    ),
]
PROBED_IRIS = [
    *("http://e.org/", "http://e.org/a", "http://e.org/ab", "http://e.org/abc", "http://e.org#a", "http://e.orgx"),
    *("urn:e:a", "urn:other", "p:x", "https://nowhere.example/x", "http://v.org/a", "http://v.org/new"),
    *(DEFAULT_VOCABULARY + "a", DEFAULT_VOCABULARY + "new", DEFAULT_VOCABULARY + "p:x", DEFAULT_VOCABULARY),
    *(NGSI_LD_BASE + "location", NGSI_LD_BASE + "own", NGSI_LD_BASE + "Property"),
]

definitions = st.one_of(
    st.sampled_from(IRIS),
    st.none(),
    st.fixed_dictionaries(
        {},
        optional={
            "@id": st.sampled_from(IRIS),
            "@type": st.sampled_from(["@id", "@vocab", "@json", "@none", "DateTime", "http://t.org/T", "p:T"]),
            "@container": st.sampled_from(["@list", "@set", "@language", "@index"]),
            "@language": st.sampled_from(["en", None]),
            "@prefix": st.booleans(),
        },
    ),
)
contexts = st.tuples(
    st.dictionaries(st.sampled_from(TERMS), definitions, max_size=6),
    st.fixed_dictionaries(
        {},
        optional={
            "@vocab": st.sampled_from(["http://v.org/", "", "rel/", "p:"]),
            "@language": st.just("de"),
            "@version": st.just(1.1),
        },
    ),
).map(lambda parts: parts[1] | parts[0])


class NoNetwork:
    async def get_json(self, url: str, **_: Any) -> Any:
        raise AssertionError(f"{url} was downloaded")


def resolve(source: Any) -> Context:
    return asyncio.run(Contexts(NoNetwork()).resolve(source))


def expand_or_none(context: Context, name: str) -> str | None:
    """JSON-LD drops what Vela refuses."""
    try:
        return context.expand_vocab(name)
    except BadRequestData:
        return None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(contexts, min_size=1, max_size=2))
def test_a_random_context_equals_pyld(source: list[dict[str, Any]]):
    try:
        pyld = PyLD([unprotected_core(), *source])
    except (JsonLdError, TypeError, KeyError) as error:
        try:
            resolve(source)
        except BadRequestData:
            return
        raise AssertionError(f"PyLD refuses it: {error}") from error
    context = resolve(source)

    expanded = {name: expand_or_none(context, name) for name in PROBES}
    usable = {name: iri for name, iri in expanded.items() if iri is not None}
    assert expanded == pyld.expand_properties(PROBES)
    assert usable == pyld.expand_vocab(list(usable))
    assert usable == pyld.expand_types(list(usable))
    check_compaction(context, pyld, sorted({*PROBED_IRIS, *usable.values()}))


def check_compaction(context: Context, pyld: PyLD, iris: list[str]) -> None:
    confused = {iri for iri in iris if any(iri.startswith(f"{term}:") for term in pyld.terms)}
    for iri in iris:
        value, name = context.compact_vocab(iri), context.compact(iri)
        assert value == iri or context.expand_vocab(value) == iri
        assert name == iri or context.expand_vocab(name) == iri
    # PyLD refuses a whole document for one IRI that could be mistaken for a compact one.
    clear = [iri for iri in iris if iri not in confused]
    for_values, for_objects = pyld.compact_types(clear), pyld.compact_properties(clear)
    for iri in clear:
        if expand_or_none(context, for_values[iri]) == iri:
            assert context.compact_vocab(iri) == for_values[iri]
        name = context.compact(iri)
        if expand_or_none(context, for_objects[iri]) == iri and (
            for_objects[iri] in pyld.terms or name not in pyld.terms
        ):
            assert name == for_objects[iri]
