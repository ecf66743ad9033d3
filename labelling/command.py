"""The command: the order of its steps."""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from contract.inputs import Speaker
from contract.manifest import CheckpointError, read_manifest
from labelling.arguments import parse_arguments
from labelling.client import Client, ServedTask, describe_tasks
from labelling.errors import ServiceFailure
from labelling.items import SPEAKERS, Columns, Reading, check_rows
from labelling.job import Job, label_rows
from labelling.journal import Journal
from labelling.mixes import check_prior, find_mix
from labelling.output import (
    check_given,
    check_prefix,
    describe_summary,
    write_labelled,
    write_structure,
)
from labelling.own_service import run_service
from tables.errors import FileError
from tables.files import open_table
from tables.table import Table

_DONE, _FAILED, _REFUSED, _INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str]) -> int:
    """Label a file; returns the exit status: 1 if the service failed, 2 for wrong input."""
    options = parse_arguments(arguments)
    try:
        print(_label(options))
    except (FileError, CheckpointError) as error:
        print(f"label: {error}", file=sys.stderr)
        return _REFUSED
    except ServiceFailure as error:
        print(f"label: {error}; run the same command to go on", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        print("label: stopped; run the same command to go on", file=sys.stderr)
        return _INTERRUPTED
    return _DONE


def _label(options: Namespace) -> str:
    table = open_table(options.file, encoding=options.encoding, delimiter=options.delimiter)
    output = options.output or options.file.with_name(
        f"{options.file.stem}.labelled{options.file.suffix}"
    )
    _check_output(output, options)
    client = None
    if options.url:
        key = os.environ.get("NCAL_API_KEY")
        client = Client(options.url, key=key, patience_s=options.patience)
    tasks = client.list_tasks() if client else describe_tasks(read_manifest(options.checkpoint))
    task = _choose_task(tasks, table, options)
    if options.structure and task.kind != "dialogue-turn":
        raise FileError(f"--structure: {task.name} labels problems, which have none")
    reading = _read_options(table, task, options)
    check_prefix(table, task, options.prefix)
    if options.compare:
        check_given(table, task, options.compare)
    check_prior(task, options.prior)
    job = Job(table, reading, task, check_rows(table, reading))
    print(f"{options.file}: {_describe(job)}", file=sys.stderr)
    path = output.with_name(output.name + ".partial")
    with Journal.open(path, job.describe(), restart=options.restart) as journal:
        if client and journal.done < job.rows:
            label_rows(job, journal, client)
        elif journal.done < job.rows:
            print("starting the service …", file=sys.stderr)
            with run_service(options.checkpoint) as own:
                label_rows(job, journal, Client(own.url, ended=own.ended))
        mix = find_mix(task, options.prior, journal)
        if options.structure:
            write_structure(table, reading, journal, task, mix, options.structure)
        summary = write_labelled(
            table, journal, task, mix, output, prefix=options.prefix, compare=options.compare
        )
        journal.remove()
    return f"{output}: {describe_summary(summary, task, options.prefix)}"


def _describe(job: Job) -> str:
    """What is about to be done: a transcript taken for problems must not go unnoticed."""
    if job.task.kind == "dialogue-turn":
        return f"{job.rows:,} rows, each a turn of a dialogue ({job.task.name})"
    return (
        f"{job.rows:,} rows, each a problem ({job.task.name}); if they are turns of a dialogue, "
        "name the column that says who speaks with --speaker"
    )


def _check_output(output: Path, options: Namespace) -> None:
    for path in filter(None, (output, options.structure)):
        if path.exists() and path.samefile(options.file):
            raise FileError(f"{path}: is the file that is read; choose another")
        if path.exists() and not options.overwrite:
            raise FileError(f"{path}: exists; choose another name, or say --overwrite")


def _choose_task(tasks: Sequence[ServedTask], table: Table, options: Namespace) -> ServedTask:
    """The task that is named, or the only one that reads such rows."""
    names = ", ".join(task.name for task in tasks)
    if options.task:
        for task in tasks:
            if task.name == options.task:
                return task
        raise FileError(f"--task {options.task}: is not served; one of {names}")
    has_speaker = options.speaker is not None or Columns().speaker in table.header
    kind = "dialogue-turn" if has_speaker else "problem"
    fitting = [task for task in tasks if task.kind == kind]
    if len(fitting) != 1:
        raise FileError(f"{len(fitting)} tasks classify a {kind}; name one with --task: {names}")
    return fitting[0]


def _read_options(table: Table, task: ServedTask, options: Namespace) -> Reading:
    columns = Columns(text=options.text, speaker=options.speaker or Columns().speaker)
    dialogue = options.dialogue
    if dialogue is None and options.text != "dialogue" and "dialogue" in table.header:
        dialogue = "dialogue"
    names: dict[str, Speaker] = dict(SPEAKERS)
    for speaker in get_args(Speaker):
        names |= {name.casefold(): speaker for name in getattr(options, speaker)}
    return Reading(
        kind=task.kind,
        columns=columns._replace(dialogue=dialogue),
        speakers=names,
        window=task.window,
        mode=options.mode,
    )
