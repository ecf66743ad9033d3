"""What FastAPI cannot see for itself: how bodies are read, and errors answered."""

from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from contract.inputs import Kind
from service import __version__
from service.errors import (
    ERROR_MEDIA_TYPE,
    HTTP_STATUS,
    BodyTooLarge,
    DeadlineExceeded,
    Draining,
    EngineDead,
    EngineFailed,
    Forbidden,
    Internal,
    InvalidInput,
    NotFound,
    NotReady,
    Overloaded,
    RateLimited,
    ServiceError,
    Unauthorized,
    UnsupportedMediaType,
)
from service.http.examples import BATCH_EXAMPLES, DIALOGUE_EXAMPLE, EXAMPLES
from service.http.ndjson import NDJSON, SSE
from service.limits import LEAST_TIMEOUT_S, describe_limits, read_limits
from service.schemas import (
    BatchResult,
    Dialogue,
    DialogueOptions,
    DialogueTurnBatch,
    DialogueTurnItem,
    ErrorDocument,
    Options,
    ProblemBatch,
    ProblemItem,
    StreamEnd,
)
from service.settings import Settings
from service.tasks import VERSION, is_unversioned

_KEY_NOTE = "Asked for only where the operator has set keys; never at `/health`."
_REFERENCE = "#/components/schemas/{model}"
_BODIES: tuple[type[BaseModel], ...] = (
    ProblemItem,
    DialogueTurnItem,
    ProblemBatch,
    DialogueTurnBatch,
    Dialogue,
    BatchResult,
    StreamEnd,
    ErrorDocument,
)
_FORMS: dict[Kind, str] = {"problem": "Problem", "dialogue-turn": "DialogueTurn"}
"""Beginning of the names of what holds items of a kind: `ProblemItem`, `ProblemBatch`."""
TIMEOUT_PARAMETER = {
    "name": "X-Request-Timeout",
    "in": "header",
    "required": False,
    "description": "Seconds after which the answer is no longer wanted; work is then dropped.",
    "schema": {"type": "number", "minimum": LEAST_TIMEOUT_S},
}

_TASK_PARAMETER = {
    "name": "task",
    "in": "path",
    "required": True,
    "description": "Name of a task of a loaded checkpoint; `GET /labels` lists them.",
    "schema": {"type": "string", "maxLength": 64},
}
TASK_LINKS = {
    name: {
        "operationId": name,
        "parameters": {"task": "$response.body#/tasks/0/task"},
        "description": "The name of a task is a part of this path.",
    }
    for name in ("classify_task", "classify_task_batch", "stream_task")
}
"""From `GET /labels` to where its tasks are served."""

DESCRIPTION = """
Labels primary-school maths problems with TIMSS cognitive dimensions and tutoring turns with
IRF moves. Probabilities are calibrated for the class prior that the answer names.
`needs_review` marks items on which the model is not sure. Every error is
`application/problem+json`.
"""


def describe_body(kind: Kind, *, batch: bool = False) -> dict[str, Any]:
    """Return the OpenAPI parts for a route whose body holds one item or a batch."""
    name = _FORMS[kind] + ("Batch" if batch else "Item")
    example = BATCH_EXAMPLES[kind] if batch else EXAMPLES[kind]
    return _describe({"$ref": _REFERENCE.format(model=name)}, example)


def describe_any_body(*, batch: bool = False) -> dict[str, Any]:
    """The same for a route whose task decides what its items are."""
    suffix = "Batch" if batch else "Item"
    forms = [{"$ref": _REFERENCE.format(model=name + suffix)} for name in _FORMS.values()]
    described = _describe({"anyOf": forms}, (BATCH_EXAMPLES if batch else EXAMPLES)["problem"])
    return _add_task(described)


def describe_dialogue() -> dict[str, Any]:
    """The same for a whole dialogue."""
    schema = {"$ref": _REFERENCE.format(model="Dialogue")}
    return _describe(schema, DIALOGUE_EXAMPLE, options=DialogueOptions)


def describe_lines(kind: Kind) -> dict[str, Any]:
    """The same for a stream; a media type of lines is text to OpenAPI."""
    examples = [orjson.dumps(item).decode() for item in BATCH_EXAMPLES[kind]["items"]]
    schema = {
        "type": "string",
        "description": f"Lines of JSON, each of the form `{_FORMS[kind]}Item`.",
    }
    described = _describe(schema, "\n".join(examples), NDJSON)
    # OpenAPI 3.2: what each line is.
    item = {"$ref": _REFERENCE.format(model=_FORMS[kind] + "Item")}
    described["requestBody"]["content"][NDJSON]["itemSchema"] = item
    return described


def describe_any_lines() -> dict[str, Any]:
    """The same for a stream whose task decides what its items are."""
    return _add_task(describe_lines("problem"))


def describe_line_answers() -> dict[str, Any]:
    """Return the OpenAPI response of a stream."""
    forms = [{"$ref": _REFERENCE.format(model=name)} for name in ("BatchResult", "StreamEnd")]
    return {
        "description": "A line for each item as it is done, and a last line with the totals.",
        "content": {
            NDJSON: {"schema": {"anyOf": forms}, "itemSchema": {"anyOf": forms}},
            SSE: {"schema": {"type": "string"}},
        },
    }


def describe_errors(*errors: type[ServiceError]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of these errors."""
    responses: dict[int | str, dict[str, Any]] = {}
    for error in sorted(errors, key=HTTP_STATUS.__getitem__):
        response: dict[str, Any] = responses.setdefault(
            HTTP_STATUS[error],
            {
                "description": error.title,
                "content": {
                    ERROR_MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model="ErrorDocument")}}
                },
            },
        )
        if error.title not in response["description"]:
            response["description"] += " / " + error.title
        if error is Overloaded:
            response["headers"] = {
                "Retry-After": {
                    "description": "Seconds, from the rate at which the queue empties.",
                    "schema": {"type": "integer"},
                }
            }
    return responses


CLASSIFYING_RAISES = (
    Unauthorized, Forbidden, NotFound, BodyTooLarge, UnsupportedMediaType, InvalidInput,
    RateLimited, EngineFailed, Internal, Overloaded, Draining, NotReady, EngineDead,
    DeadlineExceeded,
)  # fmt: skip
CLASSIFICATION_ERRORS = describe_errors(*CLASSIFYING_RAISES)
"""What a route that classifies may answer beside 200."""


def describe_model_body(form: type[BaseModel], example: Any) -> dict[str, Any]:
    """Return the OpenAPI parts of a body of this form; `install_openapi` must know it too."""
    content = {"schema": {"$ref": _REFERENCE.format(model=form.__name__)}, "example": example}
    return {
        "requestBody": {"required": True, "content": {"application/json": content}},
        "parameters": [TIMEOUT_PARAMETER],
    }


def name_operation(route: APIRoute) -> str:
    """Return a name for what generators of clients make of a route: that of its function."""
    return f"{route.name}_unversioned" if is_unversioned(route.path) else route.name


def install_openapi(
    app: FastAPI, settings: Settings, bodies: Sequence[type[BaseModel]] = ()
) -> None:
    """Make the app's document complete; it is built once, when first asked for.

    Limits are those of the settings; `bodies` are further forms that it refers to.
    """

    def build() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title="NCAL Serve",
                version=__version__,
                description=DESCRIPTION,
                routes=app.routes,
            )
            _, definitions = models_json_schema(
                [(model, "validation") for model in (*_BODIES, *bodies)], ref_template=_REFERENCE
            )
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for name, schema in definitions["$defs"].items():
                schemas.setdefault(name, schema)
            document["components"]["securitySchemes"] = {
                "ApiKey": {"type": "http", "scheme": "bearer", "description": _KEY_NOTE}
            }
            document["security"] = [{"ApiKey": []}, {}]
            _point_to_versions(document["paths"])
            describe_limits(document, read_limits(settings))
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = build  # type: ignore[method-assign]


def _point_to_versions(paths: dict[str, Any]) -> None:
    """Say of each path without a version that it is the same as the one with it."""
    for path, operations in paths.items():
        for operation in operations.values() if is_unversioned(path) else ():
            operation["description"] = f"The same as `{VERSION}{path}`; both stay."


def _describe(
    schema: dict[str, Any],
    example: Any,
    media_type: str = "application/json",
    options: type[Options] = Options,
) -> dict[str, Any]:
    return {
        "requestBody": {
            "required": True,
            "content": {media_type: {"schema": schema, "example": example}},
        },
        "parameters": [*_describe_options(options), TIMEOUT_PARAMETER],
    }


def _describe_options(options: type[Options]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema["description"],
            "schema": schema,
        }
        for name, schema in options.model_json_schema()["properties"].items()
    ]


def _add_task(described: dict[str, Any]) -> dict[str, Any]:
    return described | {"parameters": [_TASK_PARAMETER, *described["parameters"]]}
