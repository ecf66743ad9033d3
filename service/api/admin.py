"""`/admin/…`: which checkpoints are loaded and which is the default, changed while it runs.

Asked for by a key with the scope `admin` alone; not served unless `admin_paths` is set.
"""

from typing import Annotated, Any, cast

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from service.api.answers import JsonResponse
from service.api.information import describe_models
from service.errors import (
    Conflict,
    EngineFailed,
    Forbidden,
    Internal,
    InvalidInput,
    NotFound,
    NotReady,
    Unauthorized,
    UnsupportedMediaType,
)
from service.http.bodies import Form, parse_form, read_form
from service.http.direct_route import DirectRoute
from service.http.openapi import describe_errors, describe_model_body
from service.http.request_context import get_core, make_call, refuse_other_options
from service.rotation.rotation import Rotation
from service.schemas import Models

router = APIRouter(prefix="/admin", tags=["admin"], route_class=DirectRoute)
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class LoadRequest(_Form):
    """A checkpoint to be loaded beside the others."""

    checkpoint: str = Field(max_length=512)
    """Its directory below the folder of `NCAL_CHECKPOINT_FOLDER`, as in `ncal-7b/2`."""
    name: _Name | None = None
    """What it is to be called, in place of the name in its manifest."""
    fingerprint: str | None = Field(default=None, pattern="^[0-9a-f]{12}$")
    """What it must have: another one is refused."""


class ModelRequest(_Form):
    """A loaded checkpoint."""

    model: str = Field(max_length=256)
    """Its name or fingerprint."""


class ShadowRequest(_Form):
    """Which loaded checkpoint reads along."""

    model: str | None = Field(max_length=256)
    """Its name or fingerprint; null: none."""
    share: float = Field(default=0.1, gt=0.0, le=1.0)
    """Of the items that are answered."""


FORMS: tuple[type[BaseModel], ...] = (LoadRequest, ModelRequest, ShadowRequest)
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": Models},
    202: {"model": Models, "description": "It goes on; ask `GET /models` for how it ends."},
    **describe_errors(
        Unauthorized, Forbidden, NotFound, Conflict, UnsupportedMediaType, InvalidInput,
        EngineFailed, Internal, NotReady,
    ),
}  # fmt: skip

_MOST_VALUES = 64
"""Names and values of a request."""


@router.post(
    "/load",
    summary="Load a checkpoint beside the others",
    response_class=JsonResponse,
    responses=_RESPONSES,
    openapi_extra=describe_model_body(LoadRequest, {"checkpoint": "ncal-7b/2", "name": "next"}),
)
async def load_model(request: Request) -> Response:
    asked, deadline = await _read(request, LoadRequest)
    is_done = await _get_rotation(request).load(
        asked.checkpoint, alias=asked.name, fingerprint=asked.fingerprint, deadline=deadline
    )
    return _answer(request, is_done)


@router.post(
    "/default",
    summary="Let a loaded checkpoint answer its tasks from now on",
    response_class=JsonResponse,
    responses=_RESPONSES,
    openapi_extra=describe_model_body(ModelRequest, {"model": "next"}),
)
async def change_default(request: Request) -> Response:
    asked, _ = await _read(request, ModelRequest)
    _get_rotation(request).set_default(asked.model)
    return _answer(request, True)


@router.post(
    "/drop",
    summary="Stop serving a checkpoint once all that it has accepted is answered",
    response_class=JsonResponse,
    responses=_RESPONSES,
    openapi_extra=describe_model_body(ModelRequest, {"model": "next"}),
)
async def drop_model(request: Request) -> Response:
    asked, deadline = await _read(request, ModelRequest)
    is_done = await _get_rotation(request).drop(asked.model, deadline=deadline)
    return _answer(request, is_done)


@router.post(
    "/shadow",
    summary="Let a loaded checkpoint read along, unseen, or none",
    response_class=JsonResponse,
    responses=_RESPONSES,
    openapi_extra=describe_model_body(ShadowRequest, {"model": "next", "share": 0.1}),
)
async def change_shadow(request: Request) -> Response:
    asked, _ = await _read(request, ShadowRequest)
    _get_rotation(request).set_shadow(asked.model, asked.share)
    return _answer(request, True)


def _get_rotation(request: Request) -> Rotation:
    return cast(Rotation, request.app.state.rotation)


async def _read(request: Request, form: type[Form]) -> tuple[Form, float]:
    """What is asked, and the deadline of the request."""
    deadline = make_call(request, "single").deadline
    refuse_other_options(request)
    asked = await read_form(
        request,
        get_core(request).settings,
        deadline,
        lambda data: parse_form(form, data),
        max_values=_MOST_VALUES,
    )
    return asked, deadline


def _answer(request: Request, is_done: bool) -> Response:
    models = describe_models(request)
    return JsonResponse(models.model_dump(mode="json"), status_code=200 if is_done else 202)
