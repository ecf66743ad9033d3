"""What a service can classify: its checkpoints, tasks, labels and limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ncal_client.forms.answers import ModelName
from ncal_client.forms.items import Kind


@dataclass(frozen=True, slots=True)
class Label:
    """A label and what it means."""

    id: str
    name_en: str
    name_zh: str
    group: str
    definition: str


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The labels of a task."""

    task: str
    labels: tuple[Label, ...]
    model: ModelName
    content: Mapping[str, Any]
    """All that the service says of them."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a loaded checkpoint."""

    name: str
    kind: Kind
    previous_turns: int
    """Turns before the labelled one that the model reads."""
    following_turns: int
    training_prior: Mapping[str, float]
    """Share of each label in the training data."""
    max_tokens: int
    is_default: bool
    """Whether this checkpoint answers for the task where a request names none."""
    content: Mapping[str, Any]
    """All that the service says of it."""


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded checkpoint."""

    name: str
    fingerprint: str
    tasks: tuple[Task, ...]
    content: Mapping[str, Any]
    """All that the service says of it: engine, evaluation, proof, queue."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may hold; what a service does not state is as its defaults are."""

    max_batch_items: int = 2048
    max_body_bytes: int = 8 * 1024 * 1024
    max_body_values: int = 131_072
    """Names and values in the JSON of a body."""


def read_labels(data: Mapping[str, Any]) -> tuple[LabelSet, ...]:
    return tuple(
        LabelSet(
            task=each["task"],
            labels=tuple(
                Label(
                    label["id"], label["name_en"], label["name_zh"], label["group"],
                    label["definition"],
                )
                for label in each["labels"]
            ),
            model=ModelName(each["model"]["name"], each["model"]["fingerprint"]),
            content=each,
        )
        for each in data["tasks"]
    )  # fmt: skip


def read_models(data: Mapping[str, Any]) -> tuple[Model, ...]:
    return tuple(
        Model(each["name"], each["fingerprint"], tuple(map(_read_task, each["tasks"])), each)
        for each in data["models"]
    )


def read_limits(data: Mapping[str, Any]) -> Limits:
    """Return the limits that `/models` states."""
    stated = data.get("limits") or {}
    return Limits(
        **{name: int(stated[name]) for name in Limits.__dataclass_fields__ if name in stated}
    )


def _read_task(data: Mapping[str, Any]) -> Task:
    return Task(
        name=data["task"],
        kind=cast(Kind, data["kind"]),
        previous_turns=data["previous_turns"],
        following_turns=data["following_turns"],
        training_prior=data["training_prior"],
        max_tokens=data["max_tokens"],
        is_default=data.get("is_default", True),
        content=data,
    )
