"""What the Hugging Face hub reads of a model card: licence, languages, and the figures measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from contract.manifest import Manifest, Task

_METRICS = (
    ("accuracy", "accuracy", "Accuracy"),
    ("recall", "macro_recall", "Macro recall"),
    ("precision", "macro_precision", "Macro precision"),
    ("f1", "macro_f1", "Macro F1"),
)
"""Metric of the hub, key of an evaluation, name."""
_SPLITS = {
    "cross-validation": ("train", "held out by cross-validation"),
    "one fold": ("train", "one fold held out"),
    "dev": ("validation", "dev"),
    "test": ("test", "test"),
}
"""Where figures come from → split of the hub, and what is said of it."""


def describe_metadata(manifest: Manifest, licence: str, languages: Sequence[str]) -> str:
    """The YAML between the lines at the head of a model card.

    Its model-index holds the headline of each task and mode, with the split that it was
    measured on; a task that was not evaluated has none.
    """
    results = [result for task in manifest.tasks for result in _list_results(task)]
    data = ModelCardData(
        language=list(languages) or None,
        license=licence,
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["ncal-serve"],
        model_name=manifest.name,
        eval_results=results or None,
    )
    return data.to_yaml()


def _list_results(task: Task) -> list[EvalResult]:
    results = []
    for mode, figures in task.evaluation.items():
        results += _take(task, mode, figures, figures.get("measured_on", "cross-validation"))
        if "test" in figures:
            results += _take(task, mode, figures["test"], "test")
    return results


def _take(task: Task, mode: str, figures: Mapping[str, Any], source: str) -> list[EvalResult]:
    split, described = _SPLITS[source]
    return [
        EvalResult(
            task_type="text-classification",
            task_name=task.label_set.name,
            dataset_type=task.label_set.task,
            dataset_name=f"{task.label_set.name}, {described}",
            dataset_config=mode,
            dataset_split=split,
            metric_type=metric,
            metric_name=name,
            metric_value=round(float(figures[key]), 4),
        )
        for metric, key, name in _METRICS
        if figures.get(key) is not None
    ]
