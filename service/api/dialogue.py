"""`POST …/classify/dialogue`: a whole dialogue, a label for every turn, and its structure."""

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from contract.interaction import (
    DialogueMode,
    LabelledTurn,
    cut_windows,
    describe_structure,
    read_scheme,
)
from contract.priors import Mix, describe_mix
from service.api.answers import FORMATTED_AT_ONCE, JsonResponse, format_result
from service.api.mixes import find_mix, resolve_mix
from service.api.turn_tasks import find_turn_task
from service.classifier import Classification
from service.errors import InvalidInput, Reason, ServiceError
from service.http.bodies import parse_dialogue, read_form
from service.http.direct_route import DirectRoute
from service.http.openapi import CLASSIFICATION_ERRORS, describe_dialogue
from service.http.request_context import (
    cancel_on_disconnect,
    charge,
    encode,
    get_core,
    get_trace,
    make_call,
    read_more_options,
)
from service.models.model import ServedTask
from service.schemas import Dialogue, DialogueAnswer, DialogueOptions, Options

router = APIRouter(route_class=DirectRoute)


@router.post(
    "/classify/dialogue",
    summary="A whole dialogue: a label for every turn, and its IRF structure",
    response_class=JsonResponse,
    responses={200: {"model": DialogueAnswer}, **CLASSIFICATION_ERRORS},
    openapi_extra=describe_dialogue(),
)
async def classify_dialogue(request: Request) -> Response:
    core = get_core(request)
    options = read_more_options(request, DialogueOptions)
    classifier = core.readiness.require_classifier()
    served = find_turn_task(request, options)
    stated = resolve_mix(served, options)
    call = make_call(request, "batch")
    dialogue = await read_form(
        request,
        core.settings,
        call.deadline,
        lambda data: parse_dialogue(data, core.settings),
        max_values=core.settings.max_body_values,
    )
    mode = _choose_mode(dialogue, options)
    await charge(request, items=len(dialogue.turns))
    core.metrics.request_items.labels(call.mode).observe(len(dialogue.turns))
    async with cancel_on_disconnect(request):
        turns = cut_windows(dialogue.turns, served.task.window, mode)
        prompts = await encode(request, served, turns, call.deadline)
        outcomes = await classifier.classify_batch(served, prompts, call)
        mix = await find_mix(served, stated, outcomes)
    for outcome in outcomes:
        if isinstance(outcome, Classification):
            get_trace(request).add(outcome)
    formatted = await _format_dialogue(dialogue, served, outcomes, options, mix)
    return JsonResponse({"mode": mode, **formatted})


def _choose_mode(dialogue: Dialogue, options: DialogueOptions) -> DialogueMode:
    """The mode of the query, or of the body; InvalidInput if they say different things."""
    if options.mode and dialogue.mode and options.mode != dialogue.mode:
        reasons = [Reason("mode", "differs from the option `mode`; leave out one of them")]
        raise InvalidInput("the input breaks a rule; `errors` names the fields", reasons=reasons)
    return options.mode or dialogue.mode or "retrospective"


async def _format_dialogue(
    dialogue: Dialogue,
    served: ServedTask,
    outcomes: Sequence[Classification | ServiceError],
    options: Options,
    mix: Mix,
) -> dict[str, Any]:
    results: list[dict[str, Any]] = []
    for index, (turn, outcome) in enumerate(zip(dialogue.turns, outcomes, strict=True)):
        results.append(format_result(index, turn.id, served, outcome, options, mix))
        if index % FORMATTED_AT_ONCE == FORMATTED_AT_ONCE - 1:
            await asyncio.sleep(0)  # other requests must not wait for a whole dialogue
    labelled = [
        LabelledTurn(turn.speaker, turn.text, result["prediction"]["label"])
        for turn, result in zip(dialogue.turns, results, strict=True)
        if result["status"] == "ok"
    ]
    scheme = read_scheme(served.task.label_set)
    structure = None
    if scheme is not None and len(labelled) == len(results):
        structure = await asyncio.to_thread(describe_structure, labelled, scheme)
    return {
        "prior": describe_mix(mix, served.task.label_set.ids),
        "turns": results,
        "ok": len(labelled),
        "failed": len(results) - len(labelled),
        "structure": None if structure is None else structure.model_dump(),
    }
