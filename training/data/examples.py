"""Labelled examples: reading, checking, and their random changes in training."""

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from contract.inputs import AnyInput, DialogueTurn
from contract.labels import BUILT_IN, LabelSet
from contract.manifest import hash_file
from training.data.formats import read_records
from training.data.wording import reword
from training.errors import BadInput
from training.recipe.recipe import AugmentationRecipe, LabelledFile

_OWN_KINDS = {
    "tmwpl": "problem",
    "pmtd": "dialogue-turn",
    "dialogid": "dialogue-turn",
    "math-problems": "problem",
}


MODES = ("retrospective", "live")
_SHOWN = 3  # faults of a label set; the message stays readable
UNLABELLED = -1
"""Label of an example that only a teacher can label."""


class Example(NamedTuple):
    """One input; `label` is the index in the task's label set, or `UNLABELLED`."""

    id: str
    task: str
    item: AnyInput
    label: int
    file: str = ""
    """Name of the file that it stands in."""
    line: int = 0
    """Where it stands there, counted from 1."""


def read_label_sets(paths: Sequence[Path]) -> dict[str, LabelSet]:
    """The built-in label sets and those of YAML files, by task."""
    own = map(read_label_set, paths)
    return BUILT_IN | {label_set.task: label_set for label_set in own}


def read_label_set(path: Path) -> LabelSet:
    """Read a label set of one's own; BadInput names what is wrong with it."""
    try:
        return LabelSet.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        reasons = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'label set'}: {each['msg']}"
            for each in error.errors()[:_SHOWN]
        )
        raise BadInput(f"{path}: not a label set: {reasons}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{path}: not a label set: {' '.join(str(error).split())}") from error


def identify_label_set(label_set: LabelSet, *, words: bool) -> str:
    """The sha256 of what training learns from a label set: not of names, groups and definitions,
    which are for people and may be filled in later, but for `words`, where the head starts
    from the names."""
    labels = [
        [each.id, each.data_label, *([each.name_zh, each.name_en] if words else [])]
        for each in label_set.labels
    ]
    decisive = [label_set.task, label_set.kind, label_set.instruction, labels]
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()


def read_examples(
    sources: Sequence[LabelledFile], label_sets: Mapping[str, LabelSet], *, folds: int
) -> list[Example]:
    """Read all sources; every class must have at least `folds` examples.

    Raises BadInput with file, line and reason for the first record that is wrong.
    """
    examples: list[Example] = []
    for source in sources:
        if source.task not in label_sets:
            known = ", ".join(label_sets)
            raise BadInput(f"{source.path}: no label set {source.task!r}; there are: {known}")
        examples += _read_source(source, label_sets[source.task])
    _check_class_sizes(examples, sources, label_sets, folds)
    return examples


def measure_prior(examples: Sequence[Example], label_set: LabelSet) -> list[float]:
    """Share of each class among the examples of the label set's task."""
    counts = Counter(example.label for example in examples if example.task == label_set.task)
    total = sum(counts.values())
    return [counts[index] / total for index in range(len(label_set.labels))]


def report_repeats(examples: Sequence[Example]) -> list[str]:
    """One line for each input that occurs more than once, contradictions first."""
    by_input: dict[tuple[str, AnyInput], list[Example]] = {}
    for example in examples:
        by_input.setdefault((example.task, example.item), []).append(example)
    repeats = [group for group in by_input.values() if len(group) > 1]
    repeats.sort(key=lambda group: len({example.label for example in group}), reverse=True)
    return [
        ("contradictory labels: " if len({e.label for e in group}) > 1 else "repeated: ")
        + ", ".join(example.id for example in group)
        for group in repeats
    ]


def fingerprint_sources(sources: Sequence[LabelledFile]) -> dict[str, str]:
    """File → sha256; by name, or by its whole path where two files have the same name."""
    paths = {source.path for source in sources}
    names = Counter(path.name for path in paths)
    return {
        path.name if names[path.name] == 1 else path.as_posix(): hash_file(path)
        for path in sorted(paths)
    }


def strip_following(item: AnyInput) -> AnyInput:
    """The input as it is while the dialogue is live: nothing after the turn."""
    return item.model_copy(update={"following": ()}) if isinstance(item, DialogueTurn) else item


def augment(item: AnyInput, recipe: AugmentationRecipe, rng: random.Random) -> AnyInput:
    """Change an input at random in ways that leave its label true."""
    changes: dict[str, Any] = {}
    if isinstance(item, DialogueTurn):
        if rng.random() < recipe.drop_following:
            changes["following"] = ()
        if rng.random() < recipe.drop_previous:
            changes["previous"] = ()
    if rng.random() < recipe.perturb_numbers:
        # 0 and 1 carry meaning of their own (tens, units, "one"); leading zeros must not arise.
        changes["text"] = re.sub(r"[2-9]", lambda _: str(rng.randint(2, 9)), item.text)
    changed: AnyInput = item.model_copy(update=changes) if changes else item
    # Nothing is drawn where it is off: runs of older recipes stay what they were.
    return reword(changed, rng) if recipe.reword and rng.random() < recipe.reword else changed


def _read_source(source: LabelledFile, label_set: LabelSet) -> Iterator[Example]:
    indices = label_set.index_by_data_label()
    own_kind = _OWN_KINDS.get(source.format, label_set.kind)
    if own_kind != label_set.kind:
        raise BadInput(
            f"{source.path}: the format {source.format} holds inputs of kind {own_kind}, "
            f"the label set {label_set.task!r} is for kind {label_set.kind}"
        )
    for record in read_records(source, label_set.kind):
        if record.data_label is not None and record.data_label not in indices:
            raise BadInput(
                f"{record.place}: unknown label {record.data_label!r}; "
                f"the label set {label_set.task!r} has: {', '.join(indices)}; mend the row, or "
                "add the label to the set"
            )
        label = UNLABELLED if record.data_label is None else indices[record.data_label]
        yield Example(record.id, label_set.task, record.item, label, source.path.name, record.line)


def _check_class_sizes(
    examples: Sequence[Example],
    sources: Sequence[LabelledFile],
    label_sets: Mapping[str, LabelSet],
    folds: int,
) -> None:
    counts = Counter((example.task, example.label) for example in examples)
    for task in sorted({source.task for source in sources}):
        files = ", ".join(str(source.path) for source in sources if source.task == task)
        for index, label in enumerate(label_sets[task].labels):
            if counts[task, index] >= folds:
                continue
            found = f"{files}: class {label.id!r} of {task!r} has {counts[task, index]} examples"
            if folds > 1:
                found += f", fewer than the {folds} folds"
            remedy = (
                "add examples or lower evaluation.folds"
                if counts[task, index]
                else "add examples, or take it out of the label set"
            )
            raise BadInput(f"{found}; {remedy}")


def assign_rows(label_sets: Sequence[LabelSet]) -> dict[str, list[int]]:
    """Rows of `score.weight` of each task: one block after another."""
    rows: dict[str, list[int]] = {}
    start = 0
    for label_set in label_sets:
        rows[label_set.task] = list(range(start, start + len(label_set.labels)))
        start += len(label_set.labels)
    return rows


def list_modes(label_set: LabelSet) -> tuple[str, ...]:
    """The modes in which a task is measured: problems have no turn after."""
    return MODES if label_set.kind == "dialogue-turn" else MODES[:1]
