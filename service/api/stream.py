"""`…/stream`: lines in, lines out, for as long as the client likes."""

from typing import cast

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.access.slots import Slots
from service.api.item_stream import ItemStream, StreamCall
from service.api.mixes import require_mix
from service.http.bodies import check_media_type
from service.http.direct_route import DirectRoute
from service.http.ndjson import NDJSON, SSE
from service.http.openapi import (
    CLASSIFICATION_ERRORS,
    describe_any_lines,
    describe_line_answers,
    describe_lines,
)
from service.http.request_context import get_client, get_core, read_options, read_timeout_s
from service.tasks import PROBLEM_TASK, TURN_TASK

router = APIRouter(route_class=DirectRoute)
_JSON_LINES = "application/jsonl"
_RESPONSES = {200: describe_line_answers(), **CLASSIFICATION_ERRORS}


class StreamResponse(Response):
    """Reads the request and writes the response at the same time."""

    def __init__(self, request: Request, stream: StreamCall) -> None:
        super().__init__(media_type=stream.media_type, headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._request = request
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        slots = cast(Slots, self._request.app.state.stream_slots)
        with slots.take(get_client(self._request).name):
            await ItemStream(self._request, self._stream, receive, send).run(self.raw_headers)


@router.post(
    "/classify/problem/stream",
    summary="Problems without end: lines in, lines out",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra=describe_lines("problem"),
)
async def stream_problems(request: Request) -> Response:
    return _open_stream(request, PROBLEM_TASK)


@router.post(
    "/classify/dialogue-turn/stream",
    summary="Dialogue turns without end: lines in, lines out",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra=describe_lines("dialogue-turn"),
)
async def stream_dialogue_turns(request: Request) -> Response:
    return _open_stream(request, TURN_TASK)


@router.post(
    "/classify/tasks/{task}/stream",
    summary="Items of any task without end: lines in, lines out",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra=describe_any_lines(),
)
async def stream_task(request: Request) -> Response:
    return _open_stream(request, request.path_params["task"])


def _open_stream(request: Request, task: str) -> Response:
    core = get_core(request)
    options = read_options(request)
    classifier = core.readiness.require_classifier()
    # Not kept: a stream goes on with another model when this one is dropped.
    served = classifier.loaded.find_task(task, options.model)
    mix = require_mix(served, options)
    check_media_type(request, NDJSON, _JSON_LINES)
    served.model.admission.check_open()
    wants_events = SSE in request.headers.get("accept", "")
    return StreamResponse(
        request,
        StreamCall(
            served=served,
            options=options,
            mix=mix,
            timeout_s=read_timeout_s(request, core.settings.max_request_timeout_s),
            media_type=SSE if wants_events else NDJSON,
        ),
    )
