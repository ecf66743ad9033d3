"""`/classify/…`: one item, or a batch. A route reads as the way of a request; no `try` here."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from contract.priors import describe_mix
from service.api.answers import (
    FORMATTED_AT_ONCE,
    JsonResponse,
    format_answer,
    format_result,
)
from service.api.mixes import find_mix, require_mix, resolve_mix
from service.classifier import Classification
from service.errors import ServiceError
from service.http.bodies import parse_batch, parse_item, read_form
from service.http.direct_route import DirectRoute
from service.http.json_bounds import count_item_values
from service.http.openapi import CLASSIFICATION_ERRORS, describe_any_body, describe_body
from service.http.request_context import (
    cancel_on_disconnect,
    charge,
    encode,
    find_task,
    get_core,
    get_trace,
    make_call,
    read_options,
)
from service.schemas import Answer, BatchAnswer
from service.tasks import PROBLEM_TASK, TURN_TASK

router = APIRouter(route_class=DirectRoute)

_ONE: dict[int | str, dict[str, Any]] = {200: {"model": Answer}, **CLASSIFICATION_ERRORS}
_BATCH: dict[int | str, dict[str, Any]] = {200: {"model": BatchAnswer}, **CLASSIFICATION_ERRORS}


@router.post(
    "/classify/problem",
    summary="The TIMSS cognitive dimension of a maths problem",
    response_class=JsonResponse,
    responses=_ONE,
    openapi_extra=describe_body("problem"),
)
async def classify_problem(request: Request) -> Response:
    return await _classify_one(request, PROBLEM_TASK)


@router.post(
    "/classify/dialogue-turn",
    summary="The IRF label of a turn of a tutoring dialogue",
    response_class=JsonResponse,
    responses=_ONE,
    openapi_extra=describe_body("dialogue-turn"),
)
async def classify_dialogue_turn(request: Request) -> Response:
    return await _classify_one(request, TURN_TASK)


@router.post(
    "/classify/problem/batch",
    summary="Many problems at once",
    response_class=JsonResponse,
    responses=_BATCH,
    openapi_extra=describe_body("problem", batch=True),
)
async def classify_problems(request: Request) -> Response:
    return await _classify_batch(request, PROBLEM_TASK)


@router.post(
    "/classify/dialogue-turn/batch",
    summary="Many dialogue turns at once",
    response_class=JsonResponse,
    responses=_BATCH,
    openapi_extra=describe_body("dialogue-turn", batch=True),
)
async def classify_dialogue_turns(request: Request) -> Response:
    return await _classify_batch(request, TURN_TASK)


@router.post(
    "/classify/tasks/{task}",
    summary="Any task of a loaded checkpoint",
    response_class=JsonResponse,
    responses=_ONE,
    openapi_extra=describe_any_body(),
)
async def classify_task(request: Request) -> Response:
    return await _classify_one(request, request.path_params["task"])


@router.post(
    "/classify/tasks/{task}/batch",
    summary="Many items of any task",
    response_class=JsonResponse,
    responses=_BATCH,
    openapi_extra=describe_any_body(batch=True),
)
async def classify_task_batch(request: Request) -> Response:
    return await _classify_batch(request, request.path_params["task"])


async def _classify_one(request: Request, task: str) -> Response:
    options = read_options(request)
    core = get_core(request)
    classifier = core.readiness.require_classifier()
    served = find_task(request, task, options)
    mix = require_mix(served, options)
    call = make_call(request, "single")
    await charge(request, items=1)
    classifier.check_room(served, call)
    kind = served.task.label_set.kind
    item = await read_form(
        request,
        core.settings,
        call.deadline,
        lambda data: parse_item(kind, data, core.settings),
        max_values=count_item_values(core.settings),
    )
    core.metrics.request_items.labels(call.mode).observe(1)
    async with cancel_on_disconnect(request):
        prompts = await encode(request, served, [item], call.deadline)
        result = await classifier.classify(served, prompts[0], call)
    get_trace(request).add(result)
    answer = format_answer(served, result, options, mix)
    return JsonResponse(answer if item.id is None else {"id": item.id, **answer})


async def _classify_batch(request: Request, task: str) -> Response:
    options = read_options(request)
    core = get_core(request)
    classifier = core.readiness.require_classifier()
    served = find_task(request, task, options)
    stated = resolve_mix(served, options)
    call = make_call(request, "batch")
    kind = served.task.label_set.kind
    items = await read_form(
        request,
        core.settings,
        call.deadline,
        lambda data: parse_batch(kind, data, core.settings),
        max_values=core.settings.max_body_values,
    )
    await charge(request, items=len(items))
    core.metrics.request_items.labels(call.mode).observe(len(items))
    async with cancel_on_disconnect(request):
        inputs = [item.input for item in items if not isinstance(item.input, ServiceError)]
        prompts = await encode(request, served, inputs, call.deadline)
        classified = await classifier.classify_batch(served, prompts, call)
        mix = await find_mix(served, stated, classified)
    outcomes = iter(classified)
    results: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        if isinstance(item.input, ServiceError):
            core.metrics.count_item(served.model.name, served.name, call.mode, item.input.slug)
            outcome: Classification | ServiceError = item.input
        else:
            outcome = next(outcomes)
        results.append(format_result(index, item.id, served, outcome, options, mix))
        if isinstance(outcome, Classification):
            get_trace(request).add(outcome)
        if index % FORMATTED_AT_ONCE == FORMATTED_AT_ONCE - 1:
            await asyncio.sleep(0)  # other requests must not wait for a whole batch
    ok = sum(result["status"] == "ok" for result in results)
    return JsonResponse({
        "prior": describe_mix(mix, served.task.label_set.ids),
        "results": results,
        "ok": ok,
        "failed": len(results) - ok,
    })  # fmt: skip
