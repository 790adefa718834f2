"""Patterns find in MongoDB what they find in the broker, and none that is accepted stalls it."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from broker.ngsild.errors import NgsiLdError
from broker.ngsild.query.patterns import parse_pattern
from tests.integration.agreement import Documents, indexed_collection, on_mongo


@pytest.fixture
def documents(mongo_uri: str, database_name: str) -> Iterator[Documents]:
    with indexed_collection(mongo_uri, database_name) as collection:
        yield collection


pieces = st.sampled_from(
    [
        *(
            "a",
            "b",
            "ab",
            ".",
            "^",
            "$",
            "|",
            "(",
            ")",
            "*",
            "+",
            "?",
            "{2}",
            "{1,2}",
            "{2,}",
            ".*",
            "a*",
            "[ab]",
            "[^a]",
        ),
        *(
            r"\d",
            r"\w",
            r"\s",
            r"\b",
            r"\.",
            "ä",
            "[[:alpha:]]",
            r"\n",
            "(?:a|b)",
            "(a|ab)",
            "[^a]+",
            r"\d+",
            "1",
            "-",
            "x",
        ),
    ]
)
alphabet = st.text(alphabet="aab1 -.ä\nx", max_size=12)


@settings(on_mongo, max_examples=150)
@given(written=st.lists(pieces, max_size=8).map("".join), found_in=st.lists(alphabet, min_size=20, max_size=20))
def test_a_pattern_finds_in_mongodb_what_it_finds_in_the_broker(
    documents: Documents, written: str, found_in: list[str]
) -> None:
    try:
        pattern = parse_pattern(written)
    except NgsiLdError:
        assume(False)
        return
    assume(pattern.pcre is not None)
    search = pattern.matcher()
    documents.delete_many({})
    documents.insert_many([{"_id": number, "text": text} for number, text in enumerate(found_in)])
    found = {document["_id"] for document in documents.find({"text": {"$regex": pattern.pcre}})}
    assert found == {number for number, text in enumerate(found_in) if search(text) is not None}, pattern


UNPLEASANT = ["a", "ab", "x", "xa", "#a", "1.", "a ", "ba", "aab"]


@pytest.mark.parametrize(
    "written",
    [
        *("a*b", "a*a*b", ".*a.*a.*b", "a.*a.*a.*b", "^a+b", "^.*a.*a.*a.*b$", "x[ac-w]+b", "(ab)*c", "[a-z]+@[a-z]+"),
        *("a{1,9}b", "(?:a|b)+c", "^(?:ab|b)*c", r"(\d{1,3}\.){3}\d{1,3}", "#[^#]+#", "x[^x]+x", ".*a.+[ab].*xb"),
        *("a.{3,}a.{3,}b", "(a|aa){4}b", r"^\w+\s\w+\s\w+$", r".*\ba.*a\b", "ab{1,2}.*ba{1,2}$", "^(?:a|b)*$"),
    ],
)
def test_no_accepted_pattern_stalls_mongodb(documents: Documents, written: str) -> None:
    pattern = parse_pattern(written)
    assert pattern.pcre is not None
    documents.insert_many([{"_id": text, "text": text * 30_000} for text in UNPLEASANT])
    search = pattern.matcher()
    assert {one["_id"] for one in documents.find({"text": {"$regex": pattern.pcre}})} == {
        one["_id"] for one in documents.find() if search(one["text"]) is not None
    }
    documents.insert_many([{"long": text * 1_000_000} for text in UNPLEASANT])
    started = time.monotonic()
    documents.count_documents({"long": {"$regex": pattern.pcre}})
    assert time.monotonic() - started < 5
