"""The command: the order of its steps."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack

from contract.manifest import CheckpointError, read_manifest
from labelling.arguments import parse_arguments
from labelling.client import describe_tasks
from labelling.errors import ServiceFailure
from labelling.job import Job, label_rows
from labelling.journal import Journal
from labelling.mixes import find_mix
from labelling.own_service import connect, open_service
from labelling.plan import Plan, make_plans
from labelling.results.output import (
    Labelled,
    describe_summary,
    write_labelled,
    write_structure,
)
from labelling.results.review import write_review
from tables.errors import FileError

_DONE, _FAILED, _REFUSED, _INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str]) -> int:
    """Label files; returns the exit status: 1 if the service failed, 2 for wrong input."""
    options = parse_arguments(arguments)
    try:
        _label(options)
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


def _label(options: Namespace) -> None:
    client = connect(options) if options.url else None
    tasks = client.list_tasks() if client else describe_tasks(read_manifest(options.checkpoint))
    plans = make_plans(options, tasks)
    for plan in plans:
        print(f"{plan.job.table.path}: {_describe(plan.job)}", file=sys.stderr)
        for note in plan.job.table.notes:
            print(f"{plan.job.table.path}: {note}", file=sys.stderr)
    with ExitStack() as stack:
        journals = [_open_journal(plan, stack, restart=options.restart) for plan in plans]
        _classify(options, plans, journals)
        _write(options, plans, journals)
        for journal in journals:
            journal.remove()


def _open_journal(plan: Plan, stack: ExitStack, *, restart: bool) -> Journal:
    return stack.enter_context(Journal.open(plan.journal, plan.job.describe(), restart=restart))


def _classify(options: Namespace, plans: Sequence[Plan], journals: Sequence[Journal]) -> None:
    """Have every row that has no answer yet classified by the service, one's own or another."""
    open_plans = [
        (plan.job, journal)
        for plan, journal in zip(plans, journals, strict=True)
        if journal.done < plan.job.rows
    ]
    if not open_plans:
        return
    with open_service(options) as client:
        for job, journal in open_plans:
            label_rows(job, journal, client)


def _write(options: Namespace, plans: Sequence[Plan], journals: Sequence[Journal]) -> None:
    """Write all that was asked for; the answers are kept until all of it is there."""
    labelled = [
        Labelled(plan.job, journal, find_mix(plan.job.task, options.prior, journal))
        for plan, journal in zip(plans, journals, strict=True)
    ]
    for plan, each in zip(plans, labelled, strict=True):
        summary = write_labelled(each, plan.output, prefix=options.prefix, compare=options.compare)
        print(f"{plan.output}: {describe_summary(summary, plan.job.task, options.prefix)}")
    if options.structure:
        write_structure(labelled, options.structure)
    if options.review:
        doubtful, drawn = write_review(
            labelled, options.review, sample=options.review_sample, seed=options.seed
        )
        print(
            f"{options.review}: {doubtful:,} rows to review, the least sure first, and {drawn:,} "
            "drawn from the others"
        )
    if options.rank:
        _write_rank(options, labelled)


def _write_rank(options: Namespace, labelled: Sequence[Labelled]) -> None:
    from labelling.results.next_labels import write_next  # 0.1 s that others need not wait

    count = write_next(
        labelled, options.rank, rows=options.rank_rows, compare=options.compare, seed=options.seed
    )
    print(f"{options.rank}: {count:,} rows to label next, the first first")


def _describe(job: Job) -> str:
    """What is about to be done: a transcript taken for problems must not go unnoticed."""
    if job.task.kind == "dialogue-turn":
        return f"{job.rows:,} rows, each a turn of a dialogue ({job.task.name})"
    return (
        f"{job.rows:,} rows, each a problem ({job.task.name}); if they are turns of a dialogue, "
        "name the column that says who speaks with --speaker"
    )
