"""Measuring a finished checkpoint on labelled files: `ncal evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.manifest import Manifest, Task, hash_file
from training.checkpoints.read_checkpoint import (
    name_trained_on,
    open_checkpoint,
    read_labelled,
    score_modes,
)
from training.data.examples import Example
from training.data.recurrence import find_recurring
from training.reporting.markdown_tables import align_table, tabulate_calibration, tabulate_summary
from training.reporting.report import write_report
from training.statistics.conformal import measure_sets
from training.statistics.metrics import evaluate_task
from training.statistics.probabilities import Floats, Ints
from training.statistics.scaling import Scaling

Results = dict[str, dict[str, Any]]
"""`TASK/MODE` → metrics."""


def evaluate_checkpoint(
    folder: Path,
    data: Sequence[Path],
    *,
    format: str,
    task: str,
    training: Sequence[Path] = (),
    output: Path | None = None,
) -> Results:
    """Answer every item as a server would and print how good the answers are.

    Temperature, biases and thresholds are the manifest's. Dialogue turns are measured live and
    retrospective. With `training` files the headline also stands without the items whose
    text recurs there. With `output` the report is written there.
    Raises BadInput for data or a checkpoint that a person must mend.
    """
    manifest, head = open_checkpoint(folder, task)
    examples = read_labelled(data, format, head, folder)
    known = read_labelled(training, format, head, folder) if training else []
    items = [example.item for example in examples]
    recurring = find_recurring(items, [each.item for each in known]) if training else None
    note = _describe(manifest, data, len(items))
    if recurring is not None:
        note += f" The texts of {recurring.sum():,} of them recur in the training files."
    print(note)
    results, arrays = measure_examples(folder, head, examples, recurring=recurring)
    for table in (tabulate_summary(results), tabulate_calibration(results)):
        print(f"\n{align_table(table)}", end="")
    if output is not None:
        write_report(output, results, arrays, [head.label_set], note=note)
        print(f"\nreport {output / 'report.md'}")
    return results


def measure_examples(
    folder: Path,
    head: Task,
    examples: Sequence[Example],
    *,
    recurring: NDArray[np.bool_] | None = None,
    groups: Ints | None = None,
) -> tuple[Results, dict[str, tuple[Floats, Ints]]]:
    """Answer examples as a server would; return the metrics, and the calibrated logits (items, K)
    and labels (items,), both by `TASK/MODE`.

    `recurring` and `groups` (items,) are as `evaluate_task` takes them.
    """
    labels = np.array([example.label for example in examples])
    scaling = Scaling.of(head)
    results: Results = {}
    arrays = {}
    for mode, raw in score_modes(folder, head, [example.item for example in examples]).items():
        name, scores = f"{head.label_set.task}/{mode}", scaling.apply(raw)
        sets = measure_sets(scores, labels, head.conformal_thresholds, head.conformal_coverage)
        results[name] = evaluate_task(
            scores,
            labels,
            head.label_set.ids,
            np.array(head.training_prior),
            recurring=recurring,
            groups=groups,
        ) | {"sets": sets, **scaling.describe()}
        arrays[name] = (scores, labels)
    return results, arrays


def _describe(manifest: Manifest, data: Sequence[Path], items: int) -> str:
    sha256 = {path.name: hash_file(path) for path in data}
    described = (
        f"Checkpoint {manifest.name} ({manifest.fingerprint}) on {items:,} items of "
        f"{', '.join(f'{name} (sha256 {digest[:12]})' for name, digest in sha256.items())}."
    )
    if trained_on := name_trained_on(manifest, sha256):
        names = ", ".join(trained_on)
        described += f" It was trained on {names}: these figures say nothing about new texts."
    return described
