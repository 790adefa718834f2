"""What operators and browsers see: health, metrics, version, 404, 405, OPTIONS, HEAD, slashes, CORS."""

import re

import pytest

from tests.conftest import RunningBroker
from tests.integration.api import BATCH, ENTITIES, JSON, SUBSCRIPTIONS, V1, create, new_id, new_type
from tests.integration.wire import request
from tests.problems import assert_problem

BROKER_SETTINGS = {"cors_origins": ("https://app.example.org", "https://other.example.org")}
ORIGIN = {"Origin": "https://app.example.org"}


@pytest.mark.parametrize(("path", "status"), [("/health/live", "live"), ("/health/ready", "ready")])
async def test_health_is_told(broker: RunningBroker, path: str, status: str) -> None:
    async with broker.client.get(path) as response:
        assert (response.status, await response.json()) == (200, {"status": status})


async def test_the_version_names_vela_and_the_specification(broker: RunningBroker) -> None:
    async with broker.client.get("/version", headers={"Content-Type": JSON}) as response:
        body = await response.json()
    assert re.fullmatch(r"\d+\.\d+.*", body["vela"])
    assert "1.9.1" in body["specification"]


async def test_metrics_count_requests_by_route(broker: RunningBroker) -> None:
    await create(broker)
    async with broker.client.get(f"{ENTITIES}/{new_id()}") as response:
        assert response.status == 404
    async with broker.client.get("/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain")
        text = await response.text()
    assert f'vela_requests_total{{method="POST",route="{ENTITIES}",status="201"}}' in text
    assert f'vela_requests_total{{method="GET",route="{ENTITIES}/{{entityId}}",status="404"}}' in text
    assert re.search(r"^vela_mutations_total [1-9]", text, re.MULTILINE)


@pytest.mark.parametrize("path", ["/", "/nothing", "/ngsi-ld", V1, f"{V1}/entitie", f"{ENTITIES}/a/b", "/v2/entities"])
async def test_a_path_that_does_not_exist_is_404(broker: RunningBroker, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        async with broker.client.request(method, path) as response:
            await assert_problem(response, 404, "ResourceNotFound")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", SUBSCRIPTIONS, {"GET", "HEAD", "POST", "OPTIONS"}),
        ("TRACE", ENTITIES, {"GET", "HEAD", "POST", "OPTIONS"}),
        ("POST", f"{ENTITIES}/urn:a:1", {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}),
        ("GET", f"{ENTITIES}/urn:a:1/attrs", {"PATCH", "POST", "OPTIONS"}),
        ("GET", f"{BATCH}/upsert", {"POST", "OPTIONS"}),
        ("POST", "/version", {"GET", "HEAD", "OPTIONS"}),
        ("TRACE", "/metrics/", {"GET", "HEAD", "OPTIONS"}),
    ],
)
async def test_a_method_that_a_path_does_not_have_is_405_with_those_it_has(
    broker: RunningBroker, method: str, path: str, allowed: set[str]
) -> None:
    async with broker.client.request(method, path) as response:
        await assert_problem(response, 405, "OperationNotSupported")  # 6.3.2
        # A resource may have further methods in later versions: these are those that it needs to have.
        assert allowed <= set(response.headers["Allow"].split(", "))
        assert method not in response.headers["Allow"].split(", ")


async def test_options_names_the_methods_of_a_path(broker: RunningBroker) -> None:
    async with broker.client.options(f"{ENTITIES}/urn:a:1") as response:
        assert response.status == 204
        assert {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"} <= set(response.headers["Allow"].split(", "))


async def test_head_answers_as_get_without_the_body(broker: RunningBroker) -> None:
    kind = new_type()
    entity_id = await create(broker, type=kind)
    port = broker.settings.port
    for target in (f"{ENTITIES}/{entity_id}", f"{ENTITIES}?type={kind}&count=true", "/version", "/health/ready"):
        get, head = request(port, "GET", target), request(port, "HEAD", target)
        assert (head.status, head.body) == (200, b"")
        for name in ("Content-Type", "Content-Length", "Link", "NGSILD-Results-Count"):
            assert head.headers[name] == get.headers[name], name
    assert request(port, "HEAD", f"{ENTITIES}/{new_id()}").status == 404


async def test_every_path_is_served_with_a_slash_at_its_end(broker: RunningBroker) -> None:
    kind = new_type()
    entity_id = await create(broker, {"a": 1}, type=kind)
    for method, path, body, status in (
        ("GET", f"{ENTITIES}/?type={kind}", None, 200),
        ("GET", f"{ENTITIES}/{entity_id}/", None, 200),
        ("PATCH", f"{ENTITIES}/{entity_id}/attrs/", {"a": 2}, 204),
        ("PATCH", f"{ENTITIES}/{entity_id}/attrs/a/", {"value": 2}, 204),
        ("POST", f"{ENTITIES}/", {"id": new_id(), "type": kind}, 201),
        ("POST", f"{BATCH}/upsert/?options=update", [{"id": entity_id, "type": kind}], 204),
        ("GET", f"{SUBSCRIPTIONS}/", None, 200),
        ("OPTIONS", f"{SUBSCRIPTIONS}/", None, 204),
        ("GET", "/version/", None, 200),
    ):
        async with broker.client.request(method, path, json=body) as response:
            assert response.status == status, f"{method} {path} {await response.text()}"


async def test_an_empty_id_in_the_path_is_bad_request_data(broker: RunningBroker) -> None:
    for path in (f"{ENTITIES}//attrs", f"{ENTITIES}//", f"{ENTITIES}/urn:a:1/attrs//"):
        async with broker.client.patch(path, json={"a": 1}) as response:
            await assert_problem(response, 400, "BadRequestData")  # 5.6.2.4, 5.6.4.4


async def test_the_location_has_no_double_slash(broker: RunningBroker) -> None:
    entity_id = new_id()
    async with broker.client.post(f"{ENTITIES}/", json={"id": entity_id, "type": "T"}) as response:
        assert response.headers["Location"] == f"{ENTITIES}/{entity_id}"


# Browsers


async def test_a_page_of_an_allowed_origin_may_read_the_answer(broker: RunningBroker) -> None:
    async with broker.client.get(ENTITIES, params={"type": "T"}, headers=ORIGIN) as response:
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
        assert response.headers["Vary"] == "Origin"
        assert "NGSILD-Results-Count" in response.headers["Access-Control-Expose-Headers"]
    async with broker.client.get(f"{ENTITIES}/no-uri", headers=ORIGIN) as response:
        assert response.status == 400
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]  # errors are readable too


@pytest.mark.parametrize("origin", ["https://evil.example.org", "null", "https://app.example.org.evil.org"])
async def test_other_origins_get_no_permission(broker: RunningBroker, origin: str) -> None:
    async with broker.client.get(ENTITIES, params={"type": "T"}, headers={"Origin": origin}) as response:
        assert response.status == 200
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_preflight_is_answered_with_methods_and_headers(broker: RunningBroker) -> None:
    headers = {
        **ORIGIN, "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "content-type, ngsild-tenant",
    }  # fmt: skip
    async with broker.client.options(f"{ENTITIES}/urn:a:1/attrs", headers=headers) as response:
        assert response.status == 204
        assert "PATCH" in response.headers["Access-Control-Allow-Methods"]
        assert response.headers["Access-Control-Allow-Headers"] == "content-type, ngsild-tenant"
        assert int(response.headers["Access-Control-Max-Age"]) > 0
