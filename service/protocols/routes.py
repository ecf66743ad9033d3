"""Which paths speak which protocol, and what the OpenAPI document says of them."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from service.api.answers import JsonResponse
from service.http.direct_route import DirectRoute
from service.http.openapi import CLASSIFYING_RAISES, describe_model_body
from service.observability.telemetry import ErrorForm
from service.protocols import systemone, tei_predict, vllm_classify
from service.protocols.error_forms import (
    SystemOneError,
    TeiError,
    VllmError,
    to_systemone_error,
    to_tei_error,
    to_vllm_error,
)
from service.protocols.systemone_forms import ModelList, SystemOneRequest, SystemOneResponse
from service.protocols.tei_predict import PredictRequest, PredictResponse
from service.protocols.vllm_classify import ClassifyRequest, ClassifyResponse
from service.settings import Protocol

_PROBLEM = "甲数是12，乙数是甲数的3倍，乙数是多少？"
OTHER_PROTOCOLS = "other protocols"
"""Tag of their routes."""
Handler = Callable[[Request], Awaitable[Response]]


class _Path(NamedTuple):
    """One path of a protocol."""

    protocol: Protocol
    path: str
    method: Literal["GET", "POST"]
    name: str
    """What generators of clients call it."""
    handler: Handler
    summary: str
    answer: type[BaseModel]
    error: type[BaseModel]
    error_form: ErrorForm
    body: type[BaseModel] | None = None
    example: Any = None


_PATHS = (
    _Path(
        "systemone", "/v1/systemone", "POST", "ask_systemone", systemone.ask,
        "System One: typed questions about one state", SystemOneResponse, SystemOneError,
        to_systemone_error, SystemOneRequest,
        {
            "state": _PROBLEM,
            "questions": {
                "domain": {
                    "type": "choice",
                    "criteria": {"knowing": None, "applying": None, "reasoning": None},
                },
                "recalled": {"type": "noul", "criteria": {"true": "recall"}},
            },
        },
    ),
    _Path(
        "systemone", "/v1/models", "GET", "list_models", systemone.list_models,
        "System One and OpenAI: what `model` may name", ModelList, SystemOneError,
        to_systemone_error,
    ),
    *(
        _Path(
            "vllm", path, "POST", name, vllm_classify.classify, "vLLM: labels of texts",
            ClassifyResponse, VllmError, to_vllm_error, ClassifyRequest,
            {"model": "timss", "input": [_PROBLEM]},
        )
        for path, name in zip(
            vllm_classify.PATHS, ("vllm_classify", "vllm_classify_v1"), strict=True
        )
    ),
    _Path(
        "tei", "/predict", "POST", "tei_predict", tei_predict.predict,
        "Text Embeddings Inference: scores of all labels", PredictResponse, TeiError,
        to_tei_error, PredictRequest, {"inputs": _PROBLEM},
    ),
)  # fmt: skip


def make_router(protocols: tuple[Protocol, ...]) -> APIRouter:
    """Return the routes of these protocols."""
    router = APIRouter(tags=[OTHER_PROTOCOLS], route_class=DirectRoute)
    for each in _select(protocols):
        if each.method == "GET":
            router.head(each.path, include_in_schema=False)(each.handler)
        router.add_api_route(
            each.path,
            each.handler,
            methods=[each.method],
            name=each.name,
            summary=each.summary,
            response_class=JsonResponse,
            responses={200: {"model": each.answer}, **_describe_errors(each)},
            openapi_extra=describe_model_body(each.body, each.example) if each.body else None,
        )
    return router


def list_error_forms(protocols: tuple[Protocol, ...]) -> dict[str, ErrorForm]:
    """Return how errors are told at each path of these protocols."""
    return {each.path: each.error_form for each in _select(protocols)}


def list_bodies(protocols: tuple[Protocol, ...]) -> list[type[BaseModel]]:
    """Return the forms of the requests that the document refers to."""
    return [each.body for each in _select(protocols) if each.body]


def _select(protocols: tuple[Protocol, ...]) -> list[_Path]:
    return [each for each in _PATHS if each.protocol in protocols]


def _describe_errors(each: _Path) -> dict[int | str, dict[str, Any]]:
    statuses: dict[int, list[str]] = {}
    for error in CLASSIFYING_RAISES:
        statuses.setdefault(each.error_form(error(""))[0], []).append(error.title)
    return {
        status: {"model": each.error, "description": " / ".join(titles)}
        for status, titles in sorted(statuses.items())
    }
