"""Bad input never answers 500, and the broker stays up: junk of every kind over every route.

The default run takes seconds; HYPOTHESIS_PROFILE=thorough tries forty times as much.
"""

import itertools
import json
import re
import time
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.web import merging
from broker.web.endpoint import Body
from broker.web.routes import ROUTES, Route
from tests.integration import junk, junk_requests
from tests.integration.api import BATCH, ENTITIES, JSON, JSON_LD, SUBSCRIPTIONS, V1
from tests.integration.profiles import EXAMPLES
from tests.integration.soundness import assert_sound
from tests.integration.wire import encode, exchange, request

BROKER_SETTINGS = {"context_timeout": 1.0, "validation_default": "off"}
pytestmark = pytest.mark.usefixtures("steady")

MODELS = {"definitions": [{"iri": "urn:junk:Model", "name": "Model", "schema": {"properties": {"a": {"minimum": 5}}}}]}
QUERY = {"type": "Query", "entities": [{"type": "Junk"}]}


def sample_of(route: Route, number: int) -> Any:
    """A body that the operation accepts; what it creates is called after `number`."""
    entity = {**junk.ENTITY, "id": f"urn:junk:n{number}"}
    if "subscriptions" in route.path:
        body = {**junk.SUBSCRIPTION, "id": f"urn:junk:s{number}"}
        return body if route.method == "POST" else {name: body[name] for name in body if name != "id"}
    if "entityMaps" in route.path:
        return QUERY if route.method == "POST" else {"expiresAt": "2100-01-01T00:00:00Z"}
    if "snapshots" in route.path:
        if route.method == "PATCH":
            return {"snapshotPriority": number % 9}
        queries = {} if "clone" in route.path else {"snapshotQueries": [QUERY]}
        return {"type": "Snapshot", "id": f"urn:junk:n{number}", **queries}
    if route.path.endswith("indexes"):
        return {"type": "Junk", "attribute": "indexed"}
    if route.path.endswith("policies"):
        return {"type": "Museum", "policy": "off", "tenant": f"t{number}"}
    if route.path.endswith("models"):
        return MODELS
    if "jsonldContexts" in route.path:
        return {"@context": {"speed": f"urn:junk:n{number}"}}
    if "entityOperations" in route.path:
        if route.path.endswith("query"):
            return QUERY
        if route.path.endswith("delete"):
            return ["urn:junk:1", entity["id"]]
        return [entity, {"id": "urn:junk:1", "type": "T", "a": 1, "location": junk.ENTITY["location"]}]
    if "{attrId}" in route.path:
        return junk.ATTRIBUTE
    return junk.FRAGMENT if "{entityId}" in route.path else entity


def query_kind_of(route: Route) -> str:
    """Which URL parameters the operation has."""
    if "entityOperations" in route.path:
        return "batch"
    if route.method == "DELETE" and "{attrId}" in route.path:
        return "delete"
    if route.method == "GET" and route.path.endswith("entities"):
        return "query"
    if route.method == "DELETE" and route.path.endswith("entities"):
        return "purge"
    if route.method == "GET" and "entityId" in route.path:
        return "retrieve"
    if route.method == "PATCH" and route.path.endswith("{entityId}"):
        return "merge"
    if "jsonldContexts" in route.path:
        return "contexts"
    if route.path.endswith(("datamodels", "policies", "violations")):
        return "data models"
    if route.method == "DELETE" and route.path.endswith("snapshots"):
        return "snapshots"
    if route.path.endswith("explain") or (route.method == "GET" and route.path.endswith("entityMaps")):
        return "query"
    return "page" if "subscriptions" in route.path else "target"


def linked(body: Any) -> Any:
    """The same body as linked data."""
    if isinstance(body, list):
        return [linked(one) if isinstance(one, dict) else one for one in body]
    return {**body, "@context": junk.CONTEXT}


def settle(port: int) -> None:
    """Make sure that what valid paths name exists."""
    body = json.dumps([junk.ENTITY]).encode()
    assert request(port, "POST", f"{BATCH}/upsert", {"Content-Type": JSON}, body).status in (201, 204)
    body = json.dumps(junk.SUBSCRIPTION).encode()
    assert request(port, "POST", SUBSCRIPTIONS, {"Content-Type": JSON}, body).status in (201, 409)


MADE: dict[str, tuple[str, Any]] = {
    "contextId": (f"{V1}/jsonldContexts", {"@context": {"speed": "urn:junk:speed"}}),
    "entityMapId": (f"{V1}/entityMaps", QUERY),
    "snapshotId": (f"{V1}/snapshots", {"type": "Snapshot", "snapshotQueries": [QUERY]}),
    "indexId": ("/indexes", {"type": "Junk", "attribute": "made"}),
    "model": ("/datamodels/models", MODELS),
}
"""What is created before a request that names it: the resource, and a body."""


def made(port: int, variable: str) -> str:
    """The identifier of something, new if possible, that this variable of a path can name."""
    path, body = MADE[variable]
    answer = request(port, "POST", path, {"Content-Type": JSON}, json.dumps(body).encode())
    if variable == "model":
        return "urn:junk:Model"
    if variable == "indexId":
        declared = request(port, "GET", path)
        return str(json.loads(declared.body)[0]["id"])
    location = str(answer.headers["Location"] or answer.headers["NGSILD-EntityMap"])
    if variable == "snapshotId":
        deadline = time.monotonic() + 10
        while b'"preparing"' in request(port, "GET", location).body:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    return location.rpartition("/")[2]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_junk_is_answered_on_every_route(port: int, route: Route) -> None:
    numbers = itertools.count()
    parts = ["query", "headers"]
    parts += ["path"] if "{" in route.path else []
    parts += ["body"] * 4 if route.body is not Body.NONE else []
    names = {"entityId": ["urn:junk:1"], "attrId": ["a", "b", "c", "d", "location"], "subscriptionId": ["urn:junk:s"]}
    names["type"] = ["Junk", "Thing", "Nothing"]

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(data=st.data())
    def try_junk(data: st.DataObject) -> None:
        """One request with junk in one of its parts, the others being valid."""
        part = data.draw(st.sampled_from(parts))
        if route.method != "GET":
            settle(port)
        for variable in MADE:
            if f"{{{variable}}}" in route.path:
                names[variable] = [made(port, variable)]
        path = re.sub(
            r"\{(\w+)\}",
            lambda match: data.draw(junk_requests.SEGMENTS if part == "path" else st.sampled_from(names[match[1]])),
            route.path,
        )
        if part == "query":
            path += data.draw(junk_requests.queries(query_kind_of(route)))
        elif query_kind_of(route) == "query":
            path += "?local=true"
        elif query_kind_of(route) == "snapshots":
            made(port, "snapshotId")
            path += "?q=snapshotPriority%3C9"
        elif route.method == "DELETE" and path.endswith("policies"):
            policy = json.dumps({"type": "Museum", "policy": "off"}).encode()
            assert request(port, "PUT", path, {"Content-Type": JSON}, policy).status == 204
            path += "?type=Museum"
        headers = data.draw(junk_requests.headers()) if part == "headers" else {"Content-Type": JSON}
        body = None
        if route.body is not Body.NONE:
            sample = sample_of(route, next(numbers))
            if data.draw(st.booleans()) and part != "headers":
                sample, headers = linked(sample), {"Content-Type": JSON_LD}
            body = data.draw(junk.bodies(sample)) if part == "body" else json.dumps(sample).encode()
        answer = request(port, route.method, path, headers, body)
        assert_sound(answer)
        if answer.status < 300:
            successes.append(answer.status)

    successes: list[int] = []
    settle(port)
    try_junk()
    assert successes or route.handler is merging.without_id, (
        "not one request got through: the junk does not reach what lies behind the checks"
    )


@settings(max_examples=4 * EXAMPLES, deadline=None, database=None)
@given(q=junk_requests.Q, format_=st.sampled_from(["normalized", "concise", "simplified"]))
def test_the_tokens_of_q_in_any_order_are_a_query_or_are_refused(port: int, q: str, format_: str) -> None:
    answer = request(port, "GET", f"{ENTITIES}?type=Junk&count=true&format={format_}&q={quote(q, safe='')}")
    assert_sound(answer)
    assert answer.status in (200, 400, 403, 501)


@settings(max_examples=2 * EXAMPLES, deadline=None, database=None)
@given(
    value=st.recursive(
        st.floats(-200, 200) | st.sampled_from([0, 90, -90, 180, -180, 1e-300, 1e300, None, "9", True]),
        lambda inner: st.lists(inner, min_size=1, max_size=5), max_leaves=12,
    ),
    geometry=st.sampled_from(["Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon"]),
    relation=st.sampled_from(["near;maxDistance==9", "near;minDistance==9", "within", "contains", "overlaps"]),
)  # fmt: skip
def test_any_geometry_is_stored_and_asked_for_or_refused(port: int, value: Any, geometry: str, relation: str) -> None:
    entity = {"id": "urn:junk:geo", "type": "Geo", "location": {"type": geometry, "coordinates": value}}
    stored = request(port, "POST", f"{BATCH}/upsert", {"Content-Type": JSON}, json.dumps([entity]).encode())
    assert_sound(stored)
    coordinates = quote(json.dumps(value), safe="")
    asked = request(port, "GET", f"{ENTITIES}?georel={relation}&geometry={geometry}&coordinates={coordinates}")
    assert_sound(asked)
    assert asked.status in (200, 400)


@settings(max_examples=EXAMPLES, deadline=None, database=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "JUNK"]),
    segments=st.lists(
        st.sampled_from(["ngsi-ld", "v1", "entities", "", "attrs", "subscriptions"]) | junk_requests.SEGMENTS,
        max_size=6,
    ),
    query=st.just("") | junk_requests.queries("query"),
)
def test_paths_that_nobody_thought_of_are_answered(port: int, method: str, segments: list[str], query: str) -> None:
    answer = exchange(port, encode(method, "/" + "/".join(segments) + query), method=method)
    assert answer is not None
    assert_sound(answer, method)
