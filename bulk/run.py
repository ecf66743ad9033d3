"""One run of a job on a cluster: what is left is labelled, and all of it is summed up."""

import hashlib
import json
import math
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace

from bulk.cluster.connection import Share, count_engines, list_nodes
from bulk.cluster.gathering import Gathering, gather_dialogues, name_bucket
from bulk.cluster.pool import label_parts
from bulk.fragments import Part, Plan, list_input, plan_parts
from bulk.job import Job, begin, find_done
from bulk.part import Report, add_reports
from bulk.plan import Work, make_work
from bulk.rows.dialogues import name_marks
from bulk.storage import Place, StoredFile, hide_query, name_below
from bulk.summary import Progress, describe_total, write_summary
from tables.errors import FileError

_FOLDER = "_dialogues"
_RECORD = "_DIALOGUES.json"
_BUCKET_BYTES = 32 * 2**20
_BUCKETS_OF_AN_ENGINE = 4


def run_job(options: Namespace) -> list[str]:
    """Label what is not labelled yet; returns what could not be, a line each.

    FileError, CheckpointError or EngineRefused for what is wrong with options, files or nodes.
    """
    source, target = Place(options.input), Place(options.output)
    files = list_input(source)
    nodes = list_nodes()
    names = [file.name for file in files]
    work = make_work(options, source, names, has_gpus=any(node.gpus for node in nodes))
    share = Share(work.cpus, work.gpus)
    room = min(count_engines(nodes, share), options.engines or sys.maxsize)
    begin(work.job, target)
    if work.job.gathers:
        job, plan = _gather(work, target, files, room)
    else:
        job, plan = work.job, plan_parts(source, names, work.job.part_rows)
    reports = find_done(job, target, plan.parts)
    left = [part for part in plan.parts if part not in reports]
    print(f"{len(files):,} files, task {job.task}: {len(left):,} of {len(plan.parts):,} parts to "
          f"label, {room:,} engines now", file=sys.stderr)  # fmt: skip
    bad, now, seconds = dict(plan.bad), [], 0.0
    if left:
        started = time.monotonic()
        now = _label(job, left, share, options.engines, room, plan, reports, bad)
        seconds = time.monotonic() - started
    fresh = add_reports(now)
    total = write_summary(work.job, target, reports, bad, fresh=fresh, seconds=seconds)
    print(describe_total(work.job, total, fresh, seconds))
    if work.job.gathers and not bad.keys() - plan.bad.keys():
        target.delete(_FOLDER)
    return list(bad.values())


def _label(
    job: Job,
    left: Sequence[Part],
    share: Share,
    engines: int | None,
    room: int,
    plan: Plan,
    reports: dict[Part, Report],
    bad: dict[str, str],
) -> list[Report]:
    """Have the parts labelled; adds to `reports` and `bad`, and returns what is new."""
    rows = [part.rows for part in plan.parts if part.rows is not None]
    progress = Progress(
        parts=len(plan.parts),
        done=len(reports),
        rows=sum(rows) if len(rows) == len(plan.parts) else None,
        rows_done=add_reports(reports.values()).rows,
    )
    fresh: list[Report] = []
    try:
        for outcome in label_parts(job, left, share, engines=engines, room=room):
            if outcome.report is None:
                bad[outcome.part.file] = outcome.error or ""
                continue
            reports[outcome.part] = outcome.report
            fresh.append(outcome.report)
            progress.add(outcome.report)
    finally:
        progress.end()
    return fresh


def _gather(work: Work, target: Place, files: Sequence[StoredFile], room: int) -> tuple[Job, Plan]:
    """The buckets in which dialogues are whole, and the job that reads them.

    They are written once; later runs find what they were in a record.
    """
    job = replace(work.job, input=name_below(work.job.output, _FOLDER))
    listing = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    record = target.read_json(_RECORD)
    if record is None:
        print(f"gathering the dialogues of {len(files):,} files …", file=sys.stderr)
        size = sum(file.size for file in files)
        gathering = Gathering(
            input=work.job.input,
            folder=job.input,
            columns=job.columns,
            schema=work.schema,
            marks=name_marks(job.prefix),
            buckets=max(math.ceil(size / _BUCKET_BYTES), _BUCKETS_OF_AN_ENGINE * room),
        )
        gathered = gather_dialogues(gathering, [file.name for file in files])
        rows = {str(bucket): count for bucket, count in gathered.rows.items()}
        record = {"input": listing, "rows": rows, "bad_files": gathered.bad}
        target.write_json(_RECORD, record)
    elif record["input"] != listing:
        raise FileError(
            f"{hide_query(work.job.input)}: is another than when its dialogues were gathered; name "
            "another --output"
        )
    parts = [Part(name_bucket(int(bucket)), 0, count) for bucket, count in record["rows"].items()]
    return job, Plan(parts, record["bad_files"])
