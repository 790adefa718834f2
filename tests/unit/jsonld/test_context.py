"""What a Context refuses, prefers and remembers."""

from typing import Any

import pytest

from broker.jsonld import context as module
from broker.jsonld.context import Context
from broker.jsonld.contexts import CORE_CONTEXT_URL
from broker.jsonld.processing import Part, combined_terms
from broker.ngsild.errors import BadRequestData
from broker.ngsild.model import DEFAULT_VOCABULARY, NGSI_LD_BASE


def context_of(*parts: dict[str, Any], url: str | None = None) -> Context:
    return Context(combined_terms([Part(part, url) for part in parts]), CORE_CONTEXT_URL, None)


def test_an_unknown_term_expands_into_the_default_vocabulary():
    assert context_of().expand("temperature") == DEFAULT_VOCABULARY + "temperature"


def test_the_key_of_a_name_is_fit_for_mongodb():
    assert context_of().key("location") == "https://uri%2Eetsi%2Eorg/ngsi-ld/location"
    assert context_of().key("temperature") == context_of().key(DEFAULT_VOCABULARY + "temperature")


def test_a_client_cannot_redefine_a_core_term():
    context = context_of({"location": "http://e.org/location", "@vocab": "http://e.org/"})

    assert context.expand("location") == NGSI_LD_BASE + "location"
    assert context.expand("other") == DEFAULT_VOCABULARY + "other"


def test_protection_by_a_client_has_no_effect():
    context = context_of(
        {"@protected": True, "a": "http://e.org/a", "location": "http://e.org/location"},
        {"a": {"@id": "http://e.org/other", "@protected": True}},
    )

    assert context.expand("a") == "http://e.org/other"
    assert context.expand("location") == NGSI_LD_BASE + "location"


def test_a_client_may_use_the_prefixes_and_terms_of_the_core():
    context = context_of({"since": {"@id": "ngsi-ld:since", "@type": "DateTime"}})

    assert context.expand("since") == NGSI_LD_BASE + "since"
    assert context.coercion("since") == NGSI_LD_BASE + "DateTime"


@pytest.mark.parametrize(
    ("term", "coercion"),
    [("object", "@id"), ("vocab", "@vocab"), ("json", "@json"), ("value", None), ("unknown", None)],
)
def test_the_coercion_of_a_term(term: str, coercion: str | None):
    assert context_of().coercion(term) == coercion


@pytest.mark.parametrize("member", ["@language", "@direction", "@vocab", "@base"])
def test_a_default_may_be_set_to_null(member: str):
    assert context_of({member: None, "a": "http://e.org/a"}, {member: None}).expand("a") == "http://e.org/a"


@pytest.mark.parametrize(
    "name", ["", "a b", "a<b", "a>b", 'a"b', "a'b", "a=b", "a;b", "a(b", "a)b", "a\nb", "a\x00b", "x:a b"]
)
def test_a_name_that_nobody_could_use_is_refused(name: str):
    with pytest.raises(BadRequestData):
        context_of().expand(name)
    with pytest.raises(BadRequestData):
        context_of().key(name)


@pytest.mark.parametrize("name", ["https://e.org/a(b)=c;d", "urn:a:b'c", "my-name", "my.name", "ünï", "हिन्दी", "名"])
def test_a_name_that_is_merely_unusual_is_accepted(name: str):
    context = context_of()

    assert context.compact(context.expand(name)) == name


def test_any_text_can_be_a_vocabulary_value():
    context = context_of({"non motorized": "http://e.org/nonMotorized"})

    assert context.expand_vocab("two words") == DEFAULT_VOCABULARY + "two words"
    assert context.compact_vocab(DEFAULT_VOCABULARY + "two words") == "two words"
    assert context.expand_vocab("non motorized") == "http://e.org/nonMotorized"


@pytest.mark.parametrize("name", ["id", "type", "@id", "@type", "@future", "alias", "nothing", "inverse"])
def test_what_is_no_name_is_refused_as_one(name: str):
    context = context_of({"alias": "@id", "nothing": None, "inverse": {"@reverse": "http://e.org/of"}})

    with pytest.raises(BadRequestData):
        context.expand(name)
    with pytest.raises(BadRequestData):
        context.expand_vocab(name)


def test_id_and_type_keep_their_names_in_answers():
    context = context_of({"i": "@id", "t": "@type"})

    assert context.compact("@id") == "id"
    assert context.compact("@type") == "type"


def test_a_scoped_context_in_the_request_is_refused():
    with pytest.raises(BadRequestData, match="scoped"):
        context_of({"Vehicle": {"@id": "http://e.org/Vehicle", "@context": {"speed": "http://e.org/hidden"}}})


def test_a_scoped_context_in_a_downloaded_one_is_refused_where_it_is_used():
    scoped = {"Vehicle": {"@id": "http://e.org/Vehicle", "@context": {"speed": "http://e.org/hidden"}}}
    context = context_of({"speed": "http://e.org/speed", **scoped}, url="http://e.org/context.jsonld")

    assert context.expand("speed") == "http://e.org/speed"
    assert context.compact("http://e.org/Vehicle") == "http://e.org/Vehicle"
    with pytest.raises(BadRequestData, match="scoped"):
        context.expand("Vehicle")


@pytest.mark.parametrize("scope", [{}, []])
def test_an_empty_scoped_context_in_a_downloaded_one_changes_nothing(scope: Any):
    definition = {"@id": "http://e.org/Vehicle", "@context": scope}

    assert context_of({"Vehicle": definition}, url="http://e.org/").expand("Vehicle") == "http://e.org/Vehicle"


def test_a_scoped_context_ends_with_a_later_definition_of_its_term():
    scoped = {"a": {"@id": "http://e.org/a", "@context": {"b": "http://e.org/b"}}}

    terms = combined_terms([Part(scoped, "http://e.org/"), Part({"a": "http://e.org/other"})])

    assert Context(terms, CORE_CONTEXT_URL, None).expand("a") == "http://e.org/other"


def test_a_term_for_objects_is_preferred_to_a_shorter_one():
    context = context_of(
        {"own": "http://e.org/owner", "owner": {"@id": "http://e.org/owner", "@type": "@id"}, "o": "http://e.org/other"}
    )

    assert context.compact("http://e.org/owner") == "owner"


def test_the_shortest_then_first_of_several_terms_is_chosen():
    context = context_of({"ab": "http://e.org/a", "c": "http://e.org/a", "b": "http://e.org/a"})

    assert context.compact("http://e.org/a") == "b"


def test_an_attribute_is_compacted_to_a_term_whatever_its_coercion():
    context = context_of(
        {
            "when": {"@id": "http://e.org/when", "@type": "DateTime"},
            "points": {"@id": "http://e.org/points", "@container": "@list"},
        }
    )

    assert context.compact("http://e.org/when") == "when"
    assert context.compact("http://e.org/points") == "points"
    assert context.compact_vocab("http://e.org/when") == "http://e.org/when"


def test_a_short_form_that_would_expand_to_something_else_is_not_used():
    context = context_of({"ex": "http://e.org/"})

    for iri in (
        DEFAULT_VOCABULARY + "ex:a",
        DEFAULT_VOCABULARY + "urn:a",
        "http://e.org///a",
        DEFAULT_VOCABULARY + "@id",
    ):
        assert context.expand_vocab(context.compact(iri)) == iri


def test_an_iri_is_rendered_even_if_it_looks_like_a_compact_one():
    assert context_of({"urn": "http://e.org/"}).compact("urn:a:b") == "urn:a:b"


def test_only_so_many_unknown_names_are_remembered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_REMEMBERED_NAMES", 10)
    context = context_of({"a": "http://e.org/a"})
    known = len(context._expanded)

    for number in range(50):
        assert context.expand(f"name{number}") == f"{DEFAULT_VOCABULARY}name{number}"
    context.expand("x" * 10_000)

    assert len(context._expanded) == known + 10
    assert context.expand("a") == "http://e.org/a"


@pytest.mark.parametrize(
    "content",
    [
        {"a": 5},
        {"a": {"@id": []}},
        {"a": {"@nest": ""}},
        {"a": "b:x", "b": "a:x"},
        {"a": {"@unknown": 1}},
        {"@version": 1.0},
        {"@id": "http://e.org/"},
        {"a": "no iri"},
        {"@vocab": 5},
        {"": "http://e.org/"},
        {"@propagate": False},
        {"@propagate": 1},
        {f"t{number}": f"t{number + 1}:x" for number in range(3_000)},
    ],
)
def test_what_is_no_context_is_refused(content: dict[str, Any]):
    with pytest.raises(BadRequestData, match="@context"):
        context_of(content)


def test_terms_like_future_keywords_are_ignored_as_json_ld_demands():
    context = context_of(
        {"@future": "http://e.org/a", "b": "@future", "c": {"@reverse": "@future"}, "d": "http://e.org/d"}
    )

    assert context.expand("b") == DEFAULT_VOCABULARY + "b"
    assert context.expand("d") == "http://e.org/d"
