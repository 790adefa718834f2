"""The filters in MongoDB select what the predicates accept: random entities, queries, patterns, geometries, scopes."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ngsild.model import VALUE_MEMBERS, Entity, encode_key
from broker.ngsild.query import scopes
from broker.ngsild.query.patterns import parse_pattern
from broker.ngsild.query.predicate import compile_predicate
from broker.ngsild.query.scopes import parse_scope_q
from broker.ngsild.query.temporals import Temporal, read_temporal
from broker.ngsild.query.tree import And, Comparison, Exists, Linked, Match, Node, Operator, Or, Path, Range, Values
from broker.ngsild.query.types import TypeSelection
from broker.storage.filters import (
    id_pattern_is_exact,
    ids_filter,
    q_filter,
    q_is_exact,
    scope_filter,
    types_filter,
)
from broker.storage.tenants import ENTITY_INDEXES
from tests.integration.agreement import (
    BATCH,
    Documents,
    accepted,
    assert_agreement,
    holding,
    indexed_collection,
    on_mongo,
    selected,
)
from tests.unit.query.core_names import CORE, instance, read_q, resolved
from tests.unit.query.core_names import entity as short_entity

ORDERS = [Operator.LESS, Operator.LESS_OR_EQUAL, Operator.GREATER, Operator.GREATER_OR_EQUAL]
EQUALITIES = [Operator.EQUAL, Operator.UNEQUAL]

KEYS = [encode_key(f"https://example.org/{name}") for name in ("one", "two.dotted", "$three", "vier#ö")]
INSIDE = [encode_key(name) for name in ("b", "c.d", "$e", "0", "en", "pt-BR", "@value")]
FRACTIONS = [
    "",
    ".0",
    ".5",
    ".50",
    ".500000",
    ".05",
    ".055",
    ".55",
    ".550001",
    ".000001",
    ".999999",
    ".1",
    ".12",
    ".123",
]
MOMENTS = [f"2026-01-31T12:00:0{second}{fraction}Z" for second in (0, 1) for fraction in FRACTIONS]
TIMES = [f"12:00:00{fraction}Z" for fraction in FRACTIONS]
DATES = ["2026-01-31", "2026-02-01", "2025-12-31"]
URIS = ["urn:ngsi-ld:A:1", "urn:ngsi-ld:B:2", "http://example.org/x;y"]
LINKED = [*URIS, *(f"urn:ngsi-ld:Test:{number}" for number in range(5))]
TEXTS = [
    "",
    "a",
    "b",
    "B",
    "ab",
    "ä",
    "a\n",
    "\0",
    "\U0001f600",
    "5",
    "true",
    "red",
    "rouge",
    "2026-01-31T12:00:00",
    "2026",
]
LOOK_ALIKES = [
    "2026-01-31T12:00:00,5Z",
    "2026-01-31T12:00:00.Z",
    "2026-01-31T12:00:00.1234567Z",
    "2026-01-31T12:00:00.5Zx",
]
NUMBERS = [0, 1, -1, 5, 5.0, 5.5, 1e300, 2**53, 2**53 + 1, float(2**53), 2**63 - 1, -(2**63), 0.1, -0.0]
SCALARS = [*MOMENTS, *TIMES, *DATES, *URIS, *TEXTS, *LOOK_ALIKES, *NUMBERS, True, False]
PATTERNS = [
    "^a",
    "a$",
    "b",
    "^$",
    ".",
    "a.*b",
    "^[0-9-]+T",
    "(?i)b",
    "red|ab",
    r"\d{2}:\d{2}",
    "[^a]",
    "^urn:.*:1$",
    "ä",
]
LEFT_TO_RE2 = ["^[a-z]+\\b", "x(a|b*)c|a[a-z]+b", "^(a|b|ab)*$"]
TYPES = ["urn:T1", "urn:T2", "urn:T3"]


@pytest.fixture
def documents(mongo_uri: str, database_name: str) -> Iterator[Documents]:
    with indexed_collection(mongo_uri, database_name) as collection:
        yield collection


def random_value(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.random()
    if kind < 0.55 or depth > 2:
        return chance.choice(SCALARS)
    if kind < 0.8:
        return [random_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind < 0.85:
        return {"@type": "DateTime", "@value": chance.choice(MOMENTS)}
    return {chance.choice(INSIDE): random_value(chance, depth + 1) for _ in range(chance.randrange(4))}


METADATA: dict[str, Any] = {
    "observedAt": MOMENTS,
    "unitCode": TEXTS[1:4],
    "datasetId": URIS,
    "objectType": [*TYPES, TYPES[:2]],
    "valueType": URIS,
}


def random_instance(chance: random.Random, depth: int = 0) -> dict[str, Any]:
    kind = chance.choice(["Property", "Property", *VALUE_MEMBERS])
    value: Any
    match kind:
        case "LanguageProperty":
            tags = chance.sample(["en", "pt-BR", "@none"], chance.randrange(1, 4))
            value = {tag: chance.choice([chance.choice(TEXTS), chance.sample(TEXTS, 2)]) for tag in tags}
        case "VocabProperty" | "Relationship":
            value = chance.choice([chance.choice(LINKED), chance.sample(LINKED, 2)])
        case "ListRelationship":
            value = chance.sample(LINKED, chance.randrange(3))
        case "ListProperty":
            value = [random_value(chance, 1) for _ in range(chance.randrange(4))]
        case "GeoProperty":
            value = {"type": "Point", "coordinates": [chance.choice([0, 5, 5.5]), 1.0]}
        case _:
            value = random_value(chance)
    made = {"type": kind, VALUE_MEMBERS[kind]: value, "createdAt": MOMENTS[0], "modifiedAt": chance.choice(MOMENTS)}
    for name, choices in METADATA.items():
        if chance.random() < 0.4:
            made[name] = chance.choice(choices)
    if depth < 2 and chance.random() < 0.4:
        made["attributes"] = random_attributes(chance, depth + 1)
    return made


def random_attributes(chance: random.Random, depth: int = 0) -> dict[str, Any]:
    return {
        key: [random_instance(chance, depth) for _ in range(chance.choice([1, 1, 2]))]
        for key in chance.sample(KEYS, chance.randrange(4))
    }


def random_entities(seed: int) -> list[Entity]:
    chance = random.Random(seed)
    return [
        {
            "_id": f"urn:ngsi-ld:Test:{number}",
            "types": chance.sample(TYPES, chance.randrange(1, 4)),
            "createdAt": chance.choice(MOMENTS),
            "modifiedAt": chance.choice(MOMENTS),
            "attributes": random_attributes(chance),
            **({"scopes": chance.sample(SCOPES, chance.randrange(1, 4))} if chance.random() < 0.8 else {}),
        }
        for number in range(BATCH)
    ]


SCOPES = ["/A", "/A/B", "/A/B/C", "A/B", "/B", "/Ab/B", "/A/Bc", "A", "/Ä/B"]


def as_literal(text: str) -> Any:
    moment = read_temporal(text)
    assert moment is not None
    return moment


names = st.lists(st.sampled_from(KEYS), min_size=1, max_size=3).map(tuple)
members = st.sampled_from([*METADATA, "modifiedAt"])
inside = st.one_of(
    st.just(("*",)), st.lists(st.sampled_from(INSIDE), min_size=1, max_size=2).map(tuple), st.just(("en",))
)
paths = st.one_of(
    st.builds(Path, names),
    st.builds(Path, st.sampled_from(KEYS).map(lambda key: (key,))),
    st.builds(Path, names, inside=inside),
    st.builds(Path, names, member=members),
    st.builds(Path, st.just(()), member=st.sampled_from(["createdAt", "modifiedAt", "expiresAt", "scopes"])),
)
moments = st.sampled_from([*MOMENTS, *TIMES, *DATES]).map(as_literal)
texts = st.sampled_from(TEXTS) | st.sampled_from(LINKED) | st.sampled_from([*MOMENTS, *SCOPES, *TYPES])
numbers = st.sampled_from(NUMBERS)
ordered = st.one_of(moments, texts, numbers)
ranges = st.one_of(*(st.builds(Range, one, one) for one in (texts, numbers))) | st.tuples(moments, moments).filter(
    lambda pair: pair[0].kind is pair[1].kind
).map(lambda pair: Range(*pair))
several = st.lists(ordered | st.booleans(), min_size=1, max_size=3).map(tuple)
terms = st.one_of(
    st.builds(Exists, paths, st.booleans()),
    st.builds(Comparison, paths, st.sampled_from(EQUALITIES), st.builds(Values, several) | ranges),
    st.builds(Comparison, paths, st.sampled_from(ORDERS), st.builds(Values, st.tuples(ordered))),
    st.builds(Match, paths, st.sampled_from(PATTERNS).map(parse_pattern), st.booleans()),
)


def combined(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return several.flatmap(lambda found: st.sampled_from([And(found), Or(found)]))


nodes: st.SearchStrategy[Node] = st.recursive(terms, combined, max_leaves=5)
undecided = st.recursive(
    st.builds(Match, paths, st.sampled_from(LEFT_TO_RE2).map(parse_pattern), st.booleans())
    | st.recursive(
        terms,
        lambda inner: st.builds(
            Linked,
            st.builds(Path, names),
            st.lists(st.sampled_from(TYPES), max_size=2).map(tuple),
            inner,
            st.booleans(),
        ),
        max_leaves=3,
    ),
    combined,
    max_leaves=3,
)


@on_mongo
@given(seed=st.integers(0, 2**32), queries=st.lists(nodes, min_size=30, max_size=30))
def test_a_q_filter_selects_what_the_predicate_accepts(documents: Documents, seed: int, queries: list[Node]) -> None:
    entities = random_entities(seed)
    with holding(documents, entities):
        for query in queries:
            assert q_is_exact(query)
            found = selected(documents, q_filter(query))
            assert_agreement(found, accepted(entities, compile_predicate(query)), entities, query)


@on_mongo
@given(seed=st.integers(0, 2**32), queries=st.lists(undecided, min_size=30, max_size=30))
def test_where_mongodb_cannot_decide_a_q_filter_selects_all_that_the_predicate_accepts(
    documents: Documents, seed: int, queries: list[Node]
) -> None:
    entities = random_entities(seed)
    with holding(documents, entities):
        for query in queries:
            found_out = resolved(query, entities)
            expected = accepted(entities, compile_predicate(found_out))
            assert expected <= selected(documents, q_filter(query)), query
            found = selected(documents, q_filter(found_out))
            assert expected <= found, query
            if q_is_exact(found_out):
                assert_agreement(found, expected, entities, found_out)


@pytest.mark.parametrize("written", [MOMENTS, TIMES, DATES])
def test_every_operator_orders_the_texts_of_instants_as_time_does(documents: Documents, written: list[str]) -> None:
    key = KEYS[0]
    values: list[Entity] = [
        {"_id": text, "attributes": {key: [{"type": "Property", "value": text}]}} for text in [*written, *LOOK_ALIKES]
    ]
    stamps: list[Entity] = [
        {"_id": text, "attributes": {key: [{"type": "Property", "value": 1, "observedAt": text}]}} for text in MOMENTS
    ]
    for entities, path in ((values, Path((key,))), (stamps, Path((key,), member="observedAt"))):
        with holding(documents, entities):
            for text in written:
                for operator in Operator:
                    query = Comparison(path, operator, Values((as_literal(text),)))
                    expected = accepted(entities, compile_predicate(query))
                    assert_agreement(selected(documents, q_filter(query)), expected, entities, query)


@given(one=st.sampled_from(MOMENTS), other=st.sampled_from(MOMENTS))
def test_moments_compare_by_instant_whatever_their_decimals(one: str, other: str) -> None:
    def microseconds(text: str) -> int:
        return int(text[17:19]) * 1_000_000 + int(text[20:-1].ljust(6, "0") or 0)

    moment = as_literal(other)
    assert isinstance(moment, Temporal)
    entity: Entity = {"attributes": {"a": [{"type": "Property", "value": one}]}}
    for operator, holds in (
        (Operator.LESS, microseconds(one) < microseconds(other)),
        (Operator.GREATER_OR_EQUAL, microseconds(one) >= microseconds(other)),
        (Operator.EQUAL, microseconds(one) == microseconds(other)),
    ):
        assert compile_predicate(Comparison(Path(("a",)), operator, Values((moment,))))(entity) == holds


@on_mongo
@given(
    seed=st.integers(0, 2**32),
    alternatives=st.lists(
        st.lists(st.sampled_from(["urn:T1", "urn:T2", "urn:T3", "urn:T4"]), min_size=1, max_size=3).map(tuple),
        max_size=3,
    ).map(tuple),
)
def test_a_types_filter_selects_what_the_selection_matches(
    documents: Documents, seed: int, alternatives: tuple[tuple[str, ...], ...]
) -> None:
    entities = random_entities(seed)
    selection = TypeSelection(alternatives)
    with holding(documents, entities):
        found = selected(documents, types_filter(selection))
        assert found == accepted(entities, lambda entity: selection.matches(entity["types"]))


levels = st.lists(st.sampled_from(["A", "B", "C", "Ab", "Ä", "+"]), min_size=1, max_size=3).map("/".join)
scope_items = st.tuples(st.sampled_from(["", "/"]), levels, st.sampled_from(["", "/#"])).map("".join) | st.just("/#")
scope_queries = st.lists(
    st.lists(scope_items, min_size=1, max_size=2).map(lambda items: f"({';'.join(items)})"), min_size=1, max_size=3
).map("|".join)


@on_mongo
@given(seed=st.integers(0, 2**32), written=scope_queries)
def test_a_scope_filter_selects_what_the_scope_query_matches(documents: Documents, seed: int, written: str) -> None:
    entities = random_entities(seed)
    query = parse_scope_q(written)
    with holding(documents, entities):
        expected = accepted(entities, lambda entity: scopes.matches(query, entity.get("scopes", [])))
        assert_agreement(selected(documents, scope_filter(query)), expected, entities, query)


def test_ids_and_an_id_pattern_select_together(documents: Documents) -> None:
    with holding(documents, random_entities(1)):
        assert selected(documents, ids_filter([f"urn:ngsi-ld:Test:{number}" for number in (1, 11, 21)], "1$")) == {
            "urn:ngsi-ld:Test:1", "urn:ngsi-ld:Test:11", "urn:ngsi-ld:Test:21",
        }  # fmt: skip
        assert selected(documents, ids_filter(id_pattern="^urn:ngsi-ld:Test:7.$")) == {
            f"urn:ngsi-ld:Test:7{digit}" for digit in range(10)
        }
        assert len(selected(documents, ids_filter())) == BATCH
        for pattern in ("1$", *LEFT_TO_RE2):
            assert id_pattern_is_exact(pattern) == (pattern == "1$")
        assert len(selected(documents, ids_filter(id_pattern=LEFT_TO_RE2[0]))) == BATCH


def test_the_most_complex_query_that_is_accepted_can_be_sent(documents: Documents) -> None:
    deep: Node = Comparison(Path((KEYS[0],) * 20, inside=("b",) * 20), Operator.UNEQUAL, Range("a", "b"))
    for level in range(50):
        deep = And((deep, Exists(Path((KEYS[1],))))) if level % 2 else Or((deep, Exists(Path((KEYS[1],)))))
    with holding(documents, random_entities(2)):
        selected(documents, q_filter(deep))


@pytest.mark.parametrize(
    "text",
    ["a==7", "a>2990", "a==5..7", 'a=="n"', "a~=^n5", "a.observedAt>2026-01-31T12:49:00.5Z", "a==2026-01-31T12:00:00Z"],
)
def test_a_wildcard_index_on_an_attribute_serves_its_comparisons(documents: Documents, text: str) -> None:
    documents.insert_many(
        [
            {
                "_id": str(number),
                "state": [
                    short_entity(a=instance(number, observedAt=f"2026-01-31T12:{number // 60:02}:{number % 60:02}Z"))
                ],
            }
            for number in range(3000)
        ]
    )
    documents.create_index([(f"state.attributes.{CORE.key('a')}.$**", 1)])
    plan = documents.find(q_filter(read_q(text))).explain()
    assert plan["executionStats"]["totalDocsExamined"] < 100


@pytest.mark.parametrize(
    "text",
    [
        "a==7",
        "a!=7",
        "!a",
        "a",
        "a~=^n5",
        "a~=^[a-z]+n5",
        "a{b}==1",
        "a[b]<5",
        "a.b>1|a[*]==x",
        "modifiedAt>2020-01-01",
    ],
)
def test_a_query_reads_entities_of_the_types_that_are_asked_for_only(documents: Documents, text: str) -> None:
    documents.drop_indexes()
    documents.create_indexes(ENTITY_INDEXES)
    documents.insert_many(
        [
            {"_id": str(number), "state": [short_entity(a=number) | {"types": [TYPES[number % 20 > 0]]}]}
            for number in range(2000)
        ]
    )
    condition = {"$and": [types_filter(TypeSelection(((TYPES[0],),))), q_filter(read_q(text))]}
    assert documents.find(condition).explain()["executionStats"]["totalDocsExamined"] <= 100
