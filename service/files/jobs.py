"""Has a process of its own work on an upload, and kills it when nobody waits any more."""

import asyncio
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Literal, NamedTuple

from starlette.requests import Request

from service.access.slots import Slots, Workplaces
from service.errors import BodyTooLarge, DeadlineExceeded, Internal, InvalidInput, Reason
from service.files.worker import ANSWER, REFUSED
from service.observability.logs import log
from service.settings import Settings
from tables.table import Limits

_ROOT = Path(__file__).resolve().parents[2]
_BODY = "body"
_MEMORY_BYTES = 768 << 20
"""That a worker may have; the largest files within the limits need half of it."""
_LIMITS = Limits(unpacked_bytes=256 << 20, rows=200_000, columns=1_000, cells=4_000_000)
_REMEDY = "the command line takes larger ones"


class Job(NamedTuple):
    """An upload on the disk, in a folder of its own."""

    folder: Path
    client: str

    @property
    def answer(self) -> Path:
        return self.folder / ANSWER


class Answer(NamedTuple):
    """What the file `answer` is."""

    media_type: str
    file_name: str | None


class FileJobs:
    """So many uploads at once, and so many processes for them; used from one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._max_bytes = settings.max_upload_bytes
        self._slots = Slots(settings.max_uploads, "uploads", most_each=settings.max_client_uploads)
        self._workers = Workplaces(settings.max_upload_workers)

    @contextmanager
    def open(self, client: str = "") -> Iterator[Job]:
        """A folder for an upload while the block lasts.

        Overloaded when there are too many, RateLimited when the client has its share.
        """
        with self._slots.take(client), tempfile.TemporaryDirectory(prefix="ncal-upload-") as folder:
            yield Job(Path(folder), client)

    async def receive(self, request: Request, job: Job, deadline: float) -> None:
        """Keep the body as it comes; BodyTooLarge before more than the limit is kept."""
        too_large = BodyTooLarge(f"the upload is larger than {self._max_bytes} bytes; {_REMEDY}")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_bytes:
            raise too_large
        size = 0
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                with (job.folder / _BODY).open("wb") as file:
                    async for part in request.stream():
                        size += len(part)
                        if size > self._max_bytes:
                            raise too_large
                        file.write(part)
        except TimeoutError:
            raise DeadlineExceeded("the body did not arrive in time") from None

    async def run(
        self, job: Job, action: Literal["read", "write"], content_type: str, deadline: float
    ) -> Answer:
        """Work on the upload; InvalidInput says what is wrong with it."""
        try:
            async with (
                asyncio.timeout(deadline - time.monotonic()),
                self._workers.take(job.client),
            ):
                status, said = await self._run_worker(job, action, content_type)
        except TimeoutError:
            raise DeadlineExceeded(f"the file takes too long; {_REMEDY}") from None
        head = _parse(said)
        if status == 0 and head:
            return Answer(head["media_type"], head["file_name"])
        if status == REFUSED and head:
            raise InvalidInput(
                "the file or a field beside it cannot be used; `errors` says why",
                reasons=[Reason(head["field"], head["reason"])],
            )
        log("upload", level=logging.ERROR, status=status, **(head or {}))
        raise Internal("a fault of ours; the log has it under the request id")

    async def _run_worker(self, job: Job, action: str, content_type: str) -> tuple[int, bytes]:
        with (job.folder / _BODY).open("rb") as body:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "service.files.worker", action, content_type,
                json.dumps(asdict(_LIMITS)), str(_MEMORY_BYTES),
                stdin=body, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                cwd=job.folder, env=_make_environment(),
            )  # fmt: skip
        try:
            said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return process.returncode or 0, said


def _make_environment() -> dict[str, str]:
    """That of the service, less its settings and keys, which no file needs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NCAL_")}
    paths = os.pathsep.join(filter(None, [str(_ROOT), kept.get("PYTHONPATH")]))
    return kept | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
                   "ARROW_DEFAULT_MEMORY_POOL": "system"}  # fmt: skip


def _parse(said: bytes) -> dict[str, str] | None:
    try:
        head = json.loads(said)
    except ValueError:  # killed
        return None
    return head if isinstance(head, dict) else None
