"""`POST /classify` and `/v1/classify`, as vLLM, SGLang and Dynamo have them.

vLLM 0.32: `vllm/entrypoints/pooling/classify/protocol.py`. `input` is one text or several,
`messages` a conversation whose last message is asked about. An answer is the most probable
label, and the probabilities of all in the order of the task's labels.
"""

import time
from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import Response

from contract.inputs import AnyInput
from service.api.answers import JsonResponse
from service.classifier import Classification
from service.http.request_context import get_core
from service.models.model import ServedTask
from service.protocols.asking import classify_all, find_task, read_body, read_dialogue, read_texts

PATHS = ("/classify", "/v1/classify")
_SPEAKERS = {"user": "student", "assistant": "teacher"}


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Message(_Form):
    """A turn: the tutor is the assistant, the student the user."""

    role: Literal["user", "assistant"]
    content: str


class ClassifyRequest(_Form):
    """`input` or `messages`; fields of vLLM that change nothing here are ignored."""

    model: str | None = None
    """A checkpoint, a task, or `NAME/TASK`."""
    input: str | list[str] | None = None
    """Texts: problems; for a task of turns transcripts, a line `teacher: …` or `student: …`."""
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    use_activation: bool = True
    """False: `probs` are the head's raw logits."""

    @model_validator(mode="after")
    def _check_one(self) -> "ClassifyRequest":
        if (self.input is None) == (self.messages is None):
            raise ValueError("needs either `input` or `messages`")
        return self


class ClassifyData(_Form):
    """The answer to one text."""

    index: int
    label: str
    probs: list[float]
    num_classes: int


class ClassifyUsage(_Form):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int


class ClassifyResponse(_Form):
    """The answers in the order of the texts."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[ClassifyData]
    usage: ClassifyUsage


async def classify(request: Request) -> Response:
    core = get_core(request)
    asked = await read_body(request, ClassifyRequest)
    if asked.messages is not None:
        served = find_task(request, asked.model, "dialogue-turn")
        turns = [{"speaker": _SPEAKERS[m.role], "text": m.content} for m in asked.messages]
        inputs: list[AnyInput] = [read_dialogue(served, turns, core.settings, "messages")]
    else:
        served = find_task(request, asked.model, "problem")
        texts = [asked.input] if isinstance(asked.input, str) else asked.input or []
        inputs = await read_texts(request, served, texts, "input")
    results = await classify_all(request, served, inputs)
    return JsonResponse(_format(request, served, results, activated=asked.use_activation))


def _format(
    request: Request, served: ServedTask, results: list[Classification], *, activated: bool
) -> dict[str, Any]:
    ids = served.task.label_set.ids
    data = []
    for index, result in enumerate(results):
        probabilities = result.probabilities
        best = max(range(len(ids)), key=probabilities.__getitem__)
        data.append(
            {
                "index": index,
                "label": ids[best],
                "probs": probabilities if activated else result.logits,
                "num_classes": len(ids),
            }
        )
    tokens = sum(result.tokens for result in results)
    return {
        "id": f"classify-{request.state.request_id}",
        "object": "list",
        "created": int(time.time()),
        "model": f"{served.model.name}/{served.name}",
        "data": data,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0},
    }
