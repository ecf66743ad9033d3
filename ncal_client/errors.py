"""What can go wrong: an error class for each error document of the service (RFC 9457)."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

_TYPE_PREFIX = "urn:ncal-serve:error:"
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""


class Reason(NamedTuple):
    """Why one field of the input was refused."""

    field: str
    """Path in the body, dots between the parts: `items.3.text`."""
    reason: str


class NcalError(Exception):
    """Base of all errors of this package."""

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed later."""
        return False


class ServiceError(NcalError):
    """The service, or what stands before it, has answered with an error."""

    slug: ClassVar[str] = ""
    """Last part of the error document's `type`."""

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        title: str = "",
        reasons: tuple[Reason, ...] = (),
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        fields = "; ".join(f"{each.field}: {each.reason}" for each in reasons)
        super().__init__(f"{status}: {detail}" + (f" ({fields})" if fields else ""))
        self.detail = detail
        self.status = status
        self.title = title
        self.reasons = reasons
        self.retry_after_s = retry_after_s
        """How long the service says to wait."""
        self.request_id = request_id
        """What the log of the service calls the request."""

    @property
    def is_passing(self) -> bool:
        return self.status in _PASSING


class InvalidInput(ServiceError):
    """The request breaks a rule; `reasons` name field and rule."""

    slug = "invalid-input"


class NotFound(ServiceError):
    """Nothing is served at this path, or no such task."""

    slug = "not-found"


class MethodNotAllowed(ServiceError):
    slug = "method-not-allowed"


class Conflict(ServiceError):
    """It cannot be done as things are now."""

    slug = "conflict"


class BodyTooLarge(ServiceError):
    """Send less."""

    slug = "body-too-large"


class UnsupportedMediaType(ServiceError):
    slug = "unsupported-media-type"


class Unauthorized(ServiceError):
    """A key is needed, or this one is not known."""

    slug = "unauthorized"


class Forbidden(ServiceError):
    """Not from there, or not with this key."""

    slug = "forbidden"


class RateLimited(ServiceError):
    """This client asks too much, whatever the load of the service."""

    slug = "rate-limited"


class Overloaded(ServiceError):
    """All clients together ask too much."""

    slug = "overloaded"


class DeadlineExceeded(ServiceError):
    """The answer would have come too late; also where this client stopped waiting."""

    slug = "deadline-exceeded"


class Draining(ServiceError):
    """The process is about to stop and takes no new work."""

    slug = "draining"


class NotReady(ServiceError):
    """The service cannot compute yet."""

    slug = "not-ready"


class EngineFailed(ServiceError):
    """The engine lives but could not compute this item."""

    slug = "engine-failed"


class EngineDead(ServiceError):
    """The engine process is gone, and the service will go."""

    slug = "engine-dead"


class Internal(ServiceError):
    """A fault of the service; its log has the cause under `request_id`."""

    slug = "internal"


class Unreachable(NcalError):
    """No answer came: nobody listens there, or the connection broke."""

    @property
    def is_passing(self) -> bool:
        return True


class NoAnswer(NcalError):
    """What was answered is none of the service's answers: another program listens there."""


class StreamEnded(NcalError):
    """The service stopped reading a stream; `reason` says why, `rate-limited` for example."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the service ended the stream: {reason}")
        self.reason = reason


class LiveEnded(NcalError):
    """The service ended a live dialogue for good; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the service ended the live dialogue: {reason}")
        self.reason = reason


BY_SLUG: Mapping[str, type[ServiceError]] = {
    each.slug: each for each in ServiceError.__subclasses__() if each.slug
}


def read_error(
    document: Any, *, status: int | None = None, retry_after_s: float | None = None
) -> ServiceError:
    """Return the error that a document describes; what is missing in it is left open.

    `status` and `retry_after_s` are those of the response, where the document is one.
    """
    told = document if isinstance(document, Mapping) else {}
    found = str(told.get("type", "")).removeprefix(_TYPE_PREFIX)
    said = told.get("retry_after_s")
    if isinstance(said, int | float):  # more precise than the header
        retry_after_s = float(said)
    code = status if status is not None else int(told.get("status") or 500)
    return BY_SLUG.get(found, ServiceError)(
        str(told.get("detail") or f"the status is {code}"),
        status=code,
        title=str(told.get("title") or ""),
        reasons=_read_reasons(told.get("errors")),
        retry_after_s=retry_after_s,
        request_id=told.get("request_id"),
    )


def _read_reasons(listed: Any) -> tuple[Reason, ...]:
    if not isinstance(listed, list):
        return ()
    return tuple(
        Reason(str(each.get("field", "")), str(each.get("reason", "")))
        for each in listed
        if isinstance(each, Mapping)
    )
