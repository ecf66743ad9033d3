"""The heart: a batch of rows in, the same rows with their labels out. Pure, and without Ray.

Prompts, calibration and class mix are those of `contract`, as the service has them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from bulk.rows.columns import Columns, make_fields, name_probability
from bulk.rows.inputs import Inputs, make_problems, make_turns
from contract.inputs import Speaker
from contract.interaction import DialogueMode
from contract.manifest import Task
from contract.predictions import read_head
from contract.priors import Mix, decide
from contract.prompts import Prompt, PromptEncoder
from engine.errors import EngineFailed

_NOT_FINITE = "the engine's scores are not finite numbers"
Scores = Sequence[list[float] | EngineFailed]
"""Raw logits of all rows of the checkpoint for each prompt, or why there are none."""
Score = Callable[[Sequence[Prompt]], Scores]


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """All that decides what is added to a row."""

    task: Task
    encoder: PromptEncoder
    columns: Columns
    speakers: Mapping[str, Speaker]
    """Names, in lower case, that say who is who."""
    mode: DialogueMode
    mix: Mix
    """The class mix that labels and probabilities are for."""
    prefix: str
    """Of the added columns."""
    model: str
    """Name and fingerprint, as every row states them."""


class Prepared(NamedTuple):
    """A batch whose texts are token ids."""

    prompts: list[Prompt]
    """Of the rows without an error, in their order."""
    errors: list[str | None]
    """Of every row."""


def label_batch(batch: pa.RecordBatch, how: Labelling, score: Score) -> pa.RecordBatch:
    """Return the rows in their order, each with its label or its error.

    Of turns a batch must hold whole dialogues.
    """
    prepared = prepare(batch, how)
    return add_answers(batch, prepared, score(prepared.prompts), how)


def prepare(batch: pa.RecordBatch, how: Labelling) -> Prepared:
    """Tokenize the rows: the first half of `label_batch`."""
    inputs = _make_inputs(batch, how)
    return Prepared(how.encoder.encode(inputs.items), inputs.errors)


def add_answers(
    batch: pa.RecordBatch, prepared: Prepared, scores: Scores, how: Labelling
) -> pa.RecordBatch:
    """Add the columns: the second half of `label_batch`."""
    fields = make_fields(how.task, how.prefix)
    columns: list[list[Any]] = [[] for _ in fields]
    answered = iter(zip(prepared.prompts, scores, strict=True))
    for error in prepared.errors:
        values = _fail(error, how) if error is not None else _answer(*next(answered), how)
        for field, column in zip(fields, columns, strict=True):
            column.append(values.get(field.name.removeprefix(how.prefix)))
    arrays = [pa.array(column, field.type) for column, field in zip(columns, fields, strict=True)]
    schema = batch.schema
    for field in fields:
        schema = schema.append(field)
    return pa.RecordBatch.from_arrays([*batch.columns, *arrays], schema=schema)


def _make_inputs(batch: pa.RecordBatch, how: Labelling) -> Inputs:
    if how.task.label_set.kind == "problem":
        return make_problems(batch, how.columns)
    return make_turns(
        batch, how.columns, speakers=how.speakers, window=how.task.window, mode=how.mode
    )


def _answer(prompt: Prompt, scores: list[float] | EngineFailed, how: Labelling) -> dict[str, Any]:
    """The added values of one row, by name."""
    if isinstance(scores, EngineFailed):
        return _fail(str(scores), how)
    try:
        answer = read_head(how.task, scores)
    except ValueError:
        return _fail(_NOT_FINITE, how)
    best, probabilities, review = decide(answer.probabilities, answer.prediction_set, how.mix)
    ids = how.task.label_set.ids
    return {
        "label": ids[best],
        "confidence": probabilities[best],
        "needs_review": review,
        "prediction_set": [ids[index] for index in answer.prediction_set],
        "was_cut": prompt.was_cut,
        "model": how.model,
        **{
            name_probability(label): probability
            for label, probability in zip(ids, probabilities, strict=True)
        },
    }


def _fail(error: str, how: Labelling) -> dict[str, Any]:
    return {"error": error, "model": how.model}
