"""What every answer to bad input has in common: it blames the request, never the broker."""

from typing import Any

from tests.integration.api import JSON
from tests.integration.wire import Answer
from tests.problems import ERROR_BASE, assert_problem_body

BARE = (411, 415)
"""Answers without a body, by clause 6.3.4."""
NOT_THE_BROKERS_FAULT = (501, 504)
"""Parts that are not built yet, and @contexts that cannot be had."""
KINDS = {
    *("AlreadyExists", "BadRequestData", "Conflict", "InvalidRequest", "LdContextNotAvailable", "NonexistentTenant"),
    *("OperationNotSupported", "ResourceNotFound", "TooComplexQuery", "TooManyResults"),
}


def assert_sound(answer: Answer, method: str = "GET") -> None:
    """Assert that an answer is a success, or an error that blames the request, in the shape of all errors."""
    status = answer.status
    assert status < 500 or status in NOT_THE_BROKERS_FAULT, (status, answer.body)
    if method == "HEAD" or status in BARE:
        assert answer.body == b""
    elif status >= 400:
        assert answer.headers["Content-Type"] == JSON
        _assert_sound_problem(answer.json())
        assert answer.json()["status"] == status
    elif status == 207 and "errors" in answer.json():
        for error in answer.json()["errors"]:
            _assert_sound_problem(error["error"])


def _assert_sound_problem(problem: dict[str, Any]) -> None:
    status, kind = problem["status"], problem["type"].removeprefix(ERROR_BASE)
    assert status < 500 or status in NOT_THE_BROKERS_FAULT, problem
    assert kind in KINDS, problem
    assert_problem_body(problem, status, kind)
