"""`/labels`, `/models`, `/health/…` and `/metrics`: what the service says of itself."""

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from contract.inputs import Kind
from contract.manifest import Task
from service.classifier import Model
from service.errors import Draining, EngineDead, Internal, NotReady, Unauthorized
from service.openapi import describe_errors
from service.requests import get_core
from service.schemas import (
    Health,
    Labels,
    ModelDescription,
    ModelName,
    Models,
    QueueDescription,
    ServedLabels,
    TaskDescription,
)

router = APIRouter()
BUILT_IN_PATHS: dict[str, str] = {"timss": "/classify/problem", "irf": "/classify/dialogue-turn"}


@router.get(
    "/labels",
    tags=["information"],
    summary="All labels with their names and definitions",
    responses=describe_errors(Unauthorized, NotReady, Internal),
)
async def get_labels(request: Request) -> Labels:
    classifier = get_core(request).lifecycle.require_classifier()
    return Labels(
        tasks=[
            ServedLabels(
                **dict(served.task.label_set),
                path=find_path(served.task),
                model=ModelName(name=served.model.name, fingerprint=served.model.fingerprint),
            )
            for served in classifier.tasks.values()
        ]
    )


@router.get(
    "/models",
    tags=["information"],
    summary="The loaded checkpoints: fingerprint, tasks, evaluation, live queue",
    responses=describe_errors(Unauthorized, NotReady, Internal),
)
async def get_models(request: Request) -> Models:
    classifier = get_core(request).lifecycle.require_classifier()
    return Models(models=[_describe_model(model) for model in classifier.models])


@router.get(
    "/health/live",
    tags=["operation"],
    summary="503 when only a restart can help",
    responses=describe_errors(EngineDead),
)
async def get_live(request: Request) -> Health:
    get_core(request).lifecycle.check_live()
    return Health(status="ok")


@router.get(
    "/health/ready",
    tags=["operation"],
    summary="200 when every engine has just answered a canary and work is welcome",
    responses=describe_errors(NotReady, Draining, EngineDead),
)
async def get_ready(request: Request) -> Health:
    await get_core(request).lifecycle.check_ready()
    return Health(status="ok")


@router.get(
    "/metrics",
    tags=["operation"],
    summary="Metrics for Prometheus, ours and vLLM's",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **describe_errors(Unauthorized, Internal),
    },
)
async def get_metrics(request: Request) -> Response:
    return Response(get_core(request).metrics.render(), media_type=CONTENT_TYPE_LATEST)


def find_path(task: Task) -> str:
    """Return where a task is served."""
    name = task.label_set.task
    return BUILT_IN_PATHS.get(name, f"/classify/tasks/{name}")


def _describe_model(model: Model) -> ModelDescription:
    manifest, admission = model.checkpoint.manifest, model.admission
    return ModelDescription(
        name=model.name,
        fingerprint=model.fingerprint,
        weights_sha256=manifest.weights_sha256,
        created=manifest.created,
        base_model=manifest.base_model,
        engine_alive=model.engine.is_alive,
        queue=QueueDescription(
            waiting_items=admission.waiting_items,
            waiting_tokens=admission.waiting_tokens,
            oldest_wait_s=admission.oldest_wait_s,
            running_items=admission.running_items,
        ),
        parity=manifest.parity.model_dump() if manifest.parity else None,
        tasks=[_describe_task(task) for task in manifest.tasks],
    )


def _describe_task(task: Task) -> TaskDescription:
    kind: Kind = task.label_set.kind
    return TaskDescription(
        task=task.label_set.task,
        kind=kind,
        path=find_path(task),
        max_tokens=task.max_tokens,
        previous_turns=task.window.previous,
        following_turns=task.window.following,
        conformal_coverage=task.conformal_coverage,
        training_prior=dict(zip(task.label_set.ids, task.training_prior, strict=True)),
        evaluation=task.evaluation,
    )
