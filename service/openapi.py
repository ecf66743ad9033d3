"""What FastAPI cannot see for itself: bodies are read by `service.bodies`, errors by a layer.

Examples are texts of our own and work when pasted.
"""

from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from contract.inputs import DialogueTurn, Kind, Problem
from service import __version__
from service.errors import HTTP_STATUS, PROBLEM_MEDIA_TYPE, Overloaded, ServiceError
from service.lines import NDJSON, SSE
from service.schemas import (
    BatchResult,
    Dialogue,
    DialogueTurnBatch,
    Options,
    ProblemBatch,
    ProblemDetails,
    StreamEnd,
)

_KEY_NOTE = "Asked for only where the operator has set keys; never at `/health`."
_REFERENCE = "#/components/schemas/{model}"
_BODIES: tuple[type[BaseModel], ...] = (
    Problem,
    DialogueTurn,
    ProblemBatch,
    DialogueTurnBatch,
    Dialogue,
    BatchResult,
    StreamEnd,
    ProblemDetails,
)
PROBLEM_EXAMPLE = {"text": "一个果园收了96千克苹果，每筐最多装8千克，至少需要多少个筐？"}
TURN_EXAMPLE = {
    "speaker": "teacher",
    "text": "很好，那你能说说为什么要先算括号里面的吗？",
    "previous": [{"speaker": "student", "text": "我先算括号里的，等于12。"}],
    "following": [{"speaker": "student", "text": "因为括号里的要先算，不然结果会变。"}],
}
EXAMPLES: dict[Kind, dict[str, Any]] = {"problem": PROBLEM_EXAMPLE, "dialogue-turn": TURN_EXAMPLE}
_BATCH_EXAMPLES: dict[Kind, dict[str, Any]] = {
    "problem": {
        "items": [
            {"id": "p1", **PROBLEM_EXAMPLE},
            {"id": "p2", "text": "下面哪个分数最大：二分之一、三分之一、五分之一？"},
        ]
    },
    "dialogue-turn": {
        "items": [
            {"id": "t1", **TURN_EXAMPLE},
            {"id": "t2", "speaker": "student", "text": "老师，我今天有点累。"},
        ]
    },
}
_DIALOGUE_EXAMPLE = {
    "mode": "retrospective",
    "turns": [
        {"speaker": "teacher", "text": "三角形的内角和是多少度？"},
        {"speaker": "student", "text": "一百八十度。"},
        {"speaker": "teacher", "text": "对，那我们用这个来求第三个角。"},
    ],
}
_FORMS: dict[Kind, str] = {"problem": "Problem", "dialogue-turn": "DialogueTurn"}
_TIMEOUT_PARAMETER = {
    "name": "X-Request-Timeout",
    "in": "header",
    "required": False,
    "description": "Seconds after which the answer is no longer wanted; work is then dropped.",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}

_TASK_PARAMETER = {
    "name": "task",
    "in": "path",
    "required": True,
    "description": "Name of a task of a loaded checkpoint; `GET /labels` lists them.",
    "schema": {"type": "string", "maxLength": 64},
}

DESCRIPTION = """
Labels primary-school maths problems with TIMSS cognitive dimensions and tutoring turns with
IRF moves. Probabilities are calibrated for the class prior that the answer names.
`needs_review` marks items on which the model is not sure. Every error is
`application/problem+json`.
"""


def describe_body(kind: Kind, *, batch: bool = False) -> dict[str, Any]:
    """Return the OpenAPI parts for a route whose body holds one item or a batch."""
    name = _FORMS[kind] + ("Batch" if batch else "")
    example = _BATCH_EXAMPLES[kind] if batch else EXAMPLES[kind]
    return _describe({"$ref": _REFERENCE.format(model=name)}, example)


def describe_any_body(*, batch: bool = False) -> dict[str, Any]:
    """The same for a route whose task decides what its items are."""
    suffix = "Batch" if batch else ""
    forms = [{"$ref": _REFERENCE.format(model=name + suffix)} for name in _FORMS.values()]
    described = _describe({"anyOf": forms}, (_BATCH_EXAMPLES if batch else EXAMPLES)["problem"])
    return _add_task(described)


def describe_dialogue() -> dict[str, Any]:
    """The same for a whole dialogue."""
    return _describe({"$ref": _REFERENCE.format(model="Dialogue")}, _DIALOGUE_EXAMPLE)


def describe_lines(kind: Kind) -> dict[str, Any]:
    """The same for a stream; a media type of lines is text to OpenAPI."""
    examples = [orjson.dumps(item).decode() for item in _BATCH_EXAMPLES[kind]["items"]]
    schema = {
        "type": "string",
        "description": f"Lines of JSON, each of the form `{_FORMS[kind]}BatchItem`.",
    }
    return _describe(schema, "\n".join(examples), NDJSON)


def describe_any_lines() -> dict[str, Any]:
    """The same for a stream whose task decides what its items are."""
    return _add_task(describe_lines("problem"))


def describe_line_answers() -> dict[str, Any]:
    """Return the OpenAPI response of a stream."""
    forms = [{"$ref": _REFERENCE.format(model=name)} for name in ("BatchResult", "StreamEnd")]
    return {
        "description": "A line for each item as it is done, and a last line with the totals.",
        "content": {
            NDJSON: {"schema": {"anyOf": forms}},
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
                    PROBLEM_MEDIA_TYPE: {
                        "schema": {"$ref": _REFERENCE.format(model="ProblemDetails")}
                    }
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


def install_openapi(app: FastAPI) -> None:
    """Make the app's document complete; it is built once, when first asked for."""

    def build() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title="NCAL Serve",
                version=__version__,
                description=DESCRIPTION,
                routes=app.routes,
            )
            _, definitions = models_json_schema(
                [(model, "validation") for model in _BODIES], ref_template=_REFERENCE
            )
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for name, schema in definitions["$defs"].items():
                schemas.setdefault(name, schema)
            document["components"]["securitySchemes"] = {
                "ApiKey": {"type": "http", "scheme": "bearer", "description": _KEY_NOTE}
            }
            document["security"] = [{"ApiKey": []}, {}]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = build  # type: ignore[method-assign]


def _describe(
    schema: dict[str, Any], example: Any, media_type: str = "application/json"
) -> dict[str, Any]:
    return {
        "requestBody": {
            "required": True,
            "content": {media_type: {"schema": schema, "example": example}},
        },
        "parameters": [*_describe_options(), _TIMEOUT_PARAMETER],
    }


def _describe_options() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema["description"],
            "schema": schema,
        }
        for name, schema in Options.model_json_schema()["properties"].items()
    ]


def _add_task(described: dict[str, Any]) -> dict[str, Any]:
    return described | {"parameters": [_TASK_PARAMETER, *described["parameters"]]}
