"""Manifests for tests."""

from typing import Any

from contract.labels import IRF, TIMSS, Label, LabelSet
from contract.manifest import Manifest, Task

BLOOM = LabelSet(
    task="bloom",
    kind="problem",
    name="Bloom level",
    labels=tuple(
        Label(id=name, data_label=name, name_en=name, name_zh=name, group="all", definition=name)
        for name in ("remember", "apply", "create")
    ),
)
"""A taxonomy of somebody's own."""


def make_task(label_set: LabelSet = TIMSS, first_row: int = 0, **changes: Any) -> Task:
    classes = len(label_set.labels)
    fields: dict[str, Any] = {
        "label_set": label_set,
        "rows": range(first_row, first_row + classes),
        "temperature": 2.0,
        "training_prior": [(i + 1) / (classes * (classes + 1) / 2) for i in range(classes)],
        "conformal_thresholds": [0.1] * classes,
        "conformal_coverage": 0.9,
        "prompt_version": "compact-1",
        "max_tokens": 128,
    }
    return Task.model_validate(fields | changes)


def make_manifest(**changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "name": "example",
        "created": "2026-11-20",
        "base_model": "none",
        "tasks": [make_task(), make_task(IRF, 7)],
        "losses": {},
        "data_sha256": {},
        "weights_sha256": "0" * 64,
    }
    return Manifest.model_validate(fields | changes)
