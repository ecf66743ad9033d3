"""What the foreign protocols share: which task is asked, and how its items are classified."""

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from contract.inputs import AnyInput, DialogueTurn, Kind, Problem, Turn
from contract.priors import shift_prior
from service.api.mixes import require_mix
from service.classifier import Classification, Classifier, ServedTask
from service.errors import InvalidInput, NotFound, Reason, ServiceError
from service.http.bodies import check_limits, parse_form, read_json
from service.http.request_context import (
    cancel_on_disconnect,
    charge,
    encode,
    get_core,
    get_trace,
    make_call,
)
from service.schemas import Options
from service.settings import Settings

DEFAULT_MODEL = "default"
_SPEAKERS = {
    **dict.fromkeys(("teacher", "tutor", "t", "师", "老师", "教师"), "teacher"),
    **dict.fromkeys(("student", "pupil", "s", "生", "学生"), "student"),
}
_LEAST_PREFIX = 12
"""Digits of a fingerprint that name a model; fewer might soon name two."""


def find_tasks(classifier: Classifier, model: str | None) -> list[ServedTask]:
    """Return the tasks that a `model` of a foreign protocol names.

    It is a checkpoint's name or fingerprint (whole, or its first digits), a task's name, or
    both as `NAME/TASK`; none, or `default`, names all tasks. NotFound lists what there is.
    """
    served = list(classifier.tasks.values())
    if model is None or model in ("", DEFAULT_MODEL):
        return served
    name, _, task = model.rpartition("/")
    found = [each for each in served if each.name == task and (not name or _is_of(each, name))]
    found = found or [each for each in served if _is_of(each, model)]
    if not found:
        raise NotFound(f"`model` names nothing that is loaded; there is: {list_models(classifier)}")
    return found


def find_task(classifier: Classifier, model: str | None, kind: Kind) -> ServedTask:
    """Return the one task that is asked; items of `kind` decide where `model` names several."""
    found = find_tasks(classifier, model)
    fitting = [each for each in found if each.task.label_set.kind == kind]
    if len(found) == 1:
        return found[0]
    if len(fitting) == 1:
        return fitting[0]
    raise refuse("model", f"say which task is asked; there is: {list_models(classifier)}")


def list_models(classifier: Classifier) -> str:
    """Return all tasks as `NAME/TASK`, for messages."""
    return ", ".join(f"{each.model.name}/{each.name}" for each in classifier.tasks.values())


def refuse(field: str, reason: str) -> InvalidInput:
    return InvalidInput("the request cannot be answered", reasons=[Reason(field, reason)])


async def read_body(request: Request) -> Any:
    """Return the parsed body; its limits are those of our own endpoints."""
    settings = get_core(request).settings
    return await read_json(request, settings, make_call(request, "single").deadline)


async def classify(
    request: Request, served: ServedTask, inputs: Sequence[AnyInput]
) -> list[Classification | ServiceError]:
    """Classify the inputs in order: one as a single item, more as a batch.

    A single item that fails raises its error; in a batch it is the error.
    """
    core = get_core(request)
    classifier = core.readiness.require_classifier()
    if len(inputs) > core.settings.max_batch_items:
        raise refuse("input", f"has more than {core.settings.max_batch_items} items")
    call = make_call(request, "single" if len(inputs) == 1 else "batch")
    charge(request, items=len(inputs))
    core.metrics.request_items.labels(call.mode).observe(len(inputs))
    async with cancel_on_disconnect(request):
        prompts = await encode(request, served, inputs)
        outcomes: list[Classification | ServiceError]
        if len(prompts) == 1:
            outcomes = [await classifier.classify(served, prompts[0], call)]
        else:
            outcomes = await classifier.classify_batch(served, prompts, call)
    for outcome in outcomes:
        if isinstance(outcome, Classification):
            get_trace(request).add(outcome)
    return outcomes


async def classify_all(
    request: Request, served: ServedTask, inputs: Sequence[AnyInput]
) -> list[Classification]:
    """The same where the protocol has no place for an item's error: the first is raised.

    Probabilities are for the class mix of `?prior=`, or the operator's default.
    """
    settings = get_core(request).settings
    prior = request.query_params.get("prior", settings.default_prior)
    mix = require_mix(served, parse_form(Options, {"prior": prior}, "query"))
    results: list[Classification] = []
    for outcome in await classify(request, served, inputs):
        if isinstance(outcome, ServiceError):
            raise outcome
        results.append(
            outcome._replace(probabilities=shift_prior(outcome.probabilities, mix.shares))
            if mix.kind != "uniform"
            else outcome
        )
    return results


def read_text(served: ServedTask, text: Any, settings: Settings, field: str) -> AnyInput:
    """Return what a bare text is to a task: a problem, or a transcript whose last turn is asked."""
    if not isinstance(text, str):
        raise refuse(field, "must be a text")
    if served.task.label_set.kind == "problem":
        item = parse_form(Problem, {"text": text}, field)
        check_limits(item, settings, field)
        return item
    turns = [_read_line(line, field) for line in text.splitlines() if line.strip()]
    return read_dialogue(served, turns, settings, field)


def read_dialogue(
    served: ServedTask, turns: Sequence[Any], settings: Settings, field: str
) -> DialogueTurn:
    """Return the last turn with those before it that the model reads; others are not looked at."""
    if not turns:
        raise refuse(field, "has no turn")
    first = max(0, len(turns) - 1 - served.task.window.previous)
    *previous, last = [
        parse_form(Turn, turn, f"{field}.{first + index}")
        for index, turn in enumerate(turns[first:])
    ]
    item = DialogueTurn.model_construct(  # its parts have been validated as turns
        speaker=last.speaker, text=last.text, previous=tuple(previous), following=()
    )
    check_limits(item, settings, field)
    return item


def _read_line(line: str, field: str) -> dict[str, str]:
    """Return the turn that a line of a transcript says."""
    speaker, mark, text = line.replace("：", ":", 1).partition(":")
    role = _SPEAKERS.get(speaker.strip().casefold())
    if not mark or role is None:
        raise refuse(field, "each line must begin with who speaks: `teacher: …` or `student: …`")
    return {"speaker": role, "text": text}


def _is_of(served: ServedTask, name: str) -> bool:
    fingerprint = served.model.fingerprint
    return name == served.model.name or (
        len(name) >= _LEAST_PREFIX and fingerprint.startswith(name)
    )
