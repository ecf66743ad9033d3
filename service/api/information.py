"""`/labels` and `/models`: what the service says of the checkpoints it has loaded."""

from typing import cast

from fastapi import APIRouter, Request

from contract.inputs import Kind
from contract.labels import add_moves
from contract.manifest import Task
from service.access.rate_limit import SharedCount
from service.classifier import Classifier
from service.errors import Internal, InvalidInput, NotReady, Unauthorized
from service.http.openapi import TASK_LINKS, describe_errors
from service.http.request_context import get_core, refuse_other_options
from service.limits import read_limits
from service.models.model import Model
from service.schemas import (
    Labels,
    ModelDescription,
    ModelName,
    Models,
    QueueDescription,
    ServedLabels,
    TaskDescription,
)
from service.tasks import find_path

router = APIRouter()


@router.head("/labels", include_in_schema=False)
@router.get(
    "/labels",
    tags=["information"],
    summary="All labels with their names and definitions",
    responses={
        200: {"links": TASK_LINKS},
        **describe_errors(Unauthorized, NotReady, Internal, InvalidInput),
    },
)
async def get_labels(request: Request) -> Labels:
    refuse_other_options(request)
    classifier = get_core(request).readiness.require_classifier()
    return Labels(
        tasks=[
            ServedLabels(
                **dict(add_moves(served.task.label_set)),
                path=find_path(served.task),
                model=ModelName(name=served.model.name, fingerprint=served.model.fingerprint),
            )
            for served in classifier.tasks.values()
        ]
    )


@router.head("/models", include_in_schema=False)
@router.get(
    "/models",
    tags=["information"],
    summary="The loaded checkpoints: fingerprint, tasks, evaluation, live queue",
    responses=describe_errors(Unauthorized, NotReady, Internal, InvalidInput),
)
async def get_models(request: Request) -> Models:
    refuse_other_options(request)
    return describe_models(request)


def describe_models(request: Request) -> Models:
    """Return what there is to be known of the loaded checkpoints."""
    classifier = get_core(request).readiness.require_classifier()
    settings = get_core(request).settings
    shared = cast(SharedCount | None, request.app.state.shared_limits)
    return Models(
        models=[
            _describe_model(classifier, model, settings.default_prior)
            for model in classifier.models
        ],
        limits=read_limits(settings),
        limits_counted="replica" if shared is None else "shared" if shared.is_up else "fallback",
    )


def _describe_model(classifier: Classifier, model: Model, default_prior: str) -> ModelDescription:
    manifest, admission = model.checkpoint.manifest, model.admission
    defaults = classifier.loaded.list_defaults(model)
    return ModelDescription(
        name=model.name,
        fingerprint=model.fingerprint,
        weights_sha256=manifest.weights_sha256,
        created=manifest.created,
        base_model=manifest.base_model,
        engine=f"{model.choice.name} {model.choice.version}",
        engine_reason=model.choice.reason,
        engine_alive=model.engine.is_alive,
        shadow_share=classifier.shadow.find_share(model),
        queue=QueueDescription(
            waiting_items=admission.waiting_items,
            waiting_tokens=admission.waiting_tokens,
            oldest_wait_s=admission.oldest_wait_s,
            running_items=admission.running_items,
        ),
        parity=[proof.model_dump() for proof in manifest.parity],
        tasks=[
            _describe_task(task, default_prior, is_default=task.label_set.task in defaults)
            for task in manifest.tasks
        ],
    )


def _describe_task(task: Task, default_prior: str, *, is_default: bool) -> TaskDescription:
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
        default_prior=default_prior,
        is_default=is_default,
        evaluation=task.evaluation,
    )
