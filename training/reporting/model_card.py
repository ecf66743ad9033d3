"""The model card of a checkpoint: the README.md beside its weights."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from contract.manifest import WEIGHTS_NAME, Manifest, Task
from training.errors import BadInput
from training.reporting.card_metadata import describe_metadata
from training.reporting.markdown_tables import (
    tabulate_baseline,
    tabulate_calibration,
    tabulate_classes,
    tabulate_groups,
    tabulate_summary,
    write_table,
)

CARD_NAME = "README.md"

_NOT_FOR = """\
## What it must not be used for

- To grade, rank or select pupils or teachers, or for any other decision about a person. It
  labels texts; a label says nothing about who wrote them.
- Unread. The figures above tell how often it errs: let people see what has a low probability
  or a prediction set of several labels, and check a sample of the rest.
- On other languages, subjects or ages than those of its data without measuring it there first.
- On text of another kind than the tasks name. Every text gets a label of the set, fitting or
  not; an empty prediction set is a sign of text that resembles no class.
- As probabilities for traffic of any class mix: they answer for a uniform prior, or, with the
  training prior added, for the mix of the training data.
"""

_BEHAVIOUR = """\
## How it behaves

Tests in the manner of CheckList (Ribeiro et al., ACL 2020), in everyday words, asked of these
weights. *Functionality*: plain items get their label. *Invariance*: another way to write an item
leaves its label. *Direction*: a change that makes another label makes it. Shares that pass, with
95% intervals (Wilson).
"""


class DataSource(NamedTuple):
    """A line of the card's data table."""

    name: str
    licence: str
    use: str
    """What the data were used for, and how much of them."""


def write_model_card(
    folder: Path,
    manifest: Manifest,
    *,
    data: Sequence[DataSource],
    licence: str,
    languages: Sequence[str],
    measured: str,
    command: str,
    behaviour: str = "",
) -> None:
    """Write `README.md` into the checkpoint `folder` that `manifest` describes.

    `licence` and `languages` are identifiers as the Hugging Face hub has them (`mit`, `zh`),
    `measured` is a sentence on how the figures of the manifest came about, `command` rebuilds
    the checkpoint, `behaviour` has the tables of its behavioural tests. Raises BadInput if the
    weights cannot be read or the card not be written.
    """
    front = describe_metadata(manifest, licence, languages)
    sections = [
        f"---\n{front.strip()}\n---\n\n# {manifest.name}\n",
        _introduce(folder, manifest),
        *(_describe_task(task) for task in manifest.tasks),
        f"## How it was measured\n\n{measured}\n",
        *([f"{_BEHAVIOUR}\n{behaviour}"] if behaviour else []),
        _describe_use(manifest),
        _describe_training(manifest, data, command),
        _NOT_FOR,
    ]
    try:
        (folder / CARD_NAME).write_text("\n".join(sections), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{folder}: the model card cannot be written: {error}") from error


def count_parameters(weights: Path) -> int:
    """Number of values in a safetensors file, read from its header."""
    try:
        with safe_open(weights, framework="numpy") as tensors:
            return sum(math.prod(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{weights}: cannot be read: {error}") from error


def _introduce(folder: Path, manifest: Manifest) -> str:
    parameters = count_parameters(folder / WEIGHTS_NAME) / 1e6
    size_mb = (folder / WEIGHTS_NAME).stat().st_size / 1e6
    tasks = " and ".join(
        f"{task.label_set.name} (`{task.label_set.task}`)" for task in manifest.tasks
    )
    return (
        f"A decoder of {parameters:.1f} million parameters ({size_mb:.1f} MB) with a linear head "
        f"on the last prompt token. It answers: {tasks}. Base model: {manifest.base_model}. "
        f"Written {manifest.created}, fingerprint `{manifest.fingerprint}`.\n"
    )


def _describe_task(task: Task) -> str:
    label_set = task.label_set
    labels = [
        [label.id, label.name_en, label.name_zh, label.group, label.definition]
        for label in label_set.labels
    ]
    parts = [
        f"## {label_set.name} (`{label_set.task}`)\n",
        f"Labels a {label_set.kind.replace('-', ' ')}. {label_set.note}".strip() + "\n",
        write_table(["label", "English", "Chinese", "group", "definition"], labels, figures=False),
    ]
    if task.evaluation:
        results = {f"{label_set.task}/{mode}": each for mode, each in task.evaluation.items()}
        parts += [
            "Brackets hold 95% intervals over the choice of items.\n",
            tabulate_summary(results),
            tabulate_calibration(results),
            "Macro recall of the classes in thirds by frequency, and of answers under the training "
            "prior:\n",
            tabulate_groups(results),
        ]
        if baseline := tabulate_baseline(results):
            parts += ["How much more than n-grams on the same folds, paired:\n", baseline]
        for name, result in results.items():
            parts += [f"Each class, {name}:\n", tabulate_classes(result, label_set)]
    else:
        parts.append("This task was not evaluated.\n")
    return "\n".join(parts)


def _describe_use(manifest: Manifest) -> str:
    rows = [
        [
            task.label_set.task,
            ", ".join(map(str, task.rows)),
            f"{task.temperature:.4f}",
            ", ".join(f"{bias:.3f}" for bias in task.biases) or "0",
            task.prompt_version,
            str(task.max_tokens),
            f"{task.window.previous} / {task.window.following}",
        ]
        for task in manifest.tasks
    ]
    header = [
        "task",
        "rows",
        "temperature",
        "biases",
        "prompt",
        "max tokens",
        "turns before / after",
    ]
    return "\n".join([
        "## How to use it\n",
        "NCAL Serve reads `manifest.json` and needs nothing else. Elsewhere it loads in "
        "`AutoModelForSequenceClassification` and in `vllm serve --runner pooling`; then build "
        "the prompt as `contract.prompts` does, take the rows of the task, divide them by the "
        "temperature, add the biases and take the softmax.\n",
        write_table(header, rows, figures=False),
    ])  # fmt: skip


def _describe_training(manifest: Manifest, data: Sequence[DataSource], command: str) -> str:
    options = ", ".join(f"`{key}` {value}" for key, value in manifest.losses.items())
    parts = [
        "## How it was trained\n",
        write_table(["data", "licence", "used for"], data, figures=False),
        f"Losses: {options}. The whole recipe is in `recipe.yaml`. To build it again:\n",
        f"```\n{command}\n```\n",
    ]
    if manifest.parity:
        header = ["engine", "arithmetic", "prompts", "largest difference", "other label"]
        rows = [
            [
                proof.engine, proof.dtype, str(proof.items),
                f"{proof.max_probability_difference:.1e}", f"{proof.changed_label_share:.2%}",
            ]
            for proof in manifest.parity
        ]  # fmt: skip
        parts.append(
            "How far the probabilities of each engine are from those of transformers in float32, "
            "and how often the most probable label is another:\n"
        )
        parts.append(write_table(header, rows, figures=False))
    prints = [[name, f"`{digest}`"] for name, digest in manifest.data_sha256.items()]
    return "\n".join([*parts, write_table(["labelled data", "sha256"], prints, figures=False)])
