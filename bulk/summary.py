"""What the job says when it ends, and on its way."""

import sys
import time
from collections.abc import Mapping
from typing import Any

from bulk.job import SUMMARY_FILE, Job
from bulk.part import NOTHING, Report, add_reports
from bulk.storage import Place, hide_query

_TOLD_EVERY_S = 10.0


class Progress:
    """A line on the terminal that stays up to date; a line now and then in a log."""

    def __init__(self, *, parts: int, done: int, rows: int | None, rows_done: int) -> None:
        """`rows` of the whole input, where the files tell it before they are read."""
        self._parts, self._done, self._first_done = parts, done, done
        self._rows, self._rows_done, self._first_rows = rows, rows_done, rows_done
        self._start = self._told = time.monotonic()
        self._is_terminal = sys.stderr.isatty()
        if done:
            print(f"{done:,} of {parts:,} parts are labelled already", file=sys.stderr)

    def add(self, report: Report) -> None:
        """A part has come to its end."""
        self._done += 1
        self._rows_done += report.rows
        now = time.monotonic()
        if self._is_terminal or now - self._told >= _TOLD_EVERY_S:
            self._told = now
            self._tell()

    def end(self) -> None:
        if self._is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _tell(self) -> None:
        spent = max(time.monotonic() - self._start, 1e-9)
        speed = (self._rows_done - self._first_rows) / spent
        left_s = (self._parts - self._done) * spent / max(self._done - self._first_done, 1)
        of_rows = f" of {self._rows:,}" if self._rows is not None else ""
        line = (
            f"{self._done:,} of {self._parts:,} parts, {self._rows_done:,}{of_rows} rows, "
            f"{speed:,.0f} rows a second, {_spell_time(left_s)} left"
        )
        print(f"\r{line}\x1b[K" if self._is_terminal else line,
              end="" if self._is_terminal else "\n", file=sys.stderr, flush=True)  # fmt: skip


def write_summary(
    job: Job,
    target: Place,
    reports: Mapping[Any, Report],
    bad: Mapping[str, str],
    *,
    fresh: Report,
    seconds: float,
) -> Report:
    """Write `_SUMMARY.json` and return what became of all rows.

    `fresh` is what this run has labelled, in so many seconds; `bad` are files and why.
    """
    total = add_reports(reports.values())
    content = {
        "rows": total.rows,
        "labelled": total.rows - total.failed,
        "failed": total.failed,
        "needs_review": total.review,
        "labels": dict(sorted(total.labels.items())),
        "parts": len(reports),
        "bad_files": dict(sorted(bad.items())),
        "engine_seconds": round(total.seconds, 3),
        "rows_per_engine_second": round(total.rows / total.seconds, 3) if total.seconds else 0.0,
        "this_run": {
            "rows": fresh.rows,
            "seconds": round(seconds, 3),
            "rows_per_second": round(fresh.rows / seconds, 3) if seconds else 0.0,
        },
        "fingerprint": job.fingerprint,
        "settings": job.describe(),
    }
    target.write_json(SUMMARY_FILE, content)
    return total


def describe_total(job: Job, total: Report, fresh: Report, seconds: float) -> str:
    """A few lines for the terminal."""
    labelled = total.rows - total.failed
    lines = [
        f"{hide_query(job.output)}: {labelled:,} of {total.rows:,} rows labelled by {job.model} "
        f"{job.fingerprint} ({job.task})"
    ]
    if total.failed:
        lines.append(f"{total.failed:,} without a label: see the column {job.prefix}error")
    if labelled:
        lines.append(
            f"{total.review:,} to review ({total.review / labelled:.0%}): {job.prefix}needs_review "
            "is true"
        )
        width = max(map(len, total.labels), default=0)
        lines += [
            f"  {label:<{width}} {count:>13,}  {count / labelled:4.0%}"
            for label, count in sorted(total.labels.items())
        ]
    if fresh != NOTHING:
        lines.append(f"{fresh.rows:,} of them now, {fresh.rows / seconds:,.0f} a second")
    return "\n".join(lines)


def _spell_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
