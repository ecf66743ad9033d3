"""`/files/…`: uploads to rows, and rows to files. The service keeps nothing of them."""

from typing import cast
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.files.jobs import Answer, FileJobs, Job
from service.http.bodies import check_media_type
from service.http.direct_route import DirectRoute
from service.http.openapi_files import FILE_ERRORS, describe_file, describe_upload
from service.http.request_context import (
    cancel_on_disconnect,
    charge,
    make_call,
    refuse_other_options,
)
from service.schemas import FileRows

router = APIRouter(tags=["files"], route_class=DirectRoute)
_FORM = "multipart/form-data"
_CHUNK_BYTES = 1 << 16


class _FileAnswer(Response):
    """Works on the upload, and sends what came of it piece by piece."""

    def __init__(self, request: Request, action: str) -> None:
        self._request, self._action = request, action
        super().__init__()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = self._request
        jobs = cast(FileJobs, request.app.state.file_jobs)
        call = make_call(request, "batch")
        with jobs.open(call.client) as job:
            await jobs.receive(request, job, call.deadline)
            async with cancel_on_disconnect(request):
                answer = await jobs.run(
                    job,
                    "read" if self._action == "read" else "write",
                    request.headers["content-type"],
                    call.deadline,
                )
            await _send_file(job, answer, send)


@router.post(
    "/files/read",
    summary="A file as rows, and which column is what",
    response_class=Response,
    responses={200: {"model": FileRows}, **FILE_ERRORS},
    openapi_extra=describe_upload("read"),
)
async def read_file(request: Request) -> Response:
    return await _begin(request, "read")


@router.post(
    "/files/write",
    summary="A file with columns added beside its rows, in its own form",
    response_class=Response,
    responses={200: describe_file(), **FILE_ERRORS},
    openapi_extra=describe_upload("write"),
)
async def write_file(request: Request) -> Response:
    return await _begin(request, "write")


async def _begin(request: Request, action: str) -> Response:
    refuse_other_options(request)
    check_media_type(request, _FORM)
    await charge(request, items=1)
    return _FileAnswer(request, action)


async def _send_file(job: Job, answer: Answer, send: Send) -> None:
    headers = [
        (b"content-type", answer.media_type.encode()),
        (b"content-length", b"%d" % job.answer.stat().st_size),
    ]
    if answer.file_name is not None:
        headers.append((b"content-disposition", _name_file(answer.file_name).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    with job.answer.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _name_file(name: str) -> str:
    """RFC 6266: the name, and for old clients one in ASCII."""
    simple = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-_. ()") else "_"
        for letter in name
    )
    return f"attachment; filename=\"{simple}\"; filename*=UTF-8''{quote(name, safe='')}"
