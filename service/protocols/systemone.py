"""`POST /v1/systemone` and `GET /v1/models`: System One over the classifier.

One prefill for each task that the questions ask about, however many they are.
"""

import asyncio
from datetime import datetime
from typing import Any

from fastapi import Request
from starlette.responses import Response

from contract.inputs import AnyInput, Kind
from engine.checkpoint import DEFAULT_NAME
from service.api.answers import JsonResponse
from service.classifier import Classification, Classifier
from service.errors import InvalidInput, Reason
from service.http.bodies import parse_beside, parse_item
from service.http.request_context import get_core, make_call
from service.models.model import Model, ServedTask
from service.protocols.asking import (
    classify_all,
    find_tasks,
    read_body,
    read_dialogue,
    read_text,
)
from service.protocols.systemone_answers import (
    AnyQuestion,
    Reading,
    Unanswerable,
    answer_question,
    read_question,
)
from service.protocols.systemone_forms import Content, SystemOneRequest
from service.settings import Settings

_Questions = dict[str, tuple[ServedTask, Reading]]
"""By name: the task that answers, and how it reads the question."""


async def ask(request: Request) -> Response:
    core = get_core(request)
    classifier = core.readiness.require_classifier()
    asked = await read_body(request, SystemOneRequest)
    tasks = find_tasks(request, asked.model)
    readings, inputs = await parse_beside(
        lambda: _read(classifier, tasks, asked, core.settings),
        make_call(request, "single").deadline,
    )
    results = dict(
        zip(
            inputs,
            await asyncio.gather(
                *(classify_all(request, served, [item]) for served, item in inputs.values())
            ),
            strict=True,
        )
    )
    answers = {
        name: answer_question(reading, results[served.name][0].probabilities)
        for name, (served, reading) in readings.items()
    }
    return JsonResponse(_format(readings, results, answers))


async def list_models(request: Request) -> Response:
    classifier = get_core(request).readiness.require_classifier()
    first = next(iter(classifier.tasks.values())).model
    cards = [_describe(DEFAULT_NAME, first, "All tasks that are served.")]
    for model in classifier.models:
        tasks = [task.label_set for task in model.checkpoint.manifest.tasks]
        names = "; ".join(f"{each.name}: {', '.join(each.ids)}" for each in tasks)
        cards.append(_describe(model.name, model, names))
        cards += [
            _describe(f"{model.name}/{each.task}", model, f"{each.name}: {', '.join(each.ids)}")
            for each in tasks
        ]
    return JsonResponse({"object": "list", "models": cards, "data": cards})


def _describe(name: str, model: Model, description: str) -> dict[str, Any]:
    created = datetime.fromisoformat(model.checkpoint.manifest.created)
    return {
        "name": name,
        "description": description,
        "release_date": created.date().isoformat(),
        "id": name,
        "object": "model",
        "created": int(created.timestamp()),
        "owned_by": "ncal-serve",
    }


def _read(
    classifier: Classifier, tasks: list[ServedTask], asked: SystemOneRequest, settings: Settings
) -> tuple[_Questions, dict[str, tuple[ServedTask, AnyInput]]]:
    """Return the questions by name, and what each task that answers one has to classify."""
    readings = _read_questions(classifier, tasks, asked)
    inputs = {
        served.name: (served, _read_state(served, asked.state, settings))
        for served, _ in readings.values()
    }
    return readings, inputs


def _read_questions(
    classifier: Classifier, tasks: list[ServedTask], asked: SystemOneRequest
) -> _Questions:
    """Return each question with the task that answers it; InvalidInput names those without."""
    kinds = _find_kinds(asked.state)
    fitting = [each for each in tasks if each.task.label_set.kind in kinds]
    found: _Questions = {}
    reasons: list[Reason] = []
    for place, (name, question) in enumerate(asked.questions.items()):
        readings, why = _try_tasks(fitting, question)
        if len(readings) == 1:
            found[name] = readings[0]
            continue
        if readings:
            why = "several tasks have these labels; name one by `model`: NAME/TASK"
        reasons.append(Reason(f"questions.{place}", why))
    if reasons:
        raise InvalidInput(
            f"a fixed taxonomy answers here; it can be asked: {_list_labels(classifier)}",
            reasons=reasons,
        )
    return found


def _try_tasks(
    tasks: list[ServedTask], question: AnyQuestion
) -> tuple[list[tuple[ServedTask, Reading]], str]:
    """Return how each task that can answer reads the question, and why the others can't."""
    readings: list[tuple[ServedTask, Reading]] = []
    why = "no task that is served reads such a state"
    for served in tasks:
        try:
            readings.append((served, read_question(served.task.label_set, question)))
        except Unanswerable as error:
            why = str(error)
    return readings, why


def _find_kinds(state: Content) -> tuple[Kind, ...]:
    if isinstance(state, list):
        return ("dialogue-turn",)
    if isinstance(state, dict):
        return ("dialogue-turn",) if "speaker" in state else ("problem",)
    return ("problem", "dialogue-turn")


def _read_state(served: ServedTask, state: Content, settings: Settings) -> AnyInput:
    if isinstance(state, str):
        return read_text(served, state, settings, "state")
    if isinstance(state, list):
        return read_dialogue(served, state, settings, "state")
    return parse_item(served.task.label_set.kind, state, settings, "state")


def _list_labels(classifier: Classifier) -> str:
    parts = []
    for name, served in classifier.tasks.items():
        labels = served.task.label_set
        groups = dict.fromkeys(label.group for label in labels.labels)
        parts.append(f"{name} ({', '.join(labels.ids)}; groups {', '.join(groups)})")
    return ", ".join(parts)


def _format(
    readings: dict[str, tuple[ServedTask, Reading]],
    results: dict[str, list[Classification]],
    answers: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    models = dict.fromkeys(served.model.name for served, _ in readings.values())
    tokens = sum(result.tokens for each in results.values() for result in each)
    return {
        "model": ", ".join(models),
        "answers": answers,
        "usage": {"input_tokens": tokens, "output_tokens": 0},
    }
