"""The finished checkpoint on `recipe.test`: figures of items that nothing was learned from."""

from collections.abc import Mapping, Sequence
from typing import Any

from contract.manifest import Manifest, Task, hash_file, write_manifest
from training.data.examples import Example
from training.data.groups import group_examples
from training.data.recurrence import find_recurring
from training.evaluation.evaluate_checkpoint import measure_examples
from training.evaluation.judged import read_test
from training.recipe.recipe import TrainRecipe
from training.reporting.markdown_tables import align_table, tabulate_calibration, tabulate_summary
from training.reporting.report import write_report
from training.statistics.probabilities import Floats, Ints

_STATED = (
    "items", "macro_recall", "accuracy", "macro_precision", "macro_f1", "macro_f1_uniform",
    "kappa", "intervals", "intervals_resample", "ece_uniform", "ece_training", "sets",
)  # fmt: skip
"""What the manifest keeps of the figures; the report has all."""


def measure_test(recipe: TrainRecipe, manifest: Manifest, training: Sequence[Example]) -> Manifest:
    """Measure `recipe.output` on `recipe.test`, if it has any; return the manifest that says so.

    Prints the figures, writes `test/` (report) into `recipe.work`, and states the headline in the
    manifest. The fingerprint stays: it does not cover how a model was measured.
    """
    if not recipe.test:
        return manifest
    examples = read_test(recipe)
    results: dict[str, dict[str, Any]] = {}
    arrays: dict[str, tuple[Floats, Ints]] = {}
    tasks = []
    for task in manifest.tasks:
        name = task.label_set.task
        own = [example for example in examples if example.task == name]
        if not own:
            tasks.append(task)
            continue
        known = [example.item for example in training if example.task == name]
        measured, drawn = measure_examples(
            recipe.output,
            task,
            own,
            recurring=find_recurring([example.item for example in own], known),
            groups=group_examples(own) if recipe.evaluation.grouped else None,
        )
        results |= measured
        arrays |= drawn
        tasks.append(_state(task, measured, _name_files(recipe, name)))
    manifest = manifest.model_copy(update={"tasks": tuple(tasks)})
    folder = recipe.work / "test"
    sets = [task.label_set for task in manifest.tasks]
    write_report(folder, results, arrays, sets, note=_introduce(recipe, manifest, len(examples)))
    write_manifest(manifest, recipe.output)
    print(f"\ntest, {len(examples):,} items")
    for table in (tabulate_summary(results), tabulate_calibration(results)):
        print(f"\n{align_table(table)}", end="")
    print(f"\nreport {folder / 'report.md'}")
    return manifest


def _state(task: Task, measured: Mapping[str, dict[str, Any]], files: dict[str, str]) -> Task:
    """The task with the headline of the test beside that of each mode."""
    evaluation = {
        mode: figures
        | {
            "test": {key: measured[f"{task.label_set.task}/{mode}"][key] for key in _STATED}
            | {"files": files}
        }
        for mode, figures in task.evaluation.items()
    }
    return task.model_copy(update={"evaluation": evaluation})


def _name_files(recipe: TrainRecipe, task: str) -> dict[str, str]:
    """File name → sha256."""
    return {each.path.name: hash_file(each.path) for each in recipe.test if each.task == task}


def _introduce(recipe: TrainRecipe, manifest: Manifest, items: int) -> str:
    names = ", ".join(dict.fromkeys(each.path.name for each in recipe.test))
    return (
        f"Checkpoint {manifest.name} ({manifest.fingerprint}) on {items:,} items of {names}: "
        "nothing was learned from them or set by them."
    )
