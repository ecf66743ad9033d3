"""Everything that can go wrong with a request: one closed set, one table to HTTP.

Code of the service raises these and nothing else on purpose; `to_error_document` makes the
RFC 9457 body, which is also the form of a failed item in a batch or a stream. No
message may quote what a client sent: student text must never travel in an error.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, final

ERROR_MEDIA_TYPE = "application/problem+json"
_TYPE_PREFIX = "urn:ncal-serve:error:"


class Reason(NamedTuple):
    """Why one field of the input was refused."""

    field: str
    """Path in the body, dots between the parts: `items.3.text`."""
    reason: str


class ServiceError(Exception):
    """Base of the closed set. `detail` is one sentence for the caller."""

    slug: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self,
        detail: str,
        *,
        reasons: Sequence[Reason] = (),
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reasons = tuple(reasons)
        self.retry_after_s = retry_after_s
        self.headers = dict(headers or {})

    @property
    @final
    def status(self) -> int:
        return HTTP_STATUS[type(self)]


class InvalidInput(ServiceError):
    """The request can be read but breaks a rule; `reasons` name field and rule."""

    slug = "invalid-input"
    title = "Invalid input"


class NotFound(ServiceError):
    slug = "not-found"
    title = "Not found"


class MethodNotAllowed(ServiceError):
    slug = "method-not-allowed"
    title = "Method not allowed"


class Conflict(ServiceError):
    """What is asked for cannot be done as things are now."""

    slug = "conflict"
    title = "Conflict"


class BodyTooLarge(ServiceError):
    slug = "body-too-large"
    title = "Body too large"


class UnsupportedMediaType(ServiceError):
    slug = "unsupported-media-type"
    title = "Unsupported media type"


class Unauthorized(ServiceError):
    slug = "unauthorized"
    title = "Unauthorized"


class Forbidden(ServiceError):
    """Not from there, whatever key it holds, or not with this key."""

    slug = "forbidden"
    title = "Forbidden"


class RateLimited(ServiceError):
    """This client asks too much, whatever the load of the service."""

    slug = "rate-limited"
    title = "Rate limited"


class Overloaded(ServiceError):
    """The queue is full, whoever asks."""

    slug = "overloaded"
    title = "Overloaded"


class DeadlineExceeded(ServiceError):
    slug = "deadline-exceeded"
    title = "Deadline exceeded"


class Draining(ServiceError):
    """The process is about to stop and takes no new work."""

    slug = "draining"
    title = "Shutting down"


class NotReady(ServiceError):
    """The readiness canary failed or has not passed yet."""

    slug = "not-ready"
    title = "Not ready"


class EngineFailed(ServiceError):
    """The engine lives but could not compute this item."""

    slug = "engine-failed"
    title = "Engine failed"


class EngineDead(ServiceError):
    """The engine process is gone; this process will exit."""

    slug = "engine-dead"
    title = "Engine dead"


class Internal(ServiceError):
    """A fault of ours; the cause is in the log under the request id."""

    slug = "internal"
    title = "Internal error"


HTTP_STATUS: dict[type[ServiceError], int] = {
    InvalidInput: 422,
    NotFound: 404,
    MethodNotAllowed: 405,
    Conflict: 409,
    BodyTooLarge: 413,
    UnsupportedMediaType: 415,
    Unauthorized: 401,
    Forbidden: 403,
    RateLimited: 429,
    Overloaded: 503,
    DeadlineExceeded: 504,
    Draining: 503,
    NotReady: 503,
    EngineFailed: 500,
    EngineDead: 503,
    Internal: 500,
}

NOT_TAKEN = (
    InvalidInput, BodyTooLarge, UnsupportedMediaType, Overloaded, Draining, NotReady, EngineDead,
)  # fmt: skip
"""What ends a request before any work is done for it: nobody is charged for that."""

_EXTRA_HEADERS: dict[type[ServiceError], dict[str, str]] = {
    Unauthorized: {"WWW-Authenticate": "Bearer"},
    BodyTooLarge: {"Connection": "close"},  # or the server would read the rest of the body
}


def to_error_document(error: ServiceError, *, request_id: str | None = None) -> dict[str, Any]:
    """Return the problem details of an error as JSON-ready data."""
    problem: dict[str, Any] = {
        "type": _TYPE_PREFIX + error.slug,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }
    if error.reasons:
        problem["errors"] = [reason._asdict() for reason in error.reasons]
    if error.retry_after_s is not None:
        problem["retry_after_s"] = round(error.retry_after_s, 3)
    if request_id is not None:
        problem["request_id"] = request_id
    return problem


def to_headers(error: ServiceError) -> dict[str, str]:
    """Return the headers an error response carries beside its body."""
    headers = _EXTRA_HEADERS.get(type(error), {}) | error.headers
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    return headers
