"""A label set from the labels that stand in a table, for a person to fill in later."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import yaml

from contract.inputs import Kind
from contract.labels import LabelSet
from training.errors import BadInput
from training.proposal.language import guess_language

MOST_LABELS = 200
_HEAD = """\
# The labels of {task}, as they stand in the data. Fill in names, group and a definition of one
# line; `id` is what the API answers, `data_label` what the data say. `order` lists ids or groups
# from low to high where they are a scale. Of turns, `moves` says which ids or groups are an
# initiation, response or feedback, and `question_labels` which are questions: then dialogues get
# their IRF structure. `instruction` is what a chat model is told in front of each text
# (prompt.version instruct-1); a change of it needs a new training.
"""
_DEFINITION = "Not written yet."
_INSTRUCTIONS: dict[tuple[Kind, bool], str] = {
    ("problem", True): "判断下面这段文本属于哪一类。文本：",
    ("problem", False): "Decide which class this text belongs to. The text:",
    ("dialogue-turn", True): "下面是一段对话。判断“本句”属于哪一类。",
    ("dialogue-turn", False): (
        "Here is a part of a dialogue. Decide which class the turn behind 本句 belongs to."
    ),
}
"""By kind, and whether the texts are Chinese. The marks of turns are Chinese always."""


def infer_label_set(
    task: str,
    kind: Kind,
    data_labels: Sequence[str],
    place: str,
    *,
    texts: Sequence[str] = (),
    names: Mapping[str, str] = MappingProxyType({}),
) -> LabelSet:
    """Return a label set with a label for each value, the most frequent first.

    `texts` tell in which language a chat model is instructed; `names` are those of values that
    are numbers. Raises BadInput when the values cannot be the labels of a task: one alone,
    hundreds, or one with a single example, which no fold could hold out.
    """
    counts = Counter(data_labels)
    check_labels(counts, place)
    if rare := [label for label, count in counts.items() if count < 2]:
        raise BadInput(
            f"{place}: {len(rare)} of the labels have a single example (the first is "
            f"{rare[0]!r}); add examples, or take these rows out"
        )
    labels = []
    ids: set[str] = set()
    for data_label, _ in counts.most_common():
        name = names.get(data_label, data_label)
        label_id = _make_id(name, ids)
        ids.add(label_id)
        labels.append(
            {"id": label_id, "data_label": data_label, "name_en": name, "name_zh": name,
             "group": "all", "definition": _DEFINITION}
        )  # fmt: skip
    instruction = _INSTRUCTIONS[kind, guess_language(texts) == "zh"]
    return LabelSet.model_validate(
        {"task": task, "kind": kind, "name": task, "instruction": instruction, "labels": labels}
    )


def check_labels(counts: Counter[str], place: str) -> None:
    """BadInput for values, and how often each occurs, that cannot be the labels of a task."""
    if len(counts) < 2:
        raise BadInput(f"{place}: has one label only; a task needs two at least")
    if len(counts) > min(MOST_LABELS, counts.total() // 2):
        raise BadInput(
            f"{place}: {len(counts):,} different values are no labels; is it the right column? "
            "Name it with --label"
        )


def write_label_set(label_set: LabelSet, path: Path) -> None:
    """Write it as YAML with a note how to fill it in."""
    fields = label_set.model_dump(mode="json")
    text = yaml.safe_dump(fields, allow_unicode=True, sort_keys=False)
    path.write_text(_HEAD.format(task=label_set.task) + text, encoding="utf-8")


def _make_id(data_label: str, taken: set[str]) -> str:
    """The value in letters that an id may have; a number where that leaves none or one taken."""
    plain = unicodedata.normalize("NFKD", data_label).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-")[:48]
    stem = words if words[:1].isalpha() else f"label-{words}".strip("-")
    numbered = (f"{stem}-{number}" for number in range(2, 1000))
    return stem if stem not in taken else next(each for each in numbered if each not in taken)
