"""Rows and a way to label them that costs nothing, as the service around a fake engine has it."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pyarrow as pa

from bulk.rows.answers import Labelling, Scores
from bulk.rows.columns import Columns
from contract.labels import IRF
from contract.manifest import Task
from contract.priors import Mix
from contract.prompts import Prompt, PromptEncoder
from engine.errors import EngineFailed
from tables.speakers import SPEAKERS
from tests.contract.characters import CharacterTokenizer
from tests.contract.examples import make_task
from tests.service.fake_service import compute_scores

UNIFORM = Mix("uniform", ())
TURNS = Columns("text", "speaker", "dialogue", None)
CLASSES = 15
REFUSED = "算不出"
"""A text in which the fake engine fails."""


class InstantScorer:
    """Scores at once, as `FakeEngine` does."""

    def __init__(self) -> None:
        self.scored: list[list[int]] = []

    def submit(self, prompts: Sequence[Prompt]) -> Future[Scores]:
        future: Future[Scores] = Future()
        future.set_result(self.score(prompts))
        return future

    def score(self, prompts: Sequence[Prompt]) -> Scores:
        refused = CharacterTokenizer()([REFUSED], add_special_tokens=False)["input_ids"][0]
        scores: list[list[float] | EngineFailed] = []
        for prompt in prompts:
            ids = prompt.token_ids
            self.scored.append(ids)
            fails = any(ids[at : at + len(refused)] == refused for at in range(len(ids)))
            scores.append(
                EngineFailed("the engine could not compute this item")
                if fails
                else compute_scores(ids, CLASSES)
            )
        return scores


def make_labelling(task: Task | None = None, **changes: Any) -> Labelling:
    """Of problems; of turns with `task=TURN_TASK, columns=TURNS`."""
    task = task or make_task()
    tokenizer: Any = CharacterTokenizer()
    fields: dict[str, Any] = {
        "task": task,
        "encoder": PromptEncoder(
            tokenizer, version=task.prompt_version, max_tokens=task.max_tokens, window=task.window
        ),
        "columns": Columns("text"),
        "speakers": SPEAKERS,
        "mode": "retrospective",
        "mix": UNIFORM,
        "prefix": "ncal_",
        "model": "example 0123456789ab",
    }
    return Labelling(**fields | changes)


TURN_TASK = make_task(IRF, 7)


def make_batch(**columns: Sequence[Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({name: list(values) for name, values in columns.items()})
