"""The pool of engines: Ray Data hands each the next part, and mends what dies.

What goes through Ray is the names of parts and what became of them; rows go from the store to an
engine and back to the store. So the memory of the driver and of Ray's object store is flat.
"""

import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import ray.data
from ray.util.annotations import RayDeprecationWarning

from bulk.cluster.connection import Share, keep_quiet
from bulk.cluster.metrics import PoolMetrics
from bulk.fragments import Part
from bulk.job import Job, load_labelling
from bulk.part import Report, label_part
from bulk.scorer import EngineScorer, Scorer
from bulk.storage import Place
from contract.manifest import CheckpointError
from engine.checkpoint import Checkpoint
from engine.choice import choose_engine
from engine.errors import EngineDead, EngineRefused
from tables.errors import FileError

_TRIES = 5
"""A part that has cost its worker the life so often is left out and named at the end."""
MakeScorer = Callable[[Job, Checkpoint], Scorer]


class Outcome(NamedTuple):
    """What became of a part."""

    part: Part
    report: Report | None
    error: str | None = None
    """Why there is no report."""


def start_engine_of(job: Job, checkpoint: Checkpoint) -> Scorer:
    """The job's engine, in this process."""
    return EngineScorer(checkpoint, choose_engine(job.engine), job.options)


def label_parts(
    job: Job,
    parts: Sequence[Part],
    share: Share,
    *,
    engines: int | None,
    room: int,
    make_scorer: MakeScorer = start_engine_of,
) -> Iterator[Outcome]:
    """Yield what became of each part, as they come to their end.

    At most so many engines; None takes what the cluster has, nodes that join it later too; `room`
    is for how many it has now. A part
    whose worker died is done again by another. Raises EngineRefused when an engine cannot run.
    """
    context = keep_quiet()
    context.max_errored_blocks = -1  # a part that is lost is no reason to lose the others
    context.execution_no_progress_timeout_s = -1  # a part may take long
    context.max_consecutive_actor_init_deaths = _TRIES  # a worker may die while its engine begins
    data = ray.data.from_items(
        [{"part": json.dumps(part._asdict())} for part in parts], override_num_blocks=len(parts)
    )
    # Ray will have another way to bound the tries; pyproject.toml bounds Ray until then.
    warnings.filterwarnings("ignore", category=RayDeprecationWarning)
    results = data.map_batches(
        _Worker,
        fn_constructor_args=(job, make_scorer),
        batch_size=1,
        num_cpus=share.cpus,
        num_gpus=share.gpus or None,
        compute=ray.data.ActorPoolStrategy(
            min_size=1,
            max_size=engines,
            initial_size=min(room, len(parts), engines or room),
            # One is labelled and one waits, which tells Ray Data that another engine has work.
            max_tasks_in_flight_per_actor=2,
        ),
        ray_remote_args_fn=_bound_retries,
    )
    left = set(parts)
    keep_quiet()
    for row in results.iter_rows():
        outcome = _read_outcome(json.loads(row["outcome"]))
        left.discard(outcome.part)
        yield outcome
    for part in sorted(left):
        yield Outcome(part, None, f"{part.file}: its workers died {_TRIES} times")


class _Worker:
    """An engine and what feeds it, in a process of its own on some node."""

    def __init__(self, job: Job, make_scorer: MakeScorer) -> None:
        self._job = job
        self._refusal: str | None = None
        try:
            self._source, self._target = Place(job.input), Place(job.output)
            checkpoint, self._how = load_labelling(job)
            self._scorer = make_scorer(job, checkpoint)
        except (CheckpointError, EngineRefused, FileError) as error:
            self._refusal = str(error)
        self._metrics = PoolMetrics(job.task)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Label a part and say what became of it."""
        outcomes = [self._label(Part(**json.loads(text))) for text in batch["part"]]
        return {"outcome": [json.dumps(outcome) for outcome in outcomes]}

    def _label(self, part: Part) -> dict[str, Any]:
        told: dict[str, Any] = {"part": part._asdict()}
        if self._refusal is not None:
            return told | {"refusal": self._refusal}
        try:
            report = label_part(
                self._source, part, self._target, self._how, self._scorer,
                fingerprint=self._job.fingerprint, watch=self._metrics.count_rows,
            )  # fmt: skip
        except FileError as error:
            self._metrics.count_part("failed")
            return told | {"error": str(error)}
        except EngineDead:
            os._exit(1)  # Ray starts another, with another engine
        except Exception as error:  # a fault of ours: its message might quote the file
            self._metrics.count_part("failed")
            return told | {"error": f"{part.file}: cannot be labelled ({type(error).__name__})"}
        self._metrics.count_part("labelled")
        return told | {"report": report._asdict()}


def _bound_retries() -> dict[str, int]:
    """Without a bound a part that kills its worker would do so for ever."""
    return {"max_task_retries": _TRIES}


def _read_outcome(content: dict[str, Any]) -> Outcome:
    if refusal := content.get("refusal"):
        raise EngineRefused(refusal)
    report = content.get("report")
    return Outcome(
        Part(**content["part"]), Report(**report) if report else None, content.get("error")
    )
