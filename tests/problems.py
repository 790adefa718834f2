"""One assertion for every error answer: its status, its exact content type, and the shape of its body (RFC 9457)."""

from typing import Any

from aiohttp import ClientResponse

ERROR_BASE = "https://uri.etsi.org/ngsi-ld/errors/"
MEMBERS = {"type", "title", "status", "detail", "errors"}


async def assert_problem(response: ClientResponse, status: int, type: str) -> dict[str, Any]:  # noqa: A002
    """Assert that `response` is the problem `type` (such as "BadRequestData"), and return its body."""
    text = await response.text()
    assert response.status == status, f"{response.status} {text}"
    assert response.headers["Content-Type"] == "application/json"
    body: dict[str, Any] = await response.json()
    assert_problem_body(body, status, type)
    if status == 503:
        assert int(response.headers["Retry-After"]) >= 1
    return body


def assert_problem_body(body: dict[str, Any], status: int, type: str) -> None:  # noqa: A002
    """Assert that `body` has the members of a problem, and texts for people in them."""
    assert body["type"] == ERROR_BASE + type, body
    assert body["status"] == status, body
    assert isinstance(body["title"], str), body
    assert body["title"].strip(), body
    assert isinstance(body["detail"], str), body
    assert body["detail"].strip(), body
    assert "Traceback" not in body["detail"], body
    assert set(body) <= MEMBERS, body
    for finding in body.get("errors", ()):
        assert isinstance(finding["detail"], str), body
        assert finding["pointer"] == "" or finding["pointer"].startswith("/"), body
