"""Media types and Link headers (clauses 6.3.4 to 6.3.6)."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ngsild.errors import BadRequestData, NgsiLdError, NotAcceptable, UnsupportedMediaType
from broker.web.negotiation import (
    CONTEXT_RELATION,
    GEO_JSON,
    JSON,
    JSON_LD,
    MERGE_PATCH,
    body_media_type,
    context_link,
    context_link_header,
    negotiate,
    refuse_geojson_only,
)

URL = "http://example.org/context.jsonld"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (JSON_LD, JSON_LD),
        ("APPLICATION/LD+JSON", JSON_LD),
        (f"{JSON_LD},{JSON}", JSON),
        (f"{JSON_LD};q=0.9,{JSON};q=0.8", JSON_LD),
        (f"{JSON} ; q = 0.1 , {JSON_LD} ; Q=0.2", JSON_LD),
        (f"text/html,{JSON_LD};q=0.1", JSON_LD),
        (f"{JSON};q=0,*/*", JSON_LD),
        (f"*/*;q=0.1,{JSON_LD}", JSON_LD),
        (f"application/*;q=0.5,*/*;q=1,{JSON_LD};q=0.6", JSON_LD),
        (f"{JSON_LD};profile=x", JSON_LD),
        (f"{JSON_LD};q=nonsense", JSON_LD),
        (f"{JSON};q=nonsense,{JSON_LD};q=0.9", JSON),
        (f"{JSON_LD};q=nan,{JSON};q=0.1", JSON_LD),
        (f"{JSON};q=,{JSON_LD}", JSON),
        (f"{JSON};q=7,{JSON_LD};q=1", JSON),
        (",,", JSON),
    ],
)
def test_the_best_offer_for_an_accept_header_is_chosen(accept: str, chosen: str) -> None:
    assert negotiate(accept) == chosen


def test_other_offers_are_possible() -> None:
    assert negotiate(GEO_JSON, (JSON, JSON_LD, GEO_JSON)) == GEO_JSON
    assert negotiate("*/*", (GEO_JSON, JSON)) == GEO_JSON


@pytest.mark.parametrize("accept", ["text/html", GEO_JSON, f"{JSON};q=0", "*/*;q=0", "json", f"{JSON};q=-1", "text/*"])
def test_if_nothing_is_acceptable_the_offers_are_named(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="application/json, application/ld"):
        negotiate(accept)


@pytest.mark.parametrize(
    ("content_type", "media_type"),
    [
        (JSON, JSON),
        (MERGE_PATCH, JSON),
        (JSON_LD, JSON_LD),
        ("Application/JSON; charset=utf-8", JSON),
        (f"{JSON_LD} ;profile=x", JSON_LD),
    ],
)
def test_bodies_are_json_or_json_ld(content_type: str, media_type: str) -> None:
    assert body_media_type(content_type) == media_type


def test_merge_patches_are_read_only_where_that_is_allowed() -> None:
    assert body_media_type(MERGE_PATCH, True) == JSON
    with pytest.raises(UnsupportedMediaType, match="merge-patch"):
        body_media_type(MERGE_PATCH, False)


@pytest.mark.parametrize("accept", [GEO_JSON, GEO_JSON.upper(), f"{GEO_JSON}, text/html", f"{GEO_JSON},{JSON};q=0"])
def test_an_operation_without_geojson_refuses_those_who_take_nothing_else(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="application/json, application/ld"):
        refuse_geojson_only(accept)


@pytest.mark.parametrize("accept", ["", "*/*", JSON, "text/html", f"{GEO_JSON}, {JSON}", f"{GEO_JSON}, */*;q=0.1"])
def test_an_operation_without_geojson_serves_all_others(accept: str) -> None:
    refuse_geojson_only(accept)


@pytest.mark.parametrize("content_type", ["", "text/plain", "json", GEO_JSON, "application/x-www-form-urlencoded"])
def test_other_bodies_are_refused(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="expected application/json"):
        body_media_type(content_type)


@pytest.mark.parametrize(
    "header",
    [
        context_link_header(URL),
        f"<{URL}>;rel={CONTEXT_RELATION}",
        f'<{URL}>; type="application/ld+json"; rel="{CONTEXT_RELATION}"',
        f'<{URL}> ; REL = "{CONTEXT_RELATION}"',
        f'< {URL} >;rel="next {CONTEXT_RELATION}"',
        f'<http://example.org/page,2;x>; rel="next", <{URL}>; rel="{CONTEXT_RELATION}"',
        f'<{URL}>; rel="{CONTEXT_RELATION}", <http://example.org/x>; rel="prev"; title="a, b; c"',
    ],
)
def test_the_context_is_found_in_a_link_header(header: str) -> None:
    assert context_link(header) == URL


@pytest.mark.parametrize("header", ["", "nonsense", f"<{URL}>", f'<{URL}>; rel="next"', f'<{URL}>; rev="x"'])
def test_a_link_header_may_name_no_context(header: str) -> None:
    assert context_link(header) is None


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (f'<{URL}>; rel="{CONTEXT_RELATION}", <{URL}2>; rel="{CONTEXT_RELATION}"', "several"),
        (f'{URL}; rel="{CONTEXT_RELATION}"', "malformed"),
        (f'<{URL}; rel="{CONTEXT_RELATION}"', "malformed"),
        (f'<{URL}>, rel="{CONTEXT_RELATION}"', "malformed"),
    ],
)
def test_a_context_that_cannot_be_told_is_refused(header: str, text: str) -> None:
    with pytest.raises(BadRequestData, match=text):
        context_link(header)


@given(st.lists(st.sampled_from([*"<>;,= \"'*/aq0.1-", CONTEXT_RELATION, JSON, "rel=", ";q="])).map("".join))
def test_any_header_is_answered_or_refused(header: str) -> None:
    for read in (negotiate, body_media_type, context_link):
        with suppress(BadRequestData, NotAcceptable, UnsupportedMediaType):
            read(header)


@pytest.mark.parametrize(
    "part", ["<", "<a>;", '<a>;b="', "<a>;b=c", ";a=b", "<a> ; ", '"', f"<a>;rel={CONTEXT_RELATION}x"]
)
def test_no_header_stalls_the_broker(part: str) -> None:
    started = time.process_time()
    header = part * (8190 // len(part))
    for read in (context_link, negotiate):
        with suppress(NgsiLdError):
            read(header)
    assert time.process_time() - started < 0.5
