"""Keeps every answer as soon as it is there, so that a file that was broken off goes on.

A file of JSON lines beside the output: first what the answers belong to, then one answer a
row, in the order of the rows. A line that was torn by a crash is not counted.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tables.errors import FileError

Answer = dict[str, Any]


class Journal:
    """The answers so far; use it as a context manager."""

    def __init__(self, path: Path, done: int) -> None:
        self._path = path
        self.done = done
        """Rows with an answer."""
        try:
            self._file = path.open("ab")
        except OSError as error:
            raise _explain(path, error) from error

    @classmethod
    def open(cls, path: Path, job: dict[str, Any], *, restart: bool) -> Self:
        """Go on with the journal of this job, or begin one.

        `job` says what the answers belong to: file, task, options, model. FileError if the
        journal there is another's, unless it shall be begun anew.
        """
        head = json.dumps(job, ensure_ascii=False).encode() + b"\n"
        try:
            if restart or not path.exists():
                path.write_bytes(head)
                return cls(path, 0)
            with path.open("r+b") as file:
                first = file.readline()
                if not first.endswith(b"\n"):  # killed while it was begun
                    file.truncate(0)
                    file.write(head)
                    return cls(path, 0)
                if first != head:
                    raise FileError(f"{path}: {_compare(first, job)}")
                done, whole = 0, file.tell()
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    done, whole = done + 1, whole + len(line)
                file.truncate(whole)
            return cls(path, done)
        except OSError as error:
            raise _explain(path, error) from error

    def add(self, answers: Sequence[Answer]) -> None:
        """Keep the answers to the next rows; on the disk when this returns."""
        lines = [json.dumps(answer, ensure_ascii=False).encode() + b"\n" for answer in answers]
        try:
            self._file.write(b"".join(lines))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _explain(self._path, error) from error
        self.done += len(answers)

    def read(self) -> Iterator[Answer]:
        """All answers, in the order of the rows."""
        with self._path.open("rb") as file:
            next(file)
            for line in file:
                yield json.loads(line)

    def remove(self) -> None:
        """The labelled file is written: the answers stand there now."""
        self._file.close()  # Windows removes no file that is open
        self._path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # after a failed write it tries again; that one was told
            self._file.close()


def _compare(first: bytes, job: dict[str, Any]) -> str:
    remedy = "label it as before, or begin anew with --restart"
    try:
        before: dict[str, Any] = json.loads(first)
        names = [name for name in before | job if before.get(name) != job.get(name)]
    except (ValueError, TypeError):
        return f"is no journal of this command; {remedy}"
    return f"was begun with another {', '.join(names)}; {remedy}"


def _explain(path: Path, error: OSError) -> FileError:
    return FileError(
        f"{path}: cannot be written: {error.strerror}; free space or choose another --output, "
        "what was answered is kept"
    )
