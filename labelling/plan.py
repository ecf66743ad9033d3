"""From the options to what is labelled: which rows of which files, by which task, written where."""

import itertools
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args

from contract.inputs import Speaker
from labelling.client import ServedTask
from labelling.items import Columns, Reading, check_rows
from labelling.job import Job
from labelling.mixes import check_prior
from labelling.results.output import check_given, check_prefix
from tables.dialogues import expand_dialogues
from tables.errors import FileError
from tables.files import SUFFIXES, find_format, list_files, open_table
from tables.layouts import ColumnMapping, recognise_layout
from tables.speakers import SPEAKERS
from tables.table import Table

_SAMPLE_ROWS = 50


class Plan(NamedTuple):
    """A file that shall be labelled."""

    job: Job
    output: Path

    @property
    def journal(self) -> Path:
        """Where its answers are kept meanwhile."""
        return self.output.with_name(self.output.name + ".partial")


def make_plans(options: Namespace, tasks: Sequence[ServedTask]) -> list[Plan]:
    """Read all files once; FileError for anything that is wrong, before anything is sent."""
    files = list_files(options.file)
    outputs = [_name_output(file, options, several=len(files) > 1) for file in files]
    _check_outputs(files, outputs, options)
    plans = [
        Plan(_make_job(file, options, tasks), output)
        for file, output in zip(files, outputs, strict=True)
    ]
    if options.structure:
        _check_structure([plan.job.task for plan in plans])
    if options.rank_rows < 1:
        raise FileError(f"--rank-rows {options.rank_rows}: must be 1 at least")
    if options.rank and len(names := {plan.job.task.name for plan in plans}) > 1:
        raise FileError(
            f"--rank: the files are of {', '.join(sorted(names))}; rank those of one task at a time"
        )
    return plans


def _check_structure(tasks: Sequence[ServedTask]) -> None:
    """FileError if one of the tasks gives dialogues no structure."""
    for task in tasks:
        if task.kind == "problem":
            raise FileError(f"--structure: {task.name} labels problems, which have none")
        if task.scheme is None:
            raise FileError(
                f"--structure: the label set of {task.name} names no moves; its field `moves` "
                "says which label is which"
            )


def _make_job(file: Path, options: Namespace, tasks: Sequence[ServedTask]) -> Job:
    table = open_table(
        file, encoding=options.encoding, delimiter=options.delimiter, sheet=options.sheet
    )
    sample = [row.cells for row in itertools.islice(table.rows(), _SAMPLE_ROWS)]
    mapping = recognise_layout(table.header, sample)
    if options.text in (None, mapping.text):
        table, mapping = expand_dialogues(table, mapping)
    task = _choose_task(tasks, mapping, options)
    reading = _make_reading(table, mapping, task, options)
    check_prefix(table, task, options.prefix)
    if options.compare:
        check_given(table, task, options.compare)
    check_prior(task, options.prior)
    count, reading = check_rows(table, reading)
    return Job(table, reading, task, count)


def _name_output(file: Path, options: Namespace, *, several: bool) -> Path:
    suffix = file.suffix
    if options.format or file.suffix.lower() == ".txt":
        # A transcript has no columns, so its labels come as a table unless it is asked for.
        wanted = options.format or "csv"
        if wanted != find_format(file):
            suffix = next(each for each, format in SUFFIXES.items() if format == wanted)
    name = f"{file.stem}.labelled{suffix}"
    if options.output is None:
        return file.with_name(name)
    if several or options.output.is_dir():
        if not options.output.is_dir():
            raise FileError(f"--output {options.output}: several files need a folder that exists")
        return Path(options.output, name)
    return Path(options.output)


def _check_outputs(files: Sequence[Path], outputs: Sequence[Path], options: Namespace) -> None:
    read = {file.resolve(): file for file in files}
    written: set[Path] = set()
    for path in filter(None, (*outputs, options.structure, options.review, options.rank)):
        if path.resolve() in read:
            raise FileError(f"{path}: is the file that is read; choose another")
        if path.resolve() in written:
            raise FileError(f"{path}: would be written twice; choose another name for one of them")
        written.add(path.resolve())
        begun = path.with_name(path.name + ".partial").exists()
        if path.exists() and not options.overwrite and not (begun and path in outputs):
            raise FileError(f"{path}: exists; choose another name, or say --overwrite")
    for path in (*outputs, *filter(None, [options.review, options.rank])):
        find_format(path)


def _choose_task(
    tasks: Sequence[ServedTask], mapping: ColumnMapping, options: Namespace
) -> ServedTask:
    """The task that is named, or the only one that reads such rows."""
    names = ", ".join(task.name for task in tasks)
    if options.task:
        for task in tasks:
            if task.name == options.task:
                return task
        raise FileError(f"--task {options.task}: is not served; one of {names}")
    has_speaker = options.speaker is not None or mapping.speaker is not None
    kind = "dialogue-turn" if has_speaker else "problem"
    fitting = [task for task in tasks if task.kind == kind]
    if len(fitting) != 1:
        raise FileError(f"{len(fitting)} tasks classify a {kind}; name one with --task: {names}")
    return fitting[0]


def _make_reading(
    table: Table, mapping: ColumnMapping, task: ServedTask, options: Namespace
) -> Reading:
    text = options.text or (Columns().text if mapping.is_guess else mapping.text)
    dialogue = options.dialogue
    if dialogue is None and task.kind == "dialogue-turn" and mapping.dialogue != text:
        dialogue = mapping.dialogue
    names: dict[str, Speaker] = dict(SPEAKERS)
    for speaker in get_args(Speaker):
        names |= {name.casefold(): speaker for name in getattr(options, speaker)}
    speaker = options.speaker or mapping.speaker or Columns().speaker
    return Reading(
        kind=task.kind,
        columns=Columns(text, speaker, dialogue),
        speakers=names,
        window=task.window,
        mode=options.mode,
    )
