"""What is labelled and how, as the output keeps it, and what of it is done already.

The output is the only memory of a job: `_JOB.json` says what its files belong to, and a file that
is there is a part that is done. So the same command goes on after whatever has happened.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulk.fragments import Part
from bulk.part import Report, read_report
from bulk.rows.answers import Labelling
from bulk.rows.columns import Columns
from bulk.storage import Place, hide_query
from contract.inputs import Speaker
from contract.interaction import DialogueMode
from contract.manifest import CheckpointError
from contract.priors import Mix
from engine.checkpoint import Checkpoint, load_checkpoint, load_prompt_encoders
from engine.choice import EngineName
from engine.protocol import EngineOptions
from tables.errors import FileError

JOB_FILE = "_JOB.json"
SUMMARY_FILE = "_SUMMARY.json"
_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a worker must know, and what the output is named after."""

    input: str
    output: str
    checkpoint: Path
    """The same on every node."""
    model: str
    """Name of the model."""
    fingerprint: str
    task: str
    columns: Columns
    speakers: Mapping[str, Speaker]
    mode: DialogueMode
    mix: Mix
    prefix: str
    part_rows: int | None
    """Most rows of a part; None where each file is one."""
    gathers: bool
    """Whether rows of a dialogue are gathered from all files first."""
    engine: EngineName
    options: EngineOptions

    def describe(self) -> dict[str, Any]:
        """What the files of the output belong to: with any of it different they might be others."""
        return {
            "input": hide_query(self.input),
            "model": f"{self.model} {self.fingerprint}",
            "task": self.task,
            "engine": f"{self.engine}, {self.options.dtype}",
            "columns": self.columns._asdict(),
            "speakers": dict(self.speakers),
            "mode": self.mode,
            "mix": {"kind": self.mix.kind, "shares": list(self.mix.shares)},
            "prefix": self.prefix,
            "part_rows": self.part_rows,
            "gathers": self.gathers,
        }


def load_labelling(job: Job) -> tuple[Checkpoint, Labelling]:
    """The checkpoint of this node and how rows are labelled with it.

    CheckpointError if it is missing, or is not the one that the job was begun with.
    """
    checkpoint = load_checkpoint(job.checkpoint)
    if checkpoint.manifest.fingerprint != job.fingerprint:
        raise CheckpointError(
            f"{job.checkpoint} is {checkpoint.manifest.fingerprint} on this node and "
            f"{job.fingerprint} where the job was begun; put the same on every node"
        )
    encoder = load_prompt_encoders(checkpoint)[job.task]
    how = Labelling(
        task=checkpoint.manifest.task(job.task),
        encoder=encoder,
        columns=job.columns,
        speakers=job.speakers,
        mode=job.mode,
        mix=job.mix,
        prefix=job.prefix,
        model=f"{job.model} {job.fingerprint}",
    )
    return checkpoint, how


def begin(job: Job, target: Place) -> None:
    """Write down what the output belongs to, or see that it belongs to this job.

    FileError if it is another's, above all if another model's labels lie there.
    """
    described = job.describe()
    before = target.read_json(JOB_FILE)
    if before is None:
        foreign = [each.name for each in target.list_files()]
        if foreign:
            raise FileError(
                f"--output {hide_query(target.uri)}: holds {len(foreign):,} files that no job of "
                "this command has written; name an empty folder"
            )
        target.write_json(JOB_FILE, described)
    elif before != described:
        names = [name for name in described | before if described.get(name) != before.get(name)]
        raise FileError(
            f"--output {hide_query(target.uri)}: was begun with another {', '.join(names)}; label "
            "as before, or name another folder"
        )


def find_done(job: Job, target: Place, parts: Sequence[Part]) -> dict[Part, Report]:
    """The parts whose file is there and whole, and what became of their rows."""
    there = {file.name for file in target.list_files()}
    written = [part for part in parts if part.name_output(job.fingerprint) in there]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        reports = pool.map(
            lambda part: read_report(target, part.name_output(job.fingerprint)), written
        )
        return {part: report for part, report in zip(written, reports, strict=True) if report}
