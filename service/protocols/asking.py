"""What the foreign protocols share: which task is asked, and how its items are classified."""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.requests import Request

from contract.inputs import AnyInput, DialogueTurn, Kind, Problem, Turn
from contract.priors import shift_prior
from service.api.mixes import require_mix
from service.classifier import Classification
from service.errors import InvalidInput, Reason, ServiceError
from service.http.bodies import check_limits, parse_beside, parse_form, read_form
from service.http.request_context import (
    cancel_on_disconnect,
    charge,
    encode,
    get_core,
    get_trace,
    keep,
    make_call,
)
from service.models.model import ServedTask
from service.schemas import Options
from service.settings import Settings
from tables.speakers import assign_speakers
from tables.transcript import read_turns

Form = TypeVar("Form", bound=BaseModel)
_READ_INLINE_CHARACTERS = 16_000
_CHARACTERS_OF_A_TEXT = 50
"""That take as long to read as a text takes to be made an input."""


def find_tasks(request: Request, model: str | None) -> list[ServedTask]:
    """Return the tasks that a `model` of a foreign protocol names; NotFound lists what there is.

    Their models are kept until the request ends.
    """
    loaded = get_core(request).readiness.require_classifier().loaded
    found = loaded.find_tasks(model or request.query_params.get("model"))
    for served in found:
        keep(request, served.model)
    return found


def find_task(request: Request, model: str | None, kind: Kind) -> ServedTask:
    """Return the one task that is asked; items of `kind` decide where `model` names several."""
    found = find_tasks(request, model)
    fitting = [each for each in found if each.task.label_set.kind == kind]
    if len(found) == 1:
        return found[0]
    if len(fitting) == 1:
        return fitting[0]
    loaded = get_core(request).readiness.require_classifier().loaded
    raise refuse("model", f"say which task is asked; there is: {loaded.describe()}")


def refuse(field: str, reason: str) -> InvalidInput:
    return InvalidInput("the request cannot be answered", reasons=[Reason(field, reason)])


async def read_body(request: Request, form: type[Form]) -> Form:
    """Return the body as that form; its limits are those of our own endpoints."""
    core = get_core(request)
    core.readiness.require_classifier()  # before the body is read
    return await read_form(
        request,
        core.settings,
        make_call(request, "single").deadline,
        lambda data: parse_form(form, data),
        max_values=core.settings.max_body_values,
    )


async def read_texts(
    request: Request, served: ServedTask, texts: Sequence[Any], field: str
) -> list[AnyInput]:
    """Return what each of the bare texts is to a task; many are read beside the event loop."""
    settings = get_core(request).settings
    if len(texts) > settings.max_batch_items:
        raise refuse(field, f"has more than {settings.max_batch_items} items")

    def read() -> list[AnyInput]:
        return [
            read_text(served, text, settings, f"{field}.{index}")
            for index, text in enumerate(texts)
        ]

    if sum(len(text) + _CHARACTERS_OF_A_TEXT for text in texts) <= _READ_INLINE_CHARACTERS:
        return read()
    return await parse_beside(read, make_call(request, "batch").deadline)


async def classify(
    request: Request, served: ServedTask, inputs: Sequence[AnyInput]
) -> list[Classification | ServiceError]:
    """Classify the inputs in order: one as a single item, more as a batch.

    A single item that fails raises its error; in a batch it is the error.
    """
    core = get_core(request)
    classifier = core.readiness.require_classifier()
    call = make_call(request, "single" if len(inputs) == 1 else "batch")
    await charge(request, items=len(inputs))
    core.metrics.request_items.labels(call.mode).observe(len(inputs))
    async with cancel_on_disconnect(request):
        prompts = await encode(request, served, inputs, call.deadline)
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
    if len(text.splitlines()) > settings.max_dialogue_turns:
        raise refuse(field, f"has more than {settings.max_dialogue_turns} lines")
    return read_dialogue(served, _read_transcript(text, field), settings, field)


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


def _read_transcript(text: str, field: str) -> list[dict[str, str]]:
    """Return the turns of a transcript; who speaks is told from the names as in files."""
    turns = read_turns(text)
    speakers = assign_speakers(turn.speaker for turn in turns or ())
    if turns is None or any(turn.speaker not in speakers for turn in turns):
        raise refuse(
            field,
            "must be a transcript, each turn with who speaks before it: `teacher: …`, "
            "`student: …`, or a name once a teacher speaks too",
        )
    return [{"speaker": speakers[turn.speaker], "text": turn.text} for turn in turns]
