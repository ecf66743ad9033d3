"""From a classification to the JSON a client gets.

Answers are plain dictionaries, written straight to bytes; `service.schemas` documents
their form, and a test holds the two together.
"""

from typing import Any

import orjson
from starlette.responses import JSONResponse

from contract.priors import Mix, decide
from service.classifier import Classification
from service.errors import ServiceError, to_error_document
from service.models.model import ServedTask
from service.schemas import ItemId, Options

FORMATTED_AT_ONCE = 128
"""Results of a request that are formatted before others get their turn."""


class JsonResponse(JSONResponse):
    """JSON by orjson, which is fast."""

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def format_answer(
    served: ServedTask, result: Classification, options: Options, mix: Mix
) -> dict[str, Any]:
    """Return the answer to one item, for traffic of the class mix, as JSON-ready data."""
    labels = served.task.label_set.labels
    ids = served.task.label_set.ids
    best, probabilities, review = decide(result.probabilities, result.prediction_set, mix)
    answer: dict[str, Any] = {
        "task": served.name,
        "label": ids[best],
        "name_en": labels[best].name_en,
        "name_zh": labels[best].name_zh,
        "group": labels[best].group,
        "confidence": probabilities[best],
        "probabilities": dict(zip(ids, probabilities, strict=True)),
        "prior": mix.kind,
        "needs_review": review,
        "was_cut": result.was_cut,
        "model": {"name": served.model.name, "fingerprint": served.model.fingerprint},
    }
    if options.prediction_set:
        answer["prediction_set"] = [ids[index] for index in result.prediction_set]
    if options.top_k is not None:
        ranked = sorted(range(len(ids)), key=lambda index: -probabilities[index])
        answer["top"] = [
            {"label": ids[index], "probability": probabilities[index]}
            for index in ranked[: options.top_k]
        ]
    if options.raw_logits:
        answer["logits"] = dict(zip(ids, result.logits, strict=True))
    return answer


def format_result(
    index: int,
    identifier: ItemId | None,
    served: ServedTask,
    outcome: Classification | ServiceError,
    options: Options,
    mix: Mix,
) -> dict[str, Any]:
    """Return what became of one item of a batch or a stream as JSON-ready data."""
    result: dict[str, Any] = {"index": index}
    if identifier is not None:
        result["id"] = identifier
    if isinstance(outcome, ServiceError):
        return result | {"status": "error", "error": to_error_document(outcome)}
    return result | {"status": "ok", "prediction": format_answer(served, outcome, options, mix)}
