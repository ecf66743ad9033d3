"""Our closed set of errors in the form that each foreign protocol has for errors.

System One: FastAPI's `detail`, as its public document declares. vLLM: OpenAI's `error`
(`vllm/entrypoints/serve/engine/protocol.py`). TEI: `error` and `error_type`, with the statuses of
`router/src/lib.rs`.
"""

from typing import Any, Literal

from pydantic import BaseModel

from service.errors import (
    BodyTooLarge,
    DeadlineExceeded,
    Draining,
    EngineDead,
    EngineFailed,
    Forbidden,
    InvalidInput,
    MethodNotAllowed,
    NotFound,
    NotReady,
    Overloaded,
    RateLimited,
    ServiceError,
    Unauthorized,
    UnsupportedMediaType,
)


class SystemOneReason(BaseModel):
    """Why one field was refused."""

    loc: list[str | int]
    msg: str
    type: str


class SystemOneError(BaseModel):
    """A text, or the fields that were refused."""

    detail: str | list[SystemOneReason]


class VllmErrorInfo(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: int


class VllmError(BaseModel):
    """OpenAI's form of an error."""

    error: VllmErrorInfo


class TeiError(BaseModel):
    """A text and its kind."""

    error: str
    error_type: Literal[
        "Unhealthy", "Backend", "Overloaded", "Validation", "Tokenizer", "Empty", "Unauthorized"
    ]


_VLLM_TYPES: dict[type[ServiceError], str] = {
    InvalidInput: "BadRequestError",
    UnsupportedMediaType: "BadRequestError",
    BodyTooLarge: "BadRequestError",
    MethodNotAllowed: "BadRequestError",
    Unauthorized: "AuthenticationError",
    Forbidden: "PermissionDeniedError",
    NotFound: "NotFoundError",
    RateLimited: "RateLimitError",
    Overloaded: "ServiceUnavailableError",
    Draining: "ServiceUnavailableError",
    NotReady: "ServiceUnavailableError",
    EngineDead: "ServiceUnavailableError",
    DeadlineExceeded: "TimeoutError",
}
_TEI_TYPES: dict[type[ServiceError], tuple[int, str]] = {
    BodyTooLarge: (413, "Validation"),
    Unauthorized: (401, "Unauthorized"),
    RateLimited: (429, "Overloaded"),
    Overloaded: (429, "Overloaded"),
    EngineFailed: (424, "Backend"),
    DeadlineExceeded: (504, "Backend"),
    Draining: (503, "Unhealthy"),
    NotReady: (503, "Unhealthy"),
    EngineDead: (503, "Unhealthy"),
}


def to_systemone_error(error: ServiceError) -> tuple[int, dict[str, Any]]:
    """Return status and document of an error as System One's servers answer it."""
    if not error.reasons:
        return error.status, {"detail": error.detail}
    reasons: list[dict[str, Any]] = [{"loc": ["body"], "msg": error.detail, "type": error.slug}]
    reasons += [
        {"loc": ["body", *map(_read_step, each.field.split("."))], "msg": each.reason,
         "type": error.slug}
        for each in error.reasons
    ]  # fmt: skip
    return error.status, {"detail": reasons}


def to_vllm_error(error: ServiceError) -> tuple[int, dict[str, Any]]:
    """Return status and document of an error as vLLM answers it."""
    status = 400 if isinstance(error, InvalidInput) else error.status
    info = {
        "message": _join(error),
        "type": _VLLM_TYPES.get(type(error), "InternalServerError"),
        "param": error.reasons[0].field if error.reasons else None,
        "code": status,
    }
    return status, {"error": info}


def to_tei_error(error: ServiceError) -> tuple[int, dict[str, Any]]:
    """Return status and document of an error as Text Embeddings Inference answers it."""
    other = "Validation" if error.status < 500 else "Backend"
    status, kind = _TEI_TYPES.get(type(error), (error.status, other))
    return status, {"error": _join(error), "error_type": kind}


def _join(error: ServiceError) -> str:
    reasons = [f"{each.field}: {each.reason}" for each in error.reasons]
    return f"{error.detail}: {'; '.join(reasons)}" if reasons else error.detail


def _read_step(step: str) -> str | int:
    return int(step) if step.isdecimal() else step
