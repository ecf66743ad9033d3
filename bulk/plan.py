"""From the options to the job: which columns of which files, by which task and engine."""

import importlib.util
import itertools
from argparse import Namespace
from collections.abc import Sequence
from typing import NamedTuple, get_args

import pyarrow as pa

from bulk.fragments import Part, read_batches
from bulk.job import Job
from bulk.rows.columns import Columns
from bulk.storage import Place, hide_query
from contract.inputs import Speaker
from contract.manifest import Manifest, Task, read_manifest
from contract.priors import ESTIMATE, Mix, PriorError, resolve_prior
from engine.choice import EngineName
from engine.protocol import EngineOptions
from tables.errors import FileError
from tables.layouts import recognise_layout
from tables.speakers import SPEAKERS

_SAMPLE_ROWS = 50
_TRIED_FILES = 20
"""To find one that can be read, and tells the columns."""


class Work(NamedTuple):
    """What is done, and on what."""

    job: Job
    cpus: int
    """Of each engine."""
    gpus: float
    schema: pa.Schema
    """Of the first file that can be read."""


def make_work(options: Namespace, source: Place, files: Sequence[str], *, has_gpus: bool) -> Work:
    """Choose all that the options leave open; FileError or CheckpointError for what is wrong."""
    _check_places(source, Place(options.output))
    manifest = read_manifest(options.checkpoint)
    found, schema = _recognise(source, files, options)
    task = _choose_task(manifest, found, options)
    columns = found if task.label_set.kind == "dialogue-turn" else Columns(found.text)
    gathers = columns.dialogue is not None and not options.whole_dialogues
    engine = _choose_engine(options.engine, has_gpus=has_gpus)
    on_gpu = engine == "vllm" and has_gpus
    cpus = options.cpus or (4 if on_gpu else 2)
    speakers: dict[str, Speaker] = dict(SPEAKERS)
    for speaker in get_args(Speaker):
        speakers |= {name.casefold(): speaker for name in getattr(options, speaker)}
    job = Job(
        input=options.input,
        output=options.output,
        checkpoint=options.checkpoint,
        model=manifest.name,
        fingerprint=manifest.fingerprint,
        task=task.label_set.task,
        columns=columns,
        speakers=speakers if columns.speaker else {},
        mode=options.mode,
        mix=_find_mix(task, options.prior),
        prefix=options.prefix,
        part_rows=None if columns.speaker else options.part_rows,
        gathers=gathers,
        engine=engine,
        options=EngineOptions(
            dtype=options.dtype,
            threads=cpus,
            max_batched_tokens=options.batched_tokens or (8192 if on_gpu else 1024),
            max_batched_items=512 if on_gpu else 128,
            kv_cache_mib=256,
            gpu_memory_fraction=0.9 * min(options.gpus, 1.0),
        ),
    )
    return Work(job, cpus, options.gpus if on_gpu else 0.0, schema)


def _check_places(source: Place, target: Place) -> None:
    if source.contains(target) or target.contains(source):
        raise FileError(
            f"--output {hide_query(target.uri)}: lies within the input, or the input in it; name a "
            "folder beside it"
        )


def _recognise(
    source: Place, files: Sequence[str], options: Namespace
) -> tuple[Columns, pa.Schema]:
    """The columns by their names, or as they are named; of the first file that can be read."""
    reason = FileError(f"{source.uri}: no file has a row")
    for file in files[:_TRIED_FILES]:
        try:
            batches = read_batches(source, Part(file), _SAMPLE_ROWS)
            batch = next(itertools.islice(batches, 1), None)
        except FileError as error:
            reason = error
            continue
        if batch is None:
            continue
        header = batch.schema.names
        sample = [list(row.values()) for row in batch.slice(0, _SAMPLE_ROWS).to_pylist()]
        found = recognise_layout(header, sample)
        if found.layout in ("mathdial", "pmtd"):
            raise FileError(
                f"{file}: has a whole dialogue in a cell ({found.layout}); write a row for each "
                "turn first: `ncal label` without --ray does"
            )
        if found.is_guess and options.text is None:
            raise FileError(f"{file}: no column is named as a text is; name it with --text")
        columns = Columns(
            options.text or found.text,
            options.speaker or found.speaker,
            options.dialogue or found.dialogue,
            options.order or found.order,
        )
        return columns, batch.schema
    raise reason


def _choose_task(manifest: Manifest, columns: Columns, options: Namespace) -> Task:
    """The task that is named, or the only one that reads such rows."""
    names = ", ".join(task.label_set.task for task in manifest.tasks)
    if options.task:
        try:
            task = manifest.task(options.task)
        except KeyError:
            raise FileError(f"--task {options.task}: {manifest.name} has only {names}") from None
        if task.label_set.kind == "dialogue-turn" and columns.speaker is None:
            raise FileError(f"--task {options.task}: needs a column that says who; name --speaker")
        return task
    kind = "dialogue-turn" if columns.speaker else "problem"
    fitting = [task for task in manifest.tasks if task.label_set.kind == kind]
    if len(fitting) != 1:
        raise FileError(f"{len(fitting)} tasks classify a {kind}; name one with --task: {names}")
    return fitting[0]


def _choose_engine(wanted: str, *, has_gpus: bool) -> EngineName:
    """Workers say for themselves whether it is installed where they are."""
    if wanted == "vllm":
        return "vllm"
    if wanted == "auto" and has_gpus and importlib.util.find_spec("vllm") is not None:
        return "vllm"
    return "openvino"


def _find_mix(task: Task, prior: str) -> Mix:
    try:
        mix = resolve_prior(task.label_set.ids, task.training_prior, prior)
    except PriorError as error:
        raise FileError(f"--prior {error}") from None
    if mix is None:
        raise FileError(
            f"--prior {ESTIMATE}: takes all answers before the first label; label a sample "
            "without --ray, and give the shares that it states"
        )
    return mix
