"""The exception tree of Vela: every refusal that a client can see, with the specification's error type and HTTP status.

Clauses 5.5.2 (error types), 5.5.3 (error payload body) and 6.3.2 (HTTP status codes). `web/problems.py` is the one
place where these become responses. Wording: what was found, where, what was expected, what to do.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

ERROR_BASE = "https://uri.etsi.org/ngsi-ld/errors/"


class NgsiLdError(Exception):
    """Base of all errors that reach a client.

    `detail` is a sentence for the client. `pointer` is the JSON pointer (RFC 6901) of the offending member in the
    request body, where there is one. `violations` lists several findings, each `{"pointer": …, "detail": …}`.
    `headers` are added to the HTTP response.
    """

    status: ClassVar[int] = 500
    type_name: ClassVar[str] = "InternalError"
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        pointer: str | None = None,
        violations: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer
        self.violations = list(violations)
        self.headers = dict(headers or {})

    def problem(self) -> dict[str, Any]:
        """The problem details of this error (RFC 9457) as a JSON object."""
        body: dict[str, Any] = {
            "type": ERROR_BASE + self.type_name,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.violations:
            body["errors"] = self.violations
        elif self.pointer is not None:
            body["errors"] = [{"pointer": self.pointer, "detail": self.detail}]
        return body


class BadRequestData(NgsiLdError):
    """The input does not meet the requirements of the operation."""

    status = 400
    type_name = "BadRequestData"
    title = "Bad request data"


class InvalidRequest(NgsiLdError):
    """The request is syntactically invalid: no JSON, a bad parameter."""

    status = 400
    type_name = "InvalidRequest"
    title = "Invalid request"


class AlreadyExists(NgsiLdError):
    """The referred element already exists."""

    status = 409
    type_name = "AlreadyExists"
    title = "Already exists"


class Conflict(NgsiLdError):
    """The operation conflicts with the current state of the system."""

    status = 409
    type_name = "Conflict"
    title = "Conflict"


class ResourceNotFound(NgsiLdError):
    """The referred resource does not exist."""

    status = 404
    type_name = "ResourceNotFound"
    title = "Resource does not exist"


class NonexistentTenant(NgsiLdError):
    """The addressed tenant does not exist (clause 5.5.10)."""

    status = 404
    type_name = "NonexistentTenant"
    title = "Tenant does not exist"


class OperationNotSupported(NgsiLdError):
    """The operation is not supported by this resource."""

    status = 422
    type_name = "OperationNotSupported"
    title = "Operation not supported"


class NotYetImplemented(NgsiLdError):
    """A part of the specification that this version of Vela does not implement."""

    status = 501
    type_name = "OperationNotSupported"
    title = "Not implemented"


class TooComplexQuery(NgsiLdError):
    """The query is too complex to be resolved."""

    status = 403
    type_name = "TooComplexQuery"
    title = "Too complex query"


class TooManyResults(NgsiLdError):
    """The query would produce more results than the broker returns at once."""

    status = 403
    type_name = "TooManyResults"
    title = "Too many results"


class LdContextNotAvailable(NgsiLdError):
    """A remote @context cannot be retrieved (504, clause 6.3.2)."""

    status = 504
    type_name = "LdContextNotAvailable"
    title = "JSON-LD @context not available"


class PayloadTooLarge(NgsiLdError):
    """The request body exceeds the configured limit (413, clause 6.3.2)."""

    status = 413
    type_name = "InvalidRequest"
    title = "Request entity too large"


class LengthRequired(NgsiLdError):
    """The request has a body but no Content-Length (411, clause 6.3.4)."""

    status = 411
    type_name = "InvalidRequest"
    title = "Length required"


class UnsupportedMediaType(NgsiLdError):
    """The Content-Type of the request body is none that the operation reads (415, clause 6.3.4)."""

    status = 415
    type_name = "InvalidRequest"
    title = "Unsupported media type"


class NotAcceptable(NgsiLdError):
    """None of the representations that the operation offers is acceptable to the client (406, clause 6.3.4)."""

    status = 406
    type_name = "InvalidRequest"
    title = "Not acceptable"


class MethodNotAllowed(NgsiLdError):
    """The resource exists, but not with this HTTP method (405, clause 6.3.2)."""

    status = 405
    type_name = "OperationNotSupported"
    title = "Method not allowed"


class Unavailable(NgsiLdError):
    """The broker cannot serve the request now: its storage is lost, or its queues are full (503 with Retry-After)."""

    status = 503
    type_name = "InternalError"
    title = "Service unavailable"

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class Overloaded(Unavailable):
    """More is asked than the broker can do.

    The answer is held back for `PAUSE` seconds: who asks again at once would take the time that is needed for the rest.
    """

    PAUSE = 0.25


class InternalError(NgsiLdError):
    """An unexpected failure; the detail never carries internals."""
