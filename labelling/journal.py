"""Keeps every answer as soon as it is there, so that a file that was broken off goes on.

A file of JSON lines beside the output: first what the answers belong to, then one answer a
row, in the order of the rows and with the number of the row. A line that was torn by a crash is
not counted. While it is open it is locked: two runs on one file would take each other's rows.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

from tables.errors import FileError

Answer = dict[str, Any]
_ROW = "row"
_REMEDY = "label it as before, or begin anew with --restart"
_LOCK_AT = 1 << 40  # a byte far behind the content: Windows keeps others from reading it


class Journal:
    """The answers so far; use it as a context manager."""

    def __init__(self, path: Path, file: IO[bytes], done: int) -> None:
        self._path, self._file = path, file
        self.done = done
        """Rows with an answer."""

    @classmethod
    def open(cls, path: Path, job: dict[str, Any], *, restart: bool) -> Self:
        """Go on with the journal of this job, or begin one.

        `job` says what the answers belong to: file, task, options, model. FileError if the
        journal there is another's, unless it shall be begun anew, or another run has it open.
        """
        head = json.dumps(job, ensure_ascii=False).encode() + b"\n"
        try:
            file = _open_locked(path)
            try:
                return cls(path, file, _go_on(path, file, head, job, restart=restart))
            except BaseException:
                file.close()
                raise
        except OSError as error:
            raise _explain(path, error) from error

    def add(self, answers: Sequence[Answer]) -> None:
        """Keep the answers to the next rows; on the disk when this returns."""
        lines = [
            json.dumps({_ROW: row, **answer}, ensure_ascii=False).encode() + b"\n"
            for row, answer in enumerate(answers, self.done)
        ]
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
                answer: Answer = json.loads(line)
                del answer[_ROW]
                yield answer

    def remove(self) -> None:
        """The labelled file is written: the answers stand there now."""
        if sys.platform == "win32":  # where nothing that is open can be removed
            self._file.close()
        self._path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # after a failed write it tries again; that one was told
            self._file.close()


def _open_locked(path: Path) -> IO[bytes]:
    """Open for reading and appending, by nobody else; FileError if another run has it."""
    while True:
        file = path.open("a+b")
        try:
            _lock(file)
            # Whoever had it before may have finished and removed it in between.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except OSError as error:
            file.close()
            raise FileError(
                f"{path}: another run labels this file; wait for it, or choose another --output"
            ) from error
        file.close()


def _lock(file: IO[bytes]) -> None:
    """OSError if another run has it; a system without locks lets both have it."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(_LOCK_AT)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        return
    with suppress(ImportError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _go_on(path: Path, file: IO[bytes], head: bytes, job: dict[str, Any], *, restart: bool) -> int:
    """How many rows have an answer; what is left of a torn line is cut off."""
    file.seek(0)
    first = b"" if restart else file.readline()
    if not first.endswith(b"\n"):  # new, or killed while it was begun
        file.truncate(0)
        file.write(head)
        file.flush()
        return 0
    if first != head:
        raise FileError(f"{path}: {_compare(first, job)}")
    done, whole = 0, file.tell()
    for line in file:
        if not line.endswith(b"\n"):
            break
        _check_row(path, line, done)
        done, whole = done + 1, whole + len(line)
    file.truncate(whole)
    return done


def _check_row(path: Path, line: bytes, row: int) -> None:
    try:
        found = json.loads(line)[_ROW]
    except (ValueError, TypeError, KeyError):
        found = None
    if found != row:
        raise FileError(
            f"{path}: line {row + 2} is not the answer to row {row + 1}; begin anew with --restart"
        )


def _compare(first: bytes, job: dict[str, Any]) -> str:
    try:
        before: dict[str, Any] = json.loads(first)
        names = [name for name in before | job if before.get(name) != job.get(name)]
    except (ValueError, TypeError):
        return f"is no journal of this command; {_REMEDY}"
    return f"was begun with another {', '.join(names)}; {_REMEDY}"


def _explain(path: Path, error: OSError) -> FileError:
    return FileError(
        f"{path}: cannot be written: {error.strerror}; free space or choose another --output, "
        "what was answered is kept"
    )
