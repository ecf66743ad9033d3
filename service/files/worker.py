"""The process that one upload is worked on in: `python -m service.files.worker`.

Reads the body of a request from stdin, writes what it becomes to the file `answer` in its
working directory, and says on stdout what that is, or why it is refused. Whatever a file does to
it, memory, time or a fault, the service goes on. It imports little, so that it starts at once.
"""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from python_multipart import parse_form
from python_multipart.exceptions import FormParserError

from service.files.forms import Refusal, Upload, read_base, read_columns
from service.files.reading import write_answer
from service.files.writing import write_file
from tables.errors import FileError
from tables.table import Limits

ANSWER = "answer"
REFUSED, FAILED = 3, 4


class Head(NamedTuple):
    """What an answer is."""

    media_type: str
    file_name: str | None = None


def run(action: str, content_type: str, limits: Limits) -> Head:
    """Do what is asked with the upload on stdin; Refusal or FileError if it cannot be done."""
    upload = _read_upload(content_type)
    if action == "read":
        with open(ANSWER, "w", encoding="utf-8") as file:
            write_answer(upload, limits, file)
        return Head("application/json")
    media_type, name = write_file(
        upload, read_columns(upload, limits), read_base(upload, limits), limits, Path(ANSWER)
    )
    return Head(media_type, name)


def _read_upload(content_type: str) -> Upload:
    upload = Upload()

    def take_field(field: Any) -> None:
        upload.fields[_decode(field.field_name)] = _decode(field.value or b"")

    def take_file(file: Any) -> None:
        if _decode(file.field_name) != "file":
            raise Refusal(_decode(file.field_name), "is no file; only `file` is one")
        upload.take_file(_decode(file.file_name or b""), file.file_object)

    try:
        headers = {"Content-Type": content_type.encode()}
        parse_form(headers, sys.stdin.buffer, take_field, take_file)
    except (FormParserError, ValueError) as error:
        raise Refusal("body", "is no form that can be read (multipart/form-data)") from error
    return upload


def _decode(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Refusal("body", "has a field that is not UTF-8") from error


def _bound_memory(max_bytes: int) -> None:
    """Less priority than the engine, and no more memory; where there is such a limit."""
    with contextlib.suppress(ImportError, OSError, ValueError, AttributeError):
        import resource

        os.nice(5)
        resource.setrlimit(resource.RLIMIT_DATA, (max_bytes, max_bytes))
    with contextlib.suppress(OSError):  # if a container's memory runs out, this process goes
        Path("/proc/self/oom_score_adj").write_text("1000")


def main(arguments: list[str]) -> int:
    """Exit status 0, or that of a refusal, or of a fault of ours; stdout says which."""
    action, content_type, limits, max_bytes = arguments
    _bound_memory(int(max_bytes))
    try:
        head = run(action, content_type, Limits(**json.loads(limits)))
    except (Refusal, FileError) as error:
        field = error.field if isinstance(error, Refusal) else "file"
        print(json.dumps({"field": field, "reason": str(error)}))
        return REFUSED
    except MemoryError:
        print(json.dumps({"field": "file", "reason": "needs too much memory; part the file"}))
        return REFUSED
    except Exception as error:  # its message may quote the file
        places = [f"{code.filename}:{line}" for code, line in _walk(error)]
        print(json.dumps({"fault": type(error).__name__, "places": places[-5:]}))
        return FAILED
    print(json.dumps(head._asdict()))
    return 0


def _walk(error: BaseException) -> list[tuple[Any, int]]:
    places = []
    traceback = error.__traceback__
    while traceback:
        places.append((traceback.tb_frame.f_code, traceback.tb_lineno))
        traceback = traceback.tb_next
    return places


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
