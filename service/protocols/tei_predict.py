"""`POST /predict`, as Text Embeddings Inference has it (`router/src/http/types.rs`).

`inputs` is a text, `[text]`, or a batch `[[text], [text], …]`; two texts in one list are a pair to
TEI, which no task of ours reads. The labels of a text come back with the best one first.
Hugging Face's clients send `parameters` beside `inputs`; to them the answer to one text is a
batch of one, as their library expects.
"""

from typing import Any, Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, RootModel
from starlette.responses import Response

from service.api.answers import JsonResponse
from service.classifier import Classification
from service.errors import BodyTooLarge
from service.models.model import ServedTask
from service.protocols.asking import classify_all, find_task, read_body, read_texts, refuse


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class PredictParameters(_Form):
    """What Hugging Face's clients may ask for."""

    function_to_apply: Literal["softmax", "none"] | None = None
    top_k: int | None = Field(default=None, ge=1)


class PredictRequest(_Form):
    """A text, or a batch of lists of one text each."""

    inputs: str | list[str] | list[list[str]] = Field(max_length=65_536)
    truncate: bool = False
    """Read what fits of a text that is too long; without it such a text is refused."""
    raw_scores: bool = False
    """Scores are the head's raw logits."""
    model: str | None = None
    """Not TEI's: a checkpoint, a task, or `NAME/TASK`; also as a query option."""
    parameters: PredictParameters | None = None


class Prediction(_Form):
    """A label and its score."""

    label: str
    score: float


class PredictResponse(RootModel[list[Prediction] | list[list[Prediction]]]):
    """The labels of a text, the best one first; of a batch, one such list for each text."""


async def predict(request: Request) -> Response:
    asked = await read_body(request, PredictRequest)
    served = find_task(request, asked.model, "problem")
    texts, is_batch = _read_inputs(asked.inputs)
    inputs = await read_texts(request, served, texts, "inputs")
    results = await classify_all(request, served, inputs)
    if not asked.truncate and any(result.was_cut for result in results):
        limit = served.task.max_tokens
        raise BodyTooLarge(f"an input has more than {limit} tokens; say `truncate: true` to cut it")
    answers = [_format(served, result, asked) for result in results]
    nested = is_batch or asked.parameters is not None
    return JsonResponse(answers if nested else answers[0])


def _read_inputs(inputs: str | list[str] | list[list[str]]) -> tuple[list[str], bool]:
    """Return the texts, and whether they came as a batch."""
    if isinstance(inputs, str):
        return [inputs], False
    if not inputs:
        raise refuse("inputs", "must not be empty")
    if isinstance(inputs[0], str):
        return [_read_sequence(inputs, "inputs")], False
    return [_read_sequence(each, f"inputs.{index}") for index, each in enumerate(inputs)], True


def _read_sequence(sequence: Any, field: str) -> str:
    if len(sequence) != 1:
        raise refuse(field, "must hold one text: a batch is a list of lists of one text each")
    return str(sequence[0])


def _format(
    served: ServedTask, result: Classification, asked: PredictRequest
) -> list[dict[str, Any]]:
    parameters = asked.parameters or PredictParameters()
    raw = asked.raw_scores or parameters.function_to_apply == "none"
    scores = result.logits if raw else result.probabilities
    pairs = zip(served.task.label_set.ids, scores, strict=True)
    ranked = sorted(pairs, key=lambda pair: -pair[1])[: parameters.top_k]
    return [{"label": label, "score": score} for label, score in ranked]
