"""`/health/…` and `/metrics`: what supervisors and Prometheus ask."""

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from service.errors import Draining, EngineDead, Forbidden, Internal, NotReady, Unauthorized
from service.http.openapi import describe_errors
from service.http.request_context import get_core
from service.schemas import Health

router = APIRouter(tags=["operation"])


@router.head("/health/live", include_in_schema=False)
@router.get(
    "/health/live",
    summary="503 when only a restart can help",
    responses=describe_errors(EngineDead),
)
async def get_live(request: Request) -> Health:
    get_core(request).readiness.check_live()
    return Health(status="ok")


@router.head("/health/ready", include_in_schema=False)
@router.get(
    "/health/ready",
    summary="200 when every engine has just answered a canary and work is welcome",
    responses=describe_errors(NotReady, Draining, EngineDead),
)
async def get_ready(request: Request) -> Health:
    await get_core(request).readiness.check_ready()
    return Health(status="ok")


@router.head("/metrics", include_in_schema=False)
@router.get(
    "/metrics",
    summary="Metrics for Prometheus, ours and vLLM's",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **describe_errors(Unauthorized, Forbidden, Internal),
    },
)
async def get_metrics(request: Request) -> Response:
    return Response(get_core(request).metrics.render(), media_type=CONTENT_TYPE_LATEST)
