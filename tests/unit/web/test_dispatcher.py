"""The dispatcher: paths are read as they were sent, and every id finds its way through them."""

import asyncio
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from broker.web.replies import SERVER
from broker.web.server import Dispatcher

SEGMENTS = st.one_of(
    st.sampled_from(
        ["..", ".", "%2F", "%2e%2e", "a/../b", "urn:a:b/c?d#e", "ü+ö &=;,", "http://example.org/x#y", "💚"]
    ),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
)


def ask(method: str, target: str) -> tuple[dict[str, str] | None, web.Response]:
    """The variables that reach the endpoint, if it is reached, and the answer."""
    reached: list[dict[str, str]] = []

    async def handle(_request: web.BaseRequest, path: dict[str, str]) -> web.Response:
        reached.append(path)
        return web.Response(status=204)

    dispatcher = Dispatcher()
    dispatcher.add("GET", "/v1/entities", handle)
    dispatcher.add("PATCH", "/v1/entities/{entityId}/attrs/{attrId}", handle)

    async def serve() -> web.Response:
        return await dispatcher(make_mocked_request(method, target))

    response = asyncio.run(serve())
    return (reached[0] if reached else None), response


@given(SEGMENTS, SEGMENTS)
def test_ids_and_names_arrive_as_they_were_before_they_were_encoded(entity_id: str, name: str) -> None:
    variables, _ = ask("PATCH", f"/v1/entities/{quote(entity_id, safe=':')}/attrs/{quote(name, safe='')}")
    assert variables == {"entityId": entity_id, "attrId": name}


@pytest.mark.parametrize(
    "target",
    [
        "/v1/entities/a/attrs/..",
        "/v1/entities/a/attrs/%2e%2e",
        "/v1/entities/a/attrs/%2E./",
        "/v1/entities/a/attrs/%2E%2E?x=/../..",
        "http://broker:1026/v1/entities/a/attrs/..",
    ],
)
def test_dot_segments_lead_nowhere_else(target: str) -> None:
    assert ask("PATCH", target)[0] == {"entityId": "a", "attrId": ".."}


def test_an_encoded_slash_divides_no_segment_and_is_decoded_once() -> None:
    assert ask("PATCH", "/v1/entities/a%2Fattrs%2Fb/attrs/%252F")[0] == {"entityId": "a/attrs/b", "attrId": "%2F"}
    assert ask("PATCH", "/v1/entities%2Fa/attrs/b")[1].status == 404


@pytest.mark.parametrize("target", ["/v1/entities/%ff/attrs/a", "/v1/entities/a/attrs/\udcff", "/%c3%28"])
def test_a_path_that_is_no_utf_8_is_refused(target: str) -> None:
    variables, response = ask("PATCH", target)
    assert (variables, response.status) == (None, 400)


@pytest.mark.parametrize(("method", "target", "status"), [("POST", "/v1/entities", 405), ("GET", "/v2", 404)])
def test_what_no_endpoint_answers_says_who_answers_and_for_whom(method: str, target: str, status: int) -> None:
    async def serve() -> web.Response:
        return await Dispatcher()(make_mocked_request(method, target, headers={"NGSILD-Tenant": "t"}))

    _, response = ask(method, target)
    assert (response.status, response.headers["Server"]) == (status, SERVER)
    assert asyncio.run(serve()).headers["NGSILD-Tenant"] == "t"


def test_options_of_everything_is_answered() -> None:
    assert ask("OPTIONS", "*")[1].status == 204
    assert ask("GET", "*")[1].status == 404
